// Proves the order of filters, of rule before backend, and that no filter is ever skipped.

import BasicContainers
import HTTP
import Testing

@testable import Routing

@Suite struct FilterStepTests {
    private struct Result {
        var outcome: FilterOutcome
        var head: [String: [String]] = [:]
        var path = ""
        var authority = ""
        var scratch = ""
    }

    /// Runs the filters of the first rule, and of its first backend if there is one.
    private func run(
        _ description: TableDescription, _ request: Request = Request(), scratchBytes: Int = 16_384
    ) throws -> Result {
        let table = try table(description)
        var head = request.head()
        var scratch = RigidArray<UInt8>(capacity: scratchBytes)
        let found = table.match(listener: 0, head: head)
        #expect(found.rule == 0)
        let outcome = table.applyRequestFilters(
            rule: 0, backend: table.backend(rule: 0, random: 0), match: found, listener: 0,
            head: &head, scratch: &scratch)
        var result = Result(outcome: outcome)
        for name in ["a", "b", "c"] { result.head[name] = head.values(name) }
        result.path = head.text(head.target)
        result.authority = head.text(head.authority)
        result.scratch = text(scratch)
        return result
    }

    private func backend(
        _ filters: [FilterDescription], target: BackendTarget = .cluster(1)
    ) -> BackendDescription {
        BackendDescription(target: target, filters: filters)
    }

    @Test func `filters run in their order and the backend's come last`() throws {
        let result = try run(
            TableDescription(
                filters: [
                    .requestHeaders(HeaderModifier(set: [HeaderValue("a", "1")])),
                    .requestHeaders(HeaderModifier(add: [HeaderValue("a", "2")])),
                ],
                backends: [
                    backend([.requestHeaders(HeaderModifier(add: [HeaderValue("a", "3")]))])
                ]),
            Request(headers: [("a", "0")]))
        #expect(result.outcome == .forward)
        #expect(result.head["a"] == ["1", "2", "3"])
    }

    @Test func `flags tell what a rule and a backend need`() throws {
        let modifier = HeaderModifier(set: [HeaderValue("a", "1")])
        func flags(_ filters: [FilterDescription]) throws -> RowFlags {
            let table = try table(
                TableDescription(filters: filters, backends: [backend(filters)]))
            #expect(table.rules[0].flags == table.backends[0].flags)
            return table.rules[0].flags
        }
        #expect(try flags([]) == [])
        #expect(try flags([.requestHeaders(modifier)]) == [.requestFilters])
        #expect(try flags([.responseHeaders(modifier)]) == [.responseFilters])
        #expect(
            try flags([.requestRedirect(RequestRedirect())]) == [.requestFilters, .redirect])
        #expect(
            try flags([.urlRewrite(URLRewrite(hostname: "a.com"))])
                == [.requestFilters, .rewritesHost])
        #expect(
            try flags([.urlRewrite(URLRewrite(path: .replaceFull("/a")))])
                == [.requestFilters, .rewritesPath])
        #expect(try flags([.requestHeaders(HeaderModifier())]) == [])
    }

    static let unprocessable: [FilterDescription] = [
        .requestHeaders(HeaderModifier(set: [HeaderValue("a b", "1")])),
        .requestHeaders(HeaderModifier(set: [HeaderValue("", "1")])),
        .requestHeaders(HeaderModifier(add: [HeaderValue("a", "1\r\nb: 2")])),
        .requestHeaders(HeaderModifier(set: [HeaderValue("a", "\0")])),
        .requestHeaders(HeaderModifier(set: [HeaderValue("Content-Length", "5")])),
        .requestHeaders(HeaderModifier(add: [HeaderValue("transfer-encoding", "chunked")])),
        .requestHeaders(HeaderModifier(add: [HeaderValue("host", "a.com")])),
        .requestHeaders(HeaderModifier(set: [HeaderValue("host", "a b")])),
        .requestHeaders(HeaderModifier(remove: ["Host"])),
        .requestHeaders(HeaderModifier(remove: ["a:"])),
        .responseHeaders(HeaderModifier(set: [HeaderValue("connection", "close")])),
        .urlRewrite(URLRewrite(hostname: "a b")),
        .urlRewrite(URLRewrite(hostname: "a.com/x")),
        .requestRedirect(RequestRedirect(scheme: "ftp")),
        .requestRedirect(RequestRedirect(hostname: "a.com/\r\nx")),
        .requestRedirect(RequestRedirect(status: 200)),
    ]

    @Test(arguments: unprocessable)
    func `a filter that cannot be processed fails its requests`(filter: FilterDescription) throws {
        let good = FilterDescription.requestHeaders(HeaderModifier(set: [HeaderValue("a", "1")]))
        let ofRule = try run(
            TableDescription(filters: [good, filter], backends: [backend([])]))
        #expect(ofRule.outcome == .failed)
        #expect(ofRule.head["a"] == [])
        let ofBackend = try run(
            TableDescription(filters: [good], backends: [backend([filter])]))
        #expect(ofBackend.outcome == .failed)
        #expect(ofBackend.head["a"] == [])
        let table = try table(TableDescription(filters: [filter]))
        #expect(table.rules[0].flags.contains(.failedFilter))
    }

    @Test func `a failed filter that Control tells of fails the requests`() throws {
        var description = TableDescription(filters: [])
        description.rules[0].hasFailedFilter = true
        #expect(try run(description).outcome == .failed)
        description = TableDescription(filters: [], backends: [backend([])])
        description.rules[0].backends[0].hasFailedFilter = true
        #expect(try run(description).outcome == .failed)
    }

    @Test func `a backend's path is made from the request's, not from the rule's`() throws {
        let result = try run(
            TableDescription(
                filters: [
                    .urlRewrite(
                        URLRewrite(hostname: "rule.com", path: .replaceFull("/rule")))
                ], prefix: "/a",
                backends: [
                    backend([.urlRewrite(URLRewrite(path: .replacePrefixMatch("/backend")))])
                ]),
            Request("/a/b?q=1"))
        #expect(result.path == "/backend/b?q=1")
        #expect(result.authority == "rule.com")
    }

    @Test func `a backend's redirect is written after its rule's filters`() throws {
        let result = try run(
            TableDescription(
                filters: [.requestHeaders(HeaderModifier(set: [HeaderValue("a", "1")]))],
                backends: [backend([.requestRedirect(RequestRedirect(hostname: "b.com"))])]),
            Request("/x"))
        #expect(result.outcome == .redirect(status: 302))
        #expect(result.scratch == "http://b.com/x")
    }

    @Test func `what does not fit is told`() throws {
        let rewrite = FilterDescription.urlRewrite(URLRewrite(path: .replaceFull("/12345678")))
        #expect(
            try run(TableDescription(filters: [rewrite]), scratchBytes: 9).outcome == .forward)
        #expect(
            try run(TableDescription(filters: [rewrite]), scratchBytes: 8).outcome == .tooLarge)
        let redirect = FilterDescription.requestRedirect(RequestRedirect(port: 12345))
        let location = "http://example.com:12345/abc?q"
        for count in 0...location.utf8.count {
            let result = try run(
                TableDescription(filters: [redirect]), Request("/abc?q"), scratchBytes: count)
            let isWhole = count == location.utf8.count
            #expect(result.outcome == (isWhole ? .redirect(status: 302) : .tooLarge))
        }
        let many = (0..<200).map { HeaderValue("x-\($0)", "v") }
        let full = try run(
            TableDescription(filters: [.requestHeaders(HeaderModifier(add: many))]))
        #expect(full.outcome == .tooLarge)
    }

    @Test func `response filters run in their order and tell what does not fit`() throws {
        let table = try table(
            TableDescription(
                filters: [
                    .responseHeaders(
                        HeaderModifier(
                            set: [HeaderValue("a", "1")], add: [HeaderValue("b", "2")],
                            remove: ["C"])),
                    .requestHeaders(HeaderModifier(set: [HeaderValue("a", "request")])),
                ],
                backends: [
                    backend([.responseHeaders(HeaderModifier(add: [HeaderValue("a", "3")]))])
                ]))
        var head = ResponseHead()
        func parse() {
            let bytes = Array("HTTP/1.1 200 OK\r\nA: 0\r\nb: 1\r\nc: 1\r\nC: 2\r\n\r\n".utf8)
            #expect(head.parse(bytes.span, requestMethod: .get) == .complete(consumed: bytes.count))
        }
        parse()
        let isWritten = table.applyResponseFilters(rule: 0, backend: 0, head: &head)
        #expect(isWritten)
        #expect(head.values("a") == ["1", "3"])
        #expect(head.values("b") == ["1", "2"])
        #expect(head.values("c") == [])
        parse()
        let isWrittenAlone = table.applyResponseFilters(rule: 0, backend: -1, head: &head)
        #expect(isWrittenAlone)
        #expect(head.values("a") == ["1"])
        let many = (0..<300).map { HeaderValue("x-\($0)", "v") }
        let full = try RoutingTests.table(
            TableDescription(filters: [.responseHeaders(HeaderModifier(add: many))]))
        parse()
        let isFull = !full.applyResponseFilters(rule: 0, backend: -1, head: &head)
        #expect(isFull)
    }
}
