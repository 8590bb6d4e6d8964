import BasicContainers
import HTTP
import Kernel

/// One accepted connection of a `Server`.
struct Connection: ~Copyable {
    enum Phase: UInt8 {
        /// Waiting for a request head, or for the rest of one.
        case head
        /// Waiting for content; with `.pieces` the exchange is already open.
        case content
        /// The request is complete and its answer is not.
        case answering
        /// All is answered; closed as soon as the last byte is written.
        case flushing
        /// Our side is shut; input is dropped until the client closes.
        case lingering
    }

    /// How the content of the answer is framed, and what is left of it.
    enum Answer: Equatable {
        /// No head was written yet.
        case notBegun
        /// So many bytes are still to come.
        case length(UInt64)
        case chunked
        case untilClose
        /// The answer has no content on the wire: HEAD, 204, 304.
        case headOnly
    }

    let socket: Socket
    /// The tag of the listener that took it.
    let listener: UInt32
    let peer: SocketAddress

    var phase = Phase.head
    var answer = Answer.notBegun
    /// The current or last exchange.
    var number: UInt32 = 0
    /// Answers that were completed.
    var served = 0
    /// Whether an answer is owed to a responder's exchange.
    var isOpen = false

    /// There may be something to read.
    var isReadable = false
    /// The client will send no more, or is gone.
    var peerEnded = false
    /// Writing failed; the connection is only waiting to be removed.
    var isBroken = false
    /// It is in the list of connections to look at in the next turn.
    var isReady = false
    /// A `write` was refused, and the responder waits for room.
    var awaitsRoom = false
    /// The connection ends with the current answer.
    var closes = false
    /// It ends so, but the head does not say it.
    var closesSilently = false
    /// Content of the request was not read when its answer was given.
    var lingers = false
    var isHead = false
    var version = Version.http11

    var plan = ContentPlan.pieces
    var reader = ContentReader(.none)
    /// A part of a head has come.
    var hasBegunHead = false
    /// Bytes of an incomplete head that need not be scanned again.
    var scanned = 0
    /// Bytes read or written in this turn.
    var turnBytes = 0
    /// Bytes dropped while lingering.
    var dropped = 0

    /// Unread input: a part of a head, or what follows the request that is being answered.
    var held: Buffer?
    /// The head of a request whose content is being gathered.
    var headBytes: Buffer?
    /// Content gathered so far.
    var content: Buffer?
    /// Output that the socket did not take.
    var waiting: Buffer?
    var deadline = Deadline()

    init(_ socket: consuming Socket, listener: UInt32, peer: SocketAddress) {
        self.socket = socket
        self.listener = listener
        self.peer = peer
    }

    /// Whether bytes wait in the socket; false also at its end.
    var hasUnreadInput: Bool {
        var room = RigidArray<UInt8>(capacity: 1)
        return room.edit { output in
            if case .bytes = socket.peek(into: &output) { return true }
            return false
        }
    }
}
