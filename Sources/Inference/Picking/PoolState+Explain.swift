import BasicContainers

/// One endpoint's state, for the admin port.
public struct EndpointStatus: BitwiseCopyable, Sendable {
    public let endpoint: UInt32
    public let isReady: Bool
    /// Monotonic nanoseconds; 0 for not ejected.
    public let ejectedUntil: UInt64
    public let inFlight: Int32
    /// Requests without a byte yet.
    public let unstarted: Int32
    public let waiting: Int32
    public let running: Int32
    /// Not a number when unknown.
    public let kvUsage: Float
    public let residentCount: Int32
    public let loadingCount: Int32
}

extension PoolState {
    /// Finds where a request would go now, tells of every endpoint why or why not, and changes nothing.
    public mutating func explain(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64, into output: inout Explanation
    ) {
        output.endpoints.removeAll()
        output.rejection = nil
        let model = row(of: request.model, now)
        output.loadMilliseconds = models.rows[model].loadMilliseconds
        output.serviceMilliseconds = models.rows[model].serviceMilliseconds
        output.prefillMillisecondsPerByte = models.rows[model].prefillMillisecondsPerByte
        isExplaining = true
        let placement = place(request, prefix, model, now)
        isExplaining = false
        switch placement.verdict {
        case .chosen: break
        case .noRoom: output.rejection = .saturated
        case .saturated: output.rejection = .saturated
        case .noEndpoint: output.rejection = .noEndpoint
        case .modelUnknown: output.rejection = .modelUnknown
        }
        output.waits =
            placement.verdict == .noRoom && request.priority >= 0 && request.mayWait
            && queue.limit > 0
        for i in 0..<candidates.count where output.endpoints.count < Explanation.capacity {
            output.endpoints.append(
                placement.verdict == .chosen
                    ? explained(i, placement)
                    : ExplainedEndpoint(
                        endpoint: rows[Int(candidates[i].slot)].id, exclusion: .saturated))
        }
        for slot in 0..<slotCount
        where rows[slot].isMember && output.endpoints.count < Explanation.capacity {
            guard let exclusion = exclusions[slot] else { continue }
            output.endpoints.append(
                ExplainedEndpoint(endpoint: rows[slot].id, exclusion: exclusion))
        }
    }

    /// Endpoints that would take a request if the one it was given could not be reached, the best first; changes nothing.
    public mutating func fallbacks(
        _ request: PickRequest, besides endpoint: UInt32, prefix: Span<UInt64>, now: UInt64,
        limit: Int
    ) -> EndpointList<8> {
        var list = EndpointList<8>()
        var others = request
        others.tried.append(endpoint)
        others.mayWait = false
        let model = row(of: others.model, now)
        isExplaining = true
        let placement = place(others, prefix, model, now)
        isExplaining = false
        guard placement.verdict == .chosen else { return list }
        while Int(list.count) < limit {
            var best = -1
            for i in 0..<candidates.count {
                let id = rows[Int(candidates[i].slot)].id
                if id == endpoint || list.contains(id) { continue }
                if best < 0 || totals[i] > totals[best] { best = i }
            }
            if best < 0 || !list.append(rows[Int(candidates[best].slot)].id) { break }
        }
        return list
    }

    /// A candidate as the last pick scored it.
    private func explained(_ i: Int, _ placement: Placement) -> ExplainedEndpoint {
        let slot = Int(candidates[i].slot)
        var row = ExplainedEndpoint(endpoint: rows[slot].id, exclusion: nil)
        row.scores = scores[i]
        row.total = placement.isScored ? totals[i] : 0
        row.isChosen = slot == placement.slot
        return row
    }

    /// Keeps a decision with all endpoints as the last pick saw them; its number.
    mutating func keep(_ decision: Decision, _ placement: Placement) -> UInt64 {
        let bound = DecisionRing.endpointsPerDecision
        var told = 0
        for i in 0..<candidates.count
        where told < bound - 1 || Int(candidates[i].slot) == placement.slot {
            decisions.append(explained(i, placement))
            told += 1
        }
        for slot in 0..<slotCount where told < bound && rows[slot].isMember {
            guard let exclusion = exclusions[slot] else { continue }
            decisions.append(ExplainedEndpoint(endpoint: rows[slot].id, exclusion: exclusion))
            told += 1
        }
        return decisions.append(decision, endpointCount: told)
    }

    /// How many decisions were made ever; the last 1,000 are kept.
    public var decisionsMade: UInt64 { decisions.made }

    /// A decision by its number, from 0; nil when it is no longer kept.
    public func decision(_ number: UInt64) -> ToldDecision? {
        guard let decision = decisions[number] else { return nil }
        let count = decisions.hasEndpoints(of: decision) ? Int(decision.endpointCount) : 0
        return ToldDecision(
            decision: decision,
            endpoints: (0..<count).map { decisions.endpoint($0, of: decision) })
    }

    /// What decided a lease; nil when that is no longer kept.
    public func story(of lease: LeaseID) -> LeaseStory? {
        guard leases.contains(lease.slot), let decision = decisions[leases[lease.slot].decision],
            decisions.hasEndpoints(of: decision)
        else { return nil }
        var chosen: ExplainedEndpoint?
        var runnerUp: ExplainedEndpoint?
        for i in 0..<Int(decision.endpointCount) {
            let row = decisions.endpoint(i, of: decision)
            if row.isChosen {
                chosen = row
            } else if row.exclusion == nil, row.total > runnerUp?.total ?? -.infinity {
                runnerUp = row
            }
        }
        return chosen.map { LeaseStory(decision: decision, chosen: $0, runnerUp: runnerUp) }
    }

    /// The state of a member; nil for others.
    public func status(of endpoint: UInt32) -> EndpointStatus? {
        guard let slot = slot(of: endpoint), rows[slot].isMember else { return nil }
        let row = rows[slot]
        return EndpointStatus(
            endpoint: endpoint, isReady: row.isReady, ejectedUntil: row.breaker.closedUntil,
            inFlight: row.inFlight, unstarted: row.unstarted, waiting: row.waiting,
            running: row.running, kvUsage: row.kvUsage, residentCount: row.residentCount,
            loadingCount: row.loadingCount)
    }
}
