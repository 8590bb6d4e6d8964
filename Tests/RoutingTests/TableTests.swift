// Proves the precedence of matches (HTTPRouteRule.matches) and the fall to less specific hosts.

import HTTP
import Testing

@testable import Routing

@Suite struct TableTests {
    /// Two matches that both take the request; the first of each row must win in either order.
    struct Contest: Sendable {
        let name: String
        let winner: MatchDescription
        let loser: MatchDescription
        let request: Request
    }

    static let contests = [
        Contest(
            name: "exact host before wildcard, whatever the path",
            winner: match(hosts: ["a.example.com"]),
            loser: match(.exact("/abc"), hosts: ["*.example.com"]),
            request: Request("/abc", host: "a.example.com")),
        Contest(
            name: "longer wildcard before shorter",
            winner: match(hosts: ["*.b.example.com"]),
            loser: match(.exact("/abc"), hosts: ["*.example.com"]),
            request: Request("/abc", host: "a.b.example.com")),
        Contest(
            name: "wildcard before every host",
            winner: match(hosts: ["*.example.com"]), loser: match(.exact("/abc")),
            request: Request("/abc", host: "a.example.com")),
        Contest(
            name: "exact path before prefix",
            winner: match(.exact("/abc")), loser: match(.prefix("/abc"), method: "GET"),
            request: Request("/abc")),
        Contest(
            name: "exact path before pattern",
            winner: match(.exact("/abc")),
            loser: match(.regularExpression("/a.*"), method: "GET"),
            request: Request("/abc")),
        Contest(
            name: "pattern before prefix",
            winner: match(.regularExpression("/a.*")),
            loser: match(.prefix("/abc"), method: "GET"),
            request: Request("/abc")),
        Contest(
            name: "longer prefix before shorter",
            winner: match(.prefix("/abc/def")),
            loser: match(.prefix("/abc"), method: "GET", headers: [("x", "1")]),
            request: Request("/abc/def/g", headers: [("x", "1")])),
        Contest(
            name: "method before headers",
            winner: match(.prefix("/abc"), method: "GET"),
            loser: match(.prefix("/abc"), headers: [("x", "1"), ("y", "2")]),
            request: Request("/abc", headers: [("x", "1"), ("y", "2")])),
        Contest(
            name: "more headers before fewer",
            winner: match(headers: [("x", "1"), ("y", "2")]),
            loser: match(headers: [("x", "1")], query: [("a", "1"), ("b", "2")]),
            request: Request("/?a=1&b=2", headers: [("x", "1"), ("y", "2")])),
        Contest(
            name: "more query parameters before fewer",
            winner: match(query: [("a", "1"), ("b", "2")], age: 20),
            loser: match(query: [("a", "1")], age: 10),
            request: Request("/?a=1&b=2")),
        Contest(
            name: "older route before younger",
            winner: match(age: 10, route: "z/z"), loser: match(age: 20, route: "a/a"),
            request: Request()),
        Contest(
            name: "any age before none",
            winner: match(age: 10, route: "z/z"), loser: match(route: "a/a"),
            request: Request()),
        Contest(
            name: "alphabetical namespace and name",
            winner: match(age: 10, route: "a/z", ruleIndex: 5),
            loser: match(age: 10, route: "b/a"), request: Request()),
        Contest(
            name: "first rule of a route",
            winner: match(route: "a/a", ruleIndex: 1, matchIndex: 7),
            loser: match(route: "a/a", ruleIndex: 2), request: Request()),
        Contest(
            name: "first match of a rule",
            winner: match(route: "a/a", matchIndex: 1),
            loser: match(route: "a/a", matchIndex: 2), request: Request()),
        Contest(
            name: "a header name given twice counts once",
            winner: match(headers: [("x", "1")], age: 1),
            loser: match(headers: [("x", "1"), ("X", "2")], age: 2),
            request: Request(headers: [("x", "1")])),
        Contest(
            name: "a slash at the end of a prefix does not lengthen it",
            winner: match(.prefix("/abc"), age: 1), loser: match(.prefix("/abc/"), age: 2),
            request: Request("/abc/d")),
    ]

    @Test(arguments: contests)
    func `the more specific match wins in either order`(contest: Contest) throws {
        let forward = try table(TableDescription([contest.winner, contest.loser]))
        let backward = try table(TableDescription([contest.loser, contest.winner]))
        let alone = try table(TableDescription([contest.loser]))
        #expect(forward.rule(contest.request) == 0, "\(contest.name)")
        #expect(backward.rule(contest.request) == 1, "\(contest.name)")
        #expect(alone.rule(contest.request) == 0, "the loser takes it too: \(contest.name)")
    }

    @Test func `a host without a fitting rule leaves the request to the next`() throws {
        let table = try table(
            TableDescription([
                match(.exact("/a"), hosts: ["x.y.example.com"]),
                match(.exact("/b"), hosts: ["*.y.example.com"]),
                match(.exact("/c"), hosts: ["*.example.com"]),
                match(.exact("/d")),
            ]))
        for (path, rule) in [("/a", 0), ("/b", 1), ("/c", 2), ("/d", 3), ("/e", -1)] {
            #expect(table.rule(Request(path, host: "x.y.example.com")) == Int32(rule))
        }
    }

    @Test func `a path whose conditions fail leaves the request to a shorter one`() throws {
        let table = try table(
            TableDescription([
                match(.exact("/a/b/c"), headers: [("x", "1")]),
                match(.regularExpression("/a/.*"), headers: [("x", "2")]),
                match(.prefix("/a/b"), headers: [("x", "3")]),
                match(.prefix("/a"), headers: [("x", "4")]),
                match(.prefix("/"), headers: [("x", "5")]),
            ]))
        for rule in 0..<5 {
            let request = Request("/a/b/c", headers: [("x", "\(rule + 1)")])
            #expect(table.rule(request) == Int32(rule))
        }
        #expect(table.rule(Request("/a/b/c", headers: [("x", "6")])) == -1)
    }

    @Test func `nothing matches in an empty table`() throws {
        let table = try table(TableDescription())
        let head = Request().head()
        #expect(table.portIndex(id: 1) == -1)
        #expect(table.listener(port: -1, host: head.span(head.host), isTLS: false) == -1)
        #expect(table.match(listener: -1, head: head) == .none)
    }

    @Test func `the result tells match, rule and length of the prefix`() throws {
        var matches = [
            match(.prefix("/")), match(.prefix("/a/b/")), match(.exact("/x")),
            match(.regularExpression("/r.*")),
        ]
        for i in matches.indices { matches[i].rule = i / 2 }
        let rules = [RuleDescription(id: 7), RuleDescription(id: 8)]
        let table = try table(TableDescription(matches, rules: rules))
        func found(_ path: String) -> RouteMatch {
            let head = Request(path).head()
            return table.match(listener: 0, head: head)
        }
        #expect(found("/z") == RouteMatch(rule: 0, prefixCount: 0, match: 0))
        #expect(found("/a/b/c") == RouteMatch(rule: 0, prefixCount: 4, match: 1))
        #expect(found("/x") == RouteMatch(rule: 1, prefixCount: 0, match: 2))
        #expect(found("/r") == RouteMatch(rule: 1, prefixCount: 0, match: 3))
        #expect(table.rules[1].id == 8)
    }

    @Test func `a copy answers as the original, also after it is gone`() throws {
        func copied() throws -> Table {
            let original = try table(
                TableDescription([match(.regularExpression("/[a-z]+")), match(.prefix("/1"))]))
            return original.clone()
        }
        let copy = try copied()
        #expect(copy.rule(Request("/abc")) == 0)
        #expect(copy.rule(Request("/1/2")) == 1)
        #expect(copy.rule(Request("/2")) == -1)
    }

    @Test func `ports and listeners are found by their ids`() throws {
        let description = TableDescription(
            ports: [
                PortDescription(
                    id: 70,
                    listeners: [
                        ListenerDescription(id: 900, hostname: "a.com"),
                        ListenerDescription(id: 3, hostname: "b.com", number: 8080),
                    ]),
                PortDescription(
                    id: 5,
                    listeners: [
                        ListenerDescription(
                            id: 40, isTLS: true, number: 443, tls: 2, parameters: 1)
                    ]),
            ])
        let table = try table(description)
        #expect(table.portIndex(id: 70) == 0)
        #expect(table.portIndex(id: 5) == 1)
        #expect(table.portIndex(id: 6) == -1)
        for (id, index) in [(900, 0), (3, 1), (40, 2), (0, -1), (41, -1), (901, -1)] {
            #expect(table.listenerIndex(id: UInt32(id)) == Int32(index))
        }
        let row = table.listeners[2]
        #expect(row.id == 40 && row.isTLS && row.number == 443)
        #expect(row.tls == 2 && row.parameters == 1)
    }

    @Test func `the asterisk of OPTIONS matches only what takes every path`() throws {
        let request = Request("*", method: "OPTIONS")
        let all = try table(TableDescription([match()]))
        #expect(all.rule(request) == 0)
        let some = try table(TableDescription([match(.prefix("/a")), match(.exact("/"))]))
        #expect(some.rule(request) == -1)
    }
}
