/// Says what of a rule's or a policy's `sessionPersistence` is not known.
enum SessionChecks {
    /// What cannot be served as it is written; `place` is where it stands.
    static func findings(in session: SessionPersistence, at place: String) -> [Finding] {
        var findings: [Finding] = []
        func unsupported(_ field: String, _ message: String) {
            findings.append(Finding("UnsupportedValue", at: place + field, message))
        }
        func unknown(_ field: String, _ value: String, _ noun: String, among known: [String]) {
            let meant = NearestName.suggestion(for: value, among: known)
            let hint = meant.map { "did you mean \"\($0)\"?" } ?? "use \(sentenceList(known, "or"))"
            unsupported(field, "\"\(value)\" is not \(noun); \(hint)")
        }
        if !["Cookie", "Header"].contains(session.effectiveType) {
            unknown(
                ".type", session.effectiveType, "a type of session", among: ["Cookie", "Header"])
        }
        if let lifetime = session.lifetime, !["Session", "Permanent"].contains(lifetime) {
            let field = session.cookieConfig?.lifetimeType == nil ? "cookie" : "cookieConfig"
            unknown(
                ".\(field).lifetimeType", lifetime, "a lifetime of a cookie",
                among: ["Session", "Permanent"])
        }
        if let path = session.cookie?.path,
            !path.hasPrefix("/") || path.contains(";") || !Patterns.isHeaderValue(path)
        {
            unsupported(".cookie.path", "\"\(path)\" is not a path of a cookie")
        }
        guard let name = session.effectiveName else { return findings }
        let own = session.isHeader ? "header" : "cookie"
        let field = session.sessionName == nil ? ".\(own).name" : ".sessionName"
        let asField = HTTPHeaderFilter(set: [HTTPHeader(name: name, value: "a")])
        if !Patterns.isHeaderName(name) {
            unsupported(field, "\"\(name)\" is not a name of a \(own)")
        } else if session.isHeader, let problem = FilterCompiler.modifier(asField).problem {
            unsupported(field, "\(problem.name) \(problem.sentence)")
        }
        return findings
    }
}
