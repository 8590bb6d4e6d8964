import Kernel

/// Limits on what one peer or one process may make the gateway hold (`robustness.md` §6).
///
/// All counts of bytes. A value of 0 is refused when documents are read; it never means unlimited.
public struct Limits: Sendable, Equatable {
    /// Longest request line, in bytes.
    public var requestLineBytesMax = 8 * 1024
    /// Longest single field line of a request, in bytes.
    public var fieldBytesMax = 16 * 1024
    /// Longest header section of a request, in bytes.
    public var fieldsBytesMax = 60 * 1024
    /// Most field lines in a request.
    public var fieldCountMax = 100
    /// Longest head of an answer, in bytes.
    public var responseHeadBytesMax = 64 * 1024
    /// Most field lines in an answer.
    public var responseFieldCountMax = 200
    /// Largest request content, in bytes; `Int.max` stands for no limit and is the default.
    public var requestContentBytesMax = Int.max
    /// Request content kept for a second attempt, in bytes, until the first byte of the answer.
    public var replayBytesMax = 4 * 1024 * 1024
    /// Request content held for the choice of an endpoint by what it says, in bytes.
    public var heldContentBytesMax = 64 * 1024 * 1024
    /// Most client connections of the process.
    public var clientConnectionsMax = 100_000
    /// Most sessions of UDP clients, per worker; the one that was silent longest makes room.
    public var udpSessionsMax = 10_000
    /// Most connections to one endpoint's cluster, per worker.
    public var upstreamConnectionsMax = 1024
    /// Most exchanges that wait for a connection to one cluster, per worker.
    public var upstreamPendingMax = 1024
    /// Most retries of one request on an ordinary backend.
    public var retriesMax = 1
    /// Most retries of one request on an inference path.
    public var inferenceRetriesMax = 2
    /// Share of the active requests that may be retries, in percent.
    public var retryBudgetPercent = 20
    /// Retries always allowed at once, whatever the budget says.
    public var retryBudgetMin = 3
    /// Most interim (1xx) answers before a final one.
    public var interimAnswersMax = 64
    /// Most streams that a client may have open on one HTTP/2 connection: over TLS or from a trusted proxy, and else.
    public var http2TrustedStreamsMax = 1_000
    public var http2StreamsMax = 100
    /// Most bytes discarded from a client after its answer was sent, before the connection closes.
    public var lingerBytesMax = 256 * 1024

    public init() {}
}

/// Deadlines of every wait, in milliseconds (`robustness.md` §6); 0 is refused except where it says «none».
public struct Timeouts: Sendable, Equatable {
    /// From a request's first byte to the end of its head.
    public var requestHeaderMilliseconds: UInt32 = 10_000
    /// A client connection that has never sent a byte.
    public var silentConnectionMilliseconds: UInt32 = 20_000
    /// Between bytes of a request's content.
    public var requestBodyIdleMilliseconds: UInt32 = 30_000
    /// A client that takes none of the answer's bytes.
    public var clientWriteStallMilliseconds: UInt32 = 60_000
    /// A client connection between two requests.
    public var keepAliveIdleMilliseconds: UInt32 = 75_000
    /// A pooled backend connection between two requests, at most.
    public var upstreamIdleMilliseconds: UInt32 = 60_000
    /// A TCP connection to a backend.
    public var connectMilliseconds: UInt32 = 5_000
    /// A TLS handshake, on either side.
    public var handshakeMilliseconds: UInt32 = 10_000
    /// From the request's end to the first byte of an ordinary backend's answer.
    public var firstByteMilliseconds: UInt32 = 60_000
    /// The same for backends with a `modelServer`: loading a model takes minutes.
    public var modelFirstByteMilliseconds: UInt32 = 600_000
    /// Between bytes of an answer.
    public var streamIdleMilliseconds: UInt32 = 300_000
    /// An external endpoint picker that is to say something: from when it has all it needs.
    public var pickerMilliseconds: UInt32 = 10_000
    /// Who is asked whether a request may pass (`ExternalAuth`): from the question to the end of the answer.
    public var authorizationMilliseconds: UInt32 = 10_000
    /// Between bytes of a tunnel, in either direction.
    public var tunnelIdleMilliseconds: UInt32 = 3_600_000
    /// Between datagrams of a UDP client's session, in either direction.
    public var udpIdleMilliseconds: UInt32 = 60_000
    /// A connection that is closed with unread input.
    public var lingerMilliseconds: UInt32 = 2_000
    /// TCP keepalive: idle time, interval (seconds) and probes, on both sides.
    public var tcpKeepAliveIdleSeconds: Int32 = 30
    public var tcpKeepAliveIntervalSeconds: Int32 = 10
    public var tcpKeepAliveProbes: Int32 = 3
    /// TCP_USER_TIMEOUT on both sides.
    public var tcpUserTimeoutMilliseconds: UInt32 = 60_000

    public init() {}
}

/// An address block whose forwarding fields are believed (`trustedProxies.cidrs`).
public struct AddressBlock: Sendable, Hashable {
    /// Any address of the block; its port does not matter.
    public var address: SocketAddress
    /// Leading bits that must agree, 0…32 or 0…128.
    public var prefixLength: Int

    /// A block from one of its addresses.
    public init(address: SocketAddress, prefixLength: Int) {
        self.address = address
        self.prefixLength = prefixLength
    }

    /// Whether an address lies in the block.
    public func contains(_ other: SocketAddress) -> Bool {
        other.agrees(with: address, bits: prefixLength)
    }
}

/// Whose forwarding fields are believed (`GatewayParameters.spec.trustedProxies`); nobody's by default.
public struct TrustedProxies: Sendable, Equatable {
    /// The field that carries the client's address.
    public enum Source: Sendable, Equatable {
        case xForwardedFor
        /// A field with one address, such as `cf-connecting-ip`, by its lower-case name.
        case field(String)
    }

    public var blocks: [AddressBlock] = []
    /// How many proxies of ours stand before the gateway, at least 1.
    public var hops = 1
    public var source = Source.xForwardedFor

    public init() {}
}

extension TrustedProxies {
    /// Whether the address lies in one of the blocks.
    public func contains(_ address: SocketAddress) -> Bool {
        blocks.contains { $0.contains(address) }
    }
}

/// What answers say of how they came about (`GatewayParameters.spec.answerHeaders`); nothing by default.
public struct AnswerFields: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `x-gateway-endpoint`: the address that answered.
    public static var endpoint: AnswerFields { AnswerFields(rawValue: 1) }
    /// `x-gateway-attempts`: how many endpoints were asked.
    public static var attempts: AnswerFields { AnswerFields(rawValue: 2) }
    /// `x-gateway-decision`: why this endpoint of a pool, with its scores and who would have been next.
    public static var decision: AnswerFields { AnswerFields(rawValue: 4) }
}

/// What one Gateway's `GatewayParameters` say, with defaults filled in.
public struct Parameters: Sendable, Equatable {
    public var limits = Limits()
    public var timeouts = Timeouts()
    public var trustedProxies = TrustedProxies()
    /// A client that ends its sending side while an answer is owed goes on being served.
    public var allowsHalfClose = false
    /// Connections to the Gateway's ports begin with a header of the PROXY protocol, version 1 or 2.
    public var acceptsProxyProtocol = false
    public var answerFields = AnswerFields()

    public init() {}
}
