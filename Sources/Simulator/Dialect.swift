/// The API in whose form a request came and its answer goes.
enum Dialect: UInt8 {
    case ollamaGenerate, ollamaChat, ollamaEmbed, ollamaEmbeddings, ollamaShow
    case chatCompletions, completions, embeddings
    case messages, countTokens
    /// llama.cpp's own.
    case completion

    var isOllama: Bool { rawValue <= Dialect.ollamaShow.rawValue }
    /// Whether the request is a list of messages.
    var isChat: Bool { self == .ollamaChat || self == .chatCompletions || self == .messages }
    var isAnthropic: Bool { self == .messages || self == .countTokens }

    /// The name of the structure that Ollama reads the request into, for its error texts.
    var structure: String {
        switch self {
        case .ollamaGenerate: "GenerateRequest"
        case .ollamaChat: "ChatRequest"
        case .ollamaEmbed: "EmbedRequest"
        case .ollamaEmbeddings: "EmbeddingRequest"
        case .ollamaShow: "ShowRequest"
        case .chatCompletions: "ChatCompletionRequest"
        case .completions: "CompletionRequest"
        case .embeddings: "EmbedRequest"
        case .messages, .countTokens: "MessagesRequest"
        case .completion: "Completion"
        }
    }
}

/// Why the content of a request was refused.
enum AskFault: Error {
    /// There is no content at all.
    case empty
    case json(JSONFault)
    /// The whole content is not an object; what it is.
    case notObject(StaticString)
    /// A field is of another type: its name, what it is, what it should be.
    case type(StaticString, StaticString, StaticString)
    case keepAlive(String)

    /// The fault in the words of Go's decoder, as Ollama gives it.
    func description(_ dialect: Dialect) -> String {
        switch self {
        case .empty: "missing request body"
        case .json(let fault): fault.description
        case .notObject(let type):
            "json: cannot unmarshal \(type) into Go value of type api.\(dialect.structure)"
        case .type(let field, let found, let wanted):
            "json: cannot unmarshal \(found) into Go struct field "
                + "\(dialect.structure).\(field) of type \(wanted)"
        case .keepAlive(let text): text
        }
    }
}
