import COpenSSL
import Kernel

/// The secrets that seal session tickets, shared by all workers and all configurations.
///
/// No secret is used as it stands: every configuration derives keys of its own from it, so that a
/// ticket of one listener opens nowhere else (robustness: a ticket must not cross listeners or
/// client-validation settings). The current secret seals; the two before it still open, and a
/// ticket opened by one of those is renewed.
public final class TLSTicketKeys: Sendable {
    /// How many secrets open tickets: the current one and those before it.
    public static let acceptedMax = 3
    /// Seconds until `rotate(now:)` makes a new secret; also the life of a ticket.
    public let periodSeconds: UInt64

    private struct State {
        var generation: UInt64
        var rotatedAt: UInt64
        /// Newest first.
        var secrets: [[UInt8]]
    }
    private let state: Lock<State>

    /// Makes the first secret; `now` in seconds of any clock that goes forward.
    public init(periodSeconds: UInt64 = 14_400, now: UInt64) {
        self.periodSeconds = periodSeconds
        state = Lock(
            State(generation: 1, rotatedAt: now, secrets: [TLSTicketKeys.randomSecret()])
        )
    }

    /// Makes a new secret if the current one is older than the period; says whether it did.
    @discardableResult
    public func rotate(now: UInt64) -> Bool {
        state.withLock { state in
            guard now >= state.rotatedAt, now - state.rotatedAt >= periodSeconds else {
                return false
            }
            state.rotatedAt = now
            state.generation += 1
            state.secrets.insert(TLSTicketKeys.randomSecret(), at: 0)
            if state.secrets.count > TLSTicketKeys.acceptedMax { state.secrets.removeLast() }
            return true
        }
    }

    /// The secrets, newest first, with their generation; nil while that is the one given.
    func secrets(unlessGeneration known: UInt64) -> (generation: UInt64, secrets: [[UInt8]])? {
        state.withLock { state in
            known == state.generation ? nil : (state.generation, state.secrets)
        }
    }

    private static func randomSecret() -> [UInt8] {
        var secret = [UInt8](repeating: 0, count: 32)
        // Sound: the count given is the array's.
        let result = unsafe secret.withUnsafeMutableBufferPointer {
            unsafe RAND_bytes($0.baseAddress, Int32($0.count))
        }
        precondition(result == 1, "The system gives no random bytes; no key may be made.")
        return secret
    }
}

/// The keys of one configuration for one secret: a public name, and what it stands for.
struct TicketKey {
    let name: InlineArray<16, UInt8>
    let cipherKey: InlineArray<32, UInt8>
    let macKey: InlineArray<32, UInt8>

    /// Derives by HKDF-Expand (RFC 5869 §2.3), one block for each purpose.
    init(secret: [UInt8], binding: [UInt8]) {
        let name = TicketKey.expand(secret, label: "ticket name", binding)
        let cipherKey = TicketKey.expand(secret, label: "ticket cipher", binding)
        let macKey = TicketKey.expand(secret, label: "ticket mac", binding)
        self.name = InlineArray { name[$0] }
        self.cipherKey = InlineArray { cipherKey[$0] }
        self.macKey = InlineArray { macKey[$0] }
    }

    /// Names are public: an early exit tells nothing.
    func hasName(_ other: InlineArray<16, UInt8>) -> Bool {
        for index in 0..<16 where name[index] != other[index] { return false }
        return true
    }

    private static func expand(_ secret: [UInt8], label: String, _ binding: [UInt8]) -> [UInt8] {
        Digest.hmacSHA256(key: secret, Array(label.utf8) + [0] + binding + [1])
    }
}
