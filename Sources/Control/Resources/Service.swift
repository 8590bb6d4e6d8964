/// A set of endpoints under a name.
public struct Service: Resource, Codable {
    public static let kind = "Service"
    public static let groups = [APIGroup(Groups.core, "v1")]

    public var metadata: ObjectMeta
    public var spec: ServiceSpec
}

public struct ServiceSpec: Codable, Sendable, PartlyDeclared {
    public var type: String?
    public var selector: [String: String]?
    public var ports: [ServicePort]?
    public var clusterIP: String?
    public var externalName: String?
    public var ipFamilies: [String]?
    public var publishNotReadyAddresses: Bool?
    public var sessionAffinity: String?
}

public struct ServicePort: Codable, Sendable, PartlyDeclared {
    public var name: String?
    public var port: Int
    public var `protocol`: String?
    public var targetPort: IntOrString?
    public var appProtocol: String?
}
