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
    /// An HTTP/2 connection: exchanges are its streams', each an upstream of its own.
    case multiplexing
    /// Bytes go both ways as they come.
    case tunnel
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
    /// It cannot be used before what its cluster says is done: TLS, a PROXY header, HTTP/2.
    var needsCluster = false
    /// It is being made, and others wait for it since it may turn out to be HTTP/2.
    var isPromised = false
    /// It began with a header of the PROXY protocol, so that it speaks for one client and is not pooled.
    var isIntroduced = false
    var exchange = SlotID.none
    /// With phase `multiplexing`: the session.
    var multiplexer = SlotID.none
    /// Neighbours in the endpoint's list of idle connections, or of HTTP/2 connections, or among the streams of such a
    /// one; `.max`: none.
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

    /// A stream of an HTTP/2 connection for an exchange.
    init(_ stream: StreamReference, of connection: borrowing Upstream, for exchange: SlotID) {
        link = Link(stream)
        endpointID = connection.endpointID
        clusterID = connection.clusterID
        phase = .active
        wasReused = connection.wasReused
        self.exchange = exchange
    }

    /// It can carry another exchange: nothing ended, is stuck, or may still stand in the socket.
    ///
    /// A read that filled the buffer leaves `isReadable`: what follows would be the next exchange's answer.
    var isClean: Bool { !link.peerEnded && !link.isCongested && !link.isReadable }

    /// Leaves the pool for an exchange; the next idle connection of the endpoint.
    @inline(always)
    mutating func leavePool(for exchange: SlotID) -> UInt32 {
        let next = nextIdle
        nextIdle = .max
        previousIdle = .max
        phase = .active
        self.exchange = exchange
        return next
    }

    /// Enters the pool as its endpoint's most recently used; says its cluster and whether the wheel must get an entry.
    @inline(always)
    mutating func enterPool(
        before first: UInt32, now: UInt64, limit: UInt32
    ) -> (cluster: UInt32, mustArm: Bool) {
        exchange = .none
        phase = .idle
        wasReused = true
        headScanned = 0
        nextIdle = first
        let said = keepAliveMilliseconds
        let milliseconds = said == 0 ? limit : min(said, limit)
        return (clusterID, timer.move(to: milliseconds == 0 ? 0 : now &+ UInt64(milliseconds)))
    }
}

/// What a worker knows of one endpoint, by the endpoint's stable id.
struct EndpointState: BitwiseCopyable {
    /// Most recently used idle connection; `.max`: none.
    var firstIdle = UInt32.max
    /// First HTTP/2 connection that takes new streams; `.max`: none.
    var firstMultiplexed = UInt32.max
    /// Connections being made that may turn out to be HTTP/2.
    var promised: Int32 = 0
    /// ALPN chose HTTP/1.1 the last time.
    var declinedHTTP2 = false
    /// Connections, in whatever phase.
    var open: Int32 = 0
    /// Exchanges that run on it.
    var active: Int32 = 0
    /// Failures to connect in a row.
    var failures: Int32 = 0
    /// Not chosen before this time while others are there; worker milliseconds.
    var avoidedUntil: UInt64 = 0
}
