import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// How far a request has come with the bytes at hand.
struct Begun {
    /// Bytes that were used.
    var used: Int
    /// It was sent to its last byte: nothing of it is to be gone on with.
    var isSent = false
}

/// From a parsed head to the first byte on a backend's connection.
extension Worker {
    /// Decides about the request in `requestHead` and begins it; `rest` is its content and what follows.
    @inline(always)
    mutating func beginExchange(
        _ id: SlotID, from origin: RequestOrigin, headBytes: Int, _ rest: Span<UInt8>
    ) -> Begun {
        decide(origin)
        if decision.reply != nil {
            answerUnsent(id)
            return Begun(used: 0)
        }
        guard let slot = newExchange(id, headBytes: headBytes) else {
            answerLocally(id, .overloaded, decision)
            return Begun(used: 0)
        }
        if options.log != nil { keepStrings(slot) }
        if !decision.flags.isDisjoint(
            with: [
                .requestFilters, .redirect, .failedFilter, .retries, .sessions, .cors, .mirrors,
                .authorizes, .retryBudget,
            ])
        {
            if decision.flags.contains(.authorizes),
                let waits = awaitsLeave(slot, of: id, headBytes: headBytes, rest)
            {
                return waits
            }
            if decision.reply == nil { applyRequestFilters(slot) }
            if decision.flags.contains(.mirrors), decision.reply == nil {
                return beginMirrored(slot, of: id, rest)
            }
        }
        if decision.isPooled, decision.reply == nil {
            return Begun(used: beginPooled(slot, rest))
        }
        guard decision.reply == nil, let endpoint = chooseEndpoint(slot, of: id) else {
            answerUnsent(id)
            return Begun(used: 0)
        }
        return startAttempt(slot, endpoint: endpoint, rest)
    }

    /// The same for a request whose copies go to mirrors.
    @inline(never)
    private mutating func beginMirrored(
        _ slot: SlotID, of id: SlotID, _ rest: Span<UInt8>
    ) -> Begun {
        if decision.isPooled { return Begun(used: beginMirroredPooled(slot, rest)) }
        guard let endpoint = chooseEndpoint(slot, of: id) else {
            answerUnsent(id)
            return Begun(used: 0)
        }
        return startMirrored(slot, endpoint: endpoint, rest)
    }

    @inline(always)
    private mutating func decide(_ origin: RequestOrigin) {
        if current == .max {
            decision = Decision()
            decision.reply = .noListener
        } else {
            Self.decide(
                &decision, requestHead, from: origin, generations, current, clusters, &random)
            if decision.flags.contains(.sessions) { resumeSession() }
        }
    }

    @inline(always)
    private static func decide(
        _ decision: inout Decision, _ head: borrowing RequestHead, from origin: RequestOrigin,
        _ generations: borrowing Slab<Generation>, _ generation: UInt32,
        _ clusters: borrowing ClusterSet, _ random: inout RandomSource
    ) {
        generations[generation].decide(&decision, head, from: origin, clusters, &random)
    }

    /// Makes the exchange of the request in `requestHead`; nil when there is no room.
    @inline(always)
    private mutating func newExchange(_ id: SlotID, headBytes: Int) -> SlotID? {
        guard var buffer = buffers.takeLeast() else { return nil }
        let settings = generations[current].settings[Int(decision.parameters)]
        guard
            let slot = Self.insert(
                &exchanges, id, &decision, requestHead, settings, &buffer, generation: current,
                headBytes: headBytes, began: nowNanoseconds)
        else {
            buffers.give(buffer)
            return nil
        }
        currentUsers &+= 1
        downstreams[id].begin(slot)
        if decision.requestMilliseconds != 0 {
            // The clock is read in whole milliseconds, and no time may be shorter than what was asked for.
            exchanges[slot].requestDeadline = now &+ UInt64(decision.requestMilliseconds) &+ 1
            updateDeadline(exchange: slot)
        }
        return slot
    }

    /// Makes an exchange in a slot; `buffer` becomes its own then, and is without memory.
    ///
    /// `decision` is only read: a value would be copied once more, and a closure takes no borrowed one.
    @inline(always)
    private static func insert(
        _ exchanges: inout Slab<Exchange>, _ id: SlotID, _ decision: inout Decision,
        _ head: borrowing RequestHead, _ settings: ExchangeSettings, _ buffer: inout Buffer,
        generation: UInt32, headBytes: Int, began: UInt64
    ) -> SlotID? {
        exchanges.insert {
            var own = Buffer()
            swap(&own, &buffer)
            return Exchange(
                id, decision, head, settings, own, generation: generation, headBytes: headBytes,
                began: began)
        }
    }

    /// Answers a request about which nothing was sent; `decision.reply` says what.
    @inline(never)
    mutating func answerUnsent(_ id: SlotID) {
        let exchange = downstreams[id].exchange
        if exchange != .none {
            downstreams[id].exchange = .none
            downstreams[id].phase = .reading
            remove(exchange)
        }
        let reply = decision.reply ?? .noEndpoint
        if isPreflight(answered: reply) {
            answerPreflight(id)
        } else if reply == .denied {
            answerDenied(id)
        } else if reply == .redirect {
            redirect(id, status: redirectStatus, decision)
        } else {
            answerLocally(id, reply, decision)
        }
    }

    @inline(never)
    private mutating func applyRequestFilters(_ slot: SlotID) {
        exchanges[slot].hasRetryRule = decision.flags.contains(.retries)
        if decision.flags.contains(.retryBudget) { countRequest() }
        if decision.sessionEndpoint >= 0 { keepSession(slot) }
        if decision.flags.contains(.cors) {
            meetOrigin(slot)
            if decision.reply != nil { return }
        }
        switch Self.apply(generations, current, decision, &requestHead, &location) {
        case .forward: if decision.flags.contains(.mirrors) { keepMirrorHost() }
        case .redirect(let status):
            redirectStatus = status
            decision.reply = .redirect
        case .failed: decision.reply = .failedFilter
        case .tooLarge: decision.reply = .headTooLargeAfterFilters
        }
    }

    private static func apply(
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, _ decision: Decision,
        _ head: inout RequestHead, _ scratch: inout RigidArray<UInt8>
    ) -> FilterOutcome {
        generations[generation].snapshot.table.applyRequestFilters(
            rule: decision.match.rule, backend: decision.backend, match: decision.match,
            listener: decision.listener, head: &head, scratch: &scratch)
    }

    /// Chooses the endpoint of the first attempt and writes the head for it; else `decision.reply` says why not.
    @inline(always)
    private mutating func chooseEndpoint(_ slot: SlotID, of id: SlotID) -> Int32? {
        var endpoint = decision.firstEndpoint
        if decision.endpointCount != 1 {
            guard
                let chosen = decision.sessionEndpoint >= 0
                    ? decision.sessionEndpoint
                    : chooseEndpoint(cluster: decision.clusterID, avoiding: .max)
            else {
                decision.reply = .noEndpoint
                return nil
            }
            endpoint = chosen
        }
        if !writeHead(slot, of: id, endpoint: endpoint) { return nil }
        return endpoint
    }
}
