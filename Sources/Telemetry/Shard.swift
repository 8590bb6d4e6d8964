import BasicContainers
import Kernel

/// The counters of one worker, written by it alone and read by any thread.
///
/// Process-wide counters have fixed cells. Numbers by series are found through a small index that
/// only the worker has; a row gets its cells on first use. Rows are bounded: when there is no more
/// room, numbers go to the rows of `Series.other`. Writing allocates nothing, but that the index
/// grows with its rows and the remembered places with the series.
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
    private let buckets = Buckets()
    /// Where the numbers of a series are, by its id, as far as they were counted already.
    private var places = UniqueArray<SeriesPlaces>()
    /// The histogram of the worker's own turns.
    private let ticks: CellRun<20>

    /// Makes the counters of a worker; their memory is never freed.
    public init(worker: Int, capacity: Capacity = Capacity()) {
        self.worker = worker
        layout = ShardLayout(capacity)
        let cells = SharedCells(count: layout.cellCount)
        self.cells = cells
        // The first row that is made.
        ticks = cells.run(from: layout.pool)
        for column in Column.reserved { _ = makeRow(column) }
    }

    /// What other threads read; holds as long as the process.
    public var reader: ShardReader { ShardReader(cells: cells, layout: layout) }

    // MARK: - Writing

    /// Counts an exchange that has ended; `method` is the raw value of `HTTP.Method`.
    public mutating func countRequest(series: UInt32, method: UInt8, status: UInt16) {
        let code = SeriesPlaces.code(method: method, status: status)
        let at = Int(series)
        if at < places.count, places[at].requestCode == code {
            places[at].request.add(0, 1)
        } else {
            countAnother(series: series, method: method, status: status)
        }
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
        cells.add(first &+ buckets.bucket(kind, nanoseconds), 1)
        cells.add(first &+ Histogram.sumOffset, nanoseconds)
    }

    /// Adds the durations of an exchange that has ended, in nanoseconds; 0: not known.
    public mutating func observe(
        series: UInt32, requestDuration: UInt64, processing: UInt64, timeToFirstByte: UInt64
    ) {
        let at = Int(series)
        guard at < places.count, let runs = places[at].durations,
            min(processing, timeToFirstByte) != 0
        else {
            return observeEach(
                series: series, requestDuration: requestDuration, processing: processing,
                timeToFirstByte: timeToFirstByte)
        }
        let request = buckets.bucket(.requestDuration, requestDuration)
        let own = buckets.bucket(.processing, processing)
        let first = buckets.bucket(.timeToFirstByte, timeToFirstByte)
        runs.request.add(requestDuration, bucket: request)
        runs.processing.add(processing, bucket: own)
        runs.firstByte.add(timeToFirstByte, bucket: first)
    }

    /// Adds a turn of the worker's loop.
    @inline(__always)
    public mutating func observeTick(nanoseconds: UInt64) {
        ticks.add(nanoseconds, bucket: buckets.bucket(.workerTick, nanoseconds))
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
        if !hasFreed { return }
        rebuildIndex(size: index.count)
        // Others may have had to share the overflow and can have rows of their own now.
        places.removeAll()
    }

    // MARK: - Places

    /// Series with higher ids are looked for in the index each time.
    private static var placesMax: Int { 65_536 }

    /// Counts a request that ended in another way than the last one of its series.
    @inline(never)
    private mutating func countAnother(series: UInt32, method: UInt8, status: UInt16) {
        let cell = cell(.request(series: series, method: method, status: status))
        cells.add(cell, 1)
        if hasPlaces(series) {
            places[Int(series)].request = cells.run(from: cell)
            places[Int(series)].requestCode = SeriesPlaces.code(method: method, status: status)
        }
    }

    /// Adds those durations that are known, and remembers the histograms when that was all.
    @inline(never)
    private mutating func observeEach(
        series: UInt32, requestDuration: UInt64, processing: UInt64, timeToFirstByte: UInt64
    ) {
        observe(.requestDuration, series: series, nanoseconds: requestDuration)
        if processing != 0 { observe(.processing, series: series, nanoseconds: processing) }
        if timeToFirstByte != 0 {
            observe(.timeToFirstByte, series: series, nanoseconds: timeToFirstByte)
        }
        if processing == 0 || timeToFirstByte == 0 || !hasPlaces(series) { return }
        places[Int(series)].durations = SeriesPlaces.Durations(
            request: cells.run(from: cell(.histogram(.requestDuration, series: series))),
            processing: cells.run(from: cell(.histogram(.processing, series: series))),
            firstByte: cells.run(from: cell(.histogram(.timeToFirstByte, series: series))))
    }

    /// Whether the places of a series are remembered; makes room for them.
    private mutating func hasPlaces(_ series: UInt32) -> Bool {
        if series >= UInt32(Self.placesMax) { return false }
        while places.count <= Int(series) {
            places.append(SeriesPlaces(durations: nil, request: cells.run(from: 0)))
        }
        return true
    }

    // MARK: - Rows

    /// First cell of a row, made on first use.
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

/// Where the numbers of one series are that nearly every request adds to.
private struct SeriesPlaces: BitwiseCopyable {
    /// The histograms of an exchange that had an answer.
    struct Durations: BitwiseCopyable {
        var request: CellRun<20>
        var processing: CellRun<20>
        var firstByte: CellRun<20>
    }

    var durations: Durations?
    /// The requests that ended like the one that was looked up last.
    var request: CellRun<1>
    /// How that was; `.max`, as no request ends, while `request` is anything.
    var requestCode = UInt32.max

    @inline(__always)
    static func code(method: UInt8, status: UInt16) -> UInt32 {
        UInt32(method) &<< 16 | UInt32(status)
    }
}

extension CellRun<20> {
    /// Adds a duration to a histogram whose cells these are.
    @inline(__always)
    fileprivate func add(_ nanoseconds: UInt64, bucket: Int) {
        add(bucket, 1)
        add(Histogram.sumOffset, nanoseconds)
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
