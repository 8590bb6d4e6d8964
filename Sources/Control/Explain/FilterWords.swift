import Routing

/// Filters in words, for people.
enum FilterWords {
    /// What a filter does, as a part of a sentence.
    static func text(_ filter: FilterDescription) -> String {
        switch filter {
        case .requestHeaders(let modifier): "request headers: \(text(modifier))"
        case .responseHeaders(let modifier): "answer headers: \(text(modifier))"
        case .urlRewrite(let rewrite): text(rewrite)
        case .requestRedirect(let redirect): "redirects with \(redirect.status)"
        case .cors(let policy): text(policy)
        case .requestMirror(let mirror): text(mirror)
        case .externalAuth(let asked): text(asked)
        }
    }

    private static func text(_ modifier: HeaderModifier) -> String {
        var parts = modifier.set.map { "sets \($0.name)" }
        parts += modifier.add.map { "adds \($0.name)" }
        parts += modifier.remove.map { "removes \($0)" }
        return parts.joined(separator: ", ")
    }

    private static func text(_ mirror: RequestMirror) -> String {
        let share = 100 * Double(mirror.numerator) / Double(max(1, mirror.denominator))
        let percent = (share * 100).rounded() / 100
        return share == 100
            ? "copies go to \(mirror.name)" : "copies of \(percent) % go to \(mirror.name)"
    }

    private static func text(_ asked: ExternalAuthorization) -> String {
        let way =
            switch asked.dialect {
            case .http: asked.path.isEmpty ? "" : " at \(asked.path)"
            case .grpc: " over ext_authz"
            }
        let content =
            asked.contentBytesMax == 0
            ? "" : ", with up to \(asked.contentBytesMax) bytes of content"
        return "first asks \(asked.name)\(way) whether the request may pass\(content)"
    }

    private static func text(_ policy: CORSPolicy) -> String {
        let origins = policy.origins.isEmpty ? "no origin" : policy.origins.joined(separator: ", ")
        return "CORS: answers preflights, lets \(origins) read answers"
            + (policy.allowsCredentials ? ", with credentials" : "")
    }

    private static func text(_ rewrite: URLRewrite) -> String {
        var parts: [String] = []
        if let host = rewrite.hostname { parts.append("host becomes \(host)") }
        switch rewrite.path {
        case .replaceFull(let path)?: parts.append("path becomes \(path)")
        case .replacePrefixMatch(let path)?: parts.append("the matched prefix becomes \(path)")
        case nil: break
        }
        return parts.joined(separator: ", ")
    }
}
