/// The worth of requests that name it in `x-gateway-inference-objective`.
public struct InferenceObjective: Resource, Codable {
    public static let kind = "InferenceObjective"
    public static let groups = [APIGroup(Groups.inferenceExperimental, "v1alpha2", "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: InferenceObjectiveSpec
}

public struct InferenceObjectiveSpec: Codable, Sendable {
    /// Larger is served first, 0 when absent; below 0 is shed first.
    public var priority: Int?
    public var poolRef: InferencePoolReference
}

/// Other names for the models that requests to a pool name.
public struct InferenceModelRewrite: Resource, Codable {
    public static let kind = "InferenceModelRewrite"
    public static let groups = [APIGroup(Groups.inferenceExperimental, "v1alpha2", "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: InferenceModelRewriteSpec
}

public struct InferenceModelRewriteSpec: Codable, Sendable {
    public var poolRef: InferencePoolReference
    public var rules: [InferenceModelRewriteRule]
}

public struct InferenceModelRewriteRule: Codable, Hashable, Sendable {
    /// Any one is enough; none takes every request.
    public var matches: [InferenceModelMatch]?
    public var targets: [InferenceTargetModel]
}

public struct InferenceModelMatch: Codable, Hashable, Sendable {
    public var model: InferenceModelNameMatch
}

public struct InferenceModelNameMatch: Codable, Hashable, Sendable {
    public struct MatchType: OpenEnum {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public static let exact = Self(rawValue: "Exact")
        public static let known = [exact]
    }

    public var type: MatchType?
    public var value: String
}

/// A model by the name that its server has for it, and its share.
public struct InferenceTargetModel: Codable, Hashable, Sendable {
    public var weight: Int?
    public var modelRewrite: String
}

/// What an objective or a rewrite is about: a pool of the same namespace, or a Backend with a model server.
public struct InferencePoolReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String

    /// With the API's default filled in.
    var effectiveGroup: String { group ?? Groups.inference }
    /// With the API's default filled in.
    var effectiveKind: String { kind ?? InferencePool.kind }
}
