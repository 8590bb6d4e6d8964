// The observer on real sockets: the ports, their answers, actions, and names on the same loop.
import BasicContainers
import Kernel
import Logging
import Telemetry
import Testing

@testable import Control

/// An observer that runs on a thread of its own until the test ends.
private final class Running: Sendable {
    let observer: Observer
    let published = PublishedState(Published())
    let control: Mailbox<ControlMessage>
    let messages = RecordingLog()
    let levels = LogLevels(.info)
    let drains = Lock(0)
    private let thread = Lock<Kernel.Thread?>(nil)

    init(
        admin: SocketAddress? = .loopback(v6: false, port: 0), metrics: SocketAddress? = nil,
        tokenFile: String? = nil, servers: String? = nil, starts: Bool = true
    ) throws {
        let options = RunOptions(
            paths: [], workers: 1, admin: admin, adminTokenFile: tokenFile, metrics: metrics)
        control = try Mailbox(capacity: 16)
        observer = try Observer(
            options: options, published: published, readers: [Shard(worker: 0).reader],
            control: control, log: levels.following(messages.logger), levels: levels,
            environment: servers.map { [Observer.serversVariable: $0] } ?? [:],
            drain: { [drains] in drains.withLock { $0 += 1 } })
        guard starts else { return }
        try observer.open()
        let started = try Kernel.Thread.start(name: "observer") { [observer] in observer.run() }
        thread.withLock { $0 = started }
    }

    deinit {
        observer.stop()
        thread.withLock { $0?.join() }
    }

    func ask(
        _ request: String, _ fields: [String] = [], port: AdminPort = .admin
    ) throws -> (status: Int, head: String, content: String) {
        let address = try #require(observer.address(of: port))
        return try exchange(address, request, fields)
    }
}

/// One exchange on a connection of its own; Host is the address unless a field says otherwise.
private func exchange(
    _ address: SocketAddress, _ request: String, _ fields: [String] = []
) throws -> (status: Int, head: String, content: String) {
    var lines = ["\(request) HTTP/1.1"]
    if !fields.contains(where: { $0.hasPrefix("host:") }) { lines.append("host: \(address)") }
    lines += fields + ["connection: close", "", ""]
    let bytes = Array(lines.joined(separator: "\r\n").utf8)
    let socket = try Socket.connecting(to: address)
    var loop = try Loop(capacity: 1)
    try loop.register(
        socket.raw, Token(kind: 0, slot: 0, generation: 1), edgeTriggered: false, readable: true,
        writable: true)
    var isSent = false
    var answer = RigidArray<UInt8>(capacity: 1 << 20)
    let deadline = Clock.monotonicMilliseconds() + 10_000
    while Clock.monotonicMilliseconds() < deadline {
        guard loop.wait(timeoutMilliseconds: 1_000) == 1 else { continue }
        if !isSent, loop.event(0).readiness.contains(.writable) {
            try #require(socket.write(bytes.span) == .bytes(bytes.count))
            isSent = true
            try loop.update(
                socket.raw, Token(kind: 0, slot: 0, generation: 1), readable: true,
                writable: false)
        }
        switch socket.read(into: &answer) {
        case .bytes, .wouldBlock: continue
        case .failed(let code): throw SystemError("read", code)
        case .end: break
        }
        var all: [UInt8] = []
        for index in answer.span.indices { all.append(answer[index]) }
        let text = String(decoding: all, as: UTF8.self)
        let end = try #require(text.range(of: "\r\n\r\n"))
        let status = try #require(Int(text.split(separator: " ", maxSplits: 2)[1]))
        return (status, String(text[..<end.lowerBound]), String(text[end.upperBound...]))
    }
    throw SystemError("read", 110)
}

private let json = "content-type: application/json"

struct ObserverPortTests {
    @Test(arguments: [
        ("GET /livez", 200, "text/plain; charset=utf-8"), ("GET /readyz", 503, "text/plain"),
        ("GET /metrics", 200, "text/plain; version=0.0.4"),
        ("GET /status", 200, "application/json"), ("GET /config", 200, "application/json"),
        ("GET /", 200, "text/html; charset=utf-8"), ("HEAD /metrics", 200, "text/plain"),
        ("GET /drain", 405, "text/plain"), ("DELETE /status", 405, "text/plain"),
        ("GET /decisions", 200, "application/json"), ("GET /connections", 200, "application/json"),
        ("GET /nothing", 404, "text/plain"),
    ])
    func `the admin port answers`(request: String, status: Int, type: String) throws {
        let running = try Running()
        let answer = try running.ask(request)
        #expect(answer.status == status)
        #expect(answer.head.contains("content-type: \(type)"))
        #expect(answer.head.contains("cache-control: no-store"))
        #expect(answer.content.isEmpty == request.hasPrefix("HEAD"))
        if status == 405 {
            #expect(
                answer.head.contains(request == "GET /drain" ? "allow: POST" : "allow: GET, HEAD"))
        }
    }

    @Test(arguments: [
        ([String](), 200), (["host: localhost"], 200), (["host: evil.example"], 403),
        (["origin: https://evil.example"], 403),
    ])
    func `foreign hosts and origins are refused`(fields: [String], status: Int) throws {
        let running = try Running()
        #expect(try running.ask("GET /config", fields).status == status)
    }

    @Test func `the token opens the admin port, and the metrics port needs none`() throws {
        let folder = try TemporaryFolder()
        try folder.write("token", "secret\n")
        let running = try Running(
            metrics: .loopback(v6: false, port: 0), tokenFile: folder.path("token"))
        let refused = try running.ask("GET /status")
        #expect(refused.status == 401)
        #expect(refused.head.contains("www-authenticate: Bearer"))
        let right = "authorization: Bearer secret"
        #expect(try running.ask("GET /status", [right, "host: gateway.lan"]).status == 200)
        try folder.write("token", "another\n")
        #expect(try running.ask("GET /status", [right]).status == 401)
        #expect(try running.ask("GET /metrics", ["host: a.b"], port: .metrics).status == 200)
        #expect(try running.ask("GET /status", port: .metrics).status == 404)
    }

    @Test func `drain does once what a signal does`() throws {
        let running = try Running()
        #expect(try running.ask("POST /drain", ["content-length: 0"]).status == 415)
        #expect(try running.ask("POST /drain", ["content-type: text/plain"]).status == 415)
        #expect(running.drains.withLock { $0 } == 0)
        for _ in 0..<2 { #expect(try running.ask("POST /drain", [json]).status == 202) }
        #expect(running.drains.withLock { $0 } == 1)
    }

    @Test func `a drain that has begun is not begun again`() throws {
        let running = try Running()
        running.published.withLock { $0.isDraining = true }
        #expect(try running.ask("POST /drain", [json]).status == 202)
        #expect(running.drains.withLock { $0 } == 0)
    }

    @Test(arguments: [
        ("?level=debug", 200, Logger.Level.debug), ("?level=error", 200, .error),
        ("?a=b&level=trace", 200, .trace), ("?level=loud", 400, .info), ("?level=", 400, .info),
        ("", 400, .info), ("?level=debug&level=error", 400, .info),
    ])
    func `the log level is set`(query: String, status: Int, level: Logger.Level) throws {
        let running = try Running()
        #expect(try running.ask("POST /log-level\(query)", [json]).status == status)
        #expect(running.levels.current == level)
    }

    @Test func `readiness follows what is published`() throws {
        let running = try Running()
        #expect(try running.ask("GET /readyz").content.hasPrefix("starting"))
        running.published.withLock {
            $0.generation = 1
            $0.isReady = true
        }
        #expect(try running.ask("GET /readyz").status == 200)
        running.published.withLock { $0.isDraining = true }
        #expect(try running.ask("GET /readyz").status == 503)
    }

    @Test func `content of an action is bounded`() throws {
        let running = try Running()
        #expect(try running.ask("POST /drain", [json, "content-length: 99999999"]).status == 413)
    }

    @Test func `a port chosen by the system is told`() throws {
        let running = try Running()
        let address = try #require(running.observer.address(of: .admin))
        #expect(address.port != 0)
        #expect(running.messages.lines == ["info admin port listening address=\(address)"])
        #expect(running.observer.address(of: .metrics) == nil)
    }

    @Test func `all addresses of IPv6 are those of IPv4 too`() throws {
        let running = try Running(admin: nil, metrics: .any(v6: true, port: 0))
        let port = try #require(running.observer.address(of: .metrics)).port
        let address = SocketAddress.loopback(v6: false, port: port)
        #expect(try exchange(address, "GET /livez").status == 200)
    }
}

struct ObserverRefusalTests {
    private func refusal(_ running: Running) -> String {
        let refused = #expect(throws: ObserverRefused.self) { try running.observer.open() }
        return refused?.description ?? ""
    }

    @Test(arguments: [true, false])
    func `a port in use names its option`(isAdmin: Bool) throws {
        let taken = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        let address = taken.localAddress
        let running = try Running(
            admin: isAdmin ? address : nil, metrics: isAdmin ? nil : address, starts: false)
        let words = refusal(running)
        #expect(words.contains(isAdmin ? "--admin " : "--metrics "))
        #expect(words.contains("\(address)"))
        #expect(words.contains("in use"))
        withExtendedLifetime(taken) {}
    }

    @Test func `another than a loopback address needs a token`() throws {
        let running = try Running(admin: .any(v6: false, port: 0), starts: false)
        #expect(refusal(running).contains("--admin-token-file"))
    }

    @Test func `a token file that cannot be read is refused`() throws {
        let running = try Running(tokenFile: "/nonexistent/token", starts: false)
        #expect(refusal(running).contains("--admin-token-file"))
    }

    @Test func `DNS servers that are none are refused`() throws {
        let running = try Running(servers: "nonsense", starts: false)
        #expect(refusal(running).contains(Observer.serversVariable))
    }
}

struct ObserverNameTests {
    @Test func `names are resolved beside the ports`() throws {
        let dns = try DNSResponder()
        dns.set("gpu.test", [.a("127.0.0.2")])
        let running = try Running(servers: "\(dns.address)")
        #expect(running.observer.mailbox.post(.names(["gpu.test", "absent.test"])))
        var loop = try Loop(capacity: 1)
        try loop.register(
            running.control.descriptor, Token(kind: 0, slot: 0, generation: 1),
            edgeTriggered: false)
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        let message = try #require(running.control.take())
        guard case .resolved("gpu.test", let addresses) = message else {
            Issue.record("\(message)")
            return
        }
        #expect(addresses.map(\.hostDescription) == ["127.0.0.2"])
        #expect(try running.ask("GET /livez").status == 200)
    }
}

struct StatusRequestTests {
    @Test(
        arguments: [
            ("http://127.0.0.1:15000", ["127.0.0.1:15000"]), ("http://127.0.0.1", ["127.0.0.1:80"]),
            ("HTTP://[::1]:15000/", ["[::1]:15000"]),
            ("http://localhost:15000", ["127.0.0.1:15000", "[::1]:15000"]),
            ("https://127.0.0.1:15000", nil), ("127.0.0.1:15000", nil), ("http://", nil),
            ("http://gateway.lan:15000", nil), ("http://127.0.0.1:15000/status", nil),
            ("http://user@127.0.0.1", nil),
        ] as [(String, [String]?)])
    func `an address or localhost can be asked`(url: String, addresses: [String]?) {
        #expect(AdminCall.place(url)?.addresses.map(\.description) == addresses)
    }

    @Test func `a running gateway gives its status`() throws {
        let running = try Running()
        running.published.withLock {
            $0.problems = [ConfigProblem(.notice, reason: "Odd", message: "it is odd")]
        }
        let address = try #require(running.observer.address(of: .admin))
        let request = StatusRequest(admin: "http://\(address)", tokenFile: nil, isJSON: false)
        #expect(request.run() == .init(text: "notice: it is odd\n", isReached: true))
        let json = StatusRequest(
            admin: "http://localhost:\(address.port)", tokenFile: nil, isJSON: true)
        #expect(json.run().text.hasPrefix("{\"objects\":[],\"problems\":["))
    }

    @Test func `the token is sent`() throws {
        let folder = try TemporaryFolder()
        try folder.write("token", "secret\n")
        try folder.write("wrong", "other\n")
        let running = try Running(tokenFile: folder.path("token"))
        let address = try #require(running.observer.address(of: .admin))
        func ask(_ file: String?) -> StatusRequest.Answer {
            StatusRequest(
                admin: "http://\(address)", tokenFile: file.map(folder.path), isJSON: false
            ).run()
        }
        #expect(ask("token").isReached)
        for file in ["wrong", nil] {
            #expect(!ask(file).isReached)
            #expect(ask(file).text.contains("--admin-token-file"))
        }
        #expect(ask("absent").text.contains("cannot be read"))
    }

    @Test func `where nobody listens, it says what to do`() throws {
        // At an address where no other test opens a port meanwhile.
        let place = try #require(SocketAddress("127.0.53.98", port: 0))
        let address = try ListenSocket.open(place, reusePort: false).localAddress
        let answer = StatusRequest(
            admin: "http://\(address)", tokenFile: nil, isJSON: false
        ).run()
        #expect(!answer.isReached)
        #expect(answer.text.contains("refused") && answer.text.contains("--admin"))
    }
}
