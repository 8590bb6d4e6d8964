import BasicContainers
import Kernel

extension PoolState {
    /// Gives a placement to a request: from here on it counts.
    mutating func makeLease(
        _ placement: Placement, _ request: PickRequest, _ blocks: Span<UInt64>, _ model: Int,
        _ now: UInt64, waited: UInt64
    ) -> Lease {
        let slot = placement.slot
        let at = models.at(model, slot)
        let isFirst = configuration.engine.loadsOnDemand && model != 0 && !placement.isWarm
        let isLoading = isFirst || models.places[at].loading > 0
        let isEndpointProbe = rows[slot].breaker.needsProbe && rows[slot].breaker.isOpen(now)
        if isEndpointProbe { rows[slot].breaker.isProbing = true }
        let isModelProbe =
            model != 0 && models.places[at].breaker.needsProbe
            && models.places[at].breaker.isOpen(now)
        if isModelProbe { models.places[at].breaker.isProbing = true }
        let blockCount = min(blocks.count, PrefixCache.blockLimit)
        let new = blockCount == 0 ? 1 : 1 - Float(placement.matched) / Float(blockCount)
        let milliseconds = UInt32(clamping: waited / 1_000_000)
        let decision = keep(
            Decision(
                at: now, model: request.model, endpoint: rows[slot].id, reason: placement.reason,
                isColdLoad: isFirst, candidateCount: UInt16(placement.candidateCount),
                matchedBlocks: UInt16(placement.matched), total: placement.total,
                waitedMilliseconds: milliseconds),
            placement)
        let row = LeaseRow(
            slot: slot, model: model, serial: rows[slot].serial, pickedAt: now,
            promptBytes: request.promptBytes,
            newBytes: UInt32(max(0, Float(request.promptBytes) * new)),
            ahead: rows[slot].unstarted, options: request.options,
            isEndpointProbe: isEndpointProbe, isModelProbe: isModelProbe, isLoading: isLoading,
            loadSerial: models.places[at].loadSerial,
            isLoader: isFirst && models.places[at].loading == 0, decision: decision,
            deadline: now &+ configuration.leaseMilliseconds &* 1_000_000)
        guard let id = leases.insert(row) else {
            preconditionFailure("A placement is made only while there is a lease left.")
        }
        leaseTimes.append(id.slot, .time, &leases)
        rows[slot].inFlight += 1
        rows[slot].unstarted += 1
        rows[slot].freshWaiting += 1
        rows[slot].freshBytes += Int64(row.newBytes)
        rows[slot].bytesInFlight += Int64(request.promptBytes)
        models.rows[model].inFlight += 1
        models.places[at].inFlight += 1
        if isLoading { beginLoading(at, slot, model, request.options) }
        if configuration.profile.usesPrefix && !blocks.isEmpty {
            prefix.record(blocks, slot, matched: placement.matched)
            if configuration.profile[.noHitLRU] > 0 && placement.matched == 0 { noteIdle(slot) }
        }
        return Lease(
            id: LeaseID(slot: id), endpoint: rows[slot].id, reason: placement.reason,
            isColdLoad: isFirst, matchedBlocks: UInt16(placement.matched),
            waitedMilliseconds: milliseconds)
    }

    private mutating func beginLoading(_ at: Int, _ slot: Int, _ model: Int, _ options: UInt32) {
        if models.places[at].loading == 0 {
            models.places[at].reservedBytes = models.rows[model].size
            models.places[at].options = max(1, options)
            rows[slot].reservedBytes &+= models.rows[model].size
            rows[slot].loadingCount += 1
        }
        models.places[at].loading += 1
    }

    /// The load of a model came to an end, or nobody waits for it any more.
    private mutating func endLoading(_ at: Int, _ slot: Int) {
        rows[slot].reservedBytes &-= models.places[at].reservedBytes
        rows[slot].loadingCount -= 1
        models.places[at].loading = 0
        models.places[at].loadSerial &+= 1
        models.places[at].reservedBytes = 0
    }

    private mutating func noteIdle(_ slot: Int) {
        var place = 0
        while place < idleOrder.count && idleOrder[place] != Int32(slot) { place += 1 }
        if place == idleOrder.count { return }
        while place + 1 < idleOrder.count {
            idleOrder[place] = idleOrder[place + 1]
            place += 1
        }
        idleOrder[place] = Int32(slot)
    }

    // MARK: - A lease's life

    /// The first byte of the answer is there; nothing when the lease has ended.
    public mutating func started(_ lease: LeaseID, now: UInt64) {
        guard leases.contains(lease.slot), !leases[lease.slot].isStarted else { return }
        if noteStart(lease.slot, now) {
            grantAll(now)
        } else {
            grant(leases[lease.slot].model, now)
        }
    }

    /// True when it opened a way that was closed.
    private mutating func noteStart(_ id: SlotID, _ now: UInt64) -> Bool {
        let row = leases[id]
        let slot = row.slot
        let at = models.at(row.model, slot)
        leases[id].isStarted = true
        leases[id].startedAt = now
        rows[slot].unstarted -= 1
        if row.serial == rows[slot].serial {
            rows[slot].freshWaiting -= 1
            rows[slot].freshRunning += 1
        }
        rows[slot].busyTimes = 0
        let isLoading = row.isLoading && row.loadSerial == models.places[at].loadSerial
        if isLoading {
            if !models.places[at].isResident(now) {
                // The next poll says how much it really uses.
                rows[slot].usedBytes &+= models.rows[row.model].size
                rows[slot].residentCount += 1
            }
            models.places[at].seenAt = max(1, now)
            models.places[at].options = max(1, row.options)
            endLoading(at, slot)
        } else if configuration.engine.loadsOnDemand && row.model != 0 {
            models.places[at].seenAt = max(models.places[at].seenAt, now, 1)
        }
        if isLoading && row.isLoader {
            Self.learn(&models.rows[row.model].loadMilliseconds, now &- row.pickedAt)
        } else if !row.isLoading && row.ahead == 0 && row.newBytes >= 1_024 {
            let perByte = Float(now &- row.pickedAt) / 1e6 / Float(row.newBytes)
            Self.learn(&models.rows[row.model].prefillMillisecondsPerByte, perByte)
        }
        var isOpened = rows[slot].breaker.succeed()
        if row.model != 0 && models.places[at].breaker.succeed() { isOpened = true }
        return isOpened
    }

    private static func learn(_ value: inout Float, _ nanoseconds: UInt64) {
        learn(&value, Float(nanoseconds) / 1e6)
    }

    private static func learn(_ value: inout Float, _ sample: Float) {
        value = value == 0 ? sample : value + (sample - value) / 8
    }

    /// Keeps a lease from ending by itself; nothing when it has.
    public mutating func renew(_ lease: LeaseID, now: UInt64) {
        guard leases.contains(lease.slot) else { return }
        leases[lease.slot].deadline = now &+ configuration.leaseMilliseconds &* 1_000_000
        leaseTimes.remove(lease.slot.slot, .time, &leases)
        leaseTimes.append(lease.slot.slot, .time, &leases)
    }

    /// Gives a lease back and learns from how it ended; nothing when it has ended already.
    public mutating func finished(_ lease: LeaseID, _ result: LeaseResult, now: UInt64) {
        guard leases.contains(lease.slot) else { return }
        release(lease.slot, result, now)
    }

    /// Ends a lease: every count that it holds goes back.
    mutating func release(_ id: SlotID, _ result: LeaseResult, _ now: UInt64) {
        var isWide = false
        if case .done = result, !leases[id].isStarted { isWide = noteStart(id, now) }
        let row = leases[id]
        let slot = row.slot
        let at = models.at(row.model, slot)
        leaseTimes.remove(id.slot, .time, &leases)
        leases.destroy(id)
        rows[slot].inFlight -= 1
        rows[slot].bytesInFlight -= Int64(row.promptBytes)
        models.rows[row.model].inFlight -= 1
        models.places[at].inFlight -= 1
        if !row.isStarted { rows[slot].unstarted -= 1 }
        if row.serial == rows[slot].serial {
            if row.isStarted { rows[slot].freshRunning -= 1 } else { rows[slot].freshWaiting -= 1 }
            rows[slot].freshBytes -= Int64(row.newBytes)
        }
        if row.isLoading && row.loadSerial == models.places[at].loadSerial && !row.isStarted {
            models.places[at].loading -= 1
            if models.places[at].loading == 0 {
                if !models.places[at].isResident(now) { models.places[at].options = 0 }
                endLoading(at, slot)
            }
        }
        // Whatever happened, the next one may try.
        if row.isEndpointProbe { rows[slot].breaker.isProbing = false }
        if row.isModelProbe { models.places[at].breaker.isProbing = false }
        if note(result, row, at, now) { isWide = true }
        freeIfUnused(slot)
        let isShared =
            configuration.concurrencyPerEndpoint > 0
            || configuration.queuesWhenSaturated || row.isEndpointProbe
        if isWide || isShared { grantAll(now) } else { grant(row.model, now) }
    }

    /// Learns from the end of a lease; true when that may make room beyond its own model.
    private mutating func note(
        _ result: LeaseResult, _ row: LeaseRow, _ at: Int, _ now: UInt64
    ) -> Bool {
        let slot = row.slot
        switch result {
        case .done(let timings):
            if timings.isLoadKnown && timings.load > 500_000_000 {
                // It was cold, whatever the last poll said.
                Self.learn(&models.rows[row.model].loadMilliseconds, timings.load)
            }
            if timings.prompt > 0 && row.newBytes >= 1_024 {
                let perByte = Float(timings.prompt) / 1e6 / Float(row.newBytes)
                Self.learn(&models.rows[row.model].prefillMillisecondsPerByte, perByte)
            }
            // Who came during a load waited for it, too.
            let load =
                timings.isLoadKnown
                ? timings.load : row.isLoading ? row.startedAt &- row.pickedAt : 0
            let total = now &- row.pickedAt
            Self.learn(
                &models.rows[row.model].serviceMilliseconds, total > load ? total &- load : 1)
            return false
        case .connectFailed, .timedOut, .reset:
            failEndpoint(slot, row, now)
            return false
        case .busy(let retryAfter):
            let times = min(4, rows[slot].busyTimes)
            rows[slot].busyTimes = times + 1
            let own = configuration.busyMilliseconds * UInt64(min(5, 1 << Int(times)))
            let wait = retryAfter == 0 ? own : UInt64(min(retryAfter, 30_000))
            rows[slot].busyUntil = now &+ wait &* 1_000_000
            return false
        case .modelMissing:
            if row.model != 0 {
                models.places[at].missingUntil =
                    now &+ configuration.missingMilliseconds &* 1_000_000
                models.places[at].facts.remove(.onDisk)
                models.places[at].facts.remove(.resident)
                models.places[at].seenAt = 0
            }
            return rows[slot].breaker.succeed()
        case .serverError:
            if row.model != 0 {
                models.places[at].breaker.fail(
                    now, limit: configuration.failureLimit,
                    first: configuration.ejectionMilliseconds &* 1_000_000,
                    longest: configuration.ejectionMillisecondsMax &* 1_000_000,
                    wasProbe: row.isModelProbe)
            }
            // One bad model closes itself; only errors of several say something of the endpoint.
            let hash = models.rows[row.model].hash
            if row.model == 0 || rows[slot].lastFailedModel != hash || row.isEndpointProbe {
                failEndpoint(slot, row, now)
            }
            rows[slot].lastFailedModel = hash
            return false
        case .refused: return rows[slot].breaker.succeed()
        case .cancelled: return false
        }
    }

    private mutating func failEndpoint(_ slot: Int, _ row: LeaseRow, _ now: UInt64) {
        rows[slot].breaker.fail(
            now, limit: configuration.failureLimit,
            first: configuration.ejectionMilliseconds &* 1_000_000,
            longest: configuration.ejectionMillisecondsMax &* 1_000_000,
            wasProbe: row.isEndpointProbe)
    }
}
