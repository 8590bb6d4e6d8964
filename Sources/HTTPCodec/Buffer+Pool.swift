import Kernel

extension Buffer {
    /// Makes room for so many bytes, with a larger buffer where it must; false without memory.
    mutating func makeRoom(_ count: Int, _ pool: inout BufferPool) -> Bool {
        freeCapacity >= count || grow(count, &pool)
    }

    @inline(never)
    private mutating func grow(_ count: Int, _ pool: inout BufferPool) -> Bool {
        // Doubled, so that many small steps do not copy again and again. Sizes are of memory that
        // exists, or bounded by windows and limits, so no overflow.
        let wanted = max(self.count + count, 2 * capacity)
        if wanted > 1 << 30 { return false }
        guard var larger = pool.take(capacity: wanted) else { return false }
        _ = larger.append(span)
        swap(&larger, &self)
        pool.give(larger)
        return true
    }

    /// Appends all of the bytes; false, and nothing, without memory.
    mutating func append(_ bytes: Span<UInt8>, _ pool: inout BufferPool) -> Bool {
        if !makeRoom(bytes.count, &pool) { return false }
        _ = append(bytes)
        return true
    }

    /// Hands the memory over; what is left has none.
    mutating func takeOut() -> Buffer {
        var taken = Buffer()
        swap(&taken, &self)
        return taken
    }
}
