/// One processing step of a rule or of a backend.
public struct HTTPRouteFilter: Codable, Sendable {
    public var type: HTTPRouteFilterType
    public var requestHeaderModifier: HTTPHeaderFilter?
    public var responseHeaderModifier: HTTPHeaderFilter?
    public var requestMirror: HTTPRequestMirrorFilter?
    public var requestRedirect: HTTPRequestRedirectFilter?
    public var urlRewrite: HTTPURLRewriteFilter?
    public var cors: HTTPCORSFilter?
    public var externalAuth: HTTPExternalAuthFilter?
    public var extensionRef: LocalObjectReference?
}

public struct HTTPRouteFilterType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let requestHeaderModifier = Self(rawValue: "RequestHeaderModifier")
    public static let responseHeaderModifier = Self(rawValue: "ResponseHeaderModifier")
    public static let requestMirror = Self(rawValue: "RequestMirror")
    public static let requestRedirect = Self(rawValue: "RequestRedirect")
    public static let urlRewrite = Self(rawValue: "URLRewrite")
    public static let cors = Self(rawValue: "CORS")
    public static let externalAuth = Self(rawValue: "ExternalAuth")
    public static let extensionRef = Self(rawValue: "ExtensionRef")
    public static let known = [
        requestHeaderModifier, responseHeaderModifier, requestMirror, requestRedirect, urlRewrite,
        cors, externalAuth, extensionRef,
    ]
    /// Those that a GRPCRoute may have.
    public static let ofGRPC = [
        requestHeaderModifier, responseHeaderModifier, requestMirror, extensionRef,
    ]
}

public struct HTTPHeader: Codable, Hashable, Sendable {
    public var name: String
    public var value: String
}

/// Fields to set, add and remove.
public struct HTTPHeaderFilter: Codable, Sendable {
    public var set: [HTTPHeader]?
    public var add: [HTTPHeader]?
    public var remove: [String]?
}

public struct HTTPPathModifierType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let replaceFullPath = Self(rawValue: "ReplaceFullPath")
    public static let replacePrefixMatch = Self(rawValue: "ReplacePrefixMatch")
    public static let known = [replaceFullPath, replacePrefixMatch]
}

public struct HTTPPathModifier: Codable, Sendable {
    public var type: HTTPPathModifierType
    public var replaceFullPath: String?
    public var replacePrefixMatch: String?
}

public struct HTTPRequestRedirectFilter: Codable, Sendable {
    public var scheme: String?
    public var hostname: String?
    public var path: HTTPPathModifier?
    public var port: Int?
    public var statusCode: Int?
}

public struct HTTPURLRewriteFilter: Codable, Sendable {
    public var hostname: String?
    public var path: HTTPPathModifier?
}

public struct HTTPRequestMirrorFilter: Codable, Sendable {
    public var backendRef: BackendObjectReference
    public var percent: Int?
    public var fraction: Fraction?
}

public struct Fraction: Codable, Hashable, Sendable {
    public var numerator: Int
    public var denominator: Int?
}

public struct HTTPCORSFilter: Codable, Sendable {
    public var allowOrigins: [String]?
    public var allowCredentials: Bool?
    public var allowMethods: [String]?
    public var allowHeaders: [String]?
    public var exposeHeaders: [String]?
    public var maxAge: Int?
}

public struct HTTPExternalAuthFilter: Codable, Sendable {
    public var `protocol`: String
    public var backendRef: BackendObjectReference
    public var grpc: GRPCAuthConfig?
    public var http: HTTPAuthConfig?
    public var forwardBody: ForwardBodyConfig?
}

public struct GRPCAuthConfig: Codable, Sendable {
    public var allowedHeaders: [String]?
}

public struct HTTPAuthConfig: Codable, Sendable {
    public var path: String?
    public var allowedHeaders: [String]?
    public var allowedResponseHeaders: [String]?
}

public struct ForwardBodyConfig: Codable, Sendable {
    public var maxSize: Int?
}
