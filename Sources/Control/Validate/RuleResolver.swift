import Routing

/// Says whether a rule can be served as it is written.
///
/// What cannot is never left out silently: requests that match such a rule are answered 500.
struct RuleResolver {
    /// Why the rule cannot be served; empty when it can.
    private(set) var findings: [Finding] = []
    /// Positions of matches that are not understood: nothing can be said to match them.
    private(set) var unknownMatches: Set<Int> = []
    private let rule: HTTPRouteRule
    private let isGRPC: Bool
    private let path: String

    /// Looks at one rule; `path` is where it stands.
    init(_ routeRule: RouteRule, at path: String) {
        rule = routeRule.http
        isGRPC = routeRule.grpcMatches != nil
        self.path = path
        var known = 0
        for (number, match) in (rule.matches ?? []).enumerated() {
            check(match, number)
            if findings.count != known { unknownMatches.insert(number) }
            known = findings.count
        }
        for (number, match) in (routeRule.grpcMatches ?? []).enumerated() {
            check(match, at: path + ".matches[\(number)]")
            if findings.count != known { unknownMatches.insert(number) }
            known = findings.count
        }
        check(rule.filters ?? [], at: path + ".filters")
        checkRedirect()
        for (number, ref) in (rule.backendRefs ?? []).enumerated() {
            guard let filters = ref.filters, !filters.isEmpty else { continue }
            check(filters, at: path + ".backendRefs[\(number)].filters", ofBackend: true)
        }
        if let attempts = rule.retry?.attempts, !(0...RetryRule.attemptsMax).contains(attempts) {
            unsupported(
                path + ".retry.attempts",
                "\(attempts) retries cannot be had; use 0 to \(RetryRule.attemptsMax)")
        }
        if let session = rule.sessionPersistence {
            findings += SessionChecks.findings(in: session, at: path + ".sessionPersistence")
        }
    }

    private mutating func unsupported(_ path: String, _ message: String) {
        findings.append(Finding("UnsupportedValue", at: path, message))
    }

    private mutating func incompatible(_ path: String, _ message: String) {
        findings.append(Finding("IncompatibleFilters", at: path, message))
    }

    private mutating func unknown(
        _ path: String, _ value: String, _ noun: String, among known: [String]
    ) {
        let meant = NearestName.suggestion(for: value, among: known)
        let hint = meant.map { "did you mean \"\($0)\"?" } ?? "use \(sentenceList(known, "or"))"
        unsupported(path, "\"\(value)\" is not \(noun); \(hint)")
    }

    // MARK: - Matches

    private mutating func check(_ match: HTTPRouteMatch, _ number: Int) {
        let place = { [path] in path + ".matches[\(number)]" }
        if let value = match.path {
            let type = value.effectiveType
            if !type.isKnown {
                unknown(
                    place() + ".path.type", type.rawValue, "a type of path match",
                    among: PathMatchType.known.map(\.rawValue))
            } else if type == .regularExpression {
                pattern(value.effectiveValue, place() + ".path.value")
            }
        }
        if let method = match.method, !method.isKnown {
            unknown(
                place() + ".method", method.rawValue, "a method",
                among: HTTPMethod.known.map(\.rawValue))
        }
        for (position, header) in (match.headers ?? []).enumerated() {
            value(header.type, header.value) { place() + ".headers[\(position)]" }
        }
        for (position, parameter) in (match.queryParams ?? []).enumerated() {
            value(parameter.type, parameter.value) { place() + ".queryParams[\(position)]" }
        }
    }

    private mutating func check(_ match: GRPCRouteMatch, at place: String) {
        if let method = match.method { check(method, at: place + ".method") }
        for (position, header) in (match.headers ?? []).enumerated() {
            value(header.type, header.value) { place + ".headers[\(position)]" }
        }
    }

    private mutating func check(_ method: GRPCMethodMatch, at place: String) {
        let type = method.type ?? .exact
        if !type.isKnown {
            return unknown(
                place + ".type", type.rawValue, "a type of match",
                among: ValueMatchType.known.map(\.rawValue))
        }
        guard type == .regularExpression else { return }
        let known = findings.count
        if let service = method.service { pattern(service, place + ".service") }
        if let name = method.method { pattern(name, place + ".method") }
        // Each may be well and both together not: "\\Q" reaches into what follows.
        if findings.count == known { pattern(GRPCPath.pattern(method), place) }
    }

    private mutating func value(
        _ type: ValueMatchType?, _ value: String, _ path: () -> String
    ) {
        guard let type, type != .exact else { return }
        if type == .regularExpression { return pattern(value, path() + ".value") }
        unknown(
            path() + ".type", type.rawValue, "a type of match",
            among: ValueMatchType.known.map(\.rawValue))
    }

    private mutating func pattern(_ text: String, _ path: String) {
        do throws(PatternError) {
            try Pattern.check(text)
        } catch {
            unsupported(
                path,
                "the regular expression is refused at character \(error.offset + 1): "
                    + error.message)
        }
    }

    // MARK: - Filters

    /// Checks a list of filters of the rule or of one backend.
    private mutating func check(
        _ filters: [HTTPRouteFilter], at path: String, ofBackend: Bool = false
    ) {
        var seen: Set<HTTPRouteFilterType> = []
        for (number, filter) in filters.enumerated() {
            let place = path + "[\(number)]"
            if ofBackend, filter.type == .externalAuth, !isGRPC {
                unsupported(
                    place + ".type",
                    "ExternalAuth stands at a rule: who may pass is asked before a backend is chosen"
                )
                continue
            }
            let mayRepeat: [HTTPRouteFilterType] = [.requestMirror, .extensionRef]
            if !seen.insert(filter.type).inserted, !mayRepeat.contains(filter.type) {
                incompatible(place, "a second \(filter.type); each type may stand once in a list")
            }
            check(filter, at: place)
        }
        if seen.contains(.requestRedirect), seen.contains(.urlRewrite) {
            incompatible(
                path,
                "RequestRedirect and URLRewrite exclude each other; a redirect has its own "
                    + "hostname and path")
        }
        if seen.contains(.requestRedirect), seen.contains(.requestMirror) {
            incompatible(
                path,
                "RequestRedirect and RequestMirror exclude each other; what is redirected goes to "
                    + "no backend, so there is nothing to copy")
        }
    }

    private mutating func check(_ filter: HTTPRouteFilter, at place: String) {
        if isGRPC, !HTTPRouteFilterType.ofGRPC.contains(filter.type) {
            return unknown(
                place + ".type", filter.type.rawValue, "a type of filter of a GRPCRoute",
                among: HTTPRouteFilterType.ofGRPC.map(\.rawValue))
        }
        switch filter.type {
        case .requestHeaderModifier:
            check(filter.requestHeaderModifier, at: place + ".requestHeaderModifier")
        case .responseHeaderModifier:
            check(filter.responseHeaderModifier, at: place + ".responseHeaderModifier")
        case .requestRedirect: check(filter.requestRedirect, at: place + ".requestRedirect")
        case .urlRewrite:
            if let path = filter.urlRewrite?.path { check(path, at: place + ".urlRewrite.path") }
        case .cors:
            guard let cors = filter.cors, let problem = FilterCompiler.policy(cors).problem else {
                return
            }
            unsupported(place + ".cors." + problem.field, problem.sentence)
        case .requestMirror: break  // Its reference is followed with those of backends.
        case .externalAuth:
            guard let asked = filter.externalAuth, !["HTTP", "GRPC"].contains(asked.protocol)
            else { return }
            unknown(
                place + ".externalAuth.protocol", asked.protocol, "a protocol of authorization",
                among: ["HTTP", "GRPC"])
        case .extensionRef:
            let ref = filter.extensionRef
            unsupported(
                place + ".extensionRef",
                "\(ref?.kind ?? "") of group \"\(ref?.group ?? "")\" is not a filter that is known")
        default:
            unknown(
                place + ".type", filter.type.rawValue, "a type of filter",
                among: HTTPRouteFilterType.known.map(\.rawValue))
        }
    }

    private mutating func check(_ filter: HTTPHeaderFilter?, at place: String) {
        guard let filter, let problem = FilterCompiler.modifier(filter).problem else { return }
        unsupported(place, "\(problem.name) \(problem.sentence)")
    }

    private mutating func check(_ redirect: HTTPRequestRedirectFilter?, at place: String) {
        guard let redirect else { return }
        if let scheme = redirect.scheme, scheme != "http", scheme != "https" {
            unknown(place + ".scheme", scheme, "a scheme", among: ["http", "https"])
        }
        if let code = redirect.statusCode, ![301, 302, 303, 307, 308].contains(code) {
            unsupported(
                place + ".statusCode",
                "\(code) is not a status of redirects; use 301, 302, 303, 307 or 308")
        }
        if let path = redirect.path { check(path, at: place + ".path") }
    }

    private mutating func check(_ modifier: HTTPPathModifier, at place: String) {
        if !modifier.type.isKnown {
            return unknown(
                place + ".type", modifier.type.rawValue, "a type of path change",
                among: HTTPPathModifierType.known.map(\.rawValue))
        }
        guard modifier.type == .replacePrefixMatch else { return }
        let matches = rule.effectiveMatches
        let isPrefix = matches[0].path?.effectiveType ?? .pathPrefix == .pathPrefix
        if matches.count != 1 || !isPrefix {
            incompatible(
                place + ".replacePrefixMatch",
                "needs a rule with exactly one match, of type PathPrefix")
        }
    }

    private mutating func checkRedirect() {
        let filters = rule.filters ?? []
        guard let number = filters.firstIndex(where: { $0.type == .requestRedirect }),
            !(rule.backendRefs ?? []).isEmpty
        else { return }
        incompatible(
            path + ".filters[\(number)]",
            "a redirect answers by itself; take the rule's backendRefs away")
    }
}
