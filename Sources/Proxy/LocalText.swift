import HTTP
import Inference

/// The bytes of the gateway's own answers: fixed sentences in the dialect of the path (`interface.md` §4).
enum LocalText {
    /// Status line, server, date, and what becomes of the connection.
    static func begin(
        status: UInt16, _ facts: LocalFacts, seconds: UInt64, into out: inout OutputSpan<UInt8>
    ) {
        _ = HeadWriter.append("HTTP/1.1 ", into: &out)
        _ = HeadWriter.append(decimal: UInt64(status), into: &out)
        _ = HeadWriter.append(" ", into: &out)
        _ = HeadWriter.append(Status.reason(Int(status)), into: &out)
        _ = HeadWriter.append("\r\nserver: ai-gateway\r\ndate: ", into: &out)
        _ = HeadWriter.append(httpDate: seconds, into: &out)
        _ = HeadWriter.append("\r\n", into: &out)
        if facts.closes {
            _ = HeadWriter.append("connection: close\r\n", into: &out)
        } else if facts.version == .http10 {
            _ = HeadWriter.append("connection: keep-alive\r\n", into: &out)
        }
    }

    /// The end of a call that never reached its server: the head is all, and says it («Trailers-Only»).
    static func call(
        status: UInt64, _ sentence: StaticString, into out: inout OutputSpan<UInt8>
    ) {
        _ = HeadWriter.append("content-type: application/grpc\r\ngrpc-status: ", into: &out)
        _ = HeadWriter.append(decimal: status, into: &out)
        _ = HeadWriter.append("\r\ngrpc-message: ", into: &out)
        // Printable ASCII without a percent sign, which would have to be escaped.
        _ = HeadWriter.append(sentence, into: &out)
        _ = HeadWriter.append("\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", into: &out)
    }

    /// Content type, length and content; a HEAD request gets the fields alone.
    static func content(
        status: UInt16, _ sentence: StaticString, _ facts: LocalFacts,
        requestID: Span<UInt8>, into out: inout OutputSpan<UInt8>
    ) {
        let parts = Parts(facts.dialect, status: status)
        var count = parts.before.utf8CodeUnitCount + sentence.utf8CodeUnitCount
        count += parts.after.utf8CodeUnitCount + parts.end.utf8CodeUnitCount
        if parts.namesRequest { count += requestID.count }
        _ = HeadWriter.append("content-type: ", into: &out)
        _ = HeadWriter.append(parts.type, into: &out)
        _ = HeadWriter.append("\r\ncontent-length: ", into: &out)
        _ = HeadWriter.append(decimal: UInt64(count), into: &out)
        _ = HeadWriter.append("\r\n\r\n", into: &out)
        if facts.isHead { return }
        _ = HeadWriter.append(parts.before, into: &out)
        _ = HeadWriter.append(sentence, into: &out)
        _ = HeadWriter.append(parts.after, into: &out)
        if parts.namesRequest { _ = HeadWriter.append(requestID, into: &out) }
        _ = HeadWriter.append(parts.end, into: &out)
    }

    /// A content around a sentence and, in one dialect, the request's identity.
    private struct Parts {
        var type: StaticString = "application/json"
        var before: StaticString
        var after: StaticString
        var end: StaticString = ""
        var namesRequest = false

        init(_ dialect: Dialect, status: UInt16) {
            switch dialect {
            case .plain, .grpc:
                type = "text/plain; charset=utf-8"
                before = ""
                after = "\n"
            case .ollama:
                before = "{\"error\":\""
                after = "\"}\n"
            case .openAI:
                before = "{\"error\":{\"message\":\""
                after =
                    status >= 500
                    ? "\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n"
                    : "\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}\n"
            case .anthropic:
                before = Parts.anthropic(status)
                after = "\"},\"request_id\":\""
                end = "\"}\n"
                namesRequest = true
            }
        }

        private static func anthropic(_ status: UInt16) -> StaticString {
            switch status {
            case 400, 408, 421, 431:
                "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\""
            case 404:
                "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\""
            case 413:
                "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\""
            case 503:
                "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\""
            default:
                "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\""
            }
        }
    }
}
