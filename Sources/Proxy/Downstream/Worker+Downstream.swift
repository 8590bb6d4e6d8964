import BasicContainers
import HTTP
import Kernel
import Runtime
import Telemetry

/// A client connection's events: what came, what can go, what took too long.
extension Worker {
    @inline(always)
    mutating func downstreamEvent(
        _ id: SlotID, _ readiness: Readiness, _ input: inout Buffer
    ) {
        let phase = downstreams[id].phase
        let state = downstreams[id].link.note(readiness)
        if phase == .reading, state == .readable {
            readRequests(id, &input)
        } else {
            unusualDownstreamEvent(id, readiness, &input)
        }
    }

    @inline(never)
    private mutating func unusualDownstreamEvent(
        _ id: SlotID, _ readiness: Readiness, _ input: inout Buffer
    ) {
        if readiness.contains(.writable), downstreams[id].link.isCongested {
            flush(downstream: id, &input)
            guard downstreams.contains(id) else { return }
        }
        if downstreams[id].link.isReadable { downstreamReady(id, &input) }
    }

    /// Input may be there, or earlier input may be usable now.
    mutating func downstreamReady(_ id: SlotID, _ input: inout Buffer) {
        switch downstreams[id].phase {
        case .introduction: readIntroduction(id)
        case .hello: readHello(id)
        case .handshaking: continueHandshake(id)
        case .reading: if mayReadRequest(id) { readRequests(id, &input) }
        case .exchanging: clientSpokeDuringExchange(id, &input)
        case .discarding, .lingering: discardInput(id, &input)
        case .closing:
            // Who has only ended its sending gets what is left; who is gone shows it when that is sent.
            if downstreams[id].link.peerEnded, !downstreams[id].link.isCongested {
                close(downstream: id)
            }
        case .multiplexing: readFrames(downstream: id, &input)
        case .tunnel: pumpTunnel(downstreams[id].exchange, from: .client, &input)
        }
    }

    /// Offers stuck bytes to the client again; goes on with whatever waited for that.
    private mutating func flush(downstream id: SlotID, _ input: inout Buffer) {
        if downstreams[id].link.flush(&buffers) == .failed {
            if downstreams[id].phase == .tunnel {
                tunnelBroke(downstreams[id].exchange, .client)
            } else {
                clientIsGone(id)
            }
            return
        }
        let stalled = downstreams[id].link.isCongested
        switch downstreams[id].phase {
        case .exchanging:
            let exchange = downstreams[id].exchange
            setDeadline(
                downstream: id, in: stalled ? exchanges[exchange].times.clientWriteStall : 0)
            if !stalled { resumeAnswer(exchange, &input) }
        case .closing:
            if stalled {
                setDeadline(downstream: id, in: timeouts.clientWriteStallMilliseconds)
            } else {
                endNow(id)
            }
        case .reading: flushedBetweenRequests(id)
        case .multiplexing:
            if !stalled { cipher.multiplexers.noteOutput(downstreams[id].multiplexer) }
            armMultiplexing(downstream: id)
        case .tunnel:
            if !stalled { tunnelFlushed(downstreams[id].exchange, to: .client, &input) }
        case .introduction, .hello, .handshaking, .discarding, .lingering: break
        }
    }

    /// A client has taken some of what was stuck of its answer, or all: the time that it has for the rest, or for its next
    /// request, begins.
    private mutating func flushedBetweenRequests(_ id: SlotID) {
        if downstreams[id].naming != .none || isReadForLeave(id) {
            // It was told to go on with content that is read before its route is chosen, whose time runs.
            if !downstreams[id].link.isCongested { enqueue(downstream: id) }
        } else {
            awaitRequest(id)
        }
    }

    // MARK: - Reading

    /// Reads and answers requests until input ends, one is under way, or others are to have their turn; nothing may be
    /// stuck.
    @inline(always)
    mutating func readRequests(_ id: SlotID, _ input: inout Buffer) {
        var left: Int? = Scratch.tickBytes
        while let some = left { left = readRequest(id, &input, some) }
    }

    /// Reads once; what is left then of the bytes of this tick, nil when it is not to go on.
    @inline(never)
    private mutating func readRequest(
        _ id: SlotID, _ input: inout Buffer, _ left: Int
    ) -> Int? {
        if !downstreams[id].input.isEmpty { return readBehindStash(id, &input, left) }
        guard downstreams[id].link.isReadable else { return nil }
        if left <= 0 {
            enqueue(downstream: id)
            return nil
        }
        input.removeAll()
        let result = downstreams[id].link.read(into: &input, &cipher, &buffers)
        let count = input.count
        switch result {
        case .bytes: if received(id, count, of: input.padded()) { return nil }
        case .wouldBlock: return nil
        case .end, .failed: close(downstream: id)
        }
        return goesOn(id) ? left &- count : nil
    }

    /// The same where bytes were kept: first they are used, then what comes is put behind them.
    @inline(never)
    private mutating func readBehindStash(
        _ id: SlotID, _ input: inout Buffer, _ left: Int
    ) -> Int? {
        if useStash(id) { return goesOn(id) ? left : nil }
        guard downstreams.contains(id), downstreams[id].phase == .reading,
            downstreams[id].link.isReadable
        else { return nil }
        if left <= 0 {
            enqueue(downstream: id)
            return nil
        }
        if readsInPlace(id) {
            guard let count = readInPlace(id, atMost: left) else { return nil }
            return goesOn(id) ? left &- count : nil
        }
        input.removeAll()
        switch downstreams[id].link.read(into: &input, &cipher, &buffers) {
        case .bytes: keep(downstream: id, input.span)
        case .wouldBlock: return nil
        case .end, .failed: close(downstream: id)
        }
        return goesOn(id) ? left &- input.count : nil
    }

    /// Whether another request may be read; if not, content of the one that was read may be waiting.
    @inline(always)
    private mutating func goesOn(_ id: SlotID) -> Bool {
        if mayReadRequest(id) { return true }
        goOnWithContent(id)
        return false
    }

    /// Answers leave in order: nothing new is begun while one is stuck.
    @inline(always)
    private func mayReadRequest(_ id: SlotID) -> Bool {
        downstreams.contains(id) && downstreams[id].phase == .reading
            && !downstreams[id].link.isCongested
    }

    /// Content that this read did not reach, or that waits for the backend, announces itself with no edge.
    @inline(always)
    mutating func goOnWithContent(_ id: SlotID) {
        guard downstreams.contains(id), downstreams[id].phase == .exchanging else { return }
        let exchange = downstreams[id].exchange
        if exchange != .none, exchanges[exchange].takesContent { enqueue(downstream: id) }
    }

    /// New bytes of a client between requests, `count` of `padded`, used from where they are since none were kept; true
    /// when they were a whole request, which is sent.
    @inline(always)
    private mutating func received(_ id: SlotID, _ count: Int, of padded: Span<UInt8>) -> Bool {
        // Without kept bytes no head is incomplete.
        let begun = useInput(id, count, of: padded, resumeAt: 0)
        if begun.used < count, downstreams.contains(id) {
            keep(downstream: id, padded.extracting(begun.used..<count))
        }
        return begun.isSent
    }

    /// Uses what was kept; false when nothing of it could be used without more.
    @inline(never)
    private mutating func useStash(_ id: SlotID) -> Bool {
        let waiting = downstreams[id].input.count
        if waiting == 0 || waiting == Int(downstreams[id].headTried) { return false }
        var stash = Buffer()
        swap(&stash, &downstreams[id].input)
        let scanned = Int(downstreams[id].headScanned)
        let used = useInput(id, stash.count, of: stash.padded(), resumeAt: scanned).used
        restore(&stash, used: used, id)
        return used > 0
    }

    /// Puts kept bytes back in front of a connection, less what was used of them.
    mutating func restore(_ stash: inout Buffer, used: Int, _ id: SlotID) {
        stash.consume(used)
        if stash.isEmpty || !downstreams.contains(id) {
            buffers.reclaim(&stash)
        } else {
            swap(&stash, &downstreams[id].input)
        }
    }

    /// Keeps bytes that cannot be used yet.
    mutating func keep(downstream id: SlotID, _ bytes: Span<UInt8>) {
        if downstreams[id].naming == .none, !isReadForLeave(id) {
            if !buffers.append(bytes, to: &downstreams[id].input) { close(downstream: id) }
        } else if buffers.hold(bytes, in: &downstreams[id].input, expected: expectedBytes(id)) {
            tendBuffers()
        } else {
            refuseUnheld(id, .overloaded)
        }
    }

    /// Parses one head at the start of `count` bytes of `padded` and begins its exchange.
    @inline(always)
    private mutating func useInput(
        _ id: SlotID, _ count: Int, of padded: Span<UInt8>, resumeAt scanned: Int
    ) -> Begun {
        switch requestHead.parse(padded, count: count, resumeAt: scanned) {
        case .complete(let consumed):
            if mayNeedModel, awaitsModel(id, headBytes: consumed, padded, count) {
                return Begun(used: 0)
            }
            // A newer table may need no model for what began to be read for it.
            if namings.count > 0 { endNaming(id) }
            let origin = downstreams[id].tookHead()
            let rest = ByteScan.part(padded, consumed, count)
            var begun = beginExchange(id, from: origin, headBytes: consumed, rest)
            begun.used &+= consumed
            return begun
        case .incomplete(let scanned):
            // The head's time runs from its first byte, not from its last.
            if downstreams[id].headTried == 0, count > 0 {
                setDeadline(downstream: id, in: timeouts.requestHeaderMilliseconds)
            }
            downstreams[id].headScanned = Int32(truncatingIfNeeded: scanned)
            downstreams[id].headTried = Int32(truncatingIfNeeded: count)
            return Begun(used: 0)
        case .malformed(let problem):
            if !beginMultiplexing(downstream: id, afterPreface: padded.extracting(0..<count)) {
                refuse(id, problem)
            }
            return Begun(used: count)
        }
    }

    // MARK: - Discarding

    /// Drops what an answered request still sends.
    mutating func discardInput(_ id: SlotID, _ input: inout Buffer) {
        while downstreams.contains(id) {
            if downstreams[id].phase == .discarding, useDiscardStash(id) { return }
            guard downstreams[id].link.isReadable else { return }
            input.removeAll()
            let result = downstreams[id].link.read(into: &input, &cipher, &buffers)
            var goesOn = result == .bytes
            if goesOn {
                downstreams[id].lingerBytes -= Int32(input.count)
                if downstreams[id].phase == .discarding {
                    if downstreams[id].input.isEmpty {
                        goesOn = !drop(id, input.span)
                    } else {
                        // Behind what was kept, and judged with it in the next turn.
                        keep(downstream: id, input.span)
                    }
                }
                if downstreams.contains(id), downstreams[id].lingerBytes < 0,
                    downstreams[id].phase == .discarding || downstreams[id].phase == .lingering
                {
                    endDiscarding(id)
                    goesOn = false
                }
            } else if result != .wouldBlock {
                endDiscarding(id)
            }
            if !goesOn { return }
        }
    }

    private mutating func useDiscardStash(_ id: SlotID) -> Bool {
        if downstreams[id].input.isEmpty { return false }
        var stash = Buffer()
        swap(&stash, &downstreams[id].input)
        let done = drop(id, stash.span)
        buffers.reclaim(&stash)
        return done
    }

    /// What is left of an answered request's content is dropped, within the bounds of lingering.
    mutating func discard(_ id: SlotID, _ content: ContentReader) {
        guard let slot = aside(of: id) else { return end(downstream: id, .linger) }
        asides[slot].discard = content
        downstreams[id].phase = .discarding
        downstreams[id].lingerBytes = Int32(clamping: lingerBytesMax)
        setDeadline(downstream: id, in: timeouts.lingerMilliseconds)
        enqueue(downstream: id)
    }

    /// Where what few connections need is kept for this one; nil when no more can have any, which is never before there are
    /// no more connections either.
    mutating func aside(of id: SlotID) -> SlotID? {
        if downstreams[id].aside != .none { return downstreams[id].aside }
        guard let slot = asides.insert(DownstreamAside()) else { return nil }
        downstreams[id].aside = slot
        return slot
    }

    /// Drops content; true when it has ended and the connection reads requests again, or is gone.
    private mutating func drop(_ id: SlotID, _ bytes: Span<UInt8>) -> Bool {
        var from = 0
        let slot = downstreams[id].aside
        while !asides[slot].discard.isFinished {
            switch asides[slot].discard.next(bytes, from: &from) {
            case .content, .trailer: continue
            case .end: break
            case .incomplete:
                if from < bytes.count { keep(downstream: id, bytes.extracting(from..<bytes.count)) }
                return !downstreams.contains(id)
            case .malformed:
                endDiscarding(id)
                return true
            }
        }
        if from < bytes.count { keep(downstream: id, bytes.extracting(from..<bytes.count)) }
        guard downstreams.contains(id) else { return true }
        awaitRequest(id)
        return true
    }

    /// No more is dropped of what an answered request still sends: the connection ends, behind what is stuck of the answer.
    private mutating func endDiscarding(_ id: SlotID) {
        if downstreams[id].phase == .discarding, downstreams[id].link.isCongested {
            end(downstream: id, .linger)
        } else {
            close(downstream: id)
        }
    }

    /// The connection waits for its next request.
    @inline(always)
    mutating func awaitRequest(_ id: SlotID) {
        if isDraining {
            downstreams[id].phase = .reading
            end(downstream: id, .linger)
            return
        }
        let limit = timeouts.keepAliveIdleMilliseconds
        let next = downstreams[id].awaitRequest(until: limit == 0 ? 0 : now &+ UInt64(limit))
        if next.mustArm {
            timers.schedule(Token(kind: TokenKind.downstream, id), at: downstreams[id].timer.at)
        }
        if next.hasMore { goOnBehindAnswer(id) }
    }

    /// Something of the next request may be here; what is stuck of the last answer goes first, for as long as the client
    /// takes some of it.
    @inline(never)
    private mutating func goOnBehindAnswer(_ id: SlotID) {
        if downstreams[id].link.isCongested {
            setDeadline(downstream: id, in: timeouts.clientWriteStallMilliseconds)
        } else {
            enqueue(downstream: id)
        }
    }

    // MARK: - Ending

    /// Ends the connection when its output is gone.
    mutating func end(downstream id: SlotID, _ ending: Ending) {
        if downstreams[id].link.stream != nil {
            endStream(id, ending)
            return
        }
        downstreams[id].ending = ending
        downstreams[id].phase = .closing
        if downstreams[id].link.isCongested {
            setDeadline(downstream: id, in: timeouts.clientWriteStallMilliseconds)
        } else {
            endNow(id)
        }
    }

    private mutating func endNow(_ id: SlotID) {
        switch downstreams[id].ending {
        case .plain:
            downstreams[id].link.sayClose(&cipher, &buffers)
            if downstreams[id].link.isCongested {
                // All that the farewell has to wait for is what is stuck.
                end(downstream: id, .cut)
            } else {
                close(downstream: id)
            }
        case .cut, .reset: close(downstream: id)
        case .linger:
            downstreams[id].link.sayClose(&cipher, &buffers)
            downstreams[id].link.socket.shutdownWrite()
            downstreams[id].phase = .lingering
            downstreams[id].lingerBytes = Int32(clamping: lingerBytesMax)
            buffers.reclaim(&downstreams[id].input)
            setDeadline(downstream: id, in: timeouts.lingerMilliseconds)
            enqueue(downstream: id)
        }
    }

    /// Frees a client connection; an exchange that still runs is abandoned.
    ///
    /// What is lost of an answer shows as a reset where its framing does not show it.
    @inline(never)
    mutating func close(downstream id: SlotID) {
        var losesEnd = downstreams[id].losesEnd
        let exchange = downstreams[id].exchange
        if exchange != .none, exchanges.contains(exchange) {
            losesEnd = losesEnd || exchanges[exchange].answersUntilClose
            downstreams[id].exchange = .none
            abandon(exchange)
        }
        guard downstreams.contains(id) else { return }
        endNaming(id)
        endAuthorization(id)
        if downstreams[id].link.stream != nil {
            // What lingers has its whole answer.
            let isAnswered = downstreams[id].phase == .lingering
            forget(downstreamStream: id, isAnswered ? .finished : .cancel)
            return
        }
        if losesEnd { downstreams[id].link.socket.resetOnClose() }
        if downstreams[id].phase == .multiplexing { closeStreams(ofDownstream: id) }
        downstreams[id].link.discardOutput(&buffers)
        buffers.reclaim(&downstreams[id].input)
        asides.destroy(downstreams[id].aside)
        downstreams.destroy(id)
        options.connections?.give(1)
        countConnections()
    }

    /// Tells how many connections clients have, streams being none, and what buffers hold.
    mutating func countConnections() {
        shard.set(.downstreamConnections, UInt64(downstreams.count - downstreamStreams))
        shard.set(.bufferBytes, UInt64(buffers.bytesInUse + buffers.pipes.bytesInUse))
        shard.set(.heldBytes, UInt64(buffers.bytesHeld))
    }

    // MARK: - Time

    mutating func downstreamTimedOut(_ id: SlotID) {
        switch downstreams[id].phase {
        case .introduction: refuseIntroduction(id)
        case .hello, .handshaking:
            shard.add(.tlsFailures, 1)
            close(downstream: id)
        case .reading:
            if downstreams[id].naming != .none || isReadForLeave(id) {
                answerLocally(
                    id, isPastLeave(id) ? .requestTimeout : .requestContentTimeout)
            } else if downstreams[id].headTried > 0 {
                answerLocally(id, .requestHeaderTimeout)
            } else {
                downstreams[id].link.sayClose(&cipher, &buffers)
                close(downstream: id)
            }
        case .exchanging: exchangeClientStalled(id)
        case .discarding: endDiscarding(id)
        case .lingering, .closing: close(downstream: id)
        case .multiplexing: multiplexingTimedOut(downstream: id)
        case .tunnel: tunnelTimedOut(downstreams[id].exchange)
        }
    }
}
