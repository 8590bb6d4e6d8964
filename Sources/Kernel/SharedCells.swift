import Synchronization

/// Counters that one thread writes and any thread reads, as one row of 64-bit cells.
///
/// The memory is never freed: counters live as long as the process. One row per writer; rows start
/// at page borders, so that two writers never touch the same cache line.
@safe
public struct SharedCells: @unchecked Sendable {
    @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>
    /// How many cells there are.
    public let count: Int

    /// A row of zeroes.
    public init(count: Int) {
        precondition(count >= 0, "A row is not negative.")
        let bytes = count.multipliedReportingOverflow(by: MemoryLayout<Atomic<UInt64>>.stride)
        precondition(!bytes.overflow, "The cells fit into the address space.")
        // Sound: nobody unmaps the region from here on.
        let memory = unsafe Mapping(byteCount: bytes.partialValue).release()
        // Sound: zeroed memory is a row of atomics that hold zero; it stays mapped for ever.
        unsafe cells = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        self.count = count
    }

    /// Adds to a cell of the calling thread's own row: a plain load and store, no bus lock.
    @inlinable
    @inline(__always)
    public func add(_ index: Int, _ amount: UInt64) {
        check(index)
        // Sound: inside the row, checked above.
        let current = unsafe cells[index].load(ordering: .relaxed)
        // Sound: as above; only one thread writes, so nothing is lost between load and store.
        unsafe cells[index].store(current &+ amount, ordering: .relaxed)
    }

    /// Replaces a cell of the calling thread's own row.
    @inlinable
    @inline(__always)
    public func store(_ index: Int, _ value: UInt64) {
        check(index)
        // Sound: inside the row, checked above.
        unsafe cells[index].store(value, ordering: .relaxed)
    }

    /// The cell as some thread wrote it last.
    @inlinable
    public func load(_ index: Int) -> UInt64 {
        check(index)
        // Sound: inside the row, checked above.
        return unsafe cells[index].load(ordering: .relaxed)
    }

    /// Replaces a cell and publishes what the thread wrote before to whoever loads it by
    /// `loadAcquire`.
    @inlinable
    public func storeRelease(_ index: Int, _ value: UInt64) {
        check(index)
        // Sound: inside the row, checked above.
        unsafe cells[index].store(value, ordering: .releasing)
    }

    /// The cell, and with it all that its writer wrote before `storeRelease`.
    @inlinable
    public func loadAcquire(_ index: Int) -> UInt64 {
        check(index)
        // Sound: inside the row, checked above.
        return unsafe cells[index].load(ordering: .acquiring)
    }

    /// One comparison: as a word without sign an index below zero is above every count.
    @inlinable
    @inline(__always)
    func check(_ index: Int) {
        precondition(
            UInt(bitPattern: index) < UInt(bitPattern: count), "The cell is in the row.")
    }
}
