import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// Whether there is another attempt.
enum RetryVerdict {
    case made, notMade
    /// There would be, but for what the backend's policy says of retries (`XBackendTrafficPolicy.spec.retryConstraint`).
    case overBudget
}

/// Attempts after the first: whether, when and where (`robustness.md` §7, `HTTPRoute.spec.rules[].retry`).
extension Worker {
    // MARK: - Whether

    /// An attempt failed before the first byte of an answer: another one, or the answer that says so.
    @inline(never)
    mutating func attemptFailed(_ id: SlotID, _ reason: UpstreamFailure) {
        shard.countUpstreamFailure(series: exchanges[id].decision.backendSeries, reason: reason)
        // Whatever comes here is what the API calls an error of the connection.
        let isAsked = exchanges[id].hasRetryRule
        let failure: AttemptFailure =
            reason == .attemptTimeout || reason == .firstByteTimeout ? .timeout : .connection
        let verdict =
            exchanges[id].isMirror ? .notMade : mayRetry(id, after: failure, isAsked: isAsked)
        guard case .made = verdict else {
            answerFailure(id, reason, isOverBudget: verdict == .overBudget)
            return
        }
        let wait = isAsked ? retryWait(id, after: failure) : 0
        if exchanges[id].poolRequest != .none {
            beginRetry(id)
            tryElsewhere(
                id, than: exchanges[id].endpointID, Self.result(of: reason), after: wait)
            return
        }
        if wait > 0 {
            beginRetry(id)
            waitToRetry(id, wait)
            return
        }
        exchanges[id].noteFailedAttempt()
        guard let row = nextEndpoint(id), nameEndpoint(id, row) else {
            giveBackRetry(id)
            answerFailure(id, reason)
            return
        }
        countRetry(id)
        retry(id, endpoint: row)
    }

    /// Looks at the final head of an answer, which begins `bytes`, where the rule says when requests are tried again; true
    /// when the answer was dropped for another attempt.
    @inline(never)
    mutating func triesAgain(
        _ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, _ headBytes: Int
    ) -> Bool {
        let status = responseHead.status
        guard let rule = retryRule(id), rule.contains(status) else { return false }
        responseHead.keepBytes(of: bytes, upTo: headBytes)
        let asked = askedWait(id)
        if asked > Retry.askedWaitMax || isPast(id, after: asked) { return false }
        switch mayRetry(id, after: .status, isAsked: true) {
        case .made: break
        case .notMade: return false
        case .overBudget:
            drop(answerOf: id, upstream, bytes.extracting(headBytes..<bytes.count))
            answerFailure(id, .resetBeforeHead, isOverBudget: true)
            return true
        }
        let wait = max(retryWait(id, after: .status), asked)
        drop(answerOf: id, upstream, bytes.extracting(headBytes..<bytes.count))
        beginRetry(id)
        let pooled = exchanges[id].poolRequest
        if pooled != .none, let ledger = ledger(ofPool: poolRequests[pooled].pool) {
            tryElsewhere(
                id, than: exchanges[id].endpointID,
                Self.result(ofStatus: status, engine: ledger.engine), after: wait)
        } else if wait > 0 {
            waitToRetry(id, wait)
        } else {
            tryAgain(id)
        }
        return true
    }

    /// Parts from a backend whose answer is not passed on; its connection is kept where `rest` is all of the content.
    private mutating func drop(
        answerOf id: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>
    ) {
        if exchanges[id].isProcessed { noteUnpassedRequest(id) }
        var reader = ContentReader(responseHead.framing)
        let part = Relay.part(&reader, rest, from: 0)
        let isWhole = part.upTo == rest.count && (part.finished || responseHead.framing.isEmpty)
        guard isWhole, responseHead.keepsAlive, exchanges[id].leavesUpstreamClean,
            upstreams[upstream].isClean, upstreams[upstream].link.stream == nil
        else {
            letGo(upstream)
            return
        }
        exchanges[id].upstream = .none
        release(upstream: upstream)
    }

    /// Whether a failed attempt may be followed by another; `isAsked`: the rule names this cause.
    ///
    /// One that is `made` is taken out of the budget of its backend: `giveBackRetry` where nothing comes of it.
    mutating func mayRetry(
        _ id: SlotID, after failure: AttemptFailure, isAsked: Bool
    ) -> RetryVerdict {
        if exchanges[id].requestBroken && exchanges[id].lacksContent { return .notMade }
        // Bytes of an answer that were passed on, be they a hint, are the answer's first.
        if exchanges[id].hasPassedInterim { return .notMade }
        if clusters.row(ofCluster: exchanges[id].decision.clusterID) < 0 { return .notMade }
        let limits = limits(of: id)
        let attempt = failedAttempt(id, failure, isAsked: isAsked)
        let most = retryRule(id)?.attempts.map(Int.init)
        guard
            Retry.isAllowed(
                attempt, retriesMax: most ?? limits.retriesMax,
                inferenceRetriesMax: most ?? limits.inferenceRetriesMax)
        else { return .notMade }
        if let budget = retryBudget(id) {
            if budget.take(now: now) { return .made }
            shard.add(.retriesOverBudget)
            return .overBudget
        }
        // What reached nobody adds no work to any backend (`robustness.md` §7: «freely»).
        if !attempt.sentBytes { return .made }
        let fits = Retry.fitsBudget(
            // A retry of its own is over.
            running: retriesRunning - (exchanges[id].isRetry ? 1 : 0), active: exchanges.count,
            percent: limits.retryBudgetPercent, floor: limits.retryBudgetMin)
        if !fits { shard.add(.retriesOverBudget) }
        return fits ? .made : .notMade
    }

    // MARK: - Within which budget

    /// Counts the request in `requestHead` with its backend, whose retries are to be a share of all.
    mutating func countRequest() {
        guard decision.cluster >= 0 else { return }
        let row = clusters.clusters[Int(decision.cluster)].retryBudget
        if row >= 0 { clusters.retryBudgets[Int(row)].note(now: now) }
    }

    /// What the retries of an exchange are taken from, where its backend has a policy of its own.
    private func retryBudget(_ id: SlotID) -> RetryBudget? {
        if exchanges[id].isStream || exchanges[id].isCarrier { return nil }
        let cluster = clusters.row(ofCluster: exchanges[id].decision.clusterID)
        if cluster < 0 { return nil }
        let row = clusters.clusters[Int(cluster)].retryBudget
        return row < 0 ? nil : clusters.retryBudgets[Int(row)]
    }

    /// A retry that `mayRetry` allowed is not made.
    mutating func giveBackRetry(_ id: SlotID) {
        retryBudget(id)?.giveBack(now: now)
    }

    private func failedAttempt(
        _ id: SlotID, _ failure: AttemptFailure, isAsked: Bool
    ) -> FailedAttempt {
        let row = clusters.row(ofCluster: exchanges[id].decision.clusterID)
        return FailedAttempt(
            failure: failure, sentBytes: exchanges[id].sentBytes,
            wasReused: exchanges[id].usedPooled, holdsContent: !exchanges[id].lacksContent,
            isIdempotent: exchanges[id].method.isIdempotent || exchanges[id].isAsking,
            isInference: exchanges[id].isInference, isAsked: isAsked,
            attempts: Int(exchanges[id].attempts),
            endpoints: row < 0 ? 0 : Int(clusters.clusters[Int(row)].endpointCount))
    }

    /// What the exchange's rule says of retries.
    private func retryRule(_ id: SlotID) -> RetryRule? {
        guard exchanges[id].hasRetryRule, exchanges[id].generation >= 0 else { return nil }
        return generations[UInt32(exchanges[id].generation)].snapshot.table.retry(
            rule: exchanges[id].decision.rule)
    }

    /// Counts another attempt, at another endpoint than the last.
    mutating func beginRetry(_ id: SlotID) {
        countRetry(id)
        exchanges[id].noteFailedAttempt()
    }

    private mutating func countRetry(_ id: SlotID) {
        shard.add(.retries, 1)
        countRunningRetry(id)
    }

    private mutating func countRunningRetry(_ id: SlotID) {
        if exchanges[id].isRetry || !exchanges[id].sentBytes { return }
        exchanges[id].isRetry = true
        retriesRunning += 1
    }

    // MARK: - When

    /// Milliseconds from the failure of an attempt to the next one that the rule asks for.
    ///
    /// Without a backoff of the rule's own, what would be sent again without the rule is sent at once, as it is there.
    private mutating func retryWait(_ id: SlotID, after failure: AttemptFailure) -> UInt64 {
        let own = retryRule(id)?.backoffMilliseconds
        let limits = limits(of: id)
        if own == nil, failure == .connection,
            Retry.isAllowed(
                failedAttempt(id, failure, isAsked: false), retriesMax: limits.retriesMax,
                inferenceRetriesMax: limits.inferenceRetriesMax)
        {
            return 0
        }
        return Retry.wait(
            after: Int(exchanges[id].attempts), least: UInt64(own ?? Retry.backoffMilliseconds),
            random: random.next())
    }

    /// Milliseconds that the answer in `responseHead` asks to be waited (`Retry-After`), where the next attempt can be at no
    /// other endpoint: for as long nothing better comes of it.
    private func askedWait(_ id: SlotID) -> UInt64 {
        guard exchanges[id].poolRequest == .none,
            failedAttempt(id, .status, isAsked: true).endpoints == 1,
            let field = responseHead.first(named: ByteScan.bytes("retry-after")),
            let seconds = FieldValue.decimal(responseHead.span(field))
        else { return 0 }
        return min(seconds, UInt64(UInt32.max)) * 1_000
    }

    /// Whether a request's time is over after so many milliseconds.
    private func isPast(_ id: SlotID, after milliseconds: UInt64) -> Bool {
        milliseconds > 0 && exchanges[id].requestDeadline != 0
            && now &+ milliseconds >= exchanges[id].requestDeadline
    }

    /// Lets an exchange that has no connection wait before it is tried again; `timeouts.request` goes on meanwhile.
    mutating func waitToRetry(_ id: SlotID, _ milliseconds: UInt64) {
        if exchanges[id].isRetry {
            // A backend may ask for a long wait, in which nobody is given anything to do.
            exchanges[id].isRetry = false
            retriesRunning -= 1
        }
        exchanges[id].beginConnecting()
        exchanges[id].wait = .retry
        // The clock is read in whole milliseconds, and no time may be shorter than what was asked for.
        exchanges[id].attemptDeadline = now &+ milliseconds &+ 1
        updateDeadline(exchange: id)
        if !exchanges[id].requestDone {
            // Nobody waits for content while there is nobody to take it.
            setDeadline(downstream: exchanges[id].downstream, in: 0)
        }
    }

    // MARK: - Where

    /// The time until an exchange is tried again is over.
    mutating func tryAgain(_ id: SlotID) {
        exchanges[id].wait = .nothing
        exchanges[id].attemptDeadline = 0
        updateDeadline(exchange: id)
        countRunningRetry(id)
        if exchanges[id].poolRequest != .none {
            pick(id)
        } else if let row = nextEndpoint(id), nameEndpoint(id, row) {
            retry(id, endpoint: row)
        } else {
            fail(id, .noEndpoint)
        }
    }

    /// Begins an attempt after the first; content that is still to come follows.
    private mutating func retry(_ id: SlotID, endpoint row: Int32) {
        if exchanges[id].isCarrier { forgetTold(id) }
        attempt(id, endpoint: row)
        if exchanges.contains(id), exchanges[id].phase == .awaitingHead,
            !exchanges[id].requestDone, !exchanges[id].isCarrier
        {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    /// Row of the endpoint for another attempt.
    private mutating func nextEndpoint(_ id: SlotID) -> Int32? {
        guard isPicked(id) else { return chooseEndpoint(id) }
        if let row = pickedEndpoint(id, next: true) { return row }
        if !exchanges[id].hasRetryRule { return nil }
        // The rule asks for more attempts than the picker named endpoints.
        calls[exchanges[id].call].endpoints.beginAgain()
        return pickedEndpoint(id, next: false)
    }
}
