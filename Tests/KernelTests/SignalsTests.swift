// Signals become numbers read from a descriptor.
import CLinux
import Glibc
import Kernel
import Testing

struct SignalsTests {
    @Test func `a blocked signal is read as its number`() throws {
        let outcome = Lock<[Int32?]>([])
        // A thread of its own: what it blocks stays blocked for it alone.
        let thread = try Thread.start(name: "signals") {
            guard let signals = try? SignalDescriptor([SIGUSR1, SIGUSR2]) else { return }
            var read = [signals.read()]
            raise(SIGUSR2)
            read.append(signals.wait(timeoutMilliseconds: 10_000))
            raise(SIGUSR1)
            raise(SIGUSR1)
            read.append(signals.read())
            read.append(signals.read())
            read.append(signals.wait(timeoutMilliseconds: 0))
            let result = read
            outcome.withLock { $0 = result }
        }
        thread.join()
        #expect(outcome.withLock { $0 } == [nil, SIGUSR2, SIGUSR1, nil, nil])
    }

    @Test func `threads inherit what is blocked`() throws {
        let outcome = Lock<Int32?>(nil)
        let thread = try Thread.start(name: "first") {
            guard let signals = try? SignalDescriptor([SIGUSR1]) else { return }
            let second = try? Thread.start(name: "second") { raise(SIGUSR1) }
            second?.join()
            // The second thread's own signal went with it; nobody was killed by it.
            raise(SIGUSR1)
            let number = signals.read()
            outcome.withLock { $0 = number }
        }
        thread.join()
        #expect(outcome.withLock { $0 } == SIGUSR1)
    }
}
