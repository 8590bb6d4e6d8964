import BasicContainers

/// What the pool knows of a model on one endpoint.
struct ModelPlace: BitwiseCopyable {
    /// What the last observation said.
    struct Facts: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        static var resident: Facts { Facts(rawValue: 1) }
        static var whollyInVRAM: Facts { Facts(rawValue: 2) }
        static var onDisk: Facts { Facts(rawValue: 4) }
        static var loraRunning: Facts { Facts(rawValue: 8) }
        static var loraWaiting: Facts { Facts(rawValue: 16) }
    }

    /// Leases for the model here.
    var inFlight: Int32 = 0
    /// Of them those that wait for it to be loaded.
    var loading: Int32 = 0
    var facts: Facts = []
    /// An answer showed that the model is there, at this time; 0 for no.
    var seenAt: UInt64 = 0
    /// Until then it is not on disk here.
    var missingUntil: UInt64 = 0
    /// Memory that is reserved for it while it is loading.
    var reservedBytes: UInt64 = 0
    /// Of the runner as observed or as loaded last; 0 unknown.
    var options: UInt32 = 0
    var breaker = Breaker()

    /// Counts loads that came to an end, so that a lease knows whether it still waits for one.
    var loadSerial: UInt32 = 0

    /// Whether it is in memory, as far as one knows; what an answer showed counts for five minutes, an
    /// engine's usual time to keep a model.
    func isResident(_ now: UInt64) -> Bool {
        facts.contains(.resident) || (seenAt != 0 && now < seenAt &+ 300_000_000_000)
    }
}

/// What the pool knows of a model.
struct ModelRow: BitwiseCopyable {
    var hash: UInt64 = 0
    var inFlight: Int32 = 0
    var lastUsed: UInt64 = 0
    /// The largest that was seen of it; 0 unknown.
    var size: UInt64 = 0
    /// Learned, in milliseconds; 0 for not yet.
    var loadMilliseconds: Float = 0
    var serviceMilliseconds: Float = 0
    /// Learned: milliseconds for a byte of prompt that is not cached; 0 for not yet.
    var prefillMillisecondsPerByte: Float = 0
}

/// The models that requests name, each with a place for every endpoint.
///
/// Row 0 is for requests without a model, and for all when every row is in use: it has no limit.
struct ModelTable: ~Copyable {
    /// The most rows; their numbers stay when the pool grows.
    static var capacity: Int { 256 }

    var rows: RigidArray<ModelRow>
    /// Row after row, `slotCapacity` places each.
    var places: RigidArray<ModelPlace>
    let slotCapacity: Int
    private(set) var count = 1
    /// Open addressing over the rows; -1 for none.
    private var index: RigidArray<Int32>

    init(slotCapacity: Int) {
        self.slotCapacity = slotCapacity
        rows = RigidArray(repeating: ModelRow(), count: Self.capacity)
        places = RigidArray(repeating: ModelPlace(), count: Self.capacity * slotCapacity)
        index = RigidArray(repeating: -1, count: 1024)
    }

    /// The row of a model; nil when it has none.
    @inline(__always)
    func find(_ hash: UInt64) -> Int? {
        if hash == 0 { return 0 }
        var at = Int(truncatingIfNeeded: hash) & 1023
        while index[at] >= 0 {
            let row = Int(index[at])
            if rows[row].hash == hash { return row }
            at = (at + 1) & 1023
        }
        return nil
    }

    /// A new row for a model that has none, its places empty; 0 when all are in use.
    ///
    /// Rows with leases stay, and those that somebody waits for.
    mutating func add(_ hash: UInt64, _ queues: borrowing RigidArray<ModelQueue>) -> Int {
        var row = count
        if count < Self.capacity {
            count += 1
        } else {
            row = 0
            for other in 1..<count where rows[other].inFlight == 0 && queues[other].count == 0 {
                if row == 0 || rows[other].lastUsed < rows[row].lastUsed { row = other }
            }
            if row == 0 { return 0 }
        }
        let isReused = rows[row].hash != 0
        rows[row] = ModelRow(hash: hash)
        for slot in 0..<slotCapacity { places[row * slotCapacity + slot] = ModelPlace() }
        if isReused { rebuildIndex() } else { insert(row) }
        return row
    }

    private mutating func insert(_ row: Int) {
        var at = Int(truncatingIfNeeded: rows[row].hash) & 1023
        while index[at] >= 0 { at = (at + 1) & 1023 }
        index[at] = Int32(row)
    }

    private mutating func rebuildIndex() {
        for at in 0..<1024 { index[at] = -1 }
        for row in 1..<count { insert(row) }
    }

    /// Where a model's place on an endpoint is in `places`.
    @inline(__always)
    func at(_ row: Int, _ slot: Int) -> Int { row &* slotCapacity &+ slot }

    /// The same models for more endpoints.
    consuming func grown(to slotCapacity: Int) -> ModelTable {
        var new = ModelTable(slotCapacity: slotCapacity)
        new.count = count
        for row in 0..<count {
            new.rows[row] = rows[row]
            for slot in 0..<self.slotCapacity {
                new.places[new.at(row, slot)] = places[at(row, slot)]
            }
        }
        new.rebuildIndex()
        return new
    }
}
