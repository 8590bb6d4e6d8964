import HTTP
import Kernel
import Routing

/// How far a request's authorization is.
enum AuthorizationStage: UInt8 {
    /// Content that is told with it comes; the request stands in the connection's input.
    case reading
    /// It is asked; the request's exchange waits.
    case asking
    /// It is answered; the request is about to be read once more.
    case told
    /// The request has gone on: what is kept is for its answer.
    case used
}

/// What came of it.
enum AuthorizationVerdict {
    case allowed
    case denied
    /// Nobody could say: the gateway's own answer to that.
    case failed(LocalReply)
}

/// Why a question was of no use.
enum AuthorizationFailure {
    /// No connection could be made, or the answer did not come whole.
    case unreachable
    case timeout
    /// The answer says what no authorization says, or that something broke there.
    case malformed
    /// The gateway has no room for it.
    case overloaded
    /// The time of the request itself is over.
    case requestTimeout

    /// What the client is told.
    var reply: LocalReply {
        switch self {
        case .unreachable, .timeout, .malformed: .authorizationFailed
        case .overloaded: .overloaded
        case .requestTimeout: .requestTimeout
        }
    }
}

/// The question whether one request may pass (`ExternalAuth`).
///
/// It is an exchange of its own, the *asking* one, whose backend is who is asked and whose client this is. The request's exchange
/// waits meanwhile, and the request stands in the connection's input as it came, like a head that is not complete: once it is
/// answered it is read again and goes its way, with what the answer says of its head.
struct Authorization: ~Copyable {
    /// Most content of an answer, in bytes, that is kept or waited for.
    static var answerBytesMax: Int { 64 << 10 }
    /// Longest message of a call, in bytes.
    static var messageBytesMax: Int { 1 << 20 }
    /// How often a request is asked about where its rule changes meanwhile.
    static var questionsMax: UInt8 { 3 }

    let downstream: SlotID
    /// The number of the request on its connection, `Downstream.requestCount`.
    let request: UInt32
    /// When the request came, and when its own time is over, by the worker's clocks; 0: never.
    var began: UInt64
    var deadline: UInt64
    var stage = AuthorizationStage.reading
    var verdict = AuthorizationVerdict.failed(.authorizationFailed)
    /// What was asked, `AuthorizationRow.key`.
    var key: UInt64 = 0
    var questions: UInt8 = 0
    /// The exchange that asks; `.none` while there is none.
    var asking = SlotID.none
    var isCall = false
    /// Content that is read before: where it ends, and how much of it there is.
    var reader: ContentReader
    var read = 0
    var contentBytes = 0

    // The answer.
    /// What becomes of the request's head (`HeadEdits`), or the lines of a denial's.
    var lines = Buffer()
    /// What becomes of the head of the backend's answer.
    var answerLines = Buffer()
    /// A call's message, or the content of a denial.
    var content = Buffer()
    var status: UInt16 = 0
    /// There is more than is kept.
    var isCut = false
    /// `grpc-status` of a call; nil while nothing was said of it.
    var callStatus: UInt64?

    init(
        _ downstream: SlotID, request: UInt32, _ framing: BodyFraming, began: UInt64,
        deadline: UInt64
    ) {
        self.downstream = downstream
        self.request = request
        self.began = began
        self.deadline = deadline
        reader = ContentReader(framing)
    }

    /// How far reading its content before it is asked has come.
    enum Step {
        case more, whole
        case refused(LocalReply)
    }

    /// Reads what of `rest`, all that has come behind the head, was not read before.
    mutating func read(_ rest: Span<UInt8>, limit: Int) -> Step {
        var from = read
        while true {
            switch reader.next(rest, from: &from) {
            case .content(let range):
                contentBytes += range.count
                if contentBytes > limit { return .refused(.contentTooLarge) }
            case .trailer: continue
            case .end:
                read = from
                return .whole
            case .incomplete:
                read = from
                if reader.isFinished { return .whole }
                // Chunks of a byte are as long as eight.
                return from > limit &* 8 &+ 65_536 ? .refused(.contentTooLarge) : .more
            case .malformed(let problem): return .refused(.malformed(problem))
            }
        }
    }

    /// Forgets what was answered.
    mutating func forgetAnswer(_ buffers: inout BufferPool) {
        buffers.reclaim(&lines)
        buffers.reclaim(&answerLines)
        buffers.reclaim(&content)
        status = 0
        isCut = false
        callStatus = nil
    }
}

extension Exchange {
    /// An exchange without a client, which asks about a request whose exchange is `main`.
    init(
        asking authorization: SlotID, _ main: borrowing Exchange, cluster: UInt32, series: UInt32,
        method: Method, namesEndpoint: Bool, generation: UInt32, began: UInt64, deadline: UInt64
    ) {
        downstream = .none
        var decision = KeptDecision()
        decision.clusterID = cluster
        decision.backendSeries = series
        decision.series = main.decision.series
        decision.parameters = main.decision.parameters
        self.decision = decision
        buffer = Buffer()
        self.generation = Int32(truncatingIfNeeded: generation)
        self.began = began
        headBytes = 0
        self.method = method
        version = .http11
        keepsAlive = false
        expectsContinue = false
        acceptsTrailers = true
        // All of it stands behind its head in the buffer.
        request = ContentReader(.none)
        requestDone = true
        allowsHalfClose = true
        marks = .asking
        self.namesEndpoint = namesEndpoint
        contentBytesMax = .max
        times = ExchangeTimes()
        requestDeadline = deadline
        mirrors = authorization
    }

    /// It has no client: it asks whether a request may pass.
    var isAsking: Bool { marks.contains(.asking) }

    /// It waits for leave to begin.
    var isAuthorizing: Bool { marks.contains(.authorizing) }

    /// Of an exchange that asks: the question.
    var authorization: SlotID { mirrors }
}
