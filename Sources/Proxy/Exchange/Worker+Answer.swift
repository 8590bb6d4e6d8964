import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// From the first byte of a backend's answer to the last byte at the client.
extension Worker {
    /// Reads what the backend says and passes it on until one of them has to wait.
    @inline(always)
    mutating func pumpAnswer(_ upstream: SlotID, _ input: inout Buffer) {
        var left = pumpAnswerOnce(upstream, &input, Scratch.tickBytes)
        while let some = left { left = pumpMore(upstream, &input, some) }
    }

    /// As `pumpAnswerOnce`, into a larger buffer where the first read was full and its bytes were sealed and taken.
    @inline(never)
    private mutating func pumpMore(_ upstream: SlotID, _ input: inout Buffer, _ left: Int) -> Int? {
        let exchange = upstreams[upstream].exchange
        guard left >= Scratch.bulkBytes, upstreams[upstream].link.isPlain,
            exchanges[exchange].marks.isDisjoint(with: .watched),
            downstreams[exchanges[exchange].downstream].link.isSealed
        else { return pumpAnswerOnce(upstream, &input, left) }
        swap(&input, &bulk)
        defer { swap(&input, &bulk) }
        return pumpAnswerOnce(upstream, &input, left)
    }

    /// Reads once and passes it on; what is left then of the bytes of this tick, nil when it is not to go on.
    @inline(never)
    private mutating func pumpAnswerOnce(
        _ upstream: SlotID, _ input: inout Buffer, _ left: Int
    ) -> Int? {
        let exchange = upstreams[upstream].exchange
        if !exchanges[exchange].marks.isDisjoint(with: Self.otherwiseRead) {
            if exchanges[exchange].isMirror { return dropAnswer(upstream, &input, left) }
            if exchanges[exchange].isCarrier { return hearPicker(upstream, &input, left) }
            if exchanges[exchange].isAsking { return hearLeave(upstream, &input, left) }
            if exchanges[exchange].marks.contains(.splicesAnswer) {
                return spliceAnswer(exchange, upstream, left)
            }
            if !mayReadPicked(exchange) { return nil }
        }
        // A client that does not take the answer stops its being read.
        if downstreams[exchanges[exchange].downstream].link.isCongested { return nil }
        if !upstreams[upstream].link.isReadable { return nil }
        if left <= 0 {
            enqueue(upstream: upstream)
            return nil
        }
        let hasKept = !upstreams[upstream].input.isEmpty
        input.removeAll()
        let (result, isReadable) = Self.read(
            &upstreams[upstream].link, into: &input, &cipher, &buffers)
        let count = input.count
        switch result {
        case .bytes:
            if hasKept {
                useKeptAnswer(exchange, upstream, input.span)
            } else {
                receivedAnswer(exchange, upstream, count, of: input.padded())
            }
        case .wouldBlock: return nil
        case .end(let clean): answerEnded(upstream, clean: clean)
        case .failed: answerEnded(upstream, clean: false)
        }
        return isReadable && isAnswering(upstream) ? left &- count : nil
    }

    /// Marks of exchanges whose answer is read in another way than most.
    @inline(always)
    private static var otherwiseRead: ExchangeMarks {
        [.carrier, .processed, .mirror, .asking, .splicesAnswer]
    }

    /// Reads once; says also whether there may be more.
    @inline(always)
    private static func read(
        _ link: inout Link, into input: inout Buffer, _ cipher: inout CipherBuffers,
        _ buffers: inout BufferPool
    ) -> (LinkRead, isReadable: Bool) {
        let result = link.read(into: &input, &cipher, &buffers)
        return (result, link.isReadable)
    }

    /// Whether a connection still carries an exchange.
    @inline(always)
    private func isAnswering(_ upstream: SlotID) -> Bool {
        upstreams.contains(upstream) && upstreams[upstream].phase == .active
    }

    /// Goes on after the client has taken what was stuck.
    mutating func resumeAnswer(_ exchange: SlotID, _ input: inout Buffer) {
        guard exchange != .none, exchanges.contains(exchange) else { return }
        if exchanges[exchange].isProcessed { resumePicker(exchange) }
        let upstream = exchanges[exchange].upstream
        if upstream != .none, upstreams.contains(upstream), upstreams[upstream].phase == .active {
            pumpAnswer(upstream, &input)
        }
    }

    /// Bytes of an answer of which none were kept.
    @inline(always)
    private mutating func receivedAnswer(
        _ exchange: SlotID, _ upstream: SlotID, _ count: Int, of padded: Span<UInt8>
    ) {
        // Without kept bytes no head is incomplete.
        let used = useStep(exchange, upstream, count, of: padded, resumeAt: 0)
        if used < count { useRest(exchange, upstream, count, of: padded, from: used) }
    }

    /// Uses what was kept of an answer with what came.
    @inline(never)
    mutating func useKeptAnswer(
        _ exchange: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>
    ) {
        var kept = Buffer()
        swap(&kept, &upstreams[upstream].input)
        if buffers.append(bytes, to: &kept) {
            useAnswer(exchange, upstream, kept.count, of: kept.padded(), from: 0)
        } else {
            answerEnded(upstream, clean: false)
        }
        buffers.reclaim(&kept)
    }

    /// Uses `count` bytes of an answer from `start` on; what cannot be used yet is kept with the connection.
    @inline(never)
    private mutating func useAnswer(
        _ exchange: SlotID, _ upstream: SlotID, _ count: Int, of padded: Span<UInt8>,
        from start: Int
    ) {
        var from = start
        repeat {
            let rest = padded.extracting(from..<padded.count)
            let scanned = Int(upstreams[upstream].headScanned)
            let used = useStep(exchange, upstream, count &- from, of: rest, resumeAt: scanned)
            from &+= used
            if from == count { return }
            if used == 0 { break }
        } while isAnswering(upstream)
        keepAnswer(upstream, padded.extracting(from..<count))
    }

    /// Goes on with an answer of which some bytes were used, or none.
    @inline(never)
    private mutating func useRest(
        _ exchange: SlotID, _ upstream: SlotID, _ count: Int, of padded: Span<UInt8>,
        from used: Int
    ) {
        if used > 0, isAnswering(upstream) {
            useAnswer(exchange, upstream, count, of: padded, from: used)
        } else {
            keepAnswer(upstream, padded.extracting(used..<count))
        }
    }

    /// Uses a head and what is behind it, or content; returns the bytes used of `count`.
    @inline(always)
    private mutating func useStep(
        _ exchange: SlotID, _ upstream: SlotID, _ count: Int, of padded: Span<UInt8>,
        resumeAt scanned: Int
    ) -> Int {
        if exchanges[exchange].phase == .awaitingHead {
            return useHead(exchange, upstream, count, of: padded, resumeAt: scanned)
        }
        return passContent(exchange, upstream, ByteScan.part(padded, 0, count))
    }

    /// Keeps bytes of an answer that cannot be used yet.
    @inline(never)
    private mutating func keepAnswer(_ upstream: SlotID, _ bytes: Span<UInt8>) {
        guard upstreams.contains(upstream) else { return }
        if upstreams[upstream].phase == .idle {
            // Bytes after the end of an answer are seen by nobody.
            close(upstream: upstream)
        } else if !buffers.append(bytes, to: &upstreams[upstream].input) {
            answerEnded(upstream, clean: false)
        }
    }

    // MARK: - The head

    @inline(always)
    private mutating func useHead(
        _ exchange: SlotID, _ upstream: SlotID, _ count: Int, of padded: Span<UInt8>,
        resumeAt scanned: Int
    ) -> Int {
        let method = exchanges[exchange].method
        switch responseHead.parseInPlace(
            padded, count: count, resumeAt: scanned, requestMethod: method)
        {
        case .complete(let consumed):
            if scanned != 0 { upstreams[upstream].headScanned = 0 }
            if responseHead.status < 200 {
                return consumed
                    &+ useInterim(
                        exchange, upstream, ByteScan.part(padded, consumed, count))
            }
            let bytes = ByteScan.part(padded, 0, count)
            if !exchanges[exchange].marks.isEmpty {
                return passMarkedHead(exchange, upstream, bytes, headBytes: consumed)
            }
            return consumed &+ passHead(exchange, upstream, bytes, headBytes: consumed)
        case .incomplete(let scanned):
            upstreams[upstream].headScanned = Int32(truncatingIfNeeded: scanned)
            return 0
        case .malformed:
            answerMalformed(exchange, upstream)
            return 0
        }
    }

    /// Passes a 1xx answer on, or begins what a 101 promises; returns the bytes behind it that were used.
    @inline(never)
    private mutating func useInterim(
        _ exchange: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>
    ) -> Int {
        if responseHead.status == 101, exchanges[exchange].isProcessed { partForUpgrade(exchange) }
        if responseHead.status == 101 { return switchProtocols(exchange, upstream, rest) }
        return interim(exchange, upstream) ? 0 : rest.count
    }

    /// Passes 1xx answers on, a bounded number; 100 was the gateway's own to say.
    ///
    /// False: the exchange has ended.
    private mutating func interim(_ exchange: SlotID, _ upstream: SlotID) -> Bool {
        exchanges[exchange].interimAnswers += 1
        if Int(exchanges[exchange].interimAnswers) > limits(of: exchange).interimAnswersMax {
            answerMalformed(exchange, upstream)
            return false
        }
        if responseHead.status == 100 || exchanges[exchange].version == .http10 { return true }
        responseHead.removeConnectionFields()
        let downstream = exchanges[exchange].downstream
        var head = Buffer()
        swap(&head, &output)
        head.removeAll()
        let fits = head.withFree { out in
            HeadWriter.write(
                response: responseHead, to: .http11, framing: .none, closes: false, into: &out)
        }
        let result =
            fits ? downstreams[downstream].link.send(head.span, &cipher, &buffers) : .taken
        swap(&head, &output)
        if result == .failed {
            clientIsGone(downstream)
            return false
        }
        exchanges[exchange].hasPassedInterim = true
        return true
    }

    /// The same as `passHead` for an exchange with marks; returns the bytes used, those of the head among them.
    @inline(never)
    private mutating func passMarkedHead(
        _ exchange: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, headBytes: Int
    ) -> Int {
        if exchanges[exchange].hasRetryRule, triesAgain(exchange, upstream, bytes, headBytes) {
            return bytes.count
        }
        if exchanges[exchange].poolRequest != .none, movesOn(exchange, upstream) {
            return bytes.count
        }
        exchanges[exchange].hasRetryRule = false
        if exchanges[exchange].isProcessed {
            responseHead.keepBytes(of: bytes, upTo: headBytes)
            showAnswer(exchange, upstream, bytes)
            return headBytes
        }
        if exchanges[exchange].upgrades { refuseEarlyBytes(exchange) }
        let restores = exchanges[exchange].poolRequest != .none && restoresModel(exchange, bytes)
        if exchanges[exchange].poolRequest != .none {
            beginTail(exchange, ByteScan.part(bytes, headBytes, bytes.count))
            if let token = sessionToken(exchange) {
                responseHead.keepBytes(of: bytes, upTo: headBytes)
                addSession(token)
            }
        }
        return headBytes
            &+ passHead(exchange, upstream, bytes, headBytes: headBytes, restores: restores)
    }

    /// Sends the final answer's head, which are the first bytes of `bytes`, with what of its content has come;
    /// returns the content bytes used.
    @inline(always)
    private mutating func passHead(
        _ exchange: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, headBytes: Int,
        restores: Bool = false
    ) -> Int {
        responseHead.removeConnectionFields()
        let plan = decideAnswer(exchange, upstream, bytes, restores: restores)
        if plan.hasFilters {
            responseHead.keepBytes(of: bytes, upTo: headBytes)
            if !applyResponseFilters(exchange) {
                answerMalformed(exchange, upstream)
                return 0
            }
        }
        let downstream = plan.downstream
        if downstreams[downstream].link.stream != nil {
            return passStreamHead(exchange, upstream, bytes, headBytes: headBytes)
        }
        let end = HeadWriter.usualEnd(
            of: responseHead, to: plan.version, framing: plan.framing, closes: plan.closes)
        // A sender may have ended the head with a bare LF, which is never sent on.
        guard end > 0, !plan.reframes, bytes[headBytes &- 2] == 0x0D else {
            return passWrittenHead(exchange, upstream, bytes, headBytes: headBytes)
        }
        let (part, result, released) = Self.passInPlace(
            &exchanges[exchange], to: &downstreams[downstream].link, bytes, headBytes: headBytes,
            end: end, &cipher, &buffers)
        release(generation: released)
        if plan.holdsMuch { forgetReplay(exchange) }
        return passed(
            exchange, upstream, downstream, part, result, bytes.count &- headBytes, isFirst: true)
    }

    /// The same for a head that has to be written.
    @inline(never)
    private mutating func passWrittenHead(
        _ exchange: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, headBytes: Int
    ) -> Int {
        let plan = exchanges[exchange].answerPlan
        responseHead.keepBytes(of: bytes, upTo: headBytes)
        let rest = ByteScan.part(bytes, headBytes, bytes.count)
        output.removeAll()
        guard Self.write(responseHead, plan, into: &output) else {
            answerMalformed(exchange, upstream)
            return 0
        }
        release(generation: exchanges[exchange].beginAnswering())
        if plan.holdsMuch { forgetReplay(exchange) }
        if plan.reframes { return reframe(exchange, upstream, rest, behindHead: true) }
        let downstream = plan.downstream
        let (part, result) = Self.pass(
            &exchanges[exchange], to: &downstreams[downstream].link, output, rest, &cipher,
            &buffers)
        return passed(exchange, upstream, downstream, part, result, rest.count, isFirst: true)
    }

    /// The same for a client's stream, which takes the lines where they are.
    @inline(never)
    private mutating func passStreamHead(
        _ exchange: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, headBytes: Int
    ) -> Int {
        let plan = exchanges[exchange].answerPlan
        let downstream = plan.downstream
        guard !plan.reframes, let stream = downstreams[downstream].link.stream else {
            return passWrittenHead(exchange, upstream, bytes, headBytes: headBytes)
        }
        let sent: Int
        if responseHead.bytes.isEmpty {
            sent = cipher.multiplexers.sendHead(
                stream, responseHead, bytes, headBytes: headBytes, framing: plan.framing, &buffers)
        } else {
            sent = cipher.multiplexers.sendHead(
                stream, responseHead, responseHead.bytes, headBytes: responseHead.bytes.count,
                framing: plan.framing, &buffers)
        }
        if sent == 0 {
            return passWrittenHead(exchange, upstream, bytes, headBytes: headBytes)
        }
        release(generation: exchanges[exchange].beginAnswering())
        if plan.holdsMuch { forgetReplay(exchange) }
        let rest = ByteScan.part(bytes, headBytes, bytes.count)
        let part = exchanges[exchange].answerPart(rest, headBytes: sent)
        let result = downstreams[downstream].link.send(
            ByteScan.part(rest, 0, part.upTo), &cipher, &buffers)
        return passed(exchange, upstream, downstream, part, result, rest.count, isFirst: true)
    }

    /// Sends an answer from where it was read: its head up to `end`, then its empty line with what of the content may
    /// go as it stands.
    @inline(always)
    private static func passInPlace(
        _ exchange: inout Exchange, to link: inout Link, _ bytes: Span<UInt8>, headBytes: Int,
        end: Int, _ cipher: inout CipherBuffers, _ buffers: inout BufferPool
    ) -> (Relay.Part, LinkWrite, released: Int32) {
        let released = exchange.beginAnswering()
        // CR and LF, as the caller has seen.
        let emptyLine = headBytes &- 2
        let part = exchange.answerPart(
            ByteScan.part(bytes, headBytes, bytes.count), headBytes: end &+ 2)
        let upTo = headBytes &+ part.upTo
        // Where no line before the empty one is left out, all of it is one range already.
        let cut = end == emptyLine ? upTo : end
        let result = link.send(
            ByteScan.part(bytes, 0, cut), then: ByteScan.part(bytes, max(cut, emptyLine), upTo),
            joining: true, &cipher, &buffers)
        return (part, result, released)
    }

    @inline(always)
    private static func write(
        _ head: borrowing ResponseHead, _ plan: AnswerPlan, into output: inout Buffer
    ) -> Bool {
        output.withFree { out in
            HeadWriter.write(
                response: head, to: plan.version, framing: plan.framing, closes: plan.closes,
                into: &out)
        }
    }

    @inline(never)
    mutating func applyResponseFilters(_ exchange: SlotID) -> Bool {
        Self.applyResponseFilters(generations, &exchanges[exchange], &responseHead)
            && tellOfAnswer(exchange)
    }

    private static func applyResponseFilters(
        _ generations: borrowing Slab<Generation>, _ exchange: inout Exchange,
        _ head: inout ResponseHead
    ) -> Bool {
        generations[UInt32(exchange.generation)].snapshot.table.applyResponseFilters(
            rule: exchange.decision.rule, backend: exchange.decision.backend,
            origin: exchange.buffer.span.extracting(exchange.record.origin.range), head: &head)
    }

    /// Reads from `responseHead`, which begins `bytes`, what it decides.
    @inline(always)
    mutating func decideAnswer(
        _ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, restores: Bool
    ) -> AnswerPlan {
        var facts = AnswerFacts(
            status: responseHead.status, framing: responseHead.framing,
            keepsAlive: responseHead.keepsAlive, isDraining: isDraining, restores: restores,
            isStream: false, now: nowNanoseconds)
        if let type = responseHead.value(.contentType), type.count >= ContentType.streamBytesMin {
            facts.isStream = ContentType.isStream(bytes.extracting(type.range))
        }
        noteKeepAlive(upstream)
        return exchanges[id].takeAnswer(facts)
    }

    /// Notes how long the backend says, in `responseHead`, that it keeps an idle connection.
    @inline(always)
    mutating func noteKeepAlive(_ upstream: SlotID) {
        if let seconds = responseHead.keepAliveTimeoutSeconds {
            upstreams[upstream].keepAliveMilliseconds =
                UInt32(clamping: max(min(seconds, 1_000_000) * 1000 - 1000, 1))
        }
    }

    /// A refused upgrade leaves a connection whose next bytes are a request, unless some have come already.
    @inline(never)
    mutating func refuseEarlyBytes(_ id: SlotID) {
        if exchanges[id].hasEarlyBytes(downstreams[exchanges[id].downstream]) {
            exchanges[id].keepsAlive = false
        }
    }

    /// Content kept for another attempt is of no use once an answer has begun.
    @inline(never)
    mutating func forgetReplay(_ id: SlotID) {
        if exchanges[id].isReplaying { return }
        let end = exchanges[id].record.head.end
        guard var small = buffers.take(capacity: max(end, 1)) else { return }
        _ = small.append(exchanges[id].buffer.span.extracting(first: end))
        swap(&small, &exchanges[id].buffer)
        exchanges[id].replayed = .max
        buffers.reclaim(&small)
    }

    // MARK: - Content

    /// Sends what of `bytes` is content of the answer; returns the bytes used.
    @inline(never)
    private mutating func passContent(
        _ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>
    ) -> Int {
        if !exchanges[id].marks.isEmpty, let used = passMarkedContent(id, upstream, bytes) {
            return used
        }
        if exchanges[id].answerReframes { return reframe(id, upstream, bytes) }
        let downstream = exchanges[id].downstream
        let (part, result) = Self.pass(
            &exchanges[id], to: &downstreams[downstream].link, Buffer(), bytes, &cipher, &buffers)
        let used = passed(id, upstream, downstream, part, result, bytes.count)
        if used == bytes.count || !exchanges.contains(id) || !exchanges[id].answerReframes {
            return used
        }
        return used &+ reframe(id, upstream, bytes.extracting(used..<bytes.count))
    }

    /// The same for an exchange with marks; nil when its content goes on as any other's.
    @inline(never)
    private mutating func passMarkedContent(
        _ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>
    ) -> Int? {
        if exchanges[id].poolRequest != .none { watchTail(id, bytes) }
        return exchanges[id].isProcessed ? tellAnswer(id, upstream, bytes) : nil
    }

    /// Sends `head` and what of `bytes` may go as it stands.
    @inline(always)
    private static func pass(
        _ exchange: inout Exchange, to link: inout Link, _ head: borrowing Buffer,
        _ bytes: Span<UInt8>, _ cipher: inout CipherBuffers, _ buffers: inout BufferPool
    ) -> (Relay.Part, LinkWrite) {
        let part = exchange.answerPart(bytes, headBytes: head.count)
        let content = ByteScan.part(bytes, 0, part.upTo)
        return (part, link.send(head.span, then: content, &cipher, &buffers))
    }

    /// After a part of the answer, the `isFirst` with its head, was given to the client's link: what comes next; returns the
    /// bytes used of `count`.
    @inline(always)
    private mutating func passed(
        _ id: SlotID, _ upstream: SlotID, _ downstream: SlotID, _ part: Relay.Part,
        _ result: LinkWrite, _ count: Int, isFirst: Bool = false
    ) -> Int {
        if result == .failed {
            clientIsGone(downstream)
            return count
        }
        if part.malformed != nil {
            letGo(upstream)
            cut(id, .malformedAnswer)
            return count
        }
        if part.finished {
            answerComplete(id, leftover: part.upTo < count)
        } else {
            relayed(id, upstream, downstream)
            if isFirst || count >= Relay.bulkBytesMin {
                planAnswer(id, upstream, downstream, isFirst: isFirst)
            }
        }
        return part.upTo
    }

    /// Decodes content and sends it framed anew; `behindHead`: behind the answer's head, which stands in `output`.
    @inline(never)
    private mutating func reframe(
        _ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, behindHead: Bool = false
    ) -> Int {
        var framed = Buffer()
        swap(&framed, &output)
        if !behindHead { framed.removeAll() }
        let used = passReframed(id, upstream, &framed, bytes)
        swap(&framed, &output)
        return used
    }

    /// Decodes content and sends it framed anew, behind what stands in `framed` already.
    @inline(never)
    private mutating func passReframed(
        _ id: SlotID, _ upstream: SlotID, _ framed: inout Buffer,
        _ bytes: Span<UInt8>
    ) -> Int {
        let downstream = exchanges[id].downstream
        // A head may take most of the buffer: then it goes alone.
        if framed.freeCapacity < Scratch.plaintextBytes {
            if !sendAnswer(id, framed.span) { return bytes.count }
            framed.removeAll()
        }
        var reader = exchanges[id].response
        let headBytes = framed.count
        let step: Relay.Reframed
        if isRestoring(id) {
            step = restore(id, &reader, bytes, into: &framed)
        } else {
            let piece = bytes.extracting(
                0..<Relay.framable(bytes.count, room: framed.freeCapacity))
            step = Relay.reframe(
                &reader, &exchanges[id].answerTrailers, piece, into: &framed,
                chunked: exchanges[id].answerFraming == .chunked,
                trailers: exchanges[id].acceptsTrailers)
        }
        exchanges[id].response = reader
        exchanges[id].scanEnd(framed.span.extracting(headBytes..<framed.count))
        if !sendAnswer(id, framed.span) { return bytes.count }
        if step.malformed != nil {
            letGo(upstream)
            cut(id, .malformedAnswer)
            return bytes.count
        }
        if step.finished {
            answerComplete(id, leftover: step.used < bytes.count)
            return step.used
        }
        relayed(id, upstream, downstream)
        if step.used >= Relay.bulkBytesMin {
            planAnswer(id, upstream, downstream, isFirst: false)
        }
        return step.used
    }

    /// Gives bytes of the answer to the client; false when the client is gone, and the exchange with it.
    private mutating func sendAnswer(_ id: SlotID, _ bytes: Span<UInt8>) -> Bool {
        let downstream = exchanges[id].downstream
        exchanges[id].sentToClient += UInt64(bytes.count)
        if downstreams[downstream].link.send(bytes, &cipher, &buffers) == .failed {
            clientIsGone(downstream)
            return false
        }
        return true
    }

    /// After a part of the answer: the backend's time begins anew, a client that is behind gets its own.
    @inline(always)
    mutating func relayed(_ id: SlotID, _ upstream: SlotID, _ downstream: SlotID) {
        setDeadline(upstream: upstream, in: exchanges[id].times.streamIdle)
        if downstreams[downstream].link.isCongested {
            setDeadline(downstream: downstream, in: exchanges[id].times.clientWriteStall)
        }
    }
}
