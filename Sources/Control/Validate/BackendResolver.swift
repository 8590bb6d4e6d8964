import Kernel
import Routing
import Runtime

/// Follows backend references of routes; each backend is looked at once.
struct BackendResolver {
    /// What a reference leads to.
    enum Outcome: Sendable {
        /// An index into `BackendResolver.clusters`.
        case cluster(Int)
        /// Its share is answered 503: nobody is there, or nobody can be trusted; the text says why.
        case withoutEndpoints(String)
        /// Its share is answered 500.
        case invalid(Finding)
    }

    private struct Target: Hashable {
        let group: String
        let kind: String
        let name: NamespacedName
        let port: Int
        let use: BackendUse
    }

    let index: DocumentIndex
    private let certificates: CertificateResolver
    /// What the outcomes refer to, in the order in which they were first found.
    private(set) var clusters: [ClusterBlueprint] = []
    private var known: [Target: Outcome] = [:]
    private var numbers: [String: Int] = [:]
    private lazy var policies = PoolPolicies(index)

    init(_ index: DocumentIndex, observations: Observations?) {
        self.index = index
        certificates = CertificateResolver(index, observations)
    }

    /// Follows a reference that a route holds at a field.
    mutating func resolve(
        _ ref: BackendObjectReference, of route: RouteEntry, for use: BackendUse,
        at path: () -> String
    ) -> Outcome {
        let namespace = route.name.namespace
        let group = ref.effectiveGroup
        let kind = ref.effectiveKind
        guard isServed(group, kind, for: use) else {
            return .invalid(Finding("InvalidKind", at: path(), refusal(ofKind: kind, group)))
        }
        let name = NamespacedName(ref.namespace ?? namespace, ref.name)
        if name.namespace != namespace {
            let source = Grants.Source(
                group: Groups.gateway, kind: route.kind.rawValue, namespace: namespace)
            guard index.grants.permit(source, group: group, kind: kind, name) else {
                return .invalid(Grants.refusal(source, kind: kind, name, at: path()))
            }
        }
        // A pool's ports are its own; what a reference to it says of a port means nothing.
        let port = kind == InferencePool.kind ? 0 : ref.port ?? 0
        let outcome = resolve(Target(group: group, kind: kind, name: name, port: port, use: use))
        if case .invalid(var finding) = outcome {
            finding.fieldPath = path()
            return .invalid(finding)
        }
        return outcome
    }

    private func isServed(_ group: String, _ kind: String, for use: BackendUse) -> Bool {
        switch (group, kind) {
        case (Groups.core, Service.kind), (Groups.own, Backend.kind): true
        case (_, InferencePool.kind): PoolName.isGroup(group) && use.isHTTP
        default: false
        }
    }

    private func refusal(ofKind kind: String, _ group: String) -> String {
        switch (group, kind) {
        case (Groups.inference, InferencePool.kind),
            (Groups.inferenceExperimental, InferencePool.kind):
            return "\(kind) is a backend of HTTPRoute and GRPCRoute only: it picks by requests"
        case (Groups.multicluster, ServiceImport.kind):
            return "\(kind) is not supported as a backend yet; Service and Backend are"
        case (_, Service.kind):
            return "Service of group \"\(group)\" is not known; leave the group out"
        case (_, InferencePool.kind):
            return "InferencePool of group \"\(group)\" is not known; its group is "
                + Groups.inference
        case (_, Backend.kind):
            return "Backend of group \"\(group)\" is not known; its group is \(Groups.own)"
        default:
            return "\(kind) of group \"\(group)\" is not a kind of backend; use Service, or "
                + "Backend of group \(Groups.own)"
        }
    }

    private mutating func resolve(_ target: Target) -> Outcome {
        if let outcome = known[target] { return outcome }
        let outcome =
            switch target.kind {
            case Service.kind: service(target)
            case InferencePool.kind: pool(target)
            default: backend(target)
            }
        known[target] = outcome
        return outcome
    }

    private mutating func add(for target: Target, _ cluster: ClusterBlueprint) -> Outcome {
        var cluster = cluster
        cluster.retries = index.backendTrafficPolicies.retries(
            of: target.group, target.kind, target.name)
        return add(cluster)
    }

    private mutating func add(_ cluster: ClusterBlueprint) -> Outcome {
        if let number = numbers[cluster.identity] { return .cluster(number) }
        numbers[cluster.identity] = clusters.count
        clusters.append(cluster)
        return .cluster(clusters.count - 1)
    }

    private func notFound(_ target: Target) -> Outcome {
        let names = index.names(of: target.kind, in: target.name.namespace)
        return .invalid(
            Finding(
                "BackendNotFound",
                "\(target.kind) \(target.name) does not exist"
                    + didYouMean(target.name.name, among: names)))
    }

    // MARK: - Services

    private mutating func service(_ target: Target) -> Outcome {
        guard let service = index.services[target.name] else { return notFound(target) }
        let ports = service.resource.spec.ports ?? []
        let port: ServicePort
        let transport: Transport = target.use == .datagrams ? .udp : .tcp
        if let found = ports.first(where: { $0.port == target.port && $0.takes(transport) }) {
            port = found
        } else if service.resource.spec.type == "ExternalName", ports.isEmpty {
            port = ServicePort(port: target.port)
        } else {
            return .invalid(refusal(ofPort: target, ports, transport))
        }
        let place = port.place(of: service)
        let policy = target.use.takesTLS ? index.tlsPolicies.policy(of: service.name, port) : nil
        let proto: ClusterProtocol
        switch BackendProtocols.ofService(
            port, for: target.use, isSecured: policy != nil, place: place)
        {
        case .success(let found): proto = found
        case .failure(let error): return .invalid(error.finding)
        }
        // Never in the clear instead: the reference is good, and leads to nobody meanwhile.
        if let policy, policy.tls == nil { return .withoutEndpoints(policy.closing(place)) }
        let endpoints = ServiceEndpoints(index: index).endpoints(of: service, port: port)
        if endpoints.isEmpty {
            return .withoutEndpoints(
                "Service \(target.name) has no ready endpoint for port \(target.port)")
        }
        return add(
            for: target,
            ClusterBlueprint(
                key: "Service \(target.name):\(target.port)",
                name: "\(target.name):\(target.port)", endpoints: endpoints, protocol: proto,
                transport: transport, proxyProtocol: .none,
                tls: policy?.sealing(offering: BackendProtocols.offered(proto, for: target.use)),
                hostHeader: .preserve, isModelServer: false, policy: policy?.name))
    }

    private func refusal(
        ofPort target: Target, _ ports: [ServicePort], _ transport: Transport
    ) -> Finding {
        if ports.contains(where: { $0.port == target.port }) {
            return Finding(
                "UnsupportedProtocol",
                "port \(target.port) of Service \(target.name) is not \(transport.name)")
        }
        let numbers = ports.filter { $0.takes(transport) }.map { "\($0.port)" }
        let known =
            numbers.isEmpty
            ? "it has none" : "its ports are \(sentenceList(numbers, "and"))"
        return Finding(
            "BackendNotFound", "Service \(target.name) has no port \(target.port); \(known)")
    }

    // MARK: - Pools

    private mutating func pool(_ target: Target) -> Outcome {
        let name = PoolName(target.group, target.name)
        guard let pool = index.pools[name] else { return notFound(target) }
        let place = name.description
        let proto: ClusterProtocol
        switch BackendProtocols.ofPool(pool.resource.spec, for: target.use, place: place) {
        case .success(let found): proto = found
        case .failure(let error): return .invalid(error.finding)
        }
        let resolver = PoolResolver(index: index)
        let picker: ClusterBlueprint.Pool.Picker
        switch resolver.picker(of: pool) {
        case .builtIn, .unresolved(_, opensOnFailure: true): picker = .builtIn
        case .unresolved(let finding, opensOnFailure: false):
            return .withoutEndpoints("\(place) has no endpoint picker: \(finding.message)")
        case .external(let cluster, let opensOnFailure):
            _ = add(cluster)
            picker = .external(cluster: cluster.identity, opensOnFailure: opensOnFailure)
        }
        let endpoints = resolver.endpoints(of: pool)
        if endpoints.isEmpty { return .withoutEndpoints("\(place) has no ready Pod") }
        let key = target.group == Groups.inference ? place : "\(place) of \(target.group)"
        return add(
            for: target,
            ClusterBlueprint(
                key: key, name: "\(target.name)", endpoints: endpoints, protocol: proto,
                transport: .tcp, proxyProtocol: .none, tls: nil, hostHeader: .preserve,
                isModelServer: true,
                pool: picking(name, picker)))
    }

    /// A pool, or a Backend that is one, whose endpoints this process picks whoever else its documents name for it.
    ///
    /// A pool without a ready Pod is there all the same; nil for what cannot be picked in.
    mutating func pickedHere(_ name: PoolName) -> ClusterBlueprint? {
        guard name.kind == InferencePool.kind else {
            let target = Target(
                group: name.group, kind: name.kind, name: name.name, port: 0, use: .requests)
            guard case .cluster(let number) = resolve(target) else { return nil }
            return clusters[number].pool == nil ? nil : clusters[number]
        }
        guard let pool = index.pools[name],
            case .success(let proto) = BackendProtocols.ofPool(
                pool.resource.spec, for: .requests, place: name.description)
        else { return nil }
        return ClusterBlueprint(
            key: name.description, name: "\(name.name)",
            endpoints: PoolResolver(index: index).endpoints(of: pool), protocol: proto,
            transport: .tcp, proxyProtocol: .none, tls: nil, hostHeader: .preserve,
            isModelServer: true, pool: picking(name, .builtIn))
    }

    /// How the endpoints of a pool, or of a Backend that is one, are picked.
    private mutating func picking(
        _ name: PoolName, _ picker: ClusterBlueprint.Pool.Picker, own: PickerSpec? = nil
    ) -> ClusterBlueprint.Pool {
        ClusterBlueprint.Pool(
            pool: name, picker: picker, objectives: policies.objectives(of: name),
            rewrites: policies.rewrites(of: name), own: own)
    }

    // MARK: - Backends

    private mutating func backend(_ target: Target) -> Outcome {
        guard let backend = index.backends[target.name] else { return notFound(target) }
        if let finding = Self.rejection(of: backend.resource) {
            return .invalid(
                Finding(
                    finding.fieldPath == "spec.protocol" ? "UnsupportedProtocol" : finding.reason,
                    "Backend \(target.name): \(finding.text)"))
        }
        let place = "Backend \(target.name)"
        let proto: ClusterProtocol
        switch BackendProtocols.ofBackend(backend.resource.spec, for: target.use, place: place) {
        case .success(let found): proto = found
        case .failure(let error): return .invalid(error.finding)
        }
        var tls: ClusterBlueprint.TLS?
        if proto.isTLS {
            let offered = BackendProtocols.offered(proto, for: target.use)
            switch trust(of: backend, offering: offered) {
            case .success(let found): tls = found
            case .failure(let error):
                return .invalid(Finding(error.finding.reason, "\(place): \(error.finding.text)"))
            }
        }
        let transport: Transport = target.use == .datagrams ? .udp : .tcp
        var blueprint = blueprint(of: backend, proto, tls: tls, transport)
        if blueprint.isModelServer, target.use.isHTTP {
            blueprint.pool = picking(
                PoolName(Groups.own, target.name, kind: Backend.kind), .builtIn,
                own: backend.resource.spec.picker)
        }
        return add(for: target, blueprint)
    }

    /// What a Backend says that is not served; nil when all is.
    static func rejection(of backend: Backend) -> Finding? {
        let spec = backend.spec
        let proto = spec.protocol ?? .http
        if !proto.isKnown {
            let hint = didYouMean(proto.rawValue, among: BackendProtocol.known.map(\.rawValue))
            return Finding(
                "UnsupportedValue", at: "spec.protocol", "\"\(proto)\" is not a protocol\(hint)")
        }
        let hosts = Set(spec.endpoints.map { $0.address.lowercased() })
        if proto.isTLS, hosts.count > 1, spec.tls?.hostname == nil {
            return Finding(
                "UnsupportedValue", at: "spec.tls.hostname",
                "is required when endpoints have different names: certificates are checked for it")
        }
        let proxyProtocol = spec.proxyProtocol ?? .none
        if !ProxyProtocol.ofBackends.contains(proxyProtocol) {
            return Finding(
                "UnsupportedValue", at: "spec.proxyProtocol",
                "\"\(proxyProtocol)\" is not None, V1 or V2")
        }
        if let server = spec.modelServer, !server.isKnown {
            let names = ModelServer.known.map(\.rawValue)
            let hint =
                NearestName.suggestion(for: server.rawValue, among: names)
                .map { "did you mean \"\($0)\"?" } ?? "known are \(sentenceList(names, "and"))"
            return Finding(
                "UnsupportedValue", at: "spec.modelServer",
                "\"\(server)\" is not a model server; \(hint)")
        }
        return nil
    }

    /// Whom a Backend's TLS trusts.
    func trust(
        of backend: Entry<Backend>, offering protocols: [String] = []
    ) -> Result<ClusterBlueprint.TLS, FindingError> {
        let spec = backend.resource.spec
        var authorities: [UInt8] = []
        for (number, ref) in (spec.tls?.caCertificateRefs ?? []).enumerated() {
            switch certificates.authorities(
                ref, in: backend.name.namespace, at: "spec.tls.caCertificateRefs[\(number)]")
            {
            case .success(let bytes): authorities += bytes + [10]
            case .failure(let error): return .failure(error)
            }
        }
        let name = spec.tls?.hostname ?? spec.endpoints.first?.address.lowercased() ?? ""
        return .success(
            ClusterBlueprint.TLS(
                serverName: name, authorities: authorities, applicationProtocols: protocols))
    }

    private func blueprint(
        of backend: Entry<Backend>, _ proto: ClusterProtocol, tls: ClusterBlueprint.TLS?,
        _ transport: Transport
    ) -> ClusterBlueprint {
        let spec = backend.resource.spec
        let server = spec.modelServer ?? .none
        let defaultPort = tls == nil ? 80 : 443
        let endpoints = spec.endpoints.map { endpoint in
            var made = ClusterBlueprint.Endpoint(
                host: endpoint.address, port: UInt16(clamping: endpoint.port),
                defaultPort: UInt16(defaultPort), priority: UInt8(clamping: endpoint.priority ?? 0))
            made.engine = server.engine
            made.vramBytes = UInt64(endpoint.vram.flatMap(Quantity.bytes) ?? 0)
            return made
        }
        let hostHeader: HostHeader
        switch spec.hostHeader {
        case nil:
            // Servers behind names choose by Host; Ollama on loopback refuses names of others.
            let hasNames = endpoints.contains { if case .name = $0.host { true } else { false } }
            hostHeader = server == .ollama || hasNames ? .endpoint : .preserve
        case "Preserve": hostHeader = .preserve
        case "Endpoint": hostHeader = .endpoint
        case let name?: hostHeader = .name(name)
        }
        return ClusterBlueprint(
            key: "Backend \(backend.name)", name: "\(backend.name)", endpoints: endpoints,
            protocol: proto, transport: transport,
            proxyProtocol: (spec.proxyProtocol ?? .none).header, tls: tls,
            hostHeader: hostHeader, isModelServer: server != .none)
    }
}
