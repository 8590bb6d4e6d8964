import Routing

/// What a rule says of sessions in words, for people.
enum SessionWords {
    /// `stay with one endpoint by the cookie a, for 1h, 10m of silence at most`.
    static func text(_ rule: SessionRule) -> String {
        var words = "stay with one endpoint by the "
        switch rule.carrier {
        case .cookie(let path): words += "cookie \(rule.name)" + (path == "/" ? "" : " of \(path)")
        case .header: words += "header \(rule.name)"
        }
        if rule.absoluteSeconds > 0 { words += ", for \(duration(rule.absoluteSeconds))" }
        if rule.idleSeconds > 0 { words += ", \(duration(rule.idleSeconds)) of silence at most" }
        return words
    }

    private static func duration(_ seconds: UInt32) -> String {
        GatewayDuration.text(milliseconds: UInt64(seconds) * 1_000)
    }
}
