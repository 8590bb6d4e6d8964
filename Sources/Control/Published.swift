import Kernel
import Telemetry

/// What the control thread shows to the admin port, the exporter and the main thread.
public struct Published: Sendable {
    /// The documents that are being served.
    public var documents = DocumentSet()
    /// The state of every object.
    public var objects: [ObjectStatus] = []
    /// What is wrong now, also with documents that were not taken.
    public var problems: [ConfigProblem] = []
    /// Names of series and listeners, for metrics and the access log.
    public var names = SeriesNames()
    /// Whether the last reading of the documents was taken whole; nil before the first.
    public var isLastReloadGood: Bool?
    /// All sockets stand and no drain has begun.
    public var isReady = false
    public var isDraining = false
    /// Counts the snapshots that were published.
    public var generation: UInt64 = 0

    public init() {}
}

/// `Published`, shared between threads.
public typealias PublishedState = Lock<Published>

/// What other threads ask of the control thread.
public enum ControlMessage: Sendable {
    /// Read all documents again (SIGHUP).
    case reread
    /// The addresses of a DNS name changed.
    case resolved(name: String, addresses: [SocketAddress])
    /// Leave the loop.
    case stop
}

/// What the observer's thread is told.
public enum ObserverMessage: Sendable {
    /// Keep these names resolved.
    case names([String])
    /// Ask the endpoints of these pools how they are.
    case pools([WatchedPool])
    /// Leave the loop.
    case stop
}
