import BasicContainers

/// One pick, for `/decisions`.
public struct Decision: BitwiseCopyable, Sendable {
    /// Monotonic nanoseconds.
    public var at: UInt64 = 0
    public var model: UInt64 = 0
    /// The endpoint's id.
    public var endpoint: UInt32 = 0
    public var reason = PickReason.score
    public var isColdLoad = false
    public var candidateCount: UInt16 = 0
    public var matchedBlocks: UInt16 = 0
    public var total: Float = 0
    public var waitedMilliseconds: UInt32 = 0
}

/// The last decisions of a pool.
struct DecisionRing: ~Copyable {
    static var capacity: Int { 1_000 }
    private var ring: RigidArray<Decision>
    private var next = 0

    init() { ring = RigidArray(capacity: Self.capacity) }

    mutating func append(_ decision: Decision) {
        if ring.count < Self.capacity { ring.append(decision) } else { ring[next] = decision }
        next = next + 1 == Self.capacity ? 0 : next + 1
    }

    var count: Int { ring.count }

    /// The newest is 0.
    subscript(age: Int) -> Decision {
        ring[(next - 1 - age + 2 * Self.capacity) % Self.capacity]
    }
}

/// Why an endpoint was no candidate.
public enum Exclusion: UInt8, Sendable, BitwiseCopyable {
    case notReady, notInSubset, tried, ejected, circuitOpen, modelMissing, lowerPriority
    /// It has all that its limits allow, or said that it is busy.
    case noRoom
    /// It would have to load a model for which others have only a queue.
    case wouldLoad
    /// Over the thresholds of saturation, and others are not.
    case saturated
}

/// One endpoint in an explanation.
public struct ExplainedEndpoint: BitwiseCopyable, Sendable {
    public let endpoint: UInt32
    /// nil for candidates.
    public let exclusion: Exclusion?
    /// By `Scorer.rawValue`; not a number for scorers that the profile does not use.
    public var scores = InlineArray<13, Float>(repeating: .nan)
    public var total: Float = 0
    public var isChosen = false
}

/// How a pick would end now, and why: a bounded record that is filled off the request's path.
public struct Explanation: ~Copyable {
    /// The most endpoints that are told of.
    public static var capacity: Int { 256 }
    public var endpoints = RigidArray<ExplainedEndpoint>(capacity: Explanation.capacity)
    /// nil when one is chosen.
    public var rejection: RejectionReason?
    /// Whether the request would wait.
    public var waits = false

    public init() {}
}
