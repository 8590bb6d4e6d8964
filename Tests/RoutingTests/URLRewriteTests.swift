// Proves HTTPURLRewriteFilter: the table of ReplacePrefixMatch, the whole path, Host.

import BasicContainers
import HTTP
import Testing

@testable import Routing

@Suite struct URLRewriteTests {
    /// The target and authority after a rewrite of a rule with this prefix.
    private func rewritten(
        _ rewrite: URLRewrite, prefix: String, _ request: Request
    ) throws -> (target: String, authority: String) {
        let table = try table(TableDescription(filters: [.urlRewrite(rewrite)], prefix: prefix))
        var head = request.head()
        var scratch = RigidArray<UInt8>(capacity: 16_384)
        let found = table.match(listener: 0, head: head)
        #expect(found.rule == 0)
        let outcome = table.applyRequestFilters(
            rule: 0, backend: -1, match: found, listener: 0, head: &head, scratch: &scratch)
        #expect(outcome == .forward)
        return (head.text(head.target), head.text(head.authority))
    }

    static let prefixes: [(path: String, prefix: String, replacement: String, result: String)] = [
        // The table of the specification.
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"), ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"), ("/foo/", "/foo", "", "/"), ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"), ("/foo", "/foo", "/", "/"),
        // What follows from it.
        ("/foo/bar", "/foo", "/", "/bar"), ("/foo/bar/", "/foo/bar", "/x/y", "/x/y/"),
        ("/foo/bar/baz", "/foo/bar", "/x", "/x/baz"), ("/foo/foo", "/foo", "/x", "/x/foo"),
        ("/", "/", "/xyz", "/xyz/"), ("/bar", "/", "/xyz", "/xyz/bar"),
        ("/bar", "/", "/", "/bar"), ("/foo/bar", "/foo", "xyz", "/xyz/bar"),
        ("/foo/a%2Fb", "/foo", "/x", "/x/a%2Fb"), ("/foo/bar", "/foo", "/a b?", "/a%20b%3F/bar"),
        ("/foo/bar", "/foo", "/é", "/%C3%A9/bar"), ("/foo/bar", "/foo", "/a%20b", "/a%20b/bar"),
    ]

    @Test(arguments: prefixes)
    func `the prefix is replaced by elements`(
        path: String, prefix: String, replacement: String, result: String
    ) throws {
        let rewrite = URLRewrite(path: .replacePrefixMatch(replacement))
        for query in ["", "?", "?a=/foo&b"] {
            let target = try rewritten(rewrite, prefix: prefix, Request(path + query)).target
            #expect(target == result + query)
        }
    }

    @Test(arguments: [
        ("/foo/bar", "/xyz", "/xyz"), ("/", "/xyz/", "/xyz/"), ("/foo", "/", "/"),
        ("/foo", "one", "/one"), ("/foo", "", "/"),
    ])
    func `the whole path is replaced and the query stays`(
        path: String, replacement: String, result: String
    ) throws {
        let rewrite = URLRewrite(path: .replaceFull(replacement))
        for query in ["", "?", "?a=1"] {
            let target = try rewritten(rewrite, prefix: "/", Request(path + query)).target
            #expect(target == result + query)
        }
    }

    @Test func `host and path are replaced each alone or together`() throws {
        let request = Request("/a?q", host: "example.com:8080")
        let host = try rewritten(URLRewrite(hostname: "one.example.org"), prefix: "/", request)
        #expect(host == ("/a?q", "one.example.org"))
        let path = try rewritten(URLRewrite(path: .replaceFull("/b")), prefix: "/", request)
        #expect(path == ("/b?q", "example.com:8080"))
        let both = try rewritten(
            URLRewrite(hostname: "x.org", path: .replacePrefixMatch("/b")), prefix: "/a", request)
        #expect(both == ("/b?q", "x.org"))
    }

    @Test func `the asterisk of OPTIONS has no path to rewrite`() throws {
        let rewrite = URLRewrite(path: .replaceFull("/b"))
        let target = try rewritten(rewrite, prefix: "/", Request("*", method: "OPTIONS")).target
        #expect(target == "*")
    }
}
