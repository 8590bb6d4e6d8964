import HTTP

/// What a request asks of a model server, by its method and path (`ai-features.md` §1.1, §2.1).
///
/// A path is known wherever a route's prefix put it: `/ollama/api/chat` is `/api/chat`.
public enum InferencePath: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case ollamaGenerate, ollamaChat, ollamaEmbed, ollamaShow
    /// Lists and versions; nothing names a model.
    case ollamaRead
    /// Pull, push, create and delete: they name a model, and may take hours.
    case ollamaAdmin
    /// Copies, blobs and accounts: as before, but no `model`.
    case ollamaOpaqueAdmin
    case openAIChat, openAICompletions, openAIEmbeddings, openAIResponses
    /// Moderation, ranking, scoring, images and speech: JSON with `model`.
    case openAIOther
    /// Audio to text, and edits of images: forms with `model`.
    case openAIForm
    /// The list of models, and one of it.
    case openAIModels
    case anthropicMessages, anthropicCountTokens
    case other

    /// Classifies a request; the path is without a query.
    public init(_ method: Method, path: Span<UInt8>) {
        self = .other
        for index in Self.rows.indices where Self.rows[index].method == method {
            let row = Self.rows[index]
            if Self.ends(path, with: ByteScan.bytes(row.path)) {
                self = row.what
                return
            }
        }
        let isRead = method == .get || method == .head
        if isRead, Self.find(ByteScan.bytes("/v1/models/"), in: path) != nil {
            self = .openAIModels
        } else if method == .post || method == .head,
            Self.find(ByteScan.bytes("/api/blobs/"), in: path) != nil
        {
            self = .ollamaOpaqueAdmin
        } else if method == .delete, Self.find(ByteScan.bytes("/api/user/"), in: path) != nil {
            self = .ollamaOpaqueAdmin
        }
    }

    /// Whether the content has a `model`.
    public var readsModel: Bool {
        switch self {
        case .ollamaGenerate, .ollamaChat, .ollamaEmbed, .ollamaShow, .ollamaAdmin, .openAIChat,
            .openAICompletions, .openAIEmbeddings, .openAIResponses, .openAIOther, .openAIForm,
            .anthropicMessages, .anthropicCountTokens:
            true
        case .ollamaRead, .ollamaOpaqueAdmin, .openAIModels, .other: false
        }
    }

    /// Whether `name` stands for a missing `model`.
    public var acceptsName: Bool { self == .ollamaShow || self == .ollamaAdmin }

    /// Whether the answer is a stream when the content does not say.
    public var streamsByDefault: Bool {
        self == .ollamaGenerate || self == .ollamaChat || self == .ollamaAdmin
    }

    /// Whether a model works, and nothing else changes: it may be asked elsewhere again.
    public var isInference: Bool {
        switch self {
        case .ollamaGenerate, .ollamaChat, .ollamaEmbed, .openAIChat, .openAICompletions,
            .openAIEmbeddings, .openAIResponses, .openAIOther, .openAIForm, .anthropicMessages,
            .anthropicCountTokens:
            true
        case .ollamaShow, .ollamaRead, .ollamaAdmin, .ollamaOpaqueAdmin, .openAIModels, .other:
            false
        }
    }

    /// Whether the end of the answer says how long loading and reading took (`load_duration` …).
    public var tellsTimings: Bool {
        self == .ollamaGenerate || self == .ollamaChat || self == .ollamaEmbed
    }

    /// Whether it changes what a server has.
    public var isAdmin: Bool { self == .ollamaAdmin || self == .ollamaOpaqueAdmin }

    /// Whether an empty prompt only loads or unloads the model.
    public var loadsWithoutPrompt: Bool { self == .ollamaGenerate || self == .ollamaChat }

    /// Whose format it speaks.
    public var dialect: Dialect {
        switch self {
        case .ollamaGenerate, .ollamaChat, .ollamaEmbed, .ollamaShow, .ollamaRead, .ollamaAdmin,
            .ollamaOpaqueAdmin:
            .ollama
        case .openAIChat, .openAICompletions, .openAIEmbeddings, .openAIResponses, .openAIOther,
            .openAIForm, .openAIModels:
            .openAI
        case .anthropicMessages, .anthropicCountTokens: .anthropic
        case .other: .plain
        }
    }

    // MARK: - Table

    private struct Row {
        let method: Method
        let path: StaticString
        let what: InferencePath
        init(_ method: Method, _ path: StaticString, _ what: InferencePath) {
            self.method = method
            self.path = path
            self.what = what
        }
    }

    /// The most frequent first.
    private static let rows: InlineArray<45, Row> = [
        Row(.post, "/v1/chat/completions", .openAIChat),
        Row(.post, "/api/chat", .ollamaChat),
        Row(.post, "/api/generate", .ollamaGenerate),
        Row(.post, "/v1/messages", .anthropicMessages),
        Row(.post, "/v1/responses", .openAIResponses),
        Row(.post, "/v1/embeddings", .openAIEmbeddings),
        Row(.post, "/v1/completions", .openAICompletions),
        Row(.post, "/api/embed", .ollamaEmbed),
        Row(.post, "/api/embeddings", .ollamaEmbed),
        Row(.post, "/v1/messages/count_tokens", .anthropicCountTokens),
        Row(.post, "/v1/audio/transcriptions", .openAIForm),
        Row(.post, "/v1/audio/translations", .openAIForm),
        Row(.post, "/v1/images/edits", .openAIForm),
        Row(.post, "/v1/images/variations", .openAIForm),
        Row(.post, "/v1/audio/speech", .openAIOther),
        Row(.post, "/v1/images/generations", .openAIOther),
        Row(.post, "/v1/moderations", .openAIOther),
        Row(.post, "/v1/rerank", .openAIOther),
        Row(.post, "/v2/rerank", .openAIOther),
        Row(.post, "/rerank", .openAIOther),
        Row(.post, "/v1/score", .openAIOther),
        Row(.post, "/score", .openAIOther),
        Row(.post, "/pooling", .openAIOther),
        Row(.post, "/classify", .openAIOther),
        Row(.get, "/v1/models", .openAIModels),
        Row(.head, "/v1/models", .openAIModels),
        Row(.post, "/api/show", .ollamaShow),
        Row(.get, "/api/tags", .ollamaRead),
        Row(.head, "/api/tags", .ollamaRead),
        Row(.get, "/api/ps", .ollamaRead),
        Row(.head, "/api/ps", .ollamaRead),
        Row(.get, "/api/version", .ollamaRead),
        Row(.head, "/api/version", .ollamaRead),
        Row(.post, "/api/pull", .ollamaAdmin),
        Row(.post, "/api/push", .ollamaAdmin),
        Row(.post, "/api/create", .ollamaAdmin),
        Row(.delete, "/api/delete", .ollamaAdmin),
        Row(.post, "/api/copy", .ollamaOpaqueAdmin),
        Row(.post, "/api/me", .ollamaOpaqueAdmin),
        Row(.get, "/api/me", .ollamaOpaqueAdmin),
        Row(.post, "/api/signout", .ollamaOpaqueAdmin),
        Row(.get, "/api/status", .ollamaOpaqueAdmin),
        Row(.post, "/api/experimental/web_search", .ollamaOpaqueAdmin),
        Row(.post, "/api/experimental/web_fetch", .ollamaOpaqueAdmin),
        Row(.get, "/api/experimental/model-recommendations", .ollamaOpaqueAdmin),
    ]

    private static func ends(_ path: Span<UInt8>, with end: Span<UInt8>) -> Bool {
        path.count >= end.count
            && ByteScan.equal(path.extracting((path.count - end.count)..<path.count), end)
    }

    private static func find(_ part: Span<UInt8>, in path: Span<UInt8>) -> Int? {
        if path.count <= part.count { return nil }
        for start in 0..<(path.count - part.count) where path[start] == part[0] {
            if ByteScan.equal(path.extracting(start..<(start + part.count)), part) { return start }
        }
        return nil
    }
}
