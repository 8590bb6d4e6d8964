/// TLS connections routed by the name that the client asks for.
public struct TLSRoute: Resource, Codable {
    public static let kind = "TLSRoute"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1alpha3", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: TLSRouteSpec
}

public struct TLSRouteSpec: Codable, Sendable {
    public var parentRefs: [ParentReference]?
    public var useDefaultGateways: String?
    public var hostnames: [String]?
    public var rules: [StreamRouteRule]
}

/// All bytes of a TCP port.
public struct TCPRoute: Resource, Codable {
    public static let kind = "TCPRoute"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: StreamRouteSpec
}

/// All datagrams of a UDP port.
public struct UDPRoute: Resource, Codable {
    public static let kind = "UDPRoute"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: StreamRouteSpec
}

/// What TCPRoute and UDPRoute say.
public struct StreamRouteSpec: Codable, Sendable {
    public var parentRefs: [ParentReference]?
    public var useDefaultGateways: String?
    public var rules: [StreamRouteRule]
}

/// A rule without matches: TLSRoute, TCPRoute and UDPRoute have the same.
public struct StreamRouteRule: Codable, Sendable {
    public var name: String?
    public var backendRefs: [BackendRef]?
}
