import HTTP
import HTTPCodec
import Kernel
import Runtime
import Telemetry

/// Clients that speak HTTP/2: each stream is a downstream of its own, which carries one request.
extension Worker {
    /// The first bytes of HTTP/2 that is begun with prior knowledge, as far as a parser of HTTP/1.1 reads them before it
    /// refuses the version (RFC 9113 §3.4); the session checks the rest.
    private static var preface: StaticString { "PRI * HTTP/2.0\r" }

    // MARK: - Beginning

    /// Begins HTTP/2 on a plain connection whose first bytes are its preface; false when they are not.
    @inline(never)
    mutating func beginMultiplexing(
        downstream id: SlotID, afterPreface bytes: Span<UInt8>
    ) -> Bool {
        let preface = ByteScan.bytes(Self.preface)
        guard !downstreams[id].isTLS, downstreams[id].requestCount == 0,
            downstreams[id].link.stream == nil, bytes.count >= preface.count,
            ByteScan.equal(bytes.extracting(0..<preface.count), preface)
        else { return false }
        beginMultiplexing(downstream: id)
        if downstreams.contains(id) { keep(downstream: id, bytes) }
        if downstreams.contains(id) { enqueue(downstream: id) }
        return true
    }

    /// The connection speaks HTTP/2 from here on.
    mutating func beginMultiplexing(downstream id: SlotID) {
        guard
            let session = HTTP2Session(
                role: .server, limits: http2Limits(id), isSecure: downstreams[id].isTLS, now: now),
            let connection = cipher.multiplexers.insert(
                Multiplexer(session, owner: id, isServer: true))
        else {
            close(downstream: id)
            return
        }
        downstreams[id].phase = .multiplexing
        downstreams[id].multiplexer = connection
        cipher.multiplexers.noteOutput(connection)
        armMultiplexing(downstream: id)
        if isDraining { shutDown(downstream: id) }
    }

    private func http2Limits(_ id: SlotID) -> HTTP2Limits {
        var limits = HTTP2Limits()
        let settings = parameters(ofPort: downstreams[id].portID)
        let isTrusted =
            downstreams[id].isTLS || settings.trustedProxies.contains(downstreams[id].peer)
        limits.concurrentStreamsMax = UInt32(
            clamping: isTrusted
                ? settings.limits.http2TrustedStreamsMax : settings.limits.http2StreamsMax)
        limits.headerListBytesMax = UInt32(clamping: settings.limits.fieldsBytesMax)
        limits.fieldCountMax = UInt32(clamping: settings.limits.fieldCountMax)
        return limits
    }

    /// What the first listener of a port says; the defaults when the port is gone.
    private func parameters(ofPort id: UInt32) -> Parameters {
        let row = port(id)
        guard row >= 0,
            let first = generations[current].snapshot.table.listeners(port: row).first
        else { return Parameters() }
        let number = generations[current].snapshot.table.listeners[first].parameters
        return generations[current].snapshot.parameters[Int(number)]
    }

    // MARK: - Frames

    /// Reads frames and carries them out until input ends or others are to have their turn.
    mutating func readFrames(downstream id: SlotID, _ input: inout Buffer) {
        let connection = downstreams[id].multiplexer
        if !downstreams[id].input.isEmpty {
            var early = Buffer()
            swap(&early, &downstreams[id].input)
            let goesOn = receiveFrames(connection, early.span)
            buffers.reclaim(&early)
            afterFrames(downstream: id, connection, goesOn, &input)
        }
        var left = Scratch.tickBytes
        while downstreams.contains(id), downstreams[id].phase == .multiplexing,
            downstreams[id].link.isReadable
        {
            if left <= 0 {
                enqueue(downstream: id)
                return
            }
            input.removeAll()
            let result = downstreams[id].link.read(into: &input, &cipher, &buffers)
            left -= input.count
            switch result {
            case .bytes:
                let goesOn = receiveFrames(connection, input.span)
                afterFrames(downstream: id, connection, goesOn, &input)
            case .wouldBlock: return
            case .end, .failed: close(downstream: id)
            }
        }
    }

    private mutating func afterFrames(
        downstream id: SlotID, _ connection: SlotID, _ goesOn: Bool, _ input: inout Buffer
    ) {
        if goesOn {
            takeEvents(connection, &input)
            if downstreams.contains(id) { timeHead(ofConnection: id) }
            return
        }
        endMultiplexing(downstream: id)
    }

    /// A head that comes in pieces has as long as one of HTTP/1.1; no other frame may come before its end.
    private mutating func timeHead(ofConnection id: SlotID) {
        let connection = downstreams[id].multiplexer
        guard cipher.multiplexers.contains(connection) else { return }
        if cipher.multiplexers[connection].session.isReceivingHead {
            // Each head has a time of its own, also where every read ends within one; the number is never 0.
            let number = cipher.multiplexers[connection].session.headsBegun & 0x3FFF_FFFF
            let head = Int32(bitPattern: number | 0x4000_0000)
            if downstreams[id].headTried != head {
                setDeadline(downstream: id, in: timeouts.requestHeaderMilliseconds)
            }
            downstreams[id].headTried = head
        } else if downstreams[id].headTried != 0 {
            downstreams[id].headTried = 0
            armMultiplexing(downstream: id)
        }
    }

    /// Carries out what a client's frames say about a stream.
    mutating func takeEvent(
        ofClient connection: SlotID, _ event: HTTP2Event, _ input: inout Buffer
    ) {
        if case .opened = event.kind {
            open(connection, event.stream, &input)
            return
        }
        let id = Token(raw: event.tag).id
        guard downstreams.contains(id) else { return }
        switch event.kind {
        case .readable:
            downstreams[id].link.isReadable = true
            downstreamReady(id, &input)
        case .writable:
            downstreams[id].link.becameWritable()
            if downstreams[id].phase == .closing {
                endStreamIfFlushed(id)
            } else {
                if downstreams[id].phase == .exchanging { noLongerStalled(id) }
                resumeAnswer(toStream: id)
            }
        case .reset: clientIsGone(id)
        case .opened, .goAway, .capacity: break
        }
    }

    /// The client's time for taking bytes is over; that for its own content goes on.
    private mutating func noLongerStalled(_ id: SlotID) {
        let exchange = downstreams[id].exchange
        guard exchange != .none, exchanges.contains(exchange) else { return }
        let awaitsContent = exchanges[exchange].takesContent
        setDeadline(
            downstream: id, in: awaitsContent ? exchanges[exchange].times.requestBodyIdle : 0)
    }

    /// A stream takes bytes again: the answer goes on in the next round.
    private mutating func resumeAnswer(toStream id: SlotID) {
        let exchange = downstreams[id].exchange
        guard exchange != .none, exchanges.contains(exchange) else { return }
        if exchanges[exchange].isProcessed { resumePicker(exchange) }
        let upstream = exchanges[exchange].upstream
        if upstream != .none, upstreams.contains(upstream) { enqueue(upstream: upstream) }
    }

    // MARK: - Streams

    /// A request has come: its stream becomes a downstream, and the request is read.
    private mutating func open(
        _ connection: SlotID, _ stream: StreamID, _ input: inout Buffer
    ) {
        let owner = cipher.multiplexers[connection].owner
        let reference = StreamReference(connection: connection, stream: stream)
        let made = Downstream(reference, of: downstreams[owner])
        guard let id = downstreams.insert(made) else {
            cipher.multiplexers.close(reference, .refused, &buffers)
            return
        }
        downstreamStreams += 1
        cipher.multiplexers[connection].session.setTag(
            stream, Token(kind: TokenKind.downstream, id).raw)
        let first = cipher.multiplexers[connection].firstStream
        downstreams[id].nextStream = first
        if first != .max { downstreams[first].previousStream = id.slot }
        cipher.multiplexers[connection].firstStream = id.slot
        shard.add(.http2Streams, 1)
        // With others open it has a deadline already.
        if first == .max { armMultiplexing(downstream: owner) }
        var head = Buffer()
        if cipher.multiplexers.takeHead(reference, into: &head) {
            useRequest(ofStream: id, &head)
            buffers.reclaim(&head)
        } else {
            readRequest(ofStream: id, &input)
        }
    }

    /// Reads a stream's head, which is whole, with what else has come.
    @inline(never)
    private mutating func readRequest(ofStream id: SlotID, _ input: inout Buffer) {
        input.removeAll()
        if downstreams[id].link.read(into: &input, &cipher, &buffers) == .bytes {
            useRequest(ofStream: id, &input)
        } else {
            endStream(id, .cut)
        }
    }

    /// Parses a stream's head and begins its exchange.
    @inline(never)
    private mutating func useRequest(ofStream id: SlotID, _ input: inout Buffer) {
        let count = input.count
        let padded = input.padded()
        switch requestHead.parse(padded, count: count) {
        case .complete(let consumed):
            requestHead.cameOverHTTP2()
            if mayNeedModel, awaitsModel(id, headBytes: consumed, padded, count) {
                if downstreams.contains(id) { keep(downstream: id, padded.extracting(0..<count)) }
                return
            }
            if namings.count > 0 { endNaming(id) }
            let origin = downstreams[id].tookHead()
            let rest = padded.extracting(consumed..<count)
            let used = consumed + beginExchange(id, from: origin, headBytes: consumed, rest).used
            keepDeadline(ofCall: id)
            if used < count, downstreams.contains(id) {
                keep(downstream: id, padded.extracting(used..<count))
            }
            goOnWithContent(id)
        case .incomplete: endStream(id, .cut)
        case .malformed(let problem):
            refuse(id, problem, ofStream: padded.extracting(0..<count))
        }
    }

    /// A call's own deadline ends its exchange, if no timeout of the rule does so before.
    private mutating func keepDeadline(ofCall id: SlotID) {
        guard downstreams.contains(id), let type = requestHead.value(.contentType),
            GRPCType.isCall(requestHead.span(type)),
            let field = requestHead.first(named: ByteScan.bytes("grpc-timeout")),
            let milliseconds = GRPC.milliseconds(requestHead.span(field))
        else { return }
        let exchange = downstreams[id].exchange
        guard exchange != .none, exchanges.contains(exchange) else { return }
        let at = now &+ UInt64(milliseconds)
        if exchanges[exchange].requestDeadline == 0 || at < exchanges[exchange].requestDeadline {
            exchanges[exchange].requestDeadline = at
            updateDeadline(exchange: exchange)
        }
    }

    /// The one request of a stream is answered, or never will be.
    mutating func endStream(_ id: SlotID, _ ending: Ending) {
        switch ending {
        case .plain, .linger:
            downstreams[id].ending = ending
            downstreams[id].phase = .closing
            endStreamIfFlushed(id)
        case .cut, .reset: forget(downstreamStream: id, .error)
        }
    }

    /// A stream goes when its answer is on its way; a client whose window stays shut has as long as for any write.
    private mutating func endStreamIfFlushed(_ id: SlotID) {
        guard let stream = downstreams[id].link.stream else { return }
        guard cipher.multiplexers.isFlushed(stream) else {
            if downstreams[id].isUntimed { return }
            // Mostly all of it leaves at the end of the tick: only then, see `timeUnsent`.
            setDeadline(downstream: id, in: 0)
            downstreams[id].isUntimed = true
            cipher.multiplexers.willTime(stream.connection)
            return
        }
        if downstreams[id].ending == .linger, cipher.multiplexers.isAnsweredEarly(stream) {
            lingerOnStream(id)
        } else {
            forget(downstreamStream: id, .finished)
        }
    }

    /// Gives a client its time to take what of whole answers could not be sent.
    @inline(never)
    mutating func timeUnsent(ofConnection connection: SlotID) {
        cipher.multiplexers[connection].untimed = 0
        var slot = cipher.multiplexers[connection].firstStream
        while slot != .max {
            let id = downstreams.id(of: slot)
            slot = downstreams[id].nextStream
            if !downstreams[id].isUntimed { continue }
            downstreams[id].isUntimed = false
            setDeadline(downstream: id, in: timeouts.clientWriteStallMilliseconds)
        }
    }

    /// Drops what an answered request still sends, as on a connection: a reset at once is allowed (RFC 9113 §8.1), but
    /// clients in the middle of sending take it for a failure and lose the answer.
    private mutating func lingerOnStream(_ id: SlotID) {
        downstreams[id].phase = .lingering
        if downstreams[id].isUntimed, let stream = downstreams[id].link.stream {
            downstreams[id].isUntimed = false
            cipher.multiplexers[stream.connection].untimed -= 1
        }
        downstreams[id].lingerBytes = Int32(clamping: lingerBytesMax)
        buffers.reclaim(&downstreams[id].input)
        setDeadline(downstream: id, in: timeouts.lingerMilliseconds)
        enqueue(downstream: id)
    }

    /// Frees a stream's slot; its exchange must have ended before.
    mutating func forget(downstreamStream id: SlotID, _ how: StreamClose) {
        guard let stream = downstreams[id].link.stream else { return }
        let previous = downstreams[id].previousStream
        let next = downstreams[id].nextStream
        if previous == .max {
            cipher.multiplexers[stream.connection].firstStream = next
        } else {
            downstreams[previous].nextStream = next
        }
        if next != .max { downstreams[next].previousStream = previous }
        if downstreams[id].isUntimed { cipher.multiplexers[stream.connection].untimed -= 1 }
        buffers.reclaim(&downstreams[id].input)
        endNaming(id)
        endAuthorization(id)
        asides.destroy(downstreams[id].aside)
        downstreams.destroy(id)
        downstreamStreams -= 1
        cipher.multiplexers.close(stream, how, &buffers)
        if cipher.multiplexers[stream.connection].firstStream == .max {
            armMultiplexing(downstream: cipher.multiplexers[stream.connection].owner)
        }
    }

    /// The connection that a stream came over; else the downstream itself.
    func connection(of id: SlotID) -> SlotID {
        guard let stream = downstreams[id].link.stream else { return id }
        return cipher.multiplexers[stream.connection].owner
    }

    // MARK: - Ending

    /// Ends all streams of a connection that is closed, and its session.
    mutating func closeStreams(ofDownstream id: SlotID) {
        let connection = downstreams[id].multiplexer
        guard cipher.multiplexers.contains(connection) else { return }
        while cipher.multiplexers[connection].firstStream != .max {
            close(downstream: downstreams.id(of: cipher.multiplexers[connection].firstStream))
        }
        endSession(connection)
        downstreams[id].multiplexer = .none
    }

    /// Says what the session has left to say and ends the connection.
    mutating func endMultiplexing(downstream id: SlotID) {
        sendFrames(of: downstreams[id].multiplexer)
        guard downstreams.contains(id) else { return }
        closeStreams(ofDownstream: id)
        end(downstream: id, .linger)
    }

    /// Announces that no more streams are wanted; the final word follows a moment later, so that streams that are on
    /// their way are not lost (RFC 9113 §6.8).
    mutating func shutDown(downstream id: SlotID) {
        let connection = downstreams[id].multiplexer
        downstreams[id].isLeaving = true
        cipher.multiplexers[connection].session.shutDown()
        cipher.multiplexers.noteOutput(connection)
        setDeadline(downstream: id, in: Self.shutDownMilliseconds)
    }

    /// After new documents: connections whose listener is gone, or asks more of clients than it did, take no more streams.
    mutating func shutDownOrphans() {
        for slot in 0..<downstreams.highWater
        where downstreams.isOccupied(slot) && downstreams[slot].phase == .multiplexing {
            if !hasListener(downstreams[slot].origin) {
                shutDown(downstream: downstreams.id(of: slot))
            }
        }
    }

    private func hasListener(_ origin: RequestOrigin) -> Bool {
        if port(origin.portID) < 0 { return false }
        if !origin.isTLS { return true }
        let row = generations[current].snapshot.table.listenerIndex(id: origin.tlsListenerID)
        return row >= 0
            && generations[current].snapshot.table.listeners[Int(row)].terms == origin.tlsTerms
    }

    /// From the first GOAWAY to the final one.
    private static var shutDownMilliseconds: UInt32 { 500 }

    // MARK: - Time

    /// Sets the connection's deadline by what it waits for.
    mutating func armMultiplexing(downstream id: SlotID) {
        if downstreams[id].headTried != 0 { return }
        let connection = downstreams[id].multiplexer
        guard cipher.multiplexers.contains(connection) else { return }
        // The final GOAWAY is not put off.
        if isDraining || downstreams[id].isLeaving, !cipher.multiplexers[connection].isEnding {
            return
        }
        if downstreams[id].link.isCongested {
            setDeadline(downstream: id, in: timeouts.clientWriteStallMilliseconds)
        } else if cipher.multiplexers[connection].session.openStreams == 0 {
            setDeadline(downstream: id, in: timeouts.keepAliveIdleMilliseconds)
        } else if let milliseconds = untilProbe(connection) {
            setDeadline(downstream: id, in: milliseconds)
        }
    }

    mutating func multiplexingTimedOut(downstream id: SlotID) {
        let connection = downstreams[id].multiplexer
        if isDraining || downstreams[id].isLeaving, !cipher.multiplexers[connection].isEnding {
            sayGoAway(connection)
            armMultiplexing(downstream: id)
            return
        }
        if downstreams[id].link.isCongested || downstreams[id].headTried != 0 {
            shard.add(.clientTimeouts, 1)
            close(downstream: id)
            return
        }
        if cipher.multiplexers[connection].session.openStreams == 0 {
            sayGoAway(connection)
            return
        }
        switch probe(connection) {
        case .wait(let milliseconds): setDeadline(downstream: id, in: milliseconds)
        case .dead:
            shard.add(.clientTimeouts, 1)
            close(downstream: id)
        }
    }
}
