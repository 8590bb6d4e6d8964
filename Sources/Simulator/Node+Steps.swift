import Kernel

/// Continuous batching: who is in the batch, and how the work of the node goes on, step by step.
///
/// In one step each request that decodes gets a token, and of the prompts so much is computed as a step
/// may take, in the order of their coming. Whoever comes while a step goes on waits for its end.
extension Node {
    // MARK: - In and out

    /// Moves waiting jobs into slots, in their order, as far as slots and cache allow.
    mutating func fill(_ index: Int, now: UInt64) {
        var place = 0
        var hasJoined = false
        let slots = slotCount(index)
        while runners[index].running.count < slots, place < runners[index].queue.count {
            let id = runners[index].queue[place]
            guard hasAdapterSlot(index, jobs[id].adapter) else {
                // Others may go before one whose adapter has no place.
                place += 1
                continue
            }
            guard occupy(index, id, now: now) else { break }
            runners[index].queue.remove(at: place)
            runners[index].running.append(id)
            hasJoined = true
        }
        if hasJoined { shorten(index, now: now) }
    }

    /// Gives a job its blocks or its slot; false when there is no room.
    private mutating func occupy(_ index: Int, _ id: SlotID, now: UInt64) -> Bool {
        var matched = 0
        if options.hasBlocks {
            let tokens = jobs[id].work == .embed ? 0 : jobs[id].prefillTokens
            let blocks = jobs[id].chain.blocks
            guard let lease = runners[index].cache.lease(blocks, tokens: tokens) else {
                return false
            }
            matched = lease.matched * options.sharedTokens
            jobs[id].lease = lease
        } else {
            guard let place = runners[index].slots.take(jobs[id].chain.blocks) else { return false }
            matched = place.matched
            jobs[id].slot = place.slot
        }
        // One token at least is computed; where blocks are shared, all of its block.
        let block = options.sharedTokens
        let cached = min(matched, max(0, jobs[id].promptTokens - 1) / block * block)
        jobs[id].computedTokens = cached
        jobs[id].chunkTokens = -1
        jobs[id].phase = .prefilling
        if let adapter = jobs[id].adapter { useAdapter(index, adapter) }
        if jobs[id].startedAt == 0 {
            jobs[id].startedAt = now
            jobs[id].cachedTokens = cached
            metrics.countStart(promptTokens: jobs[id].promptTokens, cachedTokens: cached)
        }
        return true
    }

    /// Takes a job out of its runner, from its slot or from the queue, before its end.
    mutating func leave(_ index: Int, _ id: SlotID, now: UInt64) {
        release(index, id, isWhole: false, now: now)
        if runners[index].running.isEmpty, let step = runners[index].step.take() {
            metrics.busyNanoseconds += now - min(now, step.startedAt)
        }
        goOn(index, now: now)
    }

    /// Frees what a job held; what it computed stays known.
    private mutating func release(_ index: Int, _ id: SlotID, isWhole: Bool, now: UInt64) {
        if let place = runners[index].running.firstIndex(of: id) {
            runners[index].running.remove(at: place)
        } else {
            runners[index].queue.removeAll { $0 == id }
        }
        let answer = isWhole ? answerBlocks(id) : []
        if var lease = jobs[id].lease.take() {
            runners[index].cache.end(&lease, answer: answer)
        }
        if let slot = jobs[id].slot.take() {
            let blocks = jobs[id].chain.blocks
            let known = isWhole ? blocks + answer : Array(blocks.prefix(jobs[id].computedTokens))
            runners[index].slots.give(slot, known, now: now)
        }
        runners[index].holders -= 1
    }

    /// After somebody has left: others come in, or nobody is there.
    private mutating func goOn(_ index: Int, now: UInt64) {
        fill(index, now: now)
        work(index, now: now)
        if runners[index].holders == 0 { settle(index, now: now) }
        notePeaks()
    }

    /// The blocks that an answer fills behind its prompt, for the next turn of the conversation.
    private mutating func answerBlocks(_ id: SlotID) -> [UInt64] {
        guard options.cachesPrefixes, jobs[id].work == .generate else { return [] }
        let isChat = jobs[id].reply.dialect.isChat
        let seed = jobs[id].seed
        let count = jobs[id].generated
        let tail = jobs[id].tail
        scratch.removeAll()
        scratch.add(tail)
        if isChat { scratch.add("assistant\n") }
        words.add(0..<count, seed: seed, to: &scratch)
        if isChat { scratch.add("\n") }
        let chain = PromptHash.chain(
            scratch.span, from: jobs[id].chain.last, blockTokens: options.sharedTokens)
        return chain.blocks
    }

    // MARK: - Adapters

    /// Adapters that work at once are bounded, as vLLM's `--max-loras` does.
    private func hasAdapterSlot(_ index: Int, _ adapter: Int?) -> Bool {
        guard let adapter, options.hasBlocks else { return true }
        let runner = runners[index]
        return runner.adapters.contains(adapter) || runner.adapters.count < options.adaptersMax
            || idleAdapter(index) != nil
    }

    /// The place of the adapter that was used longest ago, of those that no request in the batch has.
    private func idleAdapter(_ index: Int) -> Int? {
        runners[index].adapters.firstIndex { adapter in
            !runners[index].running.contains { jobs[$0].adapter == adapter }
        }
    }

    /// Sees that an adapter is on the accelerator; the next step brings it there.
    private mutating func useAdapter(_ index: Int, _ adapter: Int) {
        guard options.hasBlocks else { return }
        if let place = runners[index].adapters.firstIndex(of: adapter) {
            runners[index].adapters.remove(at: place)
        } else {
            if runners[index].adapters.count >= options.adaptersMax,
                let place = idleAdapter(index)
            {
                runners[index].adapters.remove(at: place)
            }
            runners[index].adapterLoads += 1
            metrics.adapterLoads += 1
        }
        runners[index].adapters.append(adapter)
    }

    // MARK: - Steps

    /// Begins a step if there is work and none goes on.
    mutating func work(_ index: Int, now: UInt64) {
        guard runners[index].step == nil, !runners[index].running.isEmpty else { return }
        let plan = plan(index)
        runners[index].stepCount &+= 1
        let step = Runner.Step(
            startedAt: now, nanoseconds: nanoseconds(index, plan), count: plan.count,
            serial: runners[index].stepCount)
        runners[index].adapterLoads = 0
        runners[index].step = step
        agenda.add(.step(runner: runners[index].id, serial: step.serial), at: step.endsAt)
        // The others have less of the accelerator from now on.
        for other in runners.indices where other != index { shorten(other, now: now) }
    }

    /// What a step does.
    private struct Plan {
        /// Requests that get a token.
        var decoding = 0
        /// Prompt tokens that are computed.
        var promptTokens = 0
        /// How often it is done without looking.
        var count = 1
    }

    /// Passes that are made without looking, at most: as many as tokens of a usual block.
    private static var passesMax: Int { 16 }

    private mutating func plan(_ index: Int) -> Plan {
        var plan = Plan()
        var fewest = Int.max
        var isWatched = false
        for id in runners[index].running where jobs[id].phase == .decoding {
            plan.decoding += 1
            fewest = min(fewest, jobs[id].targetTokens - jobs[id].generated)
            if jobs[id].reply.streams, !jobs[id].reply.isDetached { isWatched = true }
        }
        let isPure = plan.decoding == runners[index].running.count
        if isPure {
            if decodeNanoseconds == 0 {
                plan.count = fewest
            } else if !isWatched {
                plan.count = min(fewest, Self.passesMax)
            }
        }
        if options.hasBlocks, plan.decoding > 0, !reserve(index, count: plan.count) {
            plan.count = 1
            reserveOrPreempt(index)
            plan.decoding = 0
            for id in runners[index].running where jobs[id].phase == .decoding {
                plan.decoding += 1
            }
        }
        plan.promptTokens = shareOut(index, beside: plan.decoding)
        return plan
    }

    /// Gives each prompt its part of the step, the first come first; how many tokens that are together.
    private mutating func shareOut(_ index: Int, beside decoding: Int) -> Int {
        var left = isPrefillFree ? Int.max : max(1, options.batchTokens - decoding)
        var sum = 0
        for id in runners[index].running where jobs[id].phase == .prefilling {
            let chunk = min(left, jobs[id].prefillTokens - jobs[id].computedTokens)
            jobs[id].chunkTokens = chunk
            left -= chunk
            sum += chunk
        }
        return sum
    }

    private var isPrefillFree: Bool { options.isFast || options.prefillRate <= 0 }

    private var decodeNanoseconds: Double {
        options.isFast || options.decodeRate <= 0 ? 0 : 1e9 / options.decodeRate
    }

    /// The time of one pass.
    private func nanoseconds(_ index: Int, _ plan: Plan) -> UInt64 {
        var sum = 0.0
        if plan.decoding > 0 {
            sum = decodeNanoseconds * (1 + options.batchSlowdown * Double(plan.decoding - 1))
            // A model that is partly outside of the accelerator takes four times as long.
            let size = options.models[runners[index].model].sizeBytes
            if runners[index].videoBytes < size { sum *= 4 }
        }
        if !isPrefillFree { sum += Double(plan.promptTokens) / options.prefillRate * 1e9 }
        if !options.isFast {
            sum += Double(runners[index].adapterLoads) * Double(options.adapterLoadNanoseconds)
        }
        // Models that work at the same time share the accelerator.
        let others = runners.indices.filter { $0 != index && runners[$0].isBusy }.count
        return UInt64(min(sum * Double(1 + others), 1e15))
    }

    /// Lets a run of passes end with the present one.
    private mutating func shorten(_ index: Int, now: UInt64) {
        guard var step = runners[index].step, step.count > 1, step.nanoseconds > 0 else { return }
        let begun = (now - min(now, step.startedAt) + step.nanoseconds - 1) / step.nanoseconds
        let count = max(1, Int(clamping: begun))
        if count >= step.count { return }
        runners[index].stepCount &+= 1
        step = Runner.Step(
            startedAt: step.startedAt, nanoseconds: step.nanoseconds, count: count,
            serial: runners[index].stepCount)
        runners[index].step = step
        agenda.add(.step(runner: runners[index].id, serial: step.serial), at: step.endsAt)
    }

    /// Takes what a step has made, and begins the next one.
    mutating func endStep(_ index: Int, now: UInt64) {
        guard let step = runners[index].step.take() else { return }
        metrics.busyNanoseconds += now - step.startedAt
        var hasEnded = false
        for id in runners[index].running {
            switch jobs[id].phase {
            case .prefilling where jobs[id].chunkTokens >= 0:
                compute(index, id)
                if jobs[id].computedTokens < jobs[id].prefillTokens { continue }
                if jobs[id].firstAt == 0 { jobs[id].firstAt = now }
                jobs[id].phase = .decoding
                if jobs[id].work == .generate { jobs[id].generated += 1 }
            case .decoding:
                jobs[id].generated += step.count
            default:
                continue
            }
            if jobs[id].generated >= jobs[id].targetTokens {
                finish(index, id, now: now)
                hasEnded = true
            } else if jobs[id].reply.streams {
                progressed.append(id)
            }
        }
        if hasEnded {
            goOn(index, now: now)
            load(now: now)
        } else {
            work(index, now: now)
        }
    }

    /// Takes what a step has computed of a prompt.
    private mutating func compute(_ index: Int, _ id: SlotID) {
        jobs[id].computedTokens += jobs[id].chunkTokens
        jobs[id].chunkTokens = -1
        let count = jobs[id].computedTokens / options.sharedTokens
        let blocks = jobs[id].chain.blocks
        if var lease = jobs[id].lease.take() {
            runners[index].cache.publish(&lease, blocks, upTo: count)
            jobs[id].lease = lease
        }
    }

    private mutating func finish(_ index: Int, _ id: SlotID, now: UInt64) {
        jobs[id].finishedAt = now
        jobs[id].phase = .done
        Self.count(&metrics, jobs, id)
        progressed.append(id)
        release(index, id, isWhole: true, now: now)
    }

    private static func count(
        _ metrics: inout Metrics, _ jobs: borrowing Slab<Job>, _ id: SlotID
    ) {
        metrics.count(jobs[id])
    }

    // MARK: - Room for growing answers

    /// Extends all leases by so many tokens; false, and no change, when there is not enough room.
    private mutating func reserve(_ index: Int, count: Int) -> Bool {
        var needed = 0
        for id in runners[index].running where jobs[id].phase == .decoding {
            let blocks = runners[index].cache.blocks(forTokens: jobs[id].prefillTokens + count)
            needed += max(0, blocks - (jobs[id].lease?.blocks ?? 0))
        }
        if needed > runners[index].cache.freeCount { return false }
        for id in runners[index].running where jobs[id].phase == .decoding {
            _ = extend(index, id, tokens: jobs[id].prefillTokens + count)
        }
        metrics.peakUsage = max(metrics.peakUsage, cacheUsage)
        return true
    }

    /// Makes room for one token of each, the first come first: the last come gives way.
    private mutating func reserveOrPreempt(_ index: Int) {
        var place = 0
        while place < runners[index].running.count {
            let id = runners[index].running[place]
            guard jobs[id].phase == .decoding else {
                place += 1
                continue
            }
            if extend(index, id, tokens: jobs[id].prefillTokens + 1) {
                place += 1
            } else if let last = runners[index].running.last {
                preempt(index, last)
            }
        }
        metrics.peakUsage = max(metrics.peakUsage, cacheUsage)
    }

    private mutating func extend(_ index: Int, _ id: SlotID, tokens: Int) -> Bool {
        guard var lease = jobs[id].lease.take() else { return true }
        let fits = runners[index].cache.extend(&lease, tokens: tokens)
        jobs[id].lease = lease
        return fits
    }

    /// Sends the job that came last back to the head of the queue.
    private mutating func preempt(_ index: Int, _ id: SlotID) {
        metrics.preemptions += 1
        runners[index].running.removeAll { $0 == id }
        if var lease = jobs[id].lease.take() { runners[index].cache.end(&lease) }
        runners[index].queue.insert(id, at: 0)
        jobs[id].phase = .queued
        jobs[id].computedTokens = 0
        jobs[id].chunkTokens = -1
    }
}
