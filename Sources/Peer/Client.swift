import BasicContainers
import HTTP
import Kernel

/// One connection that a `Client` made.
struct ClientConnection: ~Copyable {
    enum Phase: UInt8 {
        case connecting
        /// TLS makes sure of the server.
        case opening
        /// The request is on its way, or its answer's head is awaited.
        case head
        case content
        /// Kept for the next call.
        case idle
    }

    let socket: Socket
    let address: SocketAddress
    /// What is between the socket and the text, where the settings want something there.
    var link = ClientLink()
    var phase = Phase.connecting
    var call: CallID
    var settings: CallSettings
    var method = Method.get
    /// Whether it served a call before this one.
    var isReused = false
    /// Whether a byte of the answer has come.
    var hasAnswer = false
    var isReadable = false
    var peerEnded = false
    /// Whether it may be kept, by the answer's head.
    var keeps = false
    var status = 0
    var informational = 0
    var scanned = 0
    var turnBytes = 0
    var reader = ContentReader(.none)
    /// The request's bytes; kept until the answer begins, in case they must be sent again.
    var request: Buffer?
    var sent = 0
    var held: Buffer?
    var content: Buffer?
    /// When the answer must be complete.
    var answerBy: UInt64 = 0
    /// When the server is expected to close it while it is idle.
    var idleMilliseconds: UInt64 = Client.idleMilliseconds
    var deadline = Deadline()

    var isPlain: Bool { settings.transport.isPlain }

    init(_ socket: consuming Socket, _ address: SocketAddress, _ settings: CallSettings) {
        self.socket = socket
        self.address = address
        self.settings = settings
        call = CallID(connection: .none, number: 0, tag: settings.tag)
    }
}

/// A small client for health probes, scrapes and exports: HTTP/1.1, in the clear, over TLS or in streams of HTTP/2.
///
/// It owns no loop, as `Server` does not: hand it the events whose tokens are of its one kind, and
/// call `tick` after each batch. Addresses are numeric; names are resolved by others.
public struct Client: ~Copyable {
    var connections: Slab<ClientConnection>
    var pool = BufferPool(budget: nil)
    /// The head of the request that is put together.
    private var request = RequestHead(limits: .request)
    private var isBegun = false
    var response = ResponseHead(limits: .response)
    var input = RigidArray<UInt8>(capacity: 144 << 10)
    var scratch = LinkScratch()
    /// Kept connections, the warmest last.
    var idle = UniqueArray<SlotID>()
    /// Connections that had their share of a turn and have more to read.
    var ready = UniqueArray<SlotID>()
    var wheel: TimerWheel
    private var callCount: UInt64 = 0
    /// Kept connections in all; who asks many servers in turn sets it to their number.
    public var idleMax = 64
    var now: UInt64
    let kind: UInt8

    /// A kept connection is closed after so long.
    static var idleMilliseconds: UInt64 { 60_000 }
    /// Answers of status 1xx that are passed over in one call.
    static var informationalMax: Int { 64 }

    /// A client without connections; calls beyond `connections` at once are refused.
    public init(kind: UInt8, connections count: Int = 256, now: UInt64) {
        self.kind = kind
        self.now = now
        connections = Slab(capacity: count)
        wheel = TimerWheel(now: now)
    }

    /// Whether this client's `handle` wants events with this token.
    public func owns(_ token: Kernel.Token) -> Bool { token.kind == kind }

    /// Connections open, kept ones included.
    public var connectionCount: Int { connections.count }

    // MARK: - Calling

    /// Begins the request that the next `send` sends; false when a part is not valid.
    public mutating func begin(
        _ method: Method, target: Span<UInt8>, authority: Span<UInt8>
    ) -> Bool {
        isBegun = request.begin(method: method, target: target, authority: authority)
        return isBegun
    }

    /// Adds a field to the request that was begun; false when it is not valid or does not fit.
    public mutating func addField(_ name: StaticString, _ value: Span<UInt8>) -> Bool {
        request.append(name: name, value: value)
    }

    /// Sends the request that was begun; its end is told to the receiver by `handle` or `tick`.
    public mutating func send(
        _ settings: CallSettings, content: Span<UInt8> = Span(), on loop: borrowing Loop,
        now: UInt64
    ) throws(CallFailure) -> CallID {
        self.now = now
        guard isBegun else { throw .invalidRequest }
        isBegun = false
        guard var bytes = pool.take(capacity: 16 << 10) else { throw .exhausted }
        let takesContent = !content.isEmpty || request.method == .post || request.method == .put
        let framing = takesContent ? BodyFraming.length(UInt64(content.count)) : .none
        guard Self.write(request, framing, &bytes) else {
            pool.give(bytes)
            throw .invalidRequest
        }
        var whole: Buffer? = consume bytes
        guard Answers.append(content, to: &whole, &pool), let buffer = whole.take() else {
            throw .exhausted
        }
        callCount += 1
        if settings.reuses, let id = takeIdle(settings) {
            connections[id].isReused = true
            return begin(id, settings, buffer)
        }
        return begin(try open(settings, buffer, on: loop), settings)
    }

    /// Gives a call up; its receiver hears no more of it.
    public mutating func cancel(_ call: CallID) {
        if isUnderWay(call, call.connection) { return remove(call.connection) }
        // A request that was sent again is on another connection than its name says.
        for slot in 0..<connections.highWater where connections.isOccupied(slot) {
            let id = connections.id(of: slot)
            if isUnderWay(call, id) { return remove(id) }
        }
    }

    private func isUnderWay(_ call: CallID, _ id: SlotID) -> Bool {
        connections.contains(id) && connections[id].call == call
            && connections[id].phase != .idle
    }

    private static func write(
        _ request: borrowing RequestHead, _ framing: BodyFraming, _ bytes: inout Buffer
    ) -> Bool {
        bytes.withFree { output in
            HeadWriter.write(request: request, framing: framing, into: &output)
        }
    }

    /// Starts a call on a connection that has been open before.
    private mutating func begin(
        _ id: SlotID, _ settings: CallSettings, _ buffer: consuming Buffer
    ) -> CallID {
        connections[id].request = consume buffer
        return begin(id, settings)
    }

    private mutating func begin(_ id: SlotID, _ settings: CallSettings) -> CallID {
        let call = CallID(connection: id, number: callCount, tag: settings.tag)
        connections[id].call = call
        connections[id].settings = settings
        connections[id].method = request.method
        connections[id].sent = 0
        connections[id].hasAnswer = false
        connections[id].informational = 0
        connections[id].status = 0
        let answerBy = Deadline.time(settings.answerMilliseconds, after: now)
        connections[id].answerBy = answerBy
        if connections[id].phase == .connecting {
            let connectBy = Deadline.time(settings.connectMilliseconds, after: now)
            setDeadline(id, at: min(connectBy, answerBy))
        } else {
            connections[id].phase = .head
            setDeadline(id, at: connections[id].answerBy)
            // The receiver hears of a failure by the next `tick`, not in the middle of this call.
            if !writeRequest(id) { ready.append(id) }
        }
        return call
    }

    /// Opens a connection that will send these bytes.
    mutating func open(
        _ settings: CallSettings, _ buffer: consuming Buffer, on loop: borrowing Loop
    ) throws(CallFailure) -> SlotID {
        if connections.isFull, !idle.isEmpty { remove(idle[0]) }
        if connections.isFull {
            pool.give(buffer)
            throw .exhausted
        }
        let socket: Socket
        do throws(SystemError) {
            socket = try Socket.connecting(to: settings.address)
        } catch {
            pool.give(buffer)
            throw .connect(error.code)
        }
        let raw = socket.raw
        let connection = ClientConnection(socket, settings.address, settings)
        guard let id = connections.insert(connection) else {
            preconditionFailure("There was room for a connection.")
        }
        connections[id].request = consume buffer
        do throws(SystemError) {
            try loop.register(raw, Kernel.Token(kind: kind, id), edgeTriggered: true)
        } catch {
            remove(id)
            throw .connect(error.code)
        }
        return id
    }

    /// The warmest kept connection to the address that is still open.
    private mutating func takeIdle(_ settings: CallSettings) -> SlotID? {
        var index = idle.count
        while index > 0 {
            index -= 1
            let id = idle[index]
            guard connections[id].address == settings.address,
                connections[id].settings.transport == settings.transport
            else { continue }
            idle.remove(at: index)
            if connections[id].socket.isIdle() { return id }
            remove(id)
        }
        return nil
    }

    // MARK: - Driving

    /// Takes an event whose token this client owns.
    public mutating func handle<R: Receiver & ~Copyable>(
        _ event: Kernel.Event, on loop: borrowing Loop, now: UInt64, _ receiver: inout R
    ) {
        self.now = now
        let id = event.token.id
        guard connections.contains(id) else { return }
        let hasEnded = !event.readiness.isDisjoint(with: .anyEnd)
        if hasEnded { connections[id].peerEnded = true }
        if hasEnded || event.readiness.contains(.readable) { connections[id].isReadable = true }
        connections[id].turnBytes = 0
        advance(id, on: loop, &receiver)
    }

    /// Does what is due; call it after each batch of events.
    public mutating func tick<R: Receiver & ~Copyable>(
        on loop: borrowing Loop, now: UInt64, _ receiver: inout R
    ) {
        self.now = now
        var turn = UniqueArray<SlotID>()
        swap(&turn, &ready)
        for index in turn.indices where connections.contains(turn[index]) {
            connections[turn[index]].turnBytes = 0
            advance(turn[index], on: loop, &receiver)
        }
        while let token = wheel.popExpired(now: now) {
            let id = token.id
            guard connections.contains(id),
                connections[id].deadline.fires(now: now, &wheel, token)
            else { continue }
            switch connections[id].phase {
            case .connecting, .opening: fail(id, .connectTimeout, &receiver)
            case .head, .content: fail(id, .answerTimeout, &receiver)
            case .idle: remove(id)
            }
        }
    }

    /// Milliseconds until `tick` has something to do: 0 at once, -1 only after an event.
    public func nextDelay(now: UInt64) -> Int32 {
        ready.isEmpty ? wheel.nextDelay(now: now) : 0
    }

    private mutating func advance<R: Receiver & ~Copyable>(
        _ id: SlotID, on loop: borrowing Loop, _ receiver: inout R
    ) {
        switch connections[id].phase {
        case .connecting:
            let code = connections[id].socket.connectResult()
            if code != 0 { return fail(id, .connect(code), &receiver) }
            // The first event may come before the connection stands.
            guard connections[id].socket.peerAddress() != nil else { return }
            if !beginLink(id) { return failOpening(id, &receiver) }
            if connections[id].isPlain || connections[id].link.isOpen {
                begin(request: id, on: loop, &receiver)
            } else {
                connections[id].phase = .opening
            }
        case .opening:
            if !Self.flush(&connections[id], &pool) { return failOpening(id, &receiver) }
            if connections[id].isReadable { read(id, on: loop, &receiver) }
        case .head, .content:
            if !writeRequest(id), !connections[id].isReadable {
                return retryOrFail(id, on: loop, &receiver)
            }
            if connections[id].isReadable || connections[id].link.hasText {
                read(id, on: loop, &receiver)
            }
        case .idle:
            // An idle connection has nothing to say: data or an end, it is of no more use. Frames may be of use.
            if connections[id].isReadable, !hearsFrames(id) { remove(id) }
        }
    }

    private mutating func beginLink(_ id: SlotID) -> Bool {
        if connections[id].isPlain { return true }
        return Self.beginLink(&connections[id], &scratch, &pool, now)
    }

    private static func beginLink(
        _ connection: inout ClientConnection, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, _ now: UInt64
    ) -> Bool {
        connection.link.begin(
            connection.settings.transport, over: connection.socket, &scratch, &pool, now: now)
    }

    private static func flush(
        _ connection: inout ClientConnection, _ pool: inout BufferPool
    ) -> Bool {
        connection.link.flush(over: connection.socket, &pool)
    }

    /// The connection stands: the request goes out.
    mutating func begin<R: Receiver & ~Copyable>(
        request id: SlotID, on loop: borrowing Loop, _ receiver: inout R
    ) {
        connections[id].phase = .head
        setDeadline(id, at: connections[id].answerBy)
        if !writeRequest(id) { retryOrFail(id, on: loop, &receiver) }
    }

    /// No connection came to be that a request could be sent on.
    mutating func failOpening<R: Receiver & ~Copyable>(_ id: SlotID, _ receiver: inout R) {
        let failure = connections[id].link.failure.map { CallFailure.insecure($0) }
        fail(id, failure ?? .closed, &receiver)
    }

    /// Sends the request into the link, whole; false: the connection is broken.
    private static func writeLinked(
        _ connection: inout ClientConnection, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, _ now: UInt64
    ) -> Bool {
        if !connection.link.flush(over: connection.socket, &pool) { return false }
        guard let request = connection.request.take() else { return true }
        var isSent = true
        if connection.sent == 0 {
            connection.sent = request.count
            isSent = send(request, &connection, &scratch, &pool, now)
        }
        connection.request = consume request
        return isSent
    }

    private static func send(
        _ request: borrowing Buffer, _ connection: inout ClientConnection,
        _ scratch: inout LinkScratch, _ pool: inout BufferPool, _ now: UInt64
    ) -> Bool {
        connection.link.send(
            request.span, over: connection.socket, &scratch, &pool, now: now)
    }

    /// Sends what is left of the request; false: the connection is broken.
    mutating func writeRequest(_ id: SlotID) -> Bool {
        if !connections[id].isPlain {
            return Self.writeLinked(&connections[id], &scratch, &pool, now)
        }
        let result: IOResult
        let count: Int
        switch connections[id].request {
        case .none: return true
        case .some(let buffer):
            count = buffer.count
            let sent = connections[id].sent
            if sent == count { return true }
            result = connections[id].socket.write(buffer.span.extracting(sent..<count))
        }
        switch result {
        case .bytes(let written): connections[id].sent += written
        case .wouldBlock: break
        case .end, .failed: return false
        }
        return true
    }

    // MARK: - Ends

    mutating func setDeadline(_ id: SlotID, at time: UInt64) {
        connections[id].deadline.set(time, &wheel, Kernel.Token(kind: kind, id))
    }

    /// The connection ended without an answer: another one may try, if this one was kept.
    mutating func retryOrFail<R: Receiver & ~Copyable>(
        _ id: SlotID, on loop: borrowing Loop, _ receiver: inout R
    ) {
        let settings = connections[id].settings
        let mayRepeat = settings.isRepeatable || connections[id].method.isIdempotent
        let wasKept = connections[id].isReused && !connections[id].hasAnswer
        guard wasKept, mayRepeat, let buffer = connections[id].request.take() else {
            return fail(id, connections[id].hasAnswer ? .truncated : .closed, &receiver)
        }
        let call = connections[id].call
        let method = connections[id].method
        let answerBy = connections[id].answerBy
        remove(id)
        do throws(CallFailure) {
            let new = try open(settings, buffer, on: loop)
            // The call keeps the name that its caller knows.
            connections[new].call = call
            connections[new].method = method
            connections[new].answerBy = answerBy
            let connectBy = Deadline.time(settings.connectMilliseconds, after: now)
            setDeadline(new, at: min(connectBy, answerBy))
        } catch {
            receiver.fail(call, error)
        }
    }

    mutating func fail<R: Receiver & ~Copyable>(
        _ id: SlotID, _ failure: CallFailure, _ receiver: inout R
    ) {
        let call = connections[id].call
        remove(id)
        receiver.fail(call, failure)
    }

    mutating func remove(_ id: SlotID) {
        if connections[id].phase == .idle {
            for index in idle.indices where idle[index] == id {
                idle.remove(at: index)
                break
            }
        }
        guard var connection = connections.remove(id) else { return }
        connection.link.release(&pool)
        if let buffer = connection.request.take() { pool.give(buffer) }
        if let buffer = connection.held.take() { pool.give(buffer) }
        if let buffer = connection.content.take() { pool.give(buffer) }
    }
}
