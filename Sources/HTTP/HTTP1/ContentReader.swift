/// The content of one direction of an exchange, whatever its framing.
public struct ContentReader: BitwiseCopyable, Sendable {
    @usableFromInline
    enum Kind: UInt8, Sendable, BitwiseCopyable {
        // First, so that a reader of no content is all zero, which is cheap to make.
        case finished
        case counted
        case chunked
        case untilClose
    }

    @usableFromInline var kind: Kind
    @usableFromInline var count: UInt64
    @usableFromInline var decoder = ChunkedDecoder()

    /// Makes a reader of no content.
    @inlinable @inline(__always)
    public init() {
        kind = .finished
        count = 0
    }

    /// Makes a reader of content with this framing.
    @inlinable @inline(__always)
    public init(_ framing: BodyFraming) {
        count = 0
        switch framing {
        case .none: kind = .finished
        case .length(let length):
            kind = length == 0 ? .finished : .counted
            count = length
        case .chunked: kind = .chunked
        case .untilClose: kind = .untilClose
        }
    }

    /// Whether the content has ended.
    @inlinable public var isFinished: Bool { kind == .finished }

    /// Whether the framing is the chunked coding, and the end was not read yet.
    @inlinable public var isChunked: Bool { kind == .chunked }

    /// Bytes that are still to come: known for a length, 0 at the end, nil otherwise.
    @inlinable public var remaining: UInt64? {
        switch kind {
        case .counted: count
        case .finished: 0
        case .chunked, .untilClose: nil
        }
    }

    /// Bytes of content that were read out of the chunked coding; nil for other framings.
    @inlinable @inline(__always)
    public var unchunkedBytes: UInt64? {
        kind == .chunked || decoder.isFinished ? decoder.contentBytes : nil
    }

    /// Reads the next step from offset `from` of `bytes` and advances `from`.
    ///
    /// `.end` is given as often as it is asked for.
    public mutating func next(_ bytes: Span<UInt8>, from: inout Int) -> ChunkedDecoder.Step {
        switch kind {
        case .finished: return .end
        case .counted, .untilClose:
            if from == bytes.count { return .incomplete }
            let start = from
            from = take(bytes, start)
            return .content(start..<from)
        case .chunked:
            let step = decoder.next(bytes, from: &from)
            if step == .end { kind = .finished }
            return step
        }
    }

    /// How far the bytes from `from` on may be forwarded exactly as they stand; see
    /// `ChunkedDecoder.relay`.
    @inlinable @inline(__always)
    public mutating func relay(
        _ bytes: Span<UInt8>, from: Int
    ) -> (upTo: Int, state: ChunkedDecoder.RelayState) {
        switch kind {
        case .finished: return (from, .finished)
        case .counted, .untilClose:
            let end = take(bytes, from)
            return (end, kind == .finished ? .finished : .more)
        case .chunked: return relayChunks(bytes, from: from)
        }
    }

    @usableFromInline @inline(never)
    mutating func relayChunks(
        _ bytes: Span<UInt8>, from: Int
    ) -> (upTo: Int, state: ChunkedDecoder.RelayState) {
        let result = decoder.relay(bytes, from: from)
        if result.state == .finished { kind = .finished }
        return result
    }

    /// Takes what belongs to the content of the bytes from `from` on; the result is its end.
    @inlinable @inline(__always)
    mutating func take(_ bytes: Span<UInt8>, _ from: Int) -> Int {
        precondition(from >= 0 && from <= bytes.count, "content outside of the span")
        if kind == .untilClose { return bytes.count }
        // No more than the bytes that there are, nor than what remains.
        let taken = min(count, UInt64(truncatingIfNeeded: bytes.count &- from))
        count &-= taken
        if count == 0 { kind = .finished }
        return from &+ Int(truncatingIfNeeded: taken)
    }

    /// Counts content bytes that were moved without being seen, as by splice.
    ///
    /// Traps for chunked content and for more bytes than remain: whoever splices knows the length.
    @inlinable
    public mutating func skip(_ skipped: Int) {
        switch kind {
        case .counted:
            precondition(
                skipped >= 0 && UInt64(skipped) <= count, "more content than was announced")
            count -= UInt64(skipped)
            if count == 0 { kind = .finished }
        case .untilClose: precondition(skipped >= 0, "no content is negative")
        case .finished: precondition(skipped == 0, "content after its end")
        case .chunked: preconditionFailure("chunked content must be read")
        }
    }

    /// Takes the end of input: whether the content is complete with it.
    public mutating func inputEnded() -> Bool {
        if kind == .untilClose { kind = .finished }
        return kind == .finished
    }
}
