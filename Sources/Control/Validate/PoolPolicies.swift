import Runtime

/// What InferenceObjectives and InferenceModelRewrites say of each pool.
struct PoolPolicies: Sendable {
    private var objectives: [PoolName: [ObjectiveDescription]] = [:]
    private var rewrites: [PoolName: [RewriteDescription]] = [:]

    init(_ index: DocumentIndex) {
        for entry in index.objectives {
            let pool = Self.pool(entry.resource.spec.poolRef, of: entry.name)
            objectives[pool, default: []].append(
                ObjectiveDescription(
                    name: entry.name.name,
                    priority: Int32(clamping: entry.resource.spec.priority ?? 0)))
        }
        for entry in index.rewrites.sorted(by: Self.isBefore) {
            let pool = Self.pool(entry.resource.spec.poolRef, of: entry.name)
            for rule in entry.resource.spec.rules {
                rewrites[pool, default: []] += Self.rows(of: rule)
            }
        }
        for (pool, rows) in rewrites { rewrites[pool] = Self.inOrder(rows) }
    }

    /// By name.
    func objectives(of pool: PoolName) -> [ObjectiveDescription] { objectives[pool] ?? [] }

    /// In the order in which they are tried.
    func rewrites(of pool: PoolName) -> [RewriteDescription] { rewrites[pool] ?? [] }

    /// What a reference leads to, whether it is there or not.
    static func pool(_ reference: InferencePoolReference, of object: NamespacedName) -> PoolName {
        PoolName(
            reference.effectiveGroup, NamespacedName(object.namespace, reference.name),
            kind: reference.effectiveKind)
    }

    /// Why a reference leads to nothing that is picked; nil when it does.
    static func refusal(
        of reference: InferencePoolReference, in namespace: String, _ index: DocumentIndex
    ) -> Finding? {
        let name = NamespacedName(namespace, reference.name)
        let group = reference.effectiveGroup
        let isThere: Bool
        switch reference.effectiveKind {
        case InferencePool.kind where PoolName.isGroup(group):
            isThere = index.pools[PoolName(group, name)] != nil
        case Backend.kind where group == Groups.own:
            let server = index.backends[name]?.resource.spec.modelServer ?? ModelServer.none
            if index.backends[name] != nil, server == ModelServer.none {
                return Finding(
                    "Pending", at: "spec.poolRef",
                    "Backend \(name) names no modelServer, so nothing is picked there")
            }
            isThere = index.backends[name] != nil
        default:
            return Finding(
                "Pending", at: "spec.poolRef",
                "\(reference.effectiveKind) of group \"\(group)\" is no pool; use InferencePool, or "
                    + "Backend of group \(Groups.own)")
        }
        if isThere { return nil }
        let names = index.names(of: reference.effectiveKind, in: namespace)
        return Finding(
            "Pending", at: "spec.poolRef.name",
            "\(reference.effectiveKind) \(name) does not exist"
                + didYouMean(reference.name, among: names))
    }

    // MARK: - Order

    /// The oldest first; objects without an age after all others.
    private static func isBefore(
        _ a: Entry<InferenceModelRewrite>, _ b: Entry<InferenceModelRewrite>
    ) -> Bool {
        let ages = [a, b].map { $0.resource.metadata.creationTimestamp?.seconds ?? .max }
        return (ages[0], a.name) < (ages[1], b.name)
    }

    private static func rows(of rule: InferenceModelRewriteRule) -> [RewriteDescription] {
        let targets = rule.targets.map {
            RewriteTarget(weight: UInt32(clamping: $0.weight ?? 1), model: $0.modelRewrite)
        }
        let matches = rule.matches ?? []
        if matches.isEmpty { return [RewriteDescription(model: nil, targets: targets)] }
        return matches.map { RewriteDescription(model: $0.model.value, targets: targets) }
    }

    /// Names before the row for any name; of several for the same only the first, which hides the others.
    private static func inOrder(_ rows: [RewriteDescription]) -> [RewriteDescription] {
        var seen: Set<String?> = []
        let first = rows.filter { seen.insert($0.model).inserted }
        return first.filter { $0.model != nil } + first.filter { $0.model == nil }
    }
}
