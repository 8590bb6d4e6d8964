// Proves HTTPHeaderFilter: set replaces, add appends, remove drops; names by any case, first
// counts.

import BasicContainers
import HTTP
import Testing

@testable import Routing

@Suite struct HeaderModifierTests {
    struct Row: Sendable {
        let modifier: HeaderModifier
        let headers: [(name: String, value: String)]
        let name: String
        let values: [String]
    }

    private static func fields(_ pairs: [(String, String)]) -> [HeaderValue] {
        pairs.map { HeaderValue($0.0, $0.1) }
    }

    private static func row(
        set: [(String, String)] = [], add: [(String, String)] = [], remove: [String] = [],
        _ headers: [(name: String, value: String)], _ name: String, _ values: [String]
    ) -> Row {
        Row(
            modifier: HeaderModifier(set: fields(set), add: fields(add), remove: remove),
            headers: headers, name: name, values: values)
    }

    static let rows = [
        row(set: [("x", "new")], [], "x", ["new"]),
        row(set: [("x", "new")], [("x", "old")], "x", ["new"]),
        row(set: [("X-Name", "new")], [("x-name", "a"), ("X-NAME", "b")], "x-name", ["new"]),
        row(set: [("x", "new")], [("xx", "old")], "xx", ["old"]),
        row(set: [("x", "")], [("x", "old")], "x", [""]),
        row(set: [("x", "1"), ("X", "2")], [], "x", ["1"]),
        row(set: [("user-agent", "me")], [("User-Agent", "curl")], "user-agent", ["me"]),
        row(add: [("x", "b")], [], "x", ["b"]),
        row(add: [("x", "b")], [("X", "a")], "x", ["a", "b"]),
        row(add: [("x", "1"), ("X", "2")], [], "x", ["1"]),
        row(add: [("cookie", "b=2")], [("Cookie", "a=1")], "cookie", ["a=1", "b=2"]),
        row(remove: ["x"], [("X", "a"), ("x", "b")], "x", []),
        row(remove: ["x"], [("xy", "a")], "xy", ["a"]),
        row(remove: ["authorization"], [("Authorization", "Bearer t")], "authorization", []),
        row(remove: ["absent"], [("x", "a")], "x", ["a"]),
        row(set: [("x", "1")], add: [("x", "2")], [("x", "0")], "x", ["1", "2"]),
        row(set: [("x", "1")], add: [("x", "2")], remove: ["x"], [("x", "0")], "x", []),
        row(set: [("x", "é")], [], "x", ["é"]),
    ]

    @Test(arguments: rows)
    func `a request is edited`(row: Row) throws {
        let table = try table(TableDescription(filters: [.requestHeaders(row.modifier)]))
        var head = Request(headers: row.headers).head()
        var scratch = RigidArray<UInt8>(capacity: 64)
        let found = table.match(listener: 0, head: head)
        let outcome = table.applyRequestFilters(
            rule: 0, backend: -1, match: found, listener: 0, head: &head, scratch: &scratch)
        #expect(outcome == .forward)
        #expect(head.values(row.name) == row.values)
        #expect(head.values("host") == ["example.com"])
    }

    @Test(arguments: rows)
    func `a response is edited`(row: Row) throws {
        let table = try table(TableDescription(filters: [.responseHeaders(row.modifier)]))
        var text = "HTTP/1.1 200 OK\r\nserver: s\r\n"
        for header in row.headers { text += "\(header.name): \(header.value)\r\n" }
        let bytes = Array((text + "\r\n").utf8)
        var head = ResponseHead()
        #expect(head.parse(bytes.span, requestMethod: .get) == .complete(consumed: bytes.count))
        let isWritten = table.applyResponseFilters(rule: 0, backend: -1, head: &head)
        #expect(isWritten)
        #expect(head.values(row.name) == row.values)
        #expect(head.values("server") == ["s"])
    }

    @Test func `to set Host is to rewrite it`() throws {
        let modifier = HeaderModifier(set: [HeaderValue("Host", "other.com:81")])
        let table = try table(TableDescription(filters: [.requestHeaders(modifier)]))
        #expect(table.rules[0].flags.contains(.rewritesHost))
        var head = Request().head()
        var scratch = RigidArray<UInt8>(capacity: 64)
        let outcome = table.applyRequestFilters(
            rule: 0, backend: -1, match: RouteMatch(rule: 0, prefixCount: 0, match: 0),
            listener: 0, head: &head, scratch: &scratch)
        #expect(outcome == .forward)
        #expect(head.text(head.authority) == "other.com:81")
        #expect(head.text(head.host) == "example.com")
    }

    @Test(arguments: [
        "content-length", "Transfer-Encoding", "connection", "keep-alive", "proxy-connection",
        "te", "trailer", "upgrade", "http2-settings",
    ])
    func `to remove a field of the connection means nothing`(name: String) throws {
        let modifier = HeaderModifier(remove: [name])
        #expect(modifier.problem == nil)
        let table = try table(TableDescription(filters: [.requestHeaders(modifier)]))
        #expect(table.rules[0].flags.isEmpty)
        #expect(HeaderModifier(set: [HeaderValue(name, "1")]).problem?.name == name)
        #expect(HeaderModifier(add: [HeaderValue(name, "1")]).problem?.name == name)
    }
}
