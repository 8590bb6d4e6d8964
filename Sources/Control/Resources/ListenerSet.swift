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

extension ParentGatewayReference {
    /// Whether it is a Gateway that is meant, the only kind there is.
    var isGateway: Bool {
        (group ?? Groups.gateway) == Groups.gateway && (kind ?? Gateway.kind) == Gateway.kind
    }

    /// The Gateway; the set's own namespace where none is given.
    func gatewayName(in namespace: String) -> NamespacedName {
        NamespacedName(self.namespace ?? namespace, name)
    }
}
