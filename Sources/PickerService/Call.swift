import HTTP
import HTTPCodec
import Inference
import Kernel
import Protocols
import Runtime

/// One call: what a gateway says and hears about one request, or a question about health.
struct Call: ~Copyable {
    /// Which method is called.
    enum Method: BitwiseCopyable {
        case unknown, process, healthCheck, healthWatch
    }

    /// How far a `Process` call is.
    enum Stage: BitwiseCopyable {
        /// Nothing is known of the request.
        case fresh
        /// Its content is read, and its endpoint will be picked by it.
        case reading
        /// It stands in the pool's queue.
        case waiting
        /// Its endpoint is told; what follows goes on as it comes.
        case passing
        /// The answer's head was seen.
        case answering
        /// All is said; what still comes is dropped.
        case over
    }

    /// Where a request stands with its pick.
    enum Pick: BitwiseCopyable {
        case none
        case waiting(Ticket)
        case leased(Lease)
    }

    /// Which model is asked for in place of the one that the client names.
    struct Renaming {
        let asked: ModelName
        let served: ModelName
        /// Where content behind the name has moved to, by how many bytes.
        let moved: (behind: Int, by: Int)
    }

    let connection: SlotID
    let stream: StreamID
    let began: UInt64
    var method = Method.unknown
    var stage = Stage.fresh
    /// Its head was read.
    var hasHead = false
    /// No message has come.
    var isSilent = true
    /// Our answer's head was sent.
    var isAnswered = false
    /// Takes gRPC's frames out of the stream's text.
    var reader = ContentReader()
    /// A frame that is not whole.
    var frames = Buffer()
    /// When it became `over`; 0 before.
    var overSince: UInt64 = 0

    // The request.
    var modes = ProcessingMessage.Modes()
    var hasModes = false
    /// The endpoint is told with the content, since the head had to be answered before.
    var tellsAtBody = false
    /// Reads the content as it comes; nil when nothing is read of it.
    var peek: RequestPeek?
    /// Another model's name in the place of the client's own.
    var renaming: Renaming?
    /// Puts the client's name back into the answer.
    var restore: ModelNameRestore?
    /// Content that waits for the pick, and the messages that it came in.
    var held = Buffer()
    var heldPieces = 0
    /// All of the request has come.
    var requestEnded = false
    /// It ended with trailers.
    var hasTrailers = false
    var request: PickRequest
    var pick = Pick.none
    /// Whose lease or place in the queue it is.
    var ledger: PoolLedger?
    /// Of the answer; 0 before its head.
    var status = 0

    // Health.
    /// What a watcher was told last.
    var toldHealth: HealthProtocol.Status?
    var isKnownService = false
    var isLiveness = false

    init(connection: SlotID, stream: StreamID, began: UInt64) {
        self.connection = connection
        self.stream = stream
        self.began = began
        request = PickRequest(model: 0, asker: Asker(worker: 0, exchange: 0))
    }

    var echoesRequest: Bool { modes.request == .fullDuplexStreamed }
    var echoesAnswer: Bool { modes.answer == .fullDuplexStreamed }

    /// Whether other content can take the place of what was held.
    var mayChangeRequest: Bool { echoesRequest || tellsAtBody }
    /// Whether the answer's content comes whole or can be held up, so that a name can be put back into it.
    var mayChangeAnswer: Bool { echoesAnswer || modes.answer == .buffered }
}
