import Kernel

/// One inference request on its way through a node.
struct Job: ~Copyable {
    enum Work: UInt8 {
        /// Prompt in, tokens out.
        case generate
        /// Prompt in, numbers out.
        case embed
        /// Only bring the model into memory.
        case load
    }

    enum Phase: UInt8 {
        /// Its model is not in memory.
        case waitingForModel
        /// All slots are taken, or the KV cache is full.
        case queued
        case prefilling
        case decoding
        case done
    }

    let work: Work
    /// Which of the node's models.
    let model: Int
    /// Which of the node's adapters.
    var adapter: Int?
    let promptTokens: Int
    /// Tokens that will be made.
    let targetTokens: Int
    /// Whether a bound, and not the answer itself, ends it.
    let isCut: Bool
    /// Context that the request asks for; another one than the loaded model's means a reload.
    var contextTokens: Int?
    /// How long the model shall stay afterwards; nil: as before.
    var keepAlive: KeepAlive?
    /// Hashes of the prompt's blocks.
    let hashes: [UInt64]
    /// What the answer's text follows from.
    let seed: UInt64
    /// How and to whom it is answered.
    var reply: Reply

    var phase = Phase.queued
    var runner: UInt32 = 0
    var lease: KVCache.Lease?
    /// Prompt tokens that were in the cache.
    var cachedTokens = 0
    /// Tokens made so far.
    var generated = 0
    /// Which of its timers counts: the one with this number.
    var serial: UInt32 = 0
    /// Tokens made before the present decoding began; more than 0 after a preemption.
    var generatedBefore = 0

    // Nanoseconds of the monotonic clock; 0 before it has happened.
    var submittedAt: UInt64 = 0
    /// The model was in memory.
    var loadedAt: UInt64 = 0
    /// A slot was free.
    var startedAt: UInt64 = 0
    /// The first token was made.
    var firstAt: UInt64 = 0
    /// The present decoding began.
    var decodingAt: UInt64 = 0
    var finishedAt: UInt64 = 0

    init(
        work: Work, model: Int, promptTokens: Int, targetTokens: Int, isCut: Bool,
        hashes: [UInt64], seed: UInt64, reply: consuming Reply
    ) {
        self.work = work
        self.model = model
        self.promptTokens = promptTokens
        self.targetTokens = targetTokens
        self.isCut = isCut
        self.hashes = hashes
        self.seed = seed
        self.reply = reply
    }
}

/// How long a model stays in memory after its last request.
enum KeepAlive: BitwiseCopyable, Equatable {
    case nanoseconds(UInt64)
    case forEver

    init(_ nanoseconds: UInt64?) {
        self = nanoseconds.map(KeepAlive.nanoseconds) ?? .forEver
    }

    /// For choosing whom to evict: the shortest first.
    var length: UInt64 {
        switch self {
        case .nanoseconds(let nanoseconds): nanoseconds
        case .forEver: .max
        }
    }
}
