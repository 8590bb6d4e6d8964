import HTTP
import Kernel

/// Where a backend connection is between two events.
enum UpstreamPhase: UInt8 {
    case connecting
    case handshaking
    /// Carries an exchange.
    case active
    /// In its endpoint's pool.
    case idle
}

/// One backend connection; pooled between exchanges.
struct Upstream: ~Copyable {
    var link: Link
    /// An incomplete head of an answer, or bytes of a chunk header that is not complete.
    var input = Buffer()
    let endpointID: UInt32
    let clusterID: UInt32
    var phase = UpstreamPhase.connecting
    /// It served an exchange before the present one, so its silent death is to be expected.
    var wasReused = false
    var isQueued = false
    var exchange = SlotID.none
    /// Neighbours in the endpoint's list of idle connections; `.max`: none.
    var nextIdle = UInt32.max
    var previousIdle = UInt32.max
    var headScanned: Int32 = 0
    /// How long the backend said that it keeps an idle connection, less a second; 0: it did not say.
    var keepAliveMilliseconds: UInt32 = 0
    /// When connecting began, worker nanoseconds.
    var began: UInt64 = 0
    var timer = Deadline()

    init(_ socket: consuming Socket, endpointID: UInt32, clusterID: UInt32) {
        link = Link(socket)
        self.endpointID = endpointID
        self.clusterID = clusterID
    }
}

/// What a worker knows of one endpoint, by the endpoint's stable id.
struct EndpointState: BitwiseCopyable {
    /// Most recently used idle connection; `.max`: none.
    var firstIdle = UInt32.max
    /// Connections, in whatever phase.
    var open: Int32 = 0
    /// Exchanges that run on it.
    var active: Int32 = 0
    /// Failures to connect in a row.
    var failures: Int32 = 0
    /// Not chosen before this time while others are there; worker milliseconds.
    var avoidedUntil: UInt64 = 0
}
