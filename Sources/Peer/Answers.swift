import BasicContainers
import HTTP
import Kernel

/// The answering half of a `Server`: what a responder uses, inside its calls or later.
///
/// An answer is `send`, or `start`, any number of `write` and `finish`. Whatever names an exchange
/// that is over is ignored, so a late answer to a client that has left is no error.
public struct Answers: ~Copyable {
    var connections: Slab<Connection>
    var pool = BufferPool(budget: nil)
    /// Output of `stagedFor` that is collected, to be sent by one call.
    var staged = RigidArray<UInt8>(capacity: 64 << 10)
    var stagedFor = SlotID.none
    /// The head that is written next; fields may already be in it.
    var response = ResponseHead(limits: .response)
    /// Whether `response` was begun by `addField`.
    var hasFields = false
    /// Connections to look at in the next turn.
    var ready = UniqueArray<SlotID>()
    /// The connection whose input is being read: it needs no place in `ready`.
    var current = SlotID.none
    var wheel: TimerWheel
    var date = DateField()
    /// Milliseconds of the monotonic clock when the last event came.
    var now: UInt64
    let settings: ServerSettings
    let kind: UInt8

    init(kind: UInt8, settings: ServerSettings, now: UInt64) {
        self.kind = kind
        self.settings = settings
        self.now = now
        connections = Slab(capacity: settings.connections)
        wheel = TimerWheel(now: now)
    }

    // MARK: - Questions

    /// Whether the exchange is still to be answered.
    public func isOpen(_ exchange: ExchangeID) -> Bool {
        let id = exchange.connection
        return connections.contains(id) && connections[id].isOpen
            && connections[id].number == exchange.number && !connections[id].isBroken
    }

    /// The tag of the listener that the exchange came by; nil when it is over.
    public func listener(_ exchange: ExchangeID) -> UInt32? {
        isOpen(exchange) ? connections[exchange.connection].listener : nil
    }

    /// The client's address; nil when the exchange is over.
    public func peer(_ exchange: ExchangeID) -> SocketAddress? {
        isOpen(exchange) ? connections[exchange.connection].peer : nil
    }

    /// How many connections are open.
    public var connectionCount: Int { connections.count }

    // MARK: - Whole answers

    /// Adds a field to the next head that is written, whichever exchange it is for.
    ///
    /// Call it directly before `send` or `start`. A line that is invalid or does not fit is left out.
    public mutating func addField(_ name: StaticString, _ value: Span<UInt8>) {
        beginFields()
        _ = response.append(name: name, value: value)
    }

    /// Adds a field of literals to the next head.
    public mutating func addField(_ name: StaticString, _ value: StaticString) {
        addField(name, ByteScan.bytes(value))
    }

    /// Answers an exchange with all of its content; an empty `type` writes no content type.
    ///
    /// What the client does not take at once is kept, whatever its size.
    public mutating func send(
        _ exchange: ExchangeID, status: Int, type: StaticString, content: Span<UInt8>
    ) {
        guard isOpen(exchange) else { return dropFields() }
        let id = exchange.connection
        let isBare = Status.hasNoContent(status)
        let framing = isBare ? BodyFraming.none : .length(UInt64(content.count))
        writeHead(id, status: status, type: type, framing: framing)
        if !isBare, !connections[id].isHead { emit(id, content) }
        complete(id)
    }

    // MARK: - Answers in pieces

    /// Begins an answer; `length` is the number of bytes to come, nil when that is not known.
    public mutating func start(
        _ exchange: ExchangeID, status: Int, type: StaticString, length: UInt64?
    ) {
        guard isOpen(exchange), connections[exchange.connection].answer == .notBegun else {
            return dropFields()
        }
        let id = exchange.connection
        let framing: BodyFraming
        if Status.hasNoContent(status) {
            framing = .none
        } else if let length {
            framing = .length(length)
        } else if connections[id].version == .http10 {
            framing = .untilClose
            connections[id].closes = true
        } else {
            framing = .chunked
        }
        writeHead(id, status: status, type: type, framing: framing)
        guard isOpen(exchange) else { return }
        if connections[id].isHead {
            connections[id].answer = .headOnly
            return
        }
        connections[id].answer =
            switch framing {
            case .none: .headOnly
            case .length(let length): .length(length)
            case .chunked: .chunked
            case .untilClose: .untilClose
            }
    }

    /// Bytes that `write` takes before it refuses; 0 when the exchange is over or must wait.
    public func room(_ exchange: ExchangeID) -> Int {
        guard isOpen(exchange) else { return 0 }
        let id = exchange.connection
        if connections[id].turnBytes >= ServerSettings.turnBytes { return 0 }
        return max(0, settings.waitingBytes - waitingCount(id))
    }

    /// Whether the answer's head has been written.
    public func hasStarted(_ exchange: ExchangeID) -> Bool {
        isOpen(exchange) && connections[exchange.connection].answer != .notBegun
    }

    /// Writes a piece of an answer that was started; one chunk, where the answer is chunked.
    ///
    /// All or nothing: false means that the client is behind (or has had its turn), and
    /// `Responder.resume` will say when there is room. It is also false when the exchange is over.
    /// An empty piece writes nothing.
    public mutating func write(_ exchange: ExchangeID, _ piece: Span<UInt8>) -> Bool {
        guard isOpen(exchange) else { return false }
        let id = exchange.connection
        let answer = connections[id].answer
        precondition(answer != .notBegun, "An answer is started before it is written.")
        if piece.isEmpty || answer == .headOnly { return true }
        if room(exchange) == 0 {
            awaitRoom(exchange)
            return false
        }
        connections[id].turnBytes += piece.count
        switch answer {
        case .length(let left):
            precondition(left >= piece.count, "An answer is not longer than it said.")
            connections[id].answer = .length(left - UInt64(piece.count))
            emit(id, piece)
        case .chunked:
            emitChunkHeader(id, count: piece.count)
            emit(id, piece)
            emit(id, ByteScan.bytes("\r\n"))
        case .untilClose:
            emit(id, piece)
        case .headOnly, .notBegun:
            break
        }
        return isOpen(exchange)
    }

    /// Asks for `Responder.resume` as soon as there is room; a refused `write` asks so itself.
    public mutating func awaitRoom(_ exchange: ExchangeID) {
        guard isOpen(exchange) else { return }
        let id = exchange.connection
        connections[id].awaitsRoom = true
        // With bytes waiting, the socket's next event comes first.
        if connections[id].waiting == nil { makeReady(id) }
    }

    /// Ends an answer that was started; one shorter than its length is broken off visibly.
    public mutating func finish(_ exchange: ExchangeID) {
        guard isOpen(exchange) else { return }
        let id = exchange.connection
        switch connections[id].answer {
        case .notBegun:
            preconditionFailure("An answer is started before it is finished.")
        case .length(let left) where left > 0:
            return abort(exchange)
        case .chunked:
            emit(id, ByteScan.bytes("0\r\n\r\n"))
        case .length, .untilClose, .headOnly:
            break
        }
        if connections.contains(id), !connections[id].isBroken { complete(id) }
    }

    /// Breaks an answer off: what was written is sent, then the connection is closed without an end.
    public mutating func abort(_ exchange: ExchangeID) {
        guard isOpen(exchange) else { return dropFields() }
        let id = exchange.connection
        if connections[id].answer == .untilClose { connections[id].socket.resetOnClose() }
        connections[id].closes = true
        complete(id)
    }

    /// Makes the connection end with this exchange's answer.
    ///
    /// Announced, its head says `connection: close`, so this comes before the head is written.
    public mutating func closeAfter(_ exchange: ExchangeID, isAnnounced: Bool) {
        guard isOpen(exchange) else { return }
        if isAnnounced {
            connections[exchange.connection].closes = true
        } else {
            connections[exchange.connection].closesSilently = true
        }
    }

    /// Sends what was collected; the server does so itself at the end of `handle` and `tick`.
    public mutating func flush() { flushStaged() }
}
