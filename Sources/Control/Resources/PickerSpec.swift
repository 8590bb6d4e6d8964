/// How endpoints that are model servers are picked: a Backend's own, or of all pools of a Gateway.
public struct PickerSpec: Codable, Sendable {
    /// Whether an external picker sees the content of answers; of Gateways only.
    public var responseBody: PickerResponseBody?
    /// Requests that one endpoint has for one model at the most; 0 for no limit.
    public var concurrencyPerModel: Int?
    /// Requests that one endpoint has at the most; 0 for no limit.
    public var concurrencyPerEndpoint: Int?
    /// Requests that wait in the gateway at the most; 0 for no queue.
    public var queueLimit: Int?
    /// How long they wait.
    public var queueDeadline: String?
    /// Weights by the names of scorers, in place of those of the engine.
    public var weights: [String: Double]?
}

public struct PickerResponseBody: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let send = Self(rawValue: "Send")
    public static let skip = Self(rawValue: "Skip")
    public static let known = [send, skip]
}
