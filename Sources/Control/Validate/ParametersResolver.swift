import Runtime

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
            ("sealingKeyRef", spec.sealingKeyRef != nil),
        ]
        return settings.filter(\.1).map {
            Finding(
                "UnsupportedValue", at: "spec.\($0.0)", "is not supported yet and has no effect")
        }
    }
}
