import BasicContainers
import HTTP
import Inference
import Kernel
import Routing
import Runtime
import Telemetry

/// What a local answer needs to know of the request it answers.
struct LocalFacts: BitwiseCopyable {
    var dialect = Dialect.plain
    var isHead = false
    var version = Version.http11
    var closes = true

    /// The status that is sent: a call's own status is in its fields.
    func status(_ reply: LocalReply) -> UInt16 { dialect == .grpc ? 200 : reply.row.status }
}

/// Answers that the gateway makes itself.
extension Worker {
    /// Refuses a head that breaks HTTP and ends the connection.
    @inline(never)
    mutating func refuse(_ id: SlotID, _ problem: Malformed) {
        refuse(id, problem, .plain)
    }

    /// Refuses the head of a stream, which may be a call's: its text says so although it was not parsed.
    mutating func refuse(_ id: SlotID, _ problem: Malformed, ofStream head: Span<UInt8>) {
        refuse(id, problem, Dialect(head: head))
    }

    @inline(never)
    private mutating func refuse(_ id: SlotID, _ problem: Malformed, _ dialect: Dialect) {
        shard.add(.malformedRequests, 1)
        makeRequestID()
        sendLocal(id, .malformed(problem), LocalFacts(dialect: dialect))
        observeUnmatched(id, LocalReply.malformed(problem), method: .other)
        if downstreams.contains(id) { end(downstream: id, .linger) }
    }

    /// Answers a head that never came whole.
    mutating func answerLocally(_ id: SlotID, _ reply: LocalReply) {
        makeRequestID()
        sendLocal(id, reply, LocalFacts())
        observeUnmatched(id, reply, method: .other)
        if downstreams.contains(id) { end(downstream: id, .linger) }
    }

    /// Answers the request in `requestHead`; with `closes` its connection ends behind it, whatever the answer.
    @inline(never)
    mutating func answerLocally(
        _ id: SlotID, _ reply: LocalReply, _ decision: Decision, closes: Bool = false
    ) {
        nameAnswer()
        let facts = LocalFacts(
            dialect: Dialect(
                path: requestHead.span(requestHead.path),
                contentType: requestHead.span(requestHead.value(.contentType) ?? .none)),
            isHead: requestHead.method == .head, version: requestHead.version,
            closes: closes || closesAfterLocal(reply))
        tellOrigin(decision)
        sendLocal(id, reply, facts)
        observeLocal(id, decision, status: facts.status(reply), reason: reply.row.slug)
        if downstreams.contains(id) { afterLocal(id, closes: facts.closes) }
    }

    /// Answers with a redirect; Location's value stands in `location`.
    mutating func redirect(_ id: SlotID, status: UInt16, _ decision: Decision) {
        tellOrigin(decision)
        // Caches keep some redirects: what one origin was told is not for another.
        if corsFields.isEmpty, decision.flags.contains(.cors) { tellVariation() }
        answerWithoutContent(id, .redirect, status: status, decision)
    }

    /// Answers with a status and fields alone: those in `corsFields`, and of a redirect its Location.
    mutating func answerWithoutContent(
        _ id: SlotID, _ reply: LocalReply, status: UInt16, _ decision: Decision
    ) {
        nameAnswer()
        let facts = LocalFacts(
            isHead: requestHead.method == .head, version: requestHead.version,
            closes: closesAfterLocal(reply))
        var out = Buffer()
        swap(&out, &output)
        out.removeAll()
        let seconds = wallMilliseconds / 1000
        out.withFree { out in
            LocalText.begin(status: status, facts, seconds: seconds, into: &out)
            if reply == .redirect {
                _ = HeadWriter.append("location: ", into: &out)
                _ = HeadWriter.append(location.span, into: &out)
                _ = HeadWriter.append("\r\n", into: &out)
            }
            _ = HeadWriter.append("x-request-id: ", into: &out)
            _ = HeadWriter.append(requestID.span, into: &out)
            _ = HeadWriter.append("\r\n", into: &out)
            _ = HeadWriter.append(corsFields.span, into: &out)
            // An answer with this status has no content (RFC 9110 §8.6).
            if status == 204 {
                _ = HeadWriter.append("\r\n", into: &out)
            } else {
                _ = HeadWriter.append("content-length: 0\r\n\r\n", into: &out)
            }
        }
        corsFields.removeAll()
        let result = downstreams[id].link.send(out.span, &cipher, &buffers)
        swap(&out, &output)
        observeLocal(id, decision, status: status, reason: reply.row.slug)
        if result == .failed {
            close(downstream: id)
        } else {
            afterLocal(id, closes: facts.closes)
        }
    }

    /// Answers an exchange whose attempts are over, and ends it.
    mutating func replyAndFinish(_ id: SlotID, _ downstream: SlotID, _ reply: LocalReply) {
        if exchanges[id].isStream {
            endTunnel(id, .rejected, reply.row.slug)
            return
        }
        // Content may be refused while the exchange waits for a connection.
        stopWaiting(id)
        requestID.removeAll()
        var dialect = Dialect.plain
        var buffer = Buffer()
        swap(&buffer, &exchanges[id].buffer)
        let record = exchanges[id].record
        dialect = Dialect(head: buffer.span.extracting(record.head.range))
        requestID.append(copying: buffer.span.extracting(record.requestID.range))
        swap(&buffer, &exchanges[id].buffer)
        let closes =
            !exchanges[id].keepsAlive || isDraining || !exchanges[id].requestDone
            || exchanges[id].upgrades
        let facts = LocalFacts(
            dialect: dialect, isHead: exchanges[id].method == .head,
            version: exchanges[id].version, closes: closes)
        exchanges[id].status = facts.status(reply)
        tellOrigin(of: id)
        observe(id, .localReply, ByteScan.bytes(reply.row.slug))
        let hasRest = !exchanges[id].requestDone
        remove(id)
        downstreams[downstream].exchange = .none
        sendLocal(downstream, reply, facts)
        afterReply(downstream, closes: closes, hasRest: hasRest)
    }

    /// The dialect of an exchange's path, by the head that it sends on.
    mutating func dialect(of id: SlotID) -> Dialect {
        var buffer = Buffer()
        swap(&buffer, &exchanges[id].buffer)
        let dialect = Dialect(head: buffer.span.extracting(exchanges[id].record.head.range))
        swap(&buffer, &exchanges[id].buffer)
        return dialect
    }

    /// What the connection does after its exchange was answered locally; `hasRest`: content may still come.
    mutating func afterReply(_ downstream: SlotID, closes: Bool, hasRest: Bool) {
        guard downstreams.contains(downstream) else { return }
        if closes {
            let unread =
                hasRest || !downstreams[downstream].input.isEmpty
                || downstreams[downstream].link.isReadable
            end(downstream: downstream, unread ? .linger : .plain)
        } else {
            awaitRequest(downstream)
        }
    }

    // MARK: - Pieces

    /// The identity that the answer carries: the client's own where it is usable.
    mutating func nameAnswer() {
        if let value = requestHead.value(.xRequestID),
            RequestID.isValid(requestHead.span(value))
        {
            requestHead.copy(value, into: &requestID)
        } else {
            makeRequestID()
        }
    }

    /// Whether the connection of the request in `requestHead` ends behind an answer of the gateway's own.
    func closesAfterLocal(_ reply: LocalReply) -> Bool {
        if !requestHead.keepsAlive || isDraining { return true }
        // A client that waits for 100 may send its content or not: nobody can tell what follows.
        if requestHead.expectsContinue { return true }
        // Nor after an upgrade that was not to be: bytes may be on their way in the other protocol.
        if requestHead.upgrade == .websocket { return true }
        // Nor behind content that was kept in part.
        if case .unreadableContent = reply { return true }
        return reply == .contentTooLarge || reply == .outdatedConnection
    }

    /// What the connection does after an answer to the request in `requestHead`.
    mutating func afterLocal(_ id: SlotID, closes: Bool) {
        let framing = requestHead.framing
        if closes {
            let unread =
                !framing.isEmpty || !downstreams[id].input.isEmpty
                || downstreams[id].link.isReadable
            end(downstream: id, unread ? .linger : .plain)
            return
        }
        if framing.isEmpty {
            awaitRequest(id)
            return
        }
        if case .length(let count) = framing, count > UInt64(lingerBytesMax) {
            end(downstream: id, .linger)
            return
        }
        discard(id, ContentReader(framing))
    }

    private mutating func sendLocal(_ id: SlotID, _ reply: LocalReply, _ facts: LocalFacts) {
        var out = Buffer()
        swap(&out, &output)
        out.removeAll()
        let seconds = wallMilliseconds / 1000
        let row = reply.row
        out.withFree { out in
            LocalText.begin(status: facts.status(reply), facts, seconds: seconds, into: &out)
            _ = HeadWriter.append("x-gateway-error: ", into: &out)
            _ = HeadWriter.append(row.slug, into: &out)
            _ = HeadWriter.append("\r\nx-request-id: ", into: &out)
            _ = HeadWriter.append(requestID.span, into: &out)
            if reply.hasRetryAfter { _ = HeadWriter.append("\r\nretry-after: 1", into: &out) }
            if reply.droppedReason.utf8CodeUnitCount > 0 {
                _ = HeadWriter.append("\r\nx-llm-d-request-dropped-reason: ", into: &out)
                _ = HeadWriter.append(reply.droppedReason, into: &out)
            }
            _ = HeadWriter.append("\r\n", into: &out)
            _ = HeadWriter.append(corsFields.span, into: &out)
            if facts.dialect == .grpc {
                LocalText.call(status: GRPC.status(reply), row.sentence, into: &out)
            } else {
                LocalText.content(
                    status: row.status, row.sentence, facts, requestID: requestID.span, into: &out)
            }
        }
        corsFields.removeAll()
        let result = downstreams[id].link.send(out.span, &cipher, &buffers)
        swap(&out, &output)
        if result == .failed { close(downstream: id) }
    }
}
