/// Limits, timeouts and trust of a Gateway or of a class of them.
public struct GatewayParameters: Resource, Codable {
    public static let kind = "GatewayParameters"
    public static let groups = [APIGroup(Groups.own, "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: GatewayParametersSpec
}

public struct GatewayParametersSpec: Codable, Sendable {
    /// By the names of `ParameterTable.limits`; a count, or a quantity such as `64Ki`.
    public var limits: [String: IntOrString]?
    /// By the names of `ParameterTable.timeouts`; a duration such as `10s`.
    public var timeouts: [String: String]?
    public var trustedProxies: TrustedProxiesSpec?
    public var allowHalfClose: Bool?
    public var proxyProtocol: ProxyProtocol?
    /// What answers say of how they came about; nothing by default.
    public var answerHeaders: [AnswerHeader]?
    public var accessLog: OpaqueSettings?
    public var telemetry: OpaqueSettings?
    public var picker: PickerSpec?
    /// The Secret with the keys of sessions' tokens, which replicas share.
    public var sealingKeyRef: SealingKeyReference?
}

public struct TrustedProxiesSpec: Codable, Hashable, Sendable {
    public var cidrs: [String]?
    public var hops: Int?
    public var header: String?
}

/// A field that the gateway adds to answers.
public struct AnswerHeader: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let endpoint = Self(rawValue: "x-gateway-endpoint")
    public static let attempts = Self(rawValue: "x-gateway-attempts")
    public static let decision = Self(rawValue: "x-gateway-decision")
    public static let known = [endpoint, attempts, decision]
}

public struct SealingKeyReference: Codable, Hashable, Sendable {
    public var name: String
}

/// Settings that are not served yet: their fields are kept out of the checks of fields.
public struct OpaqueSettings: Codable, Hashable, Sendable, PartlyDeclared {
}
