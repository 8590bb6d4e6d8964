import BasicContainers
import Foundation
import HTTP
import Kernel
import Peer

@testable import Simulator

/// A simulated server in the test's own thread, with a clock that only the test moves.
final class Stage {
    private var loop: Loop
    private var server: Server
    var simulation: Simulation
    /// Nanoseconds.
    private(set) var now: UInt64 = 1_000_000_000_000
    let addresses: [SocketAddress]

    /// Nodes with these options; nothing waits unless the test says so.
    init(nodes: Int = 1, _ adjust: (inout SimulatorOptions) -> Void = { _ in }) throws {
        let address = SocketAddress.loopback(v6: false, port: 0)
        var options = SimulatorOptions(listen: Array(repeating: address, count: nodes))
        options.connections = 64
        options.isFast = true
        adjust(&options)
        loop = try Loop()
        server = Server(kind: 1, settings: Turn.settings(options), now: now / 1_000_000)
        simulation = Simulation(
            options, loopbacks: options.listen.map(\.isLoopback), now: now)
        var bound: [SocketAddress] = []
        for (index, address) in options.listen.enumerated() {
            bound.append(try server.listen(address, tag: UInt32(index), on: loop))
        }
        addresses = bound
    }

    /// Takes what has come and does what is due, at the clock's present time.
    func turn() {
        let count = loop.wait(timeoutMilliseconds: 2)
        simulation.now = now
        for index in 0..<count {
            server.handle(loop.event(index), on: loop, now: now / 1_000_000, &simulation)
        }
        simulation.advance(&server.answers)
        server.tick(on: loop, now: now / 1_000_000, &simulation)
    }

    /// Turns until the condition holds; false when nothing more is to be expected.
    func run(until isEnough: () -> Bool) -> Bool {
        for _ in 0..<300 {
            if isEnough() { return true }
            turn()
        }
        return isEnough()
    }

    /// Turns a few times, so that whatever is on its way arrives.
    func settle() {
        for _ in 0..<4 { turn() }
    }

    /// Moves the clock from one thing that is due to the next, as time passes.
    func pass(milliseconds: UInt64) {
        let target = now + milliseconds * 1_000_000
        while let at = simulation.nextAt, at <= target {
            now = max(now, at)
            simulation.now = now
            simulation.advance(&server.answers)
        }
        now = target
        settle()
    }

    var connectionCount: Int { server.answers.connectionCount }

    // MARK: - Asking

    func wire(node: Int = 0) throws -> Wire { try Wire(to: addresses[node]) }

    /// Sends a request on a new connection.
    func ask(
        _ method: String, _ target: String, _ content: String? = nil, host: String = "127.0.0.1",
        node: Int = 0
    ) throws -> Wire {
        let wire = try wire(node: node)
        wire.ask(method, target, content, host: host)
        settle()
        return wire
    }

    /// Sends a request and gives its whole answer.
    func answer(
        _ method: String, _ target: String, _ content: String? = nil, host: String = "127.0.0.1",
        node: Int = 0
    ) throws -> Answer {
        let wire = try ask(method, target, content, host: host, node: node)
        return answer(wire)
    }

    /// The whole answer to what was asked.
    func answer(_ wire: Wire) -> Answer {
        _ = run {
            wire.receive()
            return wire.answer != nil || wire.hasEnded
        }
        return wire.answer ?? Answer(status: 0, head: "", content: "")
    }

    /// A message for Ollama's chat.
    func chat(_ model: String = "llama3", _ more: String = "", node: Int = 0) throws -> Wire {
        let content = """
            {"model":"\(model)","messages":[{"role":"user","content":"hello"}]\(more)}
            """
        return try ask("POST", "/api/chat", content, node: node)
    }
}

/// What came back.
struct Answer {
    let status: Int
    let head: String
    let content: String

    /// The content as one JSON object.
    var json: [String: Any] { Answer.json(content) }

    /// The content as one JSON object a line.
    var lines: [[String: Any]] {
        content.split(separator: "\n").map { Answer.json(String($0)) }
    }

    /// The data of each server-sent event.
    var events: [String] {
        content.components(separatedBy: "\n\n").filter { !$0.isEmpty }
    }

    static func json(_ text: String) -> [String: Any] {
        let value = try? JSONSerialization.jsonObject(with: Data(text.utf8))
        return value as? [String: Any] ?? [:]
    }
}

/// A client's end of a connection.
final class Wire {
    let socket: Socket
    private(set) var received: [UInt8] = []
    private(set) var hasEnded = false

    init(to address: SocketAddress) throws { socket = try Socket.connecting(to: address) }

    func ask(_ method: String, _ target: String, _ content: String?, host: String) {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n"
        if let content { text += "Content-Length: \(content.utf8.count)\r\n" }
        send(text + "\r\n" + (content ?? ""))
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        let result = socket.write(bytes.span)
        precondition(result == .bytes(bytes.count), "The bytes fit into the socket.")
    }

    func receive() {
        var input = RigidArray<UInt8>(capacity: 64 << 10)
        while !hasEnded {
            input.removeAll()
            switch socket.read(into: &input) {
            case .bytes(let count):
                for index in 0..<count { received.append(input[index]) }
            case .wouldBlock: return
            case .end, .failed: hasEnded = true
            }
        }
    }

    func forget() { received.removeAll() }

    var text: String { String(decoding: received, as: UTF8.self) }

    /// Whether the head of an answer is there.
    var hasHead: Bool {
        receive()
        return text.contains("\r\n\r\n")
    }

    /// The content so far, its chunks put together.
    var partialContent: String {
        receive()
        guard let end = text.range(of: "\r\n\r\n") else { return "" }
        let head = text[..<end.lowerBound].lowercased()
        let rest = String(text[end.upperBound...])
        return head.contains("transfer-encoding: chunked") ? Wire.joined(rest).content : rest
    }

    /// The answer, when it is complete.
    var answer: Answer? {
        guard let end = text.range(of: "\r\n\r\n") else { return nil }
        let head = text[..<end.lowerBound].lowercased()
        let status = Int(head.split(separator: " ")[1]) ?? 0
        let rest = String(text[end.upperBound...])
        if head.contains("transfer-encoding: chunked") {
            let (content, isComplete) = Wire.joined(rest)
            return isComplete ? Answer(status: status, head: head, content: content) : nil
        }
        let lengths = head.components(separatedBy: "\r\ncontent-length: ")
        let length = lengths.count > 1 ? Int(lengths[1].prefix { $0.isNumber }) ?? 0 : 0
        guard rest.utf8.count >= length else { return nil }
        return Answer(status: status, head: head, content: rest)
    }

    /// The content of chunks, and whether the last one is there.
    private static func joined(_ text: String) -> (content: String, isComplete: Bool) {
        var bytes = Array(text.utf8)[...]
        var content: [UInt8] = []
        while let line = bytes.firstIndex(of: 0x0A) {
            let digits = String(decoding: bytes[..<line].dropLast(), as: UTF8.self)
            guard let size = Int(digits, radix: 16) else { break }
            if size == 0 { return (String(decoding: content, as: UTF8.self), true) }
            let start = line + 1
            guard bytes.endIndex - start >= size + 2 else { break }
            content += bytes[start..<(start + size)]
            bytes = bytes[(start + size + 2)...]
        }
        return (String(decoding: content, as: UTF8.self), false)
    }
}
