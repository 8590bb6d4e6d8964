import HTTP
import Inference
import Kernel
import Protocols
import Telemetry

/// The answer to a request that may not pass, as who was asked has it.
extension Worker {
    /// Answers the request in `requestHead`.
    @inline(never)
    mutating func answerDenied(_ id: SlotID) {
        let authorization = downstreams[id].authorization
        var lines = Buffer()
        var content = Buffer()
        swap(&lines, &authorizations[authorization].lines)
        swap(&content, &authorizations[authorization].content)
        answer(
            id, denied: authorizations[authorization].status, lines.span, content.span,
            isCut: authorizations[authorization].isCut)
        buffers.reclaim(&lines)
        buffers.reclaim(&content)
    }

    private mutating func answer(
        _ id: SlotID, denied status: UInt16, _ lines: Span<UInt8>, _ content: Span<UInt8>,
        isCut: Bool
    ) {
        nameAnswer()
        let facts = LocalFacts(
            dialect: Dialect(
                path: requestHead.span(requestHead.path),
                contentType: requestHead.span(requestHead.value(.contentType) ?? .none)),
            isHead: requestHead.method == .head, version: requestHead.version,
            closes: closesAfterLocal(.denied))
        let isCall = facts.dialect == .grpc
        let hasContent = !isCall && !facts.isHead && status != 204 && status != 304
        tellOrigin(decision)
        var out = Buffer()
        swap(&out, &output)
        out.removeAll()
        let seconds = wallMilliseconds / 1000
        out.withFree { out in
            LocalText.begin(
                status: isCall ? 200 : status, facts, seconds: seconds, into: &out)
            _ = HeadWriter.append("x-gateway-error: ", into: &out)
            _ = HeadWriter.append(LocalReply.denied.row.slug, into: &out)
            _ = HeadWriter.append("\r\nx-request-id: ", into: &out)
            _ = HeadWriter.append(requestID.span, into: &out)
            _ = HeadWriter.append("\r\n", into: &out)
            _ = HeadWriter.append(corsFields.span, into: &out)
            if isCall {
                LocalText.call(
                    status: status == 401 ? 16 : GRPC.status(.denied), "This call may not pass.",
                    into: &out)
                return
            }
            Self.append(lines, without: isCut, into: &out)
            if status != 204, status != 304 {
                _ = HeadWriter.append("content-length: ", into: &out)
                _ = HeadWriter.append(decimal: UInt64(content.count), into: &out)
                _ = HeadWriter.append("\r\n", into: &out)
            }
            _ = HeadWriter.append("\r\n", into: &out)
        }
        corsFields.removeAll()
        let result = downstreams[id].link.send(
            out.span, then: hasContent ? content : Span(), &cipher, &buffers)
        swap(&out, &output)
        observeLocal(
            id, decision, status: isCall ? 200 : status, reason: LocalReply.denied.row.slug)
        if result == .failed {
            close(downstream: id)
        } else if downstreams.contains(id) {
            afterLocal(id, closes: facts.closes)
        }
    }

    /// Appends lines, but where the content is missing those that tell of it.
    private static func append(
        _ lines: Span<UInt8>, without isCut: Bool, into out: inout OutputSpan<UInt8>
    ) {
        var at = 0
        let prefix = ByteScan.bytes("content-")
        while at < lines.count {
            let end = min(ByteScan.first(0x0A, lines, from: at, to: lines.count) + 1, lines.count)
            let line = lines.extracting(at..<end)
            at = end
            if isCut, line.count > prefix.count,
                ByteScan.equalFolding(line.extracting(first: prefix.count), prefix)
            {
                continue
            }
            _ = HeadWriter.append(line, into: &out)
        }
    }
}
