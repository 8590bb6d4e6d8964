/// Up to `capacity` hashes in place.
public struct HashList<let capacity: Int>: BitwiseCopyable, Sendable {
    private var storage = InlineArray<capacity, UInt64>(repeating: 0)
    public private(set) var count: Int32 = 0

    public init() {}

    /// Adds one; false when there is no room.
    @discardableResult
    public mutating func append(_ hash: UInt64) -> Bool {
        if Int(count) == capacity { return false }
        storage[Int(count)] = hash
        count += 1
        return true
    }

    public subscript(index: Int) -> UInt64 { storage[index] }

    public func contains(_ hash: UInt64) -> Bool {
        for i in 0..<Int(count) where storage[i] == hash { return true }
        return false
    }
}

/// A model in an endpoint's memory, as `/api/ps` or a router's `/models` tells it.
public struct ResidentModel: BitwiseCopyable, Sendable {
    public var model: UInt64
    /// Bytes in all, and of them in video memory; 0 unknown.
    public var size: UInt64
    public var sizeVRAM: UInt64
    /// Monotonic nanoseconds; 0 unknown, the largest number for ever.
    public var expiresAt: UInt64
    /// Hash of the runner's options, as `PickRequest.options`; 0 unknown.
    public var options: UInt32

    public init(
        model: UInt64, size: UInt64 = 0, sizeVRAM: UInt64 = 0, expiresAt: UInt64 = 0,
        options: UInt32 = 0
    ) {
        self.model = model
        self.size = size
        self.sizeVRAM = sizeVRAM
        self.expiresAt = expiresAt
        self.options = options
    }

    /// Whether no part is computed outside of video memory, as far as one knows.
    var isWhollyInVRAM: Bool { sizeVRAM >= size }
}

/// What a scrape or a poll says of one endpoint; the observer thread writes it.
public struct EndpointObservation: BitwiseCopyable, Sendable {
    /// Which fields were told; what was not is judged by the gateway's own counts.
    public struct Known: OptionSet, BitwiseCopyable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// `waiting` and `running`.
        public static var load: Known { Known(rawValue: 1) }
        public static var kvUsage: Known { Known(rawValue: 2) }
        public static var lora: Known { Known(rawValue: 4) }
        public static var resident: Known { Known(rawValue: 8) }
        public static var disk: Known { Known(rawValue: 16) }
        /// It answers for every name with the one model that it holds, as a lone llama.cpp does.
        public static var anyModel: Known { Known(rawValue: 32) }
    }

    /// When the answer came; monotonic nanoseconds.
    public var observedAt: UInt64
    public var isReady: Bool
    public var known: Known = []
    public var waiting: Int32 = 0
    public var running: Int32 = 0
    /// From 0 to 1; not a number when unknown.
    public var kvUsage: Float = .nan
    /// In tokens; 0 unknown.
    public var blockSize: UInt32 = 0
    /// Blocks of the endpoint's KV cache; 0 unknown.
    public var blockCount: UInt32 = 0
    /// Adapters that may run at once.
    public var loraLimit: Int32 = 0
    public var loraRunning = HashList<16>()
    public var loraWaiting = HashList<16>()
    /// Models on disk.
    public var disk = HashList<128>()
    private var resident = InlineArray<16, ResidentModel>(repeating: ResidentModel(model: 0))
    public private(set) var residentCount: Int32 = 0

    public init(observedAt: UInt64, isReady: Bool = true) {
        self.observedAt = observedAt
        self.isReady = isReady
    }

    /// The same with numbers that can be counted with: what a server tells is believed only within reason.
    var bounded: EndpointObservation {
        var new = self
        new.waiting = min(max(0, waiting), 1 << 24)
        new.running = min(max(0, running), 1 << 24)
        new.loraLimit = min(max(0, loraLimit), 1 << 24)
        if !kvUsage.isNaN { new.kvUsage = min(max(0, kvUsage), 1) }
        new.blockSize = min(blockSize, 1 << 20)
        new.blockCount = min(blockCount, 1 << 30)
        return new
    }

    /// Adds a model in memory; false when there is no room.
    @discardableResult
    public mutating func append(_ model: ResidentModel) -> Bool {
        if residentCount == 16 { return false }
        resident[Int(residentCount)] = model
        residentCount += 1
        return true
    }

    /// One of the models in memory.
    public func resident(_ index: Int) -> ResidentModel { resident[index] }

    /// The models in memory of another observation instead.
    mutating func takeResident(of other: EndpointObservation) {
        resident = other.resident
        residentCount = other.residentCount
    }
}
