/// Finds out what the listeners of a Gateway, or of one of its ListenerSets, can serve.
struct ListenerResolver {
    /// In `Resolution.gateways`.
    let gateway: Int
    /// The ListenerSet that they stand in; nil for the Gateway's own.
    var set: NamespacedName?
    /// What `Same` means in `allowedRoutes`.
    let namespace: String
    /// Who refers to the certificates.
    let source: Grants.Source
    /// What the Gateway asks of clients' certificates.
    let frontend: FrontendResolver
    let certificates: CertificateResolver

    /// The listener that stands at a path of its document.
    func listener(_ declared: Listener, at path: String) -> ResolvedListener {
        let hostname = declared.hostname.flatMap { $0.isEmpty ? nil : $0.lowercased() }
        var listener = ResolvedListener(
            gateway: gateway, listenerSet: set, namespace: namespace, name: declared.name,
            hostname: hostname,
            port: UInt16(clamping: declared.port), protocol: declared.protocol.canonical,
            isPassthrough: declared.tls?.mode == .passthrough,
            path: path, allowedRoutes: declared.allowedRoutes)
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
        if listener.isTLS { resolveTLS(declared.tls, &listener) }
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

    private func resolveTLS(_ tls: ListenerTLSConfig?, _ listener: inout ResolvedListener) {
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
        for (number, ref) in refs.enumerated() {
            let outcome = certificates.certificate(
                ref, from: source, at: path + ".certificateRefs[\(number)]")
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
            listener.notes.append(
                "no certificate is for \(hostname), only for \(names); clients will refuse it")
        }
        resolveClients(&listener)
    }

    /// Has clients asked for certificates as the Gateway says, on HTTPS listeners.
    private func resolveClients(_ listener: inout ResolvedListener) {
        guard listener.protocol == .https, let outcome = frontend.outcome(onPort: listener.port)
        else { return }
        listener.clientValidation = outcome.validation
        listener.notes += outcome.notes
        for finding in outcome.unresolved { listener.unresolved.append(placed(finding, listener)) }
        if let finding = outcome.rejected { listener.rejected.append(placed(finding, listener)) }
    }

    /// What is wrong in the Gateway, as it is told of a ListenerSet's listener.
    private func placed(_ finding: Finding, _ listener: ResolvedListener) -> Finding {
        if set == nil { return finding }
        return Finding(
            finding.reason, at: listener.path, "Gateway \(frontend.gateway): \(finding.text)")
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
}
