/// A namespace with its labels, by which listeners select routes.
public struct Namespace: Resource, Codable, PartlyDeclared {
    public static let kind = "Namespace"
    public static let groups = [APIGroup(Groups.core, "v1")]
    public static let isNamespaced = false

    /// The label that every namespace has, with its name.
    public static let nameLabel = "kubernetes.io/metadata.name"

    public var metadata: ObjectMeta
}
