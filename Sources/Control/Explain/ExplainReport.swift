/// What `ai-gateway explain` found out about one request.
struct ExplainReport: Codable, Equatable, Sendable {
    /// The rule that takes the request.
    struct Route: Codable, Equatable, Sendable {
        /// `HTTPRoute` …; both kinds where two routes have the name.
        var kind: String
        /// `namespace/name`.
        var name: String
        /// Its name, or its position.
        var rule: String
        var ruleIndex: Int
        var matchIndex: Int
        /// What the match asks, each as a part of a sentence.
        var asks: [String]
    }

    /// An answer that the gateway gives itself.
    struct Answer: Codable, Equatable, Sendable {
        var status: Int
        var reason: String
        /// Of a redirect.
        var location: String?
    }

    /// One of the rule's backends, with its share of the requests.
    struct Backend: Codable, Equatable, Sendable {
        /// `namespace/name:port`, as metrics have it.
        var name: String
        var weight: Int
        /// In percent.
        var share: Double
        /// Where it leads: `Backend ai/ollama`, `Service ai/web:80`, `InferencePool ai/llama`.
        var target: String?
        /// `http`, `https`, `h2c` or `http2`.
        var `protocol`: String?
        /// How TLS is spoken with it: the name that is asked for, what is trusted, and who says so.
        var tls: String?
        /// What filters of the rule and of the backend do, each as a part of a sentence.
        var filters: [String] = []
        /// What goes to it: `POST /api/chat`, and its Host.
        var requestLine: String?
        var host: String?
        var answer: Answer?
        /// How its endpoints are picked, as a sentence.
        var choice: String?
        /// The endpoints, where nothing but how busy they are is asked.
        var endpoints: [Endpoint]?
        /// How models are renamed.
        var rewrites: [Rewrite]?
        var pool: PoolReport?
    }

    struct Endpoint: Codable, Equatable, Sendable {
        /// `address:port`, or a DNS name.
        var address: String
        var priority: Int
    }

    /// A name that a model gets, with its share.
    struct Rewrite: Codable, Equatable, Sendable {
        var model: String
        /// In percent.
        var share: Double
    }

    /// A match that nearly took the request.
    struct NearMiss: Codable, Equatable, Sendable {
        var kind: String
        var route: String
        var rule: String
        var ruleIndex: Int
        var matchIndex: Int
        /// The conditions that do not hold, each with what the request has instead; none where all hold.
        var butFor: [String]
        /// Why another match comes first, where all conditions hold.
        var comesAfter: String?
    }

    /// `POST http://127.0.0.1:8080/v1/chat/completions`.
    var request: String
    /// The path as it is matched.
    var path: String?
    var host: String?
    var model: String?
    var isRouted = false
    /// Where the request arrives: `*:8080`.
    var place: String?
    /// `namespace/gateway/listener`.
    var listener: String?
    var route: Route?
    /// When the rule has a request sent again, as a part of a sentence.
    var retry: String?
    /// How requests of the rule stay together, as a part of a sentence.
    var session: String?
    /// Where the gateway answers itself.
    var answer: Answer?
    var backends: [Backend] = []
    var nearMisses: [NearMiss] = []
    /// What else is worth knowing, each a sentence.
    var notes: [String] = []
}

// MARK: - Text

extension ExplainReport {
    /// The report for people.
    var text: String {
        var lines = [request]
        func line(_ name: String, _ value: String?) {
            if let value { lines.append("  " + StatusText.pad(name, 9) + value) }
        }
        line("path", path)
        line("host", host)
        line("model", model.map(Self.quoted))
        line("port", place)
        line("listener", listener)
        if let route {
            line(
                "route",
                "\(route.kind) \(route.name), rule \(route.rule), match \(route.matchIndex)")
            line("because", route.asks.joined(separator: ", "))
        }
        line("retries", retry)
        line("sessions", session)
        if let answer { line("answer", Self.text(answer)) }
        for backend in backends { lines += text(backend) }
        if !nearMisses.isEmpty {
            lines.append("")
            lines.append("near misses")
            for miss in nearMisses { lines.append("  " + Self.text(miss)) }
        }
        if !notes.isEmpty { lines.append("") }
        lines += notes.map { "note: " + $0 }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func text(_ answer: Answer) -> String {
        let place = answer.location.map { " \($0)" } ?? ""
        return "\(answer.status)\(place): \(answer.reason)"
    }

    private static func text(_ miss: NearMiss) -> String {
        let name = "\(miss.kind) \(miss.route), rule \(miss.rule), match \(miss.matchIndex)"
        if let reason = miss.comesAfter { return "\(name) matches too, but \(reason)" }
        return "\(name) matches but for \(sentenceList(miss.butFor, "and"))"
    }

    private func text(_ backend: Backend) -> [String] {
        var lines = [""]
        let target = backend.target.map { " (\($0), \(backend.protocol ?? ""))" } ?? ""
        lines.append("\(Self.percent(backend.share)) to backend \(backend.name)\(target)")
        func line(_ name: String, _ value: String?) {
            if let value { lines.append("  " + StatusText.pad(name, 9) + value) }
        }
        line("tls", backend.tls)
        for filter in backend.filters { line("filter", filter) }
        if let request = backend.requestLine {
            line("sends", backend.host.map { "\(request), host \($0)" } ?? request)
        }
        line("answer", backend.answer.map(Self.text))
        line("endpoint", backend.choice)
        for endpoint in backend.endpoints ?? [] {
            let priority = endpoint.priority == 0 ? "" : ", priority \(endpoint.priority)"
            lines.append("    \(endpoint.address)\(priority)")
        }
        for rewrite in backend.rewrites ?? [] {
            line(
                "model", "becomes \(Self.quoted(rewrite.model)) for \(Self.percent(rewrite.share))")
        }
        if let pool = backend.pool { lines += pool.lines.map { "  " + $0 } }
        return lines
    }

    static func percent(_ share: Double) -> String {
        let rounded = (share * 10).rounded() / 10
        return rounded == rounded.rounded() ? "\(Int(rounded))%" : "\(rounded)%"
    }

    private static func quoted(_ name: String) -> String { "\"\(name)\"" }
}

extension PoolReport {
    /// The report for people, without indentation.
    var lines: [String] {
        var facts = ["engine \(engine)"]
        if let model { facts.append("model \"\(model)\"") }
        facts.append("\(promptBytes) bytes of prompt")
        if priority != 0 { facts.append("priority \(priority)") }
        if let waiting, let running { facts.append("\(running) run and \(waiting) wait") }
        var lines = ["pool     \(pool): \(facts.joined(separator: ", "))"]
        let named = weights.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        if !named.isEmpty {
            lines.append(
                "weights  "
                    + named.map { "\($0.key) \(Self.number($0.value))" }
                    .joined(separator: ", ") + "; \(picker)")
        }
        if let learned {
            let times = [
                ("load", learned.loadMilliseconds), ("service", learned.serviceMilliseconds),
                ("prompt per 1,000 bytes", learned.prefillMillisecondsPerByte * 1_000),
            ].filter { $0.1 > 0 }
            lines.append(
                "learned  "
                    + times.map { "\($0.0) \(Self.number($0.1)) ms" }.joined(separator: ", "))
        }
        if outcome != "chosen" { lines.append("nobody   " + outcomeWords) }
        let width = endpoints.map(\.endpoint.count).max() ?? 0
        for endpoint in endpoints {
            let mark = endpoint.isChosen ? "=>" : "  "
            let total = endpoint.total.map { "  total \(Self.number($0))" } ?? ""
            lines.append(
                "  \(mark) \(StatusText.pad(endpoint.endpoint, width))\(total)  \(endpoint.reason)")
            let scores = named.compactMap { scorer in
                endpoint.scores?[scorer.key].map {
                    "\(scorer.key) \(Self.number($0)) x \(Self.number(scorer.value))"
                }
            }
            if !scores.isEmpty {
                lines.append(
                    "     " + String(repeating: " ", count: width) + "  "
                        + scores.joined(separator: ", "))
            }
        }
        return lines
    }

    private var outcomeWords: String {
        switch outcome {
        case "waits": "can take it now: it would wait in the pool's queue"
        case "saturated": "can take it: 429"
        case "noEndpoint": "can take it: 503"
        case "modelUnknown": "has the model: 404"
        default: outcome
        }
    }

    /// With three digits behind the point at the most.
    static func number(_ value: Float) -> String {
        let rounded = (Double(value) * 1_000).rounded() / 1_000
        return rounded == rounded.rounded() && abs(rounded) < 1e15
            ? "\(Int(rounded))" : "\(rounded)"
    }
}
