/// How connections to a Service are secured: whom the gateway trusts, and by which name.
public struct BackendTLSPolicy: Resource, Codable {
    public static let kind = "BackendTLSPolicy"
    public static let groups = [APIGroup(Groups.gateway, "v1", "v1alpha3", "v1alpha2")]

    public var metadata: ObjectMeta
    public var spec: BackendTLSPolicySpec
}

public struct BackendTLSPolicySpec: Codable, Sendable {
    public var targetRefs: [LocalPolicyTargetReference]
    public var validation: BackendTLSPolicyValidation
    public var options: [String: String]?
}

/// What a policy applies to; `sectionName` is a Service's port name.
public struct LocalPolicyTargetReference: Codable, Hashable, Sendable {
    public var group: String
    public var kind: String
    public var name: String
    public var sectionName: String?
}

public struct BackendTLSPolicyValidation: Codable, Sendable {
    public var caCertificateRefs: [LocalObjectReference]?
    public var wellKnownCACertificates: String?
    public var hostname: String
    public var subjectAltNames: [SubjectAltName]?
}

public struct SubjectAltName: Codable, Hashable, Sendable {
    public var type: String
    public var hostname: String?
    public var uri: String?
}
