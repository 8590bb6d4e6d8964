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
        for slot in 0..<slotCount { exclusions[slot] = nil }
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
        output.waits = placement.verdict == .noRoom && request.priority >= 0 && request.mayWait
            && queue.limit > 0
        if placement.verdict != .chosen { candidates.removeAll() }
        for i in 0..<candidates.count where output.endpoints.count < Explanation.capacity {
            let slot = Int(candidates[i].slot)
            var row = ExplainedEndpoint(endpoint: rows[slot].id, exclusion: nil)
            row.total = totals[i]
            row.isChosen = slot == placement.slot
            output.endpoints.append(row)
        }
        let told = output.endpoints.count
        let scored = ScoredRequest(blocks: Float(min(prefix.count, PrefixCache.blockLimit)))
        for raw in 0..<Scorer.count {
            guard let scorer = Scorer(rawValue: raw), configuration.profile[scorer] != 0,
                !candidates.isEmpty
            else { continue }
            scorer.score(candidates, scored, &column)
            for i in 0..<told {
                output.endpoints[i].scores[Int(scorer.rawValue)] = column[i]
            }
        }
        for slot in 0..<slotCount
        where rows[slot].isMember && output.endpoints.count < Explanation.capacity {
            guard let exclusion = exclusions[slot] else { continue }
            output.endpoints.append(
                ExplainedEndpoint(endpoint: rows[slot].id, exclusion: exclusion))
        }
    }

    /// How many decisions are kept, 1,000 at the most.
    public var decisionCount: Int { decisions.count }

    /// A kept decision; 0 is the newest.
    public func decision(_ age: Int) -> Decision {
        precondition(age >= 0 && age < decisions.count, "The decision is kept.")
        return decisions[age]
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
