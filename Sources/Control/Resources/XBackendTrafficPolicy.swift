/// How requests to a backend are tried again, and stay together, whatever route they come by.
public struct XBackendTrafficPolicy: Resource, Codable {
    public static let kind = "XBackendTrafficPolicy"
    public static let groups = [APIGroup(Groups.gatewayExperimental, "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: BackendTrafficPolicySpec
}

public struct BackendTrafficPolicySpec: Codable, Sendable {
    public var targetRefs: [LocalObjectReference]
    public var retryConstraint: RetryConstraint?
    /// Of rules that have none of their own.
    public var sessionPersistence: SessionPersistence?
}

/// How many requests may be tried again.
public struct RetryConstraint: Codable, Hashable, Sendable {
    public var budget: BudgetDetails?
    public var minRetryRate: RequestRate?
}

/// The share of requests that may be retries.
public struct BudgetDetails: Codable, Hashable, Sendable {
    public var percent: Int?
    public var interval: String?
}

/// Retries that are made whatever the share is.
public struct RequestRate: Codable, Hashable, Sendable {
    public var count: Int?
    public var interval: String?
}
