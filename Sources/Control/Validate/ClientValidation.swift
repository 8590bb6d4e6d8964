/// What a listener asks of its clients' certificates (`spec.tls.frontend` of its Gateway).
public struct ClientValidation: Hashable, Sendable {
    /// Who holds the CA certificates: `ConfigMap ai/ca`.
    let sources: [String]
    /// The CA certificates in PEM form; never empty.
    let authorities: [UInt8]
    /// A client without a good certificate is refused; else it is asked for one and let in all the same.
    let isRequired: Bool

    /// Whether all clients that `old` let in are let in by `new`; nil asks for nothing.
    static func admits(_ new: ClientValidation?, allOf old: ClientValidation?) -> Bool {
        guard let new, new.isRequired else { return true }
        guard let old, old.isRequired else { return false }
        return new.authorities == old.authorities || new.anchors.isSuperset(of: old.anchors)
    }

    private var anchors: Set<[UInt8]> {
        Set(PEM.blocks(authorities).filter { $0.label == "CERTIFICATE" }.map(\.contents))
    }

    /// As a part of a sentence, for people.
    var words: String {
        let holders = sentenceList(sources, "and")
        return isRequired
            ? "the client must show a certificate of a CA in \(holders)"
            : "the client is asked for a certificate of a CA in \(holders), and let in whatever it shows"
    }
}

/// Finds out what a Gateway's listeners ask of their clients' certificates.
struct FrontendResolver {
    let config: FrontendTLSConfig?
    /// Who refers to the CA certificates.
    let gateway: NamespacedName
    let certificates: CertificateResolver

    /// What holds for the HTTPS listeners of one port.
    struct Outcome {
        var validation: ClientValidation?
        /// References that do not resolve.
        var unresolved: [Finding] = []
        /// Why nobody can be let in: no reference resolves.
        var rejected: Finding?
        var notes: [String] = []
    }

    /// The validation that applies to a port, with its path; nil where none does.
    private func declared(onPort port: UInt16) -> (validation: FrontendTLSValidation, path: String)?
    {
        guard let config else { return nil }
        let ports = config.perPort ?? []
        if let number = ports.firstIndex(where: { $0.port == Int(port) }) {
            return ports[number].tls.validation.map {
                ($0, "spec.tls.frontend.perPort[\(number)].tls.validation")
            }
        }
        return config.default.validation.map { ($0, "spec.tls.frontend.default.validation") }
    }

    /// What holds for the HTTPS listeners of a port; nil where clients are not asked.
    func outcome(onPort port: UInt16) -> Outcome? {
        guard let (validation, path) = declared(onPort: port) else { return nil }
        let source = Grants.Source(
            group: Groups.gateway, kind: Gateway.kind, namespace: gateway.namespace)
        var outcome = Outcome()
        var sources: [String] = []
        var authorities: [UInt8] = []
        for (number, ref) in validation.caCertificateRefs.enumerated() {
            let at = path + ".caCertificateRefs[\(number)]"
            switch certificates.frontendAuthorities(ref, from: source, at: at) {
            case .refused(let finding): outcome.unresolved.append(finding)
            case .found(let holder, let bytes, let note):
                if !note.isEmpty { outcome.notes.append(note) }
                guard !sources.contains(holder) else { continue }
                sources.append(holder)
                authorities += bytes + [UInt8(ascii: "\n")]
            }
        }
        if sources.isEmpty {
            outcome.rejected = Finding(
                "NoValidCACertificate", at: path + ".caCertificateRefs",
                "there is no CA certificate to check clients' by; the listener stays closed rather "
                    + "than open to all")
        } else {
            outcome.validation = ClientValidation(
                sources: sources, authorities: authorities,
                isRequired: validation.mode != .allowInsecureFallback)
        }
        return outcome
    }

    /// Where clients are let in whatever they show.
    var insecureModes: [Finding] {
        guard let config else { return [] }
        var all = [(config.default.validation, "default.validation")]
        for (number, entry) in (config.perPort ?? []).enumerated() {
            all.append((entry.tls.validation, "perPort[\(number)].tls.validation"))
        }
        return all.filter { $0.0?.mode == .allowInsecureFallback }.map {
            Finding(
                "InsecureFrontendValidationMode", at: "spec.tls.frontend.\($0.1).mode",
                "AllowInsecureFallback lets clients in without a certificate, or with a bad one; "
                    + "backends must tell them apart themselves")
        }
    }

    /// Where clients are not checked although it may look so.
    func gaps(_ listeners: some Sequence<ResolvedListener>) -> [Finding] {
        guard let config else { return [] }
        var findings: [Finding] = []
        for (number, entry) in (config.perPort ?? []).enumerated()
        where !listeners.contains(where: { $0.protocol == .https && Int($0.port) == entry.port }) {
            findings.append(
                Finding(
                    "NoMatchingListener", at: "spec.tls.frontend.perPort[\(number)].port",
                    "no HTTPS listener has port \(entry.port), so nothing is checked by this entry")
            )
        }
        for listener in listeners
        where listener.protocol == .tls && listener.terminatesTLS && listener.listenerSet == nil
            && declared(onPort: listener.port) != nil
        {
            findings.append(
                Finding(
                    "NotValidated", at: listener.path + ".protocol",
                    "clients' certificates are checked on HTTPS listeners only; this one lets all in"
                ))
        }
        return findings
    }
}

extension CertificateResolver {
    enum Authorities {
        /// Who holds them, the bytes, and what is worth knowing about them, or nothing.
        case found(String, [UInt8], note: String)
        case refused(Finding)
    }

    /// CA certificates under `ca.crt` of a ConfigMap or Secret, perhaps of another namespace.
    func frontendAuthorities(
        _ ref: ObjectReferenceField, from source: Grants.Source, at path: String
    ) -> Authorities {
        guard ref.group == Groups.core, ["ConfigMap", "Secret"].contains(ref.kind) else {
            let kind = ref.group.isEmpty ? ref.kind : "\(ref.kind) of group \(ref.group)"
            return .refused(
                Finding(
                    "InvalidCACertificateKind", at: path + ".kind",
                    "\(kind) cannot hold CA certificates; use a ConfigMap or a Secret"))
        }
        let name = NamespacedName(ref.namespace ?? source.namespace, ref.name)
        guard index.grants.permit(source, group: Groups.core, kind: ref.kind, name) else {
            return .refused(Grants.refusal(source, kind: ref.kind, name, at: path))
        }
        let holder = "\(ref.kind) \(name)"
        func refuse(_ message: String) -> Authorities {
            .refused(Finding("InvalidCACertificateRef", at: path, "\(holder)\(message)"))
        }
        let object =
            ref.kind == "ConfigMap"
            ? index.configMaps[name]?.object : index.secrets[name]?.object
        guard let object else {
            let hint = didYouMean(name.name, among: index.names(of: ref.kind, in: name.namespace))
            return refuse(" does not exist\(hint)")
        }
        guard let bytes = AuthorityHolder.authorities(of: object) else {
            return refuse(" has no value ca.crt")
        }
        if let refusal = PEM.refusalOfCertificates(bytes) { return refuse(": ca.crt \(refusal)") }
        guard let seen = knownAuthorities[AuthorityHolder(object)], seen.digest == object.digest
        else {
            return .found(holder, bytes, note: "")
        }
        switch seen.outcome {
        case .unusable(let message): return refuse(": \(message)")
        case .usable(_, let notBefore, let notAfter):
            return .found(
                holder, bytes, note: validity(ofAuthoritiesIn: holder, notBefore, notAfter))
        }
    }

    private func validity(
        ofAuthoritiesIn holder: String, _ notBefore: Int64, _ notAfter: Int64
    ) -> String {
        guard let now else { return "" }
        if now > notAfter {
            return
                "the CA certificates of \(holder) ended on \(UTC.text(notAfter)): no client is let in by them"
        }
        if now < notBefore {
            return "the CA certificates of \(holder) begin on \(UTC.text(notBefore))"
        }
        return ""
    }
}
