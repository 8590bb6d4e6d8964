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
    /// Its content type says that it tells its own end.
    var isStream: Bool
    /// When it came, worker nanoseconds.
    var now: UInt64
}

/// The steps of an exchange: pure changes of its state, without I/O.
extension Exchange {
    /// An attempt at an endpoint begins.
    mutating func beginAttempt(endpoint: UInt32, nanoseconds: UInt64) {
        attempts += 1
        endpointID = endpoint
        phase = .connecting
        sentBytes = false
        usedPooled = false
        connectBegan = nanoseconds
    }

    /// How the answer is framed for the client, and what becomes of both connections.
    mutating func takeAnswer(_ facts: AnswerFacts) {
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
            upstreamReusable = false
        }
        if !facts.keepsAlive { upstreamReusable = false }
        closesClient =
            !keepsAlive || facts.isDraining || answerFraming == .untilClose
            || (!requestDone && requestBroken)
        scansEnd = facts.isStream
    }

    /// The answer's head is on its way: another attempt is out of the question, the table no longer needed.
    mutating func beginAnswering() -> Int32 {
        phase = .answering
        holdsContent = false
        let released = generation
        generation = -1
        return released
    }

    /// The part of `bytes` that goes to the client as it stands; notes a stream's own end in it.
    mutating func answerPart(_ bytes: Span<UInt8>, headBytes: Int) -> Relay.Part {
        let part = Relay.part(&response, bytes, from: 0)
        if scansEnd { streamEnd.scan(bytes.extracting(0..<part.upTo)) }
        if part.needsDecoding { answerReframes = true }
        sentHeadBytes &+= UInt32(truncatingIfNeeded: headBytes)
        sentToClient &+= UInt64(part.upTo)
        return part
    }

    /// Counts the exchange, which has ended, and its times.
    mutating func tell(_ shard: inout Shard, ended: Ended, now: UInt64, clientClosed: UInt16) {
        let status = self.status == 0 ? clientClosed : self.status
        shard.countRequest(series: backendSeries, method: method.rawValue, status: status)
        shard.observe(.requestDuration, series: series, nanoseconds: now &- began)
        if processing != 0 { shard.observe(.processing, series: series, nanoseconds: processing) }
        if firstByte != 0 {
            shard.observe(.timeToFirstByte, series: series, nanoseconds: firstByte &- began)
        }
        shard.add(.receivedBytes, receivedBytes &+ UInt64(headBytes))
        shard.add(.sentBytes, sentToClient &+ UInt64(sentHeadBytes))
        if ended == .done { shard.add(.completed, 1) }
    }
}
