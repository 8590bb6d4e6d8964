import HTTP

/// The models of a node, as its lists show them.
struct Catalog {
    struct Model {
        /// As it was declared, without `:latest`.
        let name: String
        /// Ollama's full name, with a tag.
        let tagged: String
        let bytes: [UInt8]
        let sizeBytes: UInt64
        /// 64 hexadecimal digits.
        let digest: String
        let family: String
        let parameters: String
        let quantization: String
        /// Whether it makes embeddings and no text.
        let isEmbedding: Bool
    }

    let models: [Model]
    let adapters: [[UInt8]]
    let adapterNames: [String]
    private let engine: Engine
    private let isRouter: Bool

    init(_ options: SimulatorOptions) {
        engine = options.engine
        isRouter = options.isRouter
        models = options.models.map(Catalog.model)
        adapterNames = options.adapters
        adapters = options.adapters.map { Array($0.utf8) }
    }

    /// The model, and the adapter if one was named, that a request's `model` means.
    func find(_ name: Span<UInt8>) -> (model: Int, adapter: Int?)? {
        let plain = engine == .ollama ? Catalog.normalised(name) : 0..<name.count
        let text = name.extracting(plain)
        for index in models.indices {
            let bytes = models[index].bytes
            if ByteScan.equal(text, bytes.span) { return (index, nil) }
        }
        for index in adapters.indices {
            let bytes = adapters[index]
            if ByteScan.equal(name, bytes.span) { return (0, index) }
        }
        if engine == .sglang, let adapter = adapter(behind: name) { return (0, adapter) }
        // A lone llama.cpp serves one model, whatever a request calls it.
        return engine == .llamaCpp && !isRouter ? (0, nil) : nil
    }

    /// SGLang's other way to name an adapter, `MODEL:ADAPTER`.
    private func adapter(behind name: Span<UInt8>) -> Int? {
        let base = models[0].bytes
        guard name.count > base.count, name[base.count] == UInt8(ascii: ":"),
            ByteScan.equal(name.extracting(0..<base.count), base.span)
        else { return nil }
        let rest = name.extracting((base.count + 1)..<name.count)
        return adapters.indices.first { index in
            let bytes = adapters[index]
            return ByteScan.equal(rest, bytes.span)
        }
    }

    /// The part of an Ollama name that counts: host, `library/` and `:latest` are what is meant
    /// without them.
    static func normalised(_ name: Span<UInt8>) -> Range<Int> {
        var range = 0..<name.count
        for prefix in ["registry.ollama.ai/", "library/"] as [StaticString] {
            let bytes = ByteScan.bytes(prefix)
            guard range.count > bytes.count else { continue }
            let end = range.lowerBound + bytes.count
            if ByteScan.equal(name.extracting(range.lowerBound..<end), bytes) {
                range = end..<range.upperBound
            }
        }
        let latest = ByteScan.bytes(":latest")
        if range.count > latest.count {
            let start = range.upperBound - latest.count
            if ByteScan.equal(name.extracting(start..<range.upperBound), latest) {
                range = range.lowerBound..<start
            }
        }
        return range
    }

    private static func model(_ options: ModelOptions) -> Model {
        var name = options.name
        if name.hasSuffix(":latest") { name = String(name.dropLast(7)) }
        let bytes = Array(name.utf8)
        let isEmbedding = options.isEmbedding
        // Four bits a weight and some more; embedding models come with 16 bits.
        let weights = Double(options.sizeBytes) / (isEmbedding ? 2 : 0.58)
        var digest = Text()
        for part in 0..<4 as Range<UInt64> {
            let hash = PromptHash.mix(part, of: bytes.span, 0..<bytes.count)
            digest.add(hexadecimal: hash, digits: 16)
        }
        var parameters = Text()
        if weights < 1e9 {
            parameters.add(fixed: (weights / 1e6).rounded(), places: 0)
            parameters.add("M")
        } else {
            parameters.add(fixed: weights / 1e9, places: 1)
            parameters.add("B")
        }
        return Model(
            name: name, tagged: name.contains(":") ? name : name + ":latest", bytes: bytes,
            sizeBytes: options.sizeBytes, digest: digest.string,
            family: isEmbedding ? "nomic-bert" : "llama", parameters: parameters.string,
            quantization: isEmbedding ? "F16" : "Q4_0", isEmbedding: isEmbedding)
    }
}

extension Text {
    /// The text as a string; for texts that are made once.
    var string: String {
        var string = ""
        for index in 0..<count { string.unicodeScalars.append(Unicode.Scalar(span[index])) }
        return string
    }
}
