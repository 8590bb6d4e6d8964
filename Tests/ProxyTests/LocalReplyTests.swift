import HTTP
import Inference
import Telemetry
import Testing

@testable import Proxy

/// Each failure has one status, and each path its own form of error.
@Suite struct LocalReplyTests {
    @Test(arguments: [
        (UpstreamFailure.connectRefused, UInt16(503)), (.connectTimeout, 503), (.tls, 502),
        (.resetBeforeHead, 502), (.malformedAnswer, 502), (.firstByteTimeout, 504),
        (.noEndpoint, 503), (.overloaded, 503), (.attemptTimeout, 504), (.requestTimeout, 504),
    ])
    func `a failure of the backend has the status that the interface names`(
        row: (failure: UpstreamFailure, status: UInt16)
    ) {
        #expect(LocalReply(row.failure).row.status == row.status)
    }

    @Test(arguments: [
        ("/ollama/api/chat", Dialect.ollama), ("/api/tags", .ollama),
        ("/v1/chat/completions", .openAI), ("/x/v1/models", .openAI),
        ("/v1/messages", .anthropic), ("/anthropic/v1/messages/count_tokens", .anthropic),
        ("/", .plain), ("/apis", .plain), ("/v10/x", .plain),
    ])
    func `the dialect is that of the path wherever a prefix put it`(
        row: (path: String, dialect: Dialect)
    ) {
        let bytes = Array(row.path.utf8)
        #expect(Dialect(path: bytes.span, contentType: Span()) == row.dialect)
    }

    @Test(arguments: [
        ("text/event-stream", true), ("Text/Event-Stream; charset=utf-8", true),
        ("application/x-ndjson", true), ("application/json", false), ("text/event-streams", false),
        ("", false),
    ])
    func `streams that tell their own end are known by their type`(
        row: (type: String, isStream: Bool)
    ) {
        let bytes = Array(row.type.utf8)
        #expect(ContentType.isStream(bytes.span) == row.isStream)
    }

    @Test(arguments: [LocalReply.noEndpoint, .overloaded, .connectRefused])
    func `a client that may come back is told when`(reply: LocalReply) {
        #expect(reply.hasRetryAfter)
    }
}
