/// The place of a match among those of the same host and path (`HTTPRouteRule.matches`).
///
/// Highest specificity, method given, most header conditions, most query conditions, oldest route, `namespace/name`,
/// first rule. Host and path come before all of these and are decided by the indexes. Lower is
/// first.
struct Rank: Comparable {
    var specificity: UInt32
    var hasMethod: Bool
    var headerCount: Int
    var queryCount: Int
    var age: UInt64
    var route: String
    var ruleIndex: Int
    var matchIndex: Int

    /// The rank of a match; conditions with a name that was there before do not count.
    init(_ match: MatchDescription, headerCount: Int, queryCount: Int) {
        specificity = match.specificity
        hasMethod = match.method != nil
        self.headerCount = headerCount
        self.queryCount = queryCount
        age = match.age
        route = match.route
        ruleIndex = match.ruleIndex
        matchIndex = match.matchIndex
    }

    static func < (a: Rank, b: Rank) -> Bool {
        if a.specificity != b.specificity { return a.specificity > b.specificity }
        if a.hasMethod != b.hasMethod { return a.hasMethod }
        if a.headerCount != b.headerCount { return a.headerCount > b.headerCount }
        if a.queryCount != b.queryCount { return a.queryCount > b.queryCount }
        if a.age != b.age { return a.age < b.age }
        if a.route != b.route { return a.route < b.route }
        if a.ruleIndex != b.ruleIndex { return a.ruleIndex < b.ruleIndex }
        return a.matchIndex < b.matchIndex
    }
}
