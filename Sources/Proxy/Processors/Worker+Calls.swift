import BasicContainers
import HTTP
import Kernel
import Protocols
import Runtime
import Telemetry

/// Calls to external pickers: beginning, what is said and heard, ending.
extension Worker {
    // MARK: - Beginning

    /// Whether the pool's picker is asked about the request in `requestHead`; then its exchange goes on from here, unless
    /// `decision.reply` says why not.
    @inline(never)
    mutating func asksPicker(_ id: SlotID) -> Bool {
        let pool = Int(clusters.clusters[Int(decision.cluster)].pool)
        guard case .external(let cluster, let opensOnFailure) = clusters.pools[pool].picker else {
            return false
        }
        requestHead.remove(named: ByteScan.bytes("x-gateway-destination-endpoint"))
        requestHead.remove(named: ByteScan.bytes("x-gateway-destination-endpoint-served"))
        requestHead.remove(named: ByteScan.bytes("x-gateway-destination-endpoint-subset"))
        guard
            writeHead(id, of: exchanges[id].downstream, endpoint: decision.firstEndpoint)
        else { return true }
        exchanges[id].isInference = exchanges[id].method == .post
        let made = PickerCall(
            exchange: id, cluster: cluster, opensOnFailure: opensOnFailure,
            sendsAnswers: clusters.pools[pool].sendsAnswers,
            isSecure: downstreams[exchanges[id].downstream].isTLS, framing: requestHead.framing,
            began: nowNanoseconds)
        guard let call = calls.insert(made) else {
            decision.reply = .overloaded
            return true
        }
        exchanges[id].call = call
        exchanges[id].isProcessed = true
        exchanges[id].phase = .picking
        openCarrier(call)
        return true
    }

    /// Begins the exchange with the picker, with the request's head as its first message.
    private mutating func openCarrier(_ call: SlotID) {
        guard let row = chooseEndpoint(cluster: calls[call].cluster, avoiding: .max) else {
            pickerFailed(call, .unreachable)
            return
        }
        let made = Exchange(call: call, cluster: calls[call].cluster, began: nowNanoseconds)
        guard let buffer = writeCarrierHead(call, row), let carrier = exchanges.insert(made) else {
            pickerFailed(call, .overloaded)
            return
        }
        carriers += 1
        exchanges[carrier].buffer = buffer
        exchanges[carrier].record.head = ByteRange(0..<exchanges[carrier].buffer.count)
        calls[call].carrier = carrier
        expectPicker(call)
        attempt(carrier, endpoint: row)
    }

    /// The head of the call, and its first message as a chunk behind it.
    private mutating func writeCarrierHead(_ call: SlotID, _ row: Int32) -> Buffer? {
        let id = calls[call].exchange
        let range = exchanges[id].record.head.range
        var subset = Buffer()
        hintReachable(id, into: &subset)
        defer { buffers.reclaim(&subset) }
        guard var message = buffers.take(capacity: 2 * range.count + subset.count + 4096),
            var buffer = buffers.take(capacity: 2 * range.count + subset.count + 8192)
        else { return nil }
        let authority = clusters.endpoints[Int(row)].authority.range
        let ends = exchanges[id].requestDone && calls[call].request.held.isEmpty
        let isSecure = calls[call].isSecure
        let sendsAnswers = calls[call].sendsAnswers
        var head = Buffer()
        swap(&head, &exchanges[id].buffer)
        let isWritten = message.withFree { out in
            ProcessingRequest.append(
                request: head.span.extracting(range), isSecure: isSecure, ends: ends,
                sendsAnswers: sendsAnswers, subset: subset.span, into: &out)
        }
        swap(&head, &exchanges[id].buffer)
        let fits = Self.write(
            clusters.arena.span.extracting(authority), message.span, into: &buffer)
        buffers.give(message)
        if ends { calls[call].request.isTold = true }
        if isWritten, fits { return buffer }
        buffers.give(buffer)
        return nil
    }

    /// Writes the pool's endpoints that this worker reaches, for the picker to choose among.
    ///
    /// Nothing where it reaches all, which is the picker's own view then, or none, since one that failed is better than
    /// none; nothing in a pool so large that the list would cost more than a request that has to go on to the next.
    private mutating func hintReachable(_ id: SlotID, into subset: inout Buffer) {
        let row = clusters.row(ofCluster: exchanges[id].decision.clusterID)
        guard row >= 0 else { return }
        let cluster = clusters.clusters[Int(row)]
        let rows = cluster.firstEndpoint..<(cluster.firstEndpoint + cluster.endpointCount)
        var reached = 0
        for at in rows where isReached(at) { reached += 1 }
        if reached == 0 || reached == rows.count || reached > Self.hintedEndpointsMax { return }
        guard var list = buffers.take(capacity: reached * 64) else { return }
        var name = Buffer(capacity: 64)
        for at in rows where isReached(at) {
            name.removeAll()
            name.withFree { Self.writeEndpoint(clusters.endpoints[Int(at)].address, into: &$0) }
            list.withFree { _ = ProcessingRequest.append(subset: name.span, into: &$0) }
        }
        swap(&list, &subset)
        buffers.reclaim(&list)
    }

    /// More endpoints than these are told to no picker.
    private static var hintedEndpointsMax: Int { 64 }

    private static func write(
        _ authority: Span<UInt8>, _ message: Span<UInt8>, into buffer: inout Buffer
    ) -> Bool {
        buffer.withFree { out in
            HeadWriter.append(carrierLine, into: &out)
                && HeadWriter.append(authority, into: &out)
                && HeadWriter.append(carrierFields, into: &out)
                && HeadWriter.append(chunk: message, into: &out)
        }
    }

    private static var carrierLine: StaticString {
        "POST /envoy.service.ext_proc.v3.ExternalProcessor/Process HTTP/1.1\r\nhost: "
    }

    private static var carrierFields: StaticString {
        """
        \r\ncontent-type: application/grpc\r\nte: trailers\r\nuser-agent: ai-gateway\r\n\
        transfer-encoding: chunked\r\n\r\n
        """
    }

    /// The picker's connection has taken the request's head: content follows.
    mutating func carrierStands(_ carrier: SlotID) {
        let call = exchanges[carrier].call
        guard call != .none else { return }
        let id = calls[call].exchange
        if calls[call].request.pieces == 0, !calls[call].request.held.isEmpty {
            // For a picker that is asked again.
            tellContent(call, .request, from: 0, ends: exchanges[id].requestDone)
        }
        guard calls.contains(call) else { return }
        expectPicker(call)
        if calls[call].stage != .choosing, mayTellAnswer(id) { resumeKeptAnswer(id) }
        if exchanges.contains(id), !exchanges[id].requestDone {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    // MARK: - Saying

    /// The picker's stream; `.none` while there is none.
    private func stream(of call: SlotID) -> SlotID {
        let carrier = calls[call].carrier
        if carrier == .none || exchanges[carrier].phase == .connecting { return .none }
        return exchanges[carrier].upstream
    }

    /// Whether the picker takes more now.
    func pickerTakesMore(_ call: SlotID) -> Bool {
        let upstream = stream(of: call)
        return upstream != .none && !upstreams[upstream].link.isCongested
            && !exchanges[calls[call].carrier].requestBroken
    }

    /// Whether content of the request may be read for the picker.
    func mayTellRequest(_ id: SlotID) -> Bool {
        let call = exchanges[id].call
        return !exchanges[id].requestDone && pickerTakesMore(call)
            && calls[call].request.held.count < limits(of: id).heldContentBytesMax
    }

    /// Whether content of the answer may be read for the picker.
    func mayTellAnswer(_ id: SlotID) -> Bool {
        let call = exchanges[id].call
        return calls[call].processesAnswer && !calls[call].answer.isTold && pickerTakesMore(call)
            && calls[call].answer.held.count < limits(of: id).heldContentBytesMax
    }

    /// Tells the picker content that stands at the end of what is held, and its end.
    mutating func tellContent(
        _ call: SlotID, _ direction: ProcessingRequest.Direction, from start: Int, ends: Bool
    ) {
        var content = ProcessedContent()
        swapContent(call, direction, &content)
        let count = content.held.count - start
        let endsHere = ends && content.trailers.isEmpty
        if count > 0 || endsHere {
            tellPiece(
                call, direction, content.held.span.extracting(start..<content.held.count),
                ends: endsHere)
            if content.isReplaced {
                buffers.reclaim(&content.held)
            } else {
                content.appendPiece(count)
            }
        }
        if ends, !endsHere { tellTrailers(call, direction, content.trailers.span) }
        if ends { content.isTold = true }
        swapContent(call, direction, &content)
        expectPicker(call)
        if ends, !endsHere {
            if direction == .request { settleRequest(call) } else { settleAnswer(call) }
        }
    }

    private mutating func swapContent(
        _ call: SlotID, _ direction: ProcessingRequest.Direction, _ content: inout ProcessedContent
    ) {
        if direction == .request {
            swap(&calls[call].request, &content)
        } else {
            swap(&calls[call].answer, &content)
        }
    }

    private mutating func tellPiece(
        _ call: SlotID, _ direction: ProcessingRequest.Direction, _ content: Span<UInt8>,
        ends: Bool
    ) {
        guard var head = buffers.take(capacity: ProcessingRequest.beginBytesMax) else { return }
        head.withFree { out in
            _ = ProcessingRequest.begin(direction, body: content.count, ends: ends, into: &out)
        }
        tell(call, head.span, then: content)
        buffers.give(head)
    }

    private mutating func tellTrailers(
        _ call: SlotID, _ direction: ProcessingRequest.Direction, _ lines: Span<UInt8>
    ) {
        guard var message = buffers.take(capacity: 2 * lines.count + 1024) else { return }
        message.withFree { out in
            _ = ProcessingRequest.append(direction, trailers: lines, into: &out)
        }
        tell(call, message.span, then: Span())
        buffers.give(message)
    }

    /// Gives the picker a message in two parts, as one chunk.
    mutating func tell(_ call: SlotID, _ message: Span<UInt8>, then content: Span<UInt8>) {
        let upstream = stream(of: call)
        guard upstream != .none, var line = buffers.take(capacity: 64) else { return }
        line.withFree { out in
            _ = HeadWriter.append(chunkOf: message.count + content.count, into: &out)
        }
        var result = upstreams[upstream].link.send(line.span, then: message, &cipher, &buffers)
        line.removeAll()
        line.withFree { _ = HeadWriter.append("\r\n", into: &$0) }
        if result == .taken {
            result = upstreams[upstream].link.send(content, then: line.span, &cipher, &buffers)
        }
        buffers.give(line)
        if result == .failed { requestWriteFailed(calls[call].carrier) }
    }

    // MARK: - Hearing

    /// Reads once what the picker says and carries it out; what is left then of the bytes of this tick, nil when it is not
    /// to go on.
    @inline(never)
    mutating func hearPicker(_ upstream: SlotID, _ input: inout Buffer, _ left: Int) -> Int? {
        let carrier = upstreams[upstream].exchange
        let call = exchanges[carrier].call
        if call != .none, !mayHear(call) { return nil }
        if !upstreams[upstream].link.isReadable { return nil }
        if left <= 0 {
            enqueue(upstream: upstream)
            return nil
        }
        input.removeAll()
        let result = upstreams[upstream].link.read(into: &input, &cipher, &buffers)
        let count = input.count
        switch result {
        case .bytes:
            if call != .none, upstreams[upstream].input.isEmpty {
                hear(carrier, call, count, of: input.padded())
            } else if call != .none {
                hearKept(carrier, call, upstream, input.span)
            }
        case .wouldBlock: return nil
        case .end, .failed: carrierEnded(carrier)
        }
        return upstreams.contains(upstream) && exchanges.contains(carrier) ? left - count : nil
    }

    /// Whether what the picker returns has where to go.
    private func mayHear(_ call: SlotID) -> Bool {
        let id = calls[call].exchange
        switch calls[call].stage {
        case .choosing: return true
        case .chosen:
            let upstream = exchanges[id].upstream
            if upstream == .none || exchanges[id].phase == .connecting {
                return exchanges[id].buffer.count < limits(of: id).heldContentBytesMax
            }
            return !exchanges[id].isReplaying && !upstreams[upstream].link.isCongested
        case .judging, .answering:
            return !downstreams[exchanges[id].downstream].link.isCongested
        }
    }

    /// What the picker returns has where to go again.
    mutating func resumePicker(_ id: SlotID) {
        let call = exchanges[id].call
        guard exchanges[id].isProcessed else { return }
        let upstream = stream(of: call)
        if upstream != .none, upstreams[upstream].link.isReadable { enqueue(upstream: upstream) }
    }

    /// A link of the exchange, or of the carrier, takes bytes again: what waited goes on.
    mutating func goOnPicked(_ id: SlotID) {
        let call = exchanges[id].call
        if exchanges[id].isCarrier {
            carrierStands(id)
            return
        }
        resumePicker(id)
        if !exchanges[id].requestDone || exchanges[id].isReplaying {
            enqueue(downstream: exchanges[id].downstream)
        }
        if calls[call].carrier != .none { expectPicker(call) }
    }

    /// Whether a picker named the endpoints that an exchange may go to.
    func isPicked(_ id: SlotID) -> Bool {
        let call = exchanges[id].call
        return call != .none && !exchanges[id].isCarrier && calls[call].endpoints.count > 0
    }

    /// Bytes go both ways from here on: the picker has no part in them.
    mutating func partForUpgrade(_ id: SlotID) {
        exchanges[id].isProcessed = false
        partFromPicker(exchanges[id].call, inPeace: true)
    }

    /// Whether the client of an exchange may have gone while its content waits for the picker.
    func hangsUpBehindPicker(_ id: SlotID) -> Bool {
        guard downstreams.contains(id), downstreams[id].exchange != .none else { return false }
        let exchange = downstreams[id].exchange
        return exchanges.contains(exchange) && exchanges[exchange].isProcessed
            && !mayTellRequest(exchange)
    }

    /// Uses what was kept of the picker's words with what came.
    private mutating func hearKept(
        _ carrier: SlotID, _ call: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>
    ) {
        var kept = Buffer()
        swap(&kept, &upstreams[upstream].input)
        if buffers.append(bytes, to: &kept) {
            hear(carrier, call, kept.count, of: kept.padded())
        } else {
            pickerFailed(call, .overloaded)
        }
        buffers.reclaim(&kept)
    }

    private mutating func hear(
        _ carrier: SlotID, _ call: SlotID, _ count: Int, of padded: Span<UInt8>
    ) {
        var from = 0
        if exchanges[carrier].phase == .awaitingHead {
            guard let used = hearHead(carrier, call, count, of: padded) else { return }
            from = used
            if exchanges[carrier].phase == .awaitingHead { return }
        }
        let bytes = padded.extracting(0..<count)
        var ended = false
        reading: while true {
            var reader = calls[call].reader
            let step = reader.next(bytes, from: &from)
            calls[call].reader = reader
            switch step {
            case .content(let range):
                guard buffers.append(bytes.extracting(range), to: &calls[call].input) else {
                    pickerFailed(call, .overloaded)
                    return
                }
            case .trailer: continue
            case .end:
                ended = true
                break reading
            case .incomplete:
                // Of trailers, which are read line by line.
                let upstream = exchanges[carrier].upstream
                _ = buffers.append(
                    bytes.extracting(from..<count), to: &upstreams[upstream].input)
                break reading
            case .malformed:
                pickerFailed(call, .malformed)
                return
            }
        }
        takeMessages(carrier, call)
        if ended, exchanges.contains(carrier) { carrierEnded(carrier) }
    }

    /// Judges the head of the picker's answer; returns the bytes used, nil when the call is over.
    private mutating func hearHead(
        _ carrier: SlotID, _ call: SlotID, _ count: Int, of padded: Span<UInt8>
    ) -> Int? {
        switch responseHead.parse(padded, count: count, resumeAt: 0, requestMethod: .post) {
        case .complete(let consumed):
            if responseHead.status < 200 { return consumed }
            if responseHead.status == 200 {
                exchanges[carrier].phase = .answering
                calls[call].reader = ContentReader(responseHead.framing)
                return consumed
            }
            pickerFailed(call, responseHead.status == 503 ? .unreachable : .broken)
            return nil
        case .incomplete, .malformed:
            // A stream gives a head as a whole.
            pickerFailed(call, .malformed)
            return nil
        }
    }

    private mutating func takeMessages(_ carrier: SlotID, _ call: SlotID) {
        var bytes = Buffer()
        swap(&bytes, &calls[call].input)
        var from = 0
        reading: while calls.contains(call), calls[call].carrier == carrier {
            let rest = bytes.span.extracting(from..<bytes.count)
            switch GRPCFrame.read(rest, messageBytesMax: PickerCall.messageBytesMax) {
            case .message(let range):
                from += range.upperBound
                take(call, rest.extracting(range))
            case .incomplete: break reading
            case .refused: pickerFailed(call, .malformed)
            }
        }
        bytes.consume(from)
        if !bytes.isEmpty, calls.contains(call), calls[call].carrier == carrier {
            swap(&bytes, &calls[call].input)
        }
        buffers.reclaim(&bytes)
    }

    /// Carries out one message.
    private mutating func take(_ call: SlotID, _ bytes: Span<UInt8>) {
        guard let message = ProcessingResponse(bytes, 0..<bytes.count) else {
            pickerFailed(call, .malformed)
            return
        }
        if message.kind == .other { return }
        let carrier = calls[call].carrier
        exchanges[carrier].requestDeadline = 0
        switch message.kind {
        case .requestHeaders: takeChoice(call, message, bytes)
        case .requestBody: takeRequestPiece(call, message, bytes)
        case .requestTrailers: takeRequestEnd(call)
        case .answerHeaders: takeAnswerHead(call, message, bytes)
        case .answerBody: takeAnswerPiece(call, message, bytes)
        case .answerTrailers: takeAnswerEnd(call)
        case .immediate: takeImmediate(call, message, bytes)
        case .other: break
        }
        if calls.contains(call), calls[call].carrier == carrier { expectPicker(call) }
    }

    // MARK: - Time

    /// The picker has so long from when it is its turn.
    mutating func expectPicker(_ call: SlotID) {
        let carrier = calls[call].carrier
        if carrier == .none { return }
        let id = calls[call].exchange
        let isItsTurn =
            switch calls[call].stage {
            case .choosing: !mayTellRequest(id)
            case .chosen: !calls[call].request.hasEnded && !mayTellRequest(id) && mayHear(call)
            case .judging: true
            case .answering:
                mayHear(call)
                    && (calls[call].answer.hasEnded
                        ? !calls[call].request.hasEnded && !mayTellRequest(id)
                        : !mayTellAnswer(id))
            }
        if !isItsTurn {
            exchanges[carrier].requestDeadline = 0
        } else if exchanges[carrier].requestDeadline == 0 {
            exchanges[carrier].requestDeadline = now &+ UInt64(timeouts.pickerMilliseconds)
        }
        updateDeadline(exchange: carrier)
    }

    // MARK: - Ending

    /// The picker ended its stream, or its connection ended.
    mutating func carrierEnded(_ carrier: SlotID) {
        let call = exchanges[carrier].call
        if call == .none {
            drop(carrier: carrier)
            return
        }
        if calls[call].stage == .choosing, !calls[call].isSecond, exchanges[carrier].usedPooled,
            exchanges[carrier].phase == .awaitingHead
        {
            // A connection that had served before has died, as when the picker was started anew.
            askAgain(call)
            return
        }
        pickerFailed(call, .broken)
    }

    /// Begins the call anew, over another connection.
    private mutating func askAgain(_ call: SlotID) {
        let carrier = calls[call].carrier
        calls[call].carrier = .none
        exchanges[carrier].call = .none
        drop(carrier: carrier)
        calls[call].isSecond = true
        calls[call].hasChoice = false
        calls[call].request.forgetPieces()
        openCarrier(call)
    }

    /// The carrier is tried again: content that the picker was told is told anew.
    mutating func forgetTold(_ carrier: SlotID) {
        let call = exchanges[carrier].call
        if call != .none, calls[call].stage == .choosing { calls[call].request.forgetPieces() }
    }

    /// The exchange with the picker has failed in the way of any backend.
    mutating func carrierFailed(_ carrier: SlotID, _ reason: UpstreamFailure) {
        let call = exchanges[carrier].call
        if call == .none {
            drop(carrier: carrier)
            return
        }
        switch reason {
        case .requestTimeout, .attemptTimeout, .firstByteTimeout, .idleTimeout:
            pickerFailed(call, .timeout)
        case .connectRefused, .connectTimeout, .tls, .noEndpoint: pickerFailed(call, .unreachable)
        case .overloaded: pickerFailed(call, .overloaded)
        case .malformedAnswer: pickerFailed(call, .malformed)
        case .resetBeforeHead, .truncated: carrierEnded(carrier)
        }
    }

    /// The picker had its time.
    mutating func carrierTimedOut(_ carrier: SlotID) {
        let call = exchanges[carrier].call
        if call == .none {
            drop(carrier: carrier)
            return
        }
        // Who was told trailers may have nothing to say about them.
        let isAnswer = calls[call].stage == .answering
        if isAnswer, !calls[call].answer.trailers.isEmpty, calls[call].answer.isTold {
            endAnswer(call)
        } else if calls[call].stage == .chosen, !calls[call].request.trailers.isEmpty {
            endRequest(call)
        } else {
            pickerFailed(call, .timeout)
        }
    }

    /// Frees an exchange with a picker; what runs of it is cancelled.
    private mutating func drop(carrier: SlotID) {
        let upstream = exchanges[carrier].upstream
        if upstream != .none, upstreams.contains(upstream) { letGo(upstream) }
        stopWaiting(carrier)
        carriers -= 1
        remove(carrier)
    }

    /// How long a picker may take to end its stream when all is said.
    private static var farewellMilliseconds: UInt64 { 2_000 }

    /// Parts the call from its picker; `inPeace` lets it end its stream itself.
    mutating func partFromPicker(_ call: SlotID, inPeace: Bool) {
        let carrier = calls[call].carrier
        if carrier == .none { return }
        let upstream = stream(of: call)
        calls[call].carrier = .none
        exchanges[carrier].call = .none
        if inPeace, upstream != .none, !exchanges[carrier].requestBroken,
            exchanges[carrier].phase == .answering
        {
            var end = Buffer(capacity: 16)
            end.withFree { _ = HeadWriter.append("0\r\n\r\n", into: &$0) }
            let result = upstreams[upstream].link.send(end.span, &cipher, &buffers)
            if result == .taken {
                exchanges[carrier].requestDeadline = now &+ Self.farewellMilliseconds
                updateDeadline(exchange: carrier)
                if upstreams[upstream].link.isReadable { enqueue(upstream: upstream) }
                return
            }
        }
        drop(carrier: carrier)
    }

    /// All is said about the request and its answer: the exchange goes on without the picker.
    mutating func partIfDone(_ call: SlotID) {
        guard calls[call].isDone else { return }
        exchanges[calls[call].exchange].isProcessed = false
        partFromPicker(call, inPeace: true)
    }

    /// The request's exchange ends, and its call with it.
    mutating func leave(_ call: SlotID) {
        partFromPicker(call, inPeace: calls[call].answer.hasEnded)
        calls[call].release(&buffers)
        calls.destroy(call)
    }
}
