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
    /// Where its endpoints begin in the ring of endpoints, and how many there are.
    var firstEndpoint: UInt64 = 0
    var endpointCount: UInt16 = 0
}

/// A decision with what it knew of each endpoint.
public struct ToldDecision: Sendable {
    public var decision: Decision
    /// The candidates, then those that were none; empty when later decisions have taken their place.
    public var endpoints: [ExplainedEndpoint]
}

/// What decided one lease: the endpoint that it is for, and the one that would have been next.
public struct LeaseStory: BitwiseCopyable, Sendable {
    public var decision: Decision
    public var chosen: ExplainedEndpoint
    /// nil where there was no other candidate.
    public var runnerUp: ExplainedEndpoint?
}

/// The last decisions of a pool, each with the endpoints as it saw them, as far as these fit.
struct DecisionRing: ~Copyable {
    static var capacity: Int { 1_000 }
    /// Eight endpoints for each decision; larger pools keep theirs for fewer of them.
    static var endpointCapacity: Int { 8_192 }
    /// The most endpoints of one decision.
    static var endpointsPerDecision: Int { 256 }
    private var ring: RigidArray<Decision>
    private var endpoints: RigidArray<ExplainedEndpoint>
    /// How many decisions, and endpoints of decisions, there were ever.
    private(set) var made: UInt64 = 0
    private var endpointsMade: UInt64 = 0

    init() {
        ring = RigidArray(capacity: Self.capacity)
        endpoints = RigidArray(capacity: Self.endpointCapacity)
    }

    /// Begins a decision's endpoints; `append(_ decision:)` ends them.
    mutating func append(_ endpoint: ExplainedEndpoint) {
        if endpoints.count < Self.endpointCapacity {
            endpoints.append(endpoint)
        } else {
            endpoints[Int(endpointsMade % UInt64(Self.endpointCapacity))] = endpoint
        }
        endpointsMade &+= 1
    }

    /// Keeps a decision whose endpoints are the last `endpointCount` that were kept; its number.
    mutating func append(_ decision: Decision, endpointCount: Int) -> UInt64 {
        var decision = decision
        decision.firstEndpoint = endpointsMade - UInt64(endpointCount)
        decision.endpointCount = UInt16(endpointCount)
        let at = Int(made % UInt64(Self.capacity))
        if ring.count < Self.capacity { ring.append(decision) } else { ring[at] = decision }
        made &+= 1
        return made - 1
    }

    var count: Int { ring.count }

    /// A decision by its number; nil when it is no longer kept.
    subscript(number: UInt64) -> Decision? {
        if number >= made || made - number > UInt64(ring.count) { return nil }
        return ring[Int(number % UInt64(Self.capacity))]
    }

    /// Whether all endpoints of a decision are still there.
    func hasEndpoints(of decision: Decision) -> Bool {
        endpointsMade - decision.firstEndpoint <= UInt64(Self.endpointCapacity)
    }

    /// One of the endpoints of a decision that still has them.
    func endpoint(_ index: Int, of decision: Decision) -> ExplainedEndpoint {
        endpoints[Int((decision.firstEndpoint + UInt64(index)) % UInt64(Self.endpointCapacity))]
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
    /// What was learned of the model from answers; milliseconds, 0 for nothing yet.
    public var loadMilliseconds: Float = 0
    public var serviceMilliseconds: Float = 0
    public var prefillMillisecondsPerByte: Float = 0

    public init() {}
}
