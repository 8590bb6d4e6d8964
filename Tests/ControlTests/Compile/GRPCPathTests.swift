// Proves that a GRPCRoute's matches become the paths of its calls, in the API's order.
import HTTP
import Routing
import Testing

@testable import Control

@Suite struct GRPCPathTests {
    private static func exact(_ service: String?, _ method: String?) -> GRPCMethodMatch {
        GRPCMethodMatch(type: nil, service: service, method: method)
    }

    @Test func `what is exact is a path, a service alone a prefix, a method alone a pattern`() {
        #expect(GRPCPath.match(nil, asPattern: true) == .prefix("/"))
        #expect(GRPCPath.match(Self.exact("a.B", "C"), asPattern: true) == .exact("/a.B/C"))
        #expect(GRPCPath.match(Self.exact("a.B", nil), asPattern: false) == .prefix("/a.B"))
        #expect(
            GRPCPath.match(Self.exact("a.B", nil), asPattern: true)
                == .regularExpression("/a\\.B/[^/]+"))
        #expect(
            GRPCPath.match(Self.exact(nil, "C"), asPattern: false)
                == .regularExpression("/[^/]+/C"))
    }

    @Test func `expressions stay by themselves`() {
        let match = GRPCMethodMatch(type: .regularExpression, service: "a|b", method: nil)
        #expect(GRPCPath.match(match, asPattern: false) == .regularExpression("/(?:a|b)/[^/]+"))
    }

    /// The position of the match that a call gets; the first are of the oldest route.
    private static func rule(of path: String, among matches: [GRPCMethodMatch?]) throws -> Int32 {
        let descriptions = matches.enumerated().map { number, match in
            MatchDescription(
                path: GRPCPath.match(match, asPattern: true),
                specificity: GRPCPath.specificity(match), rule: number, ruleIndex: number)
        }
        let rules = matches.indices.map { RuleDescription(id: UInt32($0)) }
        let listener = ListenerDescription(id: 0, matches: descriptions)
        let ports = [PortDescription(id: 0, listeners: [listener])]
        let table = try TableBuilder(TableDescription(ports: ports, rules: rules)).build()
        var head = RequestHead()
        _ = head.parse(Array("POST \(path) HTTP/1.1\r\nHost: a\r\n\r\n".utf8).span)
        return table.match(listener: 0, head: head).rule
    }

    @Test(arguments: [
        ("/a.B/C", 4), ("/a.B/D", 3), ("/x.B/C", 2), ("/axB/C", 2), ("/a.Bc/Call", 1),
        ("/x.B/D", 0), ("/a.B/C/D", 0),
    ])
    func `the longest service wins, then the longest method`(path: String, position: Int) throws {
        let matches = [
            nil, GRPCMethodMatch(type: .regularExpression, service: "a.*", method: "Ca.*"),
            Self.exact(nil, "C"), Self.exact("a.B", nil), Self.exact("a.B", "C"),
        ]
        #expect(try Self.rule(of: path, among: matches) == Int32(position))
    }
}
