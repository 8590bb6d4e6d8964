// How large the windows are that peers may fill.
//
// A window is what may lie unread in memory, so it begins small. It doubles only when a whole one
// was filled and read within about one round trip: then it, and not the reader or the sender, is
// what the transfer waits for. A reader that is slow never gets there.
extension SessionCore {
    /// Windows that are to be made larger.
    struct Growth: BitwiseCopyable {
        var stream: Int32?
        var connection: Int32?
    }

    /// Counts content that was read.
    mutating func countRead(_ slot: Int, _ count: Int) -> Growth {
        var growth = Growth()
        let limit = Int32(clamping: limits.windowMax)
        streams[slot].windowRead += count
        if streams[slot].windowRead >= Int(streams[slot].window) {
            if isFast(since: streams[slot].windowSince), streams[slot].window < limit {
                streams[slot].window = doubled(streams[slot].window, limit)
                growth.stream = streams[slot].window
            }
            streams[slot].windowRead = 0
            streams[slot].windowSince = 0
        }
        windowRead += count
        if windowRead >= Int(window) {
            if isFast(since: windowSince), window < limit {
                window = doubled(window, limit)
                growth.connection = window
            }
            windowRead = 0
            windowSince = 0
        }
        return growth
    }

    private func doubled(_ window: Int32, _ limit: Int32) -> Int32 {
        window > limit / 2 ? limit : 2 * window
    }

    /// Whether no more than about a round trip has passed; a millisecond of it may be the clock's.
    private func isFast(since: UInt64) -> Bool {
        guard let roundTrip, since > 0, now >= since else { return false }
        return now - since <= 2 * roundTrip + 1
    }
}
