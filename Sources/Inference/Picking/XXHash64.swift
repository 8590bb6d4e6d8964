import HTTP

/// xxHash64 with seed 0, of bytes that come in pieces: what the reference scheduler hashes prompts with.
struct XXHash64 {
    private static var prime1: UInt64 { 0x9E37_79B1_85EB_CA87 }
    private static var prime2: UInt64 { 0xC2B2_AE3D_27D4_EB4F }
    private static var prime3: UInt64 { 0x1656_67B1_9E37_79F9 }
    private static var prime4: UInt64 { 0x85EB_CA77_C2B2_AE63 }
    private static var prime5: UInt64 { 0x27D4_EB2F_1656_67C5 }

    private var lanes: SIMD4<UInt64>
    /// Bytes of a stripe that is not complete, first byte lowest.
    private var stripe = SIMD4<UInt64>(repeating: 0)
    private var stripeCount = 0
    private var total: UInt64 = 0

    init() {
        lanes = SIMD4<UInt64>(
            Self.prime1 &+ Self.prime2, Self.prime2, 0, 0 &- Self.prime1)
    }

    /// The hash of the bytes.
    static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hash = XXHash64()
        hash.append(bytes)
        return hash.finish()
    }

    /// Adds bytes.
    mutating func append(_ bytes: Span<UInt8>) {
        var at = 0
        while stripeCount != 0 && at < bytes.count {
            append(bytes[at])
            at += 1
        }
        while at &+ 32 <= bytes.count {
            consume(
                SIMD4<UInt64>(
                    ByteScan.load8(bytes, at), ByteScan.load8(bytes, at &+ 8),
                    ByteScan.load8(bytes, at &+ 16), ByteScan.load8(bytes, at &+ 24)))
            total &+= 32
            at &+= 32
        }
        while at &+ 8 <= bytes.count {
            append(word: ByteScan.load8(bytes, at))
            at &+= 8
        }
        while at < bytes.count {
            append(bytes[at])
            at += 1
        }
    }

    /// Adds one byte.
    mutating func append(_ byte: UInt8) {
        let lane = stripeCount >> 3
        stripe[lane] |= UInt64(byte) << UInt64((stripeCount & 7) * 8)
        advance(1)
    }

    /// Adds eight bytes, the lowest first.
    mutating func append(word: UInt64) {
        let shift = UInt64((stripeCount & 7) * 8)
        let lane = stripeCount >> 3
        if shift == 0 {
            stripe[lane] = word
            advance(8)
            return
        }
        for i in 0..<8 { append(UInt8(truncatingIfNeeded: word >> UInt64(i * 8))) }
    }

    private mutating func advance(_ count: Int) {
        stripeCount &+= count
        total &+= UInt64(count)
        if stripeCount == 32 {
            consume(stripe)
            stripe = SIMD4<UInt64>(repeating: 0)
            stripeCount = 0
        }
    }

    private mutating func consume(_ words: SIMD4<UInt64>) {
        for i in 0..<4 { lanes[i] = Self.round(lanes[i], words[i]) }
    }

    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
        value << count | value >> (64 &- count)
    }

    private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        rotate(lane &+ word &* prime2, 31) &* prime1
    }

    /// The hash of all bytes so far.
    func finish() -> UInt64 {
        var hash: UInt64
        if total >= 32 {
            hash = Self.rotate(lanes[0], 1) &+ Self.rotate(lanes[1], 7)
            hash = hash &+ Self.rotate(lanes[2], 12) &+ Self.rotate(lanes[3], 18)
            for i in 0..<4 {
                hash = (hash ^ Self.round(0, lanes[i])) &* Self.prime1 &+ Self.prime4
            }
        } else {
            hash = Self.prime5
        }
        hash &+= total
        var at = 0
        while at &+ 8 <= stripeCount {
            hash ^= Self.round(0, stripe[at >> 3])
            hash = Self.rotate(hash, 27) &* Self.prime1 &+ Self.prime4
            at &+= 8
        }
        if at &+ 4 <= stripeCount {
            hash ^= (stripe[at >> 3] & 0xFFFF_FFFF) &* Self.prime1
            hash = Self.rotate(hash, 23) &* Self.prime2 &+ Self.prime3
            at &+= 4
        }
        while at < stripeCount {
            let byte = stripe[at >> 3] >> UInt64((at & 7) * 8) & 0xFF
            hash ^= byte &* Self.prime5
            hash = Self.rotate(hash, 11) &* Self.prime1
            at &+= 1
        }
        hash = (hash ^ hash >> 33) &* Self.prime2
        hash = (hash ^ hash >> 29) &* Self.prime3
        return hash ^ hash >> 32
    }
}
