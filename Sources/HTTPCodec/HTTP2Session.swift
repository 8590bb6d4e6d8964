import HTTP
import Kernel

/// One HTTP/2 connection, either side, whose streams are virtual HTTP/1.1 connections of one request.
public struct HTTP2Session: ~Copyable {
    public init?(role: Role, limits: HTTP2Limits = HTTP2Limits(), isSecure: Bool, now: UInt64) {}

    public mutating func receive(
        _ bytes: Span<UInt8>, _ pool: inout BufferPool, now: UInt64
    ) -> Bool { false }
    public mutating func nextEvent() -> HTTP2Event? { nil }
    public mutating func produce(
        into output: inout OutputSpan<UInt8>, _ pool: inout BufferPool, now: UInt64
    ) -> Bool { false }
    public mutating func produce(
        into output: inout Buffer, _ pool: inout BufferPool, now: UInt64
    ) -> Bool { false }
    /// Gives every buffer back; to be called before the session is dropped.
    public mutating func release(_ pool: inout BufferPool) {}
    public var wantsOutput: Bool { false }
    public var isOver: Bool { false }
    public var openStreams: Int { 0 }
    public var flood: Flood? { nil }
    public var lastReceived: UInt64 { 0 }
    /// The header block of a frame is incomplete: the deadline of heads holds.
    public var isReceivingHead: Bool { false }
    public mutating func shutDown() {}
    public mutating func goAway() {}
    public mutating func ping(now: UInt64) {}
    public var capacity: Int { 0 }
    public var acceptsExtendedConnect: Bool { false }

    public mutating func open(tag: UInt64) -> StreamID? { nil }
    public mutating func setTag(_ stream: StreamID, _ tag: UInt64) {}
    public func tag(of stream: StreamID) -> UInt64? { nil }
    public mutating func read(
        _ stream: StreamID, into output: inout OutputSpan<UInt8>, _ pool: inout BufferPool
    ) -> HTTP2Read { .end }
    public mutating func read(
        _ stream: StreamID, into output: inout Buffer, _ pool: inout BufferPool
    ) -> HTTP2Read { .end }
    public mutating func send(
        _ stream: StreamID, _ bytes: Span<UInt8>, then more: Span<UInt8>, _ pool: inout BufferPool
    ) -> Bool { false }
    /// Ends the output of a tunnel, or of content that lasts until the connection closes.
    public mutating func sendEnd(_ stream: StreamID) {}
    public func isCongested(_ stream: StreamID) -> Bool { false }
    /// Whether nothing that was given is still unsent.
    public func isFlushed(_ stream: StreamID) -> Bool { true }
    public mutating func close(
        _ stream: StreamID, _ how: StreamClose, _ pool: inout BufferPool
    ) {}
}

/// What a peer did too much of; each has a stable word for counters and the log.
public enum Flood: UInt8, CaseIterable, BitwiseCopyable, Sendable {
    case reset
    case continuation
    case settings
    case ping
    case priority
    case emptyData
    case windowUpdate
    case unknownFrame
    case outboundQueue
    case library

    /// The detail code, `h2.flood.` and a word.
    public var slug: StaticString {
        switch self {
        case .reset: "h2.flood.reset"
        case .continuation: "h2.flood.continuation"
        case .settings: "h2.flood.settings"
        case .ping: "h2.flood.ping"
        case .priority: "h2.flood.priority"
        case .emptyData: "h2.flood.emptyData"
        case .windowUpdate: "h2.flood.windowUpdate"
        case .unknownFrame: "h2.flood.unknownFrame"
        case .outboundQueue: "h2.flood.outboundQueue"
        case .library: "h2.flood.library"
        }
    }
}
