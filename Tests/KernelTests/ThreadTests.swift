// Threads run, carry their names, stay on their cores, and are joined.
import CLinux
import Glibc
import Kernel
import Testing

struct ThreadTests {
    @Test func `the body has run when join returns`() throws {
        let value = Lock(0)
        let thread = try Thread.start(name: "runner") { value.withLock { $0 = 5 } }
        thread.join()
        #expect(value.withLock { $0 } == 5)
    }

    @Test(arguments: [
        ("worker-1", "worker-1"), ("a name of sixteen", "a name of sixte"), ("", ""),
        ("fourteen bytesé", "fourteen bytes"),
    ])
    func `a thread carries its name, cut to 15 bytes`(name: String, shown: String) throws {
        let value = Lock("?")
        let thread = try Thread.start(name: name) {
            let path = "/proc/self/task/\(gettid())/comm"
            let text = contents(of: path)
            value.withLock { $0 = text }
        }
        thread.join()
        #expect(value.withLock { $0 } == shown + "\n")
    }

    @Test func `niceness is the thread's own`() throws {
        let before = getpriority(PRIO_PROCESS, 0)
        let value = Lock<Int32>(0)
        let thread = try Thread.start(name: "nice", nice: 19) {
            let mine = getpriority(PRIO_PROCESS, id_t(gettid()))
            value.withLock { $0 = mine }
        }
        thread.join()
        #expect(value.withLock { $0 } == 19)
        #expect(getpriority(PRIO_PROCESS, 0) == before)
    }

    @Test func `a thread that runs on is not waited for beyond a limit, and may be again`() throws {
        let mailbox = try Mailbox<Int>(capacity: 1)
        let thread = try Thread.start(name: "slow") {
            waitUntil(mailbox.descriptor, [.readable])
        }
        #expect(!thread.join(atMostMilliseconds: 1))
        #expect(!thread.join(atMostMilliseconds: 1_001))
        _ = mailbox.post(1)
        #expect(thread.join(atMostMilliseconds: 60_000))
    }

    @Test func `a thread that nobody joins ends by itself`() throws {
        let mailbox = try Mailbox<Int>(capacity: 1)
        _ = try Thread.start(name: "free") { _ = mailbox.post(1) }
        waitUntil(mailbox.descriptor, [.readable])
        #expect(mailbox.take() == 1)
    }
}
