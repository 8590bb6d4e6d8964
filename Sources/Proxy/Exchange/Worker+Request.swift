import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// What was made of a request's head before its exchange has a slot.
struct RequestPlan: ~Copyable {
    /// Strings for the log and the head as it is sent.
    var buffer: Buffer
    var record = ExchangeRecord()
    /// Row of the endpoint for the first attempt.
    var endpoint: Int32 = -1
    var isModelServer = false
    /// Host is the endpoint's own.
    var namesEndpoint = false
}

/// From a parsed head to the first byte on a backend's connection.
extension Worker {
    /// Decides about the request in `requestHead` and begins it; returns how many bytes of `rest`, its content
    /// and what follows, were used.
    @inline(__always)
    mutating func beginExchange(
        _ id: SlotID, headBytes: Int, _ rest: Span<UInt8>
    ) -> Int {
        let decision = decide(id)
        if let reply = decision.reply {
            answerLocally(id, reply, decision)
            return 0
        }
        guard let buffer = buffers.take(capacity: 4096) else {
            answerLocally(id, .overloaded, decision)
            return 0
        }
        var plan = RequestPlan(buffer: buffer)
        if let reply = prepare(&plan, decision, id) {
            buffers.reclaim(&plan.buffer)
            answerInstead(id, reply, decision)
            return 0
        }
        let endpoint = plan.endpoint
        guard let slot = insert(plan, decision, id, headBytes: headBytes) else {
            answerLocally(id, .overloaded, decision)
            return 0
        }
        shard.set(.activeExchanges, UInt64(exchanges.count))
        if decision.requestMilliseconds != 0 {
            exchanges[slot].requestDeadline = now &+ UInt64(decision.requestMilliseconds)
            updateDeadline(exchange: slot)
        }
        return startAttempt(slot, endpoint: endpoint, rest)
    }

    @inline(__always)
    private mutating func decide(_ id: SlotID) -> Decision {
        if current == .max { return Decision(.noListener) }
        return generations[current].decide(
            requestHead, from: downstreams[id].origin, clusters,
            random: UInt32(truncatingIfNeeded: random.next()))
    }

    @inline(never)
    private mutating func answerInstead(_ id: SlotID, _ reply: LocalReply, _ decision: Decision) {
        if reply == .redirect {
            redirect(id, status: redirectStatus, decision)
        } else {
            answerLocally(id, reply, decision)
        }
    }

    /// Filters, endpoint and head; nil when all is ready to be sent, else the answer.
    @inline(__always)
    private mutating func prepare(
        _ plan: inout RequestPlan, _ decision: Decision, _ id: SlotID
    ) -> LocalReply? {
        keepStrings(&plan)
        if !decision.flags.isDisjoint(with: [.requestFilters, .redirect, .failedFilter]),
            let reply = applyRequestFilters(decision)
        {
            return reply
        }
        guard let row = chooseEndpoint(clusterRow: decision.cluster, avoiding: .max) else {
            return .noEndpoint
        }
        plan.endpoint = row
        if !prepareHead(&plan, decision, id) { return .headTooLargeAfterFilters }
        return writeHead(&plan) ? nil : .overloaded
    }

    private mutating func applyRequestFilters(_ decision: Decision) -> LocalReply? {
        switch Self.apply(generations, current, decision, &requestHead, &location) {
        case .forward: return nil
        case .redirect(let status):
            redirectStatus = status
            return .redirect
        case .failed: return .failedFilter
        case .tooLarge: return .headTooLargeAfterFilters
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

    /// Gives the exchange its slot; nil when all are taken.
    @inline(__always)
    private mutating func insert(
        _ plan: consuming RequestPlan, _ decision: Decision, _ id: SlotID, headBytes: Int
    ) -> SlotID? {
        let slot = exchanges.insert(
            Exchange(
                id, decision, plan, requestHead,
                generations[current].snapshot.parameters[Int(decision.parameters)],
                generation: current, headBytes: headBytes, began: nowNanoseconds))
        guard let slot else { return nil }
        generations[current].users &+= 1
        downstreams[id].begin(slot)
        return slot
    }
}
