// Proves conditions on header fields (HTTPHeaderMatch): names by any case, values exact, all must
// hold.

import HTTP
import Testing

@testable import Routing

@Suite struct HeaderMatchTests {
    struct Row: Sendable {
        let conditions: [(String, String)]
        let headers: [(name: String, value: String)]
        let isMatch: Bool

        init(
            _ conditions: [(String, String)], _ headers: [(name: String, value: String)],
            _ isMatch: Bool
        ) {
            self.conditions = conditions
            self.headers = headers
            self.isMatch = isMatch
        }
    }

    static let rows = [
        Row([("version", "one")], [("version", "one")], true),
        Row([("version", "one")], [("Version", "one")], true),
        Row([("VERSION", "one")], [("version", "one")], true),
        Row([("version", "one")], [("version", "One")], false),
        Row([("version", "one")], [("version", "ones")], false),
        Row([("version", "one")], [("version", "on")], false),
        Row([("version", "one")], [], false),
        Row([("version", "one")], [("versions", "one")], false),
        Row([("version", "one")], [("version", "  one  ")], true),
        Row([("a", "1"), ("b", "2")], [("a", "1"), ("b", "2")], true),
        Row([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")], true),
        Row([("a", "1"), ("b", "2")], [("a", "1")], false),
        Row([("a", "1"), ("b", "2")], [("a", "1"), ("b", "3")], false),
        // Of equal names only the first condition counts.
        Row([("a", "1"), ("A", "2")], [("a", "1")], true),
        Row([("a", "1"), ("A", "2")], [("a", "2")], false),
        // Several lines are one value joined by commas.
        Row([("a", "1,2")], [("a", "1"), ("a", "2")], true),
        Row([("a", "1,2,3")], [("a", "1"), ("a", "2"), ("A", "3")], true),
        Row([("a", "1,2")], [("a", "1,2")], true),
        Row([("a", "1")], [("a", "1"), ("a", "2")], false),
        Row([("a", "1;2")], [("a", "1"), ("a", "2")], false),
        Row([("a", "12")], [("a", "1"), ("a", "2")], false),
        Row([("a", "2")], [("a", "1"), ("a", "2")], false),
        Row([("a", "1,2")], [("a", "1"), ("b", "x"), ("a", "2")], true),
        Row([("a", "1,2")], [("a", "1"), ("a", "2"), ("a", "3")], false),
        Row([("a", "1,2,3")], [("a", "1"), ("a", "2")], false),
        Row([("a", ",")], [("a", ""), ("a", "")], true),
        Row([("a", "")], [("a", "")], true),
        Row([("a", "")], [], false),
        // Names that the gateway knows go another way.
        Row([("content-type", "application/json")], [("Content-Type", "application/json")], true),
        Row([("Content-Type", "application/json")], [("content-type", "text/plain")], false),
        Row([("accept", "a,b")], [("Accept", "a"), ("accept", "b")], true),
        Row([("host", "example.com")], [], true),
        Row([("host", "example.org")], [], false),
        Row([("x-model", "llama3")], [("X-Model", "llama3")], true),
        Row([("x-a-long-name-of-a-field", "v")], [("X-A-Long-Name-Of-A-Field", "v")], true),
        Row([("x-a-long-name-of-a-field", "v")], [("X-A-Long-Name-Of-A-Fielt", "v")], false),
    ]

    @Test(arguments: rows)
    func `all conditions must hold`(row: Row) throws {
        let table = try table(TableDescription([match(headers: row.conditions)]))
        #expect((table.rule(Request(headers: row.headers)) == 0) == row.isMatch)
    }

    @Test(
        arguments: [
            ("v[0-9]+", [("x", "v12")], true), ("v[0-9]+", [("x", "v")], false),
            ("v[0-9]+", [("x", "av1")], false), ("v[0-9]+", [("x", "v1b")], false),
            ("a,b", [("x", "a"), ("x", "b")], true), ("a", [("x", "a"), ("x", "b")], false),
            (".*", [("y", "a")], false), (".*", [("x", "")], true),
        ] as [(String, [(name: String, value: String)], Bool)])
    func `a pattern matches the whole joined value`(
        pattern: String, headers: [(name: String, value: String)], isMatch: Bool
    ) throws {
        var condition = match()
        condition.headers = [ValueMatch(name: "X", value: pattern, isRegularExpression: true)]
        let table = try table(TableDescription([condition]))
        #expect((table.rule(Request(headers: headers)) == 0) == isMatch)
    }

    @Test func `rules that differ by the value of one field are told apart`() throws {
        let count = 300
        let matches = (0..<count).map { match(headers: [("x-model", "model-\($0)")]) }
        let table = try table(TableDescription(matches))
        for i in 0..<count {
            #expect(table.rule(Request(headers: [("X-Model", "model-\(i)")])) == Int32(i))
        }
        #expect(table.rule(Request(headers: [("X-Model", "model-x")])) == -1)
    }

    @Test func `rows of one value keep their order and leave the rest to those after`() throws {
        let teams = ["a", "b", "d", "e"]
        var matches: [MatchDescription] = []
        for i in 0..<20 {
            for (age, team) in teams.enumerated() {
                matches.append(match(headers: [("m", "\(i)"), ("t", team)], age: UInt64(age)))
            }
        }
        for i in 0..<20 { matches.append(match(headers: [("m", "\(i)")])) }
        matches.append(match(headers: [("t", "c")], route: "z/y"))
        matches.append(match(route: "z/z"))
        let table = try table(TableDescription(matches))
        // One by model or team, and one in each of its values by the other field.
        #expect(table.switches.count > teams.count)
        for i in 0..<20 {
            let model = (name: "M", value: "\(i)")
            for (k, team) in teams.enumerated() {
                #expect(
                    table.rule(Request(headers: [model, ("T", team)])) == Int32(4 * i + k))
            }
            #expect(table.rule(Request(headers: [model, ("T", "c")])) == Int32(80 + i))
            #expect(table.rule(Request(headers: [model])) == Int32(80 + i))
        }
        #expect(table.rule(Request(headers: [("m", "x"), ("t", "c")])) == 100)
        #expect(table.rule(Request(headers: [("m", "1"), ("m", "2")])) == 101)
        #expect(table.rule(Request()) == 101)
    }

    @Test func `a switch compares joined values and empty ones`() throws {
        let values = ["", "1", "1,2", ",", "2"]
        let table = try table(TableDescription(values.map { match(headers: [("m", $0)]) }))
        #expect(table.switches.count == 1)
        #expect(table.rule(Request(headers: [("m", "")])) == 0)
        #expect(table.rule(Request(headers: [("m", "1"), ("m", "2")])) == 2)
        #expect(table.rule(Request(headers: [("m", ""), ("m", "")])) == 3)
        #expect(table.rule(Request(headers: [("m", "2"), ("m", "2")])) == -1)
        #expect(table.rule(Request()) == -1)
    }

    @Test func `Host is the authority that the request is for`() throws {
        let table = try table(TableDescription([match(headers: [("Host", "b.com:81")])]))
        func rule(_ text: String) -> Int32 {
            let bytes = Array((text + "\r\n\r\n").utf8)
            var head = RequestHead()
            #expect(head.parse(bytes.span) == .complete(consumed: bytes.count))
            return table.match(listener: 0, head: head).rule
        }
        #expect(rule("GET / HTTP/1.1\r\nx: 1\r\nHost: b.com:81") == 0)
        #expect(rule("GET http://b.com:81/ HTTP/1.1\r\nHost: a.com") == 0)
        #expect(rule("GET http://a.com/ HTTP/1.1\r\nHost: b.com:81") == -1)
        #expect(rule("GET http://b.com:81/ HTTP/1.0") == 0)
        #expect(rule("GET / HTTP/1.0\r\nb.com: 81") == -1)
    }

    @Test func `what is remembered of one field does not leak into another`() throws {
        let table = try table(
            TableDescription([
                match(headers: [("a", "1"), ("b", "1"), ("c", "1")]),
                match(headers: [("b", "2"), ("a", "1")]),
                match(headers: [("a", "1")]),
                match(headers: [("b", "2")]),
            ]))
        #expect(table.rule(Request(headers: [("a", "1"), ("b", "2")])) == 1)
        #expect(table.rule(Request(headers: [("a", "1"), ("b", "1")])) == 2)
        #expect(table.rule(Request(headers: [("b", "2")])) == 3)
    }
}
