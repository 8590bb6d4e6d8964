/// One aspect of an object's state (apimachinery's `Condition`).
public struct Condition: Codable, Hashable, Sendable {
    public enum Status: String, Codable, Hashable, Sendable {
        case isTrue = "True"
        case isFalse = "False"
        case unknown = "Unknown"
    }

    public var type: String
    public var status: Status
    public var observedGeneration: Int
    /// When `status` last changed; absent where nobody watches over time, as in `check`.
    public var lastTransitionTime: String?
    public var reason: String
    public var message: String

    public init(
        type: String, status: Status, observedGeneration: Int, lastTransitionTime: String? = nil,
        reason: String, message: String
    ) {
        self.type = type
        self.status = status
        self.observedGeneration = observedGeneration
        self.lastTransitionTime = lastTransitionTime
        self.reason = reason
        self.message = message
    }

    /// Conditions whose True is bad news.
    static let negativeTypes: Set<String> = [
        "Conflicted", "OverlappingTLSConfig", "PartiallyInvalid", "InsecureFrontendValidationMode",
    ]

    /// Whether it tells of something that does not work as written.
    public var isFault: Bool {
        if type == "OverlappingTLSConfig" || type == "InsecureFrontendValidationMode" {
            return false
        }
        return status == (Self.negativeTypes.contains(type) ? .isTrue : .isFalse)
    }
}
