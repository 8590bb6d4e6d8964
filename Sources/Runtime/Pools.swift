import HTTP

/// Who picks the endpoint of each request to a pool.
public enum PoolPicker: Sendable, Equatable {
    /// This process.
    case builtIn
    /// An endpoint picker over ext_proc, reached as the cluster of this id; when it fails, this process where
    /// `opensOnFailure`, else nobody (`endpointPickerRef.failureMode`).
    case external(cluster: UInt32, opensOnFailure: Bool)
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
    /// Priorities of requests by the name of an objective, whose bytes are sorted by nobody: there are few.
    public var objectives: [(name: [UInt8], priority: Int32)] = []
    /// Its state, which workers and observer share; nil where an external picker alone decides.
    public var ledger: PoolLedger?

    public init(
        id: UInt32, name: String, picker: PoolPicker = .builtIn, needsContent: Bool = true,
        sendsAnswers: Bool = true, ledger: PoolLedger? = nil
    ) {
        self.id = id
        self.name = name
        self.picker = picker
        self.needsContent = needsContent
        self.sendsAnswers = sendsAnswers
        self.ledger = ledger
    }

    /// The priority of an objective; 0 when the pool has none of this name (`inference-extension.md` §2).
    public func priority(_ objective: Span<UInt8>) -> Int32 {
        for known in objectives where ByteScan.equal(known.name.span, objective) {
            return known.priority
        }
        return 0
    }
}
