import Kernel

/// How many retries a backend gets (`XBackendTrafficPolicy.spec.retryConstraint`).
public struct RetryAllowance: Hashable, Sendable {
    /// Most retries of a hundred requests, retries among them.
    public var percent: UInt64
    /// The time over which both are counted, at least 1.
    public var milliseconds: UInt64
    /// So many retries are made whatever the share is, in `leastMilliseconds`.
    public var least: UInt64
    /// At least 1.
    public var leastMilliseconds: UInt64

    /// An allowance; without arguments the API's own.
    public init(
        percent: UInt64 = 20, milliseconds: UInt64 = 10_000, least: UInt64 = 10,
        leastMilliseconds: UInt64 = 1_000
    ) {
        self.percent = percent
        self.milliseconds = milliseconds
        self.least = least
        self.leastMilliseconds = leastMilliseconds
    }
}

/// What a backend was sent lately, counted by all workers together.
///
/// Only requests to a backend with an allowance come here, for a lock of some nanoseconds.
public final class RetryBudget: Sendable {
    public let allowance: RetryAllowance
    private let counts: Lock<Counts>

    private struct Counts {
        var requests: RateWindow
        var retries: RateWindow
        var latestRetries: RateWindow
    }

    /// A budget of which nothing is spent.
    public init(_ allowance: RetryAllowance) {
        self.allowance = allowance
        counts = Lock(
            Counts(
                requests: RateWindow(milliseconds: allowance.milliseconds),
                retries: RateWindow(milliseconds: allowance.milliseconds),
                latestRetries: RateWindow(milliseconds: allowance.leastMilliseconds)))
    }

    /// Counts a request, whatever becomes of it; `now` in milliseconds of a clock that all workers share.
    public func note(now: UInt64) {
        counts.withLock { $0.requests.add(1, now: now) }
    }

    /// Takes one retry out of the budget; false when there is none left.
    public func take(now: UInt64) -> Bool {
        let allowance = allowance
        return counts.withLock { counts in
            counts.requests.move(to: now)
            counts.retries.move(to: now)
            counts.latestRetries.move(to: now)
            let retries = counts.retries.sum + 1
            let isWithin =
                retries * 100 <= allowance.percent * (counts.requests.sum + retries)
                || counts.latestRetries.sum < allowance.least
            guard isWithin else { return false }
            counts.retries.add(1, now: now)
            counts.latestRetries.add(1, now: now)
            return true
        }
    }

    /// Gives back what was taken this moment for a retry that could not be made.
    public func giveBack(now: UInt64) {
        counts.withLock { counts in
            counts.retries.takeBack(now: now)
            counts.latestRetries.takeBack(now: now)
        }
    }
}

/// A count over the last so many milliseconds, in twentieths of them: none is forgotten early, and none is kept for more
/// than a twentieth too long.
struct RateWindow {
    private static var slotCount: Int { 21 }

    private var counts = InlineArray<21, UInt64>(repeating: 0)
    private var newest: UInt64 = 0
    private let slotMilliseconds: UInt64
    private(set) var sum: UInt64 = 0

    init(milliseconds: UInt64) {
        slotMilliseconds = max(1, (milliseconds + 19) / 20)
    }

    /// Forgets what is too long ago.
    ///
    /// A time before the latest one counts as that.
    mutating func move(to now: UInt64) {
        let slot = now / slotMilliseconds
        if slot <= newest { return }
        let passed = min(slot - newest, UInt64(Self.slotCount))
        for step in 1...passed {
            let index = Int((newest &+ step) % UInt64(Self.slotCount))
            sum -= counts[index]
            counts[index] = 0
        }
        newest = slot
    }

    mutating func add(_ count: UInt64, now: UInt64) {
        move(to: now)
        counts[Int(newest % UInt64(Self.slotCount))] += count
        sum += count
    }

    /// Takes one away that was added a moment ago.
    mutating func takeBack(now: UInt64) {
        move(to: now)
        let index = Int(newest % UInt64(Self.slotCount))
        if counts[index] == 0 { return }
        counts[index] -= 1
        sum -= 1
    }
}
