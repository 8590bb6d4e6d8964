import BasicContainers
import Kernel

/// One simulated machine with a model server: what is in memory, who works, who waits.
///
/// It does no input or output and reads no clock: time is an argument, in nanoseconds. What it
/// reports through `next` is the id of a job that has got further.
struct Node: ~Copyable {
    enum Submission: Equatable {
        case accepted(SlotID)
        /// Too many wait already.
        case busy
        /// The server is still starting.
        case starting
    }

    enum Timer {
        /// A step of a runner is over.
        case step(runner: UInt32, serial: UInt32)
        case loaded(runner: UInt32)
        case expiry(runner: UInt32)
    }

    let options: SimulatorOptions
    let isLoopback: Bool
    var jobs: Slab<Job>
    var runners: [Runner] = []
    /// Jobs whose model is not in memory, the first come first.
    var pending: [SlotID] = []
    /// The runner that is being loaded, one at a time, and the job for which.
    var loading: (runner: UInt32, job: SlotID)?
    var agenda = Agenda<Timer>()
    /// Jobs that got further since `next` was asked.
    var progressed: [SlotID] = []
    private var progressedRead = 0
    var runnerCount: UInt32 = 0
    var metrics: Metrics
    /// What the counters were when the statistics last began anew.
    private(set) var baseline: Metrics
    let words = Words()
    /// An answer's text on its way into the cache.
    var scratch = Text()

    init(options: SimulatorOptions, isLoopback: Bool, now: UInt64) {
        self.options = options
        self.isLoopback = isLoopback
        jobs = Slab(capacity: options.connections)
        metrics = Metrics(startedAt: now)
        baseline = metrics
        guard !options.loadsOnDemand else { return }
        let index = addRunner(model: 0, contextTokens: options.contextTokens, optionsHash: 0)
        let nanoseconds = options.loadNanoseconds(of: 0)
        if nanoseconds == 0 {
            runners[index].isReady = true
        } else {
            agenda.add(.loaded(runner: runners[index].id), at: now + nanoseconds)
        }
    }

    /// When `next` will have something to do; nil: only after another call.
    var nextAt: UInt64? {
        progressedRead < progressed.count ? 0 : agenda.nextAt
    }

    /// Whether requests are taken.
    var isReady: Bool { options.loadsOnDemand || runners.allSatisfy(\.isReady) }

    /// Requests in slots.
    var runningCount: Int { runners.reduce(0) { $0 + $1.running.count } }

    /// Requests that wait, for a slot or for a model.
    var waitingCount: Int {
        runners.reduce(pending.count + (loading == nil ? 0 : 1)) { $0 + $1.queue.count }
    }

    /// The part of the cache that running requests hold, from 0 to 1.
    var cacheUsage: Double {
        if options.hasBlocks { return runners.first?.cache.usage ?? 0 }
        let room = runners.indices.reduce(0) { sum, index in
            sum + slotCount(index) * runners[index].contextTokens
        }
        return room > 0 ? min(1, Double(heldTokens) / Double(room)) : 0
    }

    /// Tokens of the requests in slots.
    var heldTokens: Int {
        var tokens = 0
        for index in runners.indices {
            for id in runners[index].running {
                tokens += jobs[id].promptTokens + jobs[id].generated
            }
        }
        return tokens
    }

    func index(of runner: UInt32) -> Int? { runners.firstIndex { $0.id == runner } }

    /// Requests that a runner works on at once; models that embed take one (Ollama).
    func slotCount(_ index: Int) -> Int {
        let isSingle =
            options.engine == .ollama && options.models[runners[index].model].isEmbedding
        return isSingle ? 1 : options.slots
    }

    // MARK: - Calls

    /// Takes a job; `next` tells how it goes on.
    mutating func submit(_ job: consuming Job, now: UInt64) -> Submission {
        catchUp(now: now)
        guard isReady else {
            metrics.refused += 1
            return .starting
        }
        var job = job
        job.submittedAt = now
        let model = job.model
        var index =
            options.loadsOnDemand
            ? runners.firstIndex { $0.model == model && $0.isReady } : 0
        if let hot = index, options.loadsOnDemand, !serves(hot, job) { index = nil }
        if index == nil {
            job.phase = .waitingForModel
            // The first of those that wait is with the loader and counts no longer.
            let waiting = pending.count - (loading == nil ? 1 : 0)
            if waiting >= options.queueMax {
                metrics.refused += 1
                return .busy
            }
        }
        guard let id = jobs.insert(job) else {
            metrics.refused += 1
            return .busy
        }
        metrics.requests += 1
        if let index { use(index, id, now: now) } else { pending.append(id) }
        load(now: now)
        notePeaks()
        return .accepted(id)
    }

    /// The client of a job has left.
    mutating func cancel(_ id: SlotID, now: UInt64) {
        catchUp(now: now)
        guard jobs.contains(id) else { return }
        switch jobs[id].phase {
        case .waitingForModel:
            metrics.aborted += 1
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
            guard let due = agenda.popTimed(now: now) else { return nil }
            fire(due.item, now: due.at)
        }
    }

    /// Does all that was due up to now, each at its own time.
    mutating func catchUp(now: UInt64) {
        while let due = agenda.popTimed(now: now) { fire(due.item, now: due.at) }
    }

    /// Begins the statistics anew; caches and models stay as they are.
    mutating func resetStatistics(now: UInt64) {
        catchUp(now: now)
        metrics.peakRunning = runningCount
        metrics.peakWaiting = waitingCount
        metrics.peakUsage = cacheUsage
        baseline = metrics
        baseline.resetAt = now
    }

    mutating func notePeaks() {
        metrics.peakRunning = max(metrics.peakRunning, runningCount)
        metrics.peakWaiting = max(metrics.peakWaiting, waitingCount)
        metrics.peakUsage = max(metrics.peakUsage, cacheUsage)
    }

    // MARK: - Time

    private mutating func fire(_ timer: Timer, now: UInt64) {
        switch timer {
        case .step(let runner, let serial):
            guard let index = index(of: runner), runners[index].step?.serial == serial else {
                return
            }
            endStep(index, now: now)
        case .loaded(let runner):
            guard let index = index(of: runner) else { return }
            runners[index].isReady = true
            metrics.loads += 1
            if let current = loading, current.runner == runner {
                loading = nil
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
}
