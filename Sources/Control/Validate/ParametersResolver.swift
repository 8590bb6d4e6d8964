import Routing
import Runtime
import TLS

/// Finds the parameters of Gateways: their class's, and over them their own.
struct ParametersResolver {
    let index: DocumentIndex

    /// What is wrong with a class's reference; nil when nothing is.
    func refusal(ofClass entry: Entry<GatewayClass>) -> Finding? {
        guard let ref = entry.resource.spec.parametersRef else { return nil }
        let path = "spec.parametersRef"
        guard let namespace = ref.namespace else {
            return Finding("InvalidParameters", at: path, "needs a namespace")
        }
        return refusal(
            group: ref.group, kind: ref.kind, NamespacedName(namespace, ref.name), at: path)
    }

    /// What is wrong with a Gateway's reference; nil when nothing is.
    func refusal(of gateway: Entry<Gateway>) -> Finding? {
        guard let ref = gateway.resource.spec.infrastructure?.parametersRef else { return nil }
        return refusal(
            group: ref.group, kind: ref.kind, NamespacedName(gateway.name.namespace, ref.name),
            at: "spec.infrastructure.parametersRef")
    }

    private func refusal(
        group: String, kind: String, _ name: NamespacedName, at path: String
    ) -> Finding? {
        guard group == Groups.own, kind == GatewayParameters.kind else {
            return Finding(
                "InvalidParameters", at: path,
                "\(kind) of group \"\(group)\" is not known; use \(GatewayParameters.kind) "
                    + "of group \(Groups.own)")
        }
        guard let parameters = index.parameters[name] else {
            let hint = didYouMean(
                name.name, among: index.names(of: kind, in: name.namespace))
            return Finding(
                "InvalidParameters", at: path,
                "\(kind) \(name) does not exist or was refused\(hint)")
        }
        if let finding = Self.rejection(of: parameters.resource) {
            return Finding(
                "InvalidParameters", at: path, "\(kind) \(name): \(finding.text)")
        }
        return nil
    }

    /// The parameters of a Gateway whose references are well.
    func parameters(
        of gateway: Entry<Gateway>, class entry: Entry<GatewayClass>?
    ) -> Parameters {
        var parameters = Parameters()
        if let ref = entry?.resource.spec.parametersRef, let namespace = ref.namespace,
            let found = index.parameters[NamespacedName(namespace, ref.name)]
        {
            ParameterTable.apply(found.resource.spec, to: &parameters)
        }
        if let ref = gateway.resource.spec.infrastructure?.parametersRef,
            let found = index.parameters[NamespacedName(gateway.name.namespace, ref.name)]
        {
            ParameterTable.apply(found.resource.spec, to: &parameters)
        }
        return parameters
    }

    /// How a Gateway, whose references are well, has the endpoints of its pools picked.
    func picker(of gateway: Entry<Gateway>, class entry: Entry<GatewayClass>?) -> PickerSettings {
        var settings = PickerSettings()
        if let ref = entry?.resource.spec.parametersRef, let namespace = ref.namespace {
            let found = index.parameters[NamespacedName(namespace, ref.name)]
            settings.apply(found?.resource.spec.picker)
        }
        if let ref = gateway.resource.spec.infrastructure?.parametersRef {
            let found = index.parameters[NamespacedName(gateway.name.namespace, ref.name)]
            settings.apply(found?.resource.spec.picker)
        }
        return settings
    }

    /// What tokens of sessions are signed with, the first of them; of this process where the documents have nothing usable.
    func sessionKeys(
        of gateway: Entry<Gateway>, class entry: Entry<GatewayClass>?
    ) -> [SessionKey] {
        var named: Entry<GatewayParameters>?
        if let ref = entry?.resource.spec.parametersRef, let namespace = ref.namespace {
            named = index.parameters[NamespacedName(namespace, ref.name)]
        }
        if let ref = gateway.resource.spec.infrastructure?.parametersRef,
            let own = index.parameters[NamespacedName(gateway.name.namespace, ref.name)],
            own.resource.spec.sealingKeyRef != nil
        {
            named = own
        }
        guard let named, case .success(let keys)? = sealingKeys(of: named) else {
            return [.ofProcess]
        }
        return keys
    }

    /// What of the keys that an object names cannot be used; nil when nothing, or none are named.
    func sealingFinding(of parameters: Entry<GatewayParameters>) -> Finding? {
        guard case .failure(let error)? = sealingKeys(of: parameters) else { return nil }
        return error.finding
    }

    /// The keys in the Secret that an object names, in the order of their names; nil where it names none.
    private func sealingKeys(
        of parameters: Entry<GatewayParameters>
    ) -> Result<[SessionKey], FindingError>? {
        guard let ref = parameters.resource.spec.sealingKeyRef else { return nil }
        let name = NamespacedName(parameters.name.namespace, ref.name)
        func refuse(_ message: String) -> Result<[SessionKey], FindingError> {
            .failure(
                FindingError(
                    Finding(
                        "InvalidSealingKeyRef", at: "spec.sealingKeyRef",
                        "\(message), so tokens of sessions are signed with a random key: other replicas do not "
                            + "know them, nor does this one after a restart")))
        }
        guard let secret = index.secrets[name]?.resource else {
            let hint = didYouMean(ref.name, among: index.names(of: Secret.kind, in: name.namespace))
            return refuse("Secret \(name) does not exist\(hint)")
        }
        let names = Set(secret.data.map { Array($0.keys) } ?? [])
            .union(secret.stringData.map { Array($0.keys) } ?? []).sorted()
        if names.isEmpty { return refuse("Secret \(name) has no entry") }
        if names.count > Self.sealingKeysMax {
            return refuse(
                "Secret \(name) has \(names.count) entries; at most \(Self.sealingKeysMax) are taken"
            )
        }
        var keys: [SessionKey] = []
        for entry in names {
            let bytes = secret.bytes(of: entry) ?? []
            if bytes.count < Self.sealingKeyBytesMin {
                return refuse(
                    "entry \(entry) of Secret \(name) has \(bytes.count) bytes; "
                        + "\(Self.sealingKeyBytesMin) random ones are needed")
            }
            keys.append(SessionKey(sealing: bytes))
        }
        return .success(keys)
    }

    private static var sealingKeysMax: Int { 8 }
    private static var sealingKeyBytesMin: Int { 16 }

    /// Why an object cannot be used at all: leaving the setting out would do harm.
    static func rejection(of parameters: GatewayParameters) -> Finding? {
        let proxyProtocol = parameters.spec.proxyProtocol ?? .none
        if ProxyProtocol.ofGateways.contains(proxyProtocol) { return nil }
        return Finding(
            "UnsupportedValue", at: "spec.proxyProtocol",
            "\"\(proxyProtocol)\" is not None or Accept")
    }

    /// Settings that have no effect yet.
    static func unserved(in parameters: GatewayParameters) -> [Finding] {
        let spec = parameters.spec
        let settings = [
            ("accessLog", spec.accessLog != nil), ("telemetry", spec.telemetry != nil),
        ]
        return settings.filter(\.1).map {
            Finding(
                "UnsupportedValue", at: "spec.\($0.0)", "is not supported yet and has no effect")
        }
    }
}

extension SessionKey {
    /// Half of a digest, so that keys for other purposes may come from the same bytes.
    fileprivate init(sealing bytes: [UInt8]) {
        let digest = TLS.Digest.sha256((Array("ai-gateway session tokens".utf8) + [0] + bytes).span)
        func word(_ from: Int) -> UInt64 {
            digest[from..<(from + 8)].reduce(0) { $0 << 8 | UInt64($1) }
        }
        self.init(word(0), word(8))
    }
}
