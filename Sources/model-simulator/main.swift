ModelSimulator.main()
