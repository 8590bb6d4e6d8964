import HTTP

/// Bounds and times of a `Server`; times are milliseconds.
public struct ServerSettings: Sendable {
    /// Connections open at once; further ones wait in the listener's queue.
    public var connections: Int
    /// Where all are open, the one that owes a request for the longest makes room for a new one.
    public var makesRoom: Bool
    /// Bounds of a request head.
    public var head: HeadLimits
    /// From the first byte of a head to its last; then 408.
    public var headMilliseconds: UInt64
    /// Silence between exchanges, and before the first; then the connection is closed.
    public var idleMilliseconds: UInt64
    /// Silence while content is awaited; then 408.
    public var contentIdleMilliseconds: UInt64
    /// Time in which a client takes no byte of an answer; then the exchange is cancelled.
    public var writeStallMilliseconds: UInt64
    /// Bytes of an answer in pieces that may wait for a client before `write` is refused.
    public var waitingBytes: Int
    /// Exchanges on one connection; the last answer carries `connection: close`.
    public var exchangesPerConnection: Int
    /// Value of a `server` field on every answer; nil: no such field.
    public var name: StaticString?
    /// Value of a `keep-alive` field on every answer; nil: no such field.
    public var keepAlive: StaticString?

    public init(
        connections: Int = 1_024,
        makesRoom: Bool = false,
        head: HeadLimits = .request,
        headMilliseconds: UInt64 = 10_000,
        idleMilliseconds: UInt64 = 75_000,
        contentIdleMilliseconds: UInt64 = 30_000,
        writeStallMilliseconds: UInt64 = 60_000,
        waitingBytes: Int = 64 << 10,
        exchangesPerConnection: Int = .max,
        name: StaticString? = nil,
        keepAlive: StaticString? = nil
    ) {
        self.connections = connections
        self.makesRoom = makesRoom
        self.head = head
        self.headMilliseconds = headMilliseconds
        self.idleMilliseconds = idleMilliseconds
        self.contentIdleMilliseconds = contentIdleMilliseconds
        self.writeStallMilliseconds = writeStallMilliseconds
        self.waitingBytes = waitingBytes
        self.exchangesPerConnection = exchangesPerConnection
        self.name = name
        self.keepAlive = keepAlive
    }

    /// Unread bytes of a refused request that are read and dropped, so that the answer is not lost
    /// to a reset.
    static var lingerBytes: Int { 256 << 10 }
    static var lingerMilliseconds: UInt64 { 2_000 }
    /// Bytes that one connection may move in one turn; then the others have theirs.
    static var turnBytes: Int { 256 << 10 }
    /// How long a listener rests when no descriptor or slot is left.
    static var acceptPauseMilliseconds: UInt64 { 100 }
    /// Connections taken from one listener in one turn.
    static var acceptBatch: Int { 64 }
}
