import HTTP
import Inference
import Kernel
import Runtime
import Telemetry

/// Answers of model servers that another one may better: nothing of them has reached the client yet
/// (`ai-features.md` §6.1).
extension Worker {
    /// Looks at the final head of an answer to a request to a pool; true when the request goes elsewhere instead.
    @inline(never)
    mutating func movesOn(_ id: SlotID, _ upstream: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        let status = responseHead.status
        if status >= 400, let ledger = ledger(ofPool: poolRequests[pooled].pool),
            Self.isOfThisEndpoint(status, ledger.engine),
            mayRetry(id, after: .status, isAsked: false) == .made
        {
            let result = Self.result(ofStatus: status, engine: ledger.engine)
            if goesElsewhere(id, upstream, ledger, result) { return true }
            giveBackRetry(id)
        }
        noteStart(ofPooled: id)
        return false
    }

    /// Whether another endpoint may answer better: busy, broken behind a proxy, or without the model.
    private static func isOfThisEndpoint(_ status: Int, _ engine: EngineKind) -> Bool {
        switch status {
        case 429, 502, 503: true
        case 404: engine.loadsOnDemand
        default: false
        }
    }

    /// Takes another endpoint if there is one at once; else the answer stands.
    private mutating func goesElsewhere(
        _ id: SlotID, _ upstream: SlotID, _ ledger: PoolLedger, _ result: LeaseResult
    ) -> Bool {
        let pooled = exchanges[id].poolRequest
        var request = poolRequests[pooled].request
        request.tried.append(exchanges[id].endpointID)
        request.mayWait = false
        hashPrompt(id, pooled, blockBytes: ledger.prefixBlockBytes)
        let now = nowNanoseconds
        guard
            case .chosen(let lease) = ledger.pick(request, prefix: prefixHashes.span, now: now)
        else { return false }
        leavePool(id, result)
        poolRequests[pooled].request.tried = request.tried
        letGo(upstream)
        beginRetry(id)
        begin(id, lease)
        return true
    }

    // MARK: - What answers teach

    /// Begins to read how long the answer, whose head is in `responseHead`, took its server; `rest` came behind the head.
    mutating func beginTail(_ id: SlotID, _ rest: Span<UInt8>) {
        let pooled = exchanges[id].poolRequest
        guard responseHead.status == 200, responseHead.value(.contentEncoding) == nil,
            poolRequests[pooled].path.tellsTimings,
            let ledger = ledger(ofPool: poolRequests[pooled].pool), ledger.engine == .ollama
        else { return }
        poolRequests[pooled].tail = AnswerTail()
        poolRequests[pooled].tail?.append(rest)
    }

    /// Looks at content of an answer to a request to a pool.
    mutating func watchTail(_ id: SlotID, _ bytes: Span<UInt8>) {
        let pooled = exchanges[id].poolRequest
        poolRequests[pooled].tail?.append(bytes)
    }

    /// The exchange ends: what it has of its pool goes back, by what its answer was.
    mutating func endPooled(_ id: SlotID) {
        let pooled = exchanges[id].poolRequest
        var result = LeaseResult.cancelled
        if let ledger = ledger(ofPool: poolRequests[pooled].pool), exchanges[id].firstByte != 0 {
            result = Self.result(ofStatus: Int(exchanges[id].status), engine: ledger.engine)
            if case .done = result, let tail = poolRequests[pooled].tail {
                result = .done(tail.timings)
            }
        }
        leavePool(id, result)
        poolRequests.destroy(pooled)
    }
}
