/// The API groups that this program knows.
public enum Groups {
    public static let gateway = "gateway.networking.k8s.io"
    public static let gatewayExperimental = "gateway.networking.x-k8s.io"
    public static let core = ""
    public static let own = "ai-gateway.dev"
    public static let inference = "inference.networking.k8s.io"
    public static let inferenceExperimental = "inference.networking.x-k8s.io"
    public static let discovery = "discovery.k8s.io"
    public static let multicluster = "multicluster.x-k8s.io"
}

/// What a route wants to be attached to (`spec.parentRefs[]`).
public struct ParentReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var namespace: String?
    public var name: String
    public var sectionName: String?
    public var port: Int?

    /// With the API's default filled in.
    public var effectiveGroup: String { group ?? Groups.gateway }
    /// With the API's default filled in.
    public var effectiveKind: String { kind ?? "Gateway" }
}

/// An object that requests are sent to; alone in mirrors, with a weight in rules.
public struct BackendObjectReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var namespace: String?
    public var port: Int?

    /// With the API's default filled in.
    public var effectiveGroup: String { group ?? Groups.core }
    /// With the API's default filled in.
    public var effectiveKind: String { kind ?? "Service" }
}

/// A backend and its share (`rules[].backendRefs[]` of TLS, TCP and UDP routes).
public struct BackendRef: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var namespace: String?
    public var port: Int?
    public var weight: Int?

    /// The reference without its share.
    public var object: BackendObjectReference {
        BackendObjectReference(
            group: group, kind: kind, name: name, namespace: namespace, port: port)
    }
}

/// A certificate (`certificateRefs[]`); a Secret of the core group unless said otherwise.
public struct SecretObjectReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var namespace: String?

    /// With the API's default filled in.
    public var effectiveGroup: String { group ?? Groups.core }
    /// With the API's default filled in.
    public var effectiveKind: String { kind ?? "Secret" }
}

/// An object of any kind, perhaps in another namespace.
public struct ObjectReferenceField: Codable, Hashable, Sendable {
    public var group: String
    public var kind: String
    public var name: String
    public var namespace: String?
}

/// An object of any kind in the same namespace.
public struct LocalObjectReference: Codable, Hashable, Sendable {
    public var group: String
    public var kind: String
    public var name: String
}

/// Which objects are meant by their labels (apimachinery's `LabelSelector`).
public struct LabelSelector: Codable, Hashable, Sendable {
    public var matchLabels: [String: String]?
    public var matchExpressions: [LabelSelectorRequirement]?

    /// Whether all conditions hold; a selector without conditions takes everything.
    public func matches(_ labels: [String: String]) -> Bool {
        for (key, value) in matchLabels ?? [:] where labels[key] != value { return false }
        return (matchExpressions ?? []).allSatisfy { $0.matches(labels) }
    }
}

/// One condition on one label.
public struct LabelSelectorRequirement: Codable, Hashable, Sendable {
    public struct Operator: OpenEnum {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public static let isIn = Self(rawValue: "In")
        public static let notIn = Self(rawValue: "NotIn")
        public static let exists = Self(rawValue: "Exists")
        public static let doesNotExist = Self(rawValue: "DoesNotExist")
        public static let known = [isIn, notIn, exists, doesNotExist]
    }

    public var key: String
    public var `operator`: Operator
    public var values: [String]?

    /// Whether the condition holds; one with an unknown operator never does.
    func matches(_ labels: [String: String]) -> Bool {
        switch self.operator {
        case .isIn: labels[key].map { (values ?? []).contains($0) } ?? false
        case .notIn: labels[key].map { !(values ?? []).contains($0) } ?? true
        case .exists: labels[key] != nil
        case .doesNotExist: labels[key] == nil
        default: false
        }
    }
}
