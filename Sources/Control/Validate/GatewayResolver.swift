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
    /// Gateways that another controller serves.
    private(set) var foreign: [Entry<Gateway>] = []

    init(_ index: DocumentIndex, placement: Placement, observations: Observations?) {
        self.index = index
        self.placement = placement
        self.observations = observations
        certificates = CertificateResolver(index, observations)
        parameters = ParametersResolver(index: index)
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
        resolveAddresses(&gateway)
        if let ref = spec.tls?.backend?.clientCertificateRef {
            resolveClientCertificate(ref, &gateway)
        }
        let start = listeners.count
        for number in spec.listeners.indices {
            listeners.append(listener(number, of: gateway, at: gateways.count))
        }
        gateway.listeners = start..<listeners.count
        gateways.append(gateway)
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
        case .material:
            gateway.unresolved.append(
                Finding(
                    "InvalidClientCertificateRef", at: path,
                    "client certificates for backends are not supported yet"))
        }
    }

    private func source(of gateway: ResolvedGateway) -> Grants.Source {
        Grants.Source(
            group: Groups.gateway, kind: Gateway.kind, namespace: gateway.name.namespace)
    }

    // MARK: - Listeners

    private func listener(
        _ number: Int, of gateway: ResolvedGateway, at position: Int
    ) -> ResolvedListener {
        let declared = gateway.entry.resource.spec.listeners[number]
        let hostname = declared.hostname.flatMap { $0.isEmpty ? nil : $0.lowercased() }
        var listener = ResolvedListener(
            gateway: position, name: declared.name, hostname: hostname,
            port: UInt16(clamping: declared.port), protocol: declared.protocol.canonical,
            isPassthrough: declared.tls?.mode == .passthrough,
            path: "spec.listeners[\(number)]", allowedRoutes: declared.allowedRoutes)
        if !listener.protocol.isKnown {
            let names = ProtocolType.known.map(\.rawValue)
            listener.rejected.append(
                Finding(
                    "UnsupportedProtocol", at: listener.path + ".protocol",
                    "\"\(declared.protocol)\" is not a protocol that is served"
                        + didYouMean(declared.protocol.rawValue, among: names)))
        }
        resolveKinds(&listener)
        resolveNamespaces(&listener)
        if listener.isTLS { resolveTLS(declared.tls, &listener, gateway) }
        return listener
    }

    private func resolveKinds(_ listener: inout ResolvedListener) {
        let fitting = RouteKind.fitting(listener.protocol).map(\.groupKind)
        guard let kinds = listener.allowedRoutes?.kinds, !kinds.isEmpty else {
            listener.supportedKinds = fitting
            return
        }
        for (number, kind) in kinds.enumerated() {
            let full = RouteGroupKind(group: kind.effectiveGroup, kind: kind.kind)
            if fitting.contains(full) {
                if !listener.supportedKinds.contains(full) { listener.supportedKinds.append(full) }
                continue
            }
            listener.unresolved.append(
                Finding(
                    "InvalidRouteKinds", at: listener.path + ".allowedRoutes.kinds[\(number)]",
                    refusal(of: full, listener)))
        }
    }

    private func refusal(of kind: RouteGroupKind, _ listener: ResolvedListener) -> String {
        let names = RouteKind.allCases.map(\.rawValue)
        if kind.group == Groups.gateway, names.contains(kind.kind) {
            return "\(kind.kind) does not fit protocol \(listener.protocol)"
        }
        return "\(kind.kind) is not a kind of route" + didYouMean(kind.kind, among: names)
    }

    private func resolveNamespaces(_ listener: inout ResolvedListener) {
        guard let namespaces = listener.allowedRoutes?.namespaces else { return }
        let path = listener.path + ".allowedRoutes.namespaces"
        let from = namespaces.from ?? .same
        if !from.isKnown {
            let hint = didYouMean(from.rawValue, among: FromNamespaces.known.map(\.rawValue))
            listener.rejected.append(
                Finding(
                    "UnsupportedValue", at: path + ".from",
                    "\"\(from)\" is not All, Same or Selector\(hint)"))
        }
        if from == .selector, namespaces.selector == nil {
            listener.rejected.append(
                Finding("UnsupportedValue", at: path + ".selector", "is required by from: Selector")
            )
        }
        for (number, requirement) in (namespaces.selector?.matchExpressions ?? []).enumerated()
        where !requirement.operator.isKnown {
            listener.rejected.append(
                Finding(
                    "UnsupportedValue",
                    at: path + ".selector.matchExpressions[\(number)].operator",
                    "\"\(requirement.operator)\" is not In, NotIn, Exists or DoesNotExist"))
        }
    }

    private func resolveTLS(
        _ tls: ListenerTLSConfig?, _ listener: inout ResolvedListener, _ gateway: ResolvedGateway
    ) {
        let path = listener.path + ".tls"
        if let mode = tls?.mode, !mode.isKnown {
            listener.rejected.append(
                Finding(
                    "UnsupportedValue", at: path + ".mode",
                    "\"\(mode)\" is not Terminate or Passthrough"))
        }
        if listener.isPassthrough { return }
        guard let tls, let refs = tls.certificateRefs, !refs.isEmpty else {
            listener.unresolved.append(
                Finding(
                    "InvalidCertificateRef", at: path + ".certificateRefs",
                    "protocol \(listener.protocol) needs a certificate"))
            return
        }
        if let option = (tls.options ?? [:]).keys.sorted().first {
            listener.rejected.append(
                Finding(
                    "UnsupportedValue", at: path + ".options",
                    "\"\(option)\" is not an option of this gateway"))
        }
        if listener.protocol == .https,
            let path = frontendValidation(on: listener.port, gateway.entry.resource.spec)
        {
            listener.rejected.append(
                Finding(
                    "UnsupportedValue", at: path,
                    "checking clients' certificates is not supported yet; the listener stays "
                        + "closed rather than open to all"))
        }
        for (number, ref) in refs.enumerated() {
            let outcome = certificates.certificate(
                ref, from: source(of: gateway), at: path + ".certificateRefs[\(number)]")
            switch outcome {
            case .refused(let finding): listener.unresolved.append(finding)
            case .material(let material, let note):
                listener.certificates.append(material)
                if !note.isEmpty { listener.notes.append(note) }
            }
        }
        if let hostname = listener.hostname, listener.unresolved.isEmpty,
            listener.certificates.allSatisfy({ Self.isForOthers($0.names, than: hostname) })
        {
            let names = listener.certificates.flatMap(\.names).joined(separator: ", ")
            listener.notes.append("no certificate is for \(hostname), only for \(names); clients will refuse it")
        }
    }

    /// Whether certificates of these names, which are known, are of no use for a hostname.
    private static func isForOthers(_ names: [String], than hostname: String) -> Bool {
        !names.isEmpty
            && !names.contains { name in
                // In a certificate a wildcard stands for one label (RFC 9525 §6.3).
                name == hostname
                    || (Hostnames.isWildcard(name)
                        && hostname.drop { $0 != "." }.elementsEqual(name.dropFirst()))
                    || (Hostnames.isWildcard(hostname) && Hostnames.overlap(name, hostname))
            }
    }

    /// Where clients' certificates are asked for on a port, or nil.
    private func frontendValidation(on port: UInt16, _ spec: GatewaySpec) -> String? {
        guard let frontend = spec.tls?.frontend else { return nil }
        let ports = frontend.perPort ?? []
        if let number = ports.firstIndex(where: { $0.port == Int(port) }) {
            return ports[number].tls.validation == nil
                ? nil : "spec.tls.frontend.perPort[\(number)].tls.validation"
        }
        return frontend.default.validation == nil ? nil : "spec.tls.frontend.default.validation"
    }
}
