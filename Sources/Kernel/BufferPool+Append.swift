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
    ///
    /// Where so many bytes are `expected` in the end, there is room for them at once, but new memory for no more than four
    /// times what has come, and of much for a quarter more: nobody gets it for a promise alone.
    public mutating func hold(
        _ bytes: Span<UInt8>, in buffer: inout Buffer, expected: Int = 0
    ) -> Bool {
        if buffer.freeCapacity < bytes.count {
            let come = buffer.count + bytes.count
            let ahead = lookAhead(come, expected: expected)
            let isMade =
                grow(&buffer, by: bytes.count + ahead, isHeld: true, isExact: ahead > 0)
                // Without room for that there may be some for what is here.
                || grow(&buffer, by: bytes.count, isHeld: true, isExact: true)
            if !isMade { return false }
        }
        return buffer.append(bytes) == bytes.count
    }

    /// For how many bytes more than those that have come there is to be room.
    private func lookAhead(_ come: Int, expected: Int) -> Int {
        if expected <= come { return 0 }
        if hasLarge(expected) { return expected - come }
        return min(expected - come, come > Self.movedBytesMin ? come / 4 : 3 * come)
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
    /// place, or just so many where that `isExact`; false when the budget is spent.
    @usableFromInline
    @inline(never)
    mutating func grow(
        _ buffer: inout Buffer, by count: Int, isHeld: Bool, isExact: Bool = false
    ) -> Bool {
        let needed = buffer.count + count
        if isHeld, Self.isHeld(buffer), buffer.capacity > Self.movedBytesMin {
            let quarter = isExact ? 0 : buffer.capacity / 4
            return growHeld(&buffer, to: max(needed, buffer.capacity + quarter))
        }
        let wanted = isExact ? needed : max(needed, buffer.capacity * 2)
        guard var larger = take(capacity: wanted, isHeld: isHeld) else { return false }
        _ = larger.append(buffer.span)
        swap(&larger, &buffer)
        if larger.capacity > 0 { give(larger) }
        return true
    }
}
