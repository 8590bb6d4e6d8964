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
    /// Context that the request means; another one than the loaded model's means a reload.
    var contextTokens = 0
    /// Of the request's other options that a loaded model cannot change, 0 when it has none.
    var optionsHash: UInt64 = 0
    /// How long the model shall stay afterwards; nil: as before.
    var keepAlive: KeepAlive?
    /// The prompt's blocks, as far as they fit the context.
    let chain: PromptHash.Chain
    /// What of the prompt follows its last whole block.
    var tail: [UInt8] = []
    /// What the answer's text follows from.
    let seed: UInt64
    /// How and to whom it is answered.
    var reply: Reply

    var phase = Phase.queued
    var runner: UInt32 = 0
    /// What it holds of a cache in blocks.
    var lease: KVCache.Lease?
    /// The slot that it has, where slots have caches of their own.
    var slot: Int?
    /// Prompt tokens that were in the cache when its prefill first began.
    var cachedTokens = 0
    /// Tokens that are in the cache, for it or by it; all that is to be computed comes after them.
    var computedTokens = 0
    /// Tokens that the present step computes of the prompt.
    var chunkTokens = 0
    /// Tokens made so far.
    var generated = 0

    // Nanoseconds of the monotonic clock; 0 before it has happened.
    var submittedAt: UInt64 = 0
    /// The model was in memory.
    var loadedAt: UInt64 = 0
    /// A slot was free.
    var startedAt: UInt64 = 0
    /// The first token was made.
    var firstAt: UInt64 = 0
    var finishedAt: UInt64 = 0

    init(
        work: Work, model: Int, promptTokens: Int, targetTokens: Int, isCut: Bool,
        chain: PromptHash.Chain, seed: UInt64, reply: consuming Reply
    ) {
        self.work = work
        self.model = model
        self.promptTokens = promptTokens
        self.targetTokens = targetTokens
        self.isCut = isCut
        self.chain = chain
        self.seed = seed
        self.reply = reply
    }

    /// Tokens that have to be computed before the next one can be made; after a preemption also the
    /// answer's so far.
    var prefillTokens: Int { promptTokens + generated }
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
