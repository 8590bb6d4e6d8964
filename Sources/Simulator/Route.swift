import HTTP

/// What a path means; which of them exist depends on the engine.
enum Route: Equatable {
    case root, version, tags, running, show
    /// Ollama's paths that change what is on disk: known, and not played.
    case administration
    case health, ping, engineVersion, load, metrics, slots, properties, adapters
    case models
    /// The name is a range of the path.
    case model(Range<Int>)
    case ask(Dialect)
    /// A llama.cpp router's, which bring a model into memory and out of it.
    case loadModel, unloadModel
    // The simulator's own.
    case statistics, resetStatistics
    // Aids for benchmarks.
    case bytes(UInt64)
    case chunks(count: UInt64, size: Int, milliseconds: UInt64)
    case sink
    case unknown

    enum Methods { case get, getOrHead, post, any }

    var methods: Methods {
        switch self {
        case .root, .version, .tags, .bytes, .chunks: .getOrHead
        case .running, .health, .ping, .engineVersion, .load, .metrics, .slots, .properties,
            .adapters, .models, .model, .statistics:
            .get
        case .show, .ask, .sink, .loadModel, .unloadModel, .resetStatistics: .post
        case .administration, .unknown: .any
        }
    }

    init(_ path: Span<UInt8>, _ engine: Engine) {
        if let aid = Route.aid(path) {
            self = aid
            return
        }
        if Route.has(path, "/v1/") {
            self = Route.version1(path, engine)
            return
        }
        if Route.equal(path, "/metrics"), engine != .ollama {
            self = .metrics
            return
        }
        self =
            switch engine {
            case .ollama: Route.ollama(path)
            case .vllm: Route.vllm(path)
            case .sglang: Route.sglang(path)
            case .llamaCpp: Route.llamaCpp(path)
            }
    }

    // MARK: - Tables

    private static func ollama(_ path: Span<UInt8>) -> Route {
        if equal(path, "/") { return .root }
        guard has(path, "/api/") else { return .unknown }
        if equal(path, "/api/chat") { return .ask(.ollamaChat) }
        if equal(path, "/api/generate") { return .ask(.ollamaGenerate) }
        if equal(path, "/api/version") { return .version }
        if equal(path, "/api/tags") { return .tags }
        if equal(path, "/api/ps") { return .running }
        if equal(path, "/api/show") { return .show }
        if equal(path, "/api/embed") { return .ask(.ollamaEmbed) }
        if equal(path, "/api/embeddings") { return .ask(.ollamaEmbeddings) }
        for name in ["pull", "push", "create", "copy", "delete"] as [StaticString] {
            if equal(path.extracting(5..<path.count), name) { return .administration }
        }
        return has(path, "/api/blobs/") ? .administration : .unknown
    }

    private static func vllm(_ path: Span<UInt8>) -> Route {
        if equal(path, "/health") { return .health }
        if equal(path, "/ping") { return .ping }
        if equal(path, "/version") { return .engineVersion }
        return equal(path, "/load") ? .load : .unknown
    }

    private static func sglang(_ path: Span<UInt8>) -> Route {
        if equal(path, "/health") || equal(path, "/health_generate") { return .health }
        return .unknown
    }

    private static func llamaCpp(_ path: Span<UInt8>) -> Route {
        if equal(path, "/health") { return .health }
        if equal(path, "/slots") { return .slots }
        if equal(path, "/props") { return .properties }
        if equal(path, "/lora-adapters") { return .adapters }
        if equal(path, "/completion") { return .ask(.completion) }
        if equal(path, "/models/load") { return .loadModel }
        if equal(path, "/models/unload") { return .unloadModel }
        return equal(path, "/models") ? .models : .unknown
    }

    private static func version1(_ path: Span<UInt8>, _ engine: Engine) -> Route {
        if equal(path, "/v1/chat/completions") { return .ask(.chatCompletions) }
        if equal(path, "/v1/completions") { return .ask(.completions) }
        if equal(path, "/v1/embeddings") { return .ask(.embeddings) }
        if equal(path, "/v1/messages") { return .ask(.messages) }
        // Ollama does not have it.
        if equal(path, "/v1/messages/count_tokens"), engine != .ollama {
            return .ask(.countTokens)
        }
        if equal(path, "/v1/models") { return .models }
        let prefix = ByteScan.bytes("/v1/models/").count
        return has(path, "/v1/models/") && path.count > prefix
            ? .model(prefix..<path.count) : .unknown
    }

    /// `/bytes/N`, `/chunks/N/SIZE/MS`, `/sink`, and what the simulator tells of itself.
    private static func aid(_ path: Span<UInt8>) -> Route? {
        if equal(path, "/sink") { return .sink }
        if equal(path, "/simulator/statistics") { return .statistics }
        if equal(path, "/simulator/reset") { return .resetStatistics }
        if has(path, "/bytes/") {
            return FieldValue.decimal(path.extracting(7..<path.count)).map { .bytes($0) }
        }
        guard has(path, "/chunks/") else { return nil }
        var numbers: [UInt64] = []
        var start = 8
        while start <= path.count {
            let slash = ByteScan.first(UInt8(ascii: "/"), path, from: start, to: path.count)
            guard let number = FieldValue.decimal(path.extracting(start..<slash)) else {
                return nil
            }
            numbers.append(number)
            start = slash + 1
        }
        guard numbers.count == 3, numbers[1] <= 1 << 20, numbers[2] <= 86_400_000 else {
            return nil
        }
        return .chunks(count: numbers[0], size: Int(numbers[1]), milliseconds: numbers[2])
    }

    private static func equal(_ path: Span<UInt8>, _ text: StaticString) -> Bool {
        ByteScan.equal(path, ByteScan.bytes(text))
    }

    private static func has(_ path: Span<UInt8>, _ prefix: StaticString) -> Bool {
        let prefix = ByteScan.bytes(prefix)
        return path.count >= prefix.count
            && ByteScan.equal(path.extracting(0..<prefix.count), prefix)
    }
}
