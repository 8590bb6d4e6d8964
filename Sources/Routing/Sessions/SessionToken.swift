/// What a client brings to stay with its endpoint: when its session began and was used last, and a proof that binds both
/// to one rule and one endpoint.
///
/// It names nobody: whose it is shows only by trying the endpoints of the rule, so that it leads nowhere else, and a token
/// that was made up leads nowhere at all. The proof is SipHash-2-4 under a secret key: who knows what rule and
/// endpoint are called inside can neither make one nor learn from one which endpoint it leads to.
public struct SessionToken: BitwiseCopyable, Equatable, Sendable {
    /// Seconds since 1970.
    public let began: UInt32
    public let used: UInt32
    let proof: UInt64

    /// A token for an endpoint of a rule.
    public init(began: UInt32, used: UInt32, rule: UInt64, endpoint: UInt64, under key: SessionKey)
    {
        self.began = began
        self.used = used
        proof = Self.proof(began, used, rule, endpoint, key)
    }

    /// Characters of its text.
    public static var textCount: Int { 32 }

    /// The token that some text is; nil when it is none.
    public init?(parsing text: Span<UInt8>) {
        if text.count != Self.textCount { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for at in 0..<text.count {
            let digit: UInt8
            switch text[at] {
            case 0x30...0x39: digit = text[at] - 0x30
            case 0x61...0x66: digit = text[at] - 0x61 + 10
            default: return nil
            }
            if at < 16 {
                words.0 = words.0 << 4 | UInt64(digit)
            } else {
                words.1 = words.1 << 4 | UInt64(digit)
            }
        }
        began = UInt32(truncatingIfNeeded: words.0 >> 32)
        used = UInt32(truncatingIfNeeded: words.0)
        proof = words.1
    }

    /// Hexadecimal digits.
    public var text: InlineArray<32, UInt8> {
        let times = UInt64(began) << 32 | UInt64(used)
        var text = InlineArray<32, UInt8>(repeating: 0)
        for at in 0..<32 {
            let word = at < 16 ? times : proof
            let digit = UInt8(truncatingIfNeeded: word >> UInt64((15 - at % 16) * 4)) & 15
            text[at] = digit < 10 ? 0x30 + digit : 0x61 + digit - 10
        }
        return text
    }

    /// Whether it was made for this endpoint of this rule.
    public func belongs(toRule rule: UInt64, endpoint: UInt64, under key: SessionKey) -> Bool {
        proof == Self.proof(began, used, rule, endpoint, key)
    }

    /// SipHash-2-4 of rule, endpoint and both times.
    private static func proof(
        _ began: UInt32, _ used: UInt32, _ rule: UInt64, _ endpoint: UInt64, _ key: SessionKey
    ) -> UInt64 {
        var state = SipState(key.first, key.second)
        state.take(rule)
        state.take(endpoint)
        state.take(UInt64(began) << 32 | UInt64(used))
        // The length of the message stands in the highest byte of the last word.
        state.take(24 << 56)
        return state.finish()
    }
}

/// What proofs of tokens are made with, 128 bits that nobody else knows.
public struct SessionKey: BitwiseCopyable, Hashable, Sendable {
    let first: UInt64
    let second: UInt64

    public init(_ first: UInt64, _ second: UInt64) {
        self.first = first
        self.second = second
    }

    /// A random one of this process: sessions begin anew with another.
    public static let ofProcess = SessionKey(
        UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max))
}

/// The state of SipHash-2-4 (Aumasson and Bernstein, 2012).
struct SipState: BitwiseCopyable {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    init(_ k0: UInt64, _ k1: UInt64) {
        v0 = k0 ^ 0x736F_6D65_7073_6575
        v1 = k1 ^ 0x646F_7261_6E64_6F6D
        v2 = k0 ^ 0x6C79_6765_6E65_7261
        v3 = k1 ^ 0x7465_6462_7974_6573
    }

    mutating func take(_ word: UInt64) {
        v3 ^= word
        turn()
        turn()
        v0 ^= word
    }

    mutating func finish() -> UInt64 {
        v2 ^= 0xFF
        for _ in 0..<4 { turn() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    private mutating func turn() {
        v0 &+= v1
        v1 = v1 << 13 | v1 >> 51
        v1 ^= v0
        v0 = v0 << 32 | v0 >> 32
        v2 &+= v3
        v3 = v3 << 16 | v3 >> 48
        v3 ^= v2
        v0 &+= v3
        v3 = v3 << 21 | v3 >> 43
        v3 ^= v0
        v2 &+= v1
        v1 = v1 << 17 | v1 >> 47
        v1 ^= v2
        v2 = v2 << 32 | v2 >> 32
    }
}
