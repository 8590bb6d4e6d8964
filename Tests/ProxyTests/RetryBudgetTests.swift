// Proves that retries are counted over their window, and allowed by share and by rate.
import Testing

@testable import Runtime

@Suite struct RetryBudgetTests {
    @Test func `a window forgets what is too long ago, and nothing early`() {
        var window = RateWindow(milliseconds: 1_000)
        window.add(3, now: 1_000_000)
        window.add(2, now: 1_000_500)
        window.move(to: 1_000_999)
        #expect(window.sum == 5)
        window.move(to: 1_001_050)
        #expect(window.sum == 2)
        window.move(to: 1_001_550)
        #expect(window.sum == 0)
        window.add(1, now: 9_000_000)
        window.move(to: 8_000_000)
        #expect(window.sum == 1)
    }

    @Test func `retries are at most their share of all that is sent`() {
        let budget = RetryBudget(RetryAllowance(percent: 20, milliseconds: 10_000, least: 0))
        for _ in 0..<8 { budget.note(now: 5_000) }
        #expect(budget.take(now: 5_000))
        #expect(budget.take(now: 5_001))
        #expect(!budget.take(now: 5_002))
        for _ in 0..<4 { budget.note(now: 5_003) }
        #expect(budget.take(now: 5_004))
        #expect(!budget.take(now: 5_005))
        #expect(!budget.take(now: 60_000))
    }

    @Test func `so many are allowed whatever their share is`() {
        let budget = RetryBudget(
            RetryAllowance(percent: 0, milliseconds: 10_000, least: 2, leastMilliseconds: 1_000))
        #expect(budget.take(now: 5_000))
        #expect(budget.take(now: 5_500))
        #expect(!budget.take(now: 5_900))
        #expect(budget.take(now: 6_060))
        #expect(!budget.take(now: 6_070))
    }

    @Test func `what is given back can be taken again`() {
        let budget = RetryBudget(RetryAllowance(percent: 0, least: 1, leastMilliseconds: 60_000))
        #expect(budget.take(now: 5_000))
        budget.giveBack(now: 5_000)
        #expect(budget.take(now: 5_001))
        #expect(!budget.take(now: 5_002))
    }

    @Test func `all is allowed where all may be retries`() {
        let budget = RetryBudget(RetryAllowance(percent: 100, least: 0))
        for now in 0..<1_000 { #expect(budget.take(now: UInt64(now))) }
    }
}
