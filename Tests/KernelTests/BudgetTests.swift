// A budget never gives more than it has, whoever asks.
import Kernel
import Testing

struct BudgetTests {
    @Test func `bytes are taken all or none`() {
        let budget = Budget(limit: 100)
        check(budget.take(60))
        check(!budget.take(41))
        check(budget.take(40))
        check(!budget.take(1))
        check(budget.take(0))
        budget.give(50)
        #expect(budget.used == 50)
        check(!budget.take(.max))
    }

    @Test func `threads together take what there is and no more`() throws {
        let budget = Budget(limit: 10_000)
        let total = Lock(0)
        var threads: [Thread] = []
        for number in 1...4 {
            threads.append(
                try Thread.start(name: "taker") {
                    var taken = 0
                    for round in 0..<20_000 {
                        if budget.take(number) { taken += number }
                        if round % 3 == 0, taken >= number {
                            budget.give(number)
                            taken -= number
                        }
                    }
                    total.withLock { $0 += taken }
                })
        }
        for thread in threads { thread.join() }
        #expect(budget.used == total.withLock { $0 })
        #expect(budget.used <= 10_000)
        #expect(budget.used > 9_990)
    }
}
