/// What a BackendTLSPolicy is about, read from one that cannot be used as it is written.
///
/// Its targets are closed, so whatever may be meant as one counts: a kind that is missing, a name that is no text, a `targetRef`.
struct PolicyTargets {
    private(set) var refs: [LocalPolicyTargetReference] = []
    /// Why targets cannot be told; each is one that stays open.
    private(set) var problems: [FieldProblem] = []

    private static let field = "targetRefs"

    init(of root: DocumentNode) {
        guard let spec = root.member("spec"), case .mapping(let members) = spec.value.content else {
            note("spec", root.member("spec")?.mark ?? root.mark, "no target of it can be told")
            return
        }
        let lists = members.filter { Self.isList($0.key) }
        for list in lists {
            let path = FieldPath.appending(key: list.key, to: "spec")
            switch list.value.content {
            case .sequence(let items):
                for (number, item) in items.enumerated() {
                    add(item, FieldPath.appending(index: number, to: path))
                }
            case .mapping: add(list.value, path)
            case .scalar: break
            }
        }
        if refs.isEmpty, problems.isEmpty {
            note(
                "spec.\(Self.field)", lists.first?.mark ?? spec.mark, "no target of it can be told")
        }
    }

    /// Whether a field of `spec` is the list of targets, perhaps misspelled.
    private static func isList(_ key: String) -> Bool {
        key == field || NearestName.suggestion(for: key, among: [field]) != nil
    }

    private mutating func add(_ item: DocumentNode, _ path: String) {
        guard let name = item["name"], !name.isNull, let text = name.text, !text.isEmpty else {
            return note(path, item.mark, "whom this target names cannot be told")
        }
        let kind = item["kind"]?.text ?? ""
        let meant = NearestName.suggestion(for: kind, among: [Service.kind])
        let isService = kind.isEmpty || kind == Service.kind || meant != nil
        var section: String?
        // A port that cannot be told is any.
        if let name = item["sectionName"], case .scalar(let scalar) = name.content,
            scalar.type == .text
        {
            section = scalar.text
        }
        refs.append(
            LocalPolicyTargetReference(
                group: isService ? Groups.core : item["group"]?.text ?? "",
                kind: isService ? Service.kind : kind, name: text, sectionName: section))
    }

    private mutating func note(_ path: String, _ mark: TextMark, _ what: String) {
        problems.append(
            FieldProblem(
                severity: .error, fieldPath: path, mark: mark,
                reason: ConfigProblem.Reason.invalidValue,
                message: what + ", so nothing keeps requests from going there in plain text"))
    }
}

extension ManifestReader {
    /// Whether documents of a kind secure what else would be in plain text, so that they may not just be left out.
    static func secures(_ kind: String) -> Bool {
        kind.lowercased() == BackendTLSPolicy.kind.lowercased()
    }

    /// A BackendTLSPolicy that cannot be read, with as much of it as can.
    ///
    /// With `isNamed` it has a name, by which an earlier version of it is found.
    func unread(_ root: DocumentNode, isNamed: Bool) -> RefusedPolicy {
        let metadata = root["metadata"]
        var problems: [FieldProblem] = []
        var refs: [LocalPolicyTargetReference] = []
        let namespace = Self.namespace(metadata)
        if namespace != nil {
            let targets = PolicyTargets(of: root)
            (refs, problems) = (targets.refs, targets.problems)
        } else {
            problems = [
                FieldProblem(
                    severity: .error, fieldPath: "metadata.namespace",
                    mark: root.member("metadata")?.mark ?? root.mark,
                    reason: ConfigProblem.Reason.invalidValue,
                    message:
                        "in which namespace its targets are cannot be told, so nothing keeps requests from going "
                        + "there in plain text")
            ]
        }
        let name = metadata?["name"]?.text ?? ""
        let object = LocatedObject(
            apiVersion: "\(Groups.gateway)/v1", kind: BackendTLSPolicy.kind,
            namespace: namespace ?? "default",
            name: name.isEmpty ? "(without a name)" : shortened(name),
            resource: BackendTLSPolicy(
                metadata: ObjectMeta(
                    name: name, namespace: namespace,
                    creationTimestamp: (metadata?["creationTimestamp"]?.text).flatMap {
                        Timestamp($0)
                    }),
                spec: BackendTLSPolicySpec(
                    targetRefs: refs, validation: BackendTLSPolicyValidation(hostname: ""))),
            generation: 1, position: position(root.mark),
            positions: FieldPositions(of: root, file: file), digest: root.digest,
            declaredDigest: root.digest)
        return RefusedPolicy(
            object: object, cause: "it cannot be read",
            untold: problems.map { problem in
                ConfigProblem(
                    at: position(problem.mark), object: object.reference,
                    fieldPath: problem.fieldPath,
                    reason: problem.reason, message: problem.message)
            },
            yields: isNamed)
    }

    /// The namespace of an object, whatever else is wrong with it; nil when it cannot be told.
    private static func namespace(_ metadata: DocumentNode?) -> String? {
        guard let metadata, case .mapping = metadata.content else { return nil }
        guard let namespace = metadata["namespace"], !namespace.isNull else { return "default" }
        guard let text = namespace.text, Patterns.isLabel(text) || text.isEmpty else { return nil }
        return text.isEmpty ? "default" : text
    }
}
