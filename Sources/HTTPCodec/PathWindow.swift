/// What a path's round trip says about how large a window is of use.
///
/// No I/O and no clock. The round trip is the caller's to measure, and asked for only when a window would grow.
struct PathWindow: BitwiseCopyable, Sendable {
    /// The fastest path that one stream is to fill, 10 Gbit/s: bytes in a microsecond.
    private static var bytesPerMicrosecond: UInt64 { 1_250 }
    /// What both ends take to answer, on top of the path's own time; also the clock's step.
    private static var slackMicroseconds: UInt64 { 1_000 }
    /// How long a measured round trip holds, in milliseconds.
    private static var freshMilliseconds: UInt64 { 1_000 }

    /// The shortest round trip of late, in microseconds.
    private var roundTrip: UInt64?
    private var measuredAt: UInt64 = 0
    /// A window would grow if the round trip were known, or known of late.
    private(set) var isWanted = false

    /// Takes a measured round trip; nil where there is none.
    mutating func measured(microseconds: UInt32?, now: UInt64) {
        isWanted = false
        measuredAt = now
        if let microseconds { roundTrip = UInt64(microseconds) }
    }

    /// What the window becomes after a whole one was read whose first byte came at `since`; nil: stays.
    mutating func grown(_ window: Int32, since: UInt64, now: UInt64, windowMax: UInt32) -> Int32? {
        if window >= Int32(clamping: windowMax) || since == 0 || now < since { return nil }
        if roundTrip == nil || now >= measuredAt + Self.freshMilliseconds { isWanted = true }
        guard let roundTrip else { return nil }
        let elapsed = (now - since) * 1_000
        if elapsed > 2 * roundTrip + Self.slackMicroseconds { return nil }
        // The round trip has 32 bits, so no overflow.
        let useful = (roundTrip + Self.slackMicroseconds) * Self.bytesPerMicrosecond
        let limit = Int32(clamping: min(useful, UInt64(windowMax)))
        if window >= limit { return nil }
        return window > limit / 2 ? limit : 2 * window
    }
}
