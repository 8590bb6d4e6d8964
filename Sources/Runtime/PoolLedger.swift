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
    /// The scorers with their weights.
    public let profile: Profile
    /// How long a request waits for an endpoint at the most.
    public let queueDeadlineMilliseconds: UInt64
    /// After which a lease ends that is not renewed.
    public let leaseMilliseconds: UInt64
    private let state: Lock<Guarded>
    private let blockBytes: Atomic<Int>
    private let publisher: Publisher

    /// The state with the latest time that anybody came with: each thread has read its clock some time ago, and for the
    /// pool time never goes back.
    private struct Guarded: ~Copyable {
        var pool: PoolState
        private var latest: UInt64 = 0

        init(_ pool: consuming PoolState) { self.pool = pool }

        mutating func moved(to now: UInt64) -> UInt64 {
            latest = max(latest, now)
            return latest
        }
    }

    /// An empty pool; the same seed makes the same choices.
    ///
    /// `publisher` reaches the workers by their numbers.
    public init(
        _ configuration: PoolConfiguration, seed: UInt64, publisher: Publisher = Publisher([])
    ) {
        engine = configuration.engine
        profile = configuration.profile
        queueDeadlineMilliseconds = configuration.queueDeadlineMilliseconds
        leaseMilliseconds = configuration.leaseMilliseconds
        let fresh = PoolState(configuration, seed: seed)
        blockBytes = Atomic(fresh.prefixBlockBytes)
        state = Lock(Guarded(fresh))
        self.publisher = publisher
    }

    /// Runs `body` alone with the pool at a moment that is not before any other.
    private func hold<R>(_ now: UInt64, _ body: (inout PoolState, UInt64) -> R) -> R {
        state.withLock { state in
            let now = state.moved(to: now)
            return body(&state.pool, now)
        }
    }

    /// Does something that may make room, and tells who got it.
    private func change<R>(_ now: UInt64, _ body: (inout PoolState, UInt64) -> R) -> R {
        let result = hold(now, body)
        tell()
        return result
    }

    private func tell() {
        while let grant = state.withLock({ $0.pool.nextGrant() }) { publisher.grant(grant) }
    }

    /// Chooses an endpoint, or a place in the queue; `prefix` is the chain of the prompt, which may be empty.
    public func pick(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64
    ) -> PickOutcome {
        let outcome = hold(now) { $0.pick(request, prefix: prefix, now: $1) }
        // Whoever waits may have been put out for the sake of this one.
        if case .waiting = outcome { tell() }
        return outcome
    }

    /// The first byte of a leased request's answer is there.
    public func started(_ lease: LeaseID, now: UInt64) {
        change(now) { $0.started(lease, now: $1) }
    }

    /// A leased request still runs.
    public func renew(_ lease: LeaseID, now: UInt64) {
        hold(now) { $0.renew(lease, now: $1) }
    }

    /// Gives a lease back.
    public func finished(_ lease: LeaseID, _ result: LeaseResult, now: UInt64) {
        change(now) { $0.finished(lease, result, now: $1) }
    }

    /// Takes the lease that a grant told of; nil when it has ended.
    public func claim(_ ticket: Ticket, now: UInt64) -> Lease? {
        hold(now) { $0.claim(ticket, now: $1) }
    }

    /// The asker waits no more.
    public func cancel(_ ticket: Ticket, now: UInt64) {
        change(now) { $0.cancel(ticket, now: $1) }
    }

    /// Replaces the members.
    public func setEndpoints(_ endpoints: [PoolEndpoint], now: UInt64) {
        change(now) { $0.setEndpoints(endpoints, now: $1) }
    }

    /// Takes over what a scrape or a poll said.
    public func observe(_ endpoint: UInt32, _ observation: EndpointObservation, now: UInt64) {
        let bytes = change(now) { pool, now in
            pool.observe(endpoint, observation, now: now)
            return pool.prefixBlockBytes
        }
        blockBytes.store(bytes, ordering: .relaxed)
    }

    /// Ends what has run out; to be called a few times a second.
    public func sweep(now: UInt64) {
        change(now) { $0.sweep(now: $1) }
    }

    /// How a pick would end now, and why; not for the request's path.
    public func explain(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64, into output: inout Explanation
    ) {
        hold(now) { $0.explain(request, prefix: prefix, now: $1, into: &output) }
    }

    /// Endpoints that would take a request if the one it was given could not be reached, the best first.
    public func fallbacks(
        _ request: PickRequest, besides endpoint: UInt32, prefix: Span<UInt64>, now: UInt64,
        limit: Int
    ) -> EndpointList<8> {
        hold(now) {
            $0.fallbacks(request, besides: endpoint, prefix: prefix, now: $1, limit: limit)
        }
    }

    /// The last decisions, the newest first; not for the request's path.
    public func decisions(limit: Int) -> [ToldDecision] {
        var told: [ToldDecision] = []
        var next = state.withLock { $0.pool.decisionsMade }
        // A few at a time: requests wait for the lock.
        while told.count < limit, next > 0 {
            let first = next - min(next, 32)
            let some = state.withLock { state in
                (first..<next).reversed().compactMap { state.pool.decision($0) }
            }
            if some.isEmpty { break }
            told += some.prefix(limit - told.count)
            next = first
        }
        return told
    }

    /// What decided a lease; nil when that is no longer kept.
    public func story(of lease: LeaseID) -> LeaseStory? {
        state.withLock { $0.pool.story(of: lease) }
    }

    /// The state of a member; nil for others.
    public func status(of endpoint: UInt32) -> EndpointStatus? {
        state.withLock { $0.pool.status(of: endpoint) }
    }

    /// Bytes of a block of a prompt, as its hashes are to be made.
    public var prefixBlockBytes: Int { blockBytes.load(ordering: .relaxed) }

    /// How many requests wait, and how many run.
    public var counts: (waiting: Int, running: Int) {
        state.withLock { ($0.pool.waitingCount, $0.pool.leaseCount) }
    }
}
