import Foundation
import Inference
import Kernel

/// What is asked of one endpoint and what came of it; one question at a time, so that one connection is enough.
///
/// It opens nothing and knows no clock: time is an argument, in milliseconds.
struct EndpointProbe: Sendable {
    /// Failures in a row that make an endpoint not ready, and successes that make it ready again.
    static let downAfter = 3
    static let upAfter = 2
    /// What an answer to a question may take.
    static let answerMilliseconds: UInt64 = 3_000
    /// Between two looks for what an engine does not have at the moment.
    static let absentMilliseconds: UInt64 = 60_000
    /// After so many intervals without an answer, what was told is no longer believed.
    static let staleIntervals: UInt64 = 5

    let endpoint: WatchedEndpoint
    /// By `ProbeTask.rawValue`; `.max` for what the engine does not have.
    private var dueAt: [UInt64]
    /// What is being asked.
    private(set) var asked: ProbeTask?
    /// When: an answer says what was then, and maybe no longer when it comes.
    private var askedAt: UInt64 = 0

    private(set) var isReady = true
    private var failures = 0
    private var successes = 0

    /// What the answers said last, each with its time; 0 for never.
    private(set) var metrics = EngineMetrics()
    private(set) var metricsAt: UInt64 = 0
    private(set) var resident: [KnownModel] = []
    private(set) var residentAt: UInt64 = 0
    private(set) var disk: [KnownModel] = []
    private(set) var diskAt: UInt64 = 0
    private(set) var version: String?
    /// Why the last question got no answer, as a part of a sentence.
    private(set) var trouble: String?

    /// A probe that asks everything within the first interval of each task.
    ///
    /// `jitter` is 0 ..< 1: where in the interval it begins, so that endpoints are not asked all at once.
    init(_ endpoint: WatchedEndpoint, now: UInt64, jitter: Double) {
        self.endpoint = endpoint
        dueAt = ProbeTask.allCases.map { task in
            guard endpoint.transport != nil, let ask = endpoint.engine.ask(task) else {
                return .max
            }
            // A gateway that has just begun shall soon know what it chooses between.
            return now + UInt64(Double(min(ask.milliseconds, 200)) * jitter)
        }
    }

    /// The first moment at which something is to be asked; `.max` for never.
    var nextAt: UInt64 { asked == nil ? dueAt.min() ?? .max : .max }

    /// Takes the next question that is due, if the endpoint is not busy with another.
    mutating func next(now: UInt64) -> ProbeTask? {
        guard asked == nil else { return nil }
        // The one that has waited longest.
        let task = ProbeTask.allCases.min { dueAt[$0.rawValue] < dueAt[$1.rawValue] }
        guard let task, dueAt[task.rawValue] <= now else { return nil }
        asked = task
        askedAt = now
        return task
    }

    /// Notes the answer to what was asked; the news for the picker, if there are any.
    mutating func finish(
        status: Int, _ content: Span<UInt8>, now: UInt64, wallSeconds: Int64, jitter: Double
    ) -> EndpointObservation? {
        guard let task = end(now, jitter) else { return nil }
        if task != .health, status != 200 {
            // 501 and 404: the server was started without it. That is no failure of the endpoint.
            trouble = "\(name(of: task)) is answered \(status)"
            if status == 501 || status == 404 || status == 400 {
                dueAt[task.rawValue] = now + Self.absentMilliseconds
            }
            return nil
        }
        switch task {
        case .health:
            if status == 200 { version = text(content).flatMap(ModelPages.version) ?? version }
            return judge(isWell: status < 500, "its health is answered \(status)", now)
        case .load:
            metrics = EngineMetrics(content, of: endpoint.engine)
            metricsAt = now
        case .resident:
            guard let page = text(content) else { return nil }
            let isRouter = endpoint.engine == .llamaCpp
            guard let models = isRouter ? ModelPages.router(page) : ModelPages.ollama(page) else {
                dueAt[task.rawValue] = now + Self.absentMilliseconds
                return isRouter && ModelPages.openAI(page) != nil ? alone(now) : nil
            }
            resident = models
            residentAt = now
        case .disk:
            guard let page = text(content) else { return nil }
            let isList = endpoint.engine == .llamaCpp
            guard let models = isList ? ModelPages.openAI(page) : ModelPages.ollama(page) else {
                return nil
            }
            disk = models
            diskAt = now
        }
        trouble = nil
        return observation(task, now, wallSeconds)
    }

    /// Notes that there was no answer; the news for the picker, if there are any.
    ///
    /// `isDown` tells a server that is not there from one that is slow: who computes may have no time for
    /// questions, and whether it hangs is seen by its requests.
    mutating func fail(
        _ cause: String, isDown: Bool, now: UInt64, jitter: Double
    ) -> EndpointObservation? {
        guard let task = end(now, jitter) else { return nil }
        trouble = "\(name(of: task)): \(cause)"
        return task == .health && isDown ? judge(isWell: false, cause, now) : nil
    }

    private mutating func end(_ now: UInt64, _ jitter: Double) -> ProbeTask? {
        guard let task = asked, let ask = endpoint.engine.ask(task) else { return nil }
        asked = nil
        // From nine to eleven tenths, so that what fell together comes apart.
        let interval = Double(ask.milliseconds) * (0.9 + 0.2 * jitter)
        dueAt[task.rawValue] = now + UInt64(interval)
        return task
    }

    private func name(of task: ProbeTask) -> String {
        endpoint.engine.ask(task).map { "\($0.target)" } ?? ""
    }

    private func text(_ content: Span<UInt8>) -> Data? {
        content.isEmpty ? nil : Data(content.indices.map { content[$0] })
    }

    // MARK: - Health

    private mutating func judge(
        isWell: Bool, _ cause: String, _ now: UInt64
    ) -> EndpointObservation? {
        if isWell {
            trouble = nil
            failures = 0
            successes += 1
        } else {
            trouble = cause
            successes = 0
            failures += 1
        }
        let isNews = isReady ? failures >= Self.downAfter : successes >= Self.upAfter
        if !isNews { return nil }
        isReady.toggle()
        return readiness(now)
    }

    /// Only whether it is ready: what answers said before stays with its own time.
    private func readiness(_ now: UInt64) -> EndpointObservation {
        var observation = EndpointObservation(
            observedAt: max(metricsAt, residentAt) &* 1_000_000, isReady: isReady)
        if isFresh(metricsAt, .load, now) { addLoad(&observation) }
        return observation
    }

    /// Whether what a task's answer said may still be believed.
    func isFresh(_ at: UInt64, _ task: ProbeTask, _ now: UInt64) -> Bool {
        guard at != 0, let ask = endpoint.engine.ask(task) else { return false }
        return now &- at <= ask.milliseconds * Self.staleIntervals
    }

    /// All that may still be believed, for a picker that knows nothing yet; nil when that is nothing.
    func all(now: UInt64) -> EndpointObservation? {
        let at = max(metricsAt, residentAt)
        if at == 0 && isReady { return nil }
        var observation = readiness(now)
        if isFresh(residentAt, .resident, now), endpoint.engine == .ollama {
            observation.known.insert(.resident)
            addResident(&observation, now, Int64(Clock.wallNanoseconds() / 1_000_000_000))
        }
        return observation
    }

    // MARK: - For the picker

    private func observation(
        _ task: ProbeTask, _ now: UInt64, _ wallSeconds: Int64
    ) -> EndpointObservation? {
        var observation = EndpointObservation(observedAt: askedAt &* 1_000_000, isReady: isReady)
        switch task {
        case .health: return nil
        case .load: addLoad(&observation)
        case .resident:
            observation.known.insert(.resident)
            addResident(&observation, now, wallSeconds)
            if endpoint.engine == .llamaCpp {
                observation.known.insert(.disk)
                for model in resident where model.state != "failed" {
                    observation.disk.append(hash(model.name))
                }
                if isFresh(metricsAt, .load, now) { addLoad(&observation) }
            }
        case .disk:
            // A lone llama.cpp serves its one model under any name; a long list cannot be told whole.
            guard endpoint.engine == .ollama, disk.count <= 128 else { return nil }
            observation.known.insert(.disk)
            for model in disk { observation.disk.append(hash(model.name)) }
        }
        return observation
    }

    /// A llama.cpp that is no router has its one model in memory and answers for every name.
    private func alone(_ now: UInt64) -> EndpointObservation {
        var observation = EndpointObservation(observedAt: now &* 1_000_000, isReady: isReady)
        observation.known.insert(.anyModel)
        if isFresh(metricsAt, .load, now) { addLoad(&observation) }
        return observation
    }

    private func addLoad(_ observation: inout EndpointObservation) {
        if metrics.waiting != nil || metrics.running != nil {
            observation.known.insert(.load)
            observation.waiting = Int32(clamping: whole(metrics.waiting))
            observation.running = Int32(clamping: whole(metrics.running))
        }
        if let usage = metrics.kvUsage {
            observation.known.insert(.kvUsage)
            observation.kvUsage = Float(min(1, max(0, usage)))
        }
        observation.blockSize = UInt32(clamping: whole(metrics.blockSize))
        observation.blockCount = UInt32(clamping: whole(metrics.blockCount))
        if let limit = metrics.loraLimit {
            observation.known.insert(.lora)
            observation.loraLimit = Int32(clamping: whole(limit))
            for name in metrics.loraRunning { observation.loraRunning.append(hash(name)) }
            for name in metrics.loraWaiting { observation.loraWaiting.append(hash(name)) }
        }
    }

    private func whole(_ number: Double?) -> Int {
        number.flatMap { Int(exactly: max(0, $0).rounded()) } ?? 0
    }

    private func addResident(
        _ observation: inout EndpointObservation, _ now: UInt64, _ wallSeconds: Int64
    ) {
        for model in resident where model.state == nil || model.state == "loaded" {
            var expiresAt: UInt64 = 0
            if let at = model.expiresAt {
                // `keep_alive: -1` is told as a day some centuries away.
                let left = max(0, at - wallSeconds)
                expiresAt = left > 1_000_000_000 ? .max : (now + UInt64(left) * 1_000) &* 1_000_000
            }
            observation.append(
                ResidentModel(
                    model: hash(model.name), size: model.size, sizeVRAM: model.sizeVRAM,
                    expiresAt: expiresAt))
        }
    }

    private func hash(_ name: String) -> UInt64 {
        PickingHash.model(Array(name.utf8).span, engine: endpoint.engine)
    }
}
