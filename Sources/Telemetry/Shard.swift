import BasicContainers
import Kernel

/// The counters of one worker, written by it alone and read by any thread.
///
/// Process-wide counters have fixed cells. Numbers by series are found through a small index that
/// only the worker has; a row gets its cells on first use. Rows are bounded: when there is no more
/// room, numbers go to the rows of `Series.other`. Writing allocates nothing, but that the index
/// grows with its rows.
public struct Shard: ~Copyable, Sendable {
    /// How many rows a shard has room for.
    public struct Capacity: Sendable, Equatable {
        /// Rows of one number: requests by (series, method, status), failures by (series, reason).
        public var numbers: Int
        /// Histograms, by (kind, series).
        public var histograms: Int

        /// Makes a capacity; the default takes 1.1 MiB of address space a worker, touched by use.
        public init(numbers: Int = 16_384, histograms: Int = 4_096) {
            self.numbers = numbers
            self.histograms = histograms
        }
    }

    private struct Slot: BitwiseCopyable {
        /// 0 when empty.
        var key: UInt64
        /// First cell of the row.
        var cell: UInt32
    }

    /// Number of the worker.
    public let worker: Int
    private let cells: SharedCells
    private let layout: ShardLayout
    /// Open addressing; a power of two of slots, at most half of them taken.
    private var index = RigidArray(repeating: Slot(key: 0, cell: 0), count: 256)
    /// Slots of the index in use.
    private var usedCount = 0
    /// Rows of the directory in use, free ones in between included.
    private var rowCount = 0
    /// Cells of the pool in use.
    private var cellCount = 0
    /// Retired rows, to be used again by rows of the same width.
    private var freeNumbers = UniqueArray<UInt32>()
    private var freeHistograms = UniqueArray<UInt32>()
    /// Upper bounds of all kinds of histograms, one after the other.
    private let bounds: RigidArray<UInt64>

    /// Makes the counters of a worker; their memory is never freed.
    public init(worker: Int, capacity: Capacity = Capacity()) {
        self.worker = worker
        layout = ShardLayout(capacity)
        cells = SharedCells(count: layout.cellCount)
        var all = RigidArray<UInt64>(
            capacity: Histogram.bucketCount * Histogram.Kind.allCases.count)
        for kind in Histogram.Kind.allCases { all.append(copying: Histogram.bounds(kind)) }
        bounds = all
        for column in Column.reserved { _ = makeRow(column) }
    }

    /// What other threads read; holds as long as the process.
    public var reader: ShardReader { ShardReader(cells: cells, layout: layout) }

    // MARK: - Writing

    /// Counts an exchange that has ended; `method` is the raw value of `HTTP.Method`.
    @inline(__always)
    public mutating func countRequest(series: UInt32, method: UInt8, status: UInt16) {
        cells.add(cell(.request(series: series, method: method, status: status)), 1)
    }

    /// Counts a failed attempt.
    public mutating func countUpstreamFailure(series: UInt32, reason: UpstreamFailure) {
        cells.add(cell(.failure(series: series, reason: reason)), 1)
    }

    /// Adds a duration to a histogram.
    public mutating func observe(
        _ kind: Histogram.Kind, series: UInt32, nanoseconds: UInt64
    ) {
        let first = cell(.histogram(kind, series: series))
        let base = Int(kind.rawValue) &* Histogram.bucketCount
        var bucket = 0
        while bucket < Histogram.bucketCount && nanoseconds > bounds[base &+ bucket] {
            bucket &+= 1
        }
        cells.add(first &+ bucket, 1)
        cells.add(first &+ Histogram.sumOffset, nanoseconds)
    }

    /// Adds to a counter.
    @inline(__always)
    public mutating func add(_ counter: Counter, _ amount: UInt64 = 1) {
        cells.add(layout.cell(counter), amount)
    }

    /// Sets a level.
    @inline(__always)
    public mutating func set(_ gauge: Gauge, _ value: UInt64) {
        cells.store(layout.cell(gauge), value)
    }

    /// Frees the rows of a series that will not be counted again; their numbers vanish.
    ///
    /// Costs a pass over all rows. Never for `Series.none` or `Series.other`.
    public mutating func retire(series: UInt32) {
        precondition(series != Series.none && series != Series.other, "These stay.")
        var hasFreed = false
        for row in 0..<rowCount {
            let column = Column(key: cells.load(layout.keyCell(row)))
            if column.kind == nil || column.series != series { continue }
            cells.storeRelease(layout.keyCell(row), 0)
            let first = Int(cells.load(layout.placeCell(row)))
            for i in 0..<column.width { cells.store(first + i, 0) }
            if column.kind == .histogram {
                freeHistograms.append(UInt32(row))
            } else {
                freeNumbers.append(UInt32(row))
            }
            hasFreed = true
        }
        if hasFreed { rebuildIndex(size: index.count) }
    }

    // MARK: - Rows

    /// First cell of a row, made on first use.
    @inline(__always)
    private mutating func cell(_ column: Column) -> Int {
        let mask = index.count &- 1
        var at = column.hash & mask
        // Ends at an empty slot: at most half of the slots are taken.
        while true {
            let slot = index[at]
            if slot.key == column.key { return Int(slot.cell) }
            if slot.key == 0 { return makeRow(column) }
            at = (at &+ 1) & mask
        }
    }

    /// Makes a row; that of the overflow when there is no room.
    @inline(never)
    private mutating func makeRow(_ column: Column) -> Int {
        let row: Int
        let first: Int
        let isHistogram = column.kind == .histogram
        if let free = isHistogram ? freeHistograms.popLast() : freeNumbers.popLast() {
            row = Int(free)
            first = Int(cells.load(layout.placeCell(row)))
        } else {
            let isFull = layout.isFull(column, rows: rowCount, cells: cellCount)
            if isFull {
                let other = column.overflow
                // The rows of the overflow were made by `init`.
                precondition(other.key != column.key, "There is room for the reserved rows.")
                return cell(other)
            }
            row = rowCount
            first = layout.pool + cellCount
            cellCount += column.width
            rowCount += 1
            cells.store(layout.placeCell(row), UInt64(first))
        }
        // The key last: who sees it sees the place and the zeroes.
        cells.storeRelease(layout.keyCell(row), column.key)
        cells.storeRelease(layout.rowCountCell, UInt64(rowCount))
        insert(Slot(key: column.key, cell: UInt32(first)))
        return first
    }

    private mutating func insert(_ slot: Slot) {
        // The directory has the row already, so a rebuilt index has it too.
        if (usedCount + 1) * 2 > index.count { return rebuildIndex(size: index.count * 2) }
        let mask = index.count - 1
        var at = Column(key: slot.key).hash & mask
        while index[at].key != 0 { at = (at + 1) & mask }
        index[at] = slot
        usedCount += 1
    }

    private mutating func rebuildIndex(size: Int) {
        index = RigidArray(repeating: Slot(key: 0, cell: 0), count: size)
        usedCount = 0
        for row in 0..<rowCount {
            let key = cells.load(layout.keyCell(row))
            let first = cells.load(layout.placeCell(row))
            if key != 0 { insert(Slot(key: key, cell: UInt32(first))) }
        }
    }
}

/// Where things are in the cells of a shard: counters, gauges, number of rows, directory, pool.
struct ShardLayout: BitwiseCopyable, Sendable {
    /// Rows that the directory has room for.
    let rowMax: Int
    /// Cells of the pool.
    let poolCount: Int

    init(_ capacity: Shard.Capacity) {
        precondition(
            Counter.count == Counter.allCases.count && Gauge.count == Gauge.allCases.count,
            "The last case is named.")
        let reserved = Column.reserved
        rowMax = capacity.numbers + capacity.histograms + reserved.count
        poolCount =
            capacity.numbers + capacity.histograms * Histogram.cells
            + reserved.reduce(0) { $0 + $1.width }
    }

    @inline(__always)
    func cell(_ counter: Counter) -> Int { Int(counter.rawValue) }
    @inline(__always)
    func cell(_ gauge: Gauge) -> Int { Self.gauges &+ Int(gauge.rawValue) }
    /// How many rows the directory has.
    var rowCountCell: Int { Self.gauges + Gauge.count }
    /// The key of a row; 0 when the row is free.
    func keyCell(_ row: Int) -> Int { rowCountCell + 1 + row * 2 }
    /// The first cell of a row.
    func placeCell(_ row: Int) -> Int { keyCell(row) + 1 }
    /// First cell of the pool.
    var pool: Int { keyCell(rowMax) }
    var cellCount: Int { pool + poolCount }

    /// Whether there is no room for a new row.
    func isFull(_ column: Column, rows: Int, cells: Int) -> Bool {
        rows == rowMax || cells + column.width > poolCount
    }

    /// First cell of the gauges, behind the counters.
    @inline(__always)
    private static var gauges: Int { Counter.count }
}

/// The counters of one worker, as another thread reads them.
public struct ShardReader: Sendable {
    let cells: SharedCells
    let layout: ShardLayout

    /// A counter.
    public func value(_ counter: Counter) -> UInt64 { cells.load(layout.cell(counter)) }

    /// A level.
    public func value(_ gauge: Gauge) -> UInt64 { cells.load(layout.cell(gauge)) }

    /// Adds the rows of this shard to sums by column.
    func add(to sums: inout [Column: [UInt64]]) {
        let rows = Int(cells.loadAcquire(layout.rowCountCell))
        for row in 0..<min(rows, layout.rowMax) {
            let key = cells.loadAcquire(layout.keyCell(row))
            if key == 0 { continue }
            let column = Column(key: key)
            let first = Int(cells.load(layout.placeCell(row)))
            let values = (0..<column.width).map { cells.load(first + $0) }
            // A row that was retired meanwhile may hold another's numbers.
            if cells.loadAcquire(layout.keyCell(row)) != key { continue }
            if let known = sums[column] {
                sums[column] = zip(known, values).map { $0 &+ $1 }
            } else {
                sums[column] = values
            }
        }
    }

    /// How many requests of a series were counted, of every method and status; for tests and pages.
    public func requests(series: UInt32) -> UInt64 {
        var sums: [Column: [UInt64]] = [:]
        add(to: &sums)
        return sums.reduce(0) { sum, row in
            row.key.kind == .request && row.key.series == series ? sum &+ row.value[0] : sum
        }
    }
}
