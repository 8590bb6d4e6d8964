/// A parentRef of a route, with what was found about it.
struct ResolvedParent: Sendable {
    /// One listener that takes the route.
    struct Attachment: Sendable {
        /// In `Resolution.listeners`.
        let listener: Int
        /// The route's hostnames on it; empty for every host.
        let hostnames: [String]
    }

    /// As written, with the API's defaults filled in.
    let ref: ParentReference
    /// Where it stands: `spec.parentRefs[1]`.
    let path: String
    /// Why the route is not accepted; nil when it is.
    var rejected: Finding?
    var attachments: [Attachment] = []
    /// What has no effect although the route is accepted.
    var notes: [Finding] = []
}

/// A rule of a route with what was found about it.
struct ResolvedRule: Sendable {
    /// Why it cannot be served; empty when it can.
    var findings: [Finding]
    /// Positions of matches that are left out.
    var unknownMatches: Set<Int>
    /// By position in `backendRefs`.
    var backends: [BackendResolver.Outcome]
    /// The same on listeners that pass TLS through; empty where there are none.
    var sealedBackends: [BackendResolver.Outcome] = []
    /// Where copies go, by position in `filters`.
    var mirrors: [Int: BackendResolver.Outcome] = [:]
    /// The same for filters of backends, by position in `backendRefs`.
    var backendMirrors: [Int: [Int: BackendResolver.Outcome]] = [:]
    /// Who is asked by the rule's ExternalAuth filter, if it has one.
    var authorization: BackendResolver.Outcome?
}

/// A route with what was found about it.
struct ResolvedRoute: Sendable {
    var parents: [ResolvedParent] = []
    var rules: [ResolvedRule] = []
    /// References that do not resolve.
    var unresolved: [Finding] = []
    /// What is worth knowing although nothing is wrong.
    var notes: [String] = []

    /// Some rules cannot be served and some can.
    var isPartial: Bool {
        rules.contains { !$0.findings.isEmpty } && rules.contains { $0.findings.isEmpty }
    }

    /// Whether a listener takes it.
    var isAttached: Bool { parents.contains { $0.rejected == nil } }
}

/// Attaches routes to listeners.
struct RouteResolver {
    let index: DocumentIndex
    let gateways: [ResolvedGateway]
    let listeners: [ResolvedListener]
    private let gatewaysByName: [NamespacedName: Int]
    private let sets: [NamespacedName: ResolvedListenerSet]
    /// Gateways that another controller serves: their routes are not ours to judge.
    private let foreign: Set<NamespacedName>
    /// By listener: the namespaces that its selector takes.
    private let selected: [Int: Set<String>]

    init(_ index: DocumentIndex, _ resolver: GatewayResolver) {
        self.index = index
        gateways = resolver.gateways
        listeners = resolver.listeners
        var byName: [NamespacedName: Int] = [:]
        for (number, gateway) in gateways.enumerated() { byName[gateway.name] = number }
        gatewaysByName = byName
        sets = Dictionary(
            resolver.sets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        foreign = Set(resolver.foreign.map(\.name))
        var selected: [Int: Set<String>] = [:]
        for (number, listener) in listeners.enumerated() {
            guard let namespaces = listener.allowedRoutes?.namespaces,
                namespaces.from == .selector, let selector = namespaces.selector
            else { continue }
            selected[number] = index.namespaces.filter {
                index.selects(selector, namespace: $0)
            }
        }
        self.selected = selected
    }

    // MARK: - Routes

    /// Attaches a route and follows its references.
    func resolve(_ entry: RouteEntry, backends: inout BackendResolver) -> ResolvedRoute {
        var route = ResolvedRoute()
        for (number, ref) in entry.parentRefs.enumerated() {
            guard let parent = attach(ref, at: "spec.parentRefs[\(number)]", entry) else {
                continue
            }
            route.parents.append(parent)
        }
        let attached = route.parents.flatMap(\.attachments).map { listeners[$0.listener] }
        let isSealed = attached.contains(where: \.isPassthrough)
        let isOpen = attached.contains { !$0.isPassthrough } || !isSealed
        for (number, rule) in entry.rules.enumerated() {
            let path = "spec.rules[\(number)]"
            let checked = RuleResolver(rule, at: path)
            var resolved = ResolvedRule(
                findings: checked.findings, unknownMatches: checked.unknownMatches, backends: [])
            if isOpen {
                resolved.backends = follow(
                    rule, of: entry, for: BackendUse(entry.kind), at: path, &route, &backends)
                followMirrors(rule, of: entry, at: path, &resolved, &route, &backends)
                resolved.authorization = followAuthorization(
                    rule, of: entry, at: path, &route, &backends)
            }
            if isSealed {
                let use = BackendUse(entry.kind, isPassthrough: true)
                resolved.sealedBackends = follow(
                    rule, of: entry, for: use, at: path, &route, &backends)
            }
            if rule.http.sessionPersistence != nil {
                resolved.findings += refusals(
                    ofSessions: rule, of: entry, resolved.backends, backends.clusters, at: path)
            }
            if let loss = index.backendTrafficPolicies.loss(in: rule.http, of: entry.name.namespace)
            {
                route.notes.append("\(path): \(loss)")
            }
            route.rules.append(resolved)
        }
        rejectIfNothingServes(&route)
        return route
    }

    /// Backends of a rule with `sessionPersistence` whose requests stay together in another way.
    private func refusals(
        ofSessions rule: RouteRule, of entry: RouteEntry, _ outcomes: [BackendResolver.Outcome],
        _ clusters: [ClusterBlueprint], at path: String
    ) -> [Finding] {
        var findings: [Finding] = []
        for (position, ref) in (rule.http.backendRefs ?? []).enumerated() {
            func refuse(_ message: String) {
                findings.append(
                    Finding(
                        "UnsupportedValue", at: path + ".sessionPersistence",
                        "backendRefs[\(position)]: " + message))
            }
            let name = NamespacedName(ref.namespace ?? entry.name.namespace, ref.name)
            guard position < outcomes.count else { continue }
            if case .invalid = outcomes[position] { continue }
            if ref.object.effectiveKind == Service.kind,
                index.services[name]?.resource.spec.sessionAffinity == "ClientIP"
            {
                refuse("Service \(name) has a sessionAffinity of its own; have one of both")
            }
            if case .cluster(let number) = outcomes[position],
                case .external? = clusters[number].pool?.picker
            {
                refuse("the endpoints of \(name) are chosen by its endpoint picker")
            }
        }
        return findings
    }

    /// What the backends of a rule come to; what is wrong with them is noted once.
    private func follow(
        _ rule: RouteRule, of entry: RouteEntry, for use: BackendUse, at path: String,
        _ route: inout ResolvedRoute, _ backends: inout BackendResolver
    ) -> [BackendResolver.Outcome] {
        var outcomes: [BackendResolver.Outcome] = []
        for (position, ref) in (rule.http.backendRefs ?? []).enumerated() {
            let place = { path + ".backendRefs[\(position)]" }
            let outcome = backends.resolve(ref.object, of: entry, for: use, at: place)
            note(outcome, at: place, &route)
            outcomes.append(outcome)
        }
        return outcomes
    }

    /// What the mirrors of a rule and of its backends come to; one that does not resolve is dropped, and noted.
    private func followMirrors(
        _ rule: RouteRule, of entry: RouteEntry, at path: String, _ resolved: inout ResolvedRule,
        _ route: inout ResolvedRoute, _ backends: inout BackendResolver
    ) {
        func follow(_ filters: [HTTPRouteFilter]?, _ path: String) -> [Int: BackendResolver.Outcome]
        {
            var outcomes: [Int: BackendResolver.Outcome] = [:]
            for (number, filter) in (filters ?? []).enumerated() {
                guard let mirror = filter.requestMirror, filter.type == .requestMirror else {
                    continue
                }
                let place = { path + ".filters[\(number)].requestMirror.backendRef" }
                let outcome = backends.resolve(
                    mirror.backendRef, of: entry, for: BackendUse(entry.kind), at: place)
                note(outcome, at: place, &route)
                outcomes[number] = outcome
            }
            return outcomes
        }
        resolved.mirrors = follow(rule.http.filters, path)
        for (position, ref) in (rule.http.backendRefs ?? []).enumerated() {
            let outcomes = follow(ref.filters, path + ".backendRefs[\(position)]")
            if !outcomes.isEmpty { resolved.backendMirrors[position] = outcomes }
        }
    }

    /// Who is asked by a rule's ExternalAuth filter.
    private func followAuthorization(
        _ rule: RouteRule, of entry: RouteEntry, at path: String, _ route: inout ResolvedRoute,
        _ backends: inout BackendResolver
    ) -> BackendResolver.Outcome? {
        let filters = rule.http.filters ?? []
        guard let number = filters.firstIndex(where: { $0.type == .externalAuth }),
            let filter = filters[number].externalAuth
        else { return nil }
        let place = { path + ".filters[\(number)].externalAuth.backendRef" }
        let outcome: BackendResolver.Outcome
        if filter.backendRef.effectiveKind == InferencePool.kind {
            outcome = .invalid(
                Finding(
                    "InvalidKind", at: place(),
                    "an InferencePool answers no questions of authorization; use Service, or Backend "
                        + "of group \(Groups.own)"))
        } else {
            outcome = backends.resolve(
                filter.backendRef, of: entry, for: filter.isGRPC ? .calls : .requests, at: place)
        }
        note(outcome, at: place, &route)
        return outcome
    }

    /// Notes what is wrong with a reference, once.
    private func note(
        _ outcome: BackendResolver.Outcome, at place: () -> String, _ route: inout ResolvedRoute
    ) {
        switch outcome {
        case .cluster: break
        case .withoutEndpoints(let note):
            let text = "\(place()): \(note)"
            if !route.notes.contains(text) { route.notes.append(text) }
        case .invalid(let finding):
            if !route.unresolved.contains(finding) { route.unresolved.append(finding) }
        }
    }

    /// A route none of whose rules can be served is not accepted anywhere.
    private func rejectIfNothingServes(_ route: inout ResolvedRoute) {
        let findings = route.rules.flatMap(\.findings)
        guard !findings.isEmpty, !route.isPartial else { return }
        for number in route.parents.indices where route.parents[number].rejected == nil {
            route.parents[number].attachments = []
            route.parents[number].rejected = Finding(
                findings[0].reason, at: findings[0].fieldPath,
                findings.count == 1
                    ? findings[0].message
                    : findings[0].message + "; " + Finding.text(Array(findings.dropFirst())))
        }
    }

    // MARK: - One parent

    /// What becomes of one parentRef; nil when the parent is not for this program to judge.
    private func attach(
        _ ref: ParentReference, at path: String, _ route: RouteEntry
    ) -> ResolvedParent? {
        let namespace = route.name.namespace
        guard ref.effectiveGroup == Groups.gateway else { return nil }
        var full = ref
        full.group = ref.effectiveGroup
        full.kind = ref.effectiveKind
        full.namespace = ref.namespace ?? namespace
        if full.sectionName == "" { full.sectionName = nil }
        var parent = ResolvedParent(ref: full, path: path)
        guard let target = target(full, at: path) else { return nil }
        switch target.flatMap({ candidates(of: $0, for: full, at: path, route.kind, namespace) }) {
        case .failure(let error): parent.rejected = error.finding
        case .success(let candidates):
            for candidate in candidates {
                if let names = Hostnames.effective(
                    route: route.hostnames, listener: listeners[candidate].hostname)
                {
                    parent.attachments.append(
                        ResolvedParent.Attachment(listener: candidate, hostnames: names))
                }
            }
            if parent.attachments.isEmpty {
                parent.rejected = mismatch(route.hostnames, candidates)
            }
        }
        return parent
    }

    /// What a parentRef leads to: the listeners that stand in a Gateway, or those of a ListenerSet.
    private struct Target {
        /// As people name it: `Gateway ai/gw`.
        let title: String
        let listeners: Range<Int>
    }

    /// Nil when the parent is not for this program to judge.
    private func target(
        _ ref: ParentReference, at path: String
    ) -> Result<Target, FindingError>? {
        let name = NamespacedName(ref.namespace ?? "", ref.name)
        let title = "\(ref.effectiveKind) \(name)"
        func refuse(_ field: String, _ message: String) -> Result<Target, FindingError> {
            .failure(
                FindingError(Finding("NoMatchingParent", at: path + field, "\(title) \(message)")))
        }
        var listeners: Range<Int>?
        switch ref.effectiveKind {
        case Gateway.kind:
            if foreign.contains(name) { return nil }
            listeners = gatewaysByName[name].map { gateways[$0].ownListeners }
        case ListenerSet.kind:
            if let set = sets[name] {
                if let finding = set.rejected { return refuse("", "is not taken: \(finding.text)") }
                if set.gateway == nil { return nil }
                listeners = set.listeners
            }
        default: return nil
        }
        guard let listeners else {
            return refuse(".name", index.absence(of: ref.effectiveKind, name))
        }
        return .success(Target(title: title, listeners: listeners))
    }

    /// The listeners that the reference means and that allow the route.
    private func candidates(
        of target: Target, for ref: ParentReference, at path: String, _ kind: RouteKind,
        _ namespace: String
    ) -> Result<[Int], FindingError> {
        let meant = target.listeners.filter { number in
            (ref.sectionName.map { $0 == listeners[number].name } ?? true)
                && (ref.port.map { $0 == Int(listeners[number].port) } ?? true)
        }
        if meant.isEmpty { return .failure(FindingError(noListener(ref, target, at: path))) }
        let ofKind = meant.filter { listeners[$0].supportedKinds.contains(kind.groupKind) }
        if ofKind.isEmpty {
            return .failure(
                FindingError(
                    Finding(
                        "NotAllowedByListeners", at: path,
                        "\(list(meant)) of \(target.title) "
                            + (meant.count == 1 ? "takes" : "take") + " no \(kind.rawValue)")))
        }
        let allowed = ofKind.filter { allows($0, namespace) }
        if allowed.isEmpty {
            return .failure(
                FindingError(
                    Finding(
                        "NotAllowedByListeners", at: path,
                        "\(list(ofKind)) of \(target.title) "
                            + (ofKind.count == 1 ? "takes" : "take")
                            + " no routes from namespace \(namespace); see "
                            + "allowedRoutes.namespaces")))
        }
        return .success(allowed)
    }

    private func list(_ numbers: [Int]) -> String {
        let names = numbers.prefix(4).map { listeners[$0].description }
        let more = numbers.count > 4 ? ["\(numbers.count - 4) more"] : []
        return (numbers.count == 1 ? "listener " : "listeners ")
            + sentenceList(names + more, "and")
    }

    private func noListener(
        _ ref: ParentReference, _ target: Target, at path: String
    ) -> Finding {
        let names = target.listeners.map { listeners[$0].name }
        guard let section = ref.sectionName else {
            return Finding(
                "NoMatchingParent", at: path + ".port",
                "\(target.title) has no listener on port \(ref.port ?? 0); it has "
                    + list(Array(target.listeners)))
        }
        guard let number = target.listeners.first(where: { listeners[$0].name == section })
        else {
            let meant = NearestName.suggestion(for: section, among: names)
            return Finding(
                "NoMatchingParent", at: path + ".sectionName",
                "\(target.title) has no listener \"\(section)\"; "
                    + (meant.map { "did you mean \"\($0)\"?" }
                        ?? "it has " + list(Array(target.listeners))))
        }
        return Finding(
            "NoMatchingParent", at: path + ".port",
            "listener \"\(section)\" of \(target.title) is on port "
                + "\(listeners[number].port), not \(ref.port ?? 0)")
    }

    private func allows(_ listener: Int, _ namespace: String) -> Bool {
        switch listeners[listener].allowedRoutes?.namespaces?.from ?? .same {
        case .all: true
        case .same: namespace == listeners[listener].namespace
        case .selector: selected[listener]?.contains(namespace) ?? false
        default: false
        }
    }

    private func mismatch(_ hostnames: [String], _ candidates: [Int]) -> Finding {
        let theirs = candidates.prefix(4).compactMap { listeners[$0].hostname }
        let names = hostnames.prefix(4).joined(separator: ", ")
        return Finding(
            "NoMatchingListenerHostname", at: "spec.hostnames",
            "none of \(names) is a name of the listeners, which take "
                + sentenceList(theirs, "and"))
    }
}
