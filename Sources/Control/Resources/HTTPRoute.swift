/// Rules for HTTP requests: what they match, what is done to them, where they go.
public struct HTTPRoute: Resource, Codable {
    public static let kind = "HTTPRoute"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1beta1", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: HTTPRouteSpec
}

public struct HTTPRouteSpec: Codable, Sendable {
    public var parentRefs: [ParentReference]?
    public var useDefaultGateways: String?
    public var hostnames: [String]?
    public var rules: [HTTPRouteRule]?

    /// With the API's default filled in: one rule that takes every request.
    public var effectiveRules: [HTTPRouteRule] { rules ?? [HTTPRouteRule()] }
}

public struct HTTPRouteRule: Codable, Sendable {
    public var name: String?
    public var matches: [HTTPRouteMatch]?
    public var filters: [HTTPRouteFilter]?
    public var backendRefs: [HTTPBackendRef]?
    public var timeouts: HTTPRouteTimeouts?
    public var retry: HTTPRouteRetry?
    public var sessionPersistence: SessionPersistence?

    /// With the API's default filled in: one match of every path.
    public var effectiveMatches: [HTTPRouteMatch] {
        guard let matches, !matches.isEmpty else { return [HTTPRouteMatch()] }
        return matches
    }
}

// MARK: - Matches

public struct HTTPRouteMatch: Codable, Sendable {
    public var path: HTTPPathMatch?
    public var headers: [HTTPHeaderMatch]?
    public var queryParams: [HTTPQueryParamMatch]?
    public var method: HTTPMethod?
}

public struct PathMatchType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let exact = Self(rawValue: "Exact")
    public static let pathPrefix = Self(rawValue: "PathPrefix")
    public static let regularExpression = Self(rawValue: "RegularExpression")
    public static let known = [exact, pathPrefix, regularExpression]
}

public struct HTTPPathMatch: Codable, Sendable {
    public var type: PathMatchType?
    public var value: String?

    /// With the API's default filled in.
    public var effectiveType: PathMatchType { type ?? .pathPrefix }
    /// With the API's default filled in.
    public var effectiveValue: String { value ?? "/" }
}

/// How a header or query parameter is compared.
public struct ValueMatchType: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let exact = Self(rawValue: "Exact")
    public static let regularExpression = Self(rawValue: "RegularExpression")
    public static let known = [exact, regularExpression]
}

public struct HTTPHeaderMatch: Codable, Sendable {
    public var type: ValueMatchType?
    public var name: String
    public var value: String
}

public struct HTTPQueryParamMatch: Codable, Sendable {
    public var type: ValueMatchType?
    public var name: String
    public var value: String
}

public struct HTTPMethod: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ].map(Self.init(rawValue:))
}

// MARK: - Backends, timeouts, retries

/// A backend, its share, and the filters of that share alone.
public struct HTTPBackendRef: Codable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var namespace: String?
    public var port: Int?
    public var weight: Int?
    public var filters: [HTTPRouteFilter]?

    /// The reference without its share and filters.
    public var object: BackendObjectReference {
        BackendObjectReference(
            group: group, kind: kind, name: name, namespace: namespace, port: port)
    }
}

public struct HTTPRouteTimeouts: Codable, Sendable {
    public var request: String?
    public var backendRequest: String?
}

public struct HTTPRouteRetry: Codable, Sendable {
    public var codes: [Int]?
    public var attempts: Int?
    public var backoff: String?
}

public struct SessionPersistence: Codable, Hashable, Sendable {
    public var sessionName: String?
    public var absoluteTimeout: String?
    public var idleTimeout: String?
    public var type: String?
    public var cookieConfig: CookieConfig?
    public var cookie: SessionCookie?
    public var header: SessionHeader?
}

public struct CookieConfig: Codable, Hashable, Sendable {
    public var lifetimeType: String?
}

public struct SessionCookie: Codable, Hashable, Sendable {
    public var name: String?
    public var path: String?
    public var lifetimeType: String?
}

public struct SessionHeader: Codable, Hashable, Sendable {
    public var name: String?
}
