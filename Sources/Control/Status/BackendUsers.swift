/// Which Gateways lead to a backend, by way of the routes attached to them, and of pools' pickers.
struct BackendUsers {
    private var services: [NamespacedName: Set<Int>] = [:]
    private var pools: [PoolName: [Int: Bool]] = [:]

    init(_ resolution: Resolution) {
        var gateways: [NamespacedName: Int] = [:]
        for (number, gateway) in resolution.gateways.enumerated() {
            gateways[gateway.name] = number
        }
        var sets: [NamespacedName: Int] = [:]
        for set in resolution.sets { sets[set.name] = set.gateway }
        for (number, entry) in resolution.index.routes.enumerated() {
            let namespace = entry.name.namespace
            var parents: [(gateway: Int, isAccepted: Bool)] = []
            for parent in resolution.routes[number].parents {
                let name = NamespacedName(parent.ref.namespace ?? namespace, parent.ref.name)
                let isSet = parent.ref.effectiveKind == ListenerSet.kind
                if let gateway = isSet ? sets[name] : gateways[name] {
                    parents.append((gateway, parent.rejected == nil))
                }
            }
            for object in entry.rules.flatMap(\.http.references) {
                let name = NamespacedName(object.namespace ?? namespace, object.name)
                switch (object.effectiveGroup, object.effectiveKind) {
                case (Groups.core, Service.kind):
                    services[name, default: []].formUnion(parents.map(\.gateway))
                case (let group, let kind) where kind == InferencePool.kind || kind == Backend.kind:
                    let pool = PoolName(group, name, kind: kind)
                    for (gateway, isAccepted) in parents {
                        pools[pool, default: [:]][gateway] =
                            isAccepted || pools[pool]?[gateway] ?? false
                    }
                default: break
                }
            }
        }
        for (name, pool) in resolution.index.pools {
            guard let users = pools[name], let (picker, _) = pool.resource.spec.picker,
                picker.effectiveKind == Service.kind
            else { continue }
            services[NamespacedName(name.name.namespace, picker.name), default: []]
                .formUnion(users.keys)
        }
    }

    func gateways(ofService name: NamespacedName) -> Set<Int> { services[name] ?? [] }

    /// By Gateway: whether a route that refers to the pool, or to the Backend that is one, is accepted by it.
    func gateways(ofPool name: PoolName) -> [Int: Bool] { pools[name] ?? [:] }
}

extension HTTPRouteRule {
    /// The backends that its requests, or copies of them, go to, and who is asked about them.
    fileprivate var references: [BackendObjectReference] {
        let refs = backendRefs ?? []
        let filters = (filters ?? []) + refs.flatMap { $0.filters ?? [] }
        return refs.map(\.object) + filters.compactMap(\.requestMirror?.backendRef)
            + filters.compactMap(\.externalAuth?.backendRef)
    }
}
