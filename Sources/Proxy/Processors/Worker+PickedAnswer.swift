import BasicContainers
import HTTP
import Kernel
import Protocols
import Runtime
import Telemetry

/// A picked backend's answer on its way through the picker that chose it.
extension Worker {
    // MARK: - To the picker

    /// Shows the answer's head, which is in `responseHead`, to the picker before the client gets it.
    @inline(never)
    mutating func showAnswer(_ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>) {
        let call = exchanges[id].call
        if exchanges[id].upgrades { refuseEarlyBytes(id) }
        let restores = exchanges[id].poolRequest != .none && restoresModel(id, bytes)
        let plan = decideAnswer(id, upstream, bytes, restores: restores)
        responseHead.removeConnectionFields()
        if plan.hasFilters, !applyResponseFilters(id) {
            answerMalformed(id, upstream)
            return
        }
        let isEmpty = plan.framing.isEmpty
        var framing = plan.framing
        if calls[call].sendsAnswers, !isEmpty {
            calls[call].processesAnswer = true
            // The picker may change it, so that nobody knows its length.
            framing = exchanges[id].version == .http10 ? .untilClose : .chunked
            exchanges[id].answerFraming = framing
            exchanges[id].answerReframes = true
        }
        let closes = plan.closes || framing == .untilClose
        exchanges[id].closesClient = closes
        var head = Buffer()
        swap(&head, &output)
        head.removeAll()
        let isWritten = head.withFree { out in
            HeadWriter.write(
                response: responseHead, to: plan.version, framing: framing, closes: closes,
                into: &out)
        }
        let isKept = isWritten && buffers.append(head.span, to: &calls[call].answerHead)
        swap(&head, &output)
        guard isKept else {
            answerMalformed(id, upstream)
            return
        }
        release(generation: exchanges[id].beginAnswering())
        if plan.holdsMuch { forgetReplay(id) }
        calls[call].stage = .judging
        setDeadline(upstream: upstream, in: exchanges[id].times.streamIdle)
        tellAnswerHead(call, isEmpty: isEmpty)
    }

    private mutating func tellAnswerHead(_ call: SlotID, isEmpty: Bool) {
        let id = calls[call].exchange
        var head = Buffer()
        swap(&head, &calls[call].answerHead)
        var served = Buffer(capacity: 64)
        if let address = address(
            ofEndpoint: exchanges[id].endpointID, exchanges[id].decision.clusterID)
        {
            served.withFree { Self.writeEndpoint(address, into: &$0) }
        }
        if var message = buffers.take(capacity: 2 * head.count + 1024) {
            let fits = message.withFree { out in
                ProcessingRequest.append(
                    answer: head.span, served: served.span, ends: isEmpty, into: &out)
            }
            if fits { tell(call, message.span, then: Span()) }
            buffers.give(message)
        }
        swap(&head, &calls[call].answerHead)
        if isEmpty { calls[call].answer.isTold = true }
        expectPicker(call)
    }

    /// An address with its port, as pickers write it.
    static func writeEndpoint(_ address: SocketAddress, into out: inout OutputSpan<UInt8>) {
        // An IPv4-mapped address is written as IPv4, without brackets.
        var host = Buffer(capacity: 64)
        host.withFree { address.writeHost(into: &$0) }
        let isBare = ByteScan.first(0x3A, host.span, from: 0, to: host.count) == host.count
        if !isBare { out.append(0x5B) }
        _ = HeadWriter.append(host.span, into: &out)
        if !isBare { out.append(0x5D) }
        out.append(0x3A)
        _ = HeadWriter.append(decimal: UInt64(address.port), into: &out)
    }

    /// Whether more of the answer may be read while its exchange has a picker.
    func mayReadPicked(_ id: SlotID) -> Bool {
        let call = exchanges[id].call
        switch calls[call].stage {
        case .choosing, .chosen: return true
        case .judging: return mayTellAnswer(id)
        case .answering: return !calls[call].processesAnswer || mayTellAnswer(id)
        }
    }

    /// Tells the picker content of the answer; returns the bytes used, nil when content goes to the client directly.
    mutating func tellAnswer(_ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>) -> Int? {
        let call = exchanges[id].call
        if !calls[call].processesAnswer { return calls[call].stage == .answering ? nil : 0 }
        if !mayTellAnswer(id) { return 0 }
        let start = calls[call].answer.held.count
        var reader = exchanges[id].response
        let taken = decode(bytes, &reader, call, .answer)
        exchanges[id].response = reader
        if taken.isFull || taken.malformed != nil {
            letGo(upstream)
            cut(id, taken.isFull ? .overloaded : .malformedAnswer)
            return bytes.count
        }
        let ends = reader.isFinished
        setDeadline(upstream: upstream, in: ends ? 0 : exchanges[id].times.streamIdle)
        if ends || calls[call].answer.held.count > start {
            tellContent(call, .answer, from: start, ends: ends)
        }
        return taken.used
    }

    /// An answer that ends with its connection has ended; true when its exchange goes on with the picker.
    mutating func toldUntilClose(_ id: SlotID) -> Bool {
        guard exchanges[id].isProcessed else { return false }
        let call = exchanges[id].call
        guard calls[call].processesAnswer else { return false }
        let upstream = exchanges[id].upstream
        exchanges[id].upstreamSpoiled = true
        upstreams[upstream].link.isReadable = false
        setDeadline(upstream: upstream, in: 0)
        if !calls[call].answer.isTold {
            tellContent(call, .answer, from: calls[call].answer.held.count, ends: true)
        }
        return true
    }

    // MARK: - To the client

    /// The picker has seen the answer's head.
    mutating func takeAnswerHead(
        _ call: SlotID, _ message: ProcessingResponse, _ bytes: Span<UInt8>
    ) {
        guard calls[call].stage == .judging else { return }
        guard let mutation = HeadMutation(bytes, message.mutation) else {
            pickerFailed(call, .malformed)
            return
        }
        var head = Buffer()
        swap(&head, &calls[call].answerHead)
        defer { buffers.reclaim(&head) }
        guard var new = buffers.take(capacity: head.count + 2 * bytes.count + 64) else {
            pickerFailed(call, .overloaded)
            return
        }
        let fits = new.withFree { out in
            mutation.append(head.span, bytes, framing: .asItIs, into: &out)
        }
        if fits { beginAnswer(call, new.span) } else { beginAnswer(call, head.span) }
        buffers.give(new)
    }

    /// Sends the answer's head to the client, and what of its content goes with it.
    private mutating func beginAnswer(_ call: SlotID, _ head: Span<UInt8>) {
        let id = calls[call].exchange
        let downstream = exchanges[id].downstream
        calls[call].stage = .answering
        exchanges[id].sentHeadBytes &+= UInt32(truncatingIfNeeded: head.count)
        if downstreams[downstream].link.send(head, &cipher, &buffers) == .failed {
            clientIsGone(downstream)
            return
        }
        if calls[call].processesAnswer {
            while calls.contains(call), calls[call].answer.keptPieces > 0 {
                calls[call].answer.keptPieces -= 1
                passAnswerPiece(call)
            }
            if calls.contains(call) { settleAnswer(call) }
            return
        }
        calls[call].answer.hasEnded = true
        let upstream = exchanges[id].upstream
        if exchanges[id].response.isFinished {
            answerComplete(id, leftover: !upstreams[upstream].input.isEmpty)
            return
        }
        partIfDone(call)
        resumeKeptAnswer(id)
    }

    /// The picker was told trailers, about which it may have nothing to say: if nothing else is open, that is the end.
    mutating func settleAnswer(_ call: SlotID) {
        if calls[call].stage == .answering, calls[call].processesAnswer, calls[call].answer.isTold,
            calls[call].answer.pieces == 0, !calls[call].answer.isReplaced
        {
            endAnswer(call)
        }
    }

    /// Goes on with content of the answer that waited.
    mutating func resumeKeptAnswer(_ id: SlotID) {
        let upstream = exchanges[id].upstream
        guard upstream != .none, upstreams.contains(upstream) else { return }
        if !upstreams[upstream].input.isEmpty {
            useKeptAnswer(id, upstream, Span())
            guard upstreams.contains(upstream), exchanges.contains(id) else { return }
        }
        if upstreams[upstream].link.isReadable { enqueue(upstream: upstream) }
    }

    /// The picker returned a piece of the answer's content, or said that it stays.
    mutating func takeAnswerPiece(
        _ call: SlotID, _ message: ProcessingResponse, _ bytes: Span<UInt8>
    ) {
        if calls[call].stage == .judging {
            if case .kept = message.body {
                if calls[call].answer.keptPieces < calls[call].answer.pieces {
                    calls[call].answer.keptPieces += 1
                }
            } else {
                pickerFailed(call, .malformed)
            }
            return
        }
        guard calls[call].stage == .answering, calls[call].processesAnswer,
            !calls[call].answer.hasEnded
        else { return }
        let id = calls[call].exchange
        switch message.body {
        case .kept: if calls[call].answer.pieces > 0 { passAnswerPiece(call) }
        case .replaced(let range):
            if calls[call].answer.pieces > 0 {
                let size = calls[call].answer.takePiece()
                calls[call].answer.held.consume(min(size, calls[call].answer.held.count))
            }
            if !sendPickedAnswer(id, bytes.extracting(range)) { return }
            if calls[call].answer.isTold, calls[call].answer.pieces == 0 { endAnswer(call) }
        case .streamed(let range, let ends):
            calls[call].answer.isReplaced = true
            buffers.reclaim(&calls[call].answer.held)
            if !sendPickedAnswer(id, bytes.extracting(range)) { return }
            if ends { endAnswer(call) }
        }
        if calls.contains(call), mayTellAnswer(id) { resumeKeptAnswer(id) }
    }

    /// The picker has nothing more to return.
    mutating func takeAnswerEnd(_ call: SlotID) {
        guard calls[call].stage == .answering, calls[call].processesAnswer else { return }
        // What it said nothing about stays as it was.
        while calls.contains(call), !calls[call].answer.isReplaced, calls[call].answer.pieces > 0 {
            passAnswerPiece(call)
        }
        if calls.contains(call) { endAnswer(call) }
    }

    /// Sends the oldest piece that is held on as it was.
    private mutating func passAnswerPiece(_ call: SlotID) {
        if calls[call].answer.isReplaced { return }
        let id = calls[call].exchange
        let size = calls[call].answer.takePiece()
        var held = Buffer()
        swap(&held, &calls[call].answer.held)
        let goesOn = sendPickedAnswer(id, held.span.extracting(first: size))
        held.consume(size)
        guard goesOn, calls.contains(call) else {
            buffers.reclaim(&held)
            return
        }
        swap(&held, &calls[call].answer.held)
        if calls[call].answer.isTold, calls[call].answer.pieces == 0 { endAnswer(call) }
    }

    /// Gives the client content; false when it is gone, and the exchange with it.
    private mutating func sendPickedAnswer(_ id: SlotID, _ content: Span<UInt8>) -> Bool {
        let downstream = exchanges[id].downstream
        let isChunked = exchanges[id].answerFraming == .chunked
        exchanges[id].scanEnd(content)
        var from = 0
        while from < content.count {
            let end = min(content.count, from + Scratch.readBytes)
            var framed = Buffer()
            swap(&framed, &output)
            framed.removeAll()
            Relay.append(content.extracting(from..<end), to: &framed, chunked: isChunked)
            exchanges[id].sentToClient += UInt64(framed.count)
            let result = downstreams[downstream].link.send(framed.span, &cipher, &buffers)
            swap(&framed, &output)
            if result == .failed {
                clientIsGone(downstream)
                return false
            }
            from = end
        }
        if downstreams[downstream].link.isCongested {
            setDeadline(downstream: downstream, in: exchanges[id].times.clientWriteStall)
        }
        return true
    }

    /// The client gets the end of the answer's content, and the exchange its own.
    mutating func endAnswer(_ call: SlotID) {
        let id = calls[call].exchange
        if calls[call].answer.hasEnded { return }
        let upstream = exchanges[id].upstream
        if !calls[call].answer.isTold {
            // The picker ended it before the backend did.
            exchanges[id].upstreamSpoiled = true
        }
        calls[call].answer.hasEnded = true
        if exchanges[id].answerFraming == .chunked {
            var end = Buffer()
            swap(&end, &calls[call].answer.trailers)
            if !exchanges[id].acceptsTrailers { end.removeAll() }
            writeEnd(&end)
            let downstream = exchanges[id].downstream
            exchanges[id].sentToClient += UInt64(end.count)
            let result = downstreams[downstream].link.send(end.span, &cipher, &buffers)
            buffers.reclaim(&end)
            if result == .failed {
                clientIsGone(downstream)
                return
            }
        }
        answerComplete(id, leftover: !upstreams[upstream].input.isEmpty)
    }

    /// An exchange that ends before its backend has the whole request leaves a connection that nobody else can use.
    mutating func noteUnpassedRequest(_ id: SlotID) {
        if !calls[exchanges[id].call].request.hasEnded { exchanges[id].upstreamSpoiled = true }
    }

    // MARK: - Without the picker

    /// The answer goes on without its picker, as it was; nothing that the picker returned has gone to the client.
    private mutating func answerUnpicked(_ call: SlotID) {
        let id = calls[call].exchange
        let wasTold = calls[call].answer.isTold
        partFromPicker(call, inPeace: false)
        if calls[call].stage == .judging {
            var head = Buffer()
            swap(&head, &calls[call].answerHead)
            let processes = calls[call].processesAnswer
            calls[call].answer.keptPieces = 0
            beginAnswer(call, head.span)
            buffers.reclaim(&head)
            guard processes, calls.contains(call), exchanges.contains(id) else {
                if exchanges.contains(id) { exchanges[id].isProcessed = false }
                return
            }
        }
        // Its end comes with the last piece that is held, if the picker had been told.
        while calls.contains(call), calls[call].answer.pieces > 0 { passAnswerPiece(call) }
        guard calls.contains(call) else { return }
        if wasTold {
            endAnswer(call)
            return
        }
        exchanges[id].isProcessed = false
        exchanges[id].answerTrailers = false
        resumeKeptAnswer(id)
    }

    // MARK: - Failures

    /// The picker is of no use any more: what that means depends on how far the exchange is.
    @inline(never)
    mutating func pickerFailed(_ call: SlotID, _ failure: PickerFailure) {
        count(failure)
        let id = calls[call].exchange
        switch calls[call].stage {
        case .choosing:
            partFromPicker(call, inPeace: false)
            if calls[call].opensOnFailure, failure != .overloaded {
                chooseUnpicked(call)
            } else {
                refusePicked(id, failure.reply)
            }
        case .chosen:
            if calls[call].request.isReplaced, !calls[call].request.hasEnded {
                refusePicked(id, .pickerFailed)
            } else {
                goOnUnpicked(call)
            }
        case .judging, .answering:
            if !calls[call].request.hasEnded {
                // Nobody completes the request.
                exchanges[id].upstreamSpoiled = true
                exchanges[id].requestBroken = true
            }
            if calls[call].answer.isReplaced {
                letGo(exchanges[id].upstream)
                cut(id, .truncated)
            } else if calls[call].stage == .answering, calls[call].answer.hasEnded {
                partFromPicker(call, inPeace: false)
                exchanges[id].isProcessed = false
            } else {
                answerUnpicked(call)
            }
        }
    }

    private mutating func count(_ failure: PickerFailure) {
        switch failure {
        case .unreachable: shard.add(.pickerUnreachable, 1)
        case .timeout: shard.add(.pickerTimeouts, 1)
        case .broken: shard.add(.pickerBroken, 1)
        case .malformed: shard.add(.pickerMalformed, 1)
        case .noEndpoint: shard.add(.pickerNoEndpoint, 1)
        case .contentTooLarge, .overloaded: shard.add(.pickerOverflows, 1)
        }
    }

    private mutating func refusePicked(_ id: SlotID, _ reply: LocalReply) {
        let upstream = exchanges[id].upstream
        if upstream != .none { letGo(upstream) }
        stopWaiting(id)
        replyAndFinish(id, exchanges[id].downstream, reply)
    }

    // MARK: - The picker's own answer

    /// The picker answers the client itself.
    mutating func takeImmediate(
        _ call: SlotID, _ message: ProcessingResponse, _ bytes: Span<UInt8>
    ) {
        let id = calls[call].exchange
        guard message.status >= 200, message.status < 600,
            let mutation = HeadMutation(bytes, message.mutation)
        else {
            pickerFailed(call, .malformed)
            return
        }
        let upstream = exchanges[id].upstream
        if upstream != .none { letGo(upstream) }
        stopWaiting(id)
        if calls[call].stage == .answering {
            cut(id, .truncated)
            return
        }
        let downstream = exchanges[id].downstream
        let closes =
            !exchanges[id].keepsAlive || isDraining || !exchanges[id].requestDone
            || exchanges[id].upgrades
        let hasRest = !exchanges[id].requestDone
        let facts = LocalFacts(
            dialect: dialect(of: id), isHead: exchanges[id].method == .head,
            version: exchanges[id].version, closes: closes)
        let status = facts.dialect == .grpc ? 200 : UInt16(message.status)
        exchanges[id].status = status
        observe(id, .localReply, ByteScan.bytes("picker_answer"))
        var out = Buffer()
        swap(&out, &output)
        out.removeAll()
        writeImmediate(message, mutation, bytes, status: status, facts, &out)
        let content = bytes.extracting(message.content)
        let hasContent = facts.dialect != .grpc && !facts.isHead
        let result = downstreams[downstream].link.send(
            out.span, then: hasContent ? content : Span(), &cipher, &buffers)
        swap(&out, &output)
        remove(id)
        downstreams[downstream].exchange = .none
        if result == .failed {
            close(downstream: downstream)
        } else {
            afterReply(downstream, closes: closes, hasRest: hasRest)
        }
    }

    private mutating func writeImmediate(
        _ message: ProcessingResponse, _ mutation: HeadMutation, _ bytes: Span<UInt8>,
        status: UInt16, _ facts: LocalFacts, _ out: inout Buffer
    ) {
        let seconds = wallMilliseconds / 1000
        out.withFree { out in
            LocalText.begin(status: status, facts, seconds: seconds, into: &out)
            _ = HeadWriter.append("x-gateway-error: picker_answer\r\n", into: &out)
            if facts.dialect == .grpc {
                let status = message.grpcStatus ?? (message.status == 429 ? 8 : 14)
                LocalText.call(
                    status: status, "The endpoint picker refused this call.", into: &out)
                return
            }
            _ = mutation.appendSet(Span(), bytes, into: &out)
            if message.status != 204, message.status != 304 {
                _ = HeadWriter.append("content-length: ", into: &out)
                _ = HeadWriter.append(decimal: UInt64(message.content.count), into: &out)
                _ = HeadWriter.append("\r\n", into: &out)
            }
            _ = HeadWriter.append("\r\n", into: &out)
        }
    }
}
