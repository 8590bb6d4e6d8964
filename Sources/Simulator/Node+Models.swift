import Kernel

/// Models in memory: who is loaded, who has to go.
extension Node {
    func serves(_ index: Int, _ job: borrowing Job) -> Bool {
        // A router's models have their options from its own configuration.
        options.isRouter
            || runners[index].contextTokens == job.contextTokens
                && runners[index].optionsHash == job.optionsHash
    }

    /// A model as a router tells of it.
    enum ModelStatus: String {
        case unloaded, loading, loaded
    }

    func status(of model: Int) -> ModelStatus {
        guard let runner = runners.first(where: { $0.model == model }) else { return .unloaded }
        return runner.isReady ? .loaded : .loading
    }

    mutating func addRunner(model: Int, contextTokens: Int, optionsHash: UInt64) -> Int {
        runnerCount += 1
        let used = runners.reduce(0) { $0 + $1.videoBytes }
        let free = options.videoMemoryBytes - min(used, options.videoMemoryBytes)
        let block = options.sharedTokens
        // One request fits always, or it could never be served.
        let tokens = max(options.cacheTokens, options.contextTokens)
        let blocks = options.hasBlocks ? (tokens + block - 1) / block : 1
        runners.append(
            Runner(
                id: runnerCount, model: model, contextTokens: contextTokens,
                optionsHash: optionsHash,
                videoBytes: min(options.models[model].sizeBytes, free),
                cache: KVCache(blocks: blocks, blockTokens: block),
                slots: SlotCache(
                    slots: options.hasBlocks ? 1 : options.slots, savedMax: options.savedTokens),
                keepAlive: KeepAlive(options.isRouter ? nil : options.keepAliveNanoseconds)))
        return runners.count - 1
    }

    /// Gives a job to a runner that is ready.
    mutating func use(_ index: Int, _ id: SlotID, now: UInt64) {
        jobs[id].loadedAt = now
        jobs[id].runner = runners[index].id
        runners[index].expiresAt = nil
        runners[index].usedAt = now
        if let keepAlive = jobs[id].keepAlive { runners[index].keepAlive = keepAlive }
        if jobs[id].work == .load {
            jobs[id].phase = .done
            jobs[id].finishedAt = now
            progressed.append(id)
            if runners[index].holders == 0 { settle(index, now: now) }
            return
        }
        jobs[id].phase = .queued
        runners[index].holders += 1
        runners[index].queue.append(id)
        fill(index, now: now)
        work(index, now: now)
    }

    /// Unloads a model as soon as it is idle; nothing happens when it is not in memory.
    mutating func unload(model: Int, now: UInt64) {
        catchUp(now: now)
        guard let index = runners.firstIndex(where: { $0.model == model && $0.isReady }) else {
            return
        }
        runners[index].keepAlive = .nanoseconds(0)
        if runners[index].holders == 0 { settle(index, now: now) }
        load(now: now)
    }

    /// A runner has become idle: it goes now, later or never.
    mutating func settle(_ index: Int, now: UInt64) {
        guard options.loadsOnDemand else { return }
        if let doom = runners[index].doom {
            switch doom {
            case .room: metrics.evictions += 1
            case .options: metrics.reloads += 1
            }
            runners.remove(at: index)
            return
        }
        switch runners[index].keepAlive {
        case .nanoseconds(0):
            runners.remove(at: index)
        case .nanoseconds(let nanoseconds):
            let (at, overflows) = now.addingReportingOverflow(nanoseconds)
            runners[index].expiresAt = overflows ? nil : at
            if !overflows { agenda.add(.expiry(runner: runners[index].id), at: at) }
        case .forEver:
            runners[index].expiresAt = nil
        }
    }

    /// Loads what the first waiting job needs, as far as that is possible now.
    ///
    /// One load at a time, and everybody behind it waits, also for another model: so does Ollama.
    mutating func load(now: UInt64) {
        while loading == nil, let id = pending.first {
            let model = jobs[id].model
            if let index = runners.firstIndex(where: { $0.model == model }) {
                if serves(index, jobs[id]) {
                    pending.removeFirst()
                    use(index, id, now: now)
                } else if !goes(index, for: .options) {
                    return
                }
                continue
            }
            if !hasRoom(for: model) {
                // One that has been told to go is waited for, whoever else falls idle.
                if runners.contains(where: { $0.doom != nil }) { return }
                guard let index = leastWanted(isIdle: true) ?? leastWanted(isIdle: false),
                    goes(index, for: .room)
                else { return }
                continue
            }
            pending.removeFirst()
            let index = addRunner(
                model: model, contextTokens: jobs[id].contextTokens,
                optionsHash: jobs[id].optionsHash)
            let runner = runners[index].id
            loading = (runner, id)
            agenda.add(.loaded(runner: runner), at: now + options.loadNanoseconds(of: model))
        }
    }

    /// Puts a runner out, now or as soon as it is idle; whether it is gone.
    private mutating func goes(_ index: Int, for doom: Runner.Doom) -> Bool {
        runners[index].doom = doom
        guard runners[index].holders == 0 else { return false }
        settle(index, now: 0)
        return true
    }

    private func hasRoom(for model: Int) -> Bool {
        if runners.isEmpty { return true }
        if runners.count >= options.modelsMax { return false }
        if options.isRouter { return true }
        let used = runners.reduce(0) { $0 + $1.videoBytes }
        return used + options.models[model].sizeBytes <= options.videoMemoryBytes
    }

    /// The runner that has to make room: with Ollama the one that would stay for the shortest time, in a
    /// router the one that was asked for longest ago.
    private func leastWanted(isIdle: Bool) -> Int? {
        runners.indices.filter { (runners[$0].holders == 0) == isIdle && runners[$0].isReady }
            .min {
                options.isRouter
                    ? runners[$0].usedAt < runners[$1].usedAt
                    : runners[$0].keepAlive.length < runners[$1].keepAlive.length
            }
    }
}
