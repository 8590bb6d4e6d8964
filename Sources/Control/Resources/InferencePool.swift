/// Model servers of one kind, picked by an endpoint picker.
///
/// Read; not served yet.
public struct InferencePool: Resource, Codable {
    public static let kind = "InferencePool"
    public static let groups = [
        APIGroup(Groups.inference, "v1"),
        APIGroup(Groups.inferenceExperimental, "v1alpha2", "v1alpha1"),
    ]

    public var metadata: ObjectMeta
    public var spec: InferencePoolSpec
}

public struct InferencePoolSpec: Codable, Sendable, PartlyDeclared {
    public var appProtocol: String?
}

/// The worth of requests.

///

/// Read; not served yet.
public struct InferenceObjective: Resource, Codable {
    public static let kind = "InferenceObjective"
    public static let groups = [APIGroup(Groups.inferenceExperimental, "v1alpha2", "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: InferenceObjectiveSpec
}

public struct InferenceObjectiveSpec: Codable, Sendable, PartlyDeclared {
    public var priority: Int?
}

/// Other names for models.

///

/// Read; not served yet.
public struct InferenceModelRewrite: Resource, Codable {
    public static let kind = "InferenceModelRewrite"
    public static let groups = [APIGroup(Groups.inferenceExperimental, "v1alpha2", "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: InferenceModelRewriteSpec
}

public struct InferenceModelRewriteSpec: Codable, Sendable, PartlyDeclared {
    public var poolRef: InferencePoolReference?
}

public struct InferencePoolReference: Codable, Hashable, Sendable, PartlyDeclared {
    public var name: String?
}
