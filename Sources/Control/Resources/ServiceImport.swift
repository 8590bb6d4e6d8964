/// A Service of another cluster.
///
/// Read; not served yet.
public struct ServiceImport: Resource, Codable {
    public static let kind = "ServiceImport"
    public static let groups = [APIGroup(Groups.multicluster, "v1", "v1beta1", "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: ServiceImportSpec?
}

public struct ServiceImportSpec: Codable, Sendable, PartlyDeclared {
    public var type: String?
    public var ports: [ServicePort]?
}
