import HTTP
import Routing

/// Finds the matches that nearly took a request, and says what kept each from it.
///
/// Each condition is asked of the router itself, by a table that has this one condition only: there is no second opinion
/// about what matches.
struct NearMisses {
    /// The most matches that are looked at, and that are told of.
    static let lookLimit = 2_000
    static let limit = 8

    /// One condition of a match.
    private struct Condition {
        enum Kind { case host, path, method, field, query }

        let kind: Kind
        /// `header x-team is "a"`.
        let text: String
        /// What the request has instead: `the request has none`.
        let actual: String
        /// A match that asks for this alone.
        let match: MatchDescription
    }

    /// A match that was looked at.
    private struct Seen {
        let match: MatchDescription
        let failures: [Condition]
        /// Bytes of the path that agree with what is asked.
        let agreement: Int
    }

    let listeners: [ListenerDescription]
    /// The listener that takes the request; nil where none does.
    let chosen: ListenerDescription?
    let winner: MatchDescription?
    /// Of a rule by its index in the table: its name, or its position.
    let ruleName: (Int) -> String
    let kind: (String) -> String

    /// The near misses, the nearest first.
    func all(_ head: borrowing RequestHead) -> [ExplainReport.NearMiss] {
        var seen: [Seen] = []
        var looked = 0
        for listener in listeners {
            for match in listener.matches where match != winner {
                looked += 1
                if looked > Self.lookLimit { break }
                seen.append(look(match, of: listener, head))
            }
        }
        let near = seen.filter { each in
            if each.failures.isEmpty { return chosen != nil && winner != nil }
            if each.failures.count > 1 { return false }
            // With a route at hand, other paths are no news.
            return winner == nil || each.failures[0].kind != .path
        }
        let sorted = near.enumerated().sorted { a, b in
            let keys = [a, b].map { each in
                (
                    each.element.failures.count, each.element.failures.first?.kind == .path ? 1 : 0,
                    -each.element.agreement
                )
            }
            return keys[0] == keys[1] ? a.offset < b.offset : keys[0] < keys[1]
        }
        return sorted.prefix(Self.limit).map { told($0.element, head) }
    }

    private func told(_ seen: Seen, _ head: borrowing RequestHead) -> ExplainReport.NearMiss {
        let match = seen.match
        var comesAfter: String?
        if seen.failures.isEmpty, let winner {
            comesAfter = Self.precedence(winner, match, String(head.span(head.host)))
        }
        return ExplainReport.NearMiss(
            kind: kind(match.route), route: match.route, rule: ruleName(match.rule),
            ruleIndex: match.ruleIndex, matchIndex: match.matchIndex,
            butFor: seen.failures.map { "\($0.text) (\($0.actual))" }, comesAfter: comesAfter)
    }

    // MARK: - Conditions

    private func look(
        _ match: MatchDescription, of listener: ListenerDescription,
        _ head: borrowing RequestHead
    ) -> Seen {
        var failures: [Condition] = []
        for condition in conditions(of: match, listener, head)
        where !Self.holds(condition.match, head) {
            failures.append(condition)
        }
        var agreement = 0
        if case .regularExpression = match.path {
        } else {
            let wanted = Array(Self.text(match.path).utf8)
            let path = head.span(head.path)
            while agreement < min(wanted.count, path.count), wanted[agreement] == path[agreement] {
                agreement += 1
            }
        }
        return Seen(match: match, failures: failures, agreement: agreement)
    }

    private func conditions(
        of match: MatchDescription, _ listener: ListenerDescription, _ head: borrowing RequestHead
    ) -> [Condition] {
        var result: [Condition] = []
        let host = String(head.span(head.host))
        let hostnames =
            match.hostnames.isEmpty ? listener.hostname.map { [$0] } ?? [] : match.hostnames
        if !hostnames.isEmpty {
            result.append(
                Condition(
                    kind: .host, text: "host is \(sentenceList(hostnames, "or"))",
                    actual: "the request's is \(host)",
                    match: MatchDescription(hostnames: hostnames, rule: 0)))
        }
        let path = String(head.span(head.path))
        if match.path != .prefix("/") {
            result.append(
                Condition(
                    kind: .path, text: Self.words(match.path), actual: "the request's is \(path)",
                    match: MatchDescription(path: match.path, rule: 0)))
        }
        if let method = match.method {
            result.append(
                Condition(
                    kind: .method, text: "method is \(method)",
                    actual: "the request's is \(String(head.span(head.methodText)))",
                    match: MatchDescription(method: method, rule: 0)))
        }
        for header in match.headers {
            let name = header.name.lowercased()
            let value = head.first(named: name.utf8.span).map { String(head.span($0)) }
            result.append(
                Condition(
                    kind: .field, text: Self.words("header", header), actual: Self.actual(value),
                    match: MatchDescription(headers: [header], rule: 0)))
        }
        for parameter in match.query {
            let query = head.query.isNone ? "" : String(head.span(head.query))
            let value = query.split(separator: "&").first { $0.hasPrefix(parameter.name + "=") }
            result.append(
                Condition(
                    kind: .query, text: Self.words("query parameter", parameter),
                    actual: Self.actual(
                        value.map { String($0.dropFirst(parameter.name.count + 1)) }),
                    match: MatchDescription(query: [parameter], rule: 0)))
        }
        return result
    }

    /// Whether the router takes the request by a match alone.
    private static func holds(_ match: MatchDescription, _ head: borrowing RequestHead) -> Bool {
        let listener = ListenerDescription(id: 0, matches: [match])
        let description = TableDescription(
            ports: [PortDescription(id: 0, listeners: [listener])], rules: [RuleDescription(id: 0)])
        guard let table = try? TableBuilder(description).build() else { return false }
        return table.match(listener: 0, head: head).rule >= 0
    }

    // MARK: - Words

    /// What a match asks, each condition as a part of a sentence.
    static func asks(_ match: MatchDescription) -> [String] {
        var result: [String] = []
        if !match.hostnames.isEmpty {
            result.append("host is \(sentenceList(match.hostnames, "or"))")
        }
        result.append(words(match.path))
        if let method = match.method { result.append("method is \(method)") }
        result += match.headers.map { words("header", $0) }
        result += match.query.map { words("query parameter", $0) }
        return result
    }

    private static func words(_ path: PathMatch) -> String {
        switch path {
        case .exact(let text): "path is \(text)"
        case .prefix("/"): "any path"
        case .prefix(let text): "path begins with \(text)"
        case .regularExpression(let text): "path matches \(text)"
        }
    }

    private static func words(_ noun: String, _ match: ValueMatch) -> String {
        "\(noun) \(match.name) \(match.isRegularExpression ? "matches" : "is") \"\(match.value)\""
    }

    private static func actual(_ value: String?) -> String {
        value.map { "the request has \"\($0)\"" } ?? "the request has none"
    }

    private static func text(_ path: PathMatch) -> String {
        switch path {
        case .exact(let text), .prefix(let text), .regularExpression(let text): text
        }
    }

    /// Why one of two matches that both take the request comes first, in the order of the Gateway API.
    static func precedence(
        _ first: MatchDescription, _ other: MatchDescription, _ host: String
    ) -> String {
        func hostRank(_ match: MatchDescription) -> Int {
            // An exact name, then wildcards with more labels first.
            if match.hostnames.contains(host) { return .max }
            return match.hostnames.filter { $0.hasPrefix("*.") && host.hasSuffix($0.dropFirst()) }
                .map(\.count).max() ?? 0
        }
        func pathRank(_ path: PathMatch) -> (Int, Int) {
            switch path {
            case .exact: (2, 0)
            case .regularExpression: (1, 0)
            case .prefix(let text): (0, text.hasSuffix("/") ? text.count - 1 : text.count)
            }
        }
        if hostRank(first) != hostRank(other) { return "its hostname says less" }
        if pathRank(first.path) != pathRank(other.path) {
            return pathRank(first.path).0 != pathRank(other.path).0
                ? "exact paths, then patterns come before prefixes" : "its path is shorter"
        }
        if first.specificity != other.specificity { return "its method says less" }
        if (first.method != nil) != (other.method != nil) { return "it asks for no method" }
        if first.headers.count != other.headers.count { return "it asks for fewer headers" }
        if first.query.count != other.query.count { return "it asks for fewer query parameters" }
        if first.age != other.age { return "its route is younger" }
        if first.route != other.route { return "its route's name comes later" }
        if first.ruleIndex != other.ruleIndex { return "its rule comes later" }
        return "it comes later in its rule"
    }
}
