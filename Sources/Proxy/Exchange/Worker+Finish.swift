import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// Every way in which an exchange ends or begins anew.
extension Worker {
    // MARK: - The answer has ended

    /// The answer is complete: the backend's connection goes back or ends, the client's waits or ends.
    ///
    /// Not inlined: a call costs less than what a larger caller could not hold in registers.
    @inline(never)
    mutating func answerComplete(_ id: SlotID, leftover: Bool) {
        let upstream = exchanges[id].upstream
        let downstream = exchanges[id].downstream
        if exchanges[id].isProcessed { noteUnpassedRequest(id) }
        observe(id, .done)
        let end = Self.finish(
            &exchanges[id], &upstreams[upstream], &downstreams[downstream], leftover: leftover,
            isDraining: isDraining, lingerBytesMax: lingerBytesMax)
        if end.keepsUpstream {
            release(upstream: upstream)
        } else {
            letGo(upstream)
        }
        if end.next == .discard { discard(downstream, exchanges[id].request) }
        remove(id)
        if end.next == .awaitNext {
            awaitRequest(downstream)
        } else if end.next != .discard {
            self.end(downstream: downstream, end.next == .endPlain ? .plain : .linger)
        }
    }

    /// Parts an exchange from its connections and says what becomes of both.
    @inline(always)
    private static func finish(
        _ exchange: inout Exchange, _ upstream: inout Upstream, _ client: inout Downstream,
        leftover: Bool, isDraining: Bool, lingerBytesMax: Int
    ) -> (keepsUpstream: Bool, next: AfterAnswer) {
        exchange.upstream = .none
        client.exchange = .none
        let next = exchange.afterAnswer(
            client, isDraining: isDraining, lingerBytesMax: lingerBytesMax)
        return (!leftover && exchange.leavesUpstreamClean && upstream.isClean, next)
    }

    /// The backend's connection ended while an answer was owed or under way.
    @inline(never)
    mutating func answerEnded(_ upstream: SlotID, clean: Bool) {
        let id = upstreams[upstream].exchange
        if exchanges[id].isCarrier {
            carrierEnded(id)
            return
        }
        if exchanges[id].isMirror {
            mirrorEnded(id, clean: clean)
            return
        }
        if exchanges[id].isAsking {
            askingEnded(id, clean: clean)
            return
        }
        if exchanges[id].phase == .tunnel {
            endTunnel(id, .upstreamReset)
            return
        }
        if exchanges[id].phase == .answering {
            // A write that failed may have taken a reset with it: an end that is read behind it proves nothing.
            let isProven = !exchanges[id].requestBroken || exchanges[id].response.remaining != nil
            if clean, isProven, exchanges[id].response.inputEnded() {
                answerUntilCloseEnded(id)
            } else {
                letGo(upstream)
                cut(id, .truncated)
            }
            return
        }
        var reason = UpstreamFailure.resetBeforeHead
        if let stream = upstreams[upstream].link.stream, cipher.multiplexers.wasRefused(stream) {
            // As if nothing had been sent.
            exchanges[id].sentBytes = false
            if cipher.multiplexers[stream.connection].session.isShut { reason = .overloaded }
        }
        letGo(upstream)
        attemptFailed(id, reason)
    }

    /// Content that ends with the connection has ended: the client is told as its framing tells it.
    private mutating func answerUntilCloseEnded(_ id: SlotID) {
        if toldUntilClose(id) { return }
        if exchanges[id].answerFraming == .chunked {
            var last = Buffer()
            swap(&last, &output)
            last.removeAll()
            if isRestoring(id) { finishRestoring(id, into: &last) }
            Relay.end(&last, inTrailers: exchanges[id].answerTrailers)
            let downstream = exchanges[id].downstream
            exchanges[id].sentToClient += UInt64(last.count)
            let result = downstreams[downstream].link.send(last.span, &cipher, &buffers)
            swap(&last, &output)
            if result == .failed {
                clientIsGone(downstream)
                return
            }
        }
        exchanges[id].upstreamSpoiled = true
        answerComplete(id, leftover: false)
    }

    /// The backend broke HTTP before its answer's head was passed on.
    @inline(never)
    mutating func answerMalformed(_ id: SlotID, _ upstream: SlotID) {
        letGo(upstream)
        fail(id, .malformedAnswer)
    }

    // MARK: - Failures of the backend

    /// The answer broke off: the client's connection is cut so that it cannot take the answer for a whole one.
    @inline(never)
    mutating func cut(_ id: SlotID, _ reason: UpstreamFailure) {
        shard.countUpstreamFailure(series: exchanges[id].decision.backendSeries, reason: reason)
        let downstream = exchanges[id].downstream
        let text = reason.text
        observe(id, reason == .idleTimeout ? .idleTimeout : .truncated, text.utf8Span.span)
        let showsCut = exchanges[id].answerFraming != .untilClose
        remove(id)
        downstreams[downstream].exchange = .none
        end(downstream: downstream, showsCut ? .cut : .reset)
    }

    /// Where Host names the endpoint, another endpoint gets its own.
    mutating func nameEndpoint(_ id: SlotID, _ endpoint: Int32) -> Bool {
        guard exchanges[id].namesEndpoint else { return true }
        let range = clusters.endpoints[Int(endpoint)].authority
        let start = Int(exchanges[id].record.head.start)
        let count = exchanges[id].buffer.count + Int(range.count)
        let isHeld = BufferPool.isHeld(exchanges[id].buffer)
        guard var new = buffers.take(capacity: count, isHeld: isHeld) else { return false }
        var old = Buffer()
        swap(&old, &exchanges[id].buffer)
        let value = HeadLines.value("host:", in: old.span, from: start)
        _ = new.append(old.span.extracting(first: value.lowerBound))
        _ = new.append(clusters.arena.span.extracting(range.range))
        _ = new.append(old.span.extracting(value.upperBound..<old.count))
        let grown = Int(range.count) - value.count
        if exchanges[id].record.requestID.end > value.upperBound {
            let start = Int(exchanges[id].record.requestID.start) + grown
            exchanges[id].record.requestID.start = UInt32(start)
        }
        exchanges[id].record.head.count = UInt32(Int(exchanges[id].record.head.count) + grown)
        buffers.reclaim(&old)
        swap(&new, &exchanges[id].buffer)
        return true
    }

    /// A failure that was counted already becomes the client's answer.
    mutating func answerFailure(
        _ id: SlotID, _ reason: UpstreamFailure, isOverBudget: Bool = false
    ) {
        if exchanges[id].isCarrier {
            carrierFailed(id, reason)
            return
        }
        if exchanges[id].isMirror {
            failMirror(id)
            return
        }
        if exchanges[id].isAsking {
            askingFailed(id, by: reason)
            return
        }
        let downstream = exchanges[id].downstream
        if exchanges[id].upstream != .none { letGo(exchanges[id].upstream) }
        stopWaiting(id)
        let isExhausted =
            reason == .resetBeforeHead && exchanges[id].hasRetryRule && exchanges[id].attempts > 1
        let reply: LocalReply = isExhausted ? .retriesExhausted : LocalReply(reason)
        replyAndFinish(id, downstream, isOverBudget ? .retryBudgetSpent : reply)
    }

    /// The exchange fails for good before an answer began.
    mutating func fail(_ id: SlotID, _ reason: UpstreamFailure) {
        shard.countUpstreamFailure(series: exchanges[id].decision.backendSeries, reason: reason)
        answerFailure(id, reason)
    }

    /// The backend takes no more of the request; its answer may stand in the socket all the same.
    @inline(never)
    mutating func requestWriteFailed(_ id: SlotID) {
        let upstream = exchanges[id].upstream
        exchanges[id].requestBroken = true
        exchanges[id].upstreamSpoiled = true
        guard upstream != .none, upstreams.contains(upstream) else { return }
        upstreams[upstream].link.discardOutput(&buffers)
        upstreams[upstream].link.peerEnded = true
        upstreams[upstream].link.isReadable = true
        enqueue(upstream: upstream)
    }

    // MARK: - Failures of the client

    /// The request's content breaks its framing.
    mutating func requestMalformed(_ id: SlotID, _ problem: Malformed) {
        let downstream = exchanges[id].downstream
        let upstream = exchanges[id].upstream
        shard.add(.malformedRequests, 1)
        if upstream != .none { letGo(upstream) }
        if exchanges[id].phase == .answering {
            observe(id, .clientCancel, ByteScan.bytes("malformed_request"))
            remove(id)
            downstreams[downstream].exchange = .none
            end(downstream: downstream, .reset)
            return
        }
        exchanges[id].keepsAlive = false
        replyAndFinish(id, downstream, .malformed(problem))
    }

    /// Chunked content grew over the limit: the backend's work ends, the client is told if that is still possible.
    mutating func requestTooLarge(_ id: SlotID) {
        let downstream = exchanges[id].downstream
        let upstream = exchanges[id].upstream
        if upstream != .none { letGo(upstream) }
        if exchanges[id].phase == .answering {
            cut(id, .truncated)
            return
        }
        exchanges[id].keepsAlive = false
        replyAndFinish(id, downstream, .contentTooLarge)
    }

    /// The client's connection is broken or ended: its exchange is cancelled at once.
    @inline(never)
    mutating func clientIsGone(_ id: SlotID) { close(downstream: id) }

    /// An exchange whose client is gone: the backend's connection is closed in this tick, which stops its work.
    mutating func abandon(_ id: SlotID) {
        if exchanges[id].isTunnel {
            forget(tunnel: id, .clientCancel)
            return
        }
        let upstream = exchanges[id].upstream
        let ended: Ended = exchanges[id].streamEnd?.hasEnded == true ? .done : .clientCancel
        if ended == .clientCancel, exchanges[id].poolRequest != .none { leavePool(id, .cancelled) }
        if ended == .clientCancel { shard.add(.clientCancels, 1) }
        if ended == .clientCancel, exchanges[id].isMirrored { cutMirrors(of: id) }
        observe(id, ended)
        if upstream != .none, upstreams.contains(upstream) { letGo(upstream) }
        stopWaiting(id)
        remove(id)
    }

    /// Input or an end from the client while an exchange runs.
    mutating func clientSpokeDuringExchange(_ id: SlotID, _ input: inout Buffer) {
        let exchange = downstreams[id].exchange
        if exchanges[exchange].isReplaying {
            continueReplay(exchange)
            guard exchanges.contains(exchange) else { return }
        }
        if !exchanges[exchange].requestDone, !exchanges[exchange].requestBroken {
            if exchanges[exchange].phase == .connecting, !exchanges[exchange].isProcessed {
                if downstreams[id].link.peerEnded { judgeHangUp(id, &input) }
                return
            }
            pumpRequest(exchange, &input)
            guard hangsUpBehindPicker(id) else { return }
        }
        if downstreams[id].link.peerEnded, !downstreams[id].halfClosed { judgeHangUp(id, &input) }
    }

    /// A FIN while an answer is owed: with a whole request behind it, it only ends the sending; else it cancels.
    private mutating func judgeHangUp(_ id: SlotID, _ input: inout Buffer) {
        let exchange = downstreams[id].exchange
        let broken = readBehindRequest(id, &input)
        guard downstreams.contains(id) else { return }
        if !broken, exchanges[exchange].requestDone, allowsHalfClose(exchange) || pipelined(id) {
            downstreams[id].halfClosed = true
            return
        }
        // The last bytes of the answer may be here already: then it is done, not cancelled.
        let upstream = exchanges[exchange].upstream
        if exchanges[exchange].phase == .answering, upstream != .none,
            upstreams[upstream].link.isReadable
        {
            pumpAnswer(upstream, &input)
        }
        guard downstreams.contains(id), downstreams[id].exchange == exchange else { return }
        close(downstream: id)
    }

    /// Takes what stands behind the request into `input`; true when the connection is broken.
    private mutating func readBehindRequest(_ id: SlotID, _ input: inout Buffer) -> Bool {
        var left = Scratch.readBytes
        while left > 0 {
            input.removeAll()
            let result = downstreams[id].link.read(into: &input, &cipher, &buffers)
            left -= max(input.count, 1)
            if result == .bytes { keep(downstream: id, input.span) }
            switch result {
            case .bytes:
                if !downstreams.contains(id) { return true }
            case .wouldBlock, .end: return false
            case .failed: return true
            }
        }
        return false
    }

    /// Whether a whole request waits in `input`.
    private mutating func pipelined(_ id: SlotID) -> Bool {
        var waiting = Buffer()
        swap(&waiting, &downstreams[id].input)
        var isWhole = false
        if exchanges[downstreams[id].exchange].isAuthorizing {
            isWhole = pipelinesBehindWaiting(waiting.span)
        } else if case .complete = requestHead.parse(waiting.span, resumeAt: 0) {
            isWhole = true
        }
        swap(&waiting, &downstreams[id].input)
        return isWhole
    }

    private func allowsHalfClose(_ id: SlotID) -> Bool {
        exchanges[id].allowsHalfClose
    }

    /// The client's own timer while an exchange runs: its content stopped, or it takes nothing.
    mutating func exchangeClientStalled(_ id: SlotID) {
        let exchange = downstreams[id].exchange
        shard.add(.clientTimeouts, 1)
        if exchanges[exchange].phase == .answering || downstreams[id].link.isCongested {
            close(downstream: id)
            return
        }
        let upstream = exchanges[exchange].upstream
        if upstream != .none { letGo(upstream) }
        stopWaiting(exchange)
        exchanges[exchange].keepsAlive = false
        replyAndFinish(exchange, id, .requestContentTimeout)
    }

    /// `timeouts.request` or `timeouts.backendRequest` has passed, or the time until a request is tried again.
    mutating func exchangeTimedOut(_ id: SlotID) {
        if exchanges[id].isCarrier {
            carrierTimedOut(id)
            return
        }
        if exchanges[id].isAsking {
            askingFailed(id, .timeout)
            return
        }
        if exchanges[id].isAuthorizing {
            waitedTooLong(id)
            return
        }
        let isRequest =
            exchanges[id].requestDeadline != 0 && exchanges[id].requestDeadline <= now
        if !isRequest, exchanges[id].wait == .retry {
            tryAgain(id)
            return
        }
        let upstream = exchanges[id].upstream
        if upstream != .none { letGo(upstream) }
        stopWaiting(id)
        if exchanges[id].phase == .answering, !exchanges[id].isMirror {
            cut(id, isRequest ? .requestTimeout : .attemptTimeout)
        } else if isRequest || waitsForPool(id) {
            fail(id, isRequest ? .requestTimeout : .attemptTimeout)
        } else {
            attemptFailed(id, .attemptTimeout)
        }
    }

    // MARK: - The end of the slot

    /// Frees an exchange's slot and what it holds.
    @inline(always)
    mutating func remove(_ id: SlotID) {
        if exchanges[id].marks.isEmpty { free(id) } else { removeMarked(id) }
    }

    /// The same for an exchange with marks, which leaves its pool, its picker and its mirrors first.
    @inline(never)
    private mutating func removeMarked(_ id: SlotID) {
        stopWaiting(id)
        if exchanges[id].isMirror {
            partFromRequest(id)
        } else if exchanges[id].isMirrored {
            leaveMirrors(of: id)
        }
        if exchanges[id].poolRequest != .none { endPooled(id) }
        if exchanges[id].call != .none, !exchanges[id].isCarrier { leave(exchanges[id].call) }
        free(id)
    }

    @inline(always)
    private mutating func free(_ id: SlotID) {
        let held = exchanges[id].giveUp(to: &buffers)
        release(generation: held.generation)
        if held.isRetry { retriesRunning -= 1 }
        exchanges.destroy(id)
    }
}
