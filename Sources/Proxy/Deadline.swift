/// A deadline that moves often and fires seldom: moving it is one store.
///
/// The wheel holds an entry no later than the deadline; when that comes up early it is put in again.
struct Deadline: BitwiseCopyable {
    /// Milliseconds of the worker's clock; 0: none.
    var at: UInt64 = 0
    /// When the wheel's earliest entry comes up; 0: there is none.
    var armed: UInt64 = 0

    /// What an entry that came up means.
    enum Verdict: Equatable {
        /// Another entry will come, or there is no deadline any more.
        case ignore
        /// The deadline has moved: put an entry in at this time.
        case again(UInt64)
        case due
    }

    /// Moves the deadline to a later or earlier time, or away with 0; true when the wheel must get an entry for it.
    @inline(always)
    mutating func move(to time: UInt64) -> Bool {
        at = time
        // Without an entry `armed` is 0, which is one below the largest number.
        if time == 0 || armed &- 1 < time { return false }
        armed = time
        return true
    }

    /// Judges an entry that came up.
    mutating func fired(now: UInt64) -> Verdict {
        if armed > now { return .ignore }
        armed = 0
        if at == 0 { return .ignore }
        if at > now {
            armed = at
            return .again(at)
        }
        at = 0
        return .due
    }
}
