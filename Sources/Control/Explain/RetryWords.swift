import Routing

/// What a rule says of retries in words, for people.
enum RetryWords {
    /// `up to 3 times more, after no connection or a broken one, a timeout, or status 500 or 503; 100ms or more between`.
    static func text(_ rule: RetryRule) -> String {
        if rule.attempts == 0 { return "never" }
        var causes = ["no connection or a broken one", "a timeout"]
        let statuses = RetryRule.statuses.filter(rule.contains)
        if !statuses.isEmpty {
            causes.append("status \(sentenceList(statuses.map(String.init), "or"))")
        }
        let most =
            switch rule.attempts {
            case nil: "as often as limits.retriesMax says"
            case 1?: "once more"
            case let count?: "up to \(count) times more"
            }
        let wait = rule.backoffMilliseconds.map {
            "; \(GatewayDuration.text(milliseconds: UInt64($0))) or more between attempts"
        }
        return "\(most), after \(sentenceList(causes, "or"))\(wait ?? "")"
    }
}
