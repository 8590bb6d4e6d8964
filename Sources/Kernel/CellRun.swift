import Synchronization

/// A few neighbours in a row of `SharedCells`, looked up once and added to often.
@safe
@frozen
public struct CellRun<let count: Int>: BitwiseCopyable, @unchecked Sendable {
    /// The first of `count` cells.
    @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>

    @inlinable
    init(_ cells: UnsafeMutablePointer<Atomic<UInt64>>) {
        // Sound: the caller has checked that there are `count` of them; they are never freed.
        unsafe self.cells = cells
    }

    /// Adds to a cell, as `SharedCells.add` does; for the thread that writes the row.
    @inlinable
    @inline(__always)
    public func add(_ offset: Int, _ amount: UInt64) {
        precondition(
            UInt(bitPattern: offset) < UInt(bitPattern: count), "The cell is in the run.")
        // Sound: inside the run, checked above.
        let current = unsafe cells[offset].load(ordering: .relaxed)
        // Sound: as above; only one thread writes, so nothing is lost between load and store.
        unsafe cells[offset].store(current &+ amount, ordering: .relaxed)
    }
}

extension SharedCells {
    /// As many cells as the result's type says, from `first` on.
    @inlinable
    public func run<let runCount: Int>(from first: Int) -> CellRun<runCount> {
        precondition(
            first >= 0 && runCount > 0 && runCount <= count && first <= count - runCount,
            "The run is in the row.")
        // Sound: inside the row, checked above.
        return unsafe CellRun(cells + first)
    }
}
