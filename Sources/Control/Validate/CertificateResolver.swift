/// A certificate chain and key of a Secret, as listeners use them.
public struct CertificateMaterial: Hashable, Sendable {
    /// The Secret.
    public let secret: NamespacedName
    /// `LocatedObject.digest` of the Secret: another one means other bytes.
    public let digest: UInt64
    /// Leaf first.
    public let chainPEM: [UInt8]
    public let keyPEM: [UInt8]
    /// The names it is good for, when the certificate was read.
    let names: [String]

    public static func == (a: CertificateMaterial, b: CertificateMaterial) -> Bool {
        a.secret == b.secret && a.digest == b.digest
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(secret)
        hasher.combine(digest)
    }
}

/// Follows references to certificates.
struct CertificateResolver {
    let index: DocumentIndex
    /// What was read of each Secret.
    let known: [NamespacedName: CertificateObservation]
    /// What was read of CA certificates.
    let knownAuthorities: [AuthorityHolder: CertificateObservation]
    /// Seconds since 1970; nil where time is not told.
    let now: Int64?

    init(_ index: DocumentIndex, _ observations: Observations?) {
        self.index = index
        known = observations?.certificates ?? [:]
        knownAuthorities = observations?.authorities ?? [:]
        now = observations?.today
    }

    enum Outcome {
        /// The note says what is worth knowing about a certificate that works, or is empty.
        case material(CertificateMaterial, note: String)
        case refused(Finding)
    }

    /// A certificate with its key, referred to from an object of one kind in one namespace.
    func certificate(
        _ ref: SecretObjectReference, from source: Grants.Source, at path: String,
        reason: String = "InvalidCertificateRef"
    ) -> Outcome {
        guard ref.effectiveGroup == Groups.core, ref.effectiveKind == "Secret" else {
            let kind =
                ref.effectiveGroup.isEmpty
                ? ref.effectiveKind : "\(ref.effectiveKind) of group \(ref.effectiveGroup)"
            return .refused(
                Finding(reason, at: path, "\(kind) cannot hold a certificate; use a Secret"))
        }
        let name = NamespacedName(ref.namespace ?? source.namespace, ref.name)
        guard index.grants.permit(source, group: Groups.core, kind: "Secret", name) else {
            return .refused(Grants.refusal(source, kind: "Secret", name, at: path))
        }
        guard let secret = index.secrets[name] else {
            let hint = didYouMean(
                name.name, among: index.names(of: "Secret", in: name.namespace))
            return .refused(Finding(reason, at: path, "Secret \(name) does not exist\(hint)"))
        }
        return material(of: secret, at: path, reason: reason)
    }

    private func material(of secret: Entry<Secret>, at path: String, reason: String) -> Outcome {
        func refuse(_ message: String) -> Outcome {
            .refused(Finding(reason, at: path, "Secret \(secret.name): \(message)"))
        }
        guard let chain = secret.resource.bytes(of: "tls.crt") else {
            return refuse("has no value tls.crt")
        }
        guard let key = secret.resource.bytes(of: "tls.key") else {
            return refuse("has no value tls.key")
        }
        if let refusal = PEM.refusalOfCertificates(chain) { return refuse("tls.crt \(refusal)") }
        if let refusal = PEM.refusalOfKey(key) { return refuse("tls.key \(refusal)") }
        var names: [String] = []
        var note = ""
        if let seen = known[secret.name], seen.digest == secret.object.digest {
            switch seen.outcome {
            case .unusable(let message): return refuse(message)
            case .usable(let found, let notBefore, let notAfter):
                names = found
                note = validity(of: secret.name, notBefore, notAfter)
            }
        }
        return .material(
            CertificateMaterial(
                secret: secret.name, digest: secret.object.digest, chainPEM: chain, keyPEM: key,
                names: names), note: note)
    }

    private func validity(
        of secret: NamespacedName, _ notBefore: Int64, _ notAfter: Int64
    ) -> String {
        guard let now else { return "" }
        if now > notAfter {
            return "the certificate of Secret \(secret) ended on \(UTC.text(notAfter))"
        }
        if now < notBefore {
            return "the certificate of Secret \(secret) begins on \(UTC.text(notBefore))"
        }
        return ""
    }

    /// CA certificates under `ca.crt` of a ConfigMap or Secret of the same namespace.
    func authorities(
        _ ref: CACertificateReference, in namespace: String, at path: String
    ) -> Result<[UInt8], FindingError> {
        let name = NamespacedName(namespace, ref.name)
        let kind = ref.kind ?? "ConfigMap"
        func refuse(_ message: String) -> Result<[UInt8], FindingError> {
            .failure(FindingError(Finding("InvalidCACertificateRef", at: path, message)))
        }
        let bytes: [UInt8]?
        switch (ref.group ?? Groups.core, kind) {
        case (Groups.core, "ConfigMap"):
            guard let map = index.configMaps[name] else { return missing(kind, name, path) }
            bytes = map.resource.bytes(of: "ca.crt")
        case (Groups.core, "Secret"):
            guard let secret = index.secrets[name] else { return missing(kind, name, path) }
            bytes = secret.resource.bytes(of: "ca.crt")
        default:
            return .failure(
                FindingError(
                    Finding(
                        "InvalidKind", at: path,
                        "\(kind) cannot hold CA certificates; use a ConfigMap or a Secret")))
        }
        guard let bytes else { return refuse("\(kind) \(name) has no value ca.crt") }
        if let refusal = PEM.refusalOfCertificates(bytes) {
            return refuse("\(kind) \(name): ca.crt \(refusal)")
        }
        return .success(bytes)
    }

    private func missing(
        _ kind: String, _ name: NamespacedName, _ path: String
    ) -> Result<[UInt8], FindingError> {
        let hint = didYouMean(name.name, among: index.names(of: kind, in: name.namespace))
        return .failure(
            FindingError(
                Finding(
                    "InvalidCACertificateRef", at: path, "\(kind) \(name) does not exist\(hint)")))
    }
}

/// A finding that ends a step.
struct FindingError: Error {
    let finding: Finding

    init(_ finding: Finding) {
        self.finding = finding
    }
}
