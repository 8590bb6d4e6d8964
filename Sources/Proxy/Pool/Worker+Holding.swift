import HTTP
import Inference
import Kernel
import Routing
import Runtime
import Telemetry

/// Requests whose endpoint is picked by their content: it is read whole before anything is sent (`robustness.md` §8).
///
/// It stands behind the head in the exchange's buffer, framed as it will be sent, so that the first attempt and every
/// other one send the same bytes from the same place. Content that came in chunks stands there as one chunk.
extension Worker {
    /// The line of a chunk's size that `holdContent` writes, with leading zeros.
    static var chunkLine: StaticString { "00000000\r\n" }

    /// Begins the request in `requestHead`, whose cluster is a pool; returns how many bytes of `rest` were used.
    @inline(never)
    mutating func beginPooled(_ slot: SlotID, _ rest: Span<UInt8>) -> Int {
        let downstream = exchanges[slot].downstream
        if asksPicker(slot) {
            if decision.reply != nil { answerUnsent(downstream) }
            return 0
        }
        guard let pooled = makePoolRequest(slot) else {
            decision.reply = .overloaded
            answerUnsent(downstream)
            return 0
        }
        exchanges[slot].poolRequest = pooled
        takeWishes(pooled)
        restrictToSession(pooled)
        if poolRequests[pooled].path.readsModel, !requestHead.framing.isEmpty {
            do throws(BodyRefusal) {
                poolRequests[pooled].peek = try Self.makePeek(
                    requestHead, poolRequests[pooled].path,
                    decodedMax: limits(of: slot).heldContentBytesMax)
            } catch {
                decision.reply = .unreadableContent(error)
                answerUnsent(downstream)
                return 0
            }
        }
        // Any endpoint of the pool: another one's name takes its place when it has been picked.
        guard writeHead(slot, of: downstream, endpoint: decision.firstEndpoint) else {
            answerUnsent(downstream)
            return 0
        }
        // What changes something at a server is never sent twice.
        exchanges[slot].isInference = poolRequests[pooled].path.isInference
        exchanges[slot].phase = .holding
        if poolRequests[pooled].peek == nil {
            // Nothing of the content is read: it follows as it comes.
            pick(slot)
            return 0
        }
        return beginHolding(slot, pooled, rest)
    }

    private mutating func makePoolRequest(_ slot: SlotID) -> SlotID? {
        let row = clusters.clusters[Int(decision.cluster)].pool
        let asker = Asker(
            worker: UInt32(options.number), exchange: Token(kind: TokenKind.exchange, slot).raw)
        let path = InferencePath(
            requestHead.method, path: requestHead.span(requestHead.path))
        return poolRequests.insert(
            PoolRequest(pool: clusters.pools[Int(row)].id, path: path, asker: asker))
    }

    static func makePeek(
        _ head: borrowing RequestHead, _ path: InferencePath, decodedMax: Int
    ) throws(BodyRefusal) -> RequestPeek {
        try RequestPeek(
            contentType: head.span(head.value(.contentType) ?? .none),
            contentEncoding: head.span(head.value(.contentEncoding) ?? .none),
            acceptsName: path.acceptsName, decodedMax: decodedMax)
    }

    /// Begins to keep content behind the head.
    private mutating func beginHolding(
        _ slot: SlotID, _ pooled: SlotID, _ rest: Span<UInt8>
    ) -> Int {
        let isChunked = exchanges[slot].request.isChunked
        if let count = exchanges[slot].request.remaining,
            count > UInt64(limits(of: slot).heldContentBytesMax)
        {
            requestTooLarge(slot)
            return 0
        }
        if isChunked, !buffers.append(ByteScan.bytes(Self.chunkLine), to: &exchanges[slot].buffer) {
            fail(slot, .overloaded)
            return 0
        }
        poolRequests[pooled].contentStart = exchanges[slot].buffer.count
        poolRequests[pooled].isChunked = isChunked
        // Who sends content already waits for no leave.
        if exchanges[slot].expectsContinue, rest.isEmpty { sayContinue(slot) }
        return exchanges.contains(slot) ? holdContent(slot, rest) : 0
    }

    // MARK: - Content

    /// Keeps what of `bytes` is content; returns how many were used.
    mutating func holdContent(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        var reader = exchanges[id].request
        var from = 0
        while true {
            let step = reader.next(bytes, from: &from)
            exchanges[id].request = reader
            switch step {
            case .content(let range):
                guard hold(id, content: bytes.extracting(range)) else { return from }
            case .trailer(let range):
                guard hold(id, trailer: bytes.extracting(range)) else { return from }
            case .end:
                exchanges[id].receivedBytes &+= UInt64(from)
                contentIsWhole(id)
                return from
            case .incomplete:
                exchanges[id].receivedBytes &+= UInt64(from)
                if reader.isFinished { contentIsWhole(id) }
                return from
            case .malformed(let problem):
                requestMalformed(id, problem)
                return from
            }
        }
    }

    /// Reads and keeps a piece of content; false when the exchange has ended over it.
    private mutating func hold(_ id: SlotID, content: Span<UInt8>) -> Bool {
        let pooled = exchanges[id].poolRequest
        poolRequests[pooled].contentBytes += content.count
        let count = poolRequests[pooled].contentBytes
        if count > limits(of: id).heldContentBytesMax
            || UInt64(count) > exchanges[id].contentBytesMax
        {
            requestTooLarge(id)
            return false
        }
        do throws(BodyRefusal) {
            try poolRequests[pooled].peek?.scan(content)
        } catch {
            refuseUnread(id, error)
            return false
        }
        return keepHeld(id, content)
    }

    /// Keeps a trailer line behind the last chunk; false when the exchange has ended over it.
    private mutating func hold(_ id: SlotID, trailer: Span<UInt8>) -> Bool {
        let pooled = exchanges[id].poolRequest
        if !poolRequests[pooled].isInTrailers, !endChunk(id) { return false }
        poolRequests[pooled].isInTrailers = true
        return keepHeld(id, trailer) && keepHeld(id, ByteScan.bytes("\r\n"))
    }

    private mutating func keepHeld(_ id: SlotID, _ bytes: Span<UInt8>) -> Bool {
        var expected = 0
        if let behind = exchanges[id].request.remaining {
            expected = exchanges[id].buffer.count + bytes.count + Int(min(behind, 1 << 30))
        }
        if buffers.hold(bytes, in: &exchanges[id].buffer, expected: expected) {
            tendBuffers()
            return true
        }
        exchanges[id].keepsAlive = false
        fail(id, .overloaded)
        return false
    }

    /// Content that no choice can be made by: nothing of it reaches a backend.
    private mutating func refuseUnread(_ id: SlotID, _ refusal: BodyRefusal) {
        replyAndFinish(id, exchanges[id].downstream, .unreadableContent(refusal))
    }

    /// Writes the size of the one chunk, and the last chunk behind it.
    private mutating func endChunk(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        let count = poolRequests[pooled].contentBytes
        // The line of a chunk without content is the last chunk's already.
        if count == 0 { return true }
        let line = poolRequests[pooled].contentStart - Self.chunkLine.utf8CodeUnitCount
        exchanges[id].buffer.overwrite(hex: UInt32(count), at: line)
        return keepHeld(id, ByteScan.bytes("\r\n0\r\n"))
    }

    /// All of the content is here: an endpoint is picked by what it says.
    private mutating func contentIsWhole(_ id: SlotID) {
        let pooled = exchanges[id].poolRequest
        exchanges[id].requestDone = true
        setDeadline(downstream: exchanges[id].downstream, in: 0)
        do throws(BodyRefusal) {
            try poolRequests[pooled].peek?.finish()
        } catch {
            refuseUnread(id, error)
            return
        }
        if poolRequests[pooled].isChunked {
            if !poolRequests[pooled].isInTrailers, !endChunk(id) { return }
            if !keepHeld(id, ByteScan.bytes("\r\n")) { return }
        }
        if rewriteModel(id) { pick(id) }
    }
}
