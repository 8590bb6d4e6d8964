import BasicContainers
import HTTP
import Kernel
import Telemetry

/// What an answer's head decides.
struct AnswerFacts: BitwiseCopyable {
    var status: Int
    var framing: BodyFraming
    /// The backend keeps its connection open.
    var keepsAlive: Bool
    /// The worker is draining: the client is to come back over a new connection.
    var isDraining: Bool
    /// The client's name of a model is put back into it.
    let restores: Bool
    /// Its content type says that it tells its own end.
    var isStream: Bool
    /// When it came, worker nanoseconds.
    var now: UInt64
}

/// What an answer's head and its exchange say about how it is sent.
struct AnswerPlan: BitwiseCopyable {
    let version: Version
    let framing: BodyFraming
    let closes: Bool
    let downstream: SlotID
    let reframes: Bool
    let hasFilters: Bool
    /// Content that was kept for another attempt takes a large buffer.
    let holdsMuch: Bool
}

/// What a client's connection does after an answer.
enum AfterAnswer {
    case awaitNext
    /// What is left of the request's content is dropped, then the next request is read.
    case discard
    case endPlain
    case endLingering
}

/// The steps of an exchange: pure changes of its state, without I/O.
extension Exchange {
    /// An attempt at an endpoint begins; true when it has a deadline of its own.
    @inline(always)
    mutating func beginAttempt(endpoint: UInt32, now: UInt64, nanoseconds: UInt64) -> Bool {
        // Retries are bounded far below what overflows.
        attempts &+= 1
        endpointID = endpoint
        connectBegan = nanoseconds
        if decision.attemptMilliseconds == 0 { return false }
        attemptDeadline = now &+ UInt64(decision.attemptMilliseconds)
        return true
    }

    /// Whether content may have to be sent again.
    @inline(always)
    var mayResend: Bool {
        isInference || isOverStream || (usedPooled && method.isIdempotent) || hasRetryRule
    }

    /// Judges whether content is kept for another attempt; what was not kept once is not kept any more.
    @inline(always)
    mutating func judgeHolding() -> Bool {
        if !mayResend { lacksContent = true }
        return !lacksContent
    }

    /// The attempt at an endpoint has failed: the next one is to be at another.
    mutating func noteFailedAttempt() {
        failedEndpoint = endpointID
        failedEndpoints |= 1 << UInt64(endpointID & 63)
        wait = .nothing
        requestBroken = false
        upstreamSpoiled = false
        interimAnswers = 0
    }

    /// The attempt has no connection yet.
    mutating func beginConnecting() {
        phase = .connecting
        wait = .nothing
        sentBytes = false
        usedPooled = false
        isOverStream = false
    }

    /// What a part of the request's content that was given to the link means for the exchange.
    enum RequestStep {
        case goesOn, ended, malformed, tooLarge
    }

    /// Counts a part of the request's content.
    @inline(always)
    mutating func took(_ part: borrowing Relay.Part) -> RequestStep {
        receivedBytes &+= UInt64(truncatingIfNeeded: part.upTo)
        // The chunks of a stream are the codec's, and not the client's.
        if version == .http2, let content = request.unchunkedBytes { receivedBytes = content }
        if part.malformed != nil { return .malformed }
        if receivedBytes > contentBytesMax { return .tooLarge }
        if part.needsDecoding { requestReframes = true }
        if !part.finished { return .goesOn }
        requestDone = true
        return .ended
    }

    /// How the answer is framed for the client, and what becomes of both connections.
    @inline(always)
    mutating func takeAnswer(_ facts: AnswerFacts) -> AnswerPlan {
        firstByte = facts.now
        status = UInt16(truncatingIfNeeded: facts.status)
        response = ContentReader(facts.framing)
        let isOld = version == .http10
        switch facts.framing {
        case .none, .length: answerFraming = facts.framing
        case .chunked:
            answerFraming = isOld ? .untilClose : .chunked
            answerReframes = isOld
        case .untilClose:
            answerFraming = isOld ? .untilClose : .chunked
            answerReframes = !isOld
            upstreamSpoiled = true
        }
        if facts.restores, !facts.framing.isEmpty {
            // Its length will be another.
            answerFraming = isOld ? .untilClose : .chunked
            answerReframes = true
        }
        if !facts.keepsAlive { upstreamSpoiled = true }
        closesClient =
            !keepsAlive || facts.isDraining || answerFraming == .untilClose
            || (!requestDone && requestBroken)
        if facts.isStream { streamEnd = StreamEndScanner() }
        return answerPlan
    }

    /// What `takeAnswer` has decided.
    @inline(always)
    var answerPlan: AnswerPlan {
        AnswerPlan(
            version: version, framing: answerFraming, closes: closesClient,
            downstream: downstream, reframes: answerReframes,
            hasFilters: decision.flags.contains(.responseFilters),
            holdsMuch: buffer.capacity > 16 * 1024)
    }

    /// The answer's head is on its way: another attempt is out of the question, the table no longer needed.
    @inline(always)
    mutating func beginAnswering() -> Int32 {
        phase = .answering
        lacksContent = true
        let released = generation
        generation = -1
        return released
    }

    /// Bytes go both ways from here on, for as long as they come: the table is no longer needed, nor any deadline.
    mutating func beginTunnel() -> Int32 {
        phase = .tunnel
        requestDeadline = 0
        attemptDeadline = 0
        timer.at = 0
        let released = generation
        generation = -1
        return released
    }

    /// It is told of, and ends, as a tunnel.
    var isTunnel: Bool { isStream || phase == .tunnel }

    /// The part of `bytes` that goes to the client as it stands; notes a stream's own end in it.
    @inline(always)
    mutating func answerPart(_ bytes: Span<UInt8>, headBytes: Int) -> Relay.Part {
        let part = Relay.part(&response, bytes, from: 0)
        if streamEnd != nil { scanEnd(bytes.extracting(0..<part.upTo)) }
        if part.needsDecoding { answerReframes = true }
        sentHeadBytes &+= UInt32(truncatingIfNeeded: headBytes)
        sentToClient &+= UInt64(part.upTo)
        return part
    }

    /// Notes a stream's own end in a part of its content.
    @inline(never)
    mutating func scanEnd(_ content: Span<UInt8>) { streamEnd?.scan(content) }

    /// Nothing of this exchange is left in its backend's connection.
    var leavesUpstreamClean: Bool { requestDone && !upstreamSpoiled && !isReplaying }

    /// The client has said something that may be in the protocol it asked for: it is never read as a request.
    @inline(always)
    borrowing func hasEarlyBytes(_ client: borrowing Downstream) -> Bool {
        upgrades && (!client.input.isEmpty || client.link.isReadable)
    }

    /// What a client's connection does after the answer, which is complete.
    @inline(always)
    borrowing func afterAnswer(
        _ client: borrowing Downstream, isDraining: Bool, lingerBytesMax: Int
    ) -> AfterAnswer {
        if requestDone {
            let isLast = client.halfClosed && client.input.isEmpty
            if !closesClient && !isLast && !hasEarlyBytes(client) { return .awaitNext }
            return !client.input.isEmpty || client.link.isReadable ? .endLingering : .endPlain
        }
        // An early answer: what is left of the content must not be read as a request.
        if closesClient || isDraining { return .endLingering }
        if let left = request.remaining, left > UInt64(lingerBytesMax) { return .endLingering }
        return .discard
    }

    /// Gives back what it holds; says what the worker holds for it.
    @inline(always)
    mutating func giveUp(to buffers: inout BufferPool) -> (generation: Int32, isRetry: Bool) {
        var own = Buffer()
        swap(&own, &buffer)
        buffers.giveLeast(own)
        return (generation, isRetry)
    }

    /// Counts the exchange, which has ended, and its times.
    @inline(always)
    mutating func tell(_ shard: inout Shard, ended: Ended, now: UInt64, clientClosed: UInt16) {
        let status = self.status == 0 ? clientClosed : self.status
        count(&shard, status: status)
        // 0 means that there is none: an answer in the tick of its request took 1 ns.
        shard.observe(
            series: decision.series, requestDuration: now &- began, processing: processing,
            timeToFirstByte: firstByte == 0 ? 0 : max(firstByte &- began, 1))
        if ended == .done { shard.add(.completed, 1) }
    }

    /// Counts the exchange, which has ended, and its bytes; a stream has no status.
    @inline(always)
    mutating func count(_ shard: inout Shard, status: UInt16) {
        shard.countRequest(series: decision.backendSeries, method: method.rawValue, status: status)
        shard.add(.receivedBytes, receivedBytes &+ UInt64(headBytes))
        shard.add(.sentBytes, sentToClient &+ UInt64(sentHeadBytes))
    }
}
