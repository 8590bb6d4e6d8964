// Proves how a listener is chosen: exact name, longer wildcard, shorter wildcard, every host.

import HTTP
import Testing

@testable import Routing

@Suite struct HostIndexTests {
    private func found(_ table: borrowing Table, _ host: String, isTLS: Bool = false) -> Int32 {
        table.listener(port: 0, host: Array(host.utf8).span, isTLS: isTLS)
    }

    private func port(_ listeners: [(name: String?, isTLS: Bool)]) -> TableDescription {
        TableDescription(ports: [
            PortDescription(
                id: 1,
                listeners: listeners.enumerated().map { i, listener in
                    ListenerDescription(
                        id: UInt32(i), hostname: listener.name, isTLS: listener.isTLS)
                })
        ])
    }

    static let names: [String?] = [
        "example.com", "a.example.com", "*.example.com", "*.b.example.com", nil,
    ]

    @Test(arguments: [
        ("example.com", 0), ("a.example.com", 1), ("c.example.com", 2), ("x.y.example.com", 2),
        ("c.b.example.com", 3), ("d.c.b.example.com", 3), ("b.example.com", 2),
        ("other.org", 4), ("com", 4), ("aexample.com", 4), ("", 4), ("[::1]", 4),
        ("10.0.0.1", 4), ("example.com.org", 4), (".example.com", 4),
    ])
    func `the most specific listener is found`(host: String, index: Int32) throws {
        let table = try table(port(Self.names.map { ($0, false) }))
        #expect(found(table, host) == index)
    }

    @Test(arguments: ["other.org", "com", "b.com", "", ".a.com", "xa.com", "a.com"])
    func `without a catch-all an unknown host finds nothing`(host: String) throws {
        let table = try table(port([("*.a.com", false), ("a.org", false)]))
        #expect(found(table, host) == -1)
    }

    @Test func `a wildcard never matches the name itself`() throws {
        let table = try table(port([("*.example.com", false)]))
        #expect(found(table, "example.com") == -1)
        #expect(found(table, "a.example.com") == 0)
        #expect(found(table, "a.b.c.d.example.com") == 0)
    }

    @Test func `only listeners of the same kind compete`() throws {
        let table = try table(
            port([("a.com", false), ("*.com", true), (nil, true), (nil, false)]))
        #expect(found(table, "a.com") == 0)
        #expect(found(table, "a.com", isTLS: true) == 1)
        #expect(found(table, "a.org", isTLS: true) == 2)
        #expect(found(table, "a.org") == 3)
    }

    @Test func `of equal listeners the first is found`() throws {
        let names: [String?] = ["a.com", "a.com", nil, nil]
        let table = try table(port(names.map { ($0, false) }))
        #expect(found(table, "a.com") == 0)
        #expect(found(table, "b.com") == 2)
    }

    @Test func `many names are found as few are`() throws {
        let names = (0..<500).map { "h\($0).example.com" } + (0..<500).map { "*.w\($0).net" }
        let table = try table(port(names.map { ($0, false) }))
        for i in 0..<500 {
            #expect(found(table, "h\(i).example.com") == Int32(i))
            #expect(found(table, "x.w\(i).net") == Int32(500 + i))
            #expect(found(table, "x.y.z.w\(i).net") == Int32(500 + i))
            #expect(found(table, "w\(i).net") == -1)
            #expect(found(table, "h\(i).example.org") == -1)
        }
    }

    @Test func `a route without hostnames has those of its listener`() throws {
        var description = port([("*.example.com", false)])
        description.rules = [RuleDescription(id: 0), RuleDescription(id: 1)]
        var exact = match(.exact("/a"))
        exact.rule = 1
        // Both matches have the same host then, so the path decides.
        description.ports[0].listeners[0].matches = [
            match(hosts: ["*.example.com"]), exact,
        ]
        let table = try table(description)
        #expect(table.rule(Request("/a", host: "x.example.com")) == 1)
        #expect(table.rule(Request("/b", host: "x.example.com")) == 0)
    }

    @Test func `listeners keep their routes apart`() throws {
        var description = port([("a.com", false), (nil, false)])
        description.rules = [RuleDescription(id: 0), RuleDescription(id: 1)]
        description.ports[0].listeners[0].matches = [match(.exact("/a"))]
        var other = match()
        other.rule = 1
        description.ports[0].listeners[1].matches = [other]
        let table = try table(description)
        let head = Request("/b", host: "a.com").head()
        let listener = table.listener(port: 0, host: head.span(head.host), isTLS: false)
        #expect(listener == 0)
        // Isolation: the less specific listener is not asked.
        #expect(table.match(listener: listener, head: head) == .none)
    }
}
