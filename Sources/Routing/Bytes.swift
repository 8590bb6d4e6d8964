import HTTP

/// A piece of the table's one arena of bytes.
struct ArenaRange: BitwiseCopyable, Sendable, Hashable {
    /// Offset of the first byte.
    var start: UInt32
    /// Number of bytes.
    var count: UInt32

    static var empty: ArenaRange { ArenaRange(start: 0, count: 0) }

    @inline(__always) var offset: Int { Int(start) }
    @inline(__always) var end: Int { Int(start) &+ Int(count) }
    @inline(__always) var range: Range<Int> { offset..<end }
}

/// Comparing and hashing of bytes eight at a time.
enum Bytes {
    /// Bytes that follow the last text of an arena, so that words can be read at its end.
    static var padding: Int { 8 }

    /// Whether two ranges of the same count hold the same bytes.
    @inline(__always)
    static func equal(
        _ a: Span<UInt8>, _ aStart: Int, _ b: Span<UInt8>, _ bStart: Int, count: Int
    ) -> Bool {
        if count < 8 {
            return word(a, aStart, count: count) == word(b, bStart, count: count)
        }
        let last = count &- 8
        var at = 0
        while at < last {
            if ByteScan.load8(a, aStart &+ at) != ByteScan.load8(b, bStart &+ at) { return false }
            at &+= 8
        }
        return ByteScan.load8(a, aStart &+ last) == ByteScan.load8(b, bStart &+ last)
    }

    /// The same, where the bytes of `b` are in small letters and those of `a` in any.
    @inline(__always)
    static func equalFolding(
        _ a: Span<UInt8>, _ aStart: Int, _ b: Span<UInt8>, _ bStart: Int, count: Int
    ) -> Bool {
        if count < 8 {
            let word = ByteScan.lowered(word(a, aStart, count: count))
            return word == self.word(b, bStart, count: count)
        }
        let last = count &- 8
        var at = 0
        while at < last {
            let word = ByteScan.lowered(ByteScan.load8(a, aStart &+ at))
            if word != ByteScan.load8(b, bStart &+ at) { return false }
            at &+= 8
        }
        let word = ByteScan.lowered(ByteScan.load8(a, aStart &+ last))
        return word == ByteScan.load8(b, bStart &+ last)
    }

    /// Fewer than eight bytes as one word, the first byte lowest, zeros above.
    @inline(__always)
    static func word(_ bytes: Span<UInt8>, _ start: Int, count: Int) -> UInt64 {
        if start &+ 8 <= bytes.count {
            let mask = (1 as UInt64) &<< UInt64(truncatingIfNeeded: count &* 8) &- 1
            return ByteScan.load8(bytes, start) & mask
        }
        var word: UInt64 = 0
        for i in 0..<count {
            word |= UInt64(bytes[start &+ i]) &<< UInt64(truncatingIfNeeded: i &* 8)
        }
        return word
    }

    /// Which bytes of a word are `byte`: bit n stands for the byte n.
    @inline(__always)
    static func lanes(of byte: UInt8, _ word: UInt64) -> UInt64 {
        let other = word ^ (UInt64(byte) &* 0x0101_0101_0101_0101)
        // The top bit of each byte that differs; no byte carries into the next.
        let tops = (other & 0x7F7F_7F7F_7F7F_7F7F) &+ 0x7F7F_7F7F_7F7F_7F7F | other
        let equal = (~tops & 0x8080_8080_8080_8080) &>> 7
        // Moves the bit of byte n to bit 56 + n; no two meet below.
        return (equal &* 0x0102_0408_1020_4080) &>> 56
    }

    /// A hash of a range, the same in every process.
    ///
    /// Tables hold only configured texts, so a client cannot choose what collides.
    @inline(__always)
    static func hash(_ bytes: Span<UInt8>, _ start: Int, count: Int) -> UInt32 {
        var state = UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
        if count < 8 {
            return finish(mix(state, word(bytes, start, count: count)))
        }
        let last = count &- 8
        var at = 0
        while at < last {
            state = mix(state, ByteScan.load8(bytes, start &+ at))
            at &+= 8
        }
        return finish(mix(state, ByteScan.load8(bytes, start &+ last)))
    }

    @inline(__always)
    private static func mix(_ state: UInt64, _ word: UInt64) -> UInt64 {
        let product = (state ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }

    @inline(__always)
    private static func finish(_ state: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: state ^ (state &>> 32))
    }
}
