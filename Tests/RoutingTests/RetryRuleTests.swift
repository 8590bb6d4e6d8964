// Proves which statuses a rule of retries names, and that a table keeps it.
import Testing

@testable import Routing

@Suite struct RetryRuleTests {
    @Test func `the statuses that are named are those, and no others`() {
        let rule = RetryRule(attempts: 3, statuses: [400, 463, 464, 500, 599, 200, 600, -1])
        #expect((-10...700).filter(rule.contains) == [400, 463, 464, 500, 599])
    }

    @Test(arguments: [(-1, 0), (0, 0), (7, 7), (100, 100), (1_000, 100)])
    func `attempts are bounded`(row: (asked: Int, kept: UInt8)) {
        #expect(RetryRule(attempts: row.asked).attempts == row.kept)
    }

    @Test func `a table says of each rule when it is tried again`() throws {
        let rule = RetryRule(attempts: 2, backoffMilliseconds: 50, statuses: [503])
        let description = TableDescription(rules: [
            RuleDescription(id: 0), RuleDescription(id: 1, retry: rule), RuleDescription(id: 2),
        ])
        let table = try TableBuilder(description).build().clone()
        #expect(table.retry(rule: -1) == nil)
        #expect(table.retry(rule: 0) == nil)
        #expect(table.retry(rule: 1) == rule)
        #expect(table.rules[1].flags.contains(.retries))
        #expect(!table.rules[2].flags.contains(.retries))
    }
}
