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
    public var loadNanoseconds: UInt64 = 2_000_000_000
    /// Prompt tokens a second for one request.
    public var prefillRate = 2_000.0
    /// Answer tokens a second for one request.
    public var decodeRate = 50.0
    /// Requests worked on at once; nil: the engine's own number.
    public var parallel: Int?
    /// Ollama's models in memory at once.
    public var loadedMax = 3
    /// Ollama's requests that may wait for a model to be loaded.
    public var queueMax = 512
    /// How long Ollama keeps a model after its last request; nil: for ever.
    public var keepAliveNanoseconds: UInt64? = 300_000_000_000
    public var videoMemoryBytes: UInt64 = 24 << 30
    /// The longest prompt and answer together.
    public var contextTokens = 8_192
    /// Tokens that the KV cache of a node holds (vLLM, SGLang).
    public var cacheTokens = 131_072
    /// Tokens of an answer, when the request does not bound them further.
    public var answerTokens = 32...32
    /// Numbers in an embedding.
    public var dimensions = 768
    public var seed: UInt64 = 1
    /// Answers at once: nothing is waited for.
    public var isFast = false
    /// Whether an Ollama on loopback refuses foreign Host names with 403, as the real one does.
    public var checksHost = true
    /// Threads that share the addresses; each plays its own share of every node.
    public var threads = 1
    /// Connections open at once, for each thread.
    public var connections = 16_384

    public init(listen: [SocketAddress]) { self.listen = listen }

    /// Requests that one model (Ollama) or one node works on at once.
    var slots: Int { max(1, parallel ?? engine.defaultParallel) }
}
