/// Model servers of one kind: the ready Pods with certain labels, each with one or more ports.
public struct InferencePool: Resource, Codable {
    public static let kind = "InferencePool"
    public static let groups = [
        APIGroup(Groups.inference, "v1"),
        APIGroup(Groups.inferenceExperimental, "v1alpha2", "v1alpha1"),
    ]
    /// On a pool that other clusters are to see; its value says which.
    static let exportAnnotation = "inference.networking.x-k8s.io/export"

    public var metadata: ObjectMeta
    public var spec: InferencePoolSpec
}

public struct InferencePoolSpec: Codable, Sendable {
    public var selector: InferencePoolSelector
    public var targetPorts: [InferencePoolPort]?
    public var appProtocol: String?
    public var endpointPickerRef: EndpointPickerReference?
    /// What `inference.networking.x-k8s.io/v1alpha2` had in place of `targetPorts`.
    public var targetPortNumber: Int?
    /// What `inference.networking.x-k8s.io/v1alpha2` had in place of `endpointPickerRef`.
    public var extensionRef: EndpointPickerReference?

    /// The ports of each Pod, by whichever name the version has for them.
    var ports: [Int] { targetPorts?.map(\.number) ?? targetPortNumber.map { [$0] } ?? [] }

    /// Who picks, by whichever name the version has for it, and that name.
    var picker: (reference: EndpointPickerReference, path: String)? {
        if let endpointPickerRef { return (endpointPickerRef, "spec.endpointPickerRef") }
        return extensionRef.map { ($0, "spec.extensionRef") }
    }
}

/// The labels of a pool's Pods.
public struct InferencePoolSelector: Codable, Sendable {
    private struct Labels: Codable {
        var matchLabels: [String: String]
    }

    public var matchLabels: [String: String]

    /// Reads the labels as v1 has them, or as v1alpha2 has them, without a field around them.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        do {
            matchLabels = try container.decode(Labels.self).matchLabels
        } catch {
            guard let labels = try? container.decode([String: String].self) else { throw error }
            matchLabels = labels
        }
    }

    public func encode(to encoder: any Encoder) throws {
        try Labels(matchLabels: matchLabels).encode(to: encoder)
    }
}

public struct InferencePoolPort: Codable, Hashable, Sendable {
    public var number: Int
}

/// Who picks the endpoint of each request.
public struct EndpointPickerReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
    public var port: InferencePoolPort?
    /// What v1alpha2 had in place of `port`.
    public var portNumber: Int?
    public var failureMode: EndpointPickerFailureMode?

    /// With the API's default filled in.
    var effectiveKind: String { kind ?? Service.kind }
    /// By whichever name the version has for it; v1alpha2 had a default.
    var effectivePort: Int? { port?.number ?? portNumber }
}

/// What happens to requests while the picker cannot be asked.
public struct EndpointPickerFailureMode: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let open = Self(rawValue: "FailOpen")
    public static let close = Self(rawValue: "FailClose")
    public static let known = [open, close]
}
