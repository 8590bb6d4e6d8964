import HTTP
import Kernel
import Runtime
import Telemetry

/// How far an exchange is on the backend's side.
enum ExchangePhase: UInt8 {
    /// The request's content is read and kept; no endpoint is picked yet.
    case holding
    /// An external picker is asked where it goes; its content is read.
    case picking
    /// Waits for its turn at the cluster, or for a connection.
    case connecting
    /// The request's head is sent; no final answer's head has come.
    case awaitingHead
    /// The answer's head was sent to the client.
    case answering
    /// Bytes go both ways as they come.
    case tunnel
}

/// What an exchange that is `connecting` waits for beside a connection of its own.
enum ExchangeWait: UInt8 {
    case nothing
    /// A connection that others have, in the cluster's queue.
    case turn
    /// It has its turn in the next round.
    case called
    /// The time until it is tried again; `attemptDeadline` says when it is over.
    case retry
}

/// Places of the log's strings and of the request as sent, in an exchange's buffer.
struct ExchangeRecord: BitwiseCopyable {
    /// Behind the client's address, where a believed proxy told of it; else at the beginning.
    var path = ByteRange.none
    var authority = ByteRange.none
    var userAgent = ByteRange.none
    var requestID = ByteRange.none
    /// Where a page of another origin asks that may read the answer.
    var origin = ByteRange.none
    /// The head as it goes to the backend.
    var head = ByteRange.none
    /// Where the value of Host stands in it, for an attempt at an endpoint with another name.
    var host = ByteRange.none
}

/// What takes an exchange off the usual way; most have none of it, which is one test.
struct ExchangeMarks: OptionSet, BitwiseCopyable {
    let rawValue: UInt16

    /// The request asks to go on with WebSocket.
    static var upgrades: ExchangeMarks { ExchangeMarks(rawValue: 1) }
    /// It has no client: what it carries is said and heard by a call to a picker.
    static var carrier: ExchangeMarks { ExchangeMarks(rawValue: 2) }
    /// Content and head go to the backend and the client as the picker of `call` returns them.
    static var processed: ExchangeMarks { ExchangeMarks(rawValue: 4) }
    /// It has a `call`.
    static var called: ExchangeMarks { ExchangeMarks(rawValue: 8) }
    /// It has a `poolRequest`.
    static var pooled: ExchangeMarks { ExchangeMarks(rawValue: 16) }
    /// It has no request: all bytes of the client's connection go to one backend.
    static var stream: ExchangeMarks { ExchangeMarks(rawValue: 32) }
    /// It has no client: it is a copy of a request for a mirror.
    static var mirror: ExchangeMarks { ExchangeMarks(rawValue: 64) }
    /// Copies of its request go to mirrors.
    static var mirrored: ExchangeMarks { ExchangeMarks(rawValue: 128) }
    /// Its rule says when it is tried again.
    static var retries: ExchangeMarks { ExchangeMarks(rawValue: 256) }
    /// It has no client: it asks whether a request may pass.
    static var asking: ExchangeMarks { ExchangeMarks(rawValue: 512) }
    /// It waits for leave to begin.
    static var authorizing: ExchangeMarks { ExchangeMarks(rawValue: 1024) }
    /// The token of its session was made with a key that signs no more.
    static var oldSessionKey: ExchangeMarks { ExchangeMarks(rawValue: 2048) }
    /// What is left of the answer's content, or of what the backend says in a tunnel, is moved without being seen.
    static var splicesAnswer: ExchangeMarks { ExchangeMarks(rawValue: 1 << 15) }
    /// The same for the request's content, or what the client says.
    static var splicesRequest: ExchangeMarks { ExchangeMarks(rawValue: 1 << 14) }
    /// The request's content came in small pieces the last time, which are cheaper to copy.
    static var copiesRequest: ExchangeMarks { ExchangeMarks(rawValue: 1 << 13) }
    /// What was moved of the answer is a chunk whose line end is still to be sent.
    static var owesLineEnd: ExchangeMarks { ExchangeMarks(rawValue: 1 << 12) }
    /// Somebody looks at the answer's content, or it is nobody's.
    static var watched: ExchangeMarks {
        [.pooled, .called, .processed, .carrier, .mirror, .asking]
    }

    /// Puts them in or takes them out.
    mutating func set(_ marks: ExchangeMarks, _ isSet: Bool) {
        if isSet { insert(marks) } else { remove(marks) }
    }
}

/// Timeouts of one exchange, milliseconds.
struct ExchangeTimes: BitwiseCopyable {
    let firstByte: UInt32
    let streamIdle: UInt32
    let requestBodyIdle: UInt32
    let clientWriteStall: UInt32
    let tunnelIdle: UInt32

    /// No timeouts at all.
    init() {
        firstByte = 0
        streamIdle = 0
        requestBodyIdle = 0
        clientWriteStall = 0
        tunnelIdle = 0
    }

    init(_ timeouts: borrowing Timeouts, isModelServer: Bool) {
        firstByte =
            isModelServer ? timeouts.modelFirstByteMilliseconds : timeouts.firstByteMilliseconds
        streamIdle = timeouts.streamIdleMilliseconds
        requestBodyIdle = timeouts.requestBodyIdleMilliseconds
        clientWriteStall = timeouts.clientWriteStallMilliseconds
        tunnelIdle = timeouts.tunnelIdleMilliseconds
    }
}

/// One request and its answers: what was decided, how far each direction is, what is to be told at the end.
struct Exchange: ~Copyable {
    // What it is given. What begins with a constant stands apart, in whole words, so that few stores make it.
    let downstream: SlotID
    let decision: KeptDecision
    var began: UInt64
    /// Most content that the request may have.
    let contentBytesMax: UInt64
    /// The listener's timeouts that hold while it runs; the table may be gone before it ends.
    var times: ExchangeTimes
    /// The generation of the documents that decided; -1 once it is released.
    var generation: Int32
    /// Bytes of the request's head.
    let headBytes: UInt32
    var request: ContentReader
    let method: Method
    let version: Version
    var keepsAlive: Bool
    var expectsContinue: Bool
    /// The client takes trailers (`TE: trailers`).
    let acceptsTrailers: Bool
    /// The client may end its sending side and still get its answer.
    let allowsHalfClose: Bool
    var marks: ExchangeMarks
    var requestDone: Bool
    private let byAddress = ByAddress()

    // Directions.
    var phase = ExchangePhase.connecting
    /// The backend took no more of the request; its answer may still come.
    var requestBroken = false
    /// The request's chunked content is framed anew: it carries extensions or trailers.
    var requestReframes = false
    var requestTrailers = false
    var answerReframes = false
    var answerTrailers = false
    var closesClient = false
    /// Its connection to the backend is not used again.
    var upstreamSpoiled = false

    // Attempts.
    /// Free of side effects, so that it may move to another endpoint.
    var isInference = false
    /// Host in the head is the endpoint's own and changes with it.
    var namesEndpoint = false
    var wait = ExchangeWait.nothing
    /// The attempt went over a connection from the pool.
    var usedPooled = false
    /// Counted against the budget of retries.
    var isRetry = false
    /// What came of the content is not all kept, so it cannot be sent again.
    var lacksContent = false
    /// The attempt is a stream of HTTP/2, which the backend may refuse unread.
    var isOverStream = false
    var sentBytes = false
    var status: UInt16 = 0
    var interimAnswers: UInt16 = 0
    /// One of them went on to the client.
    var hasPassedInterim = false
    /// Bytes of the heads sent to the client.
    var sentHeadBytes: UInt32 = 0
    /// How far what is kept in `buffer` has been given to the backend's connection.
    var replayed = UInt32.max
    var endpointID = UInt32.max
    /// The endpoint of the last attempt that failed; `.max`: none has.
    var failedEndpoint = UInt32.max
    /// A bit for each endpoint that failed, by the lowest bits of its id: several may share one.
    var failedEndpoints: UInt64 = 0
    /// When the session began that the request brought a token of, seconds since 1970, and the endpoint that it was with;
    /// `.max`: none.
    var sessionBegan: UInt32 = 0
    var sessionEndpoint = UInt32.max
    var upstream = SlotID.none
    /// Next in the cluster's queue of exchanges that wait for a connection.
    var nextWaiting = SlotID.none
    /// What is known of a request to a pool.
    var poolRequest = SlotID.none { didSet { marks.set(.pooled, poolRequest != .none) } }
    /// The call to the pool's external picker; of a carrier, the call that it carries.
    var call = SlotID.none { didSet { marks.set(.called, call != .none) } }
    /// First of the request's mirrors; of a copy, the mirror that it is; of one that asks, the authorization.
    var mirrors = SlotID.none
    var attempts: UInt8 = 0
    /// Strings for the log, the head as sent, and content that is kept for another attempt.
    var buffer: Buffer
    var record = ExchangeRecord()

    // Deadlines, worker milliseconds; 0: none.
    var requestDeadline: UInt64 = 0
    var attemptDeadline: UInt64 = 0
    var timer = Deadline()

    // What is told at the end; nanoseconds of the worker's clock.
    var firstByte: UInt64 = 0
    var connected: UInt64 = 0
    /// The gateway's own share so far: from the request's arrival to its sending, and the same for the answer's head.
    var processing: UInt64 = 0
    var connectBegan: UInt64 = 0
    /// Bytes of content as framed on the wire; over HTTP/2 without any framing.
    var receivedBytes: UInt64 = 0
    var sentToClient: UInt64 = 0

    var response = ContentReader(.none)
    /// How the client gets the content: as it came, chunked anew, or until the end of the connection.
    var answerFraming = BodyFraming.none
    /// Whether the answer told its own end (`data: [DONE]`, `message_stop`, `"done":true`); nil: it is no stream.
    var streamEnd: StreamEndScanner?
    var tunnel = Tunnel()

    /// An exchange as the decision about its head has it, with an empty buffer.
    @inline(always)
    init(
        _ downstream: SlotID, _ decision: borrowing Decision, _ head: borrowing RequestHead,
        _ settings: borrowing ExchangeSettings, _ buffer: consuming Buffer, generation: UInt32,
        headBytes: Int, began: UInt64
    ) {
        self.downstream = downstream
        self.decision = decision.kept
        self.buffer = buffer
        self.generation = Int32(truncatingIfNeeded: generation)
        self.began = began
        self.headBytes = UInt32(truncatingIfNeeded: headBytes)
        method = head.method
        version = head.version
        keepsAlive = head.keepsAlive
        expectsContinue = head.expectsContinue
        acceptsTrailers = head.acceptsTrailers
        request = ContentReader(head.framing)
        requestDone = head.framing.isEmpty
        allowsHalfClose = settings.allowsHalfClose
        // Content would stand between the head and what is said in the other protocol: such a request is an ordinary
        // one, as a server may choose (RFC 9110 §7.8).
        marks = head.upgrade == .websocket && head.framing.isEmpty ? .upgrades : []
        contentBytesMax = settings.contentBytesMax
        times = settings.other
    }

    /// An exchange without a request: a connection all of whose bytes go to one backend.
    init(
        stream downstream: SlotID, _ decision: Decision, _ settings: ExchangeSettings,
        generation: UInt32, began: UInt64
    ) {
        self.downstream = downstream
        self.decision = decision.kept
        buffer = Buffer()
        self.generation = Int32(truncatingIfNeeded: generation)
        self.began = began
        headBytes = 0
        method = .other
        version = .http11
        keepsAlive = false
        expectsContinue = false
        acceptsTrailers = false
        request = ContentReader(.none)
        requestDone = true
        allowsHalfClose = true
        marks = .stream
        contentBytesMax = .max
        times = settings.other
    }

    /// An exchange without a client, for a call to the picker that is this cluster; the call has the deadlines.
    init(call: SlotID, cluster: UInt32, began: UInt64) {
        downstream = .none
        var decision = KeptDecision()
        decision.clusterID = cluster
        self.decision = decision
        buffer = Buffer()
        self.call = call
        self.began = began
        generation = -1
        headBytes = 0
        method = .post
        version = .http11
        keepsAlive = false
        expectsContinue = false
        acceptsTrailers = true
        request = ContentReader(.none)
        requestDone = false
        allowsHalfClose = true
        marks = [.carrier, .called]
        namesEndpoint = true
        contentBytesMax = .max
        times = ExchangeTimes()
    }

    /// It has no request: all bytes of the client's connection go to one backend.
    var isStream: Bool { marks.contains(.stream) }

    /// The request asks to go on with WebSocket.
    var upgrades: Bool { marks.contains(.upgrades) }

    /// It has no client: what it carries is said and heard by a call to a picker.
    var isCarrier: Bool { marks.contains(.carrier) }

    /// Content and head go to the backend and the client as the picker of `call` returns them.
    var isProcessed: Bool {
        get { marks.contains(.processed) }
        set { marks.set(.processed, newValue) }
    }

    /// Its rule says when it is tried again (`Table.retry(rule:)`).
    var hasRetryRule: Bool {
        get { marks.contains(.retries) }
        set { marks.set(.retries, newValue) }
    }

    /// It has no client: it is a copy of a request for a mirror.
    var isMirror: Bool { marks.contains(.mirror) }

    /// Copies of its request go to mirrors, or have gone.
    var isMirrored: Bool {
        get { marks.contains(.mirrored) }
        set { marks.set(.mirrored, newValue) }
    }

    /// Content of the request is to come, and the backend is there to take it.
    @inline(always)
    var takesContent: Bool { phase != .connecting && !requestDone }

    /// The answer is under way, and only the end of the client's connection ends it.
    var answersUntilClose: Bool {
        phase == .answering && answerFraming == .untilClose
    }

    /// Kept content has not all been given to the backend's connection.
    @inline(always)
    var isReplaying: Bool { Int(replayed) < buffer.count }

    /// The nearer of the deadlines of the request and of its attempt; 0: none.
    var nearestDeadline: UInt64 {
        // 0 becomes the largest number and back.
        min(requestDeadline &- 1, attemptDeadline &- 1) &+ 1
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
