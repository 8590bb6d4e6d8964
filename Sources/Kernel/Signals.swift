import CLinux
import Glibc

/// Process-wide signal settings.
public enum Signals {
    /// Makes writing to a closed connection an error instead of a deadly signal; idempotent.
    public static func ignoreBrokenPipe() { _ = ignored }

    private static let ignored: Void = { _ = signal(SIGPIPE, SIG_IGN) }()
}

/// Signals as events: blocked in every thread and read from a descriptor.
///
/// Make it on the main thread before any other thread is started: they inherit what is blocked.
/// The signals stay blocked when it ends.
public struct SignalDescriptor: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// Blocks the signals for the calling thread and those that it starts; ignores SIGPIPE.
    public init(_ signals: [Int32] = [SIGTERM, SIGINT, SIGHUP]) throws(SystemError) {
        Signals.ignoreBrokenPipe()
        var set = sigset_t()
        // Sound: the set lives during the calls.
        _ = unsafe sigemptyset(&set)
        for signal in signals {
            // Sound: as above.
            precondition(unsafe sigaddset(&set, signal) == 0, "Every signal exists.")
        }
        // Sound: as above.
        let result = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        precondition(result == 0, "Signals can be blocked.")
        descriptor = Descriptor(
            adopting: try SystemCall.check("signalfd") {
                // Sound: as above.
                unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
            })
    }

    /// Readable while a signal waits; register it level-triggered.
    public var raw: Int32 { descriptor.raw }

    /// Takes one signal that came and says which; nil: none.
    ///
    /// Several of a kind may come as one.
    public func read() -> Int32? {
        var report = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        // Sound: room for the one report that is asked for.
        let result = SystemCall.run { unsafe Glibc.read(descriptor.raw, &report, size) }
        return result == size ? Int32(truncatingIfNeeded: report.ssi_signo) : nil
    }

    /// Waits for a signal; nil after so many milliseconds, below zero: without end.
    public func wait(timeoutMilliseconds: Int32) -> Int32? {
        poll(raw, timeoutMilliseconds: timeoutMilliseconds) ? read() : nil
    }
}

/// Waits until a descriptor is readable; false when the time is over.
func poll(_ raw: Int32, timeoutMilliseconds: Int32) -> Bool {
    let deadline = Clock.monotonicMilliseconds() + UInt64(max(0, timeoutMilliseconds))
    var remaining = timeoutMilliseconds
    while true {
        var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        // Sound: one entry that lives during the call.
        let result = unsafe poll(&entry, 1, remaining)
        if result > 0 { return true }
        if result == 0 { return false }
        precondition(errno == EINTR, "Polling one valid descriptor fails only by signals.")
        if timeoutMilliseconds > 0 {
            let now = Clock.monotonicMilliseconds()
            remaining = now >= deadline ? 0 : Int32(deadline - now)
        }
    }
}
