/// Rules for gRPC calls.
public struct GRPCRoute: Resource, Codable {
    public static let kind = "GRPCRoute"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1beta1", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: GRPCRouteSpec
}

public struct GRPCRouteSpec: Codable, Sendable {
    public var parentRefs: [ParentReference]?
    public var useDefaultGateways: String?
    public var hostnames: [String]?
    public var rules: [GRPCRouteRule]?
}

public struct GRPCRouteRule: Codable, Sendable {
    public var name: String?
    public var matches: [GRPCRouteMatch]?
    public var filters: [GRPCRouteFilter]?
    public var backendRefs: [GRPCBackendRef]?
    public var sessionPersistence: SessionPersistence?
}

public struct GRPCRouteMatch: Codable, Sendable {
    public var method: GRPCMethodMatch?
    public var headers: [HTTPHeaderMatch]?
}

public struct GRPCMethodMatch: Codable, Sendable {
    public var type: ValueMatchType?
    public var service: String?
    public var method: String?
}

public struct GRPCRouteFilter: Codable, Sendable {
    public var type: HTTPRouteFilterType
    public var requestHeaderModifier: HTTPHeaderFilter?
    public var responseHeaderModifier: HTTPHeaderFilter?
    public var requestMirror: HTTPRequestMirrorFilter?
    public var extensionRef: LocalObjectReference?
}

public struct GRPCBackendRef: Codable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var namespace: String?
    public var port: Int?
    public var weight: Int?
    public var filters: [GRPCRouteFilter]?

    /// The reference without its share and filters.
    public var object: BackendObjectReference {
        BackendObjectReference(
            group: group, kind: kind, name: name, namespace: namespace, port: port)
    }
}
