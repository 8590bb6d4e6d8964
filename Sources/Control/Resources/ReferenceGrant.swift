/// Leave, given in the target's namespace, to refer to objects of that namespace.
public struct ReferenceGrant: Resource, Codable {
    public static let kind = "ReferenceGrant"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1beta1", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: ReferenceGrantSpec
}

public struct ReferenceGrantSpec: Codable, Sendable {
    public var from: [ReferenceGrantFrom]
    public var to: [ReferenceGrantTo]
}

/// Who may refer.
public struct ReferenceGrantFrom: Codable, Hashable, Sendable {
    public var group: String
    public var kind: String
    public var namespace: String
}

/// To what; without a name, to every object of the kind.
public struct ReferenceGrantTo: Codable, Hashable, Sendable {
    public var group: String
    public var kind: String
    public var name: String?
}
