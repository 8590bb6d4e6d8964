extension Table {
    /// Whether connections to a port begin with TLS: its listeners are all of one kind.
    public func isTLS(port: Int32) -> Bool {
        if port < 0 { return false }
        let tls = ports[Int(port)].tls
        return tls.any >= 0 || !tls.exact.isEmpty || !tls.wildcards.isEmpty
    }

    /// Index of the listener that takes all connections to a port without TLS as they are; -1 when requests are routed
    /// there, or there is none.
    public func streamListener(port: Int32) -> Int32 {
        let found = listener(port: port, host: Span(), isTLS: false)
        return found >= 0 && listeners[Int(found)].service == .stream ? found : -1
    }

    /// What a port takes.
    public func transport(port: Int32) -> Transport { port < 0 ? .tcp : ports[Int(port)].transport }

    /// Indexes of a port's listeners.
    public func listeners(port: Int32) -> Range<Int> {
        port < 0 ? 0..<0 : ports[Int(port)].listeners.range
    }
}
