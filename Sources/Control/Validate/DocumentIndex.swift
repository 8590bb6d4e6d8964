/// An object with its resource in its own type.
struct Entry<R: Resource>: Sendable {
    let object: LocatedObject
    let resource: R

    var name: NamespacedName { NamespacedName(object) }
}

/// The documents by kind and name, so that no step looks through all of them.
struct DocumentIndex: Sendable {
    var classes: [String: Entry<GatewayClass>] = [:]
    /// In the order of the documents, as all lists here: by namespace and name.
    var gateways: [Entry<Gateway>] = []
    var listenerSets: [Entry<ListenerSet>] = []
    var routes: [RouteEntry] = []
    var services: [NamespacedName: Entry<Service>] = [:]
    /// By the Service that they belong to.
    var slices: [NamespacedName: [EndpointSlice]] = [:]
    /// By namespace and one label: `app=web`.
    var pods: [PodLabel: [Pod]] = [:]
    var secrets: [NamespacedName: Entry<Secret>] = [:]
    var configMaps: [NamespacedName: Entry<ConfigMap>] = [:]
    var backends: [NamespacedName: Entry<Backend>] = [:]
    var parameters: [NamespacedName: Entry<GatewayParameters>] = [:]
    var pools: [PoolName: Entry<InferencePool>] = [:]
    var objectives: [Entry<InferenceObjective>] = []
    var rewrites: [Entry<InferenceModelRewrite>] = []
    /// What BackendTLSPolicies come to.
    private(set) var tlsPolicies = TLSPolicies()
    private var traffic: [Entry<XBackendTrafficPolicy>] = []
    /// What XBackendTrafficPolicies come to.
    private(set) var backendTrafficPolicies = TrafficPolicies()
    var trafficPolicies: [LocatedObject] = []
    var grants = Grants()

    /// One label of a Pod, as an index key.
    struct PodLabel: Hashable, Sendable {
        let namespace: String
        let key: String
        let value: String
    }

    private struct KindInNamespace: Hashable, Sendable {
        let kind: String
        let namespace: String
    }

    private var namesByKind: [KindInNamespace: [String]] = [:]
    private var declaredNamespaces: [String: [String: String]] = [:]
    private let unreadNamespaces: Set<String>
    /// What keeps documents from being used, by what they declare.
    private let refusals: [ObjectReference: [Finding]]
    /// Namespaces that some object is in.
    private(set) var namespaces: Set<String> = []

    init(_ documents: DocumentSet) {
        unreadNamespaces = documents.unreadNamespaces
        refusals = documents.problems.reduce(into: [:]) { refusals, problem in
            guard let object = problem.object, problem.severity == .error else { return }
            refusals[object, default: []].append(
                Finding(problem.reason, at: problem.fieldPath, problem.message))
        }
        for object in documents.objects { add(object) }
        tlsPolicies = TLSPolicies(documents, self)
        backendTrafficPolicies = TrafficPolicies(traffic, self)
    }

    private mutating func add(_ object: LocatedObject) {
        let name = NamespacedName(object)
        if let namespace = object.namespace { namespaces.insert(namespace) }
        let kind = KindInNamespace(kind: object.kind, namespace: name.namespace)
        namesByKind[kind, default: []].append(object.name)
        if let route = RouteEntry(object) { return routes.append(route) }
        switch object.resource {
        case let resource as Service:
            services[name] = Entry(object: object, resource: resource)
        case let resource as EndpointSlice: add(resource, in: name.namespace)
        case let resource as Pod: add(resource, in: name.namespace)
        case let resource as Secret:
            secrets[name] = Entry(object: object, resource: resource)
        case let resource as ConfigMap:
            configMaps[name] = Entry(object: object, resource: resource)
        case let resource as Backend:
            backends[name] = Entry(object: object, resource: resource)
        case let resource as ReferenceGrant: grants.add(resource.spec, in: name.namespace)
        case let resource as Gateway:
            gateways.append(Entry(object: object, resource: resource))
        case let resource as GatewayClass:
            classes[object.name] = Entry(object: object, resource: resource)
        case let resource as GatewayParameters:
            parameters[name] = Entry(object: object, resource: resource)
        case let resource as Namespace:
            declaredNamespaces[object.name] = resource.metadata.labels ?? [:]
            namespaces.insert(object.name)
        default: addUnserved(object, name)
        }
    }

    private mutating func addUnserved(_ object: LocatedObject, _ name: NamespacedName) {
        switch object.resource {
        case let resource as ListenerSet:
            listenerSets.append(Entry(object: object, resource: resource))
        case let resource as InferencePool:
            pools[PoolName(object)] = Entry(object: object, resource: resource)
        case let resource as InferenceObjective:
            objectives.append(Entry(object: object, resource: resource))
        case let resource as InferenceModelRewrite:
            rewrites.append(Entry(object: object, resource: resource))
        case let resource as XBackendTrafficPolicy:
            traffic.append(Entry(object: object, resource: resource))
        case is TrafficPolicy: trafficPolicies.append(object)
        default: break
        }
    }

    private mutating func add(_ slice: EndpointSlice, in namespace: String) {
        guard let service = slice.metadata.labels?[EndpointSlice.serviceLabel] else { return }
        slices[NamespacedName(namespace, service), default: []].append(slice)
    }

    private mutating func add(_ pod: Pod, in namespace: String) {
        for (key, value) in pod.metadata.labels ?? [:] {
            pods[PodLabel(namespace: namespace, key: key, value: value), default: []].append(pod)
        }
    }

    /// The Pods that have all the labels, in the order of the documents; none without labels.
    func pods(in namespace: String, labelled wanted: [String: String]) -> [Pod] {
        guard let first = wanted.min(by: { $0.key < $1.key }) else { return [] }
        let label = PodLabel(namespace: namespace, key: first.key, value: first.value)
        return (pods[label] ?? []).filter { pod in
            let labels = pod.metadata.labels ?? [:]
            return wanted.allSatisfy { labels[$0.key] == $0.value }
        }
    }

    /// Whether a selector of namespaces takes one; one that is not declared counts as existing.
    ///
    /// None takes one whose document was refused: a label that it does not have must not let it in.
    func selects(_ selector: LabelSelector, namespace name: String) -> Bool {
        if unreadNamespaces.contains(name) { return false }
        return selector.matches(labels(ofNamespace: name))
    }

    private func labels(ofNamespace name: String) -> [String: String] {
        var labels = declaredNamespaces[name] ?? [:]
        labels[Namespace.nameLabel] = name
        return labels
    }

    /// Why an object is not here, as the end of a sentence: nobody declares it, or its document was refused.
    func absence(of kind: String, _ name: NamespacedName) -> String {
        let object = ObjectReference(kind: kind, namespace: name.namespace, name: name.name)
        if let findings = refusals[object] {
            return "is there, but refused as it is written: \(Finding.text(findings))"
        }
        return "does not exist" + didYouMean(name.name, among: names(of: kind, in: name.namespace))
    }

    /// The names of a kind's objects in one namespace, for suggestions; some hundred at most.
    func names(of kind: String, in namespace: String) -> ArraySlice<String> {
        (namesByKind[KindInNamespace(kind: kind, namespace: namespace)] ?? []).prefix(300)
    }
}
