/// Who asks: what a grant is sent back to.
public struct Asker: BitwiseCopyable, Hashable, Sendable {
    public var worker: UInt32
    /// The exchange's id in that worker, as a raw number.
    public var exchange: UInt64

    public init(worker: UInt32, exchange: UInt64) {
        self.worker = worker
        self.exchange = exchange
    }
}

/// Up to `capacity` endpoint ids in place.
public struct EndpointList<let capacity: Int>: BitwiseCopyable, Sendable {
    private var storage = InlineArray<capacity, UInt32>(repeating: .max)
    public private(set) var count: Int32 = 0

    public init() {}

    /// Adds one; false when there is no room.
    @discardableResult
    public mutating func append(_ id: UInt32) -> Bool {
        if Int(count) == capacity { return false }
        storage[Int(count)] = id
        count += 1
        return true
    }

    public subscript(place: Int) -> UInt32 { storage[place] }

    /// Puts another one in a place; nothing where there is none.
    public mutating func replace(_ place: Int, by id: UInt32) {
        if place < Int(count) { storage[place] = id }
    }

    @inline(__always)
    public func contains(_ id: UInt32) -> Bool {
        for i in 0..<Int(count) where storage[i] == id { return true }
        return false
    }
}

/// What one request wants of a pool.
public struct PickRequest: BitwiseCopyable, Sendable {
    /// `PickingHash.model`; 0 when the request names none.
    public var model: UInt64
    public var promptBytes: UInt32 = 0
    /// Larger is served first; below 0 is shed first (`InferenceObjective.spec.priority`).
    public var priority: Int32 = 0
    /// Hash of the fairness id.
    public var flow: UInt64 = 0
    /// `PoolEndpoint.session` of the endpoint that the client's token names; 0 for none.
    public var session: UInt64 = 0
    /// Hash of what makes an engine load a model anew when it differs (`num_ctx` …); 0 for the defaults.
    public var options: UInt32 = 0
    /// Endpoints that failed this request already.
    public var tried = EndpointList<4>()
    /// With `hasSubset` only these may be chosen.
    public var subset = EndpointList<64>()
    public var hasSubset = false
    /// Whether the asker is ready to wait in the queue.
    public var mayWait = true
    public var asker: Asker

    public init(model: UInt64, asker: Asker) {
        self.model = model
        self.asker = asker
    }

    /// Whether not every endpoint will do.
    var isRestricted: Bool { hasSubset || tried.count > 0 }

    /// Whether another request for the model may find room where this one does not.
    var isSpecial: Bool { isRestricted || options != 0 }
}
