/// A range of bytes in the buffer that a head owns, or in a span given by the caller.
public struct ByteRange: BitwiseCopyable, Sendable, Equatable {
    /// Offset of the first byte; `UInt32.max` in `none`.
    public var start: UInt32
    /// Number of bytes.
    public var count: UInt32

    /// Makes a range from an offset and a number of bytes.
    @inlinable public init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }

    /// Makes a range from offsets below 2^32.
    @inlinable public init(_ range: Range<Int>) {
        self.start = UInt32(truncatingIfNeeded: range.lowerBound)
        self.count = UInt32(truncatingIfNeeded: range.upperBound &- range.lowerBound)
    }

    /// Makes a range from offsets in order.
    @inlinable @inline(__always) init(from: Int, to: Int) {
        self.start = UInt32(truncatingIfNeeded: from)
        self.count = UInt32(truncatingIfNeeded: to &- from)
    }

    /// Makes a range from offsets that are counted from `start`.
    @inlinable init(start: UInt32, _ range: Range<Int>) {
        self.start = start &+ UInt32(truncatingIfNeeded: range.lowerBound)
        self.count = UInt32(truncatingIfNeeded: range.upperBound &- range.lowerBound)
    }

    /// No range at all, as a query that has no `?`; unlike an empty range it has no place.
    @inlinable public static var none: ByteRange { ByteRange(start: .max, count: 0) }

    /// Whether this is `none`.
    @inlinable public var isNone: Bool { start == .max }
    /// Whether there are no bytes, also for `none`.
    @inlinable public var isEmpty: Bool { count == 0 }
    /// Offset after the last byte; 0 for `none`.
    @inlinable public var end: Int { isNone ? 0 : Int(start) &+ Int(count) }
    /// The offsets as a range; empty at 0 for `none`.
    @inlinable public var range: Range<Int> {
        if isNone { return 0..<0 }
        return Int(start)..<(Int(start) &+ Int(count))
    }
}

/// Protocol version of a message.
public enum Version: UInt8, Sendable, BitwiseCopyable {
    case http10
    case http11
    case http2
}

/// What a request asks of its connection by `Upgrade` (RFC 9110 §7.8).
public enum Upgrade: UInt8, Sendable, BitwiseCopyable {
    case none
    case websocket
    case other
}

/// What a head parser found at the start of its input.
public enum HeadStep: Equatable, Sendable {
    /// A whole head, which used this many bytes of input.
    case complete(consumed: Int)
    /// The head has not ended yet; hand `scanned` back as `resumeAt` with more input.
    case incomplete(scanned: Int)
    /// The head is refused.
    case malformed(Malformed)
}

/// One step of a message on a connection; heads are read from the connection that gave the event.
public enum Event: Equatable, Sendable {
    /// All input was used; the bytes from `from` on must be given again with more.
    case needsMore
    /// A head is complete: `HTTP1Connection.request` or `.response`.
    case head
    /// Content bytes, as a range of the given input.
    case content(Range<Int>)
    /// One trailer line that was checked and may be forwarded, as a range of the given input.
    case trailer(Range<Int>)
    /// The message has ended.
    case end
    /// The peer broke the protocol; answer once if that is still possible, then close.
    case malformed(Malformed)
}
