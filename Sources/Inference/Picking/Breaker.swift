/// Counts failures in a row and closes the way for a while; afterwards one request tries.
struct Breaker: BitwiseCopyable {
    /// 0: the way is open.
    ///
    /// Otherwise it is closed until then, and half open from then on.
    private(set) var closedUntil: UInt64 = 0
    private var failures: UInt8 = 0
    /// Closings in a row, each twice as long as the one before.
    private var closings: UInt8 = 0
    /// Whether the one request that tries is under way.
    var isProbing = false

    /// Whether requests may pass: all of them, or the one that tries.
    @inline(__always)
    func isOpen(_ now: UInt64) -> Bool {
        closedUntil == 0 || (now >= closedUntil && !isProbing)
    }

    /// Whether the next request is the one that tries.
    @inline(__always)
    var needsProbe: Bool { closedUntil != 0 }

    /// Notes that the endpoint answered; true when that opens the way.
    mutating func succeed() -> Bool {
        let wasClosed = closedUntil != 0
        self = Breaker()
        return wasClosed
    }

    /// Notes a failure; a failed try closes at once, others from the limit on.
    mutating func fail(
        _ now: UInt64, limit: UInt8, first: UInt64, longest: UInt64, wasProbe: Bool
    ) {
        failures = failures == .max ? .max : failures + 1
        if wasProbe { isProbing = false }
        if !wasProbe && (failures < limit || closedUntil > now) { return }
        let length = closings >= 20 ? longest : min(longest, first << UInt64(closings))
        closings = min(20, closings + 1)
        closedUntil = now &+ length
    }
}
