// Proves Exact and PathPrefix (HTTPPathMatch): by elements, by case, with any slash at the end.

import HTTP
import Testing

@testable import Routing

@Suite struct PathMatchTests {
    @Test(arguments: [
        ("/abc", "/abc", true), ("/abc", "/abc/", true), ("/abc", "/abc/d", true),
        ("/abc", "/abcd", false), ("/abc", "/ab", false), ("/abc", "/ABC", false),
        ("/abc", "/", false), ("/abc", "/x/abc", false),
        ("/abc/", "/abc", true), ("/abc/", "/abc/", true), ("/abc/", "/abc/d/e", true),
        ("/abc/", "/abcd", false), ("/a/b", "/a/b/c", true), ("/a/b", "/a/bc", false),
        ("/a/b", "/a", false), ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/g/h/i", true),
        ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/g/hi", false),
        ("/", "/", true), ("/", "/anything/at/all", true), ("/", "/abc?x=/y", true),
        ("/abc", "/abc?x", true), ("/abc", "/abc?/d", true),
    ])
    func `a prefix matches by elements`(prefix: String, path: String, isMatch: Bool) throws {
        let table = try table(TableDescription([match(.prefix(prefix))]))
        #expect((table.rule(Request(path)) == 0) == isMatch)
    }

    @Test(arguments: [
        ("/abc", "/abc", true), ("/abc", "/abc/", false), ("/abc", "/abc/d", false),
        ("/abc/", "/abc/", true), ("/abc/", "/abc", false), ("/abc", "/Abc", false),
        ("/", "/", true), ("/", "/a", false), ("/abc", "/abc?q=1", true),
        ("/v1/models/llama%2F3", "/v1/models/llama%2F3", true),
        ("/a-much-longer-path/than/eight/bytes", "/a-much-longer-path/than/eight/bytes", true),
        ("/a-much-longer-path/than/eight/bytes", "/a-much-longer-path/than/eight/bytez", false),
        ("/a-much-longer-path/than/eight/bytes", "/a-much-longer-pbth/than/eight/bytes", false),
    ])
    func `an exact path matches the same bytes`(
        exact: String, path: String, isMatch: Bool
    ) throws {
        let table = try table(TableDescription([match(.exact(exact))]))
        #expect((table.rule(Request(path)) == 0) == isMatch)
    }

    /// Whatever the number of paths of a host, and so the form of their index.
    @Test(arguments: [1, 5, 6, 7, 8, 100, 1_000])
    func `many paths are found as few are`(count: Int) throws {
        let prefixes = (0..<count).map { match(.prefix("/p/\($0)")) }
        let exact = (0..<count).map { match(.exact("/e/\($0)/x")) }
        let table = try table(TableDescription(prefixes + exact))
        for i in 0..<count {
            #expect(table.rule(Request("/p/\(i)")) == Int32(i))
            #expect(table.rule(Request("/p/\(i)/y/z")) == Int32(i))
            #expect(table.rule(Request("/p/\(i)y")) == -1)
            #expect(table.rule(Request("/e/\(i)/x")) == Int32(count + i))
            #expect(table.rule(Request("/e/\(i)/x/")) == -1)
        }
        #expect(table.rule(Request("/p/\(count)")) == -1)
        #expect(table.rule(Request("/p")) == -1)
    }

    @Test func `nested prefixes are tried from the longest`() throws {
        let depth = 20
        let prefixes = (1...depth).map { String(repeating: "/a", count: $0) }
        let table = try table(TableDescription(prefixes.map { match(.prefix($0)) }))
        for i in 1...depth {
            let path = String(repeating: "/a", count: i)
            #expect(table.rule(Request(path)) == Int32(i - 1))
            #expect(table.rule(Request(path + "/b")) == Int32(i - 1))
        }
        #expect(table.rule(Request("/b")) == -1)
    }

    @Test(arguments: [
        ("/café", "/caf%C3%A9"), ("/a b", "/a%20b"), ("/%61bc", "/abc"), ("/a%2Fb", "/a%2Fb"),
        ("/abc", "/%61%62%63"), ("/v1/./x", "/v1/x"), ("/a", "/b/../a"), ("/a//b", "/a/b"),
    ])
    func `a configured path is met in the form of requests`(path: String, target: String) throws {
        let exact = try table(TableDescription([match(.exact(path))]))
        #expect(exact.rule(Request(target)) == 0)
        let prefix = try table(TableDescription([match(.prefix(path))]))
        #expect(prefix.rule(Request(target + "/more")) == 0)
    }

    @Test(arguments: ["", "abc", "/a\\b", "/%zz", "/%00"])
    func `a path that no request can have never matches`(path: String) throws {
        #expect(PathMatch.normal(path) == path)
        let table = try table(TableDescription([match(.exact(path))]))
        #expect(table.rule(Request("/abc")) == -1)
    }

    @Test(arguments: [
        ("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a//", "/a"), ("", ""), ("/a/b/", "/a/b"),
    ])
    func `a prefix loses its last slash`(prefix: String, stripped: String) {
        #expect(PathMatch.stripped(prefix: prefix) == stripped)
    }
}
