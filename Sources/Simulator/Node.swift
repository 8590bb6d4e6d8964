import BasicContainers
import Kernel

/// One simulated machine with a model server: what is in memory, who works, who waits.
///
/// It does no input or output and reads no clock: time is an argument, in nanoseconds. What it
/// reports through `next` is the id of a job that has got further.
struct Node: ~Copyable {
    /// A model in memory, or on its way there, with its slots and its cache.
    struct Runner {
        /// Never used again for another life.
        let id: UInt32
        let model: Int
        let contextTokens: Int
        /// Of the model's bytes, those on the accelerator.
        let videoBytes: UInt64
        var isReady = false
        /// Jobs that hold it, in slots or waiting for one.
        var holders = 0
        /// Jobs in slots.
        var running: [SlotID] = []
        /// Jobs that wait for a slot, the first come first.
        var queue: [SlotID] = []
        var cache: KVCache
        var keepAlive: KeepAlive
        /// When it is unloaded, if nothing comes before; nil while it is in use or pinned.
        var expiresAt: UInt64?
    }

    enum Submission: Equatable {
        case accepted(SlotID)
        /// Too many wait already.
        case busy
        /// The server is still starting.
        case starting
    }

    private enum Timer {
        case job(SlotID, serial: UInt32)
        case loaded(runner: UInt32)
        case expiry(runner: UInt32)
    }

    let options: SimulatorOptions
    let isLoopback: Bool
    var jobs: Slab<Job>
    private(set) var runners: [Runner] = []
    /// Jobs whose model is not in memory, the first come first (Ollama).
    private var pending: [SlotID] = []
    /// The runner that is being loaded, one at a time, and the job for which.
    private var loading: (runner: UInt32, job: SlotID)?
    private var agenda = Agenda<Timer>()
    /// Jobs that got further since `next` was asked.
    private var progressed: [SlotID] = []
    private var progressedRead = 0
    private var runnerCount: UInt32 = 0
    var metrics: Metrics

    init(options: SimulatorOptions, isLoopback: Bool, now: UInt64) {
        self.options = options
        self.isLoopback = isLoopback
        jobs = Slab(capacity: options.connections)
        metrics = Metrics(startedAt: now)
        guard options.engine != .ollama else { return }
        let index = addRunner(model: 0, contextTokens: options.contextTokens)
        if options.loadNanoseconds == 0 || options.isFast {
            runners[index].isReady = true
        } else {
            agenda.add(.loaded(runner: runners[index].id), at: now + options.loadNanoseconds)
        }
    }

    /// When `next` will have something to do; nil: only after another call.
    var nextAt: UInt64? {
        progressedRead < progressed.count ? 0 : agenda.nextAt
    }

    /// Whether requests are taken.
    var isReady: Bool { options.engine == .ollama || runners.allSatisfy(\.isReady) }

    /// Requests in slots.
    var runningCount: Int { runners.reduce(0) { $0 + $1.running.count } }

    /// Requests that wait, for a slot or for a model.
    var waitingCount: Int { runners.reduce(pending.count) { $0 + $1.queue.count } }

    // MARK: - Calls

    /// Takes a job; `next` tells how it goes on.
    mutating func submit(_ job: consuming Job, now: UInt64) -> Submission {
        guard isReady else { return .starting }
        var job = job
        job.submittedAt = now
        let model = job.model
        let contextTokens = job.contextTokens
        guard options.engine == .ollama else {
            guard let id = jobs.insert(job) else { return .busy }
            use(0, id, now: now)
            return .accepted(id)
        }
        if let index = runners.firstIndex(where: { $0.model == model && $0.isReady }),
            contextTokens == nil || contextTokens == runners[index].contextTokens
        {
            guard let id = jobs.insert(job) else { return .busy }
            use(index, id, now: now)
            return .accepted(id)
        }
        // The one that is being loaded is with the loader and counts no longer.
        if pending.count >= options.queueMax { return .busy }
        job.phase = .waitingForModel
        guard let id = jobs.insert(job) else { return .busy }
        pending.append(id)
        load(now: now)
        return .accepted(id)
    }

    /// The client of a job has left.
    mutating func cancel(_ id: SlotID, now: UInt64) {
        guard jobs.contains(id) else { return }
        switch jobs[id].phase {
        case .waitingForModel:
            pending.removeAll { $0 == id }
            if let current = loading, current.job == id {
                // A load that nobody waits for is broken off.
                loading = nil
                runners.removeAll { $0.id == current.runner }
            }
        case .queued, .prefilling, .decoding:
            metrics.aborted += 1
            if let index = index(of: jobs[id].runner) { leave(index, id, now: now) }
        case .done:
            break
        }
        remove(id)
        load(now: now)
    }

    /// Forgets a job that has been answered.
    mutating func remove(_ id: SlotID) { _ = jobs.remove(id) }

    /// Unloads a model as soon as it is idle; nothing happens when it is not in memory.
    mutating func unload(model: Int, now: UInt64) {
        guard let index = runners.firstIndex(where: { $0.model == model && $0.isReady }) else {
            return
        }
        runners[index].keepAlive = .nanoseconds(0)
        if runners[index].holders == 0 { settle(index, now: now) }
        load(now: now)
    }

    /// The next job that has got further; nil: nothing more until `nextAt`.
    mutating func next(now: UInt64) -> SlotID? {
        while true {
            while progressedRead < progressed.count {
                let id = progressed[progressedRead]
                progressedRead += 1
                if jobs.contains(id) { return id }
            }
            progressed.removeAll(keepingCapacity: true)
            progressedRead = 0
            guard let timer = agenda.popDue(now: now) else { return nil }
            fire(timer, now: now)
        }
    }

    // MARK: - Time

    private mutating func fire(_ timer: Timer, now: UInt64) {
        switch timer {
        case .job(let id, let serial):
            guard jobs.contains(id), jobs[id].serial == serial else { return }
            advance(id, now: now)
        case .loaded(let runner):
            guard let index = index(of: runner) else { return }
            runners[index].isReady = true
            if let current = loading, current.runner == runner {
                loading = nil
                metrics.loads += 1
                use(index, current.job, now: now)
                load(now: now)
            }
        case .expiry(let runner):
            guard let index = index(of: runner), let at = runners[index].expiresAt, at <= now
            else { return }
            runners.remove(at: index)
            load(now: now)
        }
    }

    /// Goes on with a job in a slot whose time has come.
    private mutating func advance(_ id: SlotID, now: UInt64) {
        if jobs[id].phase == .prefilling {
            jobs[id].phase = .decoding
            jobs[id].decodingAt = now
            jobs[id].generatedBefore = jobs[id].generated
            if jobs[id].firstAt == 0 { jobs[id].firstAt = now }
            if jobs[id].work == .embed { return finish(id, now: now) }
        }
        let target = jobs[id].targetTokens
        let interval = decodeNanoseconds(jobs[id].runner)
        var made = target
        if interval > 0 {
            // One token comes with the end of the prefill, one after each interval.
            let since = (now - jobs[id].decodingAt) / interval
            made = min(target, jobs[id].generatedBefore + 1 + Int(clamping: since))
        }
        guard makeRoom(id, tokens: jobs[id].promptTokens + made, now: now) else { return }
        jobs[id].generated = made
        if made == target { return finish(id, now: now) }
        let steps = UInt64(made - jobs[id].generatedBefore)
        schedule(id, at: jobs[id].decodingAt + steps * interval)
        progressed.append(id)
    }

    private mutating func finish(_ id: SlotID, now: UInt64) {
        jobs[id].finishedAt = now
        jobs[id].phase = .done
        jobs[id].serial &+= 1
        Self.count(&metrics, jobs, id)
        progressed.append(id)
        if let index = index(of: jobs[id].runner) { leave(index, id, now: now) }
        load(now: now)
    }

    private static func count(
        _ metrics: inout Metrics, _ jobs: borrowing Slab<Job>, _ id: SlotID
    ) {
        metrics.count(jobs[id])
    }

    private mutating func schedule(_ id: SlotID, at time: UInt64) {
        jobs[id].serial &+= 1
        agenda.add(.job(id, serial: jobs[id].serial), at: time)
    }

    private func prefillNanoseconds(_ tokens: Int) -> UInt64 {
        options.isFast || options.prefillRate <= 0
            ? 0 : UInt64(Double(tokens) / options.prefillRate * 1e9)
    }

    /// Time for a token; a model that is partly outside of the accelerator takes four times as long.
    private func decodeNanoseconds(_ runner: UInt32) -> UInt64 {
        if options.isFast || options.decodeRate <= 0 { return 0 }
        let interval = UInt64(1e9 / options.decodeRate)
        guard let index = index(of: runner) else { return interval }
        let isWhole = runners[index].videoBytes >= options.models[runners[index].model].sizeBytes
        return isWhole ? interval : interval * 4
    }
}

// MARK: - Slots

extension Node {
    /// Gives a job to a runner that is ready.
    private mutating func use(_ index: Int, _ id: SlotID, now: UInt64) {
        jobs[id].loadedAt = now
        jobs[id].runner = runners[index].id
        runners[index].expiresAt = nil
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
    }

    /// Moves waiting jobs into slots, in their order, as far as slots and cache allow.
    private mutating func fill(_ index: Int, now: UInt64) {
        var place = 0
        while runners[index].running.count < options.slots, place < runners[index].queue.count {
            let id = runners[index].queue[place]
            guard hasAdapterSlot(index, jobs[id].adapter) else {
                // Others may go before one whose adapter has no place.
                place += 1
                continue
            }
            let tokens = jobs[id].promptTokens + jobs[id].generated
            guard let lease = runners[index].cache.lease(jobs[id].hashes, tokens: tokens) else {
                return
            }
            runners[index].queue.remove(at: place)
            runners[index].running.append(id)
            start(id, lease, now: now)
        }
    }

    private mutating func start(_ id: SlotID, _ lease: KVCache.Lease, now: UInt64) {
        let cached = cachedTokens(lease.matched, of: jobs[id].promptTokens)
        jobs[id].lease = lease
        if jobs[id].startedAt == 0 {
            jobs[id].startedAt = now
            jobs[id].cachedTokens = cached
            metrics.cacheQueries += UInt64(jobs[id].promptTokens)
            metrics.cacheHits += UInt64(cached)
        }
        jobs[id].phase = .prefilling
        // What was made before a preemption is computed again with the prompt.
        let tokens = jobs[id].promptTokens + jobs[id].generated - cached
        schedule(id, at: now + prefillNanoseconds(tokens))
        progressed.append(id)
    }

    /// Prompt tokens that matched blocks save; one at least is computed, for the engines with
    /// blocks the last whole block.
    private func cachedTokens(_ blocks: Int, of promptTokens: Int) -> Int {
        let matched = blocks * KVCache.blockTokens
        switch options.engine {
        case .ollama, .llamaCpp:
            return min(matched, max(0, promptTokens - 1))
        case .vllm, .sglang:
            let block = KVCache.blockTokens
            return min(matched, max(0, promptTokens - 1) / block * block)
        }
    }

    /// Adapters that work at once are bounded, as vLLM's `--max-loras` does.
    private func hasAdapterSlot(_ index: Int, _ adapter: Int?) -> Bool {
        guard let adapter else { return true }
        var active: Set<Int> = [adapter]
        for id in runners[index].running {
            if let other = jobs[id].adapter { active.insert(other) }
        }
        return active.count <= Node.adaptersMax
    }

    /// Adapters that may work at once.
    static var adaptersMax: Int { 4 }

    /// Takes a job out of its runner, from its slot or from the queue.
    private mutating func leave(_ index: Int, _ id: SlotID, now: UInt64) {
        if let place = runners[index].running.firstIndex(of: id) {
            runners[index].running.remove(at: place)
        } else {
            runners[index].queue.removeAll { $0 == id }
        }
        if var lease = jobs[id].lease.take() { runners[index].cache.end(&lease) }
        runners[index].holders -= 1
        fill(index, now: now)
        if runners[index].holders == 0 { settle(index, now: now) }
    }

    /// Makes room in the cache for a growing answer; false: the job itself had to give way.
    private mutating func makeRoom(_ id: SlotID, tokens: Int, now: UInt64) -> Bool {
        guard let index = index(of: jobs[id].runner), var lease = jobs[id].lease.take() else {
            preconditionFailure("A job in a slot holds blocks.")
        }
        while !runners[index].cache.extend(&lease, tokens: tokens) {
            guard let victim = runners[index].running.last, victim != id else {
                jobs[id].lease = lease
                preempt(index, id)
                return false
            }
            preempt(index, victim)
        }
        jobs[id].lease = lease
        return true
    }

    /// Sends the job that came last back to the head of the queue.
    private mutating func preempt(_ index: Int, _ id: SlotID) {
        metrics.preemptions += 1
        runners[index].running.removeAll { $0 == id }
        if var lease = jobs[id].lease.take() { runners[index].cache.end(&lease) }
        runners[index].queue.insert(id, at: 0)
        jobs[id].phase = .queued
        jobs[id].serial &+= 1
    }
}

// MARK: - Models in memory

extension Node {
    func index(of runner: UInt32) -> Int? { runners.firstIndex { $0.id == runner } }

    private mutating func addRunner(model: Int, contextTokens: Int) -> Int {
        runnerCount += 1
        let used = runners.reduce(0) { $0 + $1.videoBytes }
        let free = options.videoMemoryBytes - min(used, options.videoMemoryBytes)
        // Each slot has its own context, rounded up to blocks; a batch shares what there is.
        let blocks =
            switch options.engine {
            case .ollama, .llamaCpp: KVCache.blocks(forTokens: contextTokens) * options.slots
            case .vllm, .sglang: KVCache.blocks(forTokens: options.cacheTokens)
            }
        runners.append(
            Runner(
                id: runnerCount, model: model, contextTokens: contextTokens,
                videoBytes: min(options.models[model].sizeBytes, free),
                cache: KVCache(blocks: blocks),
                keepAlive: KeepAlive(options.keepAliveNanoseconds)))
        return runners.count - 1
    }

    /// A runner has become idle: it goes now, later or never.
    private mutating func settle(_ index: Int, now: UInt64) {
        guard options.engine == .ollama else { return }
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
    private mutating func load(now: UInt64) {
        while loading == nil, let id = pending.first {
            let model = jobs[id].model
            let wanted = jobs[id].contextTokens
            if let index = runners.firstIndex(where: { $0.model == model }) {
                if wanted == nil || wanted == runners[index].contextTokens {
                    pending.removeFirst()
                    use(index, id, now: now)
                } else if runners[index].holders == 0 {
                    // Other runner options mean a reload.
                    runners.remove(at: index)
                } else {
                    return
                }
                continue
            }
            if !hasRoom(for: model) {
                guard let index = idleRunner() else { return }
                metrics.evictions += 1
                runners.remove(at: index)
                continue
            }
            pending.removeFirst()
            let index = addRunner(model: model, contextTokens: wanted ?? options.contextTokens)
            let runner = runners[index].id
            loading = (runner, id)
            agenda.add(
                .loaded(runner: runner), at: now + (options.isFast ? 0 : options.loadNanoseconds))
        }
    }

    private func hasRoom(for model: Int) -> Bool {
        if runners.isEmpty { return true }
        if runners.count >= options.loadedMax { return false }
        let used = runners.reduce(0) { $0 + $1.videoBytes }
        return used + options.models[model].sizeBytes <= options.videoMemoryBytes
    }

    /// The idle runner with the shortest time to live.
    private func idleRunner() -> Int? {
        runners.indices.filter { runners[$0].holders == 0 && runners[$0].isReady }
            .min { runners[$0].keepAlive.length < runners[$1].keepAlive.length }
    }
}
