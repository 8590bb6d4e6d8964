import BasicContainers
import HTTP
import Kernel
import Peer

/// The nodes of one thread and the answers they give.
struct Simulation: ~Copyable, Responder {
    /// What goes on in an exchange that is not over.
    enum Work {
        case none
        case job(node: Int, SlotID)
        /// Bytes of `/bytes/N` still to be written.
        case bytes(UInt64)
        case chunks(left: UInt64, size: Int, nanoseconds: UInt64)
        case sink(count: UInt64, sum: Adler32)
    }

    struct Live {
        var exchange: ExchangeID
        var work: Work
    }

    let options: SimulatorOptions
    let catalog: Catalog
    let words = Words()
    var nodes: RigidArray<Node>
    /// By the number of the exchange's slot.
    var live: [Live?]
    var ask = Ask()
    /// What is put together for the next write.
    var text = Text()
    /// What is made for the whole life: `/api/tags`.
    private var tags = Text()
    /// Waiting chunks of `/chunks`.
    var agenda = Agenda<ExchangeID>()
    let filler: [UInt8]
    let startedWall: UInt64
    private var random: RandomSource
    /// Monotonic nanoseconds of this turn.
    var now: UInt64

    /// `loopbacks` says for each node whether it listens on loopback only.
    init(_ options: SimulatorOptions, loopbacks: [Bool], now: UInt64) {
        self.options = options
        self.now = now
        catalog = Catalog(options)
        nodes = RigidArray(capacity: max(1, loopbacks.count))
        for isLoopback in loopbacks {
            nodes.append(Node(options: options, isLoopback: isLoopback, now: now))
        }
        live = Array(repeating: nil, count: options.connections)
        filler = (0..<(64 << 10)).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        random = RandomSource(seed: options.seed)
        startedWall = Clock.wallNanoseconds()
        Page.addTags(catalog, wall: startedWall, to: &tags)
    }

    /// When `advance` will have something to do.
    var nextAt: UInt64? {
        var earliest = agenda.nextAt ?? .max
        for index in nodes.indices { earliest = min(earliest, nodes[index].nextAt ?? .max) }
        return earliest == .max ? nil : earliest
    }

    /// Does what is due at `now`.
    mutating func advance(_ answers: inout Answers) {
        for index in nodes.indices { advance(node: index, &answers) }
        while let exchange = agenda.popDue(now: now) { writeChunk(exchange, &answers) }
    }

    private mutating func advance(node: Int, _ answers: inout Answers) {
        while let id = nodes[node].next(now: now) { progress(node, id, &answers) }
    }

    // MARK: - Responder

    mutating func plan(_ head: borrowing RequestHead) -> ContentPlan {
        let route = Route(head.span(head.path), options.engine)
        return route == .sink ? .pieces : .gather(atMost: 64 << 20)
    }

    mutating func respond(
        to head: borrowing RequestHead, content: Span<UInt8>, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        let node = Int(answers.listener(exchange) ?? 0)
        if refusesHost(head, node) {
            return answers.send(exchange, status: 403, type: "", content: Span())
        }
        let route = Route(head.span(head.path), options.engine)
        guard allows(route.methods, head.method) else {
            return refuseMethod(exchange, &answers)
        }
        switch route {
        case .ask(let dialect):
            infer(dialect, content, node, exchange, &answers)
        case .show:
            show(content, exchange, &answers)
        case .loadModel, .unloadModel:
            move(content, isLoad: route == .loadModel, node, exchange, &answers)
        case .bytes(let count):
            begin(exchange, .bytes(count))
            answers.start(
                exchange, status: 200, type: "application/octet-stream", length: count)
            writeBytes(exchange, &answers)
        case .chunks(let count, let size, let milliseconds):
            let nanoseconds = milliseconds * 1_000_000
            begin(exchange, .chunks(left: count, size: size, nanoseconds: nanoseconds))
            answers.start(exchange, status: 200, type: "application/octet-stream", length: nil)
            writeChunk(exchange, &answers)
        case .sink:
            begin(exchange, .sink(count: 0, sum: Adler32()))
            if head.framing == .none || head.framing == .length(0) { finish(exchange, &answers) }
        default:
            page(route, head, node, exchange, &answers)
        }
    }

    mutating func receive(
        _ piece: Span<UInt8>, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        guard case .sink(let count, var sum)? = live[exchange.slot]?.work else { return }
        sum.add(piece)
        live[exchange.slot]?.work = .sink(count: count + UInt64(piece.count), sum: sum)
    }

    mutating func finish(_ exchange: ExchangeID, _ answers: inout Answers) {
        guard case .sink(let count, let sum)? = live[exchange.slot]?.work else { return }
        live[exchange.slot] = nil
        text.removeAll()
        text.add("{\"bytes\":")
        text.add(decimal: count)
        text.add(",\"adler32\":\"")
        text.add(hexadecimal: UInt64(sum.value), digits: 8)
        text.add("\"}\n")
        answers.send(exchange, status: 200, type: "application/json", content: text.span)
    }

    mutating func resume(_ exchange: ExchangeID, _ answers: inout Answers) {
        guard let current = live[exchange.slot], current.exchange == exchange else { return }
        switch current.work {
        case .none, .sink: break
        case .job(let node, let id): progress(node, id, &answers)
        case .bytes: writeBytes(exchange, &answers)
        case .chunks: writeChunk(exchange, &answers)
        }
    }

    mutating func cancel(_ exchange: ExchangeID, _ answers: inout Answers) {
        guard let current = live[exchange.slot], current.exchange == exchange else { return }
        live[exchange.slot] = nil
        guard case .job(let node, let id) = current.work, nodes[node].jobs.contains(id) else {
            return
        }
        if options.engine == .llamaCpp, !nodes[node].jobs[id].reply.streams {
            // llama.cpp notices only when it writes: the slot works on to the end.
            nodes[node].jobs[id].reply.isDetached = true
        } else {
            nodes[node].cancel(id, now: now)
            advance(node: node, &answers)
        }
    }

    private mutating func begin(_ exchange: ExchangeID, _ work: Work) {
        live[exchange.slot] = Live(exchange: exchange, work: work)
    }

    // MARK: - Admission

    private func allows(_ methods: Route.Methods, _ method: Method) -> Bool {
        switch methods {
        case .any: true
        case .post: method == .post
        case .get: method == .get || method == .head && options.engine == .llamaCpp
        case .getOrHead: method == .get || method == .head
        }
    }

    /// An Ollama that listens on loopback refuses the names of strangers (DNS rebinding).
    private func refusesHost(_ head: borrowing RequestHead, _ node: Int) -> Bool {
        guard options.engine == .ollama, options.checksHost, nodes[node].isLoopback else {
            return false
        }
        let host = head.span(head.host)
        if host.isEmpty || ByteScan.equal(host, ByteScan.bytes("localhost")) { return false }
        if host[0] == UInt8(ascii: "[") { return false }
        var isNumeric = true
        for index in host.indices {
            let byte = host[index]
            if byte == UInt8(ascii: ":") { return false }
            if byte &- 0x30 > 9, byte != UInt8(ascii: ".") { isNumeric = false }
        }
        if isNumeric { return false }
        for suffix in [".localhost", ".local", ".internal"] as [StaticString] {
            let bytes = ByteScan.bytes(suffix)
            if host.count > bytes.count {
                let tail = host.extracting((host.count - bytes.count)..<host.count)
                if ByteScan.equal(tail, bytes) { return false }
            }
        }
        return true
    }

    private mutating func refuseMethod(_ exchange: ExchangeID, _ answers: inout Answers) {
        switch options.engine {
        case .ollama:
            answers.send(
                exchange, status: 405, type: "text/plain",
                content: ByteScan.bytes("405 method not allowed"))
        case .vllm, .sglang:
            answers.send(
                exchange, status: 405, type: "application/json",
                content: ByteScan.bytes("{\"detail\":\"Method Not Allowed\"}"))
        case .llamaCpp:
            notFound(exchange, &answers)
        }
    }

    mutating func notFound(_ exchange: ExchangeID, _ answers: inout Answers) {
        switch options.engine {
        case .ollama:
            answers.send(
                exchange, status: 404, type: "text/plain",
                content: ByteScan.bytes("404 page not found"))
        case .vllm, .sglang:
            answers.send(
                exchange, status: 404, type: "application/json",
                content: ByteScan.bytes("{\"detail\":\"Not Found\"}"))
        case .llamaCpp:
            answers.send(
                exchange, status: 404, type: "application/json; charset=utf-8",
                content: ByteScan.bytes(Self.fileNotFound))
        }
    }

    private static var fileNotFound: StaticString {
        #"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#
    }

    /// `/api/tags`, which never changes.
    mutating func sendTags(_ exchange: ExchangeID, _ answers: inout Answers) {
        answers.send(exchange, status: 200, type: OllamaAnswer.type, content: tags.span)
    }

    /// When the models came to be, in seconds since 1970.
    var created: UInt64 { startedWall / 1_000_000_000 }

    /// A number for an answer's id.
    mutating func nextIdentifier() -> UInt64 { random.next() }
}
