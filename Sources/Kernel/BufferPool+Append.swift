/// Buffers that grow with what is put into them.
extension BufferPool {
    /// Appends to a buffer that may be without memory yet and grows by doubling; false when the budget is spent.
    @inlinable
    public mutating func append(_ bytes: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        if bytes.isEmpty { return true }
        if buffer.freeCapacity < bytes.count,
            !grow(&buffer, by: bytes.count, isHeld: Self.isHeld(buffer))
        {
            return false
        }
        return buffer.append(bytes) == bytes.count
    }

    /// The same for content that is held as a whole, whose memory is counted apart; false when the budget for that is spent.
    public mutating func hold(_ bytes: Span<UInt8>, in buffer: inout Buffer) -> Bool {
        if buffer.freeCapacity < bytes.count, !grow(&buffer, by: bytes.count, isHeld: true) {
            return false
        }
        return buffer.append(bytes) == bytes.count
    }

    /// A buffer that is counted where others like it are.
    public mutating func take(capacity: Int, isHeld: Bool) -> Buffer? {
        if isHeld { return takeHeld(capacity: capacity) }
        return take(capacity: capacity)
    }

    /// Takes a buffer's memory back, if it has any.
    @inlinable @inline(always)
    public mutating func reclaim(_ buffer: inout Buffer) {
        if buffer.capacity == 0 { return }
        var old = Buffer()
        swap(&old, &buffer)
        give(old)
    }

    /// Held buffers of at least so many bytes grow where they stand.
    private static var movedBytesMin: Int { 512 << 10 }

    /// Makes room for so many bytes more: twice what there was, or a quarter more where a large buffer grows in its
    /// place; false when the budget is spent.
    @usableFromInline
    @inline(never)
    mutating func grow(_ buffer: inout Buffer, by count: Int, isHeld: Bool) -> Bool {
        if isHeld, Self.isHeld(buffer), buffer.capacity > Self.movedBytesMin {
            let quarter = buffer.capacity / 4
            return growHeld(
                &buffer, to: max(buffer.count + count, buffer.capacity + quarter))
        }
        let wanted = max(buffer.count + count, buffer.capacity * 2)
        guard var larger = take(capacity: wanted, isHeld: isHeld) else { return false }
        _ = larger.append(buffer.span)
        swap(&larger, &buffer)
        if larger.capacity > 0 { give(larger) }
        return true
    }
}
