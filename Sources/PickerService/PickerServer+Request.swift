import HTTP
import Inference
import Kernel
import Protocols
import Runtime

/// What a gateway says of a request before it is sent to a model server, and of the answer after (`inference-extension.md`
/// §3.1 and §3.3).
extension PickerServer {
    mutating func process(_ id: SlotID, _ bytes: Span<UInt8>, _ range: Range<Int>) {
        guard let message = ProcessingMessage(bytes, range) else {
            return end(id, .invalidArgument)
        }
        if message.body.isEmpty, range.count > Self.headBytesMax {
            return end(id, .resourceExhausted)
        }
        // Nobody waits for an answer, and nothing is sent where we choose.
        if message.isObserved { return }
        if !calls[id].hasModes {
            calls[id].hasModes = true
            // Who does not say how content is exchanged does it as the protocol assumes.
            calls[id].modes =
                message.modes
                ?? ProcessingMessage.Modes(
                    request: .fullDuplexStreamed, answer: .fullDuplexStreamed)
        }
        switch message.kind {
        case .requestHeaders: beginRequest(id, message, bytes)
        case .requestBody: takeContent(id, message, bytes)
        case .requestTrailers: takeTrailers(id)
        case .answerHeaders: beginAnswer(id, message, bytes)
        case .answerBody: passAnswer(id, message, bytes)
        case .answerTrailers: endAnswer(id)
        case .other: break
        }
    }

    // MARK: - The request's head

    private mutating func beginRequest(
        _ id: SlotID, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) {
        guard calls[id].stage == .fresh else { return end(id, .invalidArgument) }
        calls[id].stage = .reading
        calls[id].requestEnded = message.ends
        takeWishes(id, message, bytes)
        let path = path(message, bytes)
        if path.readsModel, !message.ends, seesContent(id) {
            do throws(BodyRefusal) {
                calls[id].peek = try RequestPeek(
                    contentType: value("content-type", message, bytes),
                    contentEncoding: value("content-encoding", message, bytes),
                    acceptsName: path.acceptsName, decodedMax: Self.heldBytesMax)
            } catch {
                return refuse(id, error)
            }
        }
        if calls[id].peek == nil { return pick(id) }
        let mode = calls[id].modes.request
        if mode == .buffered || mode == .bufferedPartial {
            // Content comes only after the head was answered.
            calls[id].tellsAtBody = true
            say(id) { ProcessingAnswer.append(headKept: .request, into: &$0) }
        }
    }

    /// Whether content comes before the endpoint has to be told.
    private func seesContent(_ id: SlotID) -> Bool {
        switch calls[id].modes.request {
        case .none, .grpc: false
        case .streamed: calls[id].modes.sendsBodyEarly
        case .buffered, .bufferedPartial, .fullDuplexStreamed: true
        }
    }

    @_lifetime(copy bytes)
    func value(
        _ name: StaticString, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) -> Span<UInt8> {
        bytes.extracting(HeaderMapFields.first(name, message.fields, bytes) ?? 0..<0)
    }

    private func path(_ message: ProcessingMessage, _ bytes: Span<UInt8>) -> InferencePath {
        let target = value(":path", message, bytes)
        let end = ByteScan.first(0x3F, target, from: 0, to: target.count)
        return InferencePath(
            HTTP.Method(token: value(":method", message, bytes)),
            path: target.extracting(0..<end))
    }

    /// Notes what the head asks of the pick.
    private mutating func takeWishes(
        _ id: SlotID, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) {
        let flow = value("x-gateway-inference-fairness-id", message, bytes)
        calls[id].request.flow = PickingHash.of(flow)
        calls[id].request.session = PickingHash.of(value("x-session-token", message, bytes))
        if poolRow >= 0 {
            let pool = Int(clusters.clusters[poolRow].pool)
            calls[id].request.priority = clusters.pools[pool].priority(
                value("x-gateway-inference-objective", message, bytes))
        }
        guard let subset = message.subset else { return }
        calls[id].request.hasSubset = true
        var texts = ListTexts(subset)
        var seen: UInt32 = 0
        while let text = texts.next(bytes) {
            guard let endpoint = endpoint(named: bytes.extracting(text)),
                !calls[id].request.subset.contains(endpoint)
            else { continue }
            seen += 1
            if calls[id].request.subset.append(endpoint) { continue }
            // Of a list that is longer than what a request carries each has the same chance, whatever its order.
            let place = Int(random.next(below: seen))
            calls[id].request.subset.replace(place, by: endpoint)
        }
    }

    /// The pool's endpoint with this address, written as `ip:port`.
    func endpoint(named name: Span<UInt8>) -> UInt32? {
        guard poolRow >= 0, let text = try? UTF8Span(validating: name),
            let address = SocketAddress(parsing: String(copying: text))
        else { return nil }
        let cluster = clusters.clusters[poolRow]
        for row in cluster.firstEndpoint..<(cluster.firstEndpoint + cluster.endpointCount)
        where clusters.endpoints[Int(row)].address == address {
            return clusters.endpoints[Int(row)].id
        }
        return nil
    }

    // MARK: - The request's content

    private mutating func takeContent(
        _ id: SlotID, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) {
        let piece = bytes.extracting(message.body)
        if message.ends { calls[id].requestEnded = true }
        switch calls[id].stage {
        case .reading:
            do throws(BodyRefusal) {
                try calls[id].peek?.scan(piece)
            } catch {
                return refuse(id, error)
            }
            if hold(id, piece), message.ends || calls[id].tellsAtBody { contentIsWhole(id) }
        case .waiting: _ = hold(id, piece)
        case .passing, .answering, .fresh:
            pass(id, piece, .request, isEchoed: calls[id].echoesRequest, ends: message.ends)
        case .over: break
        }
    }

    /// Keeps a piece for the pick; false when the request was refused over it.
    private mutating func hold(_ id: SlotID, _ piece: Span<UInt8>) -> Bool {
        calls[id].heldPieces += 1
        if calls[id].held.count + piece.count > Self.heldBytesMax {
            refuse(id, status: 413, "The content is larger than is looked into here. Send less.")
            return false
        }
        if buffers.hold(piece, in: &calls[id].held) { return true }
        refuse(id, status: 503, "The picker is out of memory. Try again later.")
        return false
    }

    private mutating func takeTrailers(_ id: SlotID) {
        let isHeld = calls[id].stage == .reading || calls[id].stage == .waiting
        calls[id].requestEnded = true
        if !isHeld {
            say(id) { ProcessingAnswer.append(trailersKept: .request, into: &$0) }
            return
        }
        calls[id].hasTrailers = true
        if calls[id].stage == .reading { contentIsWhole(id) }
    }

    /// All of the content is here: the endpoint is picked by what it says.
    private mutating func contentIsWhole(_ id: SlotID) {
        do throws(BodyRefusal) {
            try calls[id].peek?.finish()
        } catch {
            // What a gateway cut off may still name a model.
            let isPartial = calls[id].modes.request == .bufferedPartial && !calls[id].requestEnded
            if !isPartial || error != .truncated { return refuse(id, error) }
        }
        if rewriteModel(id) { pick(id) }
    }

    /// Sends a piece on as it is: in full duplex it has to be said again, otherwise that it stays.
    mutating func pass(
        _ id: SlotID, _ piece: Span<UInt8>, _ direction: ProcessingRequest.Direction,
        isEchoed: Bool, ends: Bool
    ) {
        if !isEchoed {
            say(id) { ProcessingAnswer.append(bodyKept: direction, into: &$0) }
            return
        }
        var at = 0
        repeat {
            let next = min(piece.count, at + Self.pieceBytesMax)
            let part = piece.extracting(at..<next)
            let isLast = ends && next == piece.count
            say(id) {
                ProcessingAnswer.begin(direction, body: part.count, ends: isLast, into: &$0)
                    && ByteScan.append(part, to: &$0)
            }
            at = next
        } while at < piece.count
    }

    // MARK: - The answer

    private mutating func beginAnswer(
        _ id: SlotID, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) {
        let status = value(":status", message, bytes)
        calls[id].status = 0
        for at in 0..<min(status.count, 3) {
            calls[id].status = calls[id].status * 10 + Int(status[at] &- 0x30) % 10
        }
        if calls[id].stage == .passing { calls[id].stage = .answering }
        if let served = message.served { takeServed(id, bytes.extracting(served)) }
        noteStart(id)
        if !message.ends, restoresModel(id, message, bytes) {
            say(id) { ProcessingAnswer.appendUnmeasuredAnswer(into: &$0) }
        } else {
            say(id) { ProcessingAnswer.append(headKept: .answer, into: &$0) }
        }
        if message.ends { finishByStatus(id) }
    }

    private mutating func passAnswer(
        _ id: SlotID, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) {
        let piece = bytes.extracting(message.body)
        if calls[id].restore != nil {
            passRestored(id, piece, ends: message.ends)
        } else {
            pass(id, piece, .answer, isEchoed: calls[id].echoesAnswer, ends: message.ends)
        }
        if message.ends { finishByStatus(id) }
    }

    private mutating func endAnswer(_ id: SlotID) {
        if calls[id].restore != nil, calls[id].echoesAnswer {
            passRestored(id, Span(), ends: true, inTrailers: true)
        }
        say(id) { ProcessingAnswer.append(trailersKept: .answer, into: &$0) }
        finishByStatus(id)
    }
}
