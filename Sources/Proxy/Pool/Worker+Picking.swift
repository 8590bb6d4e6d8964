import BasicContainers
import HTTP
import Inference
import Kernel
import Runtime
import Telemetry

/// The endpoint of a request to a pool: asked for, waited for, given back (`inference-extension.md` §7 and §8).
extension Worker {
    // MARK: - Asking

    /// Fields by which a client says how it is to be served; they go no further, nor do those that only a picker may set.
    private static var fairness: StaticString { "x-gateway-inference-fairness-id" }
    private static var objective: StaticString { "x-gateway-inference-objective" }
    static var sessionField: StaticString { "x-session-token" }

    /// Notes what the head in `requestHead` asks of the pick and takes the gateway's own fields out of it.
    mutating func takeWishes(_ pooled: SlotID) {
        let flow = requestHead.first(named: ByteScan.bytes(Self.fairness))
        if let flow { poolRequests[pooled].request.flow = PickingHash.of(requestHead.span(flow)) }
        if let token = requestHead.first(named: ByteScan.bytes(Self.sessionField)) {
            poolRequests[pooled].request.session = PickingHash.of(requestHead.span(token))
        }
        if let objective = requestHead.first(named: ByteScan.bytes(Self.objective)) {
            let row = clusters.clusters[Int(decision.cluster)].pool
            poolRequests[pooled].request.priority = clusters.pools[Int(row)].priority(
                requestHead.span(objective))
        }
        // A name can be put back only into what can be read.
        let row = clusters.clusters[Int(decision.cluster)].pool
        if !clusters.pools[Int(row)].rewrites.isEmpty { requestHead.remove(.acceptEncoding) }
        if !hasNamedModel { requestHead.remove(named: ByteScan.bytes(Self.modelField)) }
        let names = RoutingField.all
        for at in names.indices { requestHead.remove(named: ByteScan.bytes(names[at])) }
    }

    /// What a request waits longer than its pool says.
    private static var lostGrantMilliseconds: UInt64 { 2_000 }

    /// Asks for an endpoint and begins the attempt there, or waits, or says why there is none.
    mutating func pick(_ id: SlotID) {
        let pooled = exchanges[id].poolRequest
        guard let ledger = ledger(ofPool: poolRequests[pooled].pool) else {
            pickWithoutLedger(id)
            return
        }
        let block = ledger.prefixBlockBytes
        describe(id, pooled, engine: ledger.engine)
        hashPrompt(id, pooled, blockBytes: block)
        let outcome = ledger.pick(
            poolRequests[pooled].request, prefix: prefixHashes.span, now: nowNanoseconds)
        switch outcome {
        case .chosen(let lease): begin(id, lease)
        case .waiting(let ticket):
            poolRequests[pooled].pick = .waiting(ticket)
            exchanges[id].beginConnecting()
            // The pool tells when the wait is over; should its word be lost, the exchange ends all the same.
            exchanges[id].attemptDeadline =
                now &+ ledger.queueDeadlineMilliseconds &+ Self.lostGrantMilliseconds
            updateDeadline(exchange: id)
        case .rejected(let rejection):
            if leavesSession(id) || forgetsTried(id) {
                pick(id)
            } else {
                reject(id, rejection)
            }
        }
    }

    /// Lets endpoints that failed be asked again where the rule asks for more attempts than there are others; once for
    /// each attempt.
    private mutating func forgetsTried(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard exchanges[id].hasRetryRule, exchanges[id].failedEndpoint != .max else { return false }
        exchanges[id].failedEndpoint = .max
        poolRequests[pooled].request.tried = EndpointList()
        return true
    }

    /// Whether an exchange stands in its pool's queue.
    func waitsForPool(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard pooled != .none, case .waiting = poolRequests[pooled].pick else { return false }
        return true
    }

    /// Whether an exchange has the right to one endpoint of its pool.
    func isLeased(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard pooled != .none, case .leased = poolRequests[pooled].pick else { return false }
        return true
    }

    /// Until a pool has a ledger: the less busy of two.
    private mutating func pickWithoutLedger(_ id: SlotID) {
        guard
            let row = chooseEndpoint(id), nameEndpoint(id, row)
        else {
            fail(id, .noEndpoint)
            return
        }
        beginAttempt(id, row)
    }

    /// Fills in what the content said.
    private mutating func describe(_ id: SlotID, _ pooled: SlotID, engine: EngineKind) {
        guard poolRequests[pooled].peek != nil, poolRequests[pooled].request.model == 0,
            let facts = poolRequests[pooled].peek?.facts
        else { return }
        if let model = poolRequests[pooled].served ?? facts.model {
            poolRequests[pooled].request.model = PickingHash.model(model.span, engine: engine)
        }
        poolRequests[pooled].request.options = UInt32(clamping: facts.contextLength ?? 0)
        var bytes = 0
        for at in 0..<facts.prompts.count { bytes += facts.prompts[at].count }
        poolRequests[pooled].request.promptBytes = UInt32(clamping: bytes)
    }

    /// Hashes the beginning of the prompt, which stands in the exchange's buffer, into `prefixHashes`.
    mutating func hashPrompt(_ id: SlotID, _ pooled: SlotID, blockBytes: Int) {
        prefixHashes.removeAll()
        guard let facts = poolRequests[pooled].peek?.facts, facts.prompts.count > 0,
            poolRequests[pooled].peek?.isEncoded == false,
            let model = poolRequests[pooled].served ?? facts.model
        else { return }
        let start = poolRequests[pooled].contentStart
        var blocks = PrefixBlocks(model: model, blockBytes: blockBytes)
        var hashes = RigidArray<UInt64>()
        swap(&hashes, &prefixHashes)
        Self.hash(
            exchanges[id].buffer, from: start, facts.prompts, poolRequests[pooled].moved, &blocks,
            into: &hashes)
        swap(&hashes, &prefixHashes)
    }

    private static func hash(
        _ buffer: borrowing Buffer, from start: Int, _ prompts: PromptRanges,
        _ moved: (behind: Int, by: Int), _ blocks: inout PrefixBlocks,
        into hashes: inout RigidArray<UInt64>
    ) {
        hashes.edit { output in
            for at in 0..<prompts.count where !blocks.isFull {
                let range = prompts[at]
                let first = start + (range.lowerBound >= moved.behind ? moved.by : 0)
                blocks.update(
                    ByteScan.part(buffer.span, first + range.lowerBound, first + range.upperBound),
                    into: &output)
            }
            blocks.finish(into: &output)
        }
    }

    // MARK: - Answers

    /// Begins the attempt that a lease allows.
    mutating func begin(_ id: SlotID, _ lease: Lease) {
        let pooled = exchanges[id].poolRequest
        poolRequests[pooled].pick = .leased(lease)
        if !renewsLeases { scheduleRenewal() }
        let row = clusters.row(
            ofEndpoint: lease.endpoint, cluster: exchanges[id].decision.clusterID)
        guard row >= 0, nameEndpoint(id, row) else {
            // This worker does not know it: new addresses are on their way, here or there.
            tryElsewhere(id, than: lease.endpoint, .cancelled)
            return
        }
        beginAttempt(id, row)
    }

    private mutating func beginAttempt(_ id: SlotID, _ row: Int32) {
        attempt(id, endpoint: row)
        // Content that nobody read follows as it comes.
        if exchanges.contains(id), exchanges[id].takesContent {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    private mutating func reject(_ id: SlotID, _ rejection: Rejection) {
        replyAndFinish(id, exchanges[id].downstream, .rejected(rejection.reason))
    }

    /// A request in a pool's queue has its turn, or has waited for nothing.
    mutating func take(_ grant: Grant) {
        let id = Token(raw: grant.asker.exchange).id
        guard exchanges.contains(id), exchanges[id].poolRequest != .none else { return }
        let pooled = exchanges[id].poolRequest
        guard case .waiting(let ticket) = poolRequests[pooled].pick, ticket == grant.ticket,
            let ledger = ledger(ofPool: poolRequests[pooled].pool)
        else { return }
        poolRequests[pooled].pick = .none
        exchanges[id].attemptDeadline = 0
        updateDeadline(exchange: id)
        if let rejection = grant.rejection {
            if rejection.reason == .noEndpoint, leavesSession(id) || forgetsTried(id) {
                pick(id)
            } else {
                reject(id, rejection)
            }
        } else if let lease = ledger.claim(ticket, now: nowNanoseconds) {
            begin(id, lease)
        } else {
            pick(id)
        }
    }

    // MARK: - Keeping

    /// Leases of requests that run longer than leases last are renewed in time; those of a thread that has ended lapse.
    private mutating func scheduleRenewal() {
        var wait = UInt64(60_000)
        for at in 0..<ledgers.count {
            if let ledger = ledgers[at] { wait = min(wait, max(1, ledger.leaseMilliseconds / 4)) }
        }
        renewsLeases = true
        timers.schedule(
            Token(kind: TokenKind.leases, slot: 0, generation: 1), at: now &+ wait)
    }

    mutating func renewLeases() {
        renewsLeases = false
        for slot in 0..<poolRequests.highWater where poolRequests.isOccupied(slot) {
            guard case .leased(let lease) = poolRequests[slot].pick,
                let ledger = ledger(ofPool: poolRequests[slot].pool)
            else { continue }
            ledger.renew(lease.id, now: nowNanoseconds)
        }
        if poolRequests.count > 0 { scheduleRenewal() }
    }

    // MARK: - Giving back

    /// The answer has begun.
    mutating func noteStart(ofPooled id: SlotID) {
        let pooled = exchanges[id].poolRequest
        guard case .leased(let lease) = poolRequests[pooled].pick,
            let ledger = ledger(ofPool: poolRequests[pooled].pool)
        else { return }
        ledger.started(lease.id, now: nowNanoseconds)
    }

    /// Gives a lease back, or a place in the queue.
    mutating func leavePool(_ id: SlotID, _ result: LeaseResult) {
        let pooled = exchanges[id].poolRequest
        let pick = poolRequests[pooled].pick
        poolRequests[pooled].pick = .none
        guard let ledger = ledger(ofPool: poolRequests[pooled].pool) else { return }
        switch pick {
        case .none: break
        case .waiting(let ticket): ledger.cancel(ticket, now: nowNanoseconds)
        case .leased(let lease): ledger.finished(lease.id, result, now: nowNanoseconds)
        }
    }

    /// An attempt came to nothing before the first byte of an answer: the next endpoint, if one may still be asked, when
    /// `wait` milliseconds have passed.
    mutating func tryElsewhere(
        _ id: SlotID, than endpoint: UInt32, _ result: LeaseResult, after wait: UInt64 = 0
    ) {
        let pooled = exchanges[id].poolRequest
        leavePool(id, result)
        guard
            poolRequests[pooled].request.tried.append(endpoint)
                || forgetsTried(id) && poolRequests[pooled].request.tried.append(endpoint)
        else {
            fail(id, .noEndpoint)
            return
        }
        if wait > 0 {
            waitToRetry(id, wait)
        } else {
            pick(id)
        }
    }

    /// What an attempt's failure says of its endpoint.
    static func result(of failure: UpstreamFailure) -> LeaseResult {
        switch failure {
        case .connectRefused, .connectTimeout, .tls, .noEndpoint: .connectFailed
        case .resetBeforeHead, .truncated, .malformedAnswer: .reset
        case .firstByteTimeout, .attemptTimeout, .idleTimeout: .timedOut
        case .requestTimeout, .overloaded: .cancelled
        }
    }

    /// What an answer's status says of its endpoint.
    static func result(ofStatus status: Int, engine: EngineKind) -> LeaseResult {
        switch status {
        case 404 where engine.loadsOnDemand: .modelMissing
        case 429, 503: .busy(retryAfterMilliseconds: 0)
        case 500...: .serverError
        case 400..<500: .refused
        default: .done(RequestTimings())
        }
    }

    /// The pool's shared state; nil when it has none.
    func ledger(ofPool id: UInt32) -> PoolLedger? {
        Int(id) < ledgers.count ? ledgers[Int(id)] : nil
    }
}

/// Fields with which gateway and picker speak about a request; a client's own are believed by nobody
/// (`inference-extension.md` §3).
enum RoutingField {
    static var all: InlineArray<6, StaticString> {
        [
            "x-gateway-inference-fairness-id", "x-gateway-inference-objective",
            "x-gateway-destination-endpoint", "x-gateway-destination-endpoint-served",
            "x-gateway-destination-endpoint-subset", "x-gateway-model-name-rewrite",
        ]
    }
}
