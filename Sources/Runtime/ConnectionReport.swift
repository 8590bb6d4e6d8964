import HTTP
import Kernel

/// What is known of one connection of a client, or of one request that came in a stream of HTTP/2.
public struct ConnectionRow: BitwiseCopyable, Sendable {
    /// What is spoken.
    public enum Kind: UInt8, BitwiseCopyable, Sendable {
        /// Nothing is known yet: its first bytes or its handshake are incomplete.
        case opening
        case http1
        /// A connection whose requests are rows of their own.
        case http2
        /// One of those requests.
        case stream
        /// Bytes go both ways as they come.
        case tunnel
    }

    /// What it waits for.
    public enum Stage: UInt8, BitwiseCopyable, Sendable {
        /// The next request, or the rest of one.
        case reading
        /// The content of a request, until its endpoint is known.
        case holding
        /// A picker, or a place in a pool's queue.
        case picking
        /// A connection to the backend.
        case connecting
        /// The head of the answer.
        case awaitingAnswer
        /// The end of the answer.
        case answering
        /// The client, which takes what is left, or ends.
        case closing
    }

    public var worker: UInt32 = 0
    public var client: SocketAddress
    public var kind: Kind
    public var isSecure = false
    public var stage = Stage.reading
    /// Requests that came on it; of a stream 1.
    public var requestCount: UInt32 = 0
    /// Bytes that wait here for their use, or for the client to take them.
    public var waitingBytes = 0
    /// Whether the rest tells of a request.
    public var hasRequest = false
    public var method = Method.get
    public var ageNanoseconds: UInt64 = 0
    /// Of the listener and of the backend, as `SeriesNames` has them.
    public var listener = UInt32.max
    public var series = UInt32.max
    public var endpoint: SocketAddress?
    public var attempts: UInt8 = 0
    public var receivedBytes: UInt64 = 0
    public var sentBytes: UInt64 = 0

    public init(client: SocketAddress, kind: Kind) {
        self.client = client
        self.kind = kind
    }
}

/// A question to all workers which connections they have, and the answers: bounded copies, made between two ticks.
public final class ConnectionReport: Sendable {
    /// Rows of one worker; of more only the count is told.
    public static let rowsMax = 1_000

    private struct Answers {
        var rows: [ConnectionRow] = []
        var total = 0
        var missing: Int
        /// Of those that are missing, who was not reached.
        var unreached = 0
    }

    private let answers: Lock<Answers>

    /// A question to so many workers.
    public init(workers: Int) { answers = Lock(Answers(missing: workers)) }

    /// A worker's answer: its rows, and how many there were.
    public func take(_ rows: [ConnectionRow], total: Int) {
        answers.withLock {
            $0.rows += rows
            $0.total += total
            $0.missing -= 1
        }
    }

    /// A worker's mailbox was full: it will not answer.
    public func noteUnreached() { answers.withLock { $0.unreached += 1 } }

    /// Whether every worker has answered that was reached.
    public var isComplete: Bool { answers.withLock { $0.missing <= $0.unreached } }

    /// What has come: the rows, how many there would be, and how many workers have not answered.
    public var answer: (rows: [ConnectionRow], total: Int, missing: Int) {
        answers.withLock { ($0.rows, $0.total, max(0, $0.missing)) }
    }
}
