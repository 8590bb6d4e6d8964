import ArgumentParser
import Control

AIGateway.main()
