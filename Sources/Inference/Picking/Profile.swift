/// A scorer: how well an endpoint suits a request, from 0 to 1.
public enum Scorer: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case queue, runningRequests, kvCacheUtilization, prefixCache, loraAffinity, loadAware
    case activeRequest, tokenLoad, noHitLRU, sessionAffinity
    case residency, modelRequests, estimatedTTFT

    /// How many there are.
    static var count: UInt8 { 13 }

    /// The name in documents.
    public var name: String { "\(word)" }

    /// The same as a literal; the reference scheduler's where it has the scorer.
    public var word: StaticString {
        switch self {
        case .queue: "queue-scorer"
        case .runningRequests: "running-requests-scorer"
        case .kvCacheUtilization: "kv-cache-utilization-scorer"
        case .prefixCache: "prefix-cache-scorer"
        case .loraAffinity: "lora-affinity-scorer"
        case .loadAware: "load-aware-scorer"
        case .activeRequest: "active-request-scorer"
        case .tokenLoad: "token-load-scorer"
        case .noHitLRU: "no-hit-lru-scorer"
        case .sessionAffinity: "session-affinity-scorer"
        case .residency: "residency-scorer"
        case .modelRequests: "model-requests-scorer"
        case .estimatedTTFT: "estimated-ttft-scorer"
        }
    }

    /// The scorer of a name.
    public init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// How one of the scored candidates is taken.
public enum Picker: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    /// The highest total; among equals who owes the fewest answers, then one at random.
    case maxScore
    case random
    /// At random, the total being the weight.
    case weightedRandom

    public var name: String {
        switch self {
        case .maxScore: "max-score-picker"
        case .random: "random-picker"
        case .weightedRandom: "weighted-random-picker"
        }
    }

    public init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// Scorers with their weights, and a picker.
public struct Profile: Sendable, Equatable {
    /// By `Scorer.rawValue`; 0 for scorers that are not used.
    public var weights: InlineArray<13, Float> = InlineArray(repeating: 0)
    public var picker = Picker.maxScore

    /// No scorer at all: every candidate is as good.
    public init() {}

    /// The default of an engine.
    ///
    /// The reference's, queue 2, KV cache 2 and prefix cache 3, for engines that tell their load. Where
    /// models are loaded on demand the order of `ai-features.md` §1.4: each weight is more than all that
    /// follow can make up for. Inside a class of residency the estimated time to the first token decides,
    /// which knows the queue and what of the prompt is cached; with nothing learned it is the same for all.
    public init(engine: EngineKind) {
        switch engine {
        case .ollama, .llamaCpp:
            self[.residency] = 100
            self[.estimatedTTFT] = 8
            self[.modelRequests] = 2
            self[.activeRequest] = 0.5
        case .vllm, .sglang, .trtllm, .triton, .nim:
            self[.queue] = 2
            self[.kvCacheUtilization] = 2
            self[.prefixCache] = 3
        case .openai, .none:
            self[.activeRequest] = 2
            self[.prefixCache] = 1
        }
    }

    /// Weight of a scorer.
    public subscript(scorer: Scorer) -> Float {
        get { weights[Int(scorer.rawValue)] }
        set { weights[Int(scorer.rawValue)] = newValue }
    }

    /// Whether what endpoints hold of a prompt matters.
    var usesPrefix: Bool {
        self[.prefixCache] > 0 || self[.estimatedTTFT] > 0 || self[.noHitLRU] > 0
    }

    public static func == (a: Profile, b: Profile) -> Bool {
        if a.picker != b.picker { return false }
        for i in a.weights.indices where a.weights[i] != b.weights[i] { return false }
        return true
    }
}
