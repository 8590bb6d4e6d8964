import Kernel

// What the library asks for as it writes.
extension SessionCore {
    /// What may go into the next DATA frame.
    enum Provision: BitwiseCopyable {
        /// Nothing now; the stream is told again when there is more.
        case deferred
        /// There is content, but no room for it.
        case paused
        /// So many bytes; `isLast`: no content follows, but trailers may.
        case bytes(Int, isLast: Bool, hasTrailers: Bool)
        /// The stream has gone.
        case gone
    }

    /// The least content that is worth a frame while there is more.
    private static var frameBytesMin: Int { 512 }

    /// `length`: what the windows and the frame size allow; `room`: what the output can take.
    mutating func provide(_ number: Int32, length: Int, room: Int) -> Provision {
        guard let slot = streams.find(number: number), !streams[slot].flags.contains(.isCut)
        else { return .gone }
        let unsent = streams[slot].unsentBytes
        let hasEnded = streams[slot].flags.contains(.outputEnded)
        if unsent == 0 && !hasEnded {
            streams[slot].flags.insert(.isDeferred)
            return .deferred
        }
        let free = room - FrameScanner.headerBytes
        let wanted = min(unsent, length)
        if free < min(wanted, Self.frameBytesMin) || free < 0 {
            isPaused = true
            return .paused
        }
        let count = min(wanted, free)
        let isLast = hasEnded && count == unsent
        let hasTrailers = streams[slot].trailerCount > 0
        if isLast && hasTrailers {
            streams[slot].flags.insert(.trailersDue)
            streams.markDirty(slot)
        }
        return .bytes(count, isLast: isLast, hasTrailers: hasTrailers)
    }

    /// Writes the content of the frame whose header was just written; false when it is not there.
    mutating func write(
        _ number: Int32, count: Int, to output: inout OutputSpan<UInt8>, _ pool: inout BufferPool
    ) -> Bool {
        guard let slot = streams.find(number: number),
            streams[slot].moveOutput(count, to: &output)
        else { return false }
        if streams[slot].output.isEmpty { pool.give(streams[slot].output.takeOut()) }
        relieve(slot)
        return true
    }

    /// Tells the giver when a congested stream's output has become short enough.
    mutating func relieve(_ slot: Int) {
        guard streams[slot].flags.contains(.isCongested),
            streams[slot].unsentBytes <= Int(limits.outputLowBytes)
        else { return }
        streams[slot].flags.remove(.isCongested)
        streams.tell(slot, .writable)
    }
}
