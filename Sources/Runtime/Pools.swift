import HTTP

/// Who picks the endpoint of each request to a pool.
public enum PoolPicker: Sendable, Equatable {
    /// This process.
    case builtIn
    /// An endpoint picker over ext_proc, reached as the cluster of this id; when it fails, this process where
    /// `opensOnFailure`, else nobody (`endpointPickerRef.failureMode`).
    case external(cluster: UInt32, opensOnFailure: Bool)
}

/// The worth of requests that name an objective (`InferenceObjective`).
public struct ObjectiveDescription: Sendable, Equatable {
    /// As `x-gateway-inference-objective` has it.
    public var name: [UInt8]
    /// Larger is served first; below 0 is shed first.
    ///
    /// Requests without an objective have 0.
    public var priority: Int32

    public init(name: String, priority: Int32) {
        self.name = Array(name.utf8)
        self.priority = priority
    }
}

/// A model that is asked for in place of another, and its share.
public struct RewriteTarget: Sendable, Equatable {
    /// At least 1.
    public var weight: UInt32
    public var model: String

    public init(weight: UInt32, model: String) {
        self.weight = weight
        self.model = model
    }
}

/// What a model's name becomes (one match of `InferenceModelRewrite.spec.rules[]`).
public struct RewriteDescription: Sendable, Equatable {
    /// The name that requests have; nil takes every one.
    public var model: String?
    /// Chosen among by weight; never empty.
    public var targets: [RewriteTarget]

    public init(model: String?, targets: [RewriteTarget]) {
        self.model = model
        self.targets = targets
    }
}

/// What is asked for of a cluster whose endpoints are model servers, beyond «the less busy of two».
public struct PoolDescription: Sendable {
    /// Stable for as long as the process runs, dense from 0.
    public var id: UInt32
    /// `namespace/name`, for logs, metrics and the admin port.
    public var name: String
    public var picker: PoolPicker
    /// The whole content of an inference request is read before its endpoint is picked.
    public var needsContent: Bool
    /// An external picker sees the content of answers (`GatewayParameters.spec.picker.responseBody`).
    public var sendsAnswers: Bool
    /// Each name once, in any order, for there are few.
    ///
    /// An external picker knows them itself: they are for what this process picks.
    public var objectives: [ObjectiveDescription]
    /// The first that fits holds: names, each once, then at the most one for all others.
    ///
    /// As `objectives`, for what this process picks.
    public var rewrites: [RewriteDescription]
    /// Its state, which workers and observer share; nil where an external picker alone decides.
    public var ledger: PoolLedger?

    public init(
        id: UInt32, name: String, picker: PoolPicker = .builtIn, needsContent: Bool = true,
        sendsAnswers: Bool = true, objectives: [ObjectiveDescription] = [],
        rewrites: [RewriteDescription] = [], ledger: PoolLedger? = nil
    ) {
        self.id = id
        self.name = name
        self.picker = picker
        self.needsContent = needsContent
        self.sendsAnswers = sendsAnswers
        self.objectives = objectives
        self.rewrites = rewrites
        self.ledger = ledger
    }

    /// What a model's name becomes; nil when it stays.
    public func targets(of model: Span<UInt8>) -> [RewriteTarget]? {
        for row in rewrites {
            guard let name = row.model else { return row.targets }
            if ByteScan.equal(name.utf8Span.span, model) { return row.targets }
        }
        return nil
    }

    /// The priority of an objective; 0 when the pool has none of this name (`inference-extension.md` §2).
    public func priority(_ objective: Span<UInt8>) -> Int32 {
        for known in objectives where ByteScan.equal(known.name.span, objective) {
            return known.priority
        }
        return 0
    }
}
