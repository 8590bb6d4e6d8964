import Kernel

extension BufferPool {
    /// Appends to a buffer that may be without memory yet and grows by doubling; false when the budget is spent.
    mutating func append(_ bytes: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        if bytes.isEmpty { return true }
        if buffer.freeCapacity < bytes.count {
            let wanted = max(buffer.count + bytes.count, buffer.capacity * 2)
            guard var larger = take(capacity: wanted) else { return false }
            _ = larger.append(buffer.span)
            swap(&larger, &buffer)
            if larger.capacity > 0 { give(larger) }
        }
        return buffer.append(bytes) == bytes.count
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
