import Kernel
import Routing
import Runtime
import Telemetry

/// Turns what was resolved into the rows' descriptions.
///
/// The same documents and the same identities give the same description.
///
/// - Parameters:
///   - report: of the documents to compile.
///   - identities: gives ids to what is new.
/// - Returns: all that workers, listeners and resolvers need.
public func compile(_ report: StatusReport, _ identities: inout Identities) -> Compiled {
    compile(report.resolution, &identities)
}

/// The same of what was resolved.
func compile(_ resolution: Resolution, _ identities: inout Identities) -> Compiled {
    // Taken and given back, so that what is new is added in place.
    var compiler = Compiler(resolution, Identities())
    swap(&compiler.identities, &identities)
    let compiled = compiler.compile()
    swap(&compiler.identities, &identities)
    return compiled
}

/// Turns one pool into all that picking for other gateways needs: no listener, no route, one cluster.
///
/// - Parameters:
///   - resolution: of the documents that have the pool.
///   - wanted: its `namespace/name`; nil takes the only one, InferencePools before Backends.
///   - identities: gives ids to what is new.
/// - Returns: what was compiled, and what is wrong where there is no such pool or more than one.
func compile(
    _ resolution: Resolution, pool wanted: String?, _ identities: inout Identities
) -> (compiled: Compiled, problem: ConfigProblem?) {
    let index = resolution.index
    let backends = index.backends.filter { entry in
        (entry.value.resource.spec.modelServer ?? ModelServer.none) != ModelServer.none
    }
    var known = index.pools.keys.sorted()
    if let wanted { known = known.filter { $0.name.description == wanted } }
    if known.isEmpty {
        known = backends.keys.sorted().filter { wanted == nil || $0.description == wanted }
            .map { PoolName(Groups.own, $0, kind: Backend.kind) }
    }
    var resolver = BackendResolver(index, observations: nil)
    var compiler = Compiler(resolution, Identities())
    swap(&compiler.identities, &identities)
    defer { swap(&compiler.identities, &identities) }
    guard known.count == 1, let blueprint = resolver.pickedHere(known[0]) else {
        return (compiler.compile(pool: nil), problem(known, wanted, index))
    }
    return (compiler.compile(pool: blueprint), nil)
}

/// Why no pool can be picked for.
private func problem(
    _ known: [PoolName], _ wanted: String?, _ index: DocumentIndex
) -> ConfigProblem {
    let message: String
    if let wanted, known.isEmpty {
        let names = index.pools.keys.map(\.name.description).sorted()
        message =
            "no InferencePool, and no Backend with a modelServer, is called \(wanted)"
            + didYouMean(wanted, among: names)
    } else if known.isEmpty {
        message =
            "the documents have no InferencePool, and no Backend with a modelServer, to pick for"
    } else if known.count > 1 {
        message =
            "the documents have several pools, \(sentenceList(known.map(\.description), "and"));"
            + " say which with --pool NAMESPACE/NAME"
    } else {
        message = "\(known[0]) cannot be picked for; its status says why"
    }
    return ConfigProblem(reason: "PoolNotFound", message: message)
}

private struct Compiler {
    /// A route as one listener has it.
    struct Attached {
        /// In `Resolution.routes`.
        let route: Int
        let hostnames: [String]
    }

    let resolution: Resolution
    var identities: Identities
    private var attached: [[Attached]]
    private var parameters: [Parameters] = []
    private var certificates: [TLSCertificateSet] = []
    private var rules: [RuleDescription] = []
    private var clusterIDs: [UInt32]
    /// What the Gateway whose listener is described shows to backends that ask.
    private var clientCertificate: CertificateMaterial?
    /// Clusters that show a Gateway's certificate, by id, each with the one in `Resolution.clusters` that it is of.
    private var presenting: [UInt32: (number: Int, blueprint: ClusterBlueprint)] = [:]
    /// In `Resolution.clusters`: those that some Gateway leads to without a certificate.
    private var anonymous: Set<Int> = []

    init(_ resolution: Resolution, _ identities: Identities) {
        self.resolution = resolution
        self.identities = identities
        attached = Array(repeating: [], count: resolution.listeners.count)
        clusterIDs = []
        clusterIDs.reserveCapacity(resolution.clusters.count)
        for (number, route) in resolution.routes.enumerated() {
            attach(route, number)
        }
    }

    /// Notes on which listeners a route is; two parentRefs may lead to the same.
    private mutating func attach(_ route: ResolvedRoute, _ number: Int) {
        for parent in route.parents where parent.rejected == nil {
            for attachment in parent.attachments
            where attached[attachment.listener].last?.route != number {
                attached[attachment.listener].append(
                    Attached(route: number, hostnames: attachment.hostnames))
            }
        }
    }

    mutating func compile() -> Compiled {
        for cluster in resolution.clusters {
            clusterIDs.append(identities.cluster(cluster.identity))
        }
        var places: [ListenPlace: [ListenerDescription]] = [:]
        var owners: [ListenPlace: [String]] = [:]
        for gateway in resolution.gateways where gateway.rejected.isEmpty {
            for number in gateway.listeners where resolution.listeners[number].isDistinct {
                let listener = resolution.listeners[number]
                let description = describe(number, gateway)
                for address in gateway.addresses {
                    let place = listener.place(on: address)
                    places[place, default: []].append(description)
                    owners[place, default: []].append("\(gateway.name)/\(listener.nameInGateway)")
                }
            }
        }
        var ports: [PortDescription] = []
        var sockets: [ListenSocketWanted] = []
        for place in places.keys.sorted() {
            let listeners = places[place] ?? []
            // A port on which nothing can be served stays closed.
            guard listeners.contains(where: isServable) else { continue }
            let id = identities.port(place)
            ports.append(
                PortDescription(id: id, transport: place.transport, listeners: listeners))
            sockets.append(
                ListenSocketWanted(
                    id: id, place: place,
                    boundPort: resolution.placement.boundPort(of: place.port),
                    isTLS: listeners[0].isTLS, listeners: owners[place] ?? []))
        }
        return Compiled(
            table: TableDescription(ports: ports, rules: rules),
            parameters: parameters.isEmpty ? [Parameters()] : parameters,
            certificates: certificates, sockets: sockets, dnsNames: dnsNames(resolution.clusters),
            blueprints: blueprints(), settings: settings(resolution.clusters.compactMap(\.pool)))
    }

    /// One pool alone, or nothing.
    mutating func compile(pool blueprint: ClusterBlueprint?) -> Compiled {
        let clusters = blueprint.map { [$0] } ?? []
        return Compiled(
            table: TableDescription(ports: [], rules: []), parameters: [Parameters()],
            certificates: [], sockets: [], dnsNames: dnsNames(clusters),
            blueprints: clusters.map { (id: identities.cluster($0.identity), blueprint: $0) },
            settings: settings(clusters.compactMap(\.pool)))
    }

    /// What holds for each pool: what the first of its Gateways says by name, and over it the Backend's own.
    ///
    /// An external picker sees answers unless all Gateways say that it does not.
    private func settings(_ pools: [ClusterBlueprint.Pool]) -> [PoolName: PickerSettings] {
        if pools.isEmpty { return [:] }
        let users = BackendUsers(resolution)
        var all: [PoolName: PickerSettings] = [:]
        for pool in pools {
            let gateways = users.gateways(ofPool: pool.pool).keys
                .map { resolution.gateways[$0] }
                .sorted { $0.name < $1.name }
            var settings = gateways.first?.picker ?? PickerSettings()
            settings.sendsAnswers = gateways.contains { $0.picker.sendsAnswers ?? true }
            settings.apply(pool.own)
            all[pool.pool] = settings
        }
        return all
    }

    private func isServable(_ listener: ListenerDescription) -> Bool {
        !listener.isTLS || listener.tls >= 0 || listener.service == .passthrough
    }

    private func blueprints() -> [(id: UInt32, blueprint: ClusterBlueprint)] {
        let unused = Set(presenting.values.map(\.number)).subtracting(anonymous)
        let own = resolution.clusters.indices.filter { !unused.contains($0) }
            .map { (id: clusterIDs[$0], blueprint: resolution.clusters[$0]) }
        return (own + presenting.map { (id: $0.key, blueprint: $0.value.blueprint) })
            .sorted { $0.id < $1.id }
    }

    private func dnsNames(_ clusters: [ClusterBlueprint]) -> [DNSNameWanted] {
        var names: Set<DNSNameWanted> = []
        for cluster in clusters {
            for endpoint in cluster.endpoints {
                if case .name(let name, let port) = endpoint.host {
                    names.insert(DNSNameWanted(name: name, port: port))
                }
            }
        }
        return names.sorted()
    }

    // MARK: - Listeners

    private mutating func describe(
        _ number: Int, _ gateway: ResolvedGateway
    ) -> ListenerDescription {
        let listener = resolution.listeners[number]
        clientCertificate = gateway.clientCertificate
        let id = identities.listener(listener, of: gateway.name)
        var description = ListenerDescription(
            id: id, hostname: listener.hostname, isTLS: listener.isTLS,
            service: listener.service, number: listener.port,
            parameters: index(of: gateway.parameters))
        description.terms = identities.terms(listener.clientValidation, of: id)
        if !listener.certificates.isEmpty {
            description.tls = index(
                of: TLSCertificateSet(
                    certificates: listener.certificates,
                    sessionContext: Array("\(gateway.name)/\(listener.nameInGateway)".utf8),
                    applicationProtocols: listener.service == .http ? ["h2", "http/1.1"] : [],
                    clientValidation: listener.clientValidation,
                    listener: "\(gateway.name)/\(listener.nameInGateway)"))
        }
        let hasPatterns = hasGRPCPatterns(number)
        for route in attached[number] {
            add(route, to: &description, listener, gateway, hasPatterns: hasPatterns)
        }
        return description
    }

    private mutating func index(of value: Parameters) -> Int32 {
        if let index = parameters.firstIndex(of: value) { return Int32(index) }
        parameters.append(value)
        return Int32(parameters.count - 1)
    }

    private mutating func index(of set: TLSCertificateSet) -> Int32 {
        certificates.append(set)
        return Int32(certificates.count - 1)
    }

    // MARK: - Rules

    private mutating func add(
        _ attached: Attached, to description: inout ListenerDescription,
        _ listener: ResolvedListener, _ gateway: ResolvedGateway, hasPatterns: Bool
    ) {
        let entry = resolution.index.routes[attached.route]
        let resolved = resolution.routes[attached.route]
        let name = entry.name
        let text = name.description
        let age =
            entry.object.resource.metadata.creationTimestamp
            .map { UInt64(clamping: $0.seconds) } ?? .max
        for (number, rule) in entry.rules.enumerated() {
            let ruleName = rule.http.name ?? "\(number)"
            let labels = SeriesLabels(
                gateway: gateway.name.description, listener: listener.nameInGateway, route: text,
                rule: ruleName)
            let id = identities.rule(
                ruleName, of: name, kind: entry.kind, on: description.id)
            let index = rules.count
            var row = describe(
                rule.http, resolved.rules[number], id: id, labels, name.namespace,
                isSealed: listener.isPassthrough)
            row.editsAnswers = !gateway.parameters.answerFields.isEmpty
            let policies = resolution.index.backendTrafficPolicies
            if entry.kind.routesRequests, !row.hasFailedFilter,
                let session = rule.http.sessionPersistence
                    ?? policies.session(of: rule.http, in: name.namespace)
            {
                row.session = SessionCompiler.rule(
                    session, of: "\(entry.kind.rawValue) \(text) \(ruleName)",
                    secrets: gateway.sessionKeys)
            }
            rules.append(row)
            for (position, match) in matches(of: rule, hasPatterns).enumerated()
            where !resolved.rules[number].unknownMatches.contains(position) {
                var match = match
                match.hostnames = attached.hostnames
                match.rule = index
                match.age = age
                match.route = text
                match.ruleIndex = number
                match.matchIndex = position
                description.matches.append(match)
            }
        }
    }

    private mutating func describe(
        _ rule: HTTPRouteRule, _ resolved: ResolvedRule, id: UInt32, _ labels: SeriesLabels,
        _ namespace: String, isSealed: Bool
    ) -> RuleDescription {
        var description = RuleDescription(
            id: id, requestTimeoutMilliseconds: timeout(rule.timeouts?.request),
            backendTimeoutMilliseconds: timeout(rule.timeouts?.backendRequest),
            hasFailedFilter: !resolved.findings.isEmpty, series: identities.series(labels))
        // A rule that cannot be served as it is written answers 500 to all.
        if description.hasFailedFilter { return description }
        description.retry = retry(rule.retry)
        let asked = rule.filters?.first { $0.type == .externalAuth }?.externalAuth
        if case .invalid? = resolved.authorization {
            // Where nobody can be asked nobody is let in.
            description.hasFailedFilter = true
            return description
        }
        description.filters = FilterCompiler.filters(
            rule.filters, mirrors: mirrors(rule.filters, resolved.mirrors, labels, namespace),
            authorization: asked.map {
                authorization($0, resolved.authorization, labels, namespace)
            })
        let outcomes = isSealed ? resolved.sealedBackends : resolved.backends
        for (number, ref) in (rule.backendRefs ?? []).enumerated() {
            var series = labels
            series.backend = backendLabel(ref, in: namespace)
            description.backends.append(
                BackendDescription(
                    weight: UInt32(clamping: ref.weight ?? 1),
                    target: target(outcomes[number]),
                    filters: FilterCompiler.filters(
                        ref.filters,
                        mirrors: mirrors(
                            ref.filters, resolved.backendMirrors[number] ?? [:], labels, namespace)),
                    hasRetryBudget: hasRetryBudget(outcomes[number]),
                    series: identities.series(series)))
        }
        return description
    }

    private func hasRetryBudget(_ outcome: BackendResolver.Outcome) -> Bool {
        guard case .cluster(let number) = outcome else { return false }
        return resolution.clusters[number].retries != nil
    }

    /// Where the mirrors of a list of filters lead, by position.
    private mutating func mirrors(
        _ filters: [HTTPRouteFilter]?, _ outcomes: [Int: BackendResolver.Outcome],
        _ labels: SeriesLabels, _ namespace: String
    ) -> [Int: RequestMirror] {
        var mirrors: [Int: RequestMirror] = [:]
        for (number, outcome) in outcomes.sorted(by: { $0.key < $1.key }) {
            guard case .cluster(let resolved) = outcome,
                let filter = filters?[number].requestMirror
            else { continue }
            var series = labels
            series.backend = backendLabel(filter.backendRef, in: namespace)
            mirrors[number] = RequestMirror(
                cluster: cluster(resolved),
                numerator: UInt32(clamping: filter.fraction?.numerator ?? filter.percent ?? 100),
                denominator: UInt32(clamping: filter.fraction?.denominator ?? 100),
                series: identities.series(series), name: series.backend)
        }
        return mirrors
    }

    private mutating func authorization(
        _ filter: HTTPExternalAuthFilter, _ outcome: BackendResolver.Outcome?,
        _ labels: SeriesLabels, _ namespace: String
    ) -> ExternalAuthorization {
        var series = labels
        series.backend = backendLabel(filter.backendRef, in: namespace)
        var asked: UInt32?
        if case .cluster(let number) = outcome { asked = cluster(number) }
        return AuthorizationCompiler.authorization(
            filter, cluster: asked, series: identities.series(series), name: series.backend)
    }

    private func backendLabel(_ ref: HTTPBackendRef, in namespace: String) -> String {
        backendLabel(ref.object, in: namespace)
    }

    private func backendLabel(_ ref: BackendObjectReference, in namespace: String) -> String {
        let name = "\(ref.namespace ?? namespace)/\(ref.name)"
        return ref.port.map { "\(name):\($0)" } ?? name
    }

    private mutating func target(_ outcome: BackendResolver.Outcome) -> BackendTarget {
        switch outcome {
        case .cluster(let number): .cluster(cluster(number))
        case .withoutEndpoints: .status(503)
        case .invalid: .status(500)
        }
    }

    /// The id of a cluster, as the Gateway whose listener is described connects to it.
    private mutating func cluster(_ number: Int) -> UInt32 {
        var blueprint = resolution.clusters[number]
        guard let clientCertificate, blueprint.tls != nil else {
            anonymous.insert(number)
            return clusterIDs[number]
        }
        blueprint.tls?.clientCertificate = clientCertificate
        let id = identities.cluster(blueprint.identity)
        presenting[id] = (number, blueprint)
        return id
    }

    private func timeout(_ text: String?) -> UInt32 {
        text.flatMap { GatewayDuration($0) }?.clampedMilliseconds ?? 0
    }

    private func retry(_ retry: HTTPRouteRetry?) -> RetryRule? {
        retry.map {
            RetryRule(
                attempts: $0.attempts,
                backoffMilliseconds: $0.backoff.flatMap { GatewayDuration($0) }?
                    .clampedMilliseconds,
                statuses: $0.codes ?? [])
        }
    }

    // MARK: - Matches

    /// What a rule asks of requests, before it is said whose rule it is.
    private func matches(of rule: RouteRule, _ hasPatterns: Bool) -> [MatchDescription] {
        if let matches = rule.grpcMatches {
            return matches.map {
                MatchDescription(
                    path: GRPCPath.match($0.method, asPattern: hasPatterns),
                    headers: headers($0.headers), specificity: GRPCPath.specificity($0.method),
                    rule: 0)
            }
        }
        return rule.http.effectiveMatches.map {
            MatchDescription(
                path: path($0.path), method: $0.method?.rawValue, headers: headers($0.headers),
                query: query($0.queryParams), rule: 0)
        }
    }

    /// Whether calls of a listener are told by patterns.
    private func hasGRPCPatterns(_ listener: Int) -> Bool {
        attached[listener].contains { attached in
            resolution.index.routes[attached.route].rules.contains { rule in
                (rule.grpcMatches ?? []).contains { match in
                    match.method.map(GRPCPath.needsPattern) ?? false
                }
            }
        }
    }

    private func path(_ match: HTTPPathMatch?) -> PathMatch {
        guard let match else { return .prefix("/") }
        switch match.effectiveType {
        case .exact: return .exact(PathText.matched(match.effectiveValue))
        case .pathPrefix: return .prefix(PathText.matched(match.effectiveValue))
        default: return .regularExpression(match.effectiveValue)
        }
    }

    private func headers(_ matches: [HTTPHeaderMatch]?) -> [ValueMatch] {
        var seen: Set<String> = []
        return (matches ?? []).filter { seen.insert($0.name.lowercased()).inserted }
            .map { value($0.type, $0.name, $0.value) }
    }

    private func query(_ matches: [HTTPQueryParamMatch]?) -> [ValueMatch] {
        (matches ?? []).map { value($0.type, $0.name, $0.value) }
    }

    private func value(_ type: ValueMatchType?, _ name: String, _ text: String) -> ValueMatch {
        ValueMatch(name: name, value: text, isRegularExpression: type == .regularExpression)
    }
}
