/// A set of listeners on addresses.
public struct Gateway: Resource, Codable {
    public static let kind = "Gateway"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1beta1")]

    public var metadata: ObjectMeta
    public var spec: GatewaySpec
}

public struct GatewaySpec: Codable, Sendable {
    public var gatewayClassName: String
    public var listeners: [Listener]
    public var addresses: [GatewaySpecAddress]?
    public var infrastructure: GatewayInfrastructure?
    public var allowedListeners: AllowedListeners?
    public var tls: GatewayTLSConfig?
    public var defaultScope: String?
}

/// One port with a protocol and a hostname.
public struct Listener: Codable, Sendable {
    public var name: String
    public var hostname: String?
    public var port: Int
    public var `protocol`: ProtocolType
    public var tls: ListenerTLSConfig?
    public var allowedRoutes: AllowedRoutes?
}

/// What a listener speaks; compared without regard to case.
public struct ProtocolType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let http = Self(rawValue: "HTTP")
    public static let https = Self(rawValue: "HTTPS")
    public static let tls = Self(rawValue: "TLS")
    public static let tcp = Self(rawValue: "TCP")
    public static let udp = Self(rawValue: "UDP")
    public static let known = [http, https, tls, tcp, udp]

    /// In the API's spelling.
    public var canonical: ProtocolType {
        let upper = ProtocolType(rawValue: rawValue.uppercased())
        return upper.isKnown ? upper : self
    }
}

public struct TLSModeType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let terminate = Self(rawValue: "Terminate")
    public static let passthrough = Self(rawValue: "Passthrough")
    public static let known = [terminate, passthrough]
}

public struct ListenerTLSConfig: Codable, Sendable {
    public var mode: TLSModeType?
    public var certificateRefs: [SecretObjectReference]?
    public var options: [String: String]?
}

/// Which routes a listener takes.
public struct AllowedRoutes: Codable, Sendable {
    public var namespaces: RouteNamespaces?
    public var kinds: [RouteGroupKind]?
}

public struct FromNamespaces: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let all = Self(rawValue: "All")
    public static let selector = Self(rawValue: "Selector")
    public static let same = Self(rawValue: "Same")
    /// For ListenerSets only.
    public static let none = Self(rawValue: "None")
    public static let known = [all, selector, same]
}

public struct RouteNamespaces: Codable, Sendable {
    public var from: FromNamespaces?
    public var selector: LabelSelector?
}

/// A kind of route; the Gateway API's group unless said otherwise.
public struct RouteGroupKind: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String

    /// With the API's default filled in.
    public var effectiveGroup: String { group ?? Groups.gateway }
}

public struct AddressType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let ipAddress = Self(rawValue: "IPAddress")
    public static let hostname = Self(rawValue: "Hostname")
    public static let known = [ipAddress, hostname]
}

public struct GatewaySpecAddress: Codable, Hashable, Sendable {
    public var type: AddressType?
    public var value: String?
}

public struct GatewayInfrastructure: Codable, Sendable {
    public var labels: [String: String]?
    public var annotations: [String: String]?
    public var parametersRef: LocalObjectReference?
}

/// Which ListenerSets may add listeners.
public struct AllowedListeners: Codable, Sendable {
    public var namespaces: RouteNamespaces?
}

// MARK: - TLS of the whole Gateway

public struct GatewayTLSConfig: Codable, Sendable {
    public var backend: GatewayBackendTLS?
    public var frontend: FrontendTLSConfig?
}

public struct GatewayBackendTLS: Codable, Sendable {
    public var clientCertificateRef: SecretObjectReference?
}

public struct FrontendTLSConfig: Codable, Sendable {
    public var `default`: TLSConfig
    public var perPort: [TLSPortConfig]?
}

public struct TLSPortConfig: Codable, Sendable {
    public var port: Int
    public var tls: TLSConfig
}

public struct TLSConfig: Codable, Sendable {
    public var validation: FrontendTLSValidation?
}

public struct FrontendTLSValidation: Codable, Sendable {
    public var caCertificateRefs: [ObjectReferenceField]
    public var mode: FrontendValidationMode?
}

/// What becomes of clients without a good certificate.
public struct FrontendValidationMode: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let allowValidOnly = Self(rawValue: "AllowValidOnly")
    public static let allowInsecureFallback = Self(rawValue: "AllowInsecureFallback")
    public static let known = [allowValidOnly, allowInsecureFallback]
}
