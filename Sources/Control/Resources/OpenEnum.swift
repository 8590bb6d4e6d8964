/// A field whose set of values the API may widen: an unknown value keeps its text, so that the
/// object's status can name it (`UnsupportedValue`) instead of the document being refused.
public protocol OpenEnum: RawRepresentable, Codable, Hashable, Sendable, CustomStringConvertible
where RawValue == String {
    /// The values that the API defines, in its order.
    static var known: [Self] { get }

    init(rawValue: String)
}

extension OpenEnum {
    public var description: String { rawValue }

    /// Whether the API defines this value.
    public var isKnown: Bool { Self.known.contains(self) }
}

/// A value that is a number or a name (`Service.spec.ports[].targetPort`).
public enum IntOrString: Codable, Hashable, Sendable, CustomStringConvertible {
    case int(Int)
    case string(String)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int.self) {
            self = .int(number)
        } else {
            self = .string(try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .int(let number): try container.encode(number)
        case .string(let text): try container.encode(text)
        }
    }

    public var description: String {
        switch self {
        case .int(let number): "\(number)"
        case .string(let text): text
        }
    }
}

// MARK: - Written out again for `/config`

extension ObjectMeta: Encodable {
    private enum CodingKeys: String, CodingKey {
        case name, namespace, labels, annotations, generation, creationTimestamp, uid
        case resourceVersion
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encodeIfPresent(namespace, forKey: .namespace)
        try container.encodeIfPresent(labels, forKey: .labels)
        try container.encodeIfPresent(annotations, forKey: .annotations)
        try container.encodeIfPresent(generation, forKey: .generation)
        try container.encodeIfPresent(creationTimestamp?.description, forKey: .creationTimestamp)
        try container.encodeIfPresent(uid, forKey: .uid)
        try container.encodeIfPresent(resourceVersion, forKey: .resourceVersion)
    }
}
