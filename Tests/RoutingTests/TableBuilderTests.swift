// Proves what a description must hold, and that the same description makes the same table.

import HTTP
import Testing

@testable import Routing

@Suite struct TableBuilderTests {
    private func error(_ description: TableDescription) -> TableError? {
        do throws(TableError) {
            _ = try TableBuilder(description).build()
            return nil
        } catch {
            return error
        }
    }

    @Test func `a pattern that does not compile is told with its place`() throws {
        var bad = match(.regularExpression("/(a"), route: "ns/r", ruleIndex: 2, matchIndex: 3)
        let ofPath = try #require(error(TableDescription([match(), bad])))
        guard case .pattern(let reason) = ofPath.reason else {
            Issue.record("\(ofPath)")
            return
        }
        #expect(reason.pattern == "/(a")
        #expect(ofPath.route == "ns/r" && ofPath.ruleIndex == 2 && ofPath.matchIndex == 3)
        #expect(ofPath.description.hasPrefix("ns/r rules[2].matches[3]: "))
        bad.path = .prefix("/")
        bad.headers = [ValueMatch(name: "x", value: "*", isRegularExpression: true)]
        #expect(error(TableDescription([bad])) != nil)
        bad.headers = []
        bad.query = [ValueMatch(name: "x", value: "*", isRegularExpression: true)]
        #expect(error(TableDescription([bad])) != nil)
        bad.query = [ValueMatch(name: "x", value: "*")]
        #expect(error(TableDescription([bad])) == nil)
    }

    @Test(arguments: [-1, 1, 2])
    func `a match without a rule is told`(rule: Int) throws {
        var match = match(route: "ns/r")
        match.rule = rule
        let found = error(TableDescription([match], rules: [RuleDescription(id: 1)]))
        #expect(found?.reason == .unknownRule(rule))
        #expect(found?.description == "ns/r rules[0].matches[0]: there is no rule \(rule)")
    }

    @Test func `equal descriptions make equal rows`() throws {
        let matches = (0..<200).map { i in
            match(
                i % 3 == 0 ? .exact("/e/\(i)") : .prefix("/p/\(i % 50)"),
                hosts: ["h\(i % 7).com", "*.w\(i % 5).com"], headers: [("x", "\(i)")])
        }
        let first = try table(TableDescription(matches))
        let second = try table(TableDescription(matches))
        #expect(text(first.arena) == text(second.arena))
        #expect(first.matches.count == second.matches.count)
        for i in 0..<first.matches.count {
            #expect(first.matches[i].match == second.matches[i].match)
        }
        #expect(first.indexes.slots.count == second.indexes.slots.count)
        for i in 0..<first.indexes.slots.count {
            #expect(first.indexes.slots[i].text == second.indexes.slots[i].text)
            #expect(first.indexes.slots[i].value == second.indexes.slots[i].value)
        }
    }

    @Test(arguments: ["X-Gateway-Model-Name", "x-gateway-model-name"])
    func `a listener needs the model when a match asks for it`(name: String) throws {
        let asking = match(.prefix("/v1"), headers: [("x", "y"), (name, "llama3")])
        let other = match(.prefix("/"), headers: [("x-gateway-model", "llama3")])
        func table(_ first: [MatchDescription], _ service: ListenerService = .http) throws -> Bool {
            let rules = [RuleDescription(id: 1)]
            let listeners = [
                ListenerDescription(id: 1, hostname: "a.com", service: service, matches: first),
                ListenerDescription(id: 2, matches: [other]),
            ]
            let table = try TableBuilder(
                TableDescription(
                    ports: [PortDescription(id: 1, listeners: listeners)], rules: rules)
            ).build()
            #expect(!table.listeners[1].needsModel)
            return table.listeners[0].needsModel
        }
        #expect(try table([other, asking]))
        #expect(try !table([other]))
        #expect(try !table([asking], .stream))
    }

    @Test func `rows are plain and small`() {
        #expect(MemoryLayout<MatchRow>.stride <= 48)
        #expect(MemoryLayout<TextSlot>.stride == 16)
        #expect(MemoryLayout<ConditionRow>.stride <= 24)
        #expect(MemoryLayout<HostRow>.stride <= 44)
        #expect(MemoryLayout<RouteMatch>.stride == 12)
    }
}
