// What is demanded of InferencePools and of what refers to them.

extension FieldChecks {
    mutating func check(_ pool: InferencePool) {
        let spec = pool.spec
        notEmpty(spec.selector.matchLabels.count, "spec.selector.matchLabels")
        checkPorts(spec)
        if let text = spec.appProtocol, !InferencePool.appProtocols.contains(text) {
            let names = InferencePool.appProtocols
            let meant = NearestName.suggestion(for: text, among: names)
            refuse(
                "spec.appProtocol",
                "\"\(text)\" is not a protocol of pools; "
                    + (meant.map { "did you mean \"\($0)\"?" }
                        ?? "use \(sentenceList(names, "or"))"))
        }
        guard let (reference, path) = spec.picker else { return }
        objectName(reference.name, path + ".name")
        groupKind(reference.group, reference.kind, path)
        port(reference.port?.number, path + ".port.number")
        port(reference.portNumber, path + ".portNumber")
        require(
            reference.effectiveKind != Service.kind || reference.effectivePort != nil,
            path + ".port", "is required for a Service: the picker's gRPC port, often 9002")
        if let mode = reference.failureMode, !mode.isKnown {
            let names = EndpointPickerFailureMode.known.map(\.rawValue)
            let hint = NearestName.suggestion(for: mode.rawValue, among: names)
            refuse(
                path + ".failureMode",
                "\"\(mode)\" is not a failure mode; "
                    + (hint.map { "did you mean \"\($0)\"?" }
                        ?? "use \(sentenceList(names, "or"))"))
        }
    }

    mutating func check(_ objective: InferenceObjective) {
        check(objective.spec.poolRef)
        inRange(objective.spec.priority, Int(Int32.min)...Int(Int32.max), "spec.priority")
    }

    mutating func check(_ rewrite: InferenceModelRewrite) {
        check(rewrite.spec.poolRef)
        notEmpty(rewrite.spec.rules.count, "spec.rules")
        for (number, rule) in rewrite.spec.rules.enumerated() {
            let path = "spec.rules[\(number)]"
            for (position, match) in (rule.matches ?? []).enumerated() {
                let place = path + ".matches[\(position)].model"
                model(match.model.value, place + ".value")
                if let type = match.model.type, !type.isKnown {
                    refuse(place + ".type", "\"\(type)\" is not a type of match; use Exact")
                }
            }
            notEmpty(rule.targets.count, path + ".targets")
            for (position, target) in rule.targets.enumerated() {
                model(target.modelRewrite, path + ".targets[\(position)].modelRewrite")
                inRange(
                    target.weight, 1...1_000_000, path + ".targets[\(position)].weight")
            }
            let weighted = rule.targets.filter { $0.weight != nil }.count
            require(
                weighted == 0 || weighted == rule.targets.count, path + ".targets",
                "need a weight each, or none at all")
        }
    }

    private mutating func check(_ reference: InferencePoolReference) {
        objectName(reference.name, "spec.poolRef.name")
        groupKind(reference.group, reference.kind, "spec.poolRef")
    }

    private mutating func model(_ name: String, _ path: @autoclosure () -> String) {
        require((1...256).contains(name.utf8.count), path(), "must have 1 to 256 bytes")
    }

    private mutating func checkPorts(_ spec: InferencePoolSpec) {
        if object.group == Groups.inference {
            require(
                spec.targetPortNumber == nil, "spec.targetPortNumber",
                "is of v1alpha2; write it as targetPorts: [{number: …}]")
            require(
                spec.extensionRef == nil, "spec.extensionRef",
                "is of v1alpha2; its name is endpointPickerRef now")
            require(spec.targetPorts != nil, "spec.targetPorts", "is required")
        } else {
            require(!spec.ports.isEmpty, "spec.targetPortNumber", "is required")
        }
        port(spec.targetPortNumber, "spec.targetPortNumber")
        guard let ports = spec.targetPorts else { return }
        notEmpty(ports.count, "spec.targetPorts")
        atMost(8, ports.count, "spec.targetPorts")
        for (index, port) in ports.enumerated() {
            self.port(port.number, "spec.targetPorts[\(index)].number")
        }
        unique(ports.map { "\($0.number)" }, { "spec.targetPorts[\($0)].number" }, "port")
    }
}

extension InferencePool {
    /// What may be spoken with model servers (`spec.appProtocol`).
    static let appProtocols = ["http", "kubernetes.io/h2c"]
}
