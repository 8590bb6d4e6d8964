import Kernel

/// The model server that is played: its paths, its metrics, its behaviour when busy.
public enum Engine: String, CaseIterable, Sendable {
    case ollama
    case vllm
    case sglang
    case llamaCpp = "llama.cpp"

    /// The port that the engine listens on if none is named.
    public var defaultPort: UInt16 {
        switch self {
        case .ollama: 11_434
        case .vllm: 8_000
        case .sglang: 30_000
        case .llamaCpp: 8_080
        }
    }

    /// Requests worked on at once if nothing else is said: of a model for Ollama, else of a node.
    public var defaultParallel: Int {
        switch self {
        case .ollama: 1
        case .vllm, .sglang: 256
        case .llamaCpp: 4
        }
    }
}

/// A model that a node can serve.
public struct ModelOptions: Sendable, Equatable {
    /// As users write it, such as `llama3` or `llama3:8b`.
    public var name: String
    /// On disk and in memory.
    public var sizeBytes: UInt64

    /// Whether it makes embeddings and no text, which its name tells.
    var isEmbedding: Bool { name.contains("embed") }

    public init(name: String, sizeBytes: UInt64) {
        self.name = name
        self.sizeBytes = sizeBytes
    }

    /// The models that are there when none are named.
    public static var defaults: [ModelOptions] {
        [
            ModelOptions(name: "llama3", sizeBytes: 4_661_224_676),
            ModelOptions(name: "mistral", sizeBytes: 4_113_301_824),
            ModelOptions(name: "nomic-embed-text", sizeBytes: 274_302_450),
        ]
    }

    /// The size of a model that was named without one.
    public static var defaultSizeBytes: UInt64 { 4 << 30 }
}

/// Everything that a simulator can be told; times are nanoseconds.
public struct SimulatorOptions: Sendable {
    /// One simulated node for each.
    public var listen: [SocketAddress]
    public var engine = Engine.ollama
    public var models = ModelOptions.defaults
    /// LoRA adapters, which are asked for by their names as models are.
    public var adapters: [String] = []
    /// Adapters that one batch can have (vLLM, SGLang).
    public var adaptersMax = 4
    /// How long an adapter that is not on the accelerator holds its batch up.
    public var adapterLoadNanoseconds: UInt64 = 50_000_000
    /// Of every load of a model.
    public var loadNanoseconds: UInt64 = 2_000_000_000
    /// Bytes a second that a load takes besides; nil: it takes no longer for a large model.
    public var loadRate: Double?
    /// Whether a llama.cpp loads one of several models when it is asked for.
    public var isRouter = false
    /// Prompt tokens that a node computes in a second.
    public var prefillRate = 2_000.0
    /// Answer tokens a second for one request that is alone.
    public var decodeRate = 50.0
    /// What each further request of a batch adds to a decode step, as a part of it.
    public var batchSlowdown = 0.01
    /// Prompt tokens computed in one step.
    public var batchTokens = 512
    /// Requests worked on at once; nil: the engine's own number.
    public var parallel: Int?
    /// Models in memory at once; nil: the engine's own number.
    public var loadedMax: Int?
    /// Ollama's requests that may wait for a model to be loaded.
    public var queueMax = 512
    /// How long Ollama keeps a model after its last request; nil: for ever.
    public var keepAliveNanoseconds: UInt64? = 300_000_000_000
    public var videoMemoryBytes: UInt64 = 24 << 30
    /// The longest prompt and answer together.
    public var contextTokens = 8_192
    /// Tokens that the KV cache of a node holds (vLLM, SGLang).
    public var cacheTokens = 131_072
    /// Tokens of a block of that cache; nil: the engine's own number.
    public var blockTokens: Int?
    /// Whether what was computed of earlier prompts is used again.
    public var cachesPrefixes = true
    /// Tokens of prompts kept in main memory that no slot holds any more; nil: the engine's own number.
    public var promptCacheTokens: Int?
    /// Tokens of an answer, when the request does not bound them further.
    public var answerTokens = 32...32
    /// Numbers in an embedding.
    public var dimensions = 768
    public var seed: UInt64 = 1
    /// How much faster than the clock the simulated time goes.
    public var timeScale = 1.0
    /// Answers at once: nothing is waited for.
    public var isFast = false
    /// Whether an Ollama on loopback refuses foreign Host names with 403, as the real one does.
    public var checksHost = true
    /// Threads that share the addresses; each plays its own share of every node.
    public var threads = 1
    /// Connections open at once, for each thread.
    public var connections = 16_384

    public init(listen: [SocketAddress]) { self.listen = listen }

    /// Requests that one model (Ollama, a router) or one node works on at once.
    var slots: Int { max(1, parallel ?? engine.defaultParallel) }

    /// Whether models are loaded when they are asked for.
    var loadsOnDemand: Bool { engine == .ollama || isRouter }

    /// Whether requests share a cache in blocks, or have a slot each with a cache of its own.
    var hasBlocks: Bool { engine == .vllm || engine == .sglang }

    /// Tokens of a block of a node's cache.
    public var cacheBlockTokens: Int { max(1, blockTokens ?? (engine == .vllm ? 16 : 1)) }

    /// Tokens that are found again together: a block, a page, or in a slot a token.
    var sharedTokens: Int { hasBlocks ? cacheBlockTokens : 1 }

    /// Models in memory at once.
    var modelsMax: Int { max(1, loadedMax ?? (isRouter ? 4 : 3)) }

    /// Tokens of prompts that are kept in main memory.
    var savedTokens: Int { promptCacheTokens ?? (engine == .llamaCpp ? 65_536 : 0) }

    /// How long it takes to bring a model into memory.
    func loadNanoseconds(of model: Int) -> UInt64 {
        if isFast { return 0 }
        guard let loadRate, loadRate > 0 else { return loadNanoseconds }
        let bySize = Double(models[model].sizeBytes) / loadRate * 1e9
        return loadNanoseconds + UInt64(min(bySize, 1e18))
    }
}
