import TLS

/// What a call's HTTP/1.1 travels in on its way to the server.
public struct CallTransport: Sendable, Equatable {
    /// How the server is made sure of; nil: in the clear.
    public var tls: TLSClientConfiguration?
    /// With TLS: the name that is asked for and verified.
    public var serverName: String
    /// In the clear: HTTP/2, by prior knowledge.
    ///
    /// Over TLS it is spoken where the server chooses it of what `tls` offers.
    public var isHTTP2: Bool

    public init(
        tls: TLSClientConfiguration? = nil, serverName: String = "", isHTTP2: Bool = false
    ) {
        self.tls = tls
        self.serverName = serverName
        self.isHTTP2 = isHTTP2
    }

    /// HTTP/1.1 over TCP.
    public static var plain: CallTransport { CallTransport() }

    var isPlain: Bool { tls == nil && !isHTTP2 }

    public static func == (a: CallTransport, b: CallTransport) -> Bool {
        a.tls === b.tls && a.serverName == b.serverName && a.isHTTP2 == b.isHTTP2
    }
}
