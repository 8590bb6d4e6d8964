import Kernel
import Telemetry

/// Whom a session is for: a client, the address it asked, and the port.
struct DatagramClient: BitwiseCopyable, Hashable {
    let address: SocketAddress
    /// Without its port, which the table's port says; any, where the system did not say.
    let asked: SocketAddress
    let portID: UInt32

    /// A number that nobody can foresee who does not know the seed: SipHash, which the standard library keys for the
    /// process, over the seed and all of it.
    func hash(seed: UInt64) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(seed)
        hasher.combine(self)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}

/// Where a client's datagrams go, as the documents said when the first one came.
struct DatagramRoute: BitwiseCopyable {
    let clusterID: UInt32
    let endpointID: UInt32
    let endpoint: SocketAddress
    let listenerID: UInt32
    let series: UInt32
    let backendSeries: UInt32
    /// Without a datagram in either direction it ends after so long.
    let idleMilliseconds: UInt32
}

/// One client of a UDP port and the backend that answers it, over a socket of its own, which takes from nobody else.
struct DatagramSession: ~Copyable {
    let socket: DatagramSocket
    let client: DatagramClient
    /// Slot of the listening socket that the client came by and gets its answers from.
    let port: Int
    let route: DatagramRoute
    let hash: UInt64
    /// The next session of the same bucket; `.max`: none.
    var nextInBucket = UInt32.max
    /// Neighbours in the order of their last datagrams; `.max`: none.
    var older = UInt32.max
    var newer = UInt32.max
    /// Worker nanoseconds.
    let began: UInt64
    /// When the first answer came; 0: none has.
    var firstAnswer: UInt64 = 0
    /// Bytes from the client that the backend was sent, and from the backend that the client was.
    var receivedBytes: UInt64 = 0
    var sentBytes: UInt64 = 0
    var timer = Deadline()

    init(
        _ socket: consuming DatagramSocket, _ client: DatagramClient, hash: UInt64, port: Int,
        _ route: DatagramRoute, began: UInt64
    ) {
        self.socket = socket
        self.client = client
        self.hash = hash
        self.port = port
        self.route = route
        self.began = began
    }
}
