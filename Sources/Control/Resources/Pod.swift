/// A pod, as far as its address and readiness go: files may hold Pods without EndpointSlices.
public struct Pod: Resource, Codable {
    public static let kind = "Pod"
    public static let groups = [APIGroup(Groups.core, "v1")]

    public var metadata: ObjectMeta
    public var spec: PodSpec?
    public var status: PodStatus?
}

public struct PodSpec: Codable, Sendable, PartlyDeclared {
    public var containers: [Container]?
    public var initContainers: [Container]?
}

public struct Container: Codable, Sendable, PartlyDeclared {
    public var name: String?
    public var ports: [ContainerPort]?
}

public struct ContainerPort: Codable, Sendable, PartlyDeclared {
    public var name: String?
    public var containerPort: Int
    public var `protocol`: String?
}

public struct PodStatus: Codable, Sendable, PartlyDeclared {
    public var phase: String?
    public var podIP: String?
    public var podIPs: [PodIP]?
    public var conditions: [PodCondition]?
}

public struct PodIP: Codable, Hashable, Sendable, PartlyDeclared {
    public var ip: String
}

public struct PodCondition: Codable, Hashable, Sendable, PartlyDeclared {
    public var type: String
    public var status: String
}
