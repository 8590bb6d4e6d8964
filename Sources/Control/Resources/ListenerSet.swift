/// Listeners added to a Gateway from outside of it.
public struct ListenerSet: Resource, Codable {
    public static let kind = "ListenerSet"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1beta1", "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: ListenerSetSpec
}

public struct ListenerSetSpec: Codable, Sendable {
    public var parentRef: ParentGatewayReference
    public var listeners: [Listener]
}

public struct ParentGatewayReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var namespace: String?
}
