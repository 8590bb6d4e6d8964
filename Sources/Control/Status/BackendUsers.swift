/// Which Gateways lead to a backend, by way of the routes attached to them.
struct BackendUsers {
    private var services: [NamespacedName: Set<Int>] = [:]
    private var pools: [NamespacedName: Set<Int>] = [:]

    init(_ resolution: Resolution) {
        var gateways: [NamespacedName: Int] = [:]
        for (number, gateway) in resolution.gateways.enumerated() {
            gateways[gateway.name] = number
        }
        for (number, entry) in resolution.index.routes.enumerated() {
            let namespace = entry.name.namespace
            let parents = resolution.routes[number].parents.compactMap { parent in
                gateways[NamespacedName(parent.ref.namespace ?? namespace, parent.ref.name)]
            }
            for ref in entry.rules.flatMap({ $0.http.backendRefs ?? [] }) {
                let object = ref.object
                let name = NamespacedName(object.namespace ?? namespace, object.name)
                switch (object.effectiveGroup, object.effectiveKind) {
                case (Groups.core, Service.kind): services[name, default: []].formUnion(parents)
                case (_, InferencePool.kind): pools[name, default: []].formUnion(parents)
                default: break
                }
            }
        }
    }

    func gateways(ofService name: NamespacedName) -> Set<Int> { services[name] ?? [] }
    func gateways(ofPool name: NamespacedName) -> Set<Int> { pools[name] ?? [] }
}
