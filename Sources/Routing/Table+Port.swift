extension Table {
    /// Whether connections to a port begin with TLS: its listeners are all of one kind.
    public func isTLS(port: Int32) -> Bool {
        if port < 0 { return false }
        let tls = ports[Int(port)].tls
        return tls.any >= 0 || !tls.exact.isEmpty || !tls.wildcards.isEmpty
    }

    /// What a port takes.
    public func transport(port: Int32) -> Transport { port < 0 ? .tcp : ports[Int(port)].transport }

    /// Index of the parameters of a port's first listener, for what holds before a listener is known.
    public func parameters(port: Int32) -> Int32 {
        port < 0 || ports[Int(port)].first < 0
            ? 0 : listeners[Int(ports[Int(port)].first)].parameters
    }
}
