// The lock lets one in at a time and always lets go.
import Kernel
import Testing

struct LockTests {
    @Test func `no update is lost between threads`() throws {
        let lock = Lock(0)
        var threads: [Thread] = []
        for _ in 0..<4 {
            threads.append(
                try Thread.start(name: "adder") {
                    for _ in 0..<50_000 { lock.withLock { $0 += 1 } }
                })
        }
        for thread in threads { thread.join() }
        #expect(lock.withLock { $0 } == 200_000)
    }

    @Test func `an error leaves and unlocks`() {
        let lock = Lock(1)
        #expect(throws: Unexpected.self) {
            try lock.withLock { state throws(Unexpected) in
                state = 2
                throw Unexpected()
            }
        }
        #expect(lock.withLock { $0 } == 2)
    }

    @Test func `a state that cannot be copied is guarded and ends with the lock`() throws {
        let inner = Lock(0)
        do {
            let lock = Lock(Ending(inner))
            lock.withLock { $0.value += 5 }
            #expect(lock.withLock { $0.value } == 5)
        }
        #expect(inner.withLock { $0 } == 5)
    }
}

private struct Ending: ~Copyable {
    let report: Lock<Int>
    var value = 0

    init(_ report: Lock<Int>) { self.report = report }

    deinit {
        let value = value
        report.withLock { $0 += value }
    }
}
