/// What a peer did too much of; each has a stable word for counters and the log.
public enum Flood: UInt8, CaseIterable, BitwiseCopyable, Sendable {
    /// Streams ended before their time, by the peer or because of it.
    case reset
    case continuation
    case settings
    case ping
    case priority
    /// DATA without a byte but padding that does not end its stream.
    case emptyData
    /// DATA on streams that are over, beyond what their windows had allowed when they were reset.
    case lateData
    case windowUpdate
    /// Frames of no known type, and heads (a server's resets too) of streams that are over.
    case unknownFrame
    /// Answers to control frames that the peer does not read.
    case outboundQueue
    /// What the library itself calls a flood.
    case library

    /// The detail code: `h2.flood.` and a word.
    public var slug: StaticString {
        switch self {
        case .reset: "h2.flood.reset"
        case .continuation: "h2.flood.continuation"
        case .settings: "h2.flood.settings"
        case .ping: "h2.flood.ping"
        case .priority: "h2.flood.priority"
        case .emptyData: "h2.flood.empty-data"
        case .lateData: "h2.flood.late-data"
        case .windowUpdate: "h2.flood.window-update"
        case .unknownFrame: "h2.flood.unknown-frame"
        case .outboundQueue: "h2.flood.outbound-queue"
        case .library: "h2.flood.library"
        }
    }
}
