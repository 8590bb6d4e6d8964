// How large the windows are that peers may fill.
//
// A window is what may lie unread in memory, so it begins small. It doubles only when a whole one
// was filled and read within about one round trip: then it, and not the reader or the sender, is
// what the transfer waits for. A reader that is slow never gets there. How far it may grow depends
// on the path: no more lies on it than its round trip holds, see `PathWindow`.
extension SessionCore {
    /// Windows that are to be made larger.
    struct Growth: BitwiseCopyable {
        var stream: Int32?
        var connection: Int32?
    }

    /// Counts content that was read.
    mutating func countRead(_ slot: Int, _ count: Int) -> Growth {
        var growth = Growth()
        streams[slot].windowRead += count
        if streams[slot].windowRead >= Int(streams[slot].window) {
            let larger = path.grown(
                streams[slot].window, since: streams[slot].windowSince, now: now,
                windowMax: limits.windowMax)
            if let larger { streams[slot].window = larger }
            growth.stream = larger
            streams[slot].windowRead = 0
            streams[slot].windowSince = 0
        }
        windowRead += count
        if windowRead >= Int(window) {
            growth.connection = path.grown(
                window, since: windowSince, now: now, windowMax: limits.windowMax)
            if let larger = growth.connection { window = larger }
            windowRead = 0
            windowSince = 0
        }
        return growth
    }
}
