import Control
import Kernel
import Logging
import Runtime

/// How serving ends: signals, the drain, the last thread.
struct Draining {
    let options: RunOptions
    let plane: Planes
    let publisher: Publisher
    let published: PublishedState
    let log: Logger

    /// Waits for signals and for the end of the threads that serve; the exit status.
    func wait(for threads: [Thread], _ signals: borrowing SignalDescriptor) throws -> Int32 {
        follow(signals)
        let ended = Lock<Bool>(false)
        let waiting = try Thread.start(name: "joiner") {
            for thread in threads { thread.join() }
            ended.withLock { $0 = true }
        }
        while !ended.withLock({ $0 }) {
            if let signal = signals.wait(timeoutMilliseconds: 20), signal != SignalNumber.hangUp {
                log.warning("a second signal: the end at once")
                Machine.endProcess(0)
            }
        }
        waiting.join()
        let hasEnded = plane.stop()
        log.info("drained")
        if !hasEnded { Machine.endProcess(0) }
        return 0
    }

    /// Waits for signals: reload, and the one that begins the drain.
    private func follow(_ signals: borrowing SignalDescriptor) {
        while true {
            guard let signal = signals.wait(timeoutMilliseconds: -1) else { continue }
            if signal == SignalNumber.hangUp {
                plane.reread()
                continue
            }
            log.info(
                "draining", metadata: ["timeoutMilliseconds": "\(options.drainTimeoutMilliseconds)"]
            )
            published.withLock {
                $0.isReady = false
                $0.isDraining = true
            }
            publisher.drain(
                delay: options.drainDelayMilliseconds, timeout: options.drainTimeoutMilliseconds)
            return
        }
    }
}
