// Cheap frames run out, and come back with time and with work; resets are held against streams
// that end well.
import Testing

@testable import HTTPCodec

/// A budget that an expectation can spend from.
private final class Held {
    private var budget: AbuseBudget
    init(now: UInt64) { budget = AbuseBudget(HTTP2Limits(), now: now) }
    func spend(_ kind: Flood, now: UInt64) -> Bool { budget.spend(kind, now: now) }
    func countEarly(now: UInt64) -> Bool { budget.countEarly(now: now) }
    func countComplete(now: UInt64) { budget.countComplete(now: now) }
    func earnContent() { budget.earnContent() }
    func earnStream() { budget.earnStream() }
}

@Suite struct AbuseBudgetTests {
    private func count(_ budget: Held, _ kind: Flood, now: UInt64) -> Int {
        var count = 0
        while count < 10_000, budget.spend(kind, now: now) { count += 1 }
        return count
    }

    @Test(arguments: [Flood.settings, .ping, .priority, .emptyData, .windowUpdate, .unknownFrame])
    func `a bucket runs out and is filled by time, up to its brim`(kind: Flood) {
        let budget = Held(now: 5_000)
        let burst = count(budget, kind, now: 5_000)
        #expect(burst > 0 && burst < 1_000)
        #expect(count(budget, kind, now: 5_900) == 0)
        let second = count(budget, kind, now: 6_000)
        #expect(second > 0 && second < burst)
        #expect(count(budget, kind, now: 6_000) == 0)
        #expect(count(budget, kind, now: .max) == burst)
        #expect(count(budget, kind, now: 0) == 0, "a clock that goes back gives nothing")
    }

    @Test func `kinds have buckets of their own`() {
        let budget = Held(now: 0)
        _ = count(budget, .ping, now: 0)
        #expect(!budget.spend(.ping, now: 0))
        #expect(budget.spend(.priority, now: 0))
    }

    @Test func `work fills what it needs`() {
        let budget = Held(now: 0)
        for kind in Flood.allCases
        where ![.reset, .continuation, .outboundQueue, .library].contains(kind) {
            _ = count(budget, kind, now: 0)
        }
        for _ in 0..<10 { budget.earnContent() }
        #expect(count(budget, .windowUpdate, now: 0) == 20)
        #expect(count(budget, .ping, now: 0) == 10)
        #expect(count(budget, .settings, now: 0) == 0)
        for _ in 0..<10 { budget.earnStream() }
        #expect(count(budget, .priority, now: 0) == 40)
    }

    @Test func `the hundred and first reset in ten seconds is too much`() {
        let budget = Held(now: 0)
        for index in 0..<100 { #expect(budget.countEarly(now: UInt64(index) * 90)) }
        #expect(!budget.countEarly(now: 9_500))
        #expect(budget.countEarly(now: 30_000), "long ago")
    }

    @Test func `two halves of the time are looked at, not one`() {
        let budget = Held(now: 0)
        for _ in 0..<60 { #expect(budget.countEarly(now: 4_900)) }
        for _ in 0..<40 { #expect(budget.countEarly(now: 5_100)) }
        #expect(!budget.countEarly(now: 5_100))
    }

    @Test func `with more streams that end well resets are forgiven`() {
        let budget = Held(now: 0)
        for _ in 0..<150 { budget.countComplete(now: 0) }
        for _ in 0..<150 { #expect(budget.countEarly(now: 0)) }
        #expect(!budget.countEarly(now: 0))
    }
}
