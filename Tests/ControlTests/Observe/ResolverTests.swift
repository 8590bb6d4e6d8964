// Names are resolved over real sockets, on a loop, from a stand-in of a DNS server.
import Foundation
import Kernel
import Logging
import Testing

@testable import Control

/// A resolver on a loop of its own.
private struct Bench: ~Copyable {
    var loop: Loop
    var resolver: Resolver
    let control: Mailbox<ControlMessage>
    let messages: RecordingLog
    var known: [String: [SocketAddress]] = [:]
    var changes: [String] = []

    init(
        servers: String? = nil, hosts: String = "/nonexistent", configuration: String? = nil,
        capacity: Int = 64
    ) throws {
        let control = try Mailbox<ControlMessage>(capacity: capacity)
        let messages = RecordingLog()
        var settings = Resolver.Settings(servers: servers)
        settings.hostsPath = hosts
        if let configuration { settings.configurationPath = configuration }
        let resolver = try Resolver(settings, kind: 5, control: control, log: messages.logger)
        self.loop = try Loop()
        self.resolver = resolver
        self.control = control
        self.messages = messages
    }

    mutating func follow(_ names: [String]) {
        resolver.follow(names, now: Clock.monotonicMilliseconds())
    }

    /// One turn of the loop, at most so long.
    mutating func turn(atMost milliseconds: Int32 = 50) {
        var now = Clock.monotonicMilliseconds()
        resolver.tick(on: loop, now: now)
        let delay = resolver.delay(now: now)
        let count = loop.wait(
            timeoutMilliseconds: delay < 0 ? milliseconds : min(delay, milliseconds))
        now = Clock.monotonicMilliseconds()
        for index in 0..<count { resolver.handle(loop.event(index)) }
        resolver.tick(on: loop, now: now)
        while let message = control.take() {
            guard case .resolved(let name, let addresses) = message else { continue }
            known[name] = addresses
            changes.append(name)
        }
    }

    /// Turns until it holds; fails after ten seconds.
    mutating func turn(
        until isDone: (borrowing Bench) -> Bool, location: SourceLocation = #_sourceLocation
    ) {
        let deadline = Clock.monotonicMilliseconds() + 10_000
        while !isDone(self) {
            if Clock.monotonicMilliseconds() > deadline {
                Issue.record("Not within ten seconds.", sourceLocation: location)
                return
            }
            turn()
        }
    }

    func hosts(_ name: String) -> [String] { (known[name] ?? []).map(\.hostDescription) }
}

struct ResolverTests {
    @Test func `A and AAAA are resolved, and followed by their TTL`() throws {
        let dns = try DNSResponder()
        dns.set("gpu.test", [.a("127.0.0.3"), .a("127.0.0.2")])
        dns.set("six.test", [.aaaa("::1")])
        var bench = try Bench(servers: "\(dns.address)")
        bench.follow(["gpu.test", "six.test"])
        bench.turn { $0.known.count == 2 }
        #expect(bench.hosts("gpu.test") == ["127.0.0.2", "127.0.0.3"])
        #expect(bench.hosts("six.test") == ["::1"])
        #expect(
            Set(dns.questions.prefix(4)) == [
                "gpu.test 1", "gpu.test 28", "six.test 1", "six.test 28",
            ])
        dns.set("gpu.test", [.a("127.0.0.9")])
        bench.turn { $0.hosts("gpu.test") == ["127.0.0.9"] }
        #expect(bench.changes.count == 3)
    }

    @Test func `the last answer stays when the name is gone, with one line`() throws {
        let dns = try DNSResponder()
        dns.set("gpu.test", [.a("127.0.0.2")])
        var bench = try Bench(servers: "\(dns.address)")
        bench.follow(["gpu.test"])
        bench.turn { !$0.known.isEmpty }
        dns.set("gpu.test", nil)
        bench.turn { $0.messages.lines.count == 2 }
        dns.set(.failing)
        let asked = dns.questions.count
        bench.turn { _ in dns.questions.count >= asked + 2 }
        #expect(bench.hosts("gpu.test") == ["127.0.0.2"])
        #expect(bench.changes.count == 1)
        #expect(
            bench.messages.lines == [
                "info a DNS name is resolved addresses=127.0.0.2 name=gpu.test",
                "warning a DNS name cannot be resolved; its last addresses stay in use cause=there is no such name name=gpu.test",
            ])
        dns.set(.answering)
        dns.set("gpu.test", [.a("127.0.0.4")])
        bench.turn { $0.hosts("gpu.test") == ["127.0.0.4"] }
        #expect(
            bench.messages.lines.dropFirst(2).first
                == "notice a DNS name is resolved again name=gpu.test")
    }

    @Test func `a server that says nothing blocks nobody`() throws {
        let dns = try DNSResponder()
        dns.set(.silent)
        var bench = try Bench(servers: "\(dns.address)")
        bench.follow(["gpu.test"])
        bench.turn { _ in dns.questions.count >= 2 }
        let began = Clock.monotonicMilliseconds()
        for _ in 0..<5 { bench.turn(atMost: 10) }
        #expect(Clock.monotonicMilliseconds() - began < 1_000)
        // The library asks once more after its first time-out.
        dns.set(.answering)
        dns.set("gpu.test", [.a("127.0.0.2")])
        bench.turn { !$0.known.isEmpty }
    }

    @Test func `a family that is never answered does not hold up the other`() throws {
        let dns = try DNSResponder()
        dns.set("gpu.test", [.a("127.0.0.2")])
        dns.ignore(type: 28)
        var bench = try Bench(servers: "\(dns.address)")
        let began = Clock.monotonicMilliseconds()
        bench.follow(["gpu.test"])
        bench.turn { !$0.known.isEmpty }
        // The library's own first time-out is 1.5 s.
        #expect(Clock.monotonicMilliseconds() - began < 1_400)
        #expect(bench.hosts("gpu.test") == ["127.0.0.2"])
    }

    @Test func `a server that is not there is a failure at once, tried again`() throws {
        // At an address where no other test opens a port meanwhile.
        let gone = try {
            let dns = try DNSResponder(last: 99)
            return dns.address
        }()
        var bench = try Bench(servers: "\(gone)")
        bench.follow(["gpu.test"])
        bench.turn { !$0.messages.lines.isEmpty }
        // "could be reached", or "answered in time" where the system holds back its ICMP answer.
        #expect(bench.messages.lines.first?.contains("no DNS server") == true)
        #expect(bench.known.isEmpty)
    }

    @Test func `services give addresses with ports`() throws {
        let dns = try DNSResponder()
        dns.set(
            "_ollama._tcp.test",
            [
                .srv(priority: 1, weight: 0, port: 11_434, target: "n1.test"),
                .srv(priority: 1, weight: 0, port: 11_435, target: "n2.test"),
                .srv(priority: 2, weight: 0, port: 80, target: "n3.test"),
            ])
        for number in 1...3 { dns.set("n\(number).test", [.a("127.0.0.\(number)")]) }
        var bench = try Bench(servers: "\(dns.address)")
        bench.follow(["_ollama._tcp.test"])
        bench.turn { !$0.known.isEmpty }
        #expect(
            bench.known["_ollama._tcp.test"]?.map(\.description)
                == ["127.0.0.1:11434", "127.0.0.2:11435"])
    }

    @Test func `the hosts file comes first, alone for the names it has`() throws {
        let folder = try TemporaryFolder()
        try folder.write("hosts", "127.0.0.7 gpu.test\n")
        let dns = try DNSResponder()
        dns.set("gpu.test", [.a("127.0.0.2"), .aaaa("::1")])
        var bench = try Bench(servers: "\(dns.address)", hosts: folder.path("hosts"))
        bench.follow(["gpu.test"])
        bench.turn { !$0.known.isEmpty }
        #expect(bench.hosts("gpu.test") == ["127.0.0.7"])
        #expect(dns.questions == [])
    }

    @Test(arguments: ["localhost", "api.localhost"])
    func `localhost is never asked for`(name: String) throws {
        let dns = try DNSResponder()
        var bench = try Bench(servers: "\(dns.address)")
        bench.follow([name])
        bench.turn { !$0.known.isEmpty }
        #expect(bench.hosts(name).first == "127.0.0.1")
        #expect(bench.known[name]?.allSatisfy(\.isLoopback) == true)
        #expect(dns.questions == [])
    }

    @Test func `names that are wanted no more are asked for no more`() throws {
        let dns = try DNSResponder()
        dns.set("a.test", [.a("127.0.0.2")])
        dns.set("b.test", [.a("127.0.0.3")])
        var bench = try Bench(servers: "\(dns.address)")
        bench.follow(["a.test", "b.test"])
        bench.turn { $0.known.count == 2 }
        bench.follow(["b.test"])
        let before = dns.questions.count
        bench.turn { _ in dns.questions.count >= before + 4 }
        #expect(!dns.questions[before...].contains("a.test 1"))
    }

    @Test func `a full mailbox gets the addresses as soon as it has room`() throws {
        let dns = try DNSResponder()
        dns.set("gpu.test", [.a("127.0.0.2")], ttl: 300)
        var bench = try Bench(servers: "\(dns.address)", capacity: 1)
        #expect(bench.control.post(.reread))
        bench.follow(["gpu.test"])
        bench.turn { !$0.known.isEmpty }
        #expect(bench.hosts("gpu.test") == ["127.0.0.2"])
    }

    /// The file names no ports, so the stand-ins need that of DNS.
    @Test(.enabled(if: geteuid() == 0, "port 53 is for the superuser"))
    func `new servers in the configuration are used`() throws {
        let folder = try TemporaryFolder()
        let old = try DNSResponder(last: 11, port: 53)
        let new = try DNSResponder(last: 12, port: 53)
        old.set("gpu.test", [.a("127.0.0.2")])
        new.set("gpu.test", [.a("127.0.0.3")])
        try folder.write("resolv.conf", "nameserver \(old.address.hostDescription)\n")
        var bench = try Bench(configuration: folder.path("resolv.conf"))
        bench.follow(["gpu.test"])
        bench.turn { $0.hosts("gpu.test") == ["127.0.0.2"] }
        try folder.write("resolv.conf", "# another\nnameserver \(new.address.hostDescription)\n")
        bench.turn { $0.hosts("gpu.test") == ["127.0.0.3"] }
        #expect(bench.messages.lines.contains { $0.contains("the DNS settings changed") })
    }

    @Test func `many names are resolved together`() throws {
        let dns = try DNSResponder()
        let names = (0..<400).map { "n\($0).test" }
        for (number, name) in names.enumerated() {
            dns.set(name, [.a("127.0.\(number / 200).\(number % 200 + 1)")], ttl: 60)
        }
        var bench = try Bench(servers: "\(dns.address)", capacity: 1_024)
        bench.follow(names)
        bench.turn { $0.known.count == 400 }
        #expect(bench.hosts("n399.test") == ["127.0.1.200"])
    }

    @Test(arguments: ["nonsense", "127.0.0.1:x"])
    func `servers that are none are refused`(servers: String) {
        #expect(throws: Resolver.Refused.self) { _ = try Bench(servers: servers) }
    }
}
