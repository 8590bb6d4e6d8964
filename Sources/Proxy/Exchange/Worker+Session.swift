import HTTP
import Inference
import Kernel
import Routing
import Runtime

/// Requests of a rule that stay with the endpoint of the first one (`rules[].sessionPersistence`).
extension Worker {
    /// Seconds since 1970, as of this tick.
    private var wallSeconds: UInt32 { UInt32(truncatingIfNeeded: wallMilliseconds / 1_000) }

    /// Takes the endpoint that the request in `requestHead` brings a token for, unless it cannot be reached.
    @inline(never)
    mutating func resumeSession() {
        let chosen = decision
        let seconds = wallSeconds
        Self.resumeSession(
            &decision, requestHead, generations, current, clusters, now: seconds)
        guard decision.sessionEndpoint >= 0 else { return }
        let id = clusters.endpoints[Int(decision.sessionEndpoint)].id
        if endpoints[Int(id)].avoidedUntil > now { decision = chosen }
    }

    private static func resumeSession(
        _ decision: inout Decision, _ head: borrowing RequestHead,
        _ generations: borrowing Slab<Generation>, _ generation: UInt32,
        _ clusters: borrowing ClusterSet, now: UInt32
    ) {
        generations[generation].resumeSession(&decision, head, clusters, now: now)
    }

    /// Notes with the exchange which session the request belongs to.
    mutating func keepSession(_ slot: SlotID) {
        exchanges[slot].sessionBegan = decision.sessionBegan
        if decision.sessionKeyIsOld { exchanges[slot].marks.insert(.oldSessionKey) }
        exchanges[slot].sessionEndpoint = clusters.endpoints[Int(decision.sessionEndpoint)].id
    }

    /// Has a pool pick the endpoint of the request's session, as long as it would pick it at all.
    mutating func restrictToSession(_ pooled: SlotID) {
        guard decision.sessionEndpoint >= 0 else { return }
        poolRequests[pooled].request.subset.append(
            clusters.endpoints[Int(decision.sessionEndpoint)].id)
        poolRequests[pooled].request.hasSubset = true
    }

    /// Lets a pool pick any endpoint where that of the session takes no request; false when there is no session.
    mutating func leavesSession(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard exchanges[id].sessionEndpoint != .max, poolRequests[pooled].request.hasSubset else {
            return false
        }
        poolRequests[pooled].request.subset = EndpointList()
        poolRequests[pooled].request.hasSubset = false
        return true
    }

    /// Tells the answer in `responseHead` the token of its session: of a new one, of one that has moved, of one that ends
    /// when it is silent, and of one whose token was made with a key that signs no more.
    @inline(never)
    mutating func tellSession(_ id: SlotID) {
        let rule = exchanges[id].decision.rule
        let endpoint = clusters.row(
            ofEndpoint: exchanges[id].endpointID, cluster: exchanges[id].decision.clusterID)
        let generation = UInt32(exchanges[id].generation)
        guard endpoint >= 0, let row = generations[generation].snapshot.table.session(rule: rule)
        else { return }
        let now = wallSeconds
        let goesOn = exchanges[id].sessionEndpoint == exchanges[id].endpointID
        if goesOn, row.idleSeconds == 0, !exchanges[id].marks.contains(.oldSessionKey) { return }
        let token = generations[generation].snapshot.table.token(
            began: goesOn ? exchanges[id].sessionBegan : now, used: now, row,
            endpoint: clusters.endpoints[Int(endpoint)].key)
        let downstream = exchanges[id].downstream
        let isSecure = downstreams.contains(downstream) && downstreams[downstream].isTLS
        output.removeAll()
        let fits = Self.write(
            token, row, now: now, isSecure: isSecure, generations, generation, into: &output)
        if fits { Self.tell(output, row, generations, generation, in: &responseHead) }
    }

    private static func write(
        _ token: SessionToken, _ row: SessionRow, now: UInt32, isSecure: Bool,
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, into output: inout Buffer
    ) -> Bool {
        output.withFree { out in
            generations[generation].snapshot.table.write(
                token, row, now: now, isSecure: isSecure, into: &out)
        }
    }

    private static func tell(
        _ value: borrowing Buffer, _ row: SessionRow, _ generations: borrowing Slab<Generation>,
        _ generation: UInt32, in head: inout ResponseHead
    ) {
        generations[generation].snapshot.table.tell(value.span, row, in: &head)
    }
}
