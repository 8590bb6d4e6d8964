import TLS

/// A BackendTLSPolicy with what was found about it.
struct ResolvedTLSPolicy: Sendable {
    /// One of its `targetRefs`.
    struct Target: Sendable {
        /// Nil for what is no Service.
        let service: NamespacedName?
        /// As people name it: `port "https" of Service ai/web`.
        let title: String
        /// Why the policy does not hold there; nil when it does.
        var refusal: Finding?
    }

    let entry: Entry<BackendTLSPolicy>
    /// By position in `targetRefs`.
    var targets: [Target] = []
    /// Why no server can be trusted by it; empty when one can.
    var rejected: [Finding] = []
    /// References that do not resolve; the others are used.
    var unresolved: [Finding] = []
    /// How its targets are spoken to; nil: not at all.
    var tls: ClusterBlueprint.TLS?

    var name: NamespacedName { entry.name }

    /// How its targets are spoken to, with the protocols that ALPN offers.
    func sealing(offering protocols: [String]) -> ClusterBlueprint.TLS? {
        var sealing = tls
        sealing?.applicationProtocols = protocols
        return sealing
    }

    /// Why nothing is sent to one of its targets.
    func closing(_ place: String) -> String {
        "BackendTLSPolicy \(name) cannot be used, so nothing is sent to \(place): "
            + Finding.text(rejected)
    }
}

/// Which BackendTLSPolicy holds for which port of a Service.
///
/// A policy that names the port comes before one of the whole Service. Of two for the same place
/// the older one holds, also when nothing can be trusted by it: then the place is closed.
struct TLSPolicies: Sendable {
    /// Those that were admitted, in the order of the documents.
    var admitted: ArraySlice<ResolvedTLSPolicy> { policies[..<admittedCount] }

    /// Those that are not used, which only close their targets.
    var refused: ArraySlice<ResolvedTLSPolicy> { policies[admittedCount...] }

    private struct Place: Hashable {
        let service: NamespacedName
        /// The name of a port; nil for the whole Service.
        let section: String?
    }

    private var policies: [ResolvedTLSPolicy] = []
    private var admittedCount = 0
    /// Into `policies`.
    private var holders: [Place: Int] = [:]

    init() {}

    init(_ documents: DocumentSet, _ index: DocumentIndex) {
        var reader = TLSPolicyReader(index)
        for object in documents.objects where object.kind == BackendTLSPolicy.kind {
            guard let resource = object.resource as? BackendTLSPolicy else { continue }
            policies.append(reader.read(Entry(object: object, resource: resource)))
        }
        admittedCount = policies.count
        for refused in documents.refusedPolicies {
            guard let resource = refused.object.resource as? BackendTLSPolicy else { continue }
            var policy = reader.read(Entry(object: refused.object, resource: resource))
            policy.tls = nil
            policy.rejected = [Finding("Invalid", refused.cause)]
            policies.append(policy)
        }
        let names = Set(admitted.map(\.name))
        // Of one name the one that is used comes first, whatever the others say of their age.
        let spare = policies.indices[admittedCount...].filter { names.contains(policies[$0].name) }
        let others = policies.indices.filter { !spare.contains($0) }
        for number in inOrderOfAge(others) + inOrderOfAge(spare) { claim(number) }
    }

    /// The policy that holds for a port; nil: what passes there is not sealed.
    func policy(of service: NamespacedName, _ port: ServicePort) -> ResolvedTLSPolicy? {
        if let name = port.name, let number = holders[Place(service: service, section: name)] {
            return policies[number]
        }
        return holders[Place(service: service, section: nil)].map { policies[$0] }
    }

    private func inOrderOfAge(_ numbers: [Int]) -> [Int] {
        numbers.sorted { policies[$0].entry.object.isOlder(than: policies[$1].entry.object) }
    }

    private mutating func claim(_ number: Int) {
        let refs = policies[number].entry.resource.spec.targetRefs
        for (position, target) in policies[number].targets.enumerated() {
            guard target.refusal == nil, let service = target.service else { continue }
            let place = Place(service: service, section: refs[position].sectionName)
            guard let holder = holders[place] else {
                holders[place] = number
                continue
            }
            policies[number].targets[position].refusal = Finding(
                "Conflicted", at: "spec.targetRefs[\(position)]",
                "BackendTLSPolicy \(policies[holder].name) comes first and holds for \(target.title)"
            )
        }
    }
}

/// Reads policies one by one; each object with CA certificates is looked into once.
private struct TLSPolicyReader {
    private let index: DocumentIndex
    private let certificates: CertificateResolver
    /// Whether the library takes the certificates of an object, by kind and name.
    private var known: [ObjectReference: Bool] = [:]

    init(_ index: DocumentIndex) {
        self.index = index
        certificates = CertificateResolver(index, nil)
    }

    mutating func read(_ entry: Entry<BackendTLSPolicy>) -> ResolvedTLSPolicy {
        var policy = ResolvedTLSPolicy(entry: entry)
        for (position, ref) in entry.resource.spec.targetRefs.enumerated() {
            policy.targets.append(
                target(ref, in: entry.name.namespace, at: "spec.targetRefs[\(position)]"))
        }
        let validation = entry.resource.spec.validation
        let path = "spec.validation.caCertificateRefs"
        let refs = validation.caCertificateRefs ?? []
        var trusted: [UInt8] = []
        for (position, ref) in refs.enumerated() {
            switch authorities(ref, in: entry.name.namespace, at: "\(path)[\(position)]") {
            case .success(let bytes): trusted += bytes + [10]
            case .failure(let error): policy.unresolved.append(error.finding)
            }
        }
        if !refs.isEmpty {
            if trusted.isEmpty {
                policy.rejected.append(
                    Finding(
                        "NoValidCACertificate", at: path,
                        "there is no CA certificate to trust"))
            }
        } else if validation.wellKnownCACertificates != "System" {
            policy.rejected.append(
                Finding(
                    "Invalid", at: "spec.validation.wellKnownCACertificates",
                    "\"\(validation.wellKnownCACertificates ?? "")\" is not known; use System"))
        }
        guard policy.rejected.isEmpty else { return policy }
        policy.tls = ClusterBlueprint.TLS(
            serverName: validation.hostname, authorities: trusted, applicationProtocols: [],
            subjectNames: (validation.subjectAltNames ?? []).map { name in
                name.type == "URI" ? .uri(name.uri ?? "") : .host(name.hostname ?? "")
            })
        return policy
    }

    private func target(
        _ ref: LocalPolicyTargetReference, in namespace: String, at path: String
    ) -> ResolvedTLSPolicy.Target {
        func make(
            _ service: NamespacedName?, _ title: String, _ refusal: String? = nil
        ) -> ResolvedTLSPolicy.Target {
            ResolvedTLSPolicy.Target(
                service: service, title: title,
                refusal: refusal.map { Finding("TargetNotFound", at: path, $0) })
        }
        guard ref.group == Groups.core, ref.kind == Service.kind else {
            return make(nil, ref.kind, "\(ref.kind) is not a target; use Service")
        }
        let name = NamespacedName(namespace, ref.name)
        guard let service = index.services[name] else {
            let hint = didYouMean(ref.name, among: index.names(of: Service.kind, in: namespace))
            return make(name, "Service \(name)", "Service \(name) does not exist\(hint)")
        }
        guard let section = ref.sectionName else { return make(name, "Service \(name)") }
        let names = (service.resource.spec.ports ?? []).compactMap(\.name)
        let title = "port \"\(section)\" of Service \(name)"
        if names.contains(section) { return make(name, title) }
        return make(
            name, title,
            "Service \(name) has no port called \"\(section)\""
                + didYouMean(section, among: names))
    }

    /// The CA certificates of one reference, which the library must be able to read.
    private mutating func authorities(
        _ ref: LocalObjectReference, in namespace: String, at path: String
    ) -> Result<[UInt8], FindingError> {
        let outcome = certificates.authorities(
            CACertificateReference(group: ref.group, kind: ref.kind, name: ref.name),
            in: namespace, at: path)
        guard case .success(let bytes) = outcome else { return outcome }
        let object = ObjectReference(kind: ref.kind, namespace: namespace, name: ref.name)
        let isReadable = known[object] ?? Self.isReadable(bytes)
        known[object] = isReadable
        if isReadable { return outcome }
        return .failure(
            FindingError(
                Finding(
                    "InvalidCACertificateRef", at: path,
                    "\(object): the TLS library cannot read a certificate of ca.crt")))
    }

    private static func isReadable(_ bytes: [UInt8]) -> Bool {
        (try? TLSClientConfiguration(trust: .certificates(bytes))) != nil
    }
}
