import Inference
import Kernel

/// What the gateway knows of a request to a pool beyond its head: what its content says, and who answers it.
struct PoolRequest: ~Copyable {
    /// Where a request to a pool stands with its pick.
    enum Pick: BitwiseCopyable {
        /// No endpoint is picked.
        case none
        /// It stands in the pool's queue.
        case waiting(Ticket)
        /// The right to send it to an endpoint.
        case leased(Lease)
    }

    /// `PoolDescription.id`.
    let pool: UInt32
    let path: InferencePath
    /// Reads the content as it comes; nil when nothing is read of it.
    var peek: RequestPeek?
    /// What the pick is asked with; its hash of the prompt is made anew for each attempt.
    var request: PickRequest
    var pick = Pick.none
    /// Where the content begins in the exchange's buffer.
    var contentStart = 0
    /// Bytes of content so far, without their framing.
    var contentBytes = 0
    /// The content stands in the buffer as one chunk; its size is written when all of it is there.
    var isChunked = false
    /// The name that stands in the content instead of the client's own.
    var served: ModelName?
    /// Where content after it has moved to, by how many bytes.
    var moved = (behind: Int.max, by: 0)
    /// Puts the client's name back into the answer.
    var restore: ModelNameRestore?
    /// What the end of the answer says of how long it took, where the engine does.
    var tail: AnswerTail?
    /// The last chunk is written and trailer lines follow.
    var isInTrailers = false

    init(pool: UInt32, path: InferencePath, asker: Asker) {
        self.pool = pool
        self.path = path
        request = PickRequest(model: 0, asker: asker)
    }
}
