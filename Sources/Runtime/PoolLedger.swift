import Inference
import Kernel
import Synchronization

/// One inference pool's live state, shared by all workers: in flight, reservations, queue, index of prompts.
///
/// The one lock that a request of a pool takes, for a few microseconds and without I/O. Hash prompts before.
/// What makes room for those who wait tells their workers, which claim it; a grant that a full mailbox loses ends by
/// itself.
public final class PoolLedger: Sendable {
    public let engine: EngineKind
    /// How long a request waits for an endpoint at the most.
    public let queueDeadlineMilliseconds: UInt64
    private let state: Lock<PoolState>
    private let blockBytes: Atomic<Int>
    private let publisher: Publisher

    /// An empty pool; the same seed makes the same choices. `publisher` reaches the workers by their numbers.
    public init(
        _ configuration: PoolConfiguration, seed: UInt64, publisher: Publisher = Publisher([])
    ) {
        engine = configuration.engine
        queueDeadlineMilliseconds = configuration.queueDeadlineMilliseconds
        let fresh = PoolState(configuration, seed: seed)
        blockBytes = Atomic(fresh.prefixBlockBytes)
        state = Lock(fresh)
        self.publisher = publisher
    }

    /// Does something that may make room, and tells who got it.
    private func change<R>(_ body: (inout PoolState) -> R) -> R {
        let result = state.withLock { body(&$0) }
        while let grant = state.withLock({ $0.nextGrant() }) { publisher.grant(grant) }
        return result
    }

    /// Chooses an endpoint, or a place in the queue; `prefix` is the chain of the prompt, which may be empty.
    public func pick(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64
    ) -> PickOutcome {
        let outcome = state.withLock { $0.pick(request, prefix: prefix, now: now) }
        // Whoever waits may have been put out for the sake of this one.
        if case .waiting = outcome { change { _ in } }
        return outcome
    }

    /// The first byte of a leased request's answer is there.
    public func started(_ lease: LeaseID, now: UInt64) {
        change { $0.started(lease, now: now) }
    }

    /// A leased request still runs.
    public func renew(_ lease: LeaseID, now: UInt64) {
        state.withLock { $0.renew(lease, now: now) }
    }

    /// Gives a lease back.
    public func finished(_ lease: LeaseID, _ result: LeaseResult, now: UInt64) {
        change { $0.finished(lease, result, now: now) }
    }

    /// Takes the lease that a grant told of; nil when it has ended.
    public func claim(_ ticket: Ticket, now: UInt64) -> Lease? {
        state.withLock { $0.claim(ticket, now: now) }
    }

    /// The asker waits no more.
    public func cancel(_ ticket: Ticket, now: UInt64) {
        change { $0.cancel(ticket, now: now) }
    }

    /// Replaces the members.
    public func setEndpoints(_ endpoints: [PoolEndpoint], now: UInt64) {
        change { $0.setEndpoints(endpoints, now: now) }
    }

    /// Takes over what a scrape or a poll said.
    public func observe(_ endpoint: UInt32, _ observation: EndpointObservation, now: UInt64) {
        let bytes = change { state in
            state.observe(endpoint, observation, now: now)
            return state.prefixBlockBytes
        }
        blockBytes.store(bytes, ordering: .relaxed)
    }

    /// Ends what has run out; to be called a few times a second.
    public func sweep(now: UInt64) {
        change { $0.sweep(now: now) }
    }

    /// How a pick would end now, and why; not for the request's path.
    public func explain(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64, into output: inout Explanation
    ) {
        state.withLock { $0.explain(request, prefix: prefix, now: now, into: &output) }
    }

    /// The last decisions, the newest first; not for the request's path.
    public func decisions(limit: Int) -> [Decision] {
        state.withLock { pool in (0..<min(limit, pool.decisionCount)).map { pool.decision($0) } }
    }

    /// The state of a member; nil for others.
    public func status(of endpoint: UInt32) -> EndpointStatus? {
        state.withLock { $0.status(of: endpoint) }
    }

    /// Bytes of a block of a prompt, as its hashes are to be made.
    public var prefixBlockBytes: Int { blockBytes.load(ordering: .relaxed) }

    /// How many requests wait, and how many run.
    public var counts: (waiting: Int, running: Int) {
        state.withLock { ($0.waitingCount, $0.leaseCount) }
    }
}
