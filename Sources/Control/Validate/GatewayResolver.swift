import Kernel
import Runtime

/// Finds out what each Gateway and each of its listeners can serve.
struct GatewayResolver {
    let index: DocumentIndex
    let placement: Placement
    let observations: Observations?
    private let certificates: CertificateResolver
    private let parameters: ParametersResolver
    private(set) var gateways: [ResolvedGateway] = []
    private(set) var listeners: [ResolvedListener] = []
    /// In the order of the documents.
    private(set) var sets: [ResolvedListenerSet]
    /// By their Gateway, from the oldest on.
    private let setsByGateway: [NamespacedName: [Int]]
    /// Gateways that another controller serves.
    private(set) var foreign: [Entry<Gateway>] = []

    init(_ index: DocumentIndex, placement: Placement, observations: Observations?) {
        self.index = index
        self.placement = placement
        self.observations = observations
        certificates = CertificateResolver(index, observations)
        parameters = ParametersResolver(index: index)
        sets = index.listenerSets.map { ResolvedListenerSet(entry: $0) }
        let entries = index.listenerSets
        let byAge = entries.indices.filter { entries[$0].resource.spec.parentRef.isGateway }
            .sorted { entries[$0].object.isOlder(than: entries[$1].object) }
        setsByGateway = Dictionary(grouping: byAge) {
            entries[$0].resource.spec.parentRef.gatewayName(in: entries[$0].name.namespace)
        }
    }

    mutating func resolve() {
        for entry in index.gateways {
            let gatewayClass = index.classes[entry.resource.spec.gatewayClassName]
            if let gatewayClass,
                gatewayClass.resource.spec.controllerName != GatewayClass.ownController
            {
                foreign.append(entry)
                continue
            }
            resolve(entry, class: gatewayClass)
        }
        for position in sets.indices where sets[position].gateway == nil {
            if sets[position].rejected == nil {
                sets[position].rejected = missingGateway(of: sets[position].entry)
            }
        }
        var conflicts = ListenerConflicts(placement: placement)
        conflicts.apply(to: &listeners, of: gateways)
    }

    private mutating func resolve(_ entry: Entry<Gateway>, class: Entry<GatewayClass>?) {
        var gateway = ResolvedGateway(entry: entry)
        let spec = entry.resource.spec
        if let found = `class`, let finding = parameters.refusal(ofClass: found) {
            gateway.rejected.append(
                Finding(
                    "InvalidParameters", at: "spec.gatewayClassName",
                    "GatewayClass \(found.object.name): \(finding.text)"))
        }
        if let finding = parameters.refusal(of: entry) { gateway.rejected.append(finding) }
        gateway.parameters = parameters.parameters(of: entry, class: `class`)
        gateway.picker = parameters.picker(of: entry, class: `class`)
        gateway.sessionKeys = parameters.sessionKeys(of: entry, class: `class`)
        resolveAddresses(&gateway)
        if let ref = spec.tls?.backend?.clientCertificateRef {
            resolveClientCertificate(ref, &gateway)
        }
        let start = listeners.count
        let frontend = FrontendResolver(
            config: spec.tls?.frontend, gateway: gateway.name, certificates: certificates)
        append(
            spec.listeners,
            ListenerResolver(
                gateway: gateways.count, namespace: gateway.name.namespace,
                source: source(of: gateway), frontend: frontend, certificates: certificates))
        gateway.ownListeners = start..<listeners.count
        appendSets(of: gateway, frontend)
        gateway.listeners = start..<listeners.count
        if let infrastructure = spec.infrastructure { noteMetadata(infrastructure, &gateway) }
        gateway.insecureModes = frontend.insecureModes
        gateway.warnings += gateway.insecureModes + frontend.gaps(listeners[gateway.listeners])
        gateways.append(gateway)
    }

    /// Nothing is created for a Gateway that could carry what is said for such objects.
    private func noteMetadata(
        _ infrastructure: GatewayInfrastructure, _ gateway: inout ResolvedGateway
    ) {
        let fields = [
            ("labels", infrastructure.labels), ("annotations", infrastructure.annotations),
        ]
        for (field, values) in fields where !(values ?? [:]).isEmpty {
            gateway.warnings.append(
                Finding(
                    "NotPropagated", at: "spec.infrastructure.\(field)",
                    "no objects are created for a Gateway, so nothing carries its \(field)"))
        }
    }

    private mutating func append(_ declared: [Listener], _ resolver: ListenerResolver) {
        for number in declared.indices {
            listeners.append(resolver.listener(declared[number], at: "spec.listeners[\(number)]"))
        }
    }

    // MARK: - ListenerSets

    /// The listeners of the sets that name a Gateway, from the oldest set on.
    private mutating func appendSets(of gateway: ResolvedGateway, _ frontend: FrontendResolver) {
        for position in setsByGateway[gateway.name] ?? [] {
            let set = sets[position].entry
            sets[position].gateway = gateways.count
            if let refusal = refusal(of: set, by: gateway) {
                sets[position].rejected = refusal
                continue
            }
            let start = listeners.count
            append(
                set.resource.spec.listeners,
                ListenerResolver(
                    gateway: gateways.count, set: set.name, namespace: set.name.namespace,
                    source: Grants.Source(
                        group: Groups.gateway, kind: ListenerSet.kind,
                        namespace: set.name.namespace),
                    frontend: frontend, certificates: certificates))
            sets[position].listeners = start..<listeners.count
        }
    }

    /// Why a Gateway takes no listener of a set; nil when it does.
    private func refusal(
        of set: Entry<ListenerSet>, by gateway: ResolvedGateway
    ) -> Finding? {
        let allowed = gateway.entry.resource.spec.allowedListeners?.namespaces
        let namespace = set.name.namespace
        let takes: Bool
        switch allowed?.from ?? .none {
        case .all: takes = true
        case .same: takes = namespace == gateway.name.namespace
        case .selector:
            takes = allowed?.selector.map { index.selects($0, namespace: namespace) } ?? false
        default: takes = false
        }
        if !takes {
            return Finding(
                "NotAllowed", at: "spec.parentRef",
                "Gateway \(gateway.name) takes no ListenerSets from namespace \(namespace); see "
                    + "its allowedListeners")
        }
        guard !gateway.rejected.isEmpty else { return nil }
        return Finding(
            "ParentNotAccepted", at: "spec.parentRef",
            "Gateway \(gateway.name) is not accepted: \(Finding.text(gateway.rejected))")
    }

    private func missingGateway(of set: Entry<ListenerSet>) -> Finding? {
        let ref = set.resource.spec.parentRef
        guard ref.isGateway else {
            return Finding(
                "Invalid", at: "spec.parentRef.kind",
                "a ListenerSet adds to a Gateway, not to a \(ref.kind ?? Gateway.kind)")
        }
        let name = ref.gatewayName(in: set.name.namespace)
        if foreign.contains(where: { $0.name == name }) { return nil }
        return Finding(
            "ParentNotAccepted", at: "spec.parentRef.name",
            "Gateway \(name) \(index.absence(of: Gateway.kind, name))")
    }

    // MARK: - Addresses

    private func resolveAddresses(_ gateway: inout ResolvedGateway) {
        let own = gateway.entry.resource.spec.addresses ?? []
        var addresses: [String?] = []
        for (number, address) in own.enumerated() {
            let path = "spec.addresses[\(number)]"
            let type = address.type ?? .ipAddress
            guard type == .ipAddress else {
                gateway.rejected.append(
                    Finding(
                        "UnsupportedAddress", at: path + ".type",
                        "\(type) is not supported; use IPAddress"))
                continue
            }
            guard let value = address.value, !value.isEmpty else {
                addresses += defaultAddresses
                continue
            }
            guard let parsed = SocketAddress(value, port: 0) else {
                gateway.unusable.append(
                    Finding(
                        "AddressNotUsable", at: path + ".value",
                        "\"\(value)\" is not an IP address"))
                continue
            }
            let text = parsed.isAny ? nil : parsed.hostDescription
            if let text, isForeign(text, parsed) {
                gateway.unusable.append(
                    Finding(
                        "AddressNotUsable", at: path + ".value",
                        "\(text) is not an address of this machine"))
            }
            addresses.append(text)
        }
        if own.isEmpty { addresses = defaultAddresses }
        var seen: Set<String?> = []
        gateway.addresses = addresses.filter { seen.insert($0).inserted }
    }

    private var defaultAddresses: [String?] {
        placement.addresses.isEmpty ? [nil] : placement.addresses.map { $0 }
    }

    /// Whether the machine is known not to have an address.
    private func isForeign(_ text: String, _ address: SocketAddress) -> Bool {
        guard let local = observations?.localAddresses, !address.isLoopback else { return false }
        return !local.contains(text)
    }

    private func resolveClientCertificate(
        _ ref: SecretObjectReference, _ gateway: inout ResolvedGateway
    ) {
        let path = "spec.tls.backend.clientCertificateRef"
        let outcome = certificates.certificate(
            ref, from: source(of: gateway), at: path, reason: "InvalidClientCertificateRef")
        switch outcome {
        case .refused(let finding): gateway.unresolved.append(finding)
        case .material(let material, _): gateway.clientCertificate = material
        }
    }

    private func source(of gateway: ResolvedGateway) -> Grants.Source {
        Grants.Source(
            group: Groups.gateway, kind: Gateway.kind, namespace: gateway.name.namespace)
    }
}
