// A method and a path say what is asked of a model server.
import HTTP
import Testing

@testable import Inference

private func classify(_ method: Method, _ path: String) -> InferencePath {
    InferencePath(method, path: Array(path.utf8).span)
}

@Suite struct InferencePathTests {
    static let rows: [(Method, String, InferencePath)] = [
        (.post, "/v1/chat/completions", .openAIChat),
        (.post, "/openai/v1/chat/completions", .openAIChat),
        (.post, "/v1/completions", .openAICompletions),
        (.post, "/v1/embeddings", .openAIEmbeddings),
        (.post, "/v1/responses", .openAIResponses), (.get, "/v1/responses/abc", .other),
        (.post, "/v1/messages", .anthropicMessages),
        (.post, "/v1/messages/count_tokens", .anthropicCountTokens),
        (.post, "/v1/audio/transcriptions", .openAIForm),
        (.post, "/v1/audio/speech", .openAIOther), (.post, "/v1/images/edits", .openAIForm),
        (.post, "/v2/rerank", .openAIOther),
        (.post, "/rerank", .openAIOther), (.get, "/v1/models", .openAIModels),
        (.get, "/v1/models/a%2Fb:c", .openAIModels),
        (.head, "/v1/models", .openAIModels), (.post, "/v1/models", .other),
        (.get, "/v1/chat/completions", .other),
        (.post, "/v1/chat/completionsx", .other), (.post, "/xv1/completions", .other),
        (.post, "/api/generate", .ollamaGenerate),
        (.post, "/ollama/api/chat", .ollamaChat), (.post, "/api/embed", .ollamaEmbed),
        (.post, "/api/embeddings", .ollamaEmbed),
        (.post, "/api/show", .ollamaShow), (.get, "/api/tags", .ollamaRead),
        (.head, "/api/version", .ollamaRead),
        (.get, "/api/ps", .ollamaRead), (.post, "/api/pull", .ollamaAdmin),
        (.delete, "/api/delete", .ollamaAdmin),
        (.post, "/api/delete", .other), (.post, "/api/copy", .ollamaOpaqueAdmin),
        (.post, "/api/blobs/sha256:ab", .ollamaOpaqueAdmin),
        (.head, "/api/blobs/sha256:ab", .ollamaOpaqueAdmin), (.post, "/api/me", .ollamaOpaqueAdmin),
        (.delete, "/api/user/keys/k", .ollamaOpaqueAdmin), (.get, "/", .other), (.post, "", .other),
        (.other, "/api/chat", .other),
    ]

    @Test(arguments: rows)
    func `paths are known wherever a prefix put them`(
        row: (method: Method, path: String, what: InferencePath)
    ) {
        #expect(classify(row.method, row.path) == row.what)
    }

    @Test func `what is inference is not administration`() {
        for path in InferencePath.allCases {
            #expect(!(path.isInference && path.isAdmin))
            #expect(!path.isInference || path.readsModel)
            #expect(!path.acceptsName || path.readsModel)
        }
    }

    @Test func `the dialect of a path is that of its errors`() {
        for (method, path, what) in Self.rows where what != .other && what != .openAIOther {
            #expect(what.dialect == Dialect(path: Array(path.utf8).span), "\(method) \(path)")
        }
    }

    @Test func `Ollama streams unless it is told not to`() {
        #expect(
            InferencePath.ollamaChat.streamsByDefault
                && InferencePath.ollamaGenerate.streamsByDefault)
        #expect(
            !InferencePath.ollamaEmbed.streamsByDefault
                && !InferencePath.openAIChat.streamsByDefault)
    }
}
