import Routing

/// What a rule says of retries in words, for people.
enum RetryWords {
    /// What a rule says, and what policies say of its backends; nil for nothing.
    static func text(_ rule: RetryRule?, _ policies: [ClusterBlueprint.Retries]) -> String? {
        if rule == nil, policies.isEmpty { return nil }
        let own = rule.map(text) ?? "where it is safe, as often as limits.retriesMax says"
        return ([own] + policies.map(text)).joined(separator: "; ")
    }

    /// `of Service ai/web at most 20% of requests in 10s, or 10 in 1s (XBackendTrafficPolicy ai/web)`.
    private static func text(_ retries: ClusterBlueprint.Retries) -> String {
        let allowance = retries.allowance
        return "of \(retries.backend) at most \(allowance.percent)% of requests in "
            + GatewayDuration.text(milliseconds: allowance.milliseconds)
            + ", or \(allowance.least) in "
            + GatewayDuration.text(milliseconds: allowance.leastMilliseconds)
            + " (XBackendTrafficPolicy \(retries.policy))"
    }

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
