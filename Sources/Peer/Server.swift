import BasicContainers
import HTTP
import Kernel

/// A small HTTP/1.1 server for conversations that are not forwarded.
///
/// It owns no loop: whoever does hands it the events whose tokens are of its kinds, and calls `tick`
/// after each batch. So it shares one loop and one thread with clients and other servers. It takes
/// the token kinds `kind` (listeners) and `kind + 1` (connections).
///
///     while true {
///         let count = loop.wait(timeoutMilliseconds: server.nextDelay(now: now))
///         now = Clock.monotonicMilliseconds()
///         for index in 0..<count {
///             server.handle(loop.event(index), on: loop, now: now, &responder)
///         }
///         server.tick(on: loop, now: now, &responder)
///     }
public struct Server: ~Copyable {
    /// The answering half, for answers outside of the responder's calls.
    public var answers: Answers
    /// The head of the request that is being read.
    var head: RequestHead
    /// What was read last; nothing stays in it between events.
    var input: RigidArray<UInt8>
    private var listeners = UniqueArray<Listener>()
    private let kind: UInt8

    struct Listener: ~Copyable {
        let socket: ListenSocket
        let tag: UInt32
        var isPaused = false
    }

    /// A server without listeners.
    public init(kind: UInt8, settings: ServerSettings = ServerSettings(), now: UInt64) {
        self.kind = kind
        answers = Answers(kind: kind, settings: settings, now: now)
        head = RequestHead(limits: settings.head)
        let headBytes = settings.head.requestLineBytes + settings.head.fieldsBytes
        // Room for the longest head that is still incomplete, and for a good read behind it.
        input = RigidArray(capacity: headBytes + (64 << 10))
    }

    /// Whether this server's `handle` wants events with this token.
    public func owns(_ token: Kernel.Token) -> Bool {
        token.kind == kind || token.kind == kind + 1
    }

    /// Listens on an address; gives the bound one, whose port was chosen if it was 0.
    ///
    /// `tag` tells the listeners apart in `Answers.listener`.
    public mutating func listen(
        _ address: SocketAddress, tag: UInt32 = 0, reusePort: Bool = false, on loop: borrowing Loop
    ) throws(SystemError) -> SocketAddress {
        let socket = try ListenSocket.open(address, reusePort: reusePort)
        let bound = socket.localAddress
        try adopt(socket, tag: tag, on: loop)
        return bound
    }

    /// Takes a listening socket that was opened elsewhere.
    public mutating func adopt(
        _ socket: consuming ListenSocket, tag: UInt32 = 0, on loop: borrowing Loop
    ) throws(SystemError) {
        let token = Kernel.Token(kind: kind, slot: UInt32(listeners.count), generation: 1)
        try loop.register(socket.raw, token, edgeTriggered: false)
        listeners.append(Listener(socket: socket, tag: tag))
    }

    /// Closes all listeners; connections go on.
    public mutating func stopListening() { listeners.removeAll() }

    /// Takes an event whose token this server owns.
    public mutating func handle<R: Responder & ~Copyable>(
        _ event: Kernel.Event, on loop: borrowing Loop, now: UInt64, _ responder: inout R
    ) {
        answers.now = now
        if event.token.kind == kind {
            accept(Int(event.token.slot), on: loop)
        } else if event.token.kind == kind + 1, answers.connections.contains(event.token.id) {
            advance(event.token.id, event.readiness, &responder)
            answers.flushStaged()
        }
    }

    /// Does what is due: waiting turns, deadlines, and the flush of what was collected.
    ///
    /// Call it after each batch of events, and after answers were given outside of `handle`.
    public mutating func tick<R: Responder & ~Copyable>(
        on loop: borrowing Loop, now: UInt64, _ responder: inout R
    ) {
        answers.now = now
        answers.flushStaged()
        takeTurns(&responder)
        while let token = answers.wheel.popExpired(now: now) {
            if token.kind == kind {
                resumeAccepting(Int(token.slot), on: loop)
            } else if answers.connections.contains(token.id) {
                expire(token, &responder)
            }
        }
        answers.flushStaged()
    }

    /// Milliseconds until `tick` has something to do: 0 at once, -1 only after an event.
    public func nextDelay(now: UInt64) -> Int32 {
        answers.ready.isEmpty ? answers.wheel.nextDelay(now: now) : 0
    }

    // MARK: - Accepting

    private mutating func accept(_ index: Int, on loop: borrowing Loop) {
        guard index < listeners.count, !listeners[index].isPaused else { return }
        for _ in 0..<ServerSettings.acceptBatch {
            let isFull = answers.connections.isFull
            let leaver = isFull ? dispensable() : .none
            if isFull, leaver == .none { return pause(index, on: loop) }
            switch listeners[index].socket.accept() {
            case .accepted(let fd, let peer):
                if leaver != .none { answers.remove(leaver) }
                take(Socket(adopting: fd), listeners[index].tag, peer, on: loop)
            case .aborted:
                continue
            case .wouldBlock:
                return
            case .exhausted, .failed:
                return pause(index, on: loop)
            }
        }
    }

    /// The connection whose time is up first among those that owe us a request, which makes room for the next one; none
    /// when there is no such.
    ///
    /// So a client that opens connections and says nothing, or says it slowly, keeps nobody else out.
    private func dispensable() -> SlotID {
        guard answers.settings.makesRoom else { return .none }
        var first = SlotID.none
        var due = UInt64.max
        for slot in 0..<answers.connections.highWater where answers.connections.isOccupied(slot) {
            let at = answers.connections[slot].deadline.at
            if at < due, !answers.connections[slot].isOpen {
                due = at
                first = answers.connections.id(of: slot)
            }
        }
        return first
    }

    private mutating func take(
        _ socket: consuming Socket, _ tag: UInt32, _ peer: SocketAddress, on loop: borrowing Loop
    ) {
        let raw = socket.raw
        let connection = Connection(socket, listener: tag, peer: peer)
        guard let id = answers.connections.insert(connection) else { return }
        do {
            try loop.register(raw, Kernel.Token(kind: kind + 1, id), edgeTriggered: true)
            answers.setDeadline(id, after: answers.settings.idleMilliseconds)
        } catch {
            answers.remove(id)
        }
    }

    /// Stops accepting for a moment: the event is level-triggered and would come back at once.
    private mutating func pause(_ index: Int, on loop: borrowing Loop) {
        loop.remove(listeners[index].socket.raw)
        listeners[index].isPaused = true
        let token = Kernel.Token(kind: kind, slot: UInt32(index), generation: 1)
        answers.wheel.schedule(token, at: answers.now + ServerSettings.acceptPauseMilliseconds)
    }

    private mutating func resumeAccepting(_ index: Int, on loop: borrowing Loop) {
        guard index < listeners.count, listeners[index].isPaused else { return }
        let token = Kernel.Token(kind: kind, slot: UInt32(index), generation: 1)
        do {
            try loop.register(listeners[index].socket.raw, token, edgeTriggered: false)
            listeners[index].isPaused = false
        } catch {
            answers.wheel.schedule(token, at: answers.now + ServerSettings.acceptPauseMilliseconds)
        }
    }

    // MARK: - Connections

    /// Goes on with a connection after an event of its socket.
    private mutating func advance<R: Responder & ~Copyable>(
        _ id: SlotID, _ readiness: Readiness, _ responder: inout R
    ) {
        let hasEnded = !readiness.isDisjoint(with: .anyEnd)
        if hasEnded { answers.connections[id].peerEnded = true }
        if hasEnded || readiness.contains(.readable) { answers.connections[id].isReadable = true }
        answers.connections[id].turnBytes = 0
        if readiness.contains(.writable) { _ = answers.writeWaiting(id) }
        if answers.connections[id].isBroken { return }
        if hasEnded, leaves(id, isGone: !readiness.isDisjoint(with: [.hangUp, .error])) {
            return cancel(id, &responder)
        }
        proceed(id, &responder)
    }

    /// Whether a client that ended its side left an exchange that is owed an answer.
    ///
    /// One that has sent another request before its end waits for both answers.
    private func leaves(_ id: SlotID, isGone: Bool) -> Bool {
        guard answers.connections[id].phase == .answering else { return false }
        if isGone { return true }
        if answers.connections[id].held != nil { return false }
        return !answers.connections[id].hasUnreadInput
    }

    /// Does for a connection whatever can be done now.
    private mutating func proceed<R: Responder & ~Copyable>(_ id: SlotID, _ responder: inout R) {
        guard answers.connections[id].waiting == nil else { return }
        if answers.connections[id].awaitsRoom {
            answers.connections[id].awaitsRoom = false
            let number = answers.connections[id].number
            responder.resume(ExchangeID(connection: id, number: number), &answers)
            guard answers.connections.contains(id) else { return }
        }
        switch answers.connections[id].phase {
        case .head, .content: read(id, &responder)
        case .lingering: drop(id)
        case .answering: break
        case .flushing: endOutput(id)
        }
    }

    /// Gives the connections that asked for one their turn.
    private mutating func takeTurns<R: Responder & ~Copyable>(_ responder: inout R) {
        var turn = UniqueArray<SlotID>()
        swap(&turn, &answers.ready)
        for index in turn.indices {
            let id = turn[index]
            guard answers.connections.contains(id) else { continue }
            answers.connections[id].isReady = false
            answers.connections[id].turnBytes = 0
            if answers.connections[id].isBroken {
                cancel(id, &responder)
            } else {
                proceed(id, &responder)
            }
        }
        turn.removeAll(keepingCapacity: true)
        // The memory of the list is used again, unless a new one has been begun meanwhile.
        if answers.ready.isEmpty { swap(&turn, &answers.ready) }
    }

    /// Ends a connection whose exchange, if one is open, will never get its answer.
    mutating func cancel<R: Responder & ~Copyable>(_ id: SlotID, _ responder: inout R) {
        if answers.connections[id].isOpen {
            let number = answers.connections[id].number
            answers.connections[id].isOpen = false
            responder.cancel(ExchangeID(connection: id, number: number), &answers)
        }
        answers.remove(id)
    }

    private mutating func expire<R: Responder & ~Copyable>(
        _ token: Kernel.Token, _ responder: inout R
    ) {
        let id = token.id
        let isDue = answers.connections[id].deadline.fires(
            now: answers.now, &answers.wheel, token)
        guard isDue else { return }
        let isUnanswered =
            answers.connections[id].waiting == nil && answers.connections[id].answer == .notBegun
        switch answers.connections[id].phase {
        case .head where isUnanswered && answers.connections[id].hasBegunHead,
            .content where isUnanswered:
            answers.refuse(
                id, status: 408, "The request came too slowly; send it without pauses.", &responder)
        case .answering where isUnanswered:
            break
        case .head, .content, .answering, .flushing, .lingering:
            cancel(id, &responder)
        }
    }
}
