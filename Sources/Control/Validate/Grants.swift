/// The ReferenceGrants of all namespaces, as a set of allowed pairs.
struct Grants: Sendable {
    /// Who refers, by the kind and namespace of the object that holds the reference.
    struct Source: Hashable, Sendable {
        let group: String
        let kind: String
        let namespace: String
    }

    private struct Pair: Hashable, Sendable {
        let source: Source
        let namespace: String
        let group: String
        let kind: String
        /// Nil for all objects of the kind.
        let name: String?
    }

    private var pairs: Set<Pair> = []

    /// Adds what one grant allows; grants of one namespace add up.
    mutating func add(_ grant: ReferenceGrantSpec, in namespace: String) {
        for from in grant.from {
            let source = Source(group: from.group, kind: from.kind, namespace: from.namespace)
            for to in grant.to {
                pairs.insert(
                    Pair(
                        source: source, namespace: namespace, group: to.group, kind: to.kind,
                        name: to.name))
            }
        }
    }

    /// Whether the reference may be followed; within one namespace it always may.
    func permit(_ source: Source, group: String, kind: String, _ target: NamespacedName) -> Bool {
        if source.namespace == target.namespace { return true }
        if pairs.isEmpty { return false }
        let all = Pair(
            source: source, namespace: target.namespace, group: group, kind: kind, name: nil)
        if pairs.contains(all) { return true }
        return pairs.contains(
            Pair(
                source: source, namespace: target.namespace, group: group, kind: kind,
                name: target.name))
    }

    /// What to do about a reference that is not permitted.
    static func refusal(
        _ source: Source, kind: String, _ target: NamespacedName, at fieldPath: String
    ) -> Finding {
        Finding(
            "RefNotPermitted", at: fieldPath,
            "\(kind) \(target) is in another namespace; a ReferenceGrant in namespace "
                + "\(target.namespace) must allow it from \(source.kind) of namespace "
                + "\(source.namespace)")
    }
}
