import HTTP
import Kernel
import Telemetry

/// How far an exchange is on the backend's side.
enum ExchangePhase: UInt8 {
    /// Waits for its turn at the cluster, or for a connection.
    case connecting
    /// The request's head is sent; no final answer's head has come.
    case awaitingHead
    /// The answer's head was sent to the client.
    case answering
}

/// Places of the log's strings and of the request as sent, in an exchange's buffer.
struct ExchangeRecord: BitwiseCopyable {
    var path = ByteRange.none
    var authority = ByteRange.none
    var userAgent = ByteRange.none
    var requestID = ByteRange.none
    /// The head as it goes to the backend.
    var head = ByteRange.none
    /// Where the value of Host stands in it, for an attempt at an endpoint with another name.
    var host = ByteRange.none
}

/// Timeouts of one exchange, milliseconds.
struct ExchangeTimes: BitwiseCopyable {
    var firstByte: UInt32 = 0
    var streamIdle: UInt32 = 0
    var requestBodyIdle: UInt32 = 0
    var clientWriteStall: UInt32 = 0
}

/// One request and its answers: what was decided, how far each direction is, what is to be told at the end.
struct Exchange: ~Copyable {
    let downstream: SlotID
    var upstream = SlotID.none
    /// Strings for the log, the head as sent, and content that is kept for another attempt.
    var buffer = Buffer()
    var record = ExchangeRecord()

    // Decisions.
    /// The generation of the documents that decided; -1 once it is released.
    var generation: Int32
    var rule: Int32 = -1
    var backend: Int32 = -1
    var parameters: Int32 = 0
    var clusterID = UInt32.max
    var endpointID = UInt32.max
    var listenerID = UInt32.max
    var series = UInt32.max
    var backendSeries = UInt32.max
    var isModelServer = false
    /// A URLRewrite filter named the host.
    var keepsHost = false
    var isInference = false

    // Directions.
    var phase = ExchangePhase.connecting
    var method = Method.get
    var version = Version.http11
    var keepsAlive = true
    var expectsContinue = false
    /// The client takes trailers (`TE: trailers`).
    var acceptsTrailers = false
    var request: ContentReader
    var requestFraming: BodyFraming
    var requestDone: Bool
    /// The backend took no more of the request; its answer may still come.
    var requestBroken = false
    /// The request's chunked content is framed anew: it carries extensions or trailers.
    var requestReframes = false
    var requestTrailers = false
    var response = ContentReader(.none)
    /// How the client gets the content: as it came, chunked anew, or until the end of the connection.
    var answerFraming = BodyFraming.none
    var answerReframes = false
    var answerTrailers = false
    var closesClient = false
    var upstreamReusable = true
    /// The stream told its own end (`data: [DONE]`, `message_stop`, `"done":true`).
    var streamEnd = StreamEndScanner()
    var scansEnd = false

    // Attempts.
    var attempts: UInt8 = 0
    /// `timeouts.backendRequest` of the rule; 0: none.
    var attemptMilliseconds: UInt32 = 0
    /// Host in the head is the endpoint's own and changes with it.
    var namesEndpoint = false
    var isWaiting = false
    /// The attempt went over a connection from the pool.
    var usedPooled = false
    /// The client may end its sending side and still get its answer.
    var allowsHalfClose = false
    /// Counted against the budget of retries.
    var isRetry = false
    var holdsContent = true
    var sentBytes = false
    var interimAnswers: UInt8 = 0
    /// Next in the cluster's queue of exchanges that wait for a connection.
    var nextWaiting = SlotID.none

    /// The listener's timeouts that hold while it runs; the table may be gone before it ends.
    var times = ExchangeTimes()

    // Deadlines, worker milliseconds; 0: none.
    var requestDeadline: UInt64 = 0
    var attemptDeadline: UInt64 = 0
    var timer = Deadline()

    // What is told at the end; nanoseconds of the worker's clock.
    let began: UInt64
    var firstByte: UInt64 = 0
    var connected: UInt64 = 0
    /// The gateway's own share so far: from the request's arrival to its sending, and the same for the answer's head.
    var processing: UInt64 = 0
    var connectBegan: UInt64 = 0
    var status: UInt16 = 0
    /// Bytes of the request's head, and of the heads sent to the client.
    var headBytes: UInt32 = 0
    var sentHeadBytes: UInt32 = 0
    /// Most content that the request may have.
    var contentBytesMax = UInt64.max
    /// Bytes of content as framed on the wire.
    var receivedBytes: UInt64 = 0
    var sentToClient: UInt64 = 0

    init(downstream: SlotID, generation: Int32, framing: BodyFraming, began: UInt64) {
        self.downstream = downstream
        self.generation = generation
        self.began = began
        requestFraming = framing
        request = ContentReader(framing)
        requestDone = framing.isEmpty
    }
}

extension BodyFraming {
    /// No byte of content follows the head.
    var isEmpty: Bool {
        switch self {
        case .none: true
        case .length(let count): count == 0
        case .chunked, .untilClose: false
        }
    }
}
