import Kernel

/// One deadline that moves, on a wheel whose entries cannot be cancelled.
struct Deadline: BitwiseCopyable {
    /// When it is due, in milliseconds; `never` when nothing is awaited.
    private(set) var at = Deadline.never
    /// When its earliest entry comes out of the wheel; `never` when there is none.
    private var armedAt = Deadline.never

    static var never: UInt64 { .max }

    /// The time so long after `now`; `never` when that is beyond the clock.
    static func time(_ milliseconds: UInt64, after now: UInt64) -> UInt64 {
        let (time, overflows) = now.addingReportingOverflow(milliseconds)
        return overflows ? never : time
    }

    /// Moves the deadline; later is one store, earlier is a new entry.
    mutating func set(_ time: UInt64, _ wheel: inout TimerWheel, _ token: Token) {
        at = time
        if time < armedAt {
            wheel.schedule(token, at: time)
            armedAt = time
        }
    }

    mutating func clear() { at = Self.never }

    /// An entry came out: whether the deadline is due; if it is still to come, it is entered again.
    mutating func fires(now: UInt64, _ wheel: inout TimerWheel, _ token: Token) -> Bool {
        if armedAt <= now { armedAt = Self.never }
        if at <= now {
            at = Self.never
            return true
        }
        if at < armedAt {
            wheel.schedule(token, at: at)
            armedAt = at
        }
        return false
    }
}
