import BasicContainers
import HTTP
import HTTPCodec
import Kernel

/// A stream of an HTTP/2 connection, as a link names it.
struct StreamReference: BitwiseCopyable {
    /// The connection, in `Multiplexers`.
    let connection: SlotID
    let stream: StreamID

    /// No stream: of no connection.
    static var none: StreamReference { StreamReference(connection: .none, stream: .none) }
}

/// One HTTP/2 connection: the codec's session, whose link it speaks over, and what streams it carries.
struct Multiplexer: ~Copyable {
    var session: HTTP2Session
    /// The client's or the backend's connection, in its slab.
    let owner: SlotID
    /// The owner is a client's connection.
    let isServer: Bool
    /// In the list of those that have something to send.
    var isListed = false
    /// A PING was sent because nothing came for long, and nothing has come since.
    var awaitsPing = false
    /// No new streams: the final GOAWAY is said, or the peer's has come.
    var isEnding = false
    /// Its backend takes no streams, and the time until it may take some runs.
    var isAwaited = false
    /// Its connection has ended: what of the streams' answers has come can still be read.
    var isLost = false
    /// Streams of a client that are answered and have no deadline for what is not sent.
    var untimed: UInt32 = 0
    /// First of its streams' slots, which are in the owner's slab; `.max`: none.
    var firstStream = UInt32.max

    init(_ session: consuming HTTP2Session, owner: SlotID, isServer: Bool) {
        self.session = session
        self.owner = owner
        self.isServer = isServer
    }

    /// No stream runs and none will.
    var isFinished: Bool { isEnding && firstStream == .max && !hasOutput }

    var hasOutput: Bool { session.wantsOutput && !isLost }

    /// The session is over, and what it had to say about that is said.
    var hasFailed: Bool { session.isOver && !hasOutput && !isLost }
}

/// What a write to a stream gave.
enum StreamWrite {
    case taken
    /// Taken, and no more should be given before the session says so.
    case congested
    case failed
}

/// All HTTP/2 connections of one worker, and which of them have something to send at the end of the tick.
struct Multiplexers: ~Copyable {
    /// More than a worker may have connections.
    private static var connectionsMax: Int { 1 << 18 }

    private var slots = Slab<Multiplexer>(capacity: connectionsMax)
    private var unsent = UniqueArray<SlotID>()
    private var round = UniqueArray<SlotID>()

    subscript(id: SlotID) -> Multiplexer {
        @inline(always) _read { yield slots[id] }
        @inline(always) _modify { yield &slots[id] }
    }

    var count: Int { slots.count }

    func contains(_ id: SlotID) -> Bool { slots.contains(id) }

    mutating func insert(_ multiplexer: consuming Multiplexer) -> SlotID? {
        slots.insert(multiplexer)
    }

    /// Ends a connection; its streams must be gone.
    mutating func destroy(_ id: SlotID, _ pool: inout BufferPool) {
        guard slots.contains(id) else { return }
        slots[id].session.release(&pool)
        slots.destroy(id)
    }

    // MARK: - Streams

    /// Reads what a stream has, as HTTP/1.1 bytes.
    mutating func read(
        _ stream: StreamReference, into bytes: inout Buffer, _ pool: inout BufferPool
    ) -> LinkRead {
        guard slots.contains(stream.connection) else { return .failed }
        let result = slots[stream.connection].session.read(stream.stream, into: &bytes, &pool)
        noteOutput(stream.connection)
        return switch result {
        case .bytes: .bytes
        case .wouldBlock: slots[stream.connection].isLost ? .failed : .wouldBlock
        case .end: .end(clean: true)
        case .reset: .failed
        }
    }

    /// Takes the head of a stream's request, where nothing else of it has come.
    mutating func takeHead(_ stream: StreamReference, into head: inout Buffer) -> Bool {
        guard slots.contains(stream.connection) else { return false }
        return slots[stream.connection].session.takeHead(stream.stream, into: &head)
    }

    /// Gives a stream bytes of HTTP/1.1.
    mutating func send(
        _ stream: StreamReference, _ head: Span<UInt8>, then content: Span<UInt8>,
        _ pool: inout BufferPool
    ) -> StreamWrite {
        guard slots.contains(stream.connection),
            slots[stream.connection].session.send(stream.stream, head, then: content, &pool)
        else { return .failed }
        noteOutput(stream.connection)
        return slots[stream.connection].session.isCongested(stream.stream) ? .congested : .taken
    }

    /// Gives a stream its answer's head, whose lines are ranges of `text`, and says how many bytes it has; 0 where it has
    /// to be given as text.
    mutating func sendHead(
        _ stream: StreamReference, _ head: borrowing ResponseHead, _ text: Span<UInt8>,
        headBytes: Int, framing: BodyFraming, _ pool: inout BufferPool
    ) -> Int {
        guard slots.contains(stream.connection) else { return 0 }
        let count = slots[stream.connection].session.sendHead(
            stream.stream, head, text, headBytes: headBytes, framing: framing, &pool)
        if count > 0 { noteOutput(stream.connection) }
        return count
    }

    /// Bytes that a stream was given and that are not framed yet.
    func unsentBytes(_ stream: StreamReference) -> Int {
        slots.contains(stream.connection)
            ? slots[stream.connection].session.unsentBytes(stream.stream) : 0
    }

    /// Ends what a stream sends while it is still read, as a FIN does.
    mutating func sendEnd(_ stream: StreamReference) {
        guard slots.contains(stream.connection) else { return }
        slots[stream.connection].session.sendEnd(stream.stream)
        noteOutput(stream.connection)
    }

    /// Whether all that a stream was given has been framed.
    func isFlushed(_ stream: StreamReference) -> Bool {
        !slots.contains(stream.connection)
            || slots[stream.connection].session.isFlushed(stream.stream)
    }

    /// Whether a stream has its whole answer while its request has not ended.
    func isAnsweredEarly(_ stream: StreamReference) -> Bool {
        slots.contains(stream.connection)
            && slots[stream.connection].session.isAnsweredEarly(stream.stream)
    }

    /// Whether the backend did nothing about a stream's request, as it said or as its GOAWAY shows.
    func wasRefused(_ stream: StreamReference) -> Bool {
        slots.contains(stream.connection)
            && slots[stream.connection].session.wasRefused(stream.stream)
    }

    /// Ends a stream; what of its output is complete leaves before.
    mutating func close(_ stream: StreamReference, _ how: StreamClose, _ pool: inout BufferPool) {
        guard slots.contains(stream.connection) else { return }
        slots[stream.connection].session.close(stream.stream, how, &pool)
        noteOutput(stream.connection)
    }

    // MARK: - Output

    /// Lists a connection that has something to send, or nothing more to wait for.
    mutating func noteOutput(_ id: SlotID) {
        guard slots.contains(id), !slots[id].isListed,
            slots[id].hasOutput || slots[id].isEnding
        else { return }
        slots[id].isListed = true
        unsent.append(id)
    }

    /// Lists a connection with a stream more that is to have a deadline once what can be sent is sent.
    mutating func willTime(_ id: SlotID) {
        slots[id].untimed += 1
        if slots[id].isListed { return }
        slots[id].isListed = true
        unsent.append(id)
    }

    var hasOutput: Bool { !unsent.isEmpty }

    /// Begins a round over the connections that were listed so far.
    mutating func beginRound() {
        round.removeAll(keepingCapacity: true)
        swap(&round, &unsent)
    }

    /// The next connection of the round; it may be gone.
    mutating func nextOfRound() -> SlotID? {
        guard let id = round.popLast() else { return nil }
        if slots.contains(id) { slots[id].isListed = false }
        return id
    }
}
