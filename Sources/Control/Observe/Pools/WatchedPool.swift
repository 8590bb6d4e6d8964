import Inference
import Kernel
import Peer
import Runtime

/// A pool whose endpoints are asked how they are.
public struct WatchedPool: Sendable, Equatable {
    /// `PoolDescription.id`.
    public let id: UInt32
    /// `namespace/name`.
    public let name: String
    public let endpoints: [WatchedEndpoint]
    /// Who is told; nil where an external picker alone decides, which asks for itself.
    let ledger: PoolLedger?

    public static func == (a: WatchedPool, b: WatchedPool) -> Bool {
        a.id == b.id && a.name == b.name && a.endpoints == b.endpoints && a.ledger === b.ledger
    }
}

/// An endpoint as the scraper sees it.
public struct WatchedEndpoint: Sendable, Equatable {
    /// `EndpointDescription.id`.
    public let id: UInt32
    public let address: SocketAddress
    /// What it is asked with: Ollama on loopback refuses foreign names.
    public let host: String
    public let engine: EngineKind
    /// How it is spoken to; nil: it cannot be asked, since its connections begin with a client's address.
    public let transport: CallTransport?
}

/// What is asked of endpoints, each in its own rhythm.
enum ProbeTask: Int, CaseIterable, Sendable {
    /// Whether it is there.
    case health
    /// Its queue and its cache.
    case load
    /// The models in memory.
    case resident
    /// The models that it could load.
    case disk
}

extension EngineKind {
    /// Where a task's answer is, and how many milliseconds are between two; nil: the engine has no such thing.
    func ask(_ task: ProbeTask) -> (target: StaticString, milliseconds: UInt64)? {
        switch (self, task) {
        case (.ollama, .health): ("/api/version", 5_000)
        case (.ollama, .resident): ("/api/ps", 2_000)
        case (.ollama, .disk): ("/api/tags", 30_000)
        case (.vllm, .health), (.sglang, .health), (.trtllm, .health), (.llamaCpp, .health):
            ("/health", 5_000)
        case (.triton, .health): ("/v2/health/ready", 5_000)
        case (.nim, .health): ("/v1/health/ready", 5_000)
        case (.vllm, .load), (.sglang, .load), (.llamaCpp, .load): ("/metrics", 1_000)
        case (.trtllm, .load): ("/prometheus/metrics", 1_000)
        case (.triton, .load): ("/metrics", 1_000)
        case (.nim, .load): ("/v1/metrics", 1_000)
        case (.llamaCpp, .resident): ("/models", 2_000)
        case (.llamaCpp, .disk): ("/v1/models", 30_000)
        default: nil
        }
    }

    /// The port of a task where it is not that of the requests.
    func port(_ task: ProbeTask) -> UInt16? {
        self == .triton && task == .load ? 8_002 : nil
    }
}
