// Proves that ranks are in a strict total order, whatever the order they are sorted from.

import Testing

@testable import Routing

@Suite struct RankTests {
    /// Ranks from the first to the last.
    static let ordered: [Rank] = [
        rank(specificity: 2), rank(specificity: 1, method: "GET"),
        rank(method: "GET", headers: 1), rank(method: "GET", query: 9), rank(method: "GET"),
        rank(headers: 2), rank(headers: 1, query: 1), rank(headers: 1), rank(query: 2),
        rank(query: 1), rank(age: 1, route: "z/z"), rank(age: 2, route: "a/a"),
        rank(age: 2, route: "a/b"), rank(age: 2, route: "b/a"), rank(route: "a-b/c"),
        rank(route: "a/b"), rank(route: "a/b", rule: 1), rank(route: "a/b", rule: 1, match: 1),
        rank(route: "a/b", rule: 2),
    ]

    static func rank(
        specificity: UInt32 = 0, method: String? = nil, headers: Int = 0, query: Int = 0,
        age: UInt64 = .max, route: String = "a/a", rule: Int = 0, match: Int = 0
    ) -> Rank {
        Rank(
            MatchDescription(
                method: method, specificity: specificity, rule: 0, age: age, route: route,
                ruleIndex: rule, matchIndex: match),
            headerCount: headers, queryCount: query)
    }

    @Test func `each rank is before all that follow`() {
        for i in Self.ordered.indices {
            for j in Self.ordered.indices {
                #expect((Self.ordered[i] < Self.ordered[j]) == (i < j), "\(i) and \(j)")
            }
        }
    }
}
