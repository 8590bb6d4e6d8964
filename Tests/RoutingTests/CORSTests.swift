// Proves which origins a CORS policy lets in, and what it says in answers in place of the backend.

import BasicContainers
import HTTP
import Testing

@testable import Routing

@Suite struct CORSTests {
    private func table(_ policy: CORSPolicy) throws -> Table {
        try RoutingTests.table(
            TableDescription(
                filters: [.cors(policy)], backends: [BackendDescription(target: .cluster(1))]))
    }

    private func allows(_ policy: CORSPolicy, _ origin: String) throws -> Bool {
        let table = try table(policy)
        let head = Request(headers: [("origin", origin)]).head()
        return table.allowedOrigin(rule: 0, backend: -1, head: head) != nil
    }

    @Test(arguments: [
        ("https://foo.example", "https://foo.example", true),
        ("https://foo.example", "https://foo.example:443", true),
        ("https://foo.example:443", "https://foo.example", true),
        ("https://Foo.example", "https://fOO.example", true),
        ("https://foo.example", "http://foo.example", false),
        ("http://foo.example:81", "http://foo.example:8", false),
        ("https://*.foo.example", "https://a.b.foo.example", true),
        ("https://*.foo.example", "https://foo.example", false),
        ("https://*.foo.example", "https://.foo.example", false),
        ("https://*.foo.example", "https://evilfoo.example", false),
        ("https://*", "https://anything", true),
        ("https://*", "https://[::1]", true),
        ("https://*", "http://anything", false),
        ("http://*:99", "http://anything:99", true),
        ("*", "null", true),
        ("https://foo.example", "null", false),
    ])
    func `an origin is let in by scheme, host and port`(
        entry: String, origin: String, expected: Bool
    ) throws {
        #expect(try allows(CORSPolicy(origins: [entry]), origin) == expected)
    }

    @Test(arguments: [
        "foo.example", "ftp://foo.example", "https://", "https://a/b", "https://a.*.b",
        "https://*a", "https://a:0", "https://a:99999", "https://a b", "**",
    ])
    func `what is no origin is a filter that cannot be processed`(entry: String) throws {
        let policy = CORSPolicy(origins: [entry])
        #expect(policy.problem?.field == "allowOrigins[0]")
        #expect(try table(policy).rules[0].flags.contains(.failedFilter))
    }

    @Test func `two Origin lines are nobody's`() throws {
        let table = try table(CORSPolicy(origins: ["*"]))
        let head = Request(headers: [("origin", "https://a"), ("origin", "https://a")]).head()
        #expect(table.allowedOrigin(rule: 0, backend: -1, head: head) == nil)
    }

    @Test func `the policy's words stand in place of the backend's`() throws {
        let table = try table(
            CORSPolicy(origins: ["https://a"], allowsCredentials: true, exposed: ["*", "x-b"]))
        var head = ResponseHead()
        let bytes = Array(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: accept\r\n\r\n".utf8)
        _ = head.parse(bytes.span, requestMethod: .get)
        let origin = Array("https://a".utf8)
        #expect(
            table.applyResponseFilters(rule: 0, backend: -1, origin: origin.span, head: &head))
        #expect(head.values("access-control-allow-origin") == ["https://a"])
        #expect(head.values("access-control-allow-credentials") == ["true"])
        #expect(head.values("access-control-expose-headers") == ["x-b"])
        #expect(head.values("vary") == ["accept", "origin"])
    }
}
