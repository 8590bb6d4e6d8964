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

    /// The wheel has no entry that comes up in time.
    var mustArm: Bool { armed == 0 || armed > at }

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
