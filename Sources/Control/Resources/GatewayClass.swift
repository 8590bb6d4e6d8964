/// A class of Gateways, and who serves it.
public struct GatewayClass: Resource, Codable {
    public static let kind = "GatewayClass"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1beta1")]
    public static let isNamespaced = false

    /// The `controllerName` of the classes that this program serves.
    public static let ownController = "ai-gateway.dev/gateway-controller"

    public var metadata: ObjectMeta
    public var spec: GatewayClassSpec
}

public struct GatewayClassSpec: Codable, Sendable {
    public var controllerName: String
    public var parametersRef: ParametersReference?
    public var description: String?
}

/// Where a class's parameters stand.
public struct ParametersReference: Codable, Hashable, Sendable {
    public var group: String
    public var kind: String
    public var name: String
    public var namespace: String?
}
