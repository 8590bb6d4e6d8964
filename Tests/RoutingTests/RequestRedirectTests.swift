// Proves HTTPRequestRedirectFilter: scheme, host, port, path and query of Location, and the status.

import BasicContainers
import HTTP
import Testing

@testable import Routing

@Suite struct RequestRedirectTests {
    /// The Location for a request of a listener.
    private func location(
        _ redirect: RequestRedirect, _ request: Request = Request("/path"), prefix: String = "/",
        isTLS: Bool = false, number: UInt16 = 80
    ) throws -> (status: UInt16, location: String) {
        let table = try table(
            TableDescription(
                filters: [.requestRedirect(redirect)], prefix: prefix, isTLS: isTLS,
                number: number))
        #expect(table.rules[0].flags.contains(.redirect))
        var head = request.head()
        var scratch = RigidArray<UInt8>(capacity: 16_384)
        let found = table.match(listener: 0, head: head)
        let outcome = table.applyRequestFilters(
            rule: 0, backend: -1, match: found, listener: 0, head: &head, scratch: &scratch)
        guard case .redirect(let status) = outcome else {
            Issue.record("no redirect: \(outcome)")
            return (0, "")
        }
        return (status, text(scratch))
    }

    struct Row: Sendable {
        var scheme: String?
        var hostname: String?
        var port: UInt16?
        var isTLS = false
        var number: UInt16 = 80
        let result: String
    }

    static let rows = [
        // Nothing given: all from the request and the listener.
        Row(result: "http://example.com/path"),
        Row(number: 8080, result: "http://example.com:8080/path"),
        Row(isTLS: true, number: 443, result: "https://example.com/path"),
        Row(isTLS: true, number: 8443, result: "https://example.com:8443/path"),
        Row(number: 443, result: "http://example.com:443/path"),
        Row(isTLS: true, number: 80, result: "https://example.com:80/path"),
        // A hostname keeps the listener's port.
        Row(hostname: "example.org", result: "http://example.org/path"),
        Row(hostname: "example.org", number: 8080, result: "http://example.org:8080/path"),
        // A scheme brings its own port.
        Row(scheme: "https", result: "https://example.com/path"),
        Row(scheme: "https", number: 8080, result: "https://example.com/path"),
        Row(scheme: "http", number: 8080, result: "http://example.com/path"),
        Row(scheme: "http", isTLS: true, number: 443, result: "http://example.com/path"),
        Row(scheme: "https", isTLS: true, number: 8443, result: "https://example.com/path"),
        // A port is taken as it is, but not the scheme's own.
        Row(port: 8083, result: "http://example.com:8083/path"),
        Row(port: 80, number: 8080, result: "http://example.com/path"),
        Row(port: 443, number: 8080, result: "http://example.com:443/path"),
        Row(scheme: "https", port: 443, result: "https://example.com/path"),
        Row(scheme: "https", port: 80, result: "https://example.com:80/path"),
        Row(scheme: "https", port: 8443, result: "https://example.com:8443/path"),
        Row(scheme: "http", port: 443, result: "http://example.com:443/path"),
        Row(scheme: "http", port: 80, isTLS: true, number: 443, result: "http://example.com/path"),
        Row(port: 443, isTLS: true, number: 8443, result: "https://example.com/path"),
        Row(
            scheme: "https", hostname: "x.org", port: 1, result: "https://x.org:1/path"),
        Row(hostname: "example.org", port: 65_535, result: "http://example.org:65535/path"),
        Row(hostname: "example.org", port: 100, result: "http://example.org:100/path"),
    ]

    @Test(arguments: rows)
    func `scheme, host and port follow the rules`(row: Row) throws {
        let redirect = RequestRedirect(
            scheme: row.scheme, hostname: row.hostname, port: row.port)
        let result = try location(redirect, isTLS: row.isTLS, number: row.number)
        #expect(result == (302, row.result))
    }

    @Test(arguments: [301, 302, 303, 307, 308] as [UInt16])
    func `the status is the given one`(status: UInt16) throws {
        #expect(try location(RequestRedirect(status: status)).status == status)
    }

    @Test func `the port of Host is not kept`() throws {
        let request = Request("/path", host: "EXAMPLE.com:9999")
        #expect(try location(RequestRedirect(), request).location == "http://example.com/path")
        let six = Request("/path", host: "[::1]:9999")
        let result = try location(RequestRedirect(), six, number: 8080).location
        #expect(result == "http://[::1]:8080/path")
    }

    @Test(
        arguments: [
            (nil, "/a/b", "/a/b"), (.replaceFull("/full"), "/a/b", "/full"),
            (.replacePrefixMatch("/x"), "/a/b", "/x/b"), (.replacePrefixMatch("/x"), "/a", "/x"),
            (.replacePrefixMatch("/"), "/a", "/"), (.replacePrefixMatch(""), "/a/b", "/b"),
            (.replacePrefixMatch("/x/"), "/a/", "/x/"),
        ] as [(PathModifier?, String, String)])
    func `the path is made as of a rewrite and the query is kept`(
        path: PathModifier?, request: String, result: String
    ) throws {
        for query in ["", "?", "?q=1&r"] {
            let found = try location(
                RequestRedirect(path: path), Request(request + query), prefix: "/a")
            #expect(found.location == "http://example.com" + result + query)
        }
    }

    @Test func `a request without a host gets a path`() throws {
        let table = try table(
            TableDescription(filters: [.requestRedirect(RequestRedirect(path: .replaceFull("/b")))])
        )
        var head = RequestHead()
        let bytes = Array("GET /a?q HTTP/1.0\r\n\r\n".utf8)
        #expect(head.parse(bytes.span) == .complete(consumed: bytes.count))
        var scratch = RigidArray<UInt8>(capacity: 64)
        let outcome = table.applyRequestFilters(
            rule: 0, backend: -1, match: RouteMatch(rule: 0, prefixCount: 0, match: 0),
            listener: 0, head: &head, scratch: &scratch)
        #expect(outcome == .redirect(status: 302))
        #expect(text(scratch) == "/b?q")
    }
}
