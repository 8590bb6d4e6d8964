/// Strict reader of the chunked coding (RFC 9112 §7.1).
///
/// Sizes are plain hexadecimal digits; every line ends with CRLF; extensions are read within a
/// bound and dropped; trailer lines are judged as field lines are.
public struct ChunkedDecoder: BitwiseCopyable, Sendable {
    /// What comes next in chunked content.
    public enum Step: Equatable, Sendable {
        /// Content bytes, as a range of the given input.
        case content(Range<Int>)
        /// One trailer line without its line end, checked, that may be forwarded.
        case trailer(Range<Int>)
        /// The content has ended; `from` is after its last byte.
        case end
        /// All input was used but what is from `from` on, which must be given again with more.
        case incomplete
        /// The coding is broken; every further step says so too.
        case malformed(Malformed)
    }

    /// What `relay` found after the bytes that may be forwarded.
    public enum RelayState: Equatable, Sendable {
        /// The rest of the input, from `upTo` on, must be given again with more.
        case more
        /// The content has ended at `upTo`.
        case finished
        /// What follows `upTo` must go through `next`: an extension or a trailer section.
        case needsDecoding
        /// The coding is broken; bytes before `upTo` were good.
        case malformed(Malformed)
    }

    /// Where in the coding the next byte lies.
    @usableFromInline
    enum State: UInt8, Sendable, BitwiseCopyable {
        /// At the first digit of a size.
        case size
        /// After at least one digit.
        case digits
        /// In white space after the digits, which only an extension may follow.
        case space
        case extensions
        case sizeLF
        case data
        case dataCR
        case dataLF
        case trailer
        case done
        case broken
    }

    @usableFromInline var state = State.size
    @usableFromInline var digits: UInt8 = 0
    /// What broke the coding; before, the first of the reasons, so that a new decoder is all zero.
    @usableFromInline var reason = Malformed.Reason.requestLineTooLong
    @usableFromInline var trailerLines: UInt8 = 0
    @usableFromInline var chunkExtensionBytes: UInt16 = 0
    @usableFromInline var extensionBytes: UInt16 = 0
    @usableFromInline var trailerBytes: UInt32 = 0
    /// Bytes of the current chunk that are still to come.
    @usableFromInline var remaining: UInt64 = 0
    /// Bytes of content that were read, without their framing.
    public private(set) var contentBytes: UInt64 = 0

    /// Makes a decoder at the start of chunked content.
    @inlinable @inline(__always) public init() {}

    /// Whether the end was read.
    public var isFinished: Bool { state == .done }

    /// Bytes of the current chunk that are still to come.
    public var chunkRemaining: UInt64 { state == .data ? remaining : 0 }

    // MARK: - Decoding

    /// Reads the next step from offset `from` of `bytes` and advances `from`.
    ///
    /// Only an incomplete trailer line is left unread by `.incomplete`.
    public mutating func next(_ bytes: Span<UInt8>, from: inout Int) -> Step {
        while true {
            switch state {
            case .data:
                if from == bytes.count { return .incomplete }
                let start = from
                let count = min(remaining, UInt64(bytes.count &- start))
                from = start &+ Int(truncatingIfNeeded: count)
                remaining &-= count
                contentBytes &+= count
                if remaining == 0 { state = .dataCR }
                return .content(start..<from)
            case .trailer:
                if let step = readTrailer(bytes, &from) { return step }
            case .done: return .end
            case .broken: return .malformed(Malformed(reason))
            case .size, .digits, .space, .extensions, .sizeLF, .dataCR, .dataLF:
                if from == bytes.count { return .incomplete }
                let byte = bytes[from]
                from &+= 1
                if let reason = take(byte) { return fail(reason) }
            }
        }
    }

    private mutating func fail(_ newReason: Malformed.Reason) -> Step {
        state = .broken
        reason = newReason
        return .malformed(Malformed(newReason))
    }

    /// Takes one byte of a chunk's framing.
    private mutating func take(_ byte: UInt8) -> Malformed.Reason? {
        switch state {
        case .size, .digits: return takeDigit(byte)
        case .space:
            if byte == 0x3B {
                state = .extensions
            } else if byte != 0x20 && byte != 0x09 {
                return .chunkLineEnd
            }
            return countExtension()
        case .extensions:
            if byte == 0x0D {
                state = .sizeLF
                return nil
            }
            if byte == 0x0A { return .chunkLineEnd }
            if (byte < 0x20 && byte != 0x09) || byte == 0x7F { return .chunkExtension }
            return countExtension()
        case .sizeLF:
            if byte != 0x0A { return .chunkLineEnd }
            state = remaining == 0 ? .trailer : .data
            return nil
        case .dataCR:
            if byte != 0x0D { return .chunkDataEnd }
            state = .dataLF
            return nil
        case .dataLF:
            if byte != 0x0A { return .chunkDataEnd }
            state = .size
            digits = 0
            remaining = 0
            chunkExtensionBytes = 0
            return nil
        case .data, .trailer, .done, .broken: preconditionFailure("not in a chunk's framing")
        }
    }

    /// Takes a byte of a size, or the one after it.
    private mutating func takeDigit(_ byte: UInt8) -> Malformed.Reason? {
        if let value = Authority.hexValue(byte) {
            // 2^59, so that four more bits stay below 2^63.
            if digits == ChunkLimits.sizeDigits || remaining >= 0x0800_0000_0000_0000 {
                return .chunkSizeTooLarge
            }
            remaining = remaining &<< 4 | UInt64(value)
            digits &+= 1
            state = .digits
            return nil
        }
        if state == .size { return .chunkSize }
        switch byte {
        case 0x0D: state = .sizeLF
        case 0x3B:
            state = .extensions
            return countExtension()
        case 0x20, 0x09:
            state = .space
            return countExtension()
        case 0x0A: return .chunkLineEnd
        default: return .chunkSize
        }
        return nil
    }

    /// Counts one byte of an extension against both bounds.
    private mutating func countExtension() -> Malformed.Reason? {
        chunkExtensionBytes &+= 1
        extensionBytes &+= 1
        if chunkExtensionBytes > ChunkLimits.extensionBytes
            || extensionBytes > ChunkLimits.extensionsBytes
        {
            return .chunkExtensionTooLong
        }
        return nil
    }

    // MARK: - Trailers

    /// Reads one trailer line or the empty line; nil when the line is dropped.
    private mutating func readTrailer(_ bytes: Span<UInt8>, _ from: inout Int) -> Step? {
        let start = from
        let end = ByteScan.firstControl(bytes, from: start, to: bytes.count)
        let lineBytes = end - start
        if lineBytes > ChunkLimits.trailerBytes
            || lineBytes + Int(trailerBytes) > ChunkLimits.trailersBytes
        {
            return fail(.trailersTooLong)
        }
        if end == bytes.count { return .incomplete }
        if bytes[end] != 0x0D { return fail(bytes[end] == 0x0A ? .chunkLineEnd : .trailerInvalid) }
        if end + 1 == bytes.count { return .incomplete }
        if bytes[end + 1] != 0x0A { return fail(.chunkLineEnd) }
        from = end + 2
        if lineBytes == 0 {
            state = .done
            return .end
        }
        trailerLines += 1
        trailerBytes += UInt32(lineBytes + 2)
        if trailerLines > ChunkLimits.trailerCount { return fail(.trailersTooLong) }
        switch Trailer.judge(bytes, start..<end) {
        case .invalid: return fail(.trailerInvalid)
        case .dropped: return nil
        case .kept: return .trailer(start..<end)
        }
    }

    // MARK: - Relaying

    /// How far the bytes from `from` on may be forwarded exactly as they stand.
    ///
    /// Each chunk header was checked and is plain `1*HEXDIG CRLF`; one that is incomplete is not
    /// included: the caller gives its few bytes again with more. Never mix with `next` inside of a
    /// chunk's framing; where `next` left off there, the answer is `.needsDecoding`.
    public mutating func relay(
        _ bytes: Span<UInt8>, from: Int
    ) -> (upTo: Int, state: RelayState) {
        var at = from
        while true {
            switch state {
            case .data:
                if at == bytes.count { return (at, .more) }
                let count = min(remaining, UInt64(bytes.count &- at))
                at &+= Int(truncatingIfNeeded: count)
                remaining &-= count
                contentBytes &+= count
                if remaining == 0 { state = .dataCR }
            case .dataCR, .dataLF:
                if at == bytes.count { return (at, .more) }
                if let newReason = take(bytes[at]) { return (at, relayFailure(newReason)) }
                at &+= 1
            case .size:
                switch plainHeader(bytes, at) {
                case .data(let size, let next):
                    remaining = size
                    state = .data
                    at = next
                case .last(let next):
                    state = .done
                    at = next
                case .incomplete: return (at, .more)
                case .notPlain: return (at, .needsDecoding)
                case .malformed(let reason): return (at, relayFailure(reason))
                }
            case .done: return (at, .finished)
            case .broken: return (at, .malformed(Malformed(reason)))
            case .digits, .space, .extensions, .sizeLF, .trailer: return (at, .needsDecoding)
            }
        }
    }

    private mutating func relayFailure(_ newReason: Malformed.Reason) -> RelayState {
        state = .broken
        reason = newReason
        return .malformed(Malformed(newReason))
    }

    private enum PlainHeader {
        case data(UInt64, next: Int)
        case last(next: Int)
        case incomplete
        case notPlain
        case malformed(Malformed.Reason)
    }

    /// Reads a whole plain header at `start`, with the empty trailer section after a size of 0.
    private func plainHeader(_ bytes: Span<UInt8>, _ start: Int) -> PlainHeader {
        var at = start
        var size: UInt64 = 0
        while at < bytes.count, let value = Authority.hexValue(bytes[at]) {
            if at &- start == ChunkLimits.sizeDigits || size >= 0x0800_0000_0000_0000 {
                return .malformed(.chunkSizeTooLarge)
            }
            size = size &<< 4 | UInt64(value)
            at &+= 1
        }
        if at == bytes.count { return .incomplete }
        if at == start { return .malformed(.chunkSize) }
        switch bytes[at] {
        case 0x0D: break
        case 0x3B, 0x20, 0x09: return .notPlain
        case 0x0A: return .malformed(.chunkLineEnd)
        default: return .malformed(.chunkSize)
        }
        if at &+ 1 == bytes.count { return .incomplete }
        if bytes[at &+ 1] != 0x0A { return .malformed(.chunkLineEnd) }
        at &+= 2
        if size > 0 { return .data(size, next: at) }
        if at == bytes.count { return .incomplete }
        if bytes[at] != 0x0D { return .notPlain }
        if at &+ 1 == bytes.count { return .incomplete }
        return bytes[at &+ 1] == 0x0A ? .last(next: at &+ 2) : .malformed(.chunkLineEnd)
    }
}
