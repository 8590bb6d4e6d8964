/// Scans of 16 bytes at a time and copies of bytes: the only file of this module that says
/// `unsafe`.
///
/// Every function takes a `Span` and offsets, checks the offsets once, and never reads or writes
/// past them. Constants of vectors name their type and sit outside the loops: an inferred
/// `SIMD16(repeating:)` inside an expression takes an unspecialised path that is 300 times slower.
public enum ByteScan {
    // MARK: - Loads

    /// 16 bytes from `offset`, which the caller has checked to be all in the span.
    @inlinable @inline(__always)
    static func load16(_ bytes: Span<UInt8>, _ offset: Int) -> SIMD16<UInt8> {
        assert(offset >= 0 && offset &+ 16 <= bytes.count, "load16 outside of the span")
        // Sound: every caller loops while offset + 16 is at most a bound that it has checked
        // against the span, from an offset that it has checked not to be negative.
        return unsafe bytes.bytes.unsafeLoadUnaligned(
            fromUncheckedByteOffset: offset, as: SIMD16<UInt8>.self)
    }

    /// 8 bytes from `offset`, first byte lowest; traps when they are not all in the span.
    @inlinable @inline(__always)
    public static func load8(_ bytes: Span<UInt8>, _ offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset &+ 8 <= bytes.count, "load8 outside of the span")
        // Sound: the 8 bytes were just checked to be inside, and UInt64 has no padding.
        return UInt64(
            littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
                fromUncheckedByteOffset: offset, as: UInt64.self))
    }

    /// Index of the first lane that is set, 0...15, or 16.
    @inlinable @inline(__always)
    static func firstLane(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
        // Sound: a mask of 16 lanes is 16 bytes that are each 0 or 0xFF, as is SIMD2<UInt64>.
        let words = unsafe unsafeBitCast(mask, to: SIMD2<UInt64>.self)
        if words.x != 0 { return words.x.littleEndian.trailingZeroBitCount &>> 3 }
        return 8 &+ (words.y.littleEndian.trailingZeroBitCount &>> 3)
    }

    /// Index of the first lane from `least` on that is set, or 16; `least` is 0...15.
    @inlinable @inline(__always)
    static func firstLane(_ mask: SIMDMask<SIMD16<Int8>>, atLeast least: Int) -> Int {
        // Sound: a mask of 16 lanes is 16 bytes that are each 0 or 0xFF, as is SIMD2<UInt64>.
        let words = unsafe unsafeBitCast(mask, to: SIMD2<UInt64>.self)
        let shift = UInt64(truncatingIfNeeded: (least & 7) &* 8)
        let low = least < 8 ? (words.x.littleEndian &>> shift) &<< shift : 0
        if low != 0 { return low.trailingZeroBitCount &>> 3 }
        let high = words.y.littleEndian
        let kept = least < 8 ? high : (high &>> shift) &<< shift
        return 8 &+ (kept.trailingZeroBitCount &>> 3)
    }

    // MARK: - Scans

    /// Offset of the first control byte other than TAB, or DEL, in `from..<to`; `to` when there is
    /// none.
    @inlinable @inline(__always)
    public static func firstControl(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        // One more than a control or DEL is negative or at most 0x20 as a signed byte. So is one
        // more than a byte above 0x7F: those, and TAB, are told apart one by one.
        let one: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 1)
        let bound: SIMD16<Int8> = SIMD16<Int8>(repeating: 0x21)
        var at = from
        while at &+ 16 <= to {
            let v = SIMD16<Int8>(truncatingIfNeeded: load16(bytes, at) &+ one)
            let lane = firstLane(v .< bound)
            if lane < 16 {
                // Sound: at + lane is inside of the 16 bytes that were loaded.
                let byte = unsafe bytes[unchecked: at &+ lane]
                if byte < 0x20 && byte != 0x09 { return at &+ lane }
                return firstControlSlowly(bytes, from: at &+ lane, to: to)
            }
            at &+= 16
        }
        return at < to ? firstControlSlowly(bytes, from: at, to: to) : max(from, to)
    }

    /// Offset of the first byte in `from..<to` that may be a control byte; `to` when there is none.
    ///
    /// It may also be TAB or above 0x7F: the caller knows what it looks for, and takes
    /// `firstControl` when it is not that.
    @inline(__always)
    static func firstSuspect(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let one: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 1)
        let bound: SIMD16<Int8> = SIMD16<Int8>(repeating: 0x21)
        var at = from
        while at &+ 16 <= to {
            let v = SIMD16<Int8>(truncatingIfNeeded: load16(bytes, at) &+ one)
            let lane = firstLane(v .< bound)
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        return at < to ? firstControlSlowly(bytes, from: at, to: to) : max(from, to)
    }

    /// `firstControl` for text with bytes above 0x7F or tabs, or of fewer than 16 bytes.
    @usableFromInline @inline(never)
    static func firstControlSlowly(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let space: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x20)
        let tab: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x09)
        let delete: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x7F)
        var at = from
        while at &+ 16 <= to {
            let v = load16(bytes, at)
            let lane = firstLane(((v .< space) .& (v .!= tab)) .| (v .== delete))
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        if at < to, to >= 16 {
            // The last 16 bytes again; lanes before `at` do not count.
            let v = load16(bytes, to &- 16)
            let hit = ((v .< space) .& (v .!= tab)) .| (v .== delete)
            return to &- 16 &+ firstLane(hit, atLeast: 16 &- (to &- at))
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            if isControl(unsafe bytes[unchecked: at]) { return at }
            at &+= 1
        }
        return max(from, to)
    }

    /// Whether the byte is a control other than TAB, or DEL.
    @inlinable @inline(__always)
    static func isControl(_ byte: UInt8) -> Bool {
        (byte < 0x20 && byte != 0x09) || byte == 0x7F
    }

    /// Offset of the first `byte` in `from..<to`; `to` when there is none.
    @inlinable
    public static func first(_ byte: UInt8, _ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let wanted: SIMD16<UInt8> = SIMD16<UInt8>(repeating: byte)
        var at = from
        while at &+ 16 <= to {
            let lane = firstLane(load16(bytes, at) .== wanted)
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            if unsafe bytes[unchecked: at] == byte { return at }
            at &+= 1
        }
        return max(from, to)
    }

    /// Offset of the first quote, backslash or byte below 0x20 in `from..<to`; `to` when there is
    /// none.
    ///
    /// These are the bytes that end a plain run inside a JSON string (RFC 8259 §7).
    @inlinable
    public static func firstOfString(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let space: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x20)
        let quote: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x22)
        let backslash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5C)
        var at = from
        while at &+ 16 <= to {
            let v = load16(bytes, at)
            let lane = firstLane((v .< space) .| (v .== quote) .| (v .== backslash))
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            let byte = unsafe bytes[unchecked: at]
            if byte < 0x20 || byte == 0x22 || byte == 0x5C { return at }
            at &+= 1
        }
        return max(from, to)
    }

    /// Offset of the first byte that is not a letter, digit or hyphen in `from..<to`; `to` when all
    /// are.
    ///
    /// The other token bytes are rare in field names: the caller looks at them one by one.
    @inlinable @inline(__always)
    static func plainNameEnd(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let smallBit: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x20)
        let letterA: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x61)
        let letters: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 26)
        let zero: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x30)
        let digits: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 10)
        let hyphen: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2D)
        var at = from
        while at &+ 16 <= to {
            let v = load16(bytes, at)
            let plain =
                (((v | smallBit) &- letterA) .< letters) .| ((v &- zero) .< digits)
                .| (v .== hyphen)
            let lane = firstLane(.!plain)
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            let byte = unsafe bytes[unchecked: at]
            if (byte | 0x20) &- 0x61 >= 26 && byte &- 0x30 >= 10 && byte != 0x2D { return at }
            at &+= 1
        }
        return max(from, to)
    }

    /// Offset of the first byte in `from..<to` that ends a plain host; `to` when there is none.
    ///
    /// A plain host has letters, digits, `-`, `_` and dots that no other dot follows. `capitals` is
    /// set when there are any before that offset.
    @inlinable
    static func plainHostEnd(
        _ bytes: Span<UInt8>, from: Int, to: Int, capitals: inout Bool
    ) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let smallBit: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x20)
        let letterA: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x61)
        let capitalA: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x41)
        let letters: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 26)
        let zero: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x30)
        let digits: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 10)
        let hyphen: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2D)
        let underscore: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5F)
        let dot: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2E)
        var at = from
        // The loads may pass `to` but not the span: what follows a host lies in the same head.
        while at < to, at &+ 17 <= bytes.count {
            let v = load16(bytes, at)
            let next = load16(bytes, at &+ 1)
            let isLetter = ((v | smallBit) &- letterA) .< letters
            let isOther = ((v &- zero) .< digits) .| (v .== hyphen) .| (v .== underscore)
            let isDot = (v .== dot) .& (next .!= dot)
            let lane = firstLane(.!(isLetter .| isOther .| isDot))
            if firstLane((v &- capitalA) .< letters) < min(lane, to &- at) { capitals = true }
            if lane < 16 { return min(at &+ lane, to) }
            at &+= 16
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            let byte = unsafe bytes[unchecked: at]
            if byte &- 0x41 < 26 { capitals = true }
            let isLetter = (byte | 0x20) &- 0x61 < 26
            if !isLetter && byte &- 0x30 >= 10 && byte != 0x2D && byte != 0x5F {
                if byte != 0x2E { return at }
                // Sound: at + 1 is below the count of the span, checked in the same condition.
                if at &+ 1 < bytes.count, unsafe bytes[unchecked: at &+ 1] == 0x2E { return at }
            }
            at &+= 1
        }
        return max(from, to)
    }

    /// Offset of the first byte in `from..<to` that ends a plain path; `to` when there is none.
    ///
    /// These are all bytes outside of 0x21...0x7E, `%`, `\`, `#`, `?`, and a slash before a slash
    /// or a dot; up to there a path is already normal.
    @inlinable
    static func plainPathEnd(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let firstGraphic: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x21)
        let graphics: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5E)
        let percent: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x25)
        let backslash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5C)
        let hash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x23)
        let question: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x3F)
        let slash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2F)
        let dot: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2E)
        var at = from
        // One byte more than 16, since each lane looks at its successor.
        while at &+ 17 <= to {
            let v = load16(bytes, at)
            let next = load16(bytes, at &+ 1)
            let odd = ((v &- firstGraphic) .>= graphics) .| (v .== percent) .| (v .== backslash)
            let end = (v .== hash) .| (v .== question)
            let segment = (v .== slash) .& ((next .== slash) .| (next .== dot))
            let lane = firstLane(odd .| end .| segment)
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            let byte = unsafe bytes[unchecked: at]
            if byte &- 0x21 >= 0x5E { return at }
            switch byte {
            case 0x25, 0x5C, 0x23, 0x3F: return at
            case 0x2F where at &+ 1 < to:
                // Sound: at + 1 is below `to`, which was checked against the span.
                let next = unsafe bytes[unchecked: at &+ 1]
                if next == 0x2F || next == 0x2E { return at }
            default: break
            }
            at &+= 1
        }
        return max(from, to)
    }

    /// Offset of the first byte outside of 0x21...0x7E in `from..<to`; `to` when there is none.
    @inlinable
    static func graphicEnd(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        let firstGraphic: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x21)
        let graphics: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5E)
        var at = from
        while at &+ 16 <= to {
            let lane = firstLane((load16(bytes, at) &- firstGraphic) .>= graphics)
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            if unsafe bytes[unchecked: at] &- 0x21 >= 0x5E { return at }
            at &+= 1
        }
        return max(from, to)
    }

    /// Whether a field line whose colon and first control byte are given is the usual one: a space,
    /// a value without white space at its ends, CRLF.
    @inline(__always)
    static func isUsualLine(_ bytes: Span<UInt8>, colon: Int, control: Int) -> Bool {
        if colon < 0 || control &- colon < 3 || control &+ 1 >= bytes.count { return false }
        // Sound: 0 <= colon, colon + 2 < control and control + 1 < count, so all reads are inside.
        let ends = unsafe bytes.bytes.unsafeLoadUnaligned(
            fromUncheckedByteOffset: control, as: UInt16.self)
        let space = unsafe bytes[unchecked: colon &+ 1]
        let first = unsafe bytes[unchecked: colon &+ 2]
        let last = unsafe bytes[unchecked: control &- 1]
        return UInt16(littleEndian: ends) == 0x0A0D && space == 0x20 && min(first, last) > 0x20
    }

    // MARK: - Copies

    /// Appends all of `bytes` when they fit; otherwise nothing, and returns false.
    @inlinable @inline(__always)
    public static func append(_ bytes: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        let count = bytes.count
        if output.freeCapacity < count { return false }
        if count == 0 { return true }
        // Sound: both ranges hold `count` bytes, checked above; a Span and an exclusive OutputSpan
        // never overlap.
        unsafe bytes.withUnsafeBufferPointer { source in
            guard let from = source.baseAddress else { return }
            unsafe output.withUnsafeMutableBufferPointer { target, used in
                guard let to = target.baseAddress else { return }
                unsafe (to + used).initialize(from: from, count: count)
                used += count
            }
        }
        return true
    }

    /// Appends the bytes of a literal when they fit; otherwise nothing, and returns false.
    @inlinable @inline(__always)
    public static func append(
        _ text: StaticString, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        // Sound: a StaticString of more than one scalar points to its bytes, which live for ever.
        let source = unsafe UnsafeBufferPointer(
            start: text.utf8Start, count: text.utf8CodeUnitCount)
        return append(unsafe source.span, to: &output)
    }

    /// Appends a copy of what lies at `range` of the output itself, when it fits and lies there.
    @inline(__always)
    static func appendOwn(_ range: Range<Int>, to output: inout OutputSpan<UInt8>) -> Bool {
        let count = range.count
        if range.lowerBound < 0 || range.upperBound > output.count { return false }
        if output.freeCapacity < count { return false }
        // Sound: the source is initialised and the target free, both were just checked, so they do
        // not overlap either.
        unsafe output.withUnsafeMutableBufferPointer { buffer, used in
            guard let base = buffer.baseAddress else { return }
            unsafe (base + used).initialize(from: base + range.lowerBound, count: count)
            used += count
        }
        return true
    }

    /// The bytes of a literal.
    @inlinable @inline(__always)
    @_lifetime(immortal)
    public static func bytes(_ text: StaticString) -> Span<UInt8> {
        // Sound: the bytes of a literal live for ever; every literal given here has a pointer.
        let source = unsafe UnsafeBufferPointer(
            start: text.utf8Start, count: text.utf8CodeUnitCount)
        let span = unsafe source.span
        return unsafe _overrideLifetime(span, copying: ())
    }

    // MARK: - Comparisons

    /// Whether both hold the same bytes.
    @inlinable
    public static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        if a.count != b.count { return false }
        for i in a.indices where a[i] != b[i] { return false }
        return true
    }

    /// Whether `text` equals `lower` without regard to the case of ASCII letters.
    ///
    /// `lower` must hold no capital letters.
    @inlinable
    public static func equalFolding(_ text: Span<UInt8>, _ lower: Span<UInt8>) -> Bool {
        if text.count != lower.count { return false }
        for i in text.indices where lowered(text[i]) != lower[i] { return false }
        return true
    }

    /// The byte, or its small letter when it is an ASCII capital.
    @inlinable @inline(__always)
    public static func lowered(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }
}

/// A field name read as words of eight bytes with the bit of small letters set.
struct FoldedName: BitwiseCopyable {
    let count: Int
    /// The first eight bytes; zeros where the name is shorter.
    private let first: UInt64
    /// The bytes 8..<16 of a name of more than 16.
    private let second: UInt64
    /// The bytes 16..<24 of a name of more than 24.
    private let third: UInt64
    /// The last eight bytes of a name of more than eight.
    private let last: UInt64

    private static var smallLetters: UInt64 { 0x2020_2020_2020_2020 }

    @inline(__always)
    init(_ bytes: Span<UInt8>, at start: Int, count: Int) {
        let total = bytes.count
        precondition(start >= 0 && count >= 0 && count <= total &- start)
        self.count = count
        if count >= 8 {
            first = Self.word(bytes, start)
            last = Self.word(bytes, start &+ count &- 8)
            second = count > 16 ? Self.word(bytes, start &+ 8) : 0
            third = count > 24 ? Self.word(bytes, start &+ 16) : 0
        } else {
            if start &+ 8 <= total {
                let mask = (1 as UInt64) &<< UInt64(truncatingIfNeeded: count &* 8) &- 1
                first = Self.word(bytes, start) & mask
            } else {
                first = Self.shortWord(bytes, start, count)
            }
            last = 0
            second = 0
            third = 0
        }
    }

    /// Eight bytes that `init` has checked to be inside of the span.
    @inline(__always)
    private static func word(_ bytes: Span<UInt8>, _ offset: Int) -> UInt64 {
        // Sound: every caller is in `init`, where offset + 8 is at most start + count or the
        // span's.
        UInt64(
            littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
                fromUncheckedByteOffset: offset, as: UInt64.self)) | smallLetters
    }

    /// Fewer than eight bytes at the end of a span.
    @inline(never)
    private static func shortWord(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> UInt64 {
        var word: UInt64 = 0
        for i in 0..<count {
            word |= UInt64(bytes[start &+ i] | 0x20) &<< UInt64(truncatingIfNeeded: i &* 8)
        }
        return word
    }

    /// Whether the name equals `text`, which must have the same length, at most 32, and only small
    /// letters, digits and hyphens.
    @inline(__always)
    func matches(_ text: StaticString) -> Bool {
        if first != Self.word(text, 0, min(count, 8)) { return false }
        if count <= 8 { return true }
        if last != Self.word(text, count &- 8, 8) { return false }
        if count > 16, second != Self.word(text, 8, 8) { return false }
        return count <= 24 || third == Self.word(text, 16, 8)
    }

    /// Up to eight bytes of a literal; folded to a constant by the optimiser.
    @inline(__always)
    private static func word(_ text: StaticString, _ offset: Int, _ count: Int) -> UInt64 {
        precondition(offset &+ count <= text.utf8CodeUnitCount, "literal shorter than the name")
        var word: UInt64 = 0
        for i in 0..<count {
            // Sound: offset + i is below the length of the literal, checked above.
            let byte = unsafe text.utf8Start[offset &+ i]
            word |= UInt64(byte) &<< UInt64(truncatingIfNeeded: i &* 8)
        }
        return word
    }
}
