import Glibc

/// The two clocks: monotonic for every deadline, wall only for logs and certificates.
///
/// A reading costs about 30 ns: take one per loop turn and pass it on.
public enum Clock {
    /// Nanoseconds since some moment before the start of the process; never goes back.
    @inlinable
    public static func monotonicNanoseconds() -> UInt64 { read(CLOCK_MONOTONIC) }

    /// The same clock as `monotonicNanoseconds`, in milliseconds.
    @inlinable
    public static func monotonicMilliseconds() -> UInt64 { read(CLOCK_MONOTONIC) / 1_000_000 }

    /// Nanoseconds since 1970-01-01 00:00 UTC; may be set back.
    public static func wallNanoseconds() -> UInt64 { read(CLOCK_REALTIME) }

    @inlinable
    @inline(always)
    static func read(_ clock: Int32) -> UInt64 {
        var time = timespec()
        // Sound: the pointer is valid for the call, which cannot fail for these clocks.
        _ = unsafe clock_gettime(clock, &time)
        // No clock is before its zero or 584 years behind it.
        let seconds = UInt64(bitPattern: Int64(time.tv_sec))
        return seconds &* 1_000_000_000 &+ UInt64(bitPattern: Int64(time.tv_nsec))
    }
}

/// The monotonic clock, read into a place of its own: a caller's frame holds none, and needs no guard for it.
///
/// For the few reads a request pays for; everybody else takes `Clock`.
@safe
public struct MonotonicClock: ~Copyable {
    @usableFromInline
    let place: UnsafeMutablePointer<timespec>

    public init() {
        // Sound: given back in `deinit`, by its only owner.
        unsafe place = .allocate(capacity: 1)
        unsafe place.initialize(to: timespec())
    }

    deinit {
        // Sound: nobody else has the pointer.
        unsafe place.deallocate()
    }

    /// As `Clock.monotonicNanoseconds`.
    @inlinable @inline(always)
    public mutating func nanoseconds() -> UInt64 {
        // Sound: the place lives as long as this does; the call cannot fail for this clock.
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, place)
        let time = unsafe place.pointee
        return UInt64(bitPattern: Int64(time.tv_sec)) &* 1_000_000_000
            &+ UInt64(bitPattern: Int64(time.tv_nsec))
    }
}
