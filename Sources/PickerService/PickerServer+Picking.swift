import BasicContainers
import HTTP
import Inference
import Kernel
import Protocols
import Runtime

/// The endpoint of a request: asked for, waited for, told, given back.
extension PickerServer {
    // MARK: - Asking

    /// Asks the pool for an endpoint and tells it, or waits, or tells why there is none.
    mutating func pick(_ id: SlotID) {
        guard let ledger else {
            return refuse(id, status: 503, "The picker has no pool to pick from. Try again later.")
        }
        calls[id].ledger = ledger
        describe(id, engine: ledger.engine)
        hashPrompt(id, blockBytes: ledger.prefixBlockBytes)
        let outcome = ledger.pick(
            calls[id].request, prefix: hashes.span, now: nowNanoseconds)
        switch outcome {
        case .chosen(let lease): tell(id, lease)
        case .waiting(let ticket):
            calls[id].pick = .waiting(ticket)
            calls[id].stage = .waiting
        case .rejected(let rejection): reject(id, rejection)
        }
    }

    /// Fills in what the content said.
    private mutating func describe(_ id: SlotID, engine: EngineKind) {
        guard calls[id].request.model == 0, let facts = calls[id].peek?.facts else { return }
        if let model = calls[id].renaming?.served ?? facts.model {
            calls[id].request.model = PickingHash.model(model.span, engine: engine)
        }
        calls[id].request.options = UInt32(clamping: facts.contextLength ?? 0)
        var bytes = 0
        for at in 0..<facts.prompts.count { bytes += facts.prompts[at].count }
        calls[id].request.promptBytes = UInt32(clamping: bytes)
    }

    /// Hashes the beginning of the prompt into `hashes`.
    private mutating func hashPrompt(_ id: SlotID, blockBytes: Int) {
        hashes.removeAll()
        guard let facts = calls[id].peek?.facts, facts.prompts.count > 0,
            calls[id].peek?.isEncoded == false,
            let model = calls[id].renaming?.served ?? facts.model
        else { return }
        let moved = calls[id].renaming?.moved ?? (behind: Int.max, by: 0)
        var blocks = PrefixBlocks(model: model, blockBytes: blockBytes)
        var held = Buffer()
        swap(&held, &calls[id].held)
        hashes.edit { output in
            for at in 0..<facts.prompts.count where !blocks.isFull {
                let range = facts.prompts[at]
                let by = range.lowerBound >= moved.behind ? moved.by : 0
                blocks.update(
                    ByteScan.part(held.span, range.lowerBound + by, range.upperBound + by),
                    into: &output)
            }
            blocks.finish(into: &output)
        }
        swap(&held, &calls[id].held)
    }

    /// A request in the pool's queue has its turn, or has waited for nothing.
    mutating func take(_ grant: Grant) {
        let id = Token(raw: grant.asker.exchange).id
        guard calls.contains(id), case .waiting(let ticket) = calls[id].pick,
            ticket == grant.ticket, let ledger = calls[id].ledger
        else { return }
        calls[id].pick = .none
        if let rejection = grant.rejection {
            reject(id, rejection)
        } else if let lease = ledger.claim(ticket, now: nowNanoseconds) {
            tell(id, lease)
        } else {
            pick(id)
        }
    }

    // MARK: - Telling

    /// Tells the endpoint that a lease allows, and lets go of what was held for it.
    private mutating func tell(_ id: SlotID, _ lease: Lease) {
        calls[id].pick = .leased(lease)
        guard let address = address(of: lease.endpoint) else {
            // New addresses have taken it away since.
            calls[id].request.tried.append(lease.endpoint)
            giveBack(id, .cancelled)
            if calls[id].request.tried.count < 4 { return pick(id) }
            return refuse(
                id, status: 503, "The pool has no endpoint that is ready. Try again later.")
        }
        let others = fallbacks(id, lease)
        var held = Buffer()
        swap(&held, &calls[id].held)
        var words = Buffer()
        swap(&words, &self.words)
        words.removeAll()
        words.withFree { Self.write(address, into: &$0) }
        for at in 0..<Int(others.count) {
            guard let next = self.address(of: others[at]) else { continue }
            words.withFree {
                _ = ByteScan.append(",", to: &$0)
                Self.write(next, into: &$0)
            }
        }
        let endpointCount = words.count
        let isRenamed = calls[id].renaming != nil
        let isWhole = calls[id].requestEnded && !calls[id].hasTrailers && calls[id].heldPieces > 0
        if isWhole, calls[id].echoesRequest || isRenamed {
            _ = words.withFree { HeadWriter.append(decimal: UInt64(held.count), into: &$0) }
        }
        let replaced = calls[id].tellsAtBody && isRenamed ? held.count : 0
        let choice = ProcessingAnswer.Choice(
            at: replaced > 0 ? .replacement(replaced) : calls[id].tellsAtBody ? .body : .head,
            readsAnswer: isRenamed && calls[id].mayChangeAnswer)
        say(id, then: held.span.extracting(first: replaced)) { output in
            let texts = words.span
            return ProcessingAnswer.append(
                endpoint: texts.extracting(0..<endpointCount),
                length: texts.extracting(endpointCount...), choice, into: &output)
        }
        swap(&words, &self.words)
        passHeld(id, held.span)
        buffers.reclaim(&held)
        if calls[id].hasTrailers {
            say(id) { ProcessingAnswer.append(trailersKept: .request, into: &$0) }
        }
        calls[id].peek = nil
        calls[id].stage = .passing
    }

    /// Where the gateway is to go on to when the endpoint is out of reach; `takeServed` hears of it.
    private mutating func fallbacks(_ id: SlotID, _ lease: Lease) -> EndpointList<8> {
        guard options.endpointsMax > 1, let ledger = calls[id].ledger else {
            return EndpointList()
        }
        hashPrompt(id, blockBytes: ledger.prefixBlockBytes)
        return ledger.fallbacks(
            calls[id].request, besides: lease.endpoint, prefix: hashes.span,
            now: nowNanoseconds, limit: options.endpointsMax - 1)
    }

    private mutating func passHeld(_ id: SlotID, _ held: Span<UInt8>) {
        let pieces = calls[id].heldPieces
        calls[id].heldPieces = 0
        if pieces == 0 { return }
        if calls[id].echoesRequest {
            let ends = calls[id].requestEnded && !calls[id].hasTrailers
            pass(id, held, .request, isEchoed: true, ends: ends)
            return
        }
        // The first piece was answered with the endpoint.
        for _ in 0..<(calls[id].tellsAtBody ? pieces - 1 : pieces) {
            pass(id, held, .request, isEchoed: false, ends: false)
        }
    }

    private func address(of endpoint: UInt32) -> SocketAddress? {
        if poolRow < 0 { return nil }
        let row = clusters.row(
            ofEndpoint: endpoint, cluster: clusters.clusters[poolRow].id)
        return row < 0 ? nil : clusters.endpoints[Int(row)].address
    }

    /// `ip:port`, with brackets around IPv6.
    private static func write(_ address: SocketAddress, into output: inout OutputSpan<UInt8>) {
        if address.isIPv6 { _ = ByteScan.append("[", to: &output) }
        address.writeHost(into: &output)
        if address.isIPv6 { _ = ByteScan.append("]", to: &output) }
        _ =
            ByteScan.append(":", to: &output)
            && HeadWriter.append(decimal: UInt64(address.port), into: &output)
    }

    // MARK: - Refusing

    private mutating func reject(_ id: SlotID, _ rejection: Rejection) {
        let sentence: StaticString =
            switch rejection.reason {
            case .saturated, .queueFull: "The pool is saturated. Try again later."
            case .evicted:
                "A request of a higher priority took the place in the queue. Try again later."
            case .noEndpoint: "The pool has no endpoint that is ready. Try again later."
            case .modelUnknown: "No endpoint of the pool has the model. Ask for another one."
            case .deadline: "The request waited too long for an endpoint. Try again later."
            }
        refuse(
            id, status: rejection.reason.status, sentence,
            reason: rejection.reason.droppedReason,
            retryAfterMilliseconds: rejection.retryAfterMilliseconds)
    }

    /// Content that no choice can be made by.
    mutating func refuse(_ id: SlotID, _ refusal: BodyRefusal) {
        refuse(id, status: Int(refusal.status), refusal.sentence)
    }

    /// Has the gateway answer at once, and ends the call.
    mutating func refuse(
        _ id: SlotID, status: Int, _ sentence: StaticString, reason: StaticString = "",
        retryAfterMilliseconds: UInt32 = 0
    ) {
        giveBack(id, .cancelled)
        var words = Buffer()
        swap(&words, &self.words)
        words.removeAll()
        if retryAfterMilliseconds > 0 {
            let seconds = UInt64((retryAfterMilliseconds + 999) / 1_000)
            _ = words.withFree { HeadWriter.append(decimal: seconds, into: &$0) }
        }
        say(id) { output in
            ProcessingAnswer.append(
                immediate: status, reason: ByteScan.bytes(reason), retryAfter: words.span,
                body: ByteScan.bytes(sentence), into: &output)
        }
        swap(&words, &self.words)
        end(id, .ok)
    }

    // MARK: - The answer

    /// Somebody else may have answered than was told: the gateway found the endpoint out of reach, or went on to another.
    ///
    /// Nobody says whether the endpoint that was told was out of reach or busy: it is left out for a while, and the
    /// request counts where it runs.
    mutating func takeServed(_ id: SlotID, _ name: Span<UInt8>) {
        guard case .leased(let lease) = calls[id].pick, let served = endpoint(named: name),
            served != lease.endpoint, let ledger = calls[id].ledger
        else { return }
        giveBack(id, .busy(retryAfterMilliseconds: 0))
        var request = calls[id].request
        request.hasSubset = true
        request.subset = EndpointList()
        request.subset.append(served)
        request.tried = EndpointList()
        request.mayWait = false
        hashes.removeAll()
        let outcome = ledger.pick(request, prefix: hashes.span, now: nowNanoseconds)
        if case .chosen(let lease) = outcome { calls[id].pick = .leased(lease) }
    }

    /// The answer has begun; one that says that the endpoint is busy or broken is no sign of life.
    mutating func noteStart(_ id: SlotID) {
        guard case .leased(let lease) = calls[id].pick, calls[id].status != 429,
            calls[id].status < 500
        else { return }
        calls[id].ledger?.started(lease.id, now: nowNanoseconds)
    }

    // MARK: - Giving back

    /// The answer has ended, as its status says, or the gateway says no more about it.
    mutating func finishByStatus(_ id: SlotID) {
        guard calls.contains(id) else { return }
        giveBack(id, result(id))
    }

    /// What the answer's status says of its endpoint.
    private func result(_ id: SlotID) -> LeaseResult {
        switch calls[id].status {
        case 0: .cancelled
        case 404 where calls[id].ledger?.engine.loadsOnDemand ?? false: .modelMissing
        case 429, 503: .busy(retryAfterMilliseconds: 0)
        case 500...: .serverError
        case 400..<500: .refused
        default: .done(RequestTimings())
        }
    }

    /// Gives a lease back, or a place in the queue.
    mutating func giveBack(_ id: SlotID, _ result: LeaseResult) {
        let pick = calls[id].pick
        calls[id].pick = .none
        guard let ledger = calls[id].ledger else { return }
        switch pick {
        case .none: break
        case .waiting(let ticket): ledger.cancel(ticket, now: nowNanoseconds)
        case .leased(let lease): ledger.finished(lease.id, result, now: nowNanoseconds)
        }
    }
}
