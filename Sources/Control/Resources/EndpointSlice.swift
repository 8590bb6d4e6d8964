/// Addresses of a Service, kept by whoever knows them.
public struct EndpointSlice: Resource, Codable {
    public static let kind = "EndpointSlice"
    public static let groups = [APIGroup(Groups.discovery, "v1", "v1beta1")]

    /// The label that names the Service.
    public static let serviceLabel = "kubernetes.io/service-name"

    public var metadata: ObjectMeta
    public var addressType: String
    public var endpoints: [SliceEndpoint]?
    public var ports: [EndpointPort]?
}

public struct SliceEndpoint: Codable, Sendable, PartlyDeclared {
    public var addresses: [String]
    public var conditions: EndpointConditions?
    public var targetRef: EndpointTarget?
}

/// An absent condition counts as the API says: ready and serving yes, terminating no.
public struct EndpointConditions: Codable, Hashable, Sendable {
    public var ready: Bool?
    public var serving: Bool?
    public var terminating: Bool?
}

public struct EndpointTarget: Codable, Hashable, Sendable, PartlyDeclared {
    public var kind: String?
    public var namespace: String?
    public var name: String?
}

public struct EndpointPort: Codable, Hashable, Sendable {
    public var name: String?
    public var port: Int?
    public var `protocol`: String?
    public var appProtocol: String?
}
