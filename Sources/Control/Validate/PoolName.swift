/// An InferencePool by its name and its group: the older group's pools are other objects.
struct PoolName: Hashable, Sendable, Comparable, CustomStringConvertible {
    let group: String
    let name: NamespacedName

    init(_ group: String, _ name: NamespacedName) {
        self.group = group
        self.name = name
    }

    init(_ object: LocatedObject) {
        self.init(object.group, NamespacedName(object))
    }

    /// Without the group, which only tells two apart where both are used.
    var description: String { "\(name)" }

    static func < (a: PoolName, b: PoolName) -> Bool { (a.name, a.group) < (b.name, b.group) }

    /// Whether objects of a group can be pools.
    static func isGroup(_ group: String) -> Bool {
        group == Groups.inference || group == Groups.inferenceExperimental
    }
}
