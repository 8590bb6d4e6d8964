import BasicContainers
import HTTP
import Kernel

@testable import Peer

// A server, its clients and a clock in one thread: nothing happens that the test does not turn.

/// A responder that does what the path says and notes what it is told.
struct Script: Responder {
    var log: [String] = []
    /// Exchanges of `/later` and of streams, in the order they came.
    var open: [ExchangeID] = []
    /// Bytes still to be written by `/flood/N`.
    var flood: [ExchangeID: Int] = [:]
    var limit = 1 << 20

    static let block = [UInt8](repeating: UInt8(ascii: "x"), count: 16 << 10)

    mutating func plan(_ head: borrowing RequestHead) -> ContentPlan {
        switch text(head.span(head.path)) {
        case "/pieces", "/early": .pieces
        default: .gather(atMost: limit)
        }
    }

    mutating func respond(
        to head: borrowing RequestHead, content: Span<UInt8>, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        let path = text(head.span(head.path))
        log.append("\(head.method.text) \(path) \(content.count)")
        switch path {
        case "/hello":
            answers.send(exchange, status: 200, type: "text/plain", content: "hello".utf8.span)
        case "/echo":
            answers.send(exchange, status: 200, type: "text/plain", content: content)
        case "/empty":
            answers.send(exchange, status: 204, type: "", content: Span())
        case "/field":
            answers.addField("x-one", "1".utf8.span)
            answers.send(exchange, status: 200, type: "", content: Span())
        case "/later", "/pieces":
            open.append(exchange)
        case "/stream":
            open.append(exchange)
            answers.start(exchange, status: 200, type: "text/plain", length: nil)
        case "/sized":
            open.append(exchange)
            answers.start(exchange, status: 200, type: "text/plain", length: 10)
        case "/silent":
            answers.closeAfter(exchange, isAnnounced: false)
            answers.send(exchange, status: 200, type: "", content: "last".utf8.span)
        case "/early":
            answers.send(exchange, status: 403, type: "", content: "no".utf8.span)
        default:
            guard path.hasPrefix("/flood/"), let count = Int(path.dropFirst(7)) else {
                return answers.send(exchange, status: 404, type: "", content: Span())
            }
            answers.start(exchange, status: 200, type: "", length: UInt64(count))
            flood[exchange] = count
            write(exchange, &answers)
        }
    }

    mutating func receive(
        _ piece: Span<UInt8>, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        log.append("piece \(text(piece))")
    }

    mutating func finish(_ exchange: ExchangeID, _ answers: inout Answers) {
        log.append("finish")
        answers.send(exchange, status: 200, type: "", content: "done".utf8.span)
    }

    mutating func resume(_ exchange: ExchangeID, _ answers: inout Answers) {
        log.append("resume")
        write(exchange, &answers)
    }

    mutating func cancel(_ exchange: ExchangeID, _ answers: inout Answers) {
        log.append("cancel")
        flood[exchange] = nil
    }

    private mutating func write(_ exchange: ExchangeID, _ answers: inout Answers) {
        guard var left = flood[exchange] else { return }
        while left > 0 {
            let count = min(left, Script.block.count)
            guard answers.write(exchange, Script.block.span.extracting(0..<count)) else {
                flood[exchange] = left
                return
            }
            left -= count
        }
        flood[exchange] = nil
        answers.finish(exchange)
    }
}

/// What a client was told.
struct Notes: Receiver {
    var log: [String] = []
    var done: Int { log.count { $0.hasPrefix("finish") || $0.hasPrefix("fail") } }

    mutating func begin(_ call: CallID, _ head: borrowing ResponseHead) {
        log.append("begin \(call.tag) \(head.status)")
    }

    mutating func receive(_ piece: Span<UInt8>, _ call: CallID) {
        log.append("piece \(call.tag) \(text(piece))")
    }

    mutating func finish(_ call: CallID, status: Int, content: Span<UInt8>) {
        log.append("finish \(call.tag) \(status) \(text(content))")
    }

    mutating func fail(_ call: CallID, _ failure: CallFailure) {
        log.append("fail \(call.tag) \(failure)")
    }
}

func text(_ bytes: Span<UInt8>) -> String {
    var array: [UInt8] = []
    for index in bytes.indices { array.append(bytes[index]) }
    return String(decoding: array, as: UTF8.self)
}

/// The far end of a connection, as bytes.
final class Wire {
    let socket: Socket
    private(set) var received: [UInt8] = []
    /// The end was read: true for a plain end, false for a reset.
    private(set) var ended: Bool?

    init(_ socket: consuming Socket) { self.socket = socket }

    convenience init(to address: SocketAddress) throws {
        self.init(try Socket.connecting(to: address))
    }

    var text: String { String(decoding: received, as: UTF8.self) }

    /// Sends all; what is sent in these tests fits into a socket.
    func send(_ text: String) {
        let bytes = Array(text.utf8)
        let result = socket.write(bytes.span)
        precondition(result == .bytes(bytes.count), "The bytes fit into the socket: \(result).")
    }

    /// Reads what is there, at most so many bytes.
    func receive(atMost limit: Int = .max) {
        var input = RigidArray<UInt8>(capacity: min(limit, 64 << 10))
        var taken = 0
        while ended == nil, taken < limit {
            input.removeAll()
            switch socket.read(into: &input) {
            case .bytes(let count):
                taken += count
                for index in 0..<count { received.append(input[index]) }
            case .wouldBlock: return
            case .end: ended = true
            case .failed: ended = false
            }
        }
    }

    func forget() { received.removeAll() }

    /// Reads at most so many bytes and forgets them; how many there were.
    func drop(atMost limit: Int) -> Int {
        var input = RigidArray<UInt8>(capacity: 64 << 10)
        var taken = 0
        while taken < limit {
            input.removeAll()
            guard case .bytes(let count) = socket.read(into: &input) else { break }
            taken += count
        }
        return taken
    }
}

/// One loop with a server and a client on it, and a clock that only the test moves.
final class Stage {
    var loop: Loop
    var server: Server
    var client: Client
    var script = Script()
    var notes = Notes()
    /// Milliseconds.
    var now: UInt64 = 1_000_000
    private(set) var address: SocketAddress

    init(_ settings: ServerSettings = ServerSettings(), connections: Int = 16) throws {
        loop = try Loop()
        server = Server(kind: 1, settings: settings, now: now)
        client = Client(kind: 9, connections: connections, now: now)
        address = try server.listen(.loopback(v6: false, port: 0), tag: 7, on: loop)
    }

    /// Takes the events that are there, waiting at most a moment for the first.
    func turn(wait: Int32 = 2) {
        let count = loop.wait(timeoutMilliseconds: server.answers.ready.isEmpty ? wait : 0)
        for index in 0..<count {
            let event = loop.event(index)
            if server.owns(event.token) {
                server.handle(event, on: loop, now: now, &script)
            } else if client.owns(event.token) {
                client.handle(event, on: loop, now: now, &notes)
            }
        }
        server.tick(on: loop, now: now, &script)
        client.tick(on: loop, now: now, &notes)
    }

    /// Turns until the wire has what it should, or nothing happens for long.
    func run(_ wire: Wire, until isEnough: (String) -> Bool) -> Bool {
        for _ in 0..<500 {
            wire.receive()
            if isEnough(wire.text) { return true }
            turn()
        }
        return false
    }

    /// Turns until the wire has ended.
    func runToEnd(_ wire: Wire) -> Bool {
        for _ in 0..<500 {
            wire.receive()
            if wire.ended != nil { return true }
            turn()
        }
        return false
    }

    /// Turns until the condition holds.
    func run(until isEnough: (Stage) -> Bool) -> Bool {
        for _ in 0..<500 {
            if isEnough(self) { return true }
            turn()
        }
        return false
    }

    /// Turns a few times, so that whatever is on its way arrives.
    func settle() {
        for _ in 0..<5 { turn(wait: 1) }
    }

    var connectionCount: Int { server.answers.connectionCount }
    /// Memory that the server holds for connections.
    var bytesInUse: Int { server.answers.pool.bytesInUse }

    func write(_ exchange: ExchangeID, _ text: String) -> Bool {
        server.answers.write(exchange, text.utf8.span)
    }

    func send(_ exchange: ExchangeID, _ text: String) {
        server.answers.send(exchange, status: 200, type: "", content: text.utf8.span)
    }

    func isOpen(_ exchange: ExchangeID) -> Bool { server.answers.isOpen(exchange) }

    /// Moves the clock and does what is then due.
    func pass(milliseconds: UInt64) {
        now += milliseconds
        turn(wait: 0)
    }
}

/// How many answers with this status line a text holds.
func answers(_ text: String, _ status: Int = 200) -> Int {
    text.split(separator: "HTTP/1.1 \(status) ", omittingEmptySubsequences: false).count - 1
}
