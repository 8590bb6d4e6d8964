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

    /// 4 bytes from `offset`, first byte lowest; traps when they are not all in the span.
    @inlinable @inline(__always)
    public static func load4(_ bytes: Span<UInt8>, _ offset: Int) -> UInt32 {
        precondition(offset >= 0 && offset &+ 4 <= bytes.count, "load4 outside of the span")
        // Sound: the 4 bytes were just checked to be inside, and UInt32 has no padding.
        return UInt32(
            littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
                fromUncheckedByteOffset: offset, as: UInt32.self))
    }

    /// A word that says which lanes are set: the first set bit divided by 4 is the first set lane.
    ///
    /// Two lanes make one byte: 0x7F for the even one, 0x80 for the odd one, 0xFF for both. That is
    /// narrowing with saturation, one instruction. It is written with operations that vectors of
    /// this very type have; generic ones, as `pointwiseMin` or `SIMD8(clamping:)`, become calls.
    @inlinable @inline(__always)
    static func laneWord(_ mask: SIMDMask<SIMD16<Int8>>) -> UInt64 {
        let least: SIMD8<Int16> = SIMD8<Int16>(repeating: -128)
        let most: SIMD8<Int16> = SIMD8<Int16>(repeating: 127)
        // Sound: masks and vectors of 16 bytes, without padding; every pattern is a number, and
        // what only moves lanes whole is right for numbers in the place of a mask.
        let pairs = unsafe unsafeBitCast(mask, to: SIMD8<Int16>.self)
        let fromLeast = unsafe unsafeBitCast(pairs, to: SIMDMask<SIMD8<Int16>>.self).replacing(
            with: unsafeBitCast(least, to: SIMDMask<SIMD8<Int16>>.self), where: pairs .< least)
        let narrow = unsafe unsafeBitCast(
            fromLeast.replacing(
                with: unsafeBitCast(most, to: SIMDMask<SIMD8<Int16>>.self),
                where: unsafeBitCast(fromLeast, to: SIMD8<Int16>.self) .> most),
            to: SIMD8<Int16>.self)
        let bytes = SIMD8<Int8>(
            Int8(truncatingIfNeeded: narrow[0]), Int8(truncatingIfNeeded: narrow[1]),
            Int8(truncatingIfNeeded: narrow[2]), Int8(truncatingIfNeeded: narrow[3]),
            Int8(truncatingIfNeeded: narrow[4]), Int8(truncatingIfNeeded: narrow[5]),
            Int8(truncatingIfNeeded: narrow[6]), Int8(truncatingIfNeeded: narrow[7]))
        return unsafe unsafeBitCast(bytes, to: UInt64.self).littleEndian
    }

    /// The vector with the bit of small letters set in every lane.
    @inlinable @inline(__always)
    static func folded(_ v: SIMD16<UInt8>) -> SIMD16<UInt8> {
        let smallBit: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x20)
        // Sound: masks and vectors of 16 bytes; `.|` of masks is `|` of their bytes, for which
        // vectors have but a generic operation.
        return unsafe unsafeBitCast(
            unsafeBitCast(v, to: SIMDMask<SIMD16<Int8>>.self)
                .| unsafeBitCast(smallBit, to: SIMDMask<SIMD16<Int8>>.self),
            to: SIMD16<UInt8>.self)
    }

    /// Lanes that are above `bound` as signed bytes once `shift` is added.
    ///
    /// That is two instructions for any run of bytes whose last one becomes 0x7F.
    @inlinable @inline(__always)
    static func isAbove(
        _ bound: Int8, _ v: SIMD16<UInt8>, plus shift: UInt8
    ) -> SIMDMask<SIMD16<Int8>> {
        let bounds: SIMD16<Int8> = SIMD16<Int8>(repeating: bound)
        let shifts: SIMD16<UInt8> = SIMD16<UInt8>(repeating: shift)
        // Sound: both are sixteen bytes of any pattern.
        return unsafe unsafeBitCast(v &+ shifts, to: SIMD16<Int8>.self) .> bounds
    }

    /// Index of the first lane that is set, 0...15, or 16.
    @inlinable @inline(__always)
    static func firstLane(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
        let word = laneWord(mask)
        return word == 0 ? 16 : word.trailingZeroBitCount &>> 2
    }

    /// Index of the first lane from `least` on that is set, or 16; `least` is 0...15.
    @inlinable @inline(__always)
    static func firstLane(_ mask: SIMDMask<SIMD16<Int8>>, atLeast least: Int) -> Int {
        // Four bits a lane: the low ones for an even lane, the highest for an odd one.
        let lanes = laneWord(mask) & 0x8F8F_8F8F_8F8F_8F8F
        let kept = lanes &>> UInt64(truncatingIfNeeded: least &* 4)
        return kept == 0 ? 16 : least &+ kept.trailingZeroBitCount &>> 2
    }

    // MARK: - Scans

    /// Offset of the first control byte other than TAB, or DEL, in `from..<to`; `to` when there is
    /// none.
    @inlinable @inline(__always)
    public static func firstControl(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        var at = from
        while at &+ 16 <= to {
            let lane = firstLane(suspect(load16(bytes, at)))
            if lane < 16 {
                // TAB and bytes above 0x7F are told apart one by one.
                // Sound: at + lane is inside of the 16 bytes that were loaded.
                let byte = unsafe bytes[unchecked: at &+ lane]
                if byte < 0x20 && byte != 0x09 { return at &+ lane }
                return firstControlSlowly(bytes, from: at &+ lane, to: to)
            }
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

    /// Offset of the first quote, backslash, control below 0x20 or byte above 0x7F in `from..<to`;
    /// `to` when there is none.
    ///
    /// What comes before needs no further look inside a JSON string. Controls and bytes above 0x7F
    /// are one comparison: as signed numbers both are below 0x20.
    @inlinable
    public static func firstOfText(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        var at = from
        // Short strings first, then four vectors at a time.
        var few = 2
        while at &+ 16 <= to, few > 0 {
            let lane = firstLane(endsText(load16(bytes, at)))
            if lane < 16 { return at &+ lane }
            at &+= 16
            few &-= 1
        }
        while at &+ 64 <= to {
            let first = endsText(load16(bytes, at)) .| endsText(load16(bytes, at &+ 16))
            let second = endsText(load16(bytes, at &+ 32)) .| endsText(load16(bytes, at &+ 48))
            if laneWord(first .| second) != 0 { break }
            at &+= 64
        }
        while at &+ 16 <= to {
            let lane = firstLane(endsText(load16(bytes, at)))
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        if at < to, to >= 16 {
            // The last 16 bytes again; lanes before `at` do not count.
            let least = 16 &- (to &- at)
            return to &- 16 &+ firstLane(endsText(load16(bytes, to &- 16)), atLeast: least)
        }
        while at < to {
            // Sound: at is inside from..<to, which was checked against the span.
            let byte = unsafe bytes[unchecked: at]
            if byte < 0x20 || byte == 0x22 || byte == 0x5C || byte >= 0x80 { return at }
            at &+= 1
        }
        return max(from, to)
    }

    /// Lanes that hold a quote, a backslash, a control below 0x20 or a byte above 0x7F.
    ///
    /// With its second bit turned, a quote (0x22) comes right behind the controls, so that one
    /// comparison finds both.
    @inlinable @inline(__always)
    static func endsText(_ v: SIMD16<UInt8>) -> SIMDMask<SIMD16<Int8>> {
        let turn: SIMD16<Int8> = SIMD16<Int8>(repeating: 0x02)
        let bound: SIMD16<Int8> = SIMD16<Int8>(repeating: 0x21)
        let backslash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5C)
        // Sound: masks and vectors of sixteen bytes of any pattern; `.^` of masks is `^` of their
        // bytes, for which vectors have but a generic operation.
        let turned = unsafe unsafeBitCast(
            unsafeBitCast(v, to: SIMDMask<SIMD16<Int8>>.self)
                .^ unsafeBitCast(turn, to: SIMDMask<SIMD16<Int8>>.self),
            to: SIMD16<Int8>.self)
        return (turned .< bound) .| (v .== backslash)
    }

    /// Where to go on behind text with usual escapes: a backslash and one of six bytes.
    ///
    /// These are `"`, `\`, `/`, `n`, `r` and `t`; all else before is what `firstOfText` passes over.
    /// There stands what else ends text, or the backslash of another escape; or the text goes on
    /// without escapes, or less than a vector of it is left. The lanes of a vector are judged all at
    /// once, since where escapes stand nobody can foretell.
    @inlinable
    public static func passEscapedText(_ bytes: Span<UInt8>, from: Int) -> Int {
        precondition(from >= 0, "scan outside of the span")
        let backslash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5C)
        let to = bytes.count
        var at = from
        // Whether the first lane is escaped by the byte before it, in that lane's place.
        var carried: UInt64 = 0
        // Vectors without an escape that are read before others do it faster.
        var plain = 4
        while at &+ 16 <= to, plain > 0 {
            let v = load16(bytes, at)
            let slashes = v .== backslash
            let ends = laneBits(endsText(v))
            if ends | carried == 0 {
                plain &-= 1
                at &+= 16
                continue
            }
            let (escaped, next) = escapedLanes(laneBits(slashes), carried)
            let other = escaped & ~laneBits(isUsualEscape(v) .| slashes)
            let end = ends & ~laneBits(slashes) & ~escaped
            if other | end != 0 {
                // A backslash is the lane before the one that it escapes.
                let ofOther = other == 0 ? 16 : other.trailingZeroBitCount &>> 2 &- 1
                let ofEnd = end == 0 ? 16 : end.trailingZeroBitCount &>> 2
                return at &+ min(ofOther, ofEnd)
            }
            carried = next
            plain = 4
            at &+= 16
        }
        return at &- Int(truncatingIfNeeded: carried)
    }

    /// The lanes that a backslash escapes, and whether the last one escapes the next vector's first,
    /// which `carried` says of the vector before, as words of `laneBits`.
    ///
    /// Of backslashes side by side every other one is escaped. A subtraction borrows along such a run
    /// and tells them apart by whether they stand in odd lanes, which is an idea of G. Langdale and
    /// D. Lemire, "Parsing Gigabytes of JSON per Second" (2019).
    @inlinable @inline(__always)
    static func escapedLanes(_ slashes: UInt64, _ carried: UInt64) -> (UInt64, UInt64) {
        let odd: UInt64 = 0x1010_1010_1010_1010
        let beginnings = slashes & ~carried
        let series = ((beginnings &<< 4 | odd) &- beginnings) & 0x1111_1111_1111_1111 ^ odd
        let escaped = series ^ (slashes | carried)
        return (escaped, (series & slashes) &>> 60)
    }

    /// A word with the lowest of four bits set for each lane that is set.
    @inlinable @inline(__always)
    static func laneBits(_ mask: SIMDMask<SIMD16<Int8>>) -> UInt64 {
        let word = laneWord(mask) & 0x8181_8181_8181_8181
        return (word | word &>> 3) & 0x1111_1111_1111_1111
    }

    /// Lanes that hold `"`, `/`, `n`, `r` or `t`.
    @inlinable @inline(__always)
    static func isUsualEscape(_ v: SIMD16<UInt8>) -> SIMDMask<SIMD16<Int8>> {
        let quote: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x22)
        let slash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2F)
        let n: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x6E)
        let r: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x72)
        let t: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x74)
        return ((v .== quote) .| (v .== slash)) .| ((v .== n) .| (v .== r)) .| (v .== t)
    }

    /// Offset of the first byte that is not a letter, digit or hyphen in `from..<to`; `to` when all
    /// are.
    ///
    /// The other token bytes are rare in field names: the caller looks at them one by one.
    @inline(__always)
    static func plainNameEnd(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        var at = from
        while at &+ 16 <= to {
            let lane = firstLane(.!plainName(load16(bytes, at)))
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        if at < to, to >= 16 {
            // The last 16 bytes again; lanes before `at` do not count.
            let least = 16 &- (to &- at)
            let lane = firstLane(.!plainName(load16(bytes, to &- 16)), atLeast: least)
            return to &- 16 &+ lane
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
            let isLetter = (folded(v) &- letterA) .< letters
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

    /// Where the usual host at `start` ends, at the last before `start + count`.
    ///
    /// That is `start` when it is another one. `count` is from 1 to 16, and 17 bytes from `start` on are in the span.
    ///
    /// A usual host has small letters, digits, `-`, and dots that are not at its ends and that no
    /// other dot follows.
    @inline(__always)
    static func usualHostEnd(_ bytes: Span<UInt8>, _ start: Int, count: Int) -> Int {
        precondition(start >= 0 && start &+ 17 <= bytes.count && count <= 16)
        let hyphen: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2D)
        let dot: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2E)
        let v = load16(bytes, start)
        let next = load16(bytes, start &+ 1)
        let isByte =
            isAbove(0x65, v, plus: 5) .| isAbove(0x75, v, plus: 0x46) .| (v .== hyphen)
            .| ((v .== dot) .& (next .!= dot))
        let end = start &+ min(firstLane(.!isByte), count)
        let first: UInt8 = loadWord(bytes, start)
        // Where there is no byte before the end, the one before the start does no harm.
        let last: UInt8 = start == 0 ? 0x2E : loadWord(bytes, end &- 1)
        return first == 0x2E || last == 0x2E ? start : end
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

    /// Whether all of `from..<to` are in 0x21...0x7E; faster with 16 bytes or more behind them.
    public static func isGraphic(_ bytes: Span<UInt8>, from: Int, to: Int) -> Bool {
        if to &+ 16 > bytes.count { return graphicEnd(bytes, from: from, to: to) == to }
        precondition(from >= 0 && from <= to, "scan outside of the span")
        let firstGraphic: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x21)
        let graphics: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5E)
        var at = from
        while at < to {
            let lane = firstLane((load16(bytes, at) &- firstGraphic) .>= graphics)
            if lane < 16 { return at &+ lane >= to }
            at &+= 16
        }
        return true
    }

    /// Whether none of `from..<to` is a control byte other than TAB, or DEL; faster with 16 bytes
    /// or more behind them.
    public static func isText(_ bytes: Span<UInt8>, from: Int, to: Int) -> Bool {
        if to &+ 16 > bytes.count { return firstControl(bytes, from: from, to: to) == to }
        precondition(from >= 0 && from <= to, "scan outside of the span")
        var at = from
        while at < to {
            let lane = firstLane(suspect(load16(bytes, at)))
            if lane < 16 {
                at &+= lane
                return at >= to || firstControlSlowly(bytes, from: at, to: to) == to
            }
            at &+= 16
        }
        return true
    }

    /// Whether all of `from..<to` may be in a name of HTTP/2: token bytes but capitals; faster with
    /// 16 bytes or more behind them.
    public static func isSmallName(_ bytes: Span<UInt8>, from: Int, to: Int) -> Bool {
        precondition(from >= 0 && from <= to && to <= bytes.count, "scan outside of the span")
        let letterA: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x61)
        let letters: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 26)
        let zero: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x30)
        let digits: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 10)
        let hyphen: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2D)
        var at = from
        while at < to {
            if at &+ 16 <= bytes.count {
                let v = load16(bytes, at)
                let plain =
                    ((v &- letterA) .< letters) .| ((v &- zero) .< digits) .| (v .== hyphen)
                at &+= firstLane(.!plain)
                if at >= to { return true }
            }
            // Sound: at < to, which was checked against the span.
            let byte = unsafe bytes[unchecked: at]
            if byte &- 0x41 < 26 || !Token.isTokenByte(byte) { return false }
            at &+= 1
        }
        return true
    }

    /// The number that `count` bytes before `to` are, 1...8 of them; nil when one is no digit.
    @inline(__always)
    static func shortDecimal(_ bytes: Span<UInt8>, count: Int, to: Int) -> UInt64? {
        precondition(count &- 1 < 8 && count > 0)
        // The first digit is the lowest byte; what precedes it becomes zero.
        let unused = UInt64(truncatingIfNeeded: 64 &- count &* 8)
        var digits = ((load8(bytes, to &- 8) ^ 0x3030_3030_3030_3030) &>> unused) &<< unused
        if (digits | (digits &+ 0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 { return nil }
        // Pairs of digits, then of pairs, then of fours; a byte of at most 9 leaves no carry.
        digits = (digits &* 10 &+ digits &>> 8) & 0x00FF_00FF_00FF_00FF
        digits = (digits &* 100 &+ digits &>> 16) & 0x0000_FFFF_0000_FFFF
        return (digits &* 10_000 &+ digits &>> 32) & 0xFFFF_FFFF
    }

    /// Replaces all bytes by those of `text` before `end`.
    @inline(__always)
    static func replace(
        _ bytes: inout HeadStorage<UInt8>, by text: Span<UInt8>, upTo end: Int
    ) {
        precondition(
            end >= 0 && end <= text.count && end <= bytes.capacity, "a head above its bounds")
        // Sound: both have `end` bytes, just checked, and the copy initialises as many.
        unsafe text.withUnsafeBufferPointer { source in
            guard let from = source.baseAddress else { return }
            unsafe copyMany(from, bytes.base, count: end)
        }
        bytes.used = end
    }

    // MARK: - Start lines

    /// Where the parts of a usual request line lie: GET or POST, a path that is normal as it
    /// stands, maybe a query, HTTP/1.1, CRLF.
    struct RequestLine: BitwiseCopyable {
        /// Offset of the path.
        var start = 0
        /// Offset after the path.
        var stop = 0
        /// Offset after path and query; 0 when the line is another one, or incomplete.
        var end = 0
    }

    /// Reads the usual request line at the start of `bytes`.
    ///
    /// It ends at `limit` at the latest, up to which 16 bytes may be read from every offset; what
    /// lies there and behind is never judged.
    @inline(__always)
    static func usualRequestLine(_ bytes: Span<UInt8>, limit: Int) -> RequestLine {
        precondition(limit &+ 16 <= bytes.count, "line outside of the span")
        if limit <= 0 { return RequestLine() }
        var line = RequestLine()
        let method: UInt64 = loadWord(bytes, 0)
        if method & 0xFFFF_FFFF == 0x2054_4547 {
            line.start = 4
        } else if method & 0xFF_FFFF_FFFF == 0x20_5453_4F50 {
            line.start = 5
        } else {
            return RequestLine()
        }
        let first: UInt8 = loadWord(bytes, line.start)
        if first != 0x2F { return RequestLine() }
        var at = line.start
        if at >= limit { return RequestLine() }
        var lanes = laneWord(endsPath(load16(bytes, at), next: load16(bytes, at &+ 1)))
        if lanes == 0 {
            // Many a path has two vectors; a loop's first turn would load all constants anew.
            at &+= 16
            if at >= limit { return RequestLine() }
            lanes = laneWord(endsPath(load16(bytes, at), next: load16(bytes, at &+ 1)))
        }
        while _slowPath(lanes == 0) {
            at &+= 16
            if at >= limit { return RequestLine() }
            lanes = laneWord(endsPath(load16(bytes, at), next: load16(bytes, at &+ 1)))
        }
        line.stop = at &+ lanes.trailingZeroBitCount &>> 2
        var end = line.stop
        let mark: UInt8 = loadWord(bytes, end)
        if mark == 0x3F {
            if end >= limit { return RequestLine() }
            lanes = laneWord(endsQuery(load16(bytes, end)))
            while _slowPath(lanes == 0) {
                end &+= 16
                if end >= limit { return RequestLine() }
                lanes = laneWord(endsQuery(load16(bytes, end)))
            }
            end &+= lanes.trailingZeroBitCount &>> 2
        }
        if end &+ 11 > limit { return RequestLine() }
        let version: UInt64 = loadWord(bytes, end)
        let lineEnd: UInt64 = loadWord(bytes, end &+ 3)
        // " HTTP/1." and "TP/1.1\r\n"
        if version != 0x2E31_2F50_5454_4820 || lineEnd != 0x0A0D_312E_312F_5054 {
            return RequestLine()
        }
        line.end = end
        return line
    }

    /// Lanes that may end a plain path, as `plainPathEnd` says: all that do, and `!`, `"` and `$`.
    @inline(__always)
    private static func endsPath(
        _ v: SIMD16<UInt8>, next: SIMD16<UInt8>
    ) -> SIMDMask<SIMD16<Int8>> {
        let backslash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x5C)
        let question: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x3F)
        let slash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2F)
        let dot: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2E)
        // `#` and `%` with all from 0x7F on and up to 0x20 are in one run of bytes, 0x7F to 0x25.
        let odd = isAbove(-40, v, plus: 0x5A) .| (v .== backslash) .| (v .== question)
        return odd .| ((v .== slash) .& ((next .== slash) .| (next .== dot)))
    }

    /// Lanes outside of 0x21...0x7E, and those of `#`.
    @inline(__always)
    private static func endsQuery(_ v: SIMD16<UInt8>) -> SIMDMask<SIMD16<Int8>> {
        let hash: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x23)
        // Those that are no graphics are one run of bytes, 0x7F to 0x20.
        return isAbove(-35, v, plus: 0x5F) .| (v .== hash)
    }

    /// The status of a usual status line, and the offset of its CR: HTTP/1.1, a status of
    /// 100...599, a reason of less than 16 bytes below 0x7F, CRLF; status 0 for another line.
    ///
    /// It ends at `limit` at the latest, up to which 16 bytes may be read from every offset.
    @inline(__always)
    static func usualStatusLine(
        _ bytes: Span<UInt8>, limit: Int
    ) -> (status: Int, control: Int) {
        precondition(limit &+ 16 <= bytes.count, "line outside of the span")
        if limit < 13 { return (0, 0) }
        let version: UInt64 = loadWord(bytes, 0)
        let word: UInt64 = loadWord(bytes, 8)
        // A space, three digits of which the first is 1...5, a space.
        let digits = word ^ 0x20_3030_3020
        let hundreds = digits &>> 8 & 0xFF
        let tens = digits &>> 16 & 0xFF
        let ones = digits &>> 24 & 0xFF
        if version != 0x312E_312F_5054_5448 || digits & 0xFF_0000_00FF != 0
            || hundreds &- 1 >= 5 || tens > 9 || ones > 9
        {
            return (0, 0)
        }
        let suspects = laneWord(suspect(load16(bytes, 13)))
        if suspects == 0 { return (0, 0) }
        let control = 13 &+ suspects.trailingZeroBitCount &>> 2
        if control &+ 2 > limit { return (0, 0) }
        let lineEnd: UInt16 = loadWord(bytes, control)
        if lineEnd != 0x0A0D { return (0, 0) }
        return (Int(truncatingIfNeeded: hundreds &* 100 &+ tens &* 10 &+ ones), control)
    }

    /// A word, first byte lowest, which the caller has checked to be all in the span.
    @inline(__always)
    private static func loadWord<Word: FixedWidthInteger & BitwiseCopyable>(
        _ bytes: Span<UInt8>, _ offset: Int
    ) -> Word {
        assert(
            offset >= 0 && offset &+ MemoryLayout<Word>.size <= bytes.count,
            "word outside of the span")
        // Sound: the callers read at offsets up to a limit behind which the span, as they have
        // checked, has 16 or 48 bytes more, or what they have loaded in a vector before.
        return Word(
            littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
                fromUncheckedByteOffset: offset, as: Word.self))
    }

    // MARK: - Field lines

    /// Where the parts of a usual field line lie: a name of letters, digits and hyphens, a colon, a
    /// space, a value without white space at its ends, CRLF.
    struct Line: BitwiseCopyable {
        /// Offset of the colon.
        var nameEnd = 0
        /// Offset of the CR; 0 when the line is another one, or incomplete.
        var control = 0
        var id = FieldName.other
        /// Whether the name is not known and begins with `x-forwarded-`.
        var isForwarding = false
    }

    /// Appends the usual lines that lie side by side from `start` on, with their names and places:
    /// those in the first `count` bytes that have their CR before `sectionEnd`.
    ///
    /// The result is the offset after the empty line, or with `isEnd` false that of the first line
    /// that is not usual. Not inlined: the loop needs all registers.
    @inline(never)
    static func appendLines(
        _ fields: inout FieldSection, _ bytes: Span<UInt8>, _ count: Int, from start: Int,
        sectionEnd: Int
    ) -> (next: Int, isEnd: Bool) {
        let bounds = LineBounds(bytes, count, sectionEnd: sectionEnd, most: fields.lineBytes)
        if start > bounds.limit { return (start, false) }
        // Six bytes before the end of a name are read, however short it is.
        precondition(start >= 8, "field lines follow a start line")
        var index = fields.lines.used
        var at = start
        // Sound: it is used for lines before `usualLineCount` only, which is within the capacity.
        var line = unsafe fields.lines.base + index
        let table = unsafe fields.usualNames.rows.base
        // Sound: the last row of the table, which is no name's.
        var row = unsafe table + NameTable.start
        var isEnd = false
        outer: while true {
            // `at` is at most the limit here: it follows two bytes that lie before it.
            while index < fields.usualLineCount {
                let first: UInt64 = loadWord(bytes, at)
                // Lines come in the order of the head before, mostly.
                var found = unsafe following(row)
                if _slowPath(unsafe !isName(bytes, at: at, first: first, found)) {
                    if first & 0xFFFF == 0x0A0D {
                        isEnd = at &+ 2 <= bounds.limit
                        if isEnd { at &+= 2 }
                        break outer
                    }
                    guard
                        let other = unsafe otherRow(
                            bytes, at: at, first: first, after: row, table)
                    else { break }
                    unsafe found = other
                }
                guard
                    let control = unsafe usualEnd(
                        bytes, at: at, nameCount: found.pointee.count, bounds)
                else { break }
                unsafe row = found
                // Sound: a row that was found is one of the table, the number of a name is below
                // 64, as `FieldNames` needs it to be, and `line` is as said above.
                unsafe line.initialize(
                    to: FieldLine(
                        row.pointee.id, row.pointee.traits, start: at,
                        colon: at &+ row.pointee.count, control: control))
                unsafe fields.places[unchecked: Int(row.pointee.id.rawValue)] =
                    UInt32(truncatingIfNeeded: index)
                unsafe fields.take(row.pointee.name)
                at = control &+ 2
                index &+= 1
                unsafe line += 1
            }
            // A name that is not in the table, in a line that is usual otherwise.
            if index >= fields.usualLineCount { break }
            fields.lines.used = index
            let next = appendAnyLine(&fields, bytes, at, bounds)
            if next == 0 { break }
            at = next
            index = fields.lines.used
            // Sound: as above.
            unsafe line = fields.lines.base + index
        }
        fields.lines.used = index
        fields.traits.formUnion(FieldLine.Traits(of: fields.names))
        return (at, isEnd)
    }

    /// Appends the line at `at` if it is usual but for its name; the result is the offset after it,
    /// or 0.
    @inline(never)
    private static func appendAnyLine(
        _ fields: inout FieldSection, _ bytes: Span<UInt8>, _ at: Int, _ bounds: LineBounds
    ) -> Int {
        let line = anyLine(bytes, at: at, end: bounds.end, most: bounds.most)
        if line.control == 0 { return 0 }
        fields.take(line, at: at)
        return line.control &+ 2
    }

    /// Bounds of usual lines.
    private struct LineBounds: BitwiseCopyable {
        /// Up to here 48 bytes may be read from every offset; what lies here and behind is never
        /// judged.
        let limit: Int
        /// Lines have their CR before it, which is below `limit`.
        let end: Int
        /// Bytes of a line before its CR.
        let most: Int

        @inline(__always)
        init(_ bytes: Span<UInt8>, _ count: Int, sectionEnd: Int, most: Int) {
            limit = min(count, bytes.count &- 48)
            end = min(limit &- 1, sectionEnd)
            self.most = most
        }
    }

    /// The row of the name that followed this one in an earlier head; any row where none did.
    @inline(__always)
    private static func following(
        _ row: UnsafeMutablePointer<NameTable.Row>
    ) -> UnsafeMutablePointer<NameTable.Row> {
        // Sound: `next` leads from a row to another one of the table, or is 0; all are initialised.
        unsafe (UnsafeMutableRawPointer(row) + row.pointee.next)
            .assumingMemoryBound(to: NameTable.Row.self)
    }

    /// The row of the name at `at`, of whose bytes `first` are eight, which will be the one that
    /// follows `previous`; nil where the name is not in the table.
    @inline(never)
    private static func otherRow(
        _ bytes: Span<UInt8>, at: Int, first: UInt64,
        after previous: UnsafeMutablePointer<NameTable.Row>,
        _ table: UnsafeMutablePointer<NameTable.Row>
    ) -> UnsafeMutablePointer<NameTable.Row>? {
        // Sound: a slot is below 64, and the table has more than twice as many rows.
        var row = unsafe table + slot(UInt32(truncatingIfNeeded: first))
        while unsafe !isName(bytes, at: at, first: first, row) {
            if unsafe row >= table + 64 { return nil }
            unsafe row += 64
        }
        // Sound: both are rows of this table.
        unsafe previous.pointee.next = UnsafeRawPointer(row) - UnsafeRawPointer(previous)
        return unsafe row
    }

    /// The offset of the CR of the usual line at `at`, whose name has `nameCount` bytes, a colon and
    /// a space behind it; nil where the line is another one.
    @inline(__always)
    private static func usualEnd(
        _ bytes: Span<UInt8>, at: Int, nameCount: Int, _ bounds: LineBounds
    ) -> Int? {
        let start = at &+ nameCount &+ 2
        var from = start
        // A name of 14 bytes at most, colon, space and 15 bytes are within every bound, and the
        // vector behind the space is within the bytes that may be read.
        var suspects = laneWord(suspect(load16(bytes, from)))
        while _slowPath(suspects == 0) {
            from &+= 16
            if from > bounds.limit || from &+ 16 > at &+ bounds.most { return nil }
            suspects = laneWord(suspect(load16(bytes, from)))
        }
        let control = from &+ suspects.trailingZeroBitCount &>> 2
        if _slowPath(control >= bounds.end) { return nil }
        let lineEnd: UInt16 = loadWord(bytes, control)
        if _slowPath(lineEnd != 0x0A0D) { return nil }
        // The space and the first byte of the value, which is the CR where it is empty.
        let firstOfValue: UInt16 = loadWord(bytes, start &- 1)
        if _slowPath(firstOfValue < 0x2100) { return nil }
        let lastOfValue: UInt8 = loadWord(bytes, control &- 1)
        return lastOfValue == 0x20 ? nil : control
    }

    /// Where a name is looked for by its first four bytes: a number below 64.
    @inline(__always)
    static func slot(_ first: UInt32) -> Int {
        // The factor gives the more usual names different numbers.
        Int(truncatingIfNeeded: ((first | 0x2020_2020) &* 0x05C3_8D8B) &>> 26)
    }

    /// Whether the name of a row of the table, a colon and a space lie at `at`.
    @inline(__always)
    private static func isName(
        _ bytes: Span<UInt8>, at: Int, first: UInt64, _ row: UnsafeMutablePointer<NameTable.Row>
    ) -> Bool {
        // Sound: the caller gives a row of the table.
        if unsafe first & row.pointee.firstMask != row.pointee.first { return false }
        // What lies before a name that is shorter than six bytes has no bit in the mask.
        let last: UInt64 = unsafe loadWord(bytes, at &+ row.pointee.count &- 6)
        return unsafe last & row.pointee.lastMask == row.pointee.last
    }

    /// Reads any usual field line before `end`.
    ///
    /// Vectors that would pass the end of the span are the last ones in it, of which the lanes
    /// before the line do not count.
    @inline(never)
    static func anyLine(_ bytes: Span<UInt8>, at: Int, end: Int, most: Int) -> Line {
        precondition(at >= 0 && end < bytes.count, "line outside of the span")
        // Sound: at < end, which was just checked against the span.
        if at >= end || (unsafe bytes[unchecked: at]) <= 0x20 { return Line() }
        let last = bytes.count &- 16
        if last < 0 { return Line() }
        let base = min(at, last)
        let v = load16(bytes, base)
        let nameLane = firstLane(.!plainName(v), atLeast: at &- base)
        var colon = base &+ nameLane
        var control = base &+ firstLane(suspect(v), atLeast: at &- base)
        if nameLane == 16 { colon = plainNameEnd(bytes, from: min(colon, end), to: end) }
        if control == base &+ 16 { control = firstSuspect(bytes, from: min(control, end), to: end) }
        // Sound: colon < control < end, which was checked against the span.
        if colon == at || colon >= control || control >= end || control &- at > most
            || (unsafe bytes[unchecked: colon]) != 0x3A
            || !isUsual(bytes, colon: colon, control: control)
        {
            return Line()
        }
        let id = FieldName.recognise(bytes, at: at, count: colon &- at)
        let isForwarding = id == .other && Forwarded.isForwardingName(bytes, at..<colon)
        return Line(nameEnd: colon, control: control, id: id, isForwarding: isForwarding)
    }

    /// Lanes that may be control bytes: these, DEL, TAB and bytes above 0x7F.
    @inlinable @inline(__always)
    static func suspect(_ v: SIMD16<UInt8>) -> SIMDMask<SIMD16<Int8>> {
        // They are one run of bytes, 0x7F to 0x1F, moved to the upper end of signed ones.
        return isAbove(-34, v, plus: 0x60)
    }

    /// Offset of the first byte in `from..<to` that may be a control byte, as `suspect` says; `to`
    /// when there is none.
    @inline(never)
    static func firstSuspect(_ bytes: Span<UInt8>, from: Int, to: Int) -> Int {
        precondition(from >= 0 && to <= bytes.count, "scan outside of the span")
        var at = from
        while at &+ 16 <= to {
            let lane = firstLane(suspect(load16(bytes, at)))
            if lane < 16 { return at &+ lane }
            at &+= 16
        }
        if at >= to { return max(from, to) }
        if to < 16 { return firstControlSlowly(bytes, from: at, to: to) }
        // The last 16 bytes again; lanes before `at` do not count.
        let least = 16 &- (to &- at)
        let lane = firstLane(suspect(load16(bytes, to &- 16)), atLeast: least)
        return to &- 16 &+ lane
    }

    /// Lanes that are letters, digits and hyphens.
    @inline(__always)
    private static func plainName(_ v: SIMD16<UInt8>) -> SIMDMask<SIMD16<Int8>> {
        let letterA: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x61)
        let letters: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 26)
        let zero: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x30)
        let digits: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 10)
        let hyphen: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 0x2D)
        return ((folded(v) &- letterA) .< letters) .| ((v &- zero) .< digits)
            .| (v .== hyphen)
    }

    /// Whether between colon and first control byte, both checked to be followed by a byte, and
    /// after it the line is the usual one.
    @inline(__always)
    private static func isUsual(_ bytes: Span<UInt8>, colon: Int, control: Int) -> Bool {
        assert(colon >= 0 && colon < control && control &+ 1 < bytes.count)
        // Sound: 0 <= colon < control and control + 1 < count, so all reads are inside. Where the
        // value is empty a read is of the control byte itself, or of the one after it.
        let ends = unsafe bytes.bytes.unsafeLoadUnaligned(
            fromUncheckedByteOffset: control, as: UInt16.self)
        let space = unsafe bytes[unchecked: colon &+ 1]
        let first = unsafe bytes[unchecked: colon &+ 2]
        let last = unsafe bytes[unchecked: control &- 1]
        return UInt16(littleEndian: ends) == 0x0A0D && space == 0x20 && first > 0x20
            && last != 0x20
    }

    // MARK: - Copies

    /// Appends all of `bytes` when they fit; otherwise nothing, and returns false.
    @inlinable @inline(__always)
    public static func append(_ bytes: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        append(bytes, "", to: &output)
    }

    /// Appends the bytes of a literal when they fit; otherwise nothing, and returns false.
    @inlinable @inline(__always)
    public static func append(
        _ text: StaticString, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        let count = text.utf8CodeUnitCount
        if output.freeCapacity < count { return false }
        // Sound: the literal, which has a pointer as all that are given here, holds `count` bytes,
        // and as many are free, checked above.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            unsafe (base + used).initialize(from: text.utf8Start, count: count)
            used &+= count
        }
        return true
    }

    /// Appends bytes and a literal when both fit; otherwise nothing, and returns false.
    @inlinable @inline(__always)
    public static func append(
        _ bytes: Span<UInt8>, _ text: StaticString, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        // Counts of memory that exists, here and below, so that no sum comes near to overflow.
        let count = bytes.count &+ text.utf8CodeUnitCount
        if output.freeCapacity < count { return false }
        // Sound: `count` bytes are free, checked above; a Span and an exclusive OutputSpan never
        // overlap.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            let to = unsafe base + used
            unsafe copy(bytes, to)
            unsafe (to + bytes.count).initialize(
                from: text.utf8Start, count: text.utf8CodeUnitCount)
            used &+= count
        }
        return true
    }

    /// Appends the head before `end` and an empty line; false, and nothing, when it does not fit.
    @inline(__always)
    static func append(
        _ head: borrowing HeadStorage<UInt8>, upTo end: UInt32,
        to output: inout OutputSpan<UInt8>
    ) -> Bool {
        precondition(Int(end) <= head.count, "part outside of a head")
        let count = Int(end) &+ 2
        if output.freeCapacity < count { return false }
        // Sound: as many bytes are there and free, checked above; they never overlap.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            let to = unsafe base + used
            unsafe copyMany(head.base, to, count: Int(end))
            unsafe UnsafeMutableRawPointer(to + Int(end)).storeBytes(
                of: UInt16(0x0A0D).littleEndian, as: UInt16.self)
            used &+= count
        }
        return true
    }

    /// Appends the head before `end`, the lines at `added`, a line of the literal `name` with what
    /// lies at `value` in the head, and an empty line; false, and nothing, when it does not fit.
    @inline(__always)
    static func append(
        _ head: borrowing HeadStorage<UInt8>, upTo end: UInt32,
        _ lines: borrowing HeadStorage<UInt8>, _ added: ByteRange,
        _ name: StaticString, _ value: ByteRange, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        let nameCount = name.utf8CodeUnitCount
        let addedStart = Int(added.start)
        let addedCount = Int(added.count)
        let valueStart = Int(value.start)
        let valueCount = Int(value.count)
        precondition(
            Int(end) <= head.count && addedStart &+ addedCount <= lines.count
                && valueStart &+ valueCount <= head.count, "parts outside of a head")
        let count = Int(end) &+ addedCount &+ nameCount &+ valueCount &+ 4
        if output.freeCapacity < count { return false }
        // Sound: the parts lie in the heads and `count` bytes are free, both checked above; each
        // copy begins where the one before it ended; heads and an OutputSpan never overlap.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard var to = target.baseAddress else { return }
            unsafe to += used
            unsafe copyMany(head.base, to, count: Int(end))
            unsafe to += Int(end)
            unsafe copyMany(lines.base + addedStart, to, count: addedCount)
            unsafe to += addedCount
            unsafe to.initialize(from: name.utf8Start, count: nameCount)
            unsafe to += nameCount
            unsafe copyShort(head.base + valueStart, to, count: valueCount)
            unsafe to += valueCount
            // CR and LF twice.
            unsafe UnsafeMutableRawPointer(to).storeBytes(
                of: UInt32(0x0A0D_0A0D).littleEndian, as: UInt32.self)
            used &+= count
        }
        return true
    }

    /// Appends some spans one behind the other when all fit; otherwise nothing, and returns false.
    @inline(never)
    static func append(
        _ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>, _ fourth: Span<UInt8>,
        to output: inout OutputSpan<UInt8>
    ) -> Bool {
        let count = first.count &+ second.count &+ third.count &+ fourth.count
        if output.freeCapacity < count { return false }
        // Sound: `count` bytes are free, checked above, and each copy begins where the one before
        // it ended; a Span and an exclusive OutputSpan never overlap.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            var to = unsafe base + used
            unsafe copy(first, to)
            unsafe to += first.count
            unsafe copy(second, to)
            unsafe to += second.count
            unsafe copy(third, to)
            unsafe to += third.count
            unsafe copy(fourth, to)
            used &+= count
        }
        return true
    }

    /// Copies a span to memory that has room for all of it and does not overlap it.
    @inlinable @inline(__always)
    static func copy(_ source: Span<UInt8>, _ to: UnsafeMutablePointer<UInt8>) {
        // Sound: the source holds as many bytes as are copied, the target as the caller says.
        unsafe source.withUnsafeBufferPointer { source in
            guard let from = source.baseAddress else { return }
            unsafe copy(from, to, count: source.count)
        }
    }

    /// Copies `count` bytes to memory that does not overlap them; up to 128 without a call.
    ///
    /// They are moved as words of 1 to 64 bytes that overlap in the middle, so that no byte outside
    /// of the two ranges is read or written. Not inlined: a call costs less than a caller that is
    /// too large to be optimised.
    @usableFromInline @inline(never)
    static func copy(
        _ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>, count: Int
    ) {
        if count < 16 {
            unsafe copyFew(from, to, count: count)
        } else if count <= 32 {
            // Sound: at least 16 bytes, so both moves are inside.
            unsafe move(from, to, 0, as: SIMD16<UInt8>.self)
            unsafe move(from, to, count &- 16, as: SIMD16<UInt8>.self)
        } else if count <= 64 {
            // Sound: at least 32 bytes, so all moves are inside.
            unsafe move(from, to, 0, as: SIMD32<UInt8>.self)
            unsafe move(from, to, count &- 32, as: SIMD32<UInt8>.self)
        } else if count <= 128 {
            // Sound: at least 64 bytes, so all moves are inside.
            unsafe move(from, to, 0, as: SIMD64<UInt8>.self)
            unsafe move(from, to, count &- 64, as: SIMD64<UInt8>.self)
        } else {
            // Sound: both ranges hold `count` bytes, as the caller says.
            unsafe to.initialize(from: from, count: count)
        }
    }

    /// The same, without a call for 64 to 256 bytes, as usual heads have them.
    @inline(__always)
    static func copyMany(
        _ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>, count: Int
    ) {
        if _slowPath(UInt(bitPattern: count &- 64) > 192) {
            return unsafe copy(from, to, count: count)
        }
        // Sound: both hold `count` bytes, as the caller says; only the last move reaches the last
        // 64 of them, and at least as many there are.
        if count > 64 { unsafe move(from, to, 0, as: SIMD64<UInt8>.self) }
        if count > 128 { unsafe move(from, to, 64, as: SIMD64<UInt8>.self) }
        if count > 192 { unsafe move(from, to, 128, as: SIMD64<UInt8>.self) }
        unsafe move(from, to, count &- 64, as: SIMD64<UInt8>.self)
    }

    /// The same, without a call for 8 to 16 bytes, as usual hosts have them.
    @inline(__always)
    static func copyShort(
        _ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>, count: Int
    ) {
        if UInt(bitPattern: count &- 8) > 8 { return unsafe copy(from, to, count: count) }
        // Sound: at least 8 bytes and at most twice as many, so both moves are inside.
        unsafe move(from, to, 0, as: UInt64.self)
        unsafe move(from, to, count &- 8, as: UInt64.self)
    }

    /// Copies fewer than 16 bytes.
    @inline(__always)
    private static func copyFew(
        _ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>, count: Int
    ) {
        if count >= 8 {
            // Sound: at least 8 bytes, so both moves are inside.
            unsafe move(from, to, 0, as: UInt64.self)
            unsafe move(from, to, count &- 8, as: UInt64.self)
        } else if count >= 4 {
            // Sound: at least 4 bytes, so both moves are inside.
            unsafe move(from, to, 0, as: UInt32.self)
            unsafe move(from, to, count &- 4, as: UInt32.self)
        } else if count >= 2 {
            // Sound: at least 2 bytes, so both moves are inside.
            unsafe move(from, to, 0, as: UInt16.self)
            unsafe move(from, to, count &- 2, as: UInt16.self)
        } else if count == 1 {
            // Sound: one byte is in both.
            unsafe to.initialize(to: from.pointee)
        }
    }

    /// The sixteen hexadecimal digits of a number in two words, the highest digit in the lowest
    /// byte of `high`.
    @inline(__always)
    static func hexDigits(_ number: UInt64) -> (high: UInt64, low: UInt64) {
        let halves: SIMD8<UInt16> = SIMD8<UInt16>(repeating: 0x0F0F)
        let nine: SIMD16<Int8> = SIMD16<Int8>(repeating: 9)
        let digit: SIMD16<Int8> = SIMD16<Int8>(repeating: 0x30)
        let letter: SIMD16<Int8> = SIMD16<Int8>(repeating: 39)
        let four: SIMD8<UInt16> = SIMD8<UInt16>(repeating: 4)
        let eight: SIMD8<UInt16> = SIMD8<UInt16>(repeating: 8)
        // Sound: UInt64, SIMD8<UInt8> are eight bytes; SIMD8<UInt16>, SIMD16<Int8>, a
        // mask of that and SIMD2<UInt64> sixteen; none has padding.
        let bytes = unsafe unsafeBitCast(number.bigEndian, to: SIMD8<UInt8>.self)
        // Each byte becomes two, the value of its higher half first.
        let wide = SIMD8<UInt16>(
            UInt16(bytes[0]), UInt16(bytes[1]), UInt16(bytes[2]), UInt16(bytes[3]),
            UInt16(bytes[4]), UInt16(bytes[5]), UInt16(bytes[6]), UInt16(bytes[7]))
        let pairs = (wide &>> four | wide &<< eight) & halves
        let values = unsafe unsafeBitCast(pairs, to: SIMD16<Int8>.self)
        // Letters come 39 after where digits would be.
        let isLetter = unsafe unsafeBitCast(values .> nine, to: SIMD16<Int8>.self)
        let text = values &+ digit &+ (isLetter & letter)
        let words = unsafe unsafeBitCast(text, to: SIMD2<UInt64>.self)
        return (words.x.littleEndian, words.y.littleEndian)
    }

    /// The bytes `from..<to` of a span, which must lie in it.
    @inline(__always)
    @_lifetime(copy bytes)
    static func part(_ bytes: Span<UInt8>, _ from: UInt32, _ to: UInt32) -> Span<UInt8> {
        part(bytes, Int(from), Int(to))
    }

    /// The bytes `from..<to` of a span, which must lie in it: as `extracting` does, always inlined.
    @inlinable @inline(always)
    @_lifetime(copy bytes)
    public static func part(_ bytes: Span<UInt8>, _ from: Int, _ to: Int) -> Span<UInt8> {
        precondition(from >= 0 && from <= to && to <= bytes.count, "part outside of the span")
        // Sound: the bounds are in order and inside, just checked.
        return unsafe bytes.extracting(unchecked: Range(uncheckedBounds: (from, to)))
    }

    /// Copies one word at `offset`, at which both ranges hold all of it.
    @inline(__always)
    private static func move<Word: BitwiseCopyable>(
        _ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>, _ offset: Int,
        as type: Word.Type
    ) {
        // Sound: the caller says that both hold the word, which may lie at any address.
        let word = unsafe UnsafeRawPointer(from).loadUnaligned(fromByteOffset: offset, as: type)
        unsafe UnsafeMutableRawPointer(to).storeBytes(of: word, toByteOffset: offset, as: type)
    }

    /// Appends the first `count` bytes of a word, 0...8, when they fit; the first is the lowest.
    @inlinable @inline(__always)
    static func append(
        word: UInt64, count: Int, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        precondition(count >= 0 && count <= 8, "a word has eight bytes")
        if output.freeCapacity < count { return false }
        let word = word.littleEndian
        // Sound: the word and the free part of the output hold `count` bytes each.
        unsafe withUnsafeBytes(of: word) { source in
            unsafe output.withUnsafeMutableBufferPointer { target, used in
                guard let base = target.baseAddress,
                    let from = unsafe source.baseAddress?.assumingMemoryBound(to: UInt8.self)
                else { return }
                unsafe copy(from, base + used, count: count)
                used &+= count
            }
        }
        return true
    }

    /// Appends a copy of what lies at `range` of the output itself, and then `end`.
    ///
    /// False, and nothing appended, when it does not lie there or does not fit.
    @inline(__always)
    static func appendOwn(
        _ range: Range<Int>, then end: StaticString = "", to output: inout OutputSpan<UInt8>
    ) -> Bool {
        let count = range.count
        if range.lowerBound < 0 || range.upperBound > output.count { return false }
        if output.freeCapacity < count &+ end.utf8CodeUnitCount { return false }
        // Sound: the source is initialised and the target free, both were just checked, so they do
        // not overlap either.
        unsafe output.withUnsafeMutableBufferPointer { buffer, used in
            guard let base = buffer.baseAddress else { return }
            unsafe copy(base + range.lowerBound, base + used, count: count)
            used &+= count
        }
        return append(end, to: &output)
    }

    /// Overwrites the 36 bytes from `offset` on, which must be there.
    @inline(__always)
    static func store(
        _ text: RequestID.Text, _ bytes: inout HeadStorage<UInt8>, at offset: Int
    ) {
        precondition(
            offset >= 0 && offset <= bytes.count &- RequestID.count, "no room for an identity")
        // Sound: the 36 bytes were just checked to be inside.
        unsafe store(text, bytes.base + offset)
    }

    /// Appends the 36 bytes of an identity when they fit; otherwise nothing, and returns false.
    @inline(__always)
    static func append(_ text: RequestID.Text, to output: inout OutputSpan<UInt8>) -> Bool {
        if output.freeCapacity < RequestID.count { return false }
        // Sound: 36 bytes are free, checked above.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            unsafe store(text, base + used)
            used &+= RequestID.count
        }
        return true
    }

    /// Writes 36 bytes to memory that has room for them.
    @inline(__always)
    private static func store(_ text: RequestID.Text, _ to: UnsafeMutablePointer<UInt8>) {
        // Sound: the caller says that all 36 bytes may be written.
        let to = UnsafeMutableRawPointer(to)
        unsafe to.storeBytes(of: text.first.littleEndian, as: UInt64.self)
        unsafe to.storeBytes(of: text.second.littleEndian, toByteOffset: 8, as: UInt64.self)
        unsafe to.storeBytes(of: text.third.littleEndian, toByteOffset: 16, as: UInt64.self)
        unsafe to.storeBytes(of: text.fourth.littleEndian, toByteOffset: 24, as: UInt64.self)
        unsafe to.storeBytes(of: text.last.littleEndian, toByteOffset: 32, as: UInt32.self)
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
        let count = a.count
        if count != b.count { return false }
        var at = 0
        while at &+ 8 <= count {
            if load8(a, at) != load8(b, at) { return false }
            at &+= 8
        }
        while at < count {
            if a[at] != b[at] { return false }
            at &+= 1
        }
        return true
    }

    /// Whether `text` equals `lower` without regard to the case of ASCII letters.
    ///
    /// `lower` must hold no capital letters.
    @inlinable
    public static func equalFolding(_ text: Span<UInt8>, _ lower: Span<UInt8>) -> Bool {
        let count = text.count
        if count != lower.count { return false }
        var at = 0
        while at &+ 8 <= count {
            if lowered(load8(text, at)) != load8(lower, at) { return false }
            at &+= 8
        }
        while at < count {
            if lowered(text[at]) != lower[at] { return false }
            at &+= 1
        }
        return true
    }

    /// The byte, or its small letter when it is an ASCII capital.
    @inlinable @inline(__always)
    public static func lowered(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// Eight bytes with small letters for ASCII capitals; no byte carries into the next.
    @inlinable @inline(__always)
    public static func lowered(_ word: UInt64) -> UInt64 {
        let ascii = word & 0x7F7F_7F7F_7F7F_7F7F
        // The top bit of each byte: from A on, and behind Z.
        let fromA = ascii &+ 0x3F3F_3F3F_3F3F_3F3F
        let behindZ = ascii &+ 0x2525_2525_2525_2525
        let capitals = fromA & ~behindZ & ~word & 0x8080_8080_8080_8080
        return word | (capitals &>> 2)
    }
}

// MARK: - Names

extension ByteScan {
    @usableFromInline static var smallLetters: UInt64 { 0x2020_2020_2020_2020 }

    /// The first eight bytes of a name with the bit of small letters set; what follows a shorter
    /// name is in it too, or zero at the end of the span.
    @inline(__always)
    static func firstWord(_ bytes: Span<UInt8>, at start: Int, count: Int) -> UInt64 {
        precondition(start >= 0 && count >= 0 && count <= bytes.count &- start)
        if start &+ 8 <= bytes.count { return word(bytes, start) }
        return shortWord(bytes, start, count)
    }

    /// Eight bytes, which the caller has checked to be all in the span, with the bit of small
    /// letters set.
    @inline(__always)
    static func word(_ bytes: Span<UInt8>, _ offset: Int) -> UInt64 {
        assert(offset >= 0 && offset &+ 8 <= bytes.count, "word outside of the span")
        // Sound: the caller has checked that the name, whose bytes these are, lies in the span.
        return UInt64(
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

    /// Whether the name at `at` equals `text`, which must have its length, at most 32, and only
    /// small letters, digits and hyphens; `first` is its `firstWord`.
    @inline(__always)
    static func isName(
        _ bytes: Span<UInt8>, at: Int, first: UInt64, _ text: StaticString
    ) -> Bool {
        let count = text.utf8CodeUnitCount
        if count <= 8 {
            let unused = UInt64(truncatingIfNeeded: 64 &- count &* 8)
            return first &<< unused == word(text, 0, count) &<< unused
        }
        if first != word(text, 0, 8) { return false }
        if word(bytes, at &+ count &- 8) != word(text, count &- 8, 8) { return false }
        if count > 16, word(bytes, at &+ 8) != word(text, 8, 8) { return false }
        return count <= 24 || word(bytes, at &+ 16) == word(text, 16, 8)
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
