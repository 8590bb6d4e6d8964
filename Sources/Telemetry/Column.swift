/// Counters of the whole process; each is bumped by exactly one line of the data plane.
public enum Counter: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case receivedBytes
    case sentBytes
    case acceptedConnections
    case rejectedConnections
    case acceptPauses
    case tlsHandshakes
    case tlsFailures
    case proxyHeaderFailures
    case datagramsReceived
    case datagramBytesReceived
    case datagramsSent
    case datagramBytesSent
    case datagramsDropped
    case datagramSessionsBegun
    case upstreamConnects
    case upstreamReuses
    case completed
    case clientCancels
    case clientTimeouts
    case drainCuts
    case tunnels
    case tunnelCuts
    case streamRejections
    case retries
    case retriesOverBudget
    case malformedRequests
    case regexLimit
    case http2Streams
    case http2FloodResets
    case http2FloodContinuations
    case http2FloodSettings
    case http2FloodPings
    case http2FloodPriorities
    case http2FloodEmptyData
    case http2FloodLateData
    case http2FloodWindowUpdates
    case http2FloodUnknownFrames
    case http2FloodOutboundQueue
    case http2FloodLibrary
    case pickerChoices
    case pickerUnreachable
    case pickerTimeouts
    case pickerBroken
    case pickerMalformed
    case pickerNoEndpoint
    case pickerOverflows
    case http2ProtocolErrors
    case mirrors
    case mirrorsBehind
    case mirrorsFailed
    case mirrorsCut
    case authorizationsAllowed
    case authorizationsDenied
    case authorizationsFailed
    case accessLogDropped

    /// How many there are; `allCases` would make an array.
    static var count: Int { Int(accessLogDropped.rawValue) + 1 }
}

/// Levels of a worker; the page shows their sums.
public enum Gauge: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case downstreamConnections
    case upstreamConnections
    case activeExchanges
    case activeTunnels
    case datagramSessions
    case activeMirrors
    case activeAuthorizations
    case bufferBytes
    case heldBytes

    /// How many there are.
    static var count: Int { Int(heldBytes.rawValue) + 1 }
}

/// Why an attempt at a backend failed.
public enum UpstreamFailure: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case connectRefused
    case connectTimeout
    case tls
    case resetBeforeHead
    case malformedAnswer
    case firstByteTimeout
    case idleTimeout
    case truncated
    case noEndpoint
    case overloaded
    case attemptTimeout
    case requestTimeout

    /// The word in metrics and logs.
    public var text: String {
        switch self {
        case .connectRefused: "connect_refused"
        case .connectTimeout: "connect_timeout"
        case .tls: "tls"
        case .resetBeforeHead: "reset_before_head"
        case .malformedAnswer: "malformed_answer"
        case .firstByteTimeout: "first_byte_timeout"
        case .idleTimeout: "idle_timeout"
        case .truncated: "truncated"
        case .noEndpoint: "no_endpoint"
        case .overloaded: "overloaded"
        case .attemptTimeout: "attempt_timeout"
        case .requestTimeout: "request_timeout"
        }
    }
}

/// Stable ids of metric series with a meaning of their own.
public enum Series {
    /// No rule was matched: malformed requests, no listener, no route.
    public static var none: UInt32 { 0 }
    /// The shard had no room for more rows.
    public static var other: UInt32 { .max }
}

/// Which row of a shard a number belongs to, as one word that is never 0.
struct Column: BitwiseCopyable, Sendable, Hashable {
    enum Kind: UInt8, BitwiseCopyable, Sendable { case request = 1, failure, histogram }

    let key: UInt64

    @inline(__always)
    init(key: UInt64) { self.key = key }

    @inline(__always)
    private init(_ kind: Kind, series: UInt32, method: UInt8, code: UInt16) {
        key =
            UInt64(kind.rawValue) &<< 56 | UInt64(method) &<< 48 | UInt64(code) &<< 32
            | UInt64(series)
    }

    @inline(__always)
    static func request(series: UInt32, method: UInt8, status: UInt16) -> Column {
        Column(.request, series: series, method: method, code: status)
    }

    @inline(__always)
    static func failure(series: UInt32, reason: UpstreamFailure) -> Column {
        Column(.failure, series: series, method: 0, code: UInt16(reason.rawValue))
    }

    @inline(__always)
    static func histogram(_ kind: Histogram.Kind, series: UInt32) -> Column {
        Column(.histogram, series: series, method: 0, code: UInt16(kind.rawValue))
    }

    var kind: Kind? { Kind(rawValue: UInt8(truncatingIfNeeded: key >> 56)) }
    var series: UInt32 { UInt32(truncatingIfNeeded: key) }
    var method: UInt8 { UInt8(truncatingIfNeeded: key >> 48) }
    var code: UInt16 { UInt16(truncatingIfNeeded: key >> 32) }

    /// The row that takes the number when there is no room for this one.
    var overflow: Column {
        switch kind {
        case .request, nil: .request(series: Series.other, method: .max, status: 0)
        case .failure: Column(.failure, series: Series.other, method: 0, code: code)
        case .histogram: Column(.histogram, series: Series.other, method: 0, code: code)
        }
    }

    /// Cells of a row of this kind.
    var width: Int { kind == .histogram ? Histogram.cells : 1 }

    /// The rows that are there from the start: the worker's own turns, and what is there so that no number is ever lost.
    static var reserved: [Column] {
        [
            .histogram(.workerTick, series: Series.none),
            .request(series: Series.other, method: .max, status: 0),
        ]
            + UpstreamFailure.allCases.map { .failure(series: Series.other, reason: $0) }
            + Histogram.Kind.allCases.map { .histogram($0, series: Series.other) }
    }

    /// Spreads the key over the bits.
    @inline(__always)
    var hash: Int {
        let product = (key ^ (key &>> 29)) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: product &>> 32)
    }
}
