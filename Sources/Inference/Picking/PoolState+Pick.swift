import BasicContainers
import Kernel

/// Where a request would go.
struct Placement: BitwiseCopyable {
    enum Verdict: BitwiseCopyable {
        case chosen
        /// Somebody could take it, later.
        case noRoom
        case saturated, noEndpoint, modelUnknown
    }

    var verdict: Verdict
    var slot = -1
    var reason = PickReason.score
    var isWarm = true
    var matched = 0
    var total: Float = 0
    var candidateCount = 0
    /// Whether the candidates' totals were counted: a lone one needs none.
    var isScored = false

    init(_ verdict: Verdict) { self.verdict = verdict }
}

/// What a walk over the endpoints found.
struct Tally: BitwiseCopyable {
    var usable = 0
    var closed = 0
    var missing = 0
    /// Members that might have the model, but are not ready or not to be asked.
    var hidden = 0
    /// Members that are ready, whatever else keeps the request away.
    var ready = 0
    var warm = 0
    var warmWithRoom = 0
    var isLoadingSomewhere = false
    var fits = false
    var saturation: Float = 0
    var lowestPriority = UInt8.max
    var highestPriority: UInt8 = 0
}

extension PoolState {
    /// Chooses an endpoint for a request; `prefix` is the chain of its prompt, which may be empty.
    ///
    /// O(endpoints), and nothing is allocated.
    public mutating func pick(
        _ request: PickRequest, prefix: Span<UInt64>, now: UInt64
    ) -> PickOutcome {
        let model = row(of: request.model, now)
        if queue.models[model].count > 0 {
            // Those who wait for the model have their turn before who comes.
            if request.priority >= 0 && request.mayWait {
                return wait(request, prefix, model, now)
            }
            if queue.models[model].count > queue.models[model].specialCount {
                return rejected(.saturated, model)
            }
        }
        let placement = place(request, prefix, model, now)
        switch placement.verdict {
        case .chosen:
            return .chosen(makeLease(placement, request, prefix, model, now, waited: 0))
        case .noRoom where request.priority >= 0 && request.mayWait && queue.limit > 0:
            return wait(request, prefix, model, now)
        case .noRoom, .saturated: return rejected(.saturated, model)
        case .noEndpoint: return rejected(.noEndpoint, model)
        case .modelUnknown: return rejected(.modelUnknown, model)
        }
    }

    func rejected(_ reason: RejectionReason, _ model: Int) -> PickOutcome {
        .rejected(Rejection(reason: reason, retryAfterMilliseconds: retryAfter(reason, model)))
    }

    /// When it may be worth asking again: when what waits has been served, as far as that is learned.
    func retryAfter(_ reason: RejectionReason, _ model: Int) -> UInt32 {
        switch reason {
        case .modelUnknown: return 0
        case .noEndpoint: return 5_000
        case .saturated, .queueFull, .evicted, .deadline: break
        }
        let service = models.rows[model].serviceMilliseconds
        let inFlight = Float(max(1, models.rows[model].inFlight))
        let wait = service * (Float(queue.models[model].count) + 1) / inFlight
        return UInt32(max(1_000, min(60_000, wait)))
    }

    // MARK: - Candidates

    /// Finds where a request would go now, and changes nothing that lasts.
    mutating func place(
        _ request: PickRequest, _ blocks: Span<UInt64>, _ model: Int, _ now: UInt64
    ) -> Placement {
        var tally = gather(request, model, now, isPanic: false)
        var isPanic = false
        if tally.usable == 0 && tally.closed > 0 {
            // Better one that failed than none.
            tally = gather(request, model, now, isPanic: true)
            isPanic = true
        }
        if tally.usable == 0 {
            let isUnknown = tally.missing > 0 && tally.hidden == 0
            return Placement(isUnknown ? .modelUnknown : .noEndpoint)
        }
        if leases.isFull { return Placement(.saturated) }
        if tally.ready == 0 || tally.saturation >= Float(tally.ready) {
            if request.priority < 0 { return Placement(.saturated) }
            if configuration.queuesWhenSaturated { return Placement(.noRoom) }
        }
        if tally.lowestPriority != tally.highestPriority {
            keep(.lowerPriority) { $0.rows[Int($1.slot)].priority == tally.lowestPriority }
        }
        let isBound = tally.warm > 0 && tally.warmWithRoom == 0
        if isBound && !mayLoadElsewhere(request, model, tally) {
            keep(.wouldLoad) { _, candidate in candidate.isWarm }
        }
        keep(.noRoom) { _, candidate in candidate.hasRoom }
        if candidates.isEmpty { return Placement(.noRoom) }
        if configuration.avoidsSaturated { leaveOutSaturated() }
        return choose(request, blocks, model, isPanic)
    }

    /// Drops candidates that do not satisfy the condition.
    private mutating func keep(
        _ exclusion: Exclusion, _ isKept: (borrowing PoolState, Candidate) -> Bool
    ) {
        var kept = 0
        for i in 0..<candidates.count {
            let candidate = candidates[i]
            if isKept(self, candidate) {
                if kept != i { candidates[kept] = candidate }
                kept += 1
            } else {
                exclusions[Int(candidate.slot)] = exclusion
            }
        }
        if kept < candidates.count { candidates.removeLast(candidates.count - kept) }
    }

    private mutating func leaveOutSaturated() {
        let queueThreshold = configuration.queueThreshold
        let kvThreshold = configuration.kvThreshold
        func isBelow(_ candidate: Candidate) -> Bool {
            candidate.waiting < queueThreshold
                && (candidate.kvUsage.isNaN || candidate.kvUsage < kvThreshold)
        }
        var isAny = false
        for i in 0..<candidates.count where isBelow(candidates[i]) { isAny = true }
        if isAny { keep(.saturated) { _, candidate in isBelow(candidate) } }
    }

    /// Walks over the endpoints and gathers those that could serve the request at all.
    private mutating func gather(
        _ request: PickRequest, _ model: Int, _ now: UInt64, isPanic: Bool
    ) -> Tally {
        var tally = Tally()
        candidates.removeAll()
        for slot in 0..<slotCount { exclusions[slot] = nil }
        let loads = configuration.engine.loadsOnDemand && model != 0
        let stale = configuration.staleAfterMilliseconds &* 1_000_000
        let needsSaturation = request.priority < 0 || configuration.queuesWhenSaturated
        let modelLimit = model == 0 ? 0 : configuration.concurrencyPerModel
        let endpointLimit = configuration.concurrencyPerEndpoint
        let isRestricted = request.isRestricted
        let options = max(1, request.options)
        let size = models.rows[model].size
        for slot in 0..<slotCount where rows[slot].isMember {
            if !rows[slot].isReady {
                tally.hidden += 1
                exclude(slot, .notReady)
                continue
            }
            let isFresh =
                rows[slot].known.contains(.load)
                && now &- rows[slot].observedAt <= stale
            let (waiting, running) = isFresh ? requestsNow(slot) : ownRequests(slot)
            let kvUsage = isFresh ? kvUsageNow(slot) : .nan
            tally.ready += 1
            if needsSaturation {
                // Here those count that may have to wait: a look comes too late for a burst.
                let unsure =
                    isFresh
                    ? Float(rows[slot].waiting + max(0, rows[slot].freshWaiting)) : waiting
                let kv = kvUsage.isNaN ? 0 : kvUsage / configuration.kvThreshold
                tally.saturation += max(unsure / configuration.queueThreshold, kv)
            }
            if isRestricted {
                if request.hasSubset && !request.subset.contains(rows[slot].id) {
                    tally.hidden += 1
                    exclude(slot, .notInSubset)
                    continue
                }
                if request.tried.contains(rows[slot].id) {
                    exclude(slot, .tried)
                    continue
                }
            }
            let at = models.at(model, slot)
            if !isPanic && !rows[slot].breaker.isOpen(now) {
                tally.closed += 1
                exclude(slot, .ejected)
                continue
            }
            if !isPanic && model != 0 && !models.places[at].breaker.isOpen(now) {
                tally.closed += 1
                exclude(slot, .circuitOpen)
                continue
            }
            if model != 0 && isMissing(at, slot, now) {
                tally.missing += 1
                exclude(slot, .modelMissing)
                continue
            }
            tally.usable += 1
            tally.lowestPriority = min(tally.lowestPriority, rows[slot].priority)
            tally.highestPriority = max(tally.highestPriority, rows[slot].priority)
            let place = models.places[at]
            let hasRoom =
                rows[slot].busyUntil <= now
                && (modelLimit == 0 || place.inFlight < modelLimit)
                && (endpointLimit == 0 || rows[slot].inFlight < endpointLimit)
            var isWarm = true
            var residency = ResidencyClass.inVRAM
            if loads {
                let servesAny = rows[slot].known.contains(.anyModel)
                let isSame = servesAny || place.options == 0 || place.options == options
                isWarm = isSame && (servesAny || place.isResident(now) || place.loading > 0)
                if isWarm {
                    tally.warm += 1
                    if hasRoom { tally.warmWithRoom += 1 }
                    if place.loading > 0 { tally.isLoadingSomewhere = true }
                    let isPartly =
                        place.facts.contains(.resident)
                        && !place.facts.contains(.whollyInVRAM)
                    residency = isPartly ? .resident : .inVRAM
                } else {
                    residency = isSame && fits(slot, size) ? .fits : .unknown
                    if residency == .fits { tally.fits = true }
                }
            }
            candidates.append(
                Candidate(
                    slot: Int32(slot), hasRoom: hasRoom, isWarm: isWarm,
                    lora: loraPlace(place.facts, slot),
                    isSession: request.session != 0 && rows[slot].session == request.session,
                    residency: residency, waiting: waiting, running: running, kvUsage: kvUsage,
                    inFlight: Float(rows[slot].inFlight), modelInFlight: Float(place.inFlight),
                    tokensInFlight: Float(rows[slot].bytesInFlight / 4), matched: 0, idleRank: 0,
                    residentCount: Float(rows[slot].residentCount + rows[slot].loadingCount),
                    ttft: 0, unstarted: rows[slot].unstarted))
        }
        return tally
    }

    /// Requests in an engine's queue and in work: as observed, and what came and went since.
    ///
    /// An engine that had no queue takes who comes into its batch: counted as waiting until the first byte, a single
    /// request would be the whole range of the queue's scores, and move conversations away from what is cached of them.
    @inline(__always)
    private func requestsNow(_ slot: Int) -> (waiting: Float, running: Float) {
        let row = rows[slot]
        let change = row.inFlight - row.inFlightSeen
        if row.waiting == 0 { return (0, Float(max(0, row.running + change))) }
        // Who leaves makes room for one who waits.
        let waiting = max(0, row.waiting + change)
        return (Float(waiting), Float(max(0, row.running + min(0, row.waiting + change))))
    }

    /// The same of an engine that does not tell, by the gateway's own requests.
    @inline(__always)
    private func ownRequests(_ slot: Int) -> (waiting: Float, running: Float) {
        (Float(rows[slot].unstarted), Float(rows[slot].inFlight - rows[slot].unstarted))
    }

    /// How full a KV cache is: as observed, and what prompts took of it since.
    ///
    /// Without the second all prompts that nobody holds would go to the one that was the emptiest a second ago.
    @inline(__always)
    private func kvUsageNow(_ slot: Int) -> Float {
        let row = rows[slot]
        // `min` would take the one for an engine that tells nothing of its cache.
        if row.kvUsage.isNaN { return .nan }
        let bytes = row.kvBytes == 0 ? Self.kvBytesAssumed : row.kvBytes
        return min(1, row.kvUsage + Float(row.freshBytes) / Float(bytes))
    }

    /// A KV cache whose size is not told, in bytes of prompts: half a million tokens, as the reference's index assumes.
    private static var kvBytesAssumed: Int64 { 31_250 * 64 }

    @inline(__always)
    private mutating func exclude(_ slot: Int, _ exclusion: Exclusion) {
        exclusions[slot] = exclusion
    }

    /// Whether an endpoint does not have a model: it said so lately, or its list does not name it.
    private func isMissing(_ at: Int, _ slot: Int, _ now: UInt64) -> Bool {
        if models.places[at].missingUntil > now { return true }
        return rows[slot].known.contains(.disk) && !models.places[at].facts.contains(.onDisk)
            && !models.places[at].isResident(now) && observations[slot].disk.count < 128
    }

    /// Whether a model can be loaded without another one having to go.
    private func fits(_ slot: Int, _ size: UInt64) -> Bool {
        if rows[slot].residentCount + rows[slot].loadingCount == 0 { return true }
        if rows[slot].vramBytes == 0 || size == 0 { return false }
        return rows[slot].usedBytes &+ rows[slot].reservedBytes &+ size <= rows[slot].vramBytes
    }

    private func loraPlace(_ facts: ModelPlace.Facts, _ slot: Int) -> LoRAPlace {
        if !rows[slot].known.contains(.lora) { return .none }
        if facts.contains(.loraRunning) { return .running }
        if rows[slot].loraCount < rows[slot].loraLimit { return .room }
        return facts.contains(.loraWaiting) ? .waiting : .none
    }

    /// Whether another endpoint may load the model although those that have it could take the request later.
    ///
    /// A load costs tens of seconds and may push something else out. It is worth it when the queue is longer
    /// than its bound, or when it is learned that waiting takes longer than loading; never two loads at a time
    /// for the second reason.
    private func mayLoadElsewhere(
        _ request: PickRequest, _ model: Int, _ tally: Tally
    ) -> Bool {
        if queue.limit == 0 || !request.mayWait { return true }
        let waiting = queue.models[model].count
        if waiting > configuration.queuePerModelLimit * Int32(tally.warm) { return true }
        let service = models.rows[model].serviceMilliseconds
        let load = models.rows[model].loadMilliseconds
        if tally.isLoadingSomewhere || service == 0 || load == 0 { return false }
        let servers = Float(max(1, configuration.concurrencyPerModel)) * Float(tally.warm)
        let wait = Float(waiting + 1) * service / servers
        return wait > (tally.fits ? load : 2 * load)
    }

    // MARK: - Scores

    private mutating func choose(
        _ request: PickRequest, _ blocks: Span<UInt64>, _ model: Int, _ isPanic: Bool
    ) -> Placement {
        let profile = configuration.profile
        var placement = Placement(.chosen)
        placement.candidateCount = candidates.count
        if profile.usesPrefix && !blocks.isEmpty && prefix.match(blocks) > 0 {
            for i in 0..<candidates.count {
                candidates[i].matched = Float(prefix.runs[Int(candidates[i].slot)])
            }
        }
        if profile[.noHitLRU] > 0 { rankIdle() }
        if profile[.estimatedTTFT] > 0 { estimate(request, blocks.count, model) }
        for i in 0..<candidates.count { scores[i] = InlineArray(repeating: .nan) }
        placement.isScored = candidates.count > 1 || isExplaining
        let chosen = placement.isScored ? pickByScore(blocks.count) : 0
        let candidate = candidates[chosen]
        placement.slot = Int(candidate.slot)
        placement.isWarm = candidate.isWarm
        placement.matched = Int(candidate.matched)
        placement.total = candidates.count == 1 ? 0 : totals[chosen]
        let isLoading = models.places[models.at(model, placement.slot)].loading > 0
        if isPanic {
            placement.reason = .panic
        } else if !candidate.isWarm {
            placement.reason = .cold
        } else if isLoading {
            placement.reason = .loading
        } else if candidates.count == 1 {
            placement.reason = .only
        } else if candidate.isSession && profile[.sessionAffinity] > 0 {
            placement.reason = .session
        } else if configuration.engine.loadsOnDemand && model != 0 {
            placement.reason = .resident
        } else {
            placement.reason = candidate.matched > 0 ? .prefix : .score
        }
        return placement
    }

    private mutating func pickByScore(_ blockCount: Int) -> Int {
        let count = candidates.count
        let request = ScoredRequest(blocks: Float(min(blockCount, PrefixCache.blockLimit)))
        for i in 0..<count { totals[i] = 0 }
        for raw in 0..<Scorer.count {
            guard let scorer = Scorer(rawValue: raw) else { continue }
            let weight = configuration.profile[scorer]
            if weight == 0 { continue }
            scorer.score(candidates, request, &column)
            for i in 0..<count {
                totals[i] += weight * column[i]
                scores[i][Int(raw)] = column[i]
            }
        }
        return take(count)
    }

    /// The picker's choice among the totals.
    private mutating func take(_ count: Int) -> Int {
        switch configuration.profile.picker {
        case .random: return Int(random.next(below: UInt32(count)))
        case .maxScore:
            var best = 0
            var equals: UInt32 = 1
            for i in 1..<max(1, count) {
                // Of equals who owes fewer answers, so that a burst spreads between two looks.
                if totals[i] > totals[best]
                    || totals[i] == totals[best]
                        && candidates[i].unstarted < candidates[best].unstarted
                {
                    best = i
                    equals = 1
                } else if totals[i] == totals[best],
                    candidates[i].unstarted == candidates[best].unstarted
                {
                    equals += 1
                    if random.next(below: equals) == 0 { best = i }
                }
            }
            return best
        case .weightedRandom:
            // The largest of the keys U^(1/score) is a choice with the score as weight.
            var sum: Float = 0
            for i in 0..<count { sum += totals[i] }
            if !(sum > 0) { return Int(random.next(below: UInt32(count))) }
            var left = sum * Float(random.next() >> 40) / Float(1 << 24)
            for i in 0..<count {
                left -= totals[i]
                if left < 0 { return i }
            }
            return count - 1
        }
    }

    private mutating func rankIdle() {
        let count = idleOrder.count
        for place in 0..<count {
            totals[Int(idleOrder[place])] = 1 - Float(place) / Float(max(1, count - 1))
        }
        for i in 0..<candidates.count {
            candidates[i].idleRank = totals[Int(candidates[i].slot)]
        }
    }

    /// Milliseconds until the model can answer when it has to be loaded: learned, or by its size at 1 GB/s.
    func loadEstimate(_ model: Int) -> Float {
        let row = models.rows[model]
        if row.loadMilliseconds > 0 { return row.loadMilliseconds }
        return row.size > 0 ? Float(row.size) / 1e6 : 20_000
    }

    /// Fills the estimated time to the first token: the engine's queue, the load, and what of the prompt is new.
    private mutating func estimate(_ request: PickRequest, _ blockCount: Int, _ model: Int) {
        let row = models.rows[model]
        let load = loadEstimate(model)
        let perByte = row.prefillMillisecondsPerByte > 0 ? row.prefillMillisecondsPerByte : 0.02
        let prompt = Float(request.promptBytes) * perByte
        let blocks = Float(max(1, min(blockCount, PrefixCache.blockLimit)))
        for i in 0..<candidates.count {
            let candidate = candidates[i]
            let slot = Int(candidate.slot)
            var time = prompt * (1 - min(1, candidate.matched / blocks))
            time += Float(rows[slot].unstarted) * prompt
            if candidate.waiting > 0 && rows[slot].known.contains(.load) {
                time += candidate.waiting * row.serviceMilliseconds / max(1, candidate.running)
            }
            if !candidate.isWarm {
                time += load
            } else if models.places[models.at(model, slot)].loading > 0 {
                time += load / 2
            }
            candidates[i].ttft = time
        }
    }
}
