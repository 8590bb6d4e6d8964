import HTTP
import Kernel

/// Where a client connection is between two events.
enum DownstreamPhase: UInt8 {
    /// A port that takes the PROXY protocol: its header is not complete; its bytes are in `input`.
    case introduction
    /// A TLS port: the ClientHello is not complete; its bytes are in `input`.
    case hello
    /// The TLS handshake goes on.
    case handshaking
    /// Between requests, or a head is incomplete in `input`.
    case reading
    /// An exchange runs; content of its request may still come.
    case exchanging
    /// The answer is sent; what is left of the request's content is read and dropped, then the next head.
    case discarding
    /// The answer is sent and the sending side is shut: what comes is dropped until the client ends or time is up.
    case lingering
    /// What is stuck is sent, then the connection ends as `ending` says.
    case closing
    /// An HTTP/2 connection: requests are its streams', each a downstream of its own.
    case multiplexing
    /// Bytes go both ways as they come, or will when a backend is found.
    case tunnel
}

/// How a connection ends once its output is gone.
enum Ending: UInt8 {
    /// At once: nothing unread is known.
    case plain
    /// With a lingering read, so that the answer is not lost to a reset.
    case linger
    /// At once and, on TLS, without a farewell: the framing shows that the answer was cut.
    case cut
    /// With a reset: the answer was cut, and only a reset shows it.
    case reset
}

/// What few connections need: apart, so that one that waits, as most do, stays small.
struct DownstreamAside: BitwiseCopyable {
    /// The address that a header of the PROXY protocol says the client asked for.
    var destination: SocketAddress?
    /// What of a request's content is still to be dropped in `discarding`.
    var discard = ContentReader(.none)
}

/// One client connection: its link, what it sent and nobody took yet, and the exchange it waits for.
///
/// With the slab's header a slot has at most 256 bytes: that, and an entry of the timer wheel, is what an idle connection
/// costs.
struct Downstream: ~Copyable {
    var link: Link
    /// Bytes received and not used: an incomplete head, a pipelined request, content that waits.
    var input = Buffer()
    /// The table's id of the (address, port) that it came to.
    let portID: UInt32
    /// On a TLS port: id of the listener whose certificate was shown; `.max` on a plain one.
    var tlsListenerID = UInt32.max
    /// What that listener's terms were at the handshake.
    var tlsTerms: UInt32 = 0
    /// The client: the other end, or whom a header of the PROXY protocol named.
    var peer: SocketAddress
    var phase: DownstreamPhase
    var ending = Ending.plain
    let isTLS: Bool
    /// A FIN came while an answer is owed and half-closed clients are allowed.
    var halfClosed = false
    /// In the ready ring.
    var isQueued = false
    /// A stream that is answered, whose client's time to take the rest begins at the end of the tick.
    var isUntimed = false
    /// With phase `multiplexing`: it was told to end.
    var isLeaving = false
    var exchange = SlotID.none
    /// A request is read whole before its route is chosen; it stands in `input`.
    var naming = SlotID.none
    /// Who may pass is asked about a request, which stands in `input`, or was.
    var authorization = SlotID.none
    /// What few connections need, in its slab; `.none`: nothing yet.
    var aside = SlotID.none
    /// Resume hint of the head parser.
    var headScanned: Int32 = 0
    /// Bytes of `input` that were found to hold no whole head; of HTTP/2, which head it is that is incomplete.
    var headTried: Int32 = 0
    /// Bytes that may still be dropped in `discarding` and `lingering`.
    var lingerBytes: Int32 = 0
    var requestCount: UInt32 = 0
    /// Neighbours among the streams of its connection; `.max`: none.
    var nextStream = UInt32.max
    var previousStream = UInt32.max
    /// With phase `multiplexing`: the session.
    var multiplexer = SlotID.none
    var timer = Deadline()

    init(
        _ socket: consuming Socket, peer: SocketAddress, portID: UInt32, isTLS: Bool
    ) {
        link = Link(socket)
        self.peer = peer
        self.portID = portID
        self.isTLS = isTLS
        phase = isTLS ? .hello : .reading
    }

    /// A stream of an HTTP/2 connection, with a request that is there to be read.
    init(_ stream: StreamReference, of connection: borrowing Downstream) {
        link = Link(stream)
        link.isReadable = true
        peer = connection.peer
        portID = connection.portID
        tlsListenerID = connection.tlsListenerID
        tlsTerms = connection.tlsTerms
        isTLS = connection.isTLS
        phase = .reading
    }

    /// Where its requests come in.
    var origin: RequestOrigin {
        RequestOrigin(
            portID: portID, isTLS: isTLS, tlsListenerID: tlsListenerID, tlsTerms: tlsTerms)
    }

    /// It is to end with a reset, or would end before the client has all of an answer that ends with it.
    var losesEnd: Bool {
        phase == .closing && (ending == .reset || (ending != .cut && link.isCongested))
    }

    /// Whether it is from this address, over TLS or not.
    @inline(always)
    func isClient(_ address: SocketAddress, isSecure: Bool) -> Bool {
        isTLS == isSecure && peer.isSameHost(as: address)
    }

    /// Reads once behind the bytes in `input`, at most `limit` bytes, over a plain link; says how many came.
    mutating func readBehind(atMost limit: Int) -> (result: LinkRead, count: Int) {
        let before = input.count
        let result = link.read(behind: &input, atMost: limit)
        return (result, input.count &- before)
    }

    /// A whole head was read; says where it came in.
    @inline(always)
    mutating func tookHead() -> RequestOrigin {
        headScanned = 0
        headTried = 0
        requestCount &+= 1
        return origin
    }

    /// The next request is waited for until a deadline, 0 for none; says whether something of it may be here, or something
    /// of the last answer is stuck, and whether the wheel must get an entry.
    @inline(always)
    mutating func awaitRequest(until deadline: UInt64) -> (hasMore: Bool, mustArm: Bool) {
        phase = .reading
        headScanned = 0
        return (!input.isEmpty || link.isReadable || link.isCongested, timer.move(to: deadline))
    }

    /// An exchange begins; what the client does meanwhile has no deadline yet.
    @inline(always)
    mutating func begin(_ slot: SlotID) {
        exchange = slot
        phase = .exchanging
        timer.at = 0
    }
}
