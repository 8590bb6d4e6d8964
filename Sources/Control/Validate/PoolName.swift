/// An InferencePool, or a Backend with a model server, which is picked as one: the older group's pools are other
/// objects than those of the present one.
struct PoolName: Hashable, Sendable, Comparable, CustomStringConvertible {
    let group: String
    let kind: String
    let name: NamespacedName

    init(_ group: String, _ name: NamespacedName, kind: String = InferencePool.kind) {
        self.group = group
        self.kind = kind
        self.name = name
    }

    init(_ object: LocatedObject) {
        self.init(object.group, NamespacedName(object), kind: object.kind)
    }

    /// Without the group, which only tells two apart where both are used.
    var description: String { "\(kind) \(name)" }

    static func < (a: PoolName, b: PoolName) -> Bool {
        (a.name, a.kind, a.group) < (b.name, b.kind, b.group)
    }

    /// Whether objects of a group can be pools.
    static func isGroup(_ group: String) -> Bool {
        group == Groups.inference || group == Groups.inferenceExperimental
    }
}
