/// One endpoint of a pool.
public struct PoolEndpoint: Sendable, Equatable {
    /// Stable for as long as the process runs.
    public var id: UInt32
    /// Hash of what a session token names it by; 0 for none.
    public var session: UInt64
    /// Video memory for models in bytes; 0 unknown.
    public var vramBytes: UInt64
    /// 0 is used first; a higher group only while no lower one has a usable endpoint.
    public var priority: UInt8

    public init(id: UInt32, session: UInt64 = 0, vramBytes: UInt64 = 0, priority: UInt8 = 0) {
        self.id = id
        self.session = session
        self.vramBytes = vramBytes
        self.priority = priority
    }
}

/// How a pool chooses, and its limits.
public struct PoolConfiguration: Sendable {
    public var engine: EngineKind
    public var profile: Profile
    /// Requests that one endpoint has for one model at the most; 0 for no limit.
    ///
    /// An engine that loads on demand queues silently and without bound (ollama#7758), and does not say how
    /// many it serves at once. Four by default: on a server with `OLLAMA_NUM_PARALLEL=1` three requests wait
    /// inside it at the most, on a generous one nothing is lost. Other engines tell their queue: no limit.
    public var concurrencyPerModel: Int32
    /// Requests that one endpoint has at the most; 0 for no limit.
    public var concurrencyPerEndpoint: Int32 = 0
    /// Requests that wait in the gateway at the most; 0 for no queue.
    public var queueLimit = 1024
    /// How long they wait.
    public var queueDeadlineMilliseconds: UInt64 = 120_000
    /// Requests for one model that wait for one endpoint that has it, before another one loads it too.
    public var queuePerModelLimit: Int32 = 64
    /// Whether requests wait while the pool is saturated, instead of being sent all the same.
    public var queuesWhenSaturated = false
    /// A pool is saturated when its mean of max(waiting / this, KV use / the next) is 1.
    public var queueThreshold: Float = 5
    public var kvThreshold: Float = 0.8
    /// Whether endpoints over the thresholds are left out while others are not.
    public var avoidsSaturated = false
    /// An older observation does not count.
    public var staleAfterMilliseconds: UInt64 = 5_000
    /// A lease that is neither renewed nor finished ends.
    public var leaseMilliseconds: UInt64 = 900_000
    /// A grant that nobody claims ends.
    public var claimMilliseconds: UInt64 = 5_000
    /// Failures in a row that eject an endpoint, or close it for one model.
    public var failureLimit: UInt8 = 5
    /// Of the first ejection; each further one is twice as long.
    public var ejectionMilliseconds: UInt64 = 3_000
    public var ejectionMillisecondsMax: UInt64 = 300_000
    /// How long a 404 keeps a model away from an endpoint.
    public var missingMilliseconds: UInt64 = 60_000
    /// How long a 503 keeps requests away from an endpoint; twice as long each time, up to five times.
    public var busyMilliseconds: UInt64 = 1_000
    /// Blocks of prompts remembered for one endpoint, unless it tells how many it has.
    public var prefixBlocksPerEndpoint = 31_250
    /// Memory for all of them.
    public var prefixBytesMax = 64 << 20

    /// The defaults for an engine.
    public init(engine: EngineKind) {
        self.engine = engine
        profile = Profile(engine: engine)
        concurrencyPerModel = engine.loadsOnDemand ? 4 : 0
    }
}
