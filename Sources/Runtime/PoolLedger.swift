import Inference
import Kernel
import Synchronization

/// One pool's live state, which all workers and the observer share: one truth, so that the same requests get the same
/// choice with one worker and with eight.
///
/// Each call takes one lock for as long as a pick lasts, and afterwards tells the workers of grants that it led to. A
/// message that a full mailbox drops costs nothing but time: what it granted ends by itself.
public final class PoolLedger: Sendable {
    public let engine: EngineKind
    private let state: Lock<PoolState>
    private let blockBytes: Atomic<Int>
    private let publisher: Publisher

    /// A pool without endpoints; `publisher` reaches the workers by their numbers.
    public init(_ configuration: PoolConfiguration, seed: UInt64, publisher: Publisher) {
        engine = configuration.engine
        let fresh = PoolState(configuration, seed: seed)
        blockBytes = Atomic(fresh.prefixBlockBytes)
        state = Lock(fresh)
        self.publisher = publisher
    }

    /// Bytes of one block of a prompt, which prefixes are hashed by.
    public var prefixBlockBytes: Int { blockBytes.load(ordering: .relaxed) }

    // MARK: - For workers

    /// As `PoolState.pick`.
    public func pick(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64
    ) -> PickOutcome {
        let outcome = state.withLock { $0.pick(request, prefix: prefix, now: now) }
        tell()
        return outcome
    }

    /// As `PoolState.claim`.
    public func claim(_ ticket: Ticket, now: UInt64) -> Lease? {
        state.withLock { $0.claim(ticket, now: now) }
    }

    /// As `PoolState.cancel`.
    public func cancel(_ ticket: Ticket, now: UInt64) {
        state.withLock { $0.cancel(ticket, now: now) }
        tell()
    }

    /// As `PoolState.started`.
    public func started(_ lease: LeaseID, now: UInt64) {
        state.withLock { $0.started(lease, now: now) }
        tell()
    }

    /// As `PoolState.renew`.
    public func renew(_ lease: LeaseID, now: UInt64) {
        state.withLock { $0.renew(lease, now: now) }
    }

    /// As `PoolState.finished`.
    public func finished(_ lease: LeaseID, _ result: LeaseResult, now: UInt64) {
        state.withLock { $0.finished(lease, result, now: now) }
        tell()
    }

    // MARK: - For the control plane

    /// As `PoolState.setEndpoints`.
    public func setEndpoints(_ endpoints: [PoolEndpoint], now: UInt64) {
        state.withLock { $0.setEndpoints(endpoints, now: now) }
        tell()
    }

    /// As `PoolState.observe`.
    public func observe(_ endpoint: UInt32, _ observation: EndpointObservation, now: UInt64) {
        let bytes = state.withLock { state in
            state.observe(endpoint, observation, now: now)
            return state.prefixBlockBytes
        }
        blockBytes.store(bytes, ordering: .relaxed)
        tell()
    }

    /// As `PoolState.sweep`; to be called a few times a second.
    public func sweep(now: UInt64) {
        state.withLock { $0.sweep(now: now) }
        tell()
    }

    /// Looks at the state, alone with it, without changing what is to be told.
    public func read<R>(_ body: (inout PoolState) -> R) -> R { state.withLock { body(&$0) } }

    /// Tells the workers of what became of requests in the queue.
    private func tell() {
        while let grant = state.withLock({ $0.nextGrant() }) {
            publisher.grant(grant)
        }
    }
}
