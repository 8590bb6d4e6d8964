/// The name of one stream's life inside its session: a slot and a generation, not the number on the wire.
///
/// A stale one finds nothing.
@frozen
public struct StreamID: BitwiseCopyable, Hashable, Sendable {
    public let slot: UInt32
    let generation: UInt32

    init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// No stream at all.
    public static var none: StreamID { StreamID(slot: .max, generation: 0) }

    public var isNone: Bool { slot == .max }
}

/// One thing that happened in a session; ask with `HTTP2Session.nextEvent` until nil.
public struct HTTP2Event: BitwiseCopyable, Equatable, Sendable {
    public enum Kind: BitwiseCopyable, Equatable, Sendable {
        /// A request came; its whole head can be read. A server's only.
        case opened
        /// There is something new for `read`: bytes, or the end.
        case readable
        /// `isCongested` is false again after it was true; to a server also: all of its answer is sent.
        case writable
        /// The stream ended before its time; nothing more can be read or sent.
        ///
        /// `refused`: the peer did nothing for it, so that it may be tried elsewhere.
        case reset(code: UInt32, refused: Bool)
        /// The peer takes no new streams; those that are open go on. Has no stream.
        case goAway
        /// `capacity` may have grown. Has no stream. A client's only.
        case capacity
    }

    public let kind: Kind
    /// `none` where the event is the connection's.
    public let stream: StreamID
    /// What `setTag` or `open` gave; 0 before.
    public let tag: UInt64
}

/// What `HTTP2Session.read` did.
public enum HTTP2Read: BitwiseCopyable, Equatable, Sendable {
    /// So many bytes were appended; there may be more.
    case bytes(Int)
    /// Nothing now; `.readable` tells of more. Also when the room is below `HTTP2Limits.readBytesMin`.
    case wouldBlock
    /// The peer has said all, and all was read.
    case end
    /// The stream was cut off; an error code of RFC 9113 §7.
    case reset(UInt32)
}

/// How a stream is left.
public enum StreamClose: BitwiseCopyable, Equatable, Sendable {
    /// In peace: what was given is sent to its end. Output that lacks its end is cut off as by `error`.
    case finished
    /// Nobody wants it any more: CANCEL.
    case cancel
    /// It cannot be completed: INTERNAL_ERROR.
    case error
    /// Nothing was done for it, so that the peer may try again: REFUSED_STREAM.
    case refused
}

/// Error codes of HTTP/2 (RFC 9113 §7).
public enum HTTP2Code {
    public static var noError: UInt32 { 0 }
    public static var protocolError: UInt32 { 1 }
    public static var internalError: UInt32 { 2 }
    public static var flowControlError: UInt32 { 3 }
    public static var settingsTimeout: UInt32 { 4 }
    public static var streamClosed: UInt32 { 5 }
    public static var frameSizeError: UInt32 { 6 }
    public static var refusedStream: UInt32 { 7 }
    public static var cancel: UInt32 { 8 }
    public static var compressionError: UInt32 { 9 }
    public static var connectError: UInt32 { 10 }
    public static var enhanceYourCalm: UInt32 { 11 }
    public static var inadequateSecurity: UInt32 { 12 }
    public static var http11Required: UInt32 { 13 }
}
