import Kernel

/// Names one lease of one pool.
public struct LeaseID: BitwiseCopyable, Hashable, Sendable {
    let slot: SlotID
}

/// Names one place in a pool's queue.
public struct Ticket: BitwiseCopyable, Hashable, Sendable {
    let slot: SlotID
}

/// What decided a pick, for `/decisions` and access records.
public enum PickReason: UInt8, Sendable, BitwiseCopyable {
    /// The only candidate.
    case only
    /// The client's session token.
    case session
    /// It holds the longest part of the prompt.
    case prefix
    /// The model is in its memory.
    case resident
    /// The model is being loaded there for somebody else.
    case loading
    /// The model has to be loaded.
    case cold
    /// The best of the scores otherwise.
    case score
    /// All others, and it too, are ejected.
    case panic

    /// The case's name as a literal.
    public var word: StaticString {
        switch self {
        case .only: "only"
        case .session: "session"
        case .prefix: "prefix"
        case .resident: "resident"
        case .loading: "loading"
        case .cold: "cold"
        case .score: "score"
        case .panic: "panic"
        }
    }
}

/// The right to send one request to one endpoint; it is given back by `finished`, on every path.
public struct Lease: BitwiseCopyable, Sendable {
    public let id: LeaseID
    /// `PoolEndpoint.id`.
    public let endpoint: UInt32
    public let reason: PickReason
    /// Whether the endpoint has to load the model for it.
    public let isColdLoad: Bool
    /// Blocks of the prompt that the endpoint probably holds.
    public let matchedBlocks: UInt16
    /// How long the request stood in the queue.
    public let waitedMilliseconds: UInt32
}

/// Why a request got no endpoint (`inference-extension.md` §8).
public enum RejectionReason: UInt8, Sendable, BitwiseCopyable {
    /// The pool is saturated and the request may be shed, or may not wait.
    case saturated
    /// The queue is full.
    case queueFull
    /// It was in the queue, and somebody of a higher priority took its place.
    case evicted
    /// Nothing in the pool can take it.
    case noEndpoint
    /// No endpoint has the model.
    case modelUnknown
    /// It waited too long.
    case deadline

    /// The HTTP status of the answer.
    public var status: Int {
        switch self {
        case .saturated, .queueFull, .evicted: 429
        case .modelUnknown: 404
        case .noEndpoint, .deadline: 503
        }
    }

    /// The value of `x-llm-d-request-dropped-reason`; empty for none.
    public var droppedReason: StaticString {
        switch self {
        case .saturated, .queueFull: "rejected-saturated"
        case .evicted: "evicted-queue-pressure"
        case .deadline: "rejected-ttl-expired"
        case .noEndpoint, .modelUnknown: ""
        }
    }
}

/// A no, and when to ask again.
public struct Rejection: BitwiseCopyable, Sendable {
    public let reason: RejectionReason
    /// 0 for none.
    public let retryAfterMilliseconds: UInt32
}

/// The answer to a pick.
public enum PickOutcome: BitwiseCopyable, Sendable {
    case chosen(Lease)
    case waiting(Ticket)
    case rejected(Rejection)
}

/// What happened to a request in the queue; for the asker's worker.
public struct Grant: BitwiseCopyable, Sendable {
    public let asker: Asker
    public let ticket: Ticket
    /// nil: a lease waits to be claimed; otherwise the request left the queue without one.
    public let rejection: Rejection?
}

/// What an engine told about a request that it answered; nanoseconds, 0 for unknown.
public struct RequestTimings: BitwiseCopyable, Sendable {
    /// Time to have the model in memory; `load_duration`.
    public var load: UInt64 = 0
    /// Time to read the prompt; `prompt_eval_duration`.
    public var prompt: UInt64 = 0
    /// Whether `load` was told at all.
    public var isLoadKnown = false

    public init() {}
}

/// How a leased request ended.
public enum LeaseResult: BitwiseCopyable, Sendable {
    case done(RequestTimings)
    /// No connection.
    case connectFailed
    /// Nothing came in time.
    case timedOut
    /// The connection broke before the answer's head.
    case reset
    /// 503 or 429: take somebody else for a while; milliseconds, 0 for the pool's own choice.
    case busy(retryAfterMilliseconds: UInt32)
    /// 404: the endpoint does not have the model.
    case modelMissing
    /// Another 5xx.
    case serverError
    /// An answer that is the client's own fault, or one that says nothing of the endpoint.
    case refused
    /// The client went away.
    case cancelled
}
