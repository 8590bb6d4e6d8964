import Kernel

extension BufferPool {
    /// Appends to a buffer that may be without memory yet and grows by doubling; false when the budget is spent.
    mutating func append(_ bytes: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        if bytes.isEmpty { return true }
        if buffer.freeCapacity < bytes.count {
            let wanted = max(buffer.count + bytes.count, buffer.capacity * 2)
            let isHeld = Self.isHeld(buffer)
            guard var larger = take(capacity: wanted, isHeld: isHeld) else { return false }
            _ = larger.append(buffer.span)
            swap(&larger, &buffer)
            if larger.capacity > 0 { give(larger) }
        }
        return buffer.append(bytes) == bytes.count
    }

    /// The same for content that is held as a whole, whose memory is counted apart; false when the budget for that is spent.
    mutating func hold(_ bytes: Span<UInt8>, in buffer: inout Buffer) -> Bool {
        if buffer.freeCapacity < bytes.count, !Self.isHeld(buffer) {
            let wanted = max(buffer.count + bytes.count, buffer.capacity * 2)
            guard var larger = takeHeld(capacity: wanted) else { return false }
            _ = larger.append(buffer.span)
            swap(&larger, &buffer)
            if larger.capacity > 0 { give(larger) }
        }
        return append(bytes, to: &buffer)
    }

    /// A buffer that is counted where others like it are.
    mutating func take(capacity: Int, isHeld: Bool) -> Buffer? {
        if isHeld { return takeHeld(capacity: capacity) }
        return take(capacity: capacity)
    }

    /// Takes a buffer's memory back, if it has any.
    @inline(always)
    mutating func reclaim(_ buffer: inout Buffer) {
        if buffer.capacity == 0 { return }
        var old = Buffer()
        swap(&old, &buffer)
        give(old)
    }
}
