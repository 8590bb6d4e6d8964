import HTTP

/// xxHash with 64 bits, of bytes that come in pieces (the XXH64 of the published specification).
struct XXHash64: Sendable {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    private var lanes: (UInt64, UInt64, UInt64, UInt64)
    /// A stripe that is not whole yet.
    private var pending = InlineArray<32, UInt8>(repeating: 0)
    private var pendingCount = 0
    private var total: UInt64 = 0
    private let seed: UInt64

    init(seed: UInt64 = 0) {
        self.seed = seed
        lanes = (
            seed &+ Self.prime1 &+ Self.prime2, seed &+ Self.prime2, seed, seed &- Self.prime1
        )
    }

    /// Adds bytes.
    mutating func update(_ bytes: Span<UInt8>) {
        total &+= UInt64(bytes.count)
        var at = 0
        while at < bytes.count {
            if pendingCount == 0, at &+ 32 <= bytes.count {
                addStripe(bytes, at)
                at &+= 32
                continue
            }
            pending[pendingCount] = bytes[at]
            pendingCount += 1
            at += 1
            if pendingCount == 32 {
                let stripe = pending
                addStripe(stripe.span, 0)
                pendingCount = 0
            }
        }
    }

    /// Adds a number of eight bytes, the lowest first.
    mutating func update(littleEndian number: UInt64) {
        var bytes = InlineArray<8, UInt8>(repeating: 0)
        for i in 0..<8 { bytes[i] = UInt8(truncatingIfNeeded: number >> UInt64(8 * i)) }
        update(bytes.span)
    }

    private mutating func addStripe(_ bytes: Span<UInt8>, _ at: Int) {
        lanes.0 = Self.round(lanes.0, ByteScan.load8(bytes, at))
        lanes.1 = Self.round(lanes.1, ByteScan.load8(bytes, at &+ 8))
        lanes.2 = Self.round(lanes.2, ByteScan.load8(bytes, at &+ 16))
        lanes.3 = Self.round(lanes.3, ByteScan.load8(bytes, at &+ 24))
    }

    /// The hash of all bytes so far; more may follow.
    var digest: UInt64 {
        var hash = seed &+ Self.prime5
        if total >= 32 {
            hash =
                Self.rotated(lanes.0, 1) &+ Self.rotated(lanes.1, 7) &+ Self.rotated(lanes.2, 12)
                &+ Self.rotated(lanes.3, 18)
            hash = Self.merged(hash, lanes.0)
            hash = Self.merged(hash, lanes.1)
            hash = Self.merged(hash, lanes.2)
            hash = Self.merged(hash, lanes.3)
        }
        hash &+= total
        let rest = pending.span.extracting(0..<pendingCount)
        var at = 0
        while at &+ 8 <= rest.count {
            hash ^= Self.round(0, ByteScan.load8(rest, at))
            hash = Self.rotated(hash, 27) &* Self.prime1 &+ Self.prime4
            at &+= 8
        }
        if at &+ 4 <= rest.count {
            var word: UInt64 = 0
            for i in 0..<4 { word |= UInt64(rest[at + i]) << UInt64(8 * i) }
            hash ^= word &* Self.prime1
            hash = Self.rotated(hash, 23) &* Self.prime2 &+ Self.prime3
            at &+= 4
        }
        while at < rest.count {
            hash ^= UInt64(rest[at]) &* Self.prime5
            hash = Self.rotated(hash, 11) &* Self.prime1
            at &+= 1
        }
        hash = (hash ^ hash >> 33) &* Self.prime2
        hash = (hash ^ hash >> 29) &* Self.prime3
        return hash ^ hash >> 32
    }

    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotated(lane &+ input &* prime2, 31) &* prime1
    }

    private static func merged(_ hash: UInt64, _ lane: UInt64) -> UInt64 {
        (hash ^ round(0, lane)) &* prime1 &+ prime4
    }

    private static func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 {
        value &<< bits | value &>> (64 &- bits)
    }
}
