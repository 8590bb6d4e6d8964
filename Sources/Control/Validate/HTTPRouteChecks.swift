// What the schema of HTTPRoute says. Values outside an enumeration, and combinations of filters,
// are left to the route's status: the API has conditions for them.

extension FieldChecks {
    mutating func check(_ route: HTTPRoute) {
        let spec = route.spec
        parentRefs(spec.parentRefs)
        hostnames(spec.hostnames)
        guard let rules = spec.rules else { return }
        notEmpty(rules.count, "spec.rules")
        atMost(16, rules.count, "spec.rules")
        ruleNames(rules.map(\.name))
        let matchCount = rules.reduce(0) { $0 + max(1, $1.matches?.count ?? 1) }
        require(
            matchCount <= 128, "spec.rules",
            "have \(matchCount) matches together; at most 128 are allowed")
        for (index, rule) in rules.enumerated() { self.rule(rule, index) }
    }

    /// Names of rules are unique in their route.
    mutating func ruleNames(_ names: [String?]) {
        var seen: Set<String> = []
        for (index, name) in names.enumerated() {
            guard let name else { continue }
            sectionName(name, "spec.rules[\(index)].name")
            require(
                seen.insert(name).inserted, "spec.rules[\(index)].name",
                "\"\(name)\" is already the name of another rule")
        }
    }

    private mutating func rule(_ rule: HTTPRouteRule, _ index: Int) {
        let path = { "spec.rules[\(index)]" }
        atMost(64, rule.matches?.count, path() + ".matches")
        for (position, match) in (rule.matches ?? []).enumerated() {
            self.match(match) { "spec.rules[\(index)].matches[\(position)]" }
        }
        atMost(16, rule.filters?.count, path() + ".filters")
        for (position, filter) in (rule.filters ?? []).enumerated() {
            self.filter(filter) { "spec.rules[\(index)].filters[\(position)]" }
        }
        atMost(16, rule.backendRefs?.count, path() + ".backendRefs")
        for (position, ref) in (rule.backendRefs ?? []).enumerated() {
            let place = { "spec.rules[\(index)].backendRefs[\(position)]" }
            backend(ref.object, place())
            weight(ref.weight, place())
            atMost(16, ref.filters?.count, place() + ".filters")
            for (number, filter) in (ref.filters ?? []).enumerated() {
                self.filter(filter) { place() + ".filters[\(number)]" }
            }
        }
        if let timeouts = rule.timeouts { self.timeouts(timeouts, path() + ".timeouts") }
        for (position, code) in (rule.retry?.codes ?? []).enumerated() {
            inRange(code, 400...599, path() + ".retry.codes[\(position)]")
        }
        duration(rule.retry?.backoff, path() + ".retry.backoff")
        if let session = rule.sessionPersistence {
            self.session(session, path() + ".sessionPersistence")
        }
    }

    private mutating func timeouts(_ timeouts: HTTPRouteTimeouts, _ path: String) {
        let request = duration(timeouts.request, path + ".request")
        let backend = duration(timeouts.backendRequest, path + ".backendRequest")
        if let request, let backend, request.milliseconds > 0, backend > request {
            refuse(path + ".backendRequest", "must not be longer than timeouts.request")
        }
    }

    mutating func session(_ session: SessionPersistence, _ path: String) {
        duration(session.absoluteTimeout, path + ".absoluteTimeout")
        duration(session.idleTimeout, path + ".idleTimeout")
        require(
            session.sessionName?.utf8.count ?? 0 <= 128, path + ".sessionName",
            "may have at most 128 characters")
        let lifetime = session.cookieConfig?.lifetimeType ?? session.cookie?.lifetimeType
        require(
            lifetime != "Permanent" || session.absoluteTimeout != nil,
            path + ".absoluteTimeout", "is required with lifetimeType Permanent")
    }

    // MARK: - Matches

    private mutating func match(_ match: HTTPRouteMatch, _ path: () -> String) {
        if let value = match.path { pathMatch(value, path) }
        atMost(16, match.headers?.count, path() + ".headers")
        if let headers = match.headers {
            for (index, header) in headers.enumerated() {
                headerName(header.name, path() + ".headers[\(index)].name")
                require(
                    Patterns.isHeaderValue(header.value) || header.type == .regularExpression,
                    path() + ".headers[\(index)].value",
                    "must have 1 to 4096 characters, no control characters, and no space "
                        + "at its ends")
            }
            unique(headers.map(\.name), { path() + ".headers[\($0)].name" }, "header match")
        }
        atMost(16, match.queryParams?.count, path() + ".queryParams")
        if let parameters = match.queryParams {
            for (index, parameter) in parameters.enumerated() {
                headerName(parameter.name, path() + ".queryParams[\(index)].name")
                require(
                    (1...1024).contains(parameter.value.utf8.count),
                    path() + ".queryParams[\(index)].value", "must have 1 to 1024 characters")
            }
            unique(
                parameters.map(\.name), { path() + ".queryParams[\($0)].name" }, "query match")
        }
    }

    private mutating func pathMatch(_ match: HTTPPathMatch, _ path: () -> String) {
        let value = match.effectiveValue
        func place() -> String { path() + ".path.value" }
        require(value.utf8.count <= 1024, place(), "may have at most 1024 characters")
        guard [.exact, .pathPrefix].contains(match.effectiveType) else { return }
        guard value.utf8.first == UInt8(ascii: "/") else {
            return refuse(place(), "\"\(value)\" must begin with \"/\"")
        }
        for part in ["//", "/./", "/../", "%2f", "%2F", "#"] where value.contains(part) {
            return refuse(place(), "\"\(value)\" must not contain \"\(part)\"")
        }
        for end in ["/..", "/."] where value.hasSuffix(end) {
            return refuse(place(), "\"\(value)\" must not end in \"\(end)\"")
        }
        if value.contains("?") {
            return refuse(place(), "\"\(value)\" must be without a query; use queryParams")
        }
        require(
            Patterns.hasPathCharacters(value), place(),
            "\"\(value)\" has characters that must be written as %XX")
    }

    // MARK: - Filters

    mutating func filter(_ filter: HTTPRouteFilter, _ path: () -> String) {
        typed(filter, path)
        if let modifier = filter.requestHeaderModifier {
            modifies(modifier) { path() + ".requestHeaderModifier" }
        }
        if let modifier = filter.responseHeaderModifier {
            modifies(modifier) { path() + ".responseHeaderModifier" }
        }
        if let redirect = filter.requestRedirect {
            preciseHostname(redirect.hostname, path() + ".requestRedirect.hostname")
            port(redirect.port, path() + ".requestRedirect.port")
            if let modifier = redirect.path {
                pathModifier(modifier) { path() + ".requestRedirect.path" }
            }
        }
        if let rewrite = filter.urlRewrite {
            preciseHostname(rewrite.hostname, path() + ".urlRewrite.hostname")
            if let modifier = rewrite.path {
                pathModifier(modifier) { path() + ".urlRewrite.path" }
            }
        }
        if let cors = filter.cors { self.cors(cors, path() + ".cors") }
        if let mirror = filter.requestMirror { self.mirror(mirror, path() + ".requestMirror") }
        if let asked = filter.externalAuth { authorization(asked, path() + ".externalAuth") }
        if let ref = filter.extensionRef {
            groupKind(ref.group, ref.kind, path() + ".extensionRef")
            objectName(ref.name, path() + ".extensionRef.name")
        }
    }

    /// The settings of the filter's type are there, and no others.
    private mutating func typed(_ filter: HTTPRouteFilter, _ path: () -> String) {
        let settings: [(HTTPRouteFilterType, String, Bool)] = [
            (.requestHeaderModifier, "requestHeaderModifier", filter.requestHeaderModifier != nil),
            (
                .responseHeaderModifier, "responseHeaderModifier",
                filter.responseHeaderModifier != nil
            ),
            (.requestMirror, "requestMirror", filter.requestMirror != nil),
            (.requestRedirect, "requestRedirect", filter.requestRedirect != nil),
            (.urlRewrite, "urlRewrite", filter.urlRewrite != nil),
            (.cors, "cors", filter.cors != nil),
            (.externalAuth, "externalAuth", filter.externalAuth != nil),
            (.extensionRef, "extensionRef", filter.extensionRef != nil),
        ]
        for (type, field, isPresent) in settings where isPresent != (type == filter.type) {
            if isPresent {
                refuse(path() + ".\(field)", "is not allowed with type \(filter.type)")
            } else {
                refuse(path() + ".\(field)", "is required with type \(filter.type)")
            }
        }
    }

    private mutating func modifies(_ modifier: HTTPHeaderFilter, _ path: () -> String) {
        for (field, headers) in [("set", modifier.set ?? []), ("add", modifier.add ?? [])] {
            atMost(16, headers.count, path() + ".\(field)")
            for (index, header) in headers.enumerated() {
                headerName(header.name, path() + ".\(field)[\(index)].name")
                require(
                    Patterns.isHeaderValue(header.value), path() + ".\(field)[\(index)].value",
                    "must have 1 to 4096 characters, no control characters, and no space "
                        + "at its ends")
            }
            unique(headers.map(\.name), { path() + ".\(field)[\($0)].name" }, "entry")
        }
        atMost(16, modifier.remove?.count, path() + ".remove")
        for (index, name) in (modifier.remove ?? []).enumerated() {
            headerName(name, path() + ".remove[\(index)]")
        }
        unique(modifier.remove ?? [], { path() + ".remove[\($0)]" }, "entry")
    }

    private mutating func pathModifier(_ modifier: HTTPPathModifier, _ path: () -> String) {
        for (type, field, value) in [
            (HTTPPathModifierType.replaceFullPath, "replaceFullPath", modifier.replaceFullPath),
            (.replacePrefixMatch, "replacePrefixMatch", modifier.replacePrefixMatch),
        ] {
            if type == modifier.type {
                require(value != nil, path() + ".\(field)", "is required with type \(type)")
            } else {
                require(
                    value == nil, path() + ".\(field)", "is not allowed with type \(modifier.type)")
            }
            guard let value else { continue }
            require(
                value.utf8.count <= 1024, path() + ".\(field)", "may have at most 1024 characters")
            require(
                value.isEmpty || Patterns.hasPathCharacters(value), path() + ".\(field)",
                "\"\(value)\" has characters that must be written as %XX")
        }
    }

    private mutating func cors(_ cors: HTTPCORSFilter, _ path: String) {
        for (field, list, limit) in [
            ("allowOrigins", cors.allowOrigins ?? [], 64),
            ("allowMethods", cors.allowMethods ?? [], 9),
            ("allowHeaders", cors.allowHeaders ?? [], 64),
            ("exposeHeaders", cors.exposeHeaders ?? [], 64),
        ] {
            atMost(limit, list.count, path + ".\(field)")
            require(
                field == "exposeHeaders" || list.count < 2 || !list.contains("*"),
                path + ".\(field)",
                "may not have \"*\" alongside other entries")
            var seen: Set<String> = []
            for (index, entry) in list.enumerated() where !seen.insert(entry).inserted {
                refuse(path + ".\(field)[\(index)]", "\"\(entry)\" stands there already")
            }
            guard field.hasSuffix("Headers") else { continue }
            for (index, name) in list.enumerated() {
                headerName(name, path + ".\(field)[\(index)]")
            }
        }
        let methods = HTTPMethod.known.map(\.rawValue)
        for (index, method) in (cors.allowMethods ?? []).enumerated() {
            require(
                method == "*" || methods.contains(method), path + ".allowMethods[\(index)]",
                "\"\(method)\" is not \(sentenceList(methods, "or")), or *")
        }
        inRange(cors.maxAge, 1...Int(Int32.max), path + ".maxAge")
    }

    private mutating func authorization(_ asked: HTTPExternalAuthFilter, _ path: String) {
        backend(asked.backendRef, path + ".backendRef")
        for (field, name, isPresent) in [
            ("grpc", "GRPC", asked.grpc != nil), ("http", "HTTP", asked.http != nil),
        ] where isPresent != (asked.protocol == name) {
            if isPresent {
                refuse(path + ".\(field)", "is not allowed with protocol \(asked.protocol)")
            } else {
                refuse(path + ".\(field)", "is required with protocol \(asked.protocol)")
            }
        }
        for (field, list) in [
            ("grpc.allowedHeaders", asked.grpc?.allowedHeaders),
            ("http.allowedHeaders", asked.http?.allowedHeaders),
            ("http.allowedResponseHeaders", asked.http?.allowedResponseHeaders),
        ] {
            atMost(64, list?.count, path + ".\(field)")
            for (index, name) in (list ?? []).enumerated() {
                headerName(name, path + ".\(field)[\(index)]")
            }
        }
        if let prefix = asked.http?.path, !prefix.isEmpty {
            require(
                prefix.utf8.count <= 1024, path + ".http.path", "may have at most 1024 characters")
            require(
                Patterns.hasPathCharacters(prefix), path + ".http.path",
                "\"\(prefix)\" has characters that must be written as %XX")
        }
        inRange(asked.forwardBody?.maxSize, 0...Int(Int32.max), path + ".forwardBody.maxSize")
    }

    mutating func mirror(_ mirror: HTTPRequestMirrorFilter, _ path: String) {
        backend(mirror.backendRef, path + ".backendRef")
        inRange(mirror.percent, 0...100, path + ".percent")
        require(
            mirror.percent == nil || mirror.fraction == nil, path,
            "may have percent or fraction, not both")
        guard let fraction = mirror.fraction else { return }
        let denominator = fraction.denominator ?? 100
        require(denominator >= 1, path + ".fraction.denominator", "must be at least 1")
        require(
            (0...max(denominator, 0)).contains(fraction.numerator), path + ".fraction.numerator",
            "must be 0 to the denominator")
    }
}
