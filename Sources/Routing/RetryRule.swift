/// When requests of a rule are tried again, beyond what is safe for any (`HTTPRoute.spec.rules[].retry`).
///
/// Connections that fail and attempts that take too long are retried whatever the statuses are.
public struct RetryRule: Equatable, Sendable, BitwiseCopyable {
    /// Retries after the first attempt, at most; nil: as many as of any other request.
    public let attempts: UInt8?
    /// Least time between the failure of an attempt and the next one; nil: the gateway chooses.
    public let backoffMilliseconds: UInt32?
    /// A bit for each status from 400 on.
    private var bits = SIMD4<UInt64>()

    /// The statuses that can be named.
    public static var statuses: ClosedRange<Int> { 400...599 }
    /// Most retries that can be asked for.
    public static var attemptsMax: Int { 100 }

    /// Makes a rule; statuses outside `statuses` are left out.
    public init(attempts: Int? = nil, backoffMilliseconds: UInt32? = nil, statuses: [Int] = []) {
        self.attempts = attempts.map { UInt8(min(max($0, 0), Self.attemptsMax)) }
        self.backoffMilliseconds = backoffMilliseconds
        for status in statuses where Self.statuses.contains(status) {
            let at = status - Self.statuses.lowerBound
            bits[at / 64] |= 1 << UInt64(at % 64)
        }
    }

    /// Whether an answer with this status is dropped for another attempt.
    public func contains(_ status: Int) -> Bool {
        guard Self.statuses.contains(status) else { return false }
        let at = status - Self.statuses.lowerBound
        return bits[at / 64] >> UInt64(at % 64) & 1 == 1
    }
}

extension Table {
    /// When requests of a rule are tried again; nil where it does not say.
    public func retry(rule: Int32) -> RetryRule? {
        if rule < 0 { return nil }
        let row = rules[Int(rule)].retry
        return row < 0 ? nil : retries[Int(row)]
    }
}
