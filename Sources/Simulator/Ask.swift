import HTTP

/// What an inference request asks; one is kept and read into again and again.
struct Ask: ~Copyable {
    /// One text to be turned into an embedding.
    struct Input: Equatable {
        let hash: UInt64
        let tokens: Int
    }

    /// The model as it was written; empty when it was not.
    private(set) var model = Text()
    /// Tools, system text, messages or prompt: what the model would read.
    private(set) var prompt = Text()
    /// Tools and system text, which stand first whatever their place in the request.
    private var preamble = Text()
    private(set) var messageCount = 0
    /// Whether there is a prompt or a message.
    private(set) var hasPrompt = false
    /// Nil when the request does not say.
    private(set) var streams: Bool?
    private(set) var includesUsage = false
    private(set) var isBase64 = false
    private(set) var ignoresEnd = false
    private(set) var tokensMax: Int?
    private(set) var tokensMin: Int?
    private(set) var contextTokens: Int?
    /// Of the options that Ollama cannot change in a loaded model, but for the context; 0: there are none.
    private(set) var optionsHash: UInt64 = 0
    private(set) var keepAlive: KeepAlive?
    private(set) var inputs: [Input] = []
    private var scratch = Text()
    private var reader = JSONReader()

    init() {}

    /// Reads a request in one of the dialects.
    ///
    /// What is not known is read over. A field given twice counts the second time.
    mutating func read(_ bytes: Span<UInt8>, _ dialect: Dialect) throws(AskFault) {
        reset()
        if bytes.isEmpty { throw .empty }
        let first = try next(bytes)
        guard first == .objectStart else { throw .notObject(Self.name(of: first)) }
        while case .key(let key) = try next(bytes) {
            try field(key, try next(bytes), bytes, dialect)
        }
        _ = try next(bytes)
        if !preamble.isEmpty {
            Self.append(prompt, to: &preamble)
            swap(&preamble, &prompt)
        }
    }

    private static func append(_ text: borrowing Text, to other: inout Text) {
        other.add(text.span)
    }

    private mutating func reset() {
        model.removeAll()
        prompt.removeAll()
        preamble.removeAll()
        messageCount = 0
        hasPrompt = false
        streams = nil
        includesUsage = false
        isBase64 = false
        ignoresEnd = false
        tokensMax = nil
        tokensMin = nil
        contextTokens = nil
        optionsHash = 0
        keepAlive = nil
        inputs.removeAll(keepingCapacity: true)
        reader = JSONReader()
    }

    private mutating func next(_ bytes: Span<UInt8>) throws(AskFault) -> JSONReader.Token {
        do throws(JSONFault) {
            return try reader.next(bytes)
        } catch {
            throw .json(error)
        }
    }

    private mutating func skip(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>
    ) throws(AskFault) {
        do throws(JSONFault) {
            try reader.skip(token, bytes)
        } catch {
            throw .json(error)
        }
    }

    // MARK: - Fields

    private mutating func field(
        _ key: Range<Int>, _ token: JSONReader.Token, _ bytes: Span<UInt8>, _ dialect: Dialect
    ) throws(AskFault) {
        func isKey(_ name: StaticString) -> Bool { JSONText.equals(bytes, key, name) }
        // Null is what a field is that is not there.
        if token == .null { return }
        if isKey("model") || dialect == .ollamaShow && isKey("name") {
            model.removeAll()
            let value = try Self.string(token, "model")
            JSONText.decode(bytes, value, into: &model)
        } else if isKey("messages") {
            try messages(token, bytes)
        } else if isKey("prompt") {
            try prompt(token, bytes, dialect)
        } else if isKey("stream") {
            streams = try Self.bool(token, "stream")
        } else if isKey("input") {
            try input(token, bytes, dialect)
        } else if isKey("options") || isKey("stream_options") {
            try options(token, bytes)
        } else if isKey("max_tokens") || isKey("max_completion_tokens") || isKey("n_predict") {
            tokensMax = try Self.integer(token, bytes, "max_tokens")
        } else if isKey("min_tokens") {
            tokensMin = try Self.integer(token, bytes, "min_tokens")
        } else if isKey("ignore_eos") {
            ignoresEnd = try Self.bool(token, "ignore_eos")
        } else if isKey("encoding_format") {
            let value = try Self.string(token, "encoding_format")
            isBase64 = JSONText.equals(bytes, value, "base64")
        } else if isKey("keep_alive") {
            keepAlive = try keepAlive(token, bytes)
        } else if isKey("system") {
            try preambleContent(token, bytes)
        } else if isKey("tools") {
            let start = reader.position
            try skip(token, bytes)
            preamble.add(bytes.extracting(start..<reader.position))
        } else {
            try skip(token, bytes)
        }
    }

    /// `options` of Ollama and `stream_options` of OpenAI, which share no names.
    private mutating func options(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>
    ) throws(AskFault) {
        guard token == .objectStart else {
            throw .type("options", Self.name(of: token), "map[string]interface {}")
        }
        while case .key(let key) = try next(bytes) {
            let value = try next(bytes)
            if JSONText.equals(bytes, key, "num_predict") {
                tokensMax = try Self.integer(value, bytes, "num_predict")
            } else if JSONText.equals(bytes, key, "num_ctx") {
                contextTokens = try Self.integer(value, bytes, "num_ctx")
            } else if JSONText.equals(bytes, key, "include_usage") {
                includesUsage = value == .bool(true)
            } else if Self.isLoadOption(key, bytes) {
                let start = reader.position
                try skip(value, bytes)
                addOption(key, value, start..<reader.position, bytes)
            } else {
                try skip(value, bytes)
            }
        }
    }

    /// Options that a model is loaded with, and with others loaded again.
    private static func isLoadOption(_ key: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
        let names: [StaticString] = [
            "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict",
        ]
        return names.contains { JSONText.equals(bytes, key, $0) }
    }

    /// Mixes an option in, so that their order does not matter.
    private mutating func addOption(
        _ key: Range<Int>, _ token: JSONReader.Token, _ rest: Range<Int>, _ bytes: Span<UInt8>
    ) {
        let name = PromptHash.mix(1, of: bytes, key)
        let value =
            switch token {
            case .number(let range), .string(let range): PromptHash.mix(name, of: bytes, range)
            case .bool(let isTrue): PromptHash.mix(name, isTrue ? 1 : 2)
            case .null: UInt64(0)
            default: PromptHash.mix(name, of: bytes, rest)
            }
        optionsHash ^= value
    }

    private mutating func messages(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>
    ) throws(AskFault) {
        guard token == .arrayStart else {
            throw .type("messages", Self.name(of: token), "[]api.Message")
        }
        messageCount = 0
        prompt.removeAll()
        while true {
            let message = try next(bytes)
            if message == .arrayEnd { break }
            guard message == .objectStart else {
                throw .type("messages", Self.name(of: message), "api.Message")
            }
            while case .key(let key) = try next(bytes) {
                let value = try next(bytes)
                if JSONText.equals(bytes, key, "role") {
                    JSONText.decode(bytes, try Self.string(value, "messages.role"), into: &prompt)
                    prompt.add("\n")
                } else if JSONText.equals(bytes, key, "content") {
                    try promptContent(value, bytes)
                } else {
                    try skip(value, bytes)
                }
            }
            prompt.add("\n")
            messageCount += 1
        }
        hasPrompt = messageCount > 0
    }

    private mutating func preambleContent(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>
    ) throws(AskFault) {
        // The text is a part of this value: it is put aside while the value reads on.
        var text = Text()
        swap(&text, &preamble)
        defer { swap(&text, &preamble) }
        try parts(token, bytes, into: &text)
    }

    private mutating func promptContent(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>
    ) throws(AskFault) {
        var text = Text()
        swap(&text, &prompt)
        defer { swap(&text, &prompt) }
        try parts(token, bytes, into: &text)
    }

    /// Appends text: a string, or the texts in a list of parts; anything else adds nothing.
    private mutating func parts(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>, into text: inout Text
    ) throws(AskFault) {
        switch token {
        case .string(let range):
            JSONText.decode(bytes, range, into: &text)
        case .arrayStart:
            while true {
                let element = try next(bytes)
                if element == .arrayEnd { return }
                try parts(element, bytes, into: &text)
            }
        case .objectStart:
            while case .key(let key) = try next(bytes) {
                let value = try next(bytes)
                if JSONText.equals(bytes, key, "text") || JSONText.equals(bytes, key, "content") {
                    try parts(value, bytes, into: &text)
                } else {
                    try skip(value, bytes)
                }
            }
        case .objectEnd, .arrayEnd, .key, .number, .bool, .null, .end:
            break
        }
    }

    private mutating func prompt(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>, _ dialect: Dialect
    ) throws(AskFault) {
        switch token {
        case .string(let range):
            prompt.removeAll()
            JSONText.decode(bytes, range, into: &prompt)
        case .arrayStart where dialect == .completions:
            prompt.removeAll()
            try strings(bytes)
        default:
            throw .type("prompt", Self.name(of: token), "string")
        }
        hasPrompt = !prompt.isEmpty
        if dialect == .ollamaEmbeddings { inputs = [Self.input(prompt)] }
    }

    /// A list of prompts, or of token numbers, to the end of the list.
    private mutating func strings(_ bytes: Span<UInt8>) throws(AskFault) {
        while true {
            switch try next(bytes) {
            case .arrayEnd: return
            case .string(let range): JSONText.decode(bytes, range, into: &prompt)
            case .number(let range): prompt.add(bytes.extracting(range))
            case let other: try skip(other, bytes)
            }
        }
    }

    // MARK: - Embeddings

    private mutating func input(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>, _ dialect: Dialect
    ) throws(AskFault) {
        inputs.removeAll(keepingCapacity: true)
        switch token {
        case .string(let range):
            if range.isEmpty, dialect.isOllama { return }
            scratch.removeAll()
            JSONText.decode(bytes, range, into: &scratch)
            addScratch()
        case .arrayStart:
            try inputList(bytes)
        default:
            throw .type("input", Self.name(of: token), "string or []string")
        }
    }

    /// A list of texts, of token numbers, or of lists of token numbers.
    private mutating func inputList(_ bytes: Span<UInt8>) throws(AskFault) {
        var numbers = 0
        var hash: UInt64 = 0
        while true {
            let token = try next(bytes)
            switch token {
            case .arrayEnd:
                if numbers > 0 { inputs.append(Input(hash: hash, tokens: numbers)) }
                return
            case .string(let range):
                scratch.removeAll()
                JSONText.decode(bytes, range, into: &scratch)
                addScratch()
            case .number(let range):
                numbers += 1
                hash = PromptHash.mix(hash, of: bytes, range)
            case .arrayStart:
                try inputList(bytes)
            default:
                throw .type("input", Self.name(of: token), "string or []string")
            }
        }
    }

    private mutating func addScratch() { inputs.append(Self.input(scratch)) }

    private static func input(_ text: borrowing Text) -> Input {
        Input(
            hash: PromptHash.mix(0, of: text.span, 0..<text.count),
            tokens: PromptHash.tokens(bytes: text.count))
    }

    // MARK: - Values

    private mutating func keepAlive(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>
    ) throws(AskFault) -> KeepAlive {
        switch token {
        case .number(let range):
            let seconds = JSONText.double(bytes, range)
            if seconds < 0 || seconds > 9e9 { return .forEver }
            return .nanoseconds(UInt64(seconds * 1e9))
        case .string(let range):
            scratch.removeAll()
            JSONText.decode(bytes, range, into: &scratch)
            var text = ""
            for index in 0..<scratch.count {
                text.unicodeScalars.append(Unicode.Scalar(scratch.span[index]))
            }
            guard let nanoseconds = GoDuration.nanoseconds(text) else {
                throw .keepAlive("time: invalid duration \"\(text)\"")
            }
            return nanoseconds < 0 ? .forEver : .nanoseconds(UInt64(nanoseconds))
        default:
            throw .keepAlive("Unsupported type: '\(Self.name(of: token))'")
        }
    }

    private static func string(
        _ token: JSONReader.Token, _ field: StaticString
    ) throws(AskFault) -> Range<Int> {
        if case .string(let range) = token { return range }
        throw .type(field, name(of: token), "string")
    }

    private static func bool(
        _ token: JSONReader.Token, _ field: StaticString
    ) throws(AskFault) -> Bool {
        if case .bool(let value) = token { return value }
        throw .type(field, name(of: token), "bool")
    }

    private static func integer(
        _ token: JSONReader.Token, _ bytes: Span<UInt8>, _ field: StaticString
    ) throws(AskFault) -> Int {
        if case .number(let range) = token { return JSONText.integer(bytes, range) }
        throw .type(field, name(of: token), "int")
    }

    private static func name(of token: JSONReader.Token) -> StaticString {
        switch token {
        case .objectStart, .objectEnd: "object"
        case .arrayStart, .arrayEnd: "array"
        case .key, .string: "string"
        case .number: "number"
        case .bool: "bool"
        case .null, .end: "null"
        }
    }
}
