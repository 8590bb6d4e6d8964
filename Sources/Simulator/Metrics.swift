/// Counters and distributions of one node, from which each engine's page is written.
struct Metrics {
    /// Monotonic nanoseconds, of the simulated time.
    let startedAt: UInt64
    /// When the statistics last began anew.
    var resetAt: UInt64
    /// Requests taken, and those that were refused because too many wait or nothing is loaded yet.
    var requests: UInt64 = 0
    var refused: UInt64 = 0
    /// Of requests that are done.
    var promptTokens: UInt64 = 0
    /// Prompt tokens that were in the cache, of requests that are done.
    var cachedTokens: UInt64 = 0
    var generatedTokens: UInt64 = 0
    /// Prompt tokens of requests that have begun, and those of them that were in the cache.
    var cacheQueries: UInt64 = 0
    var cacheHits: UInt64 = 0
    /// The part of the last prompt that was in the cache.
    var lastHitRate = 0.0
    var stopped: UInt64 = 0
    var cut: UInt64 = 0
    var aborted: UInt64 = 0
    var preemptions: UInt64 = 0
    var loads: UInt64 = 0
    var evictions: UInt64 = 0
    /// Models put out because they were wanted with other options.
    var reloads: UInt64 = 0
    var adapterLoads: UInt64 = 0
    var longestTokens: UInt64 = 0
    var prefillNanoseconds: UInt64 = 0
    var decodeNanoseconds: UInt64 = 0
    /// Time of all steps.
    var busyNanoseconds: UInt64 = 0
    var peakRunning = 0
    var peakWaiting = 0
    /// 0 to 1.
    var peakUsage = 0.0

    var firstToken = Histogram(Histogram.firstTokenBounds)
    var betweenTokens = Histogram(Histogram.tokenBounds)
    var perToken = Histogram(Histogram.tokenBounds)
    var endToEnd = Histogram(Histogram.requestBounds)
    var queueTime = Histogram(Histogram.requestBounds)
    var prefillTime = Histogram(Histogram.requestBounds)
    var decodeTime = Histogram(Histogram.requestBounds)
    var inferenceTime = Histogram(Histogram.requestBounds)

    init(startedAt: UInt64) {
        self.startedAt = startedAt
        resetAt = startedAt
    }

    /// Requests that were finished.
    var finished: UInt64 { stopped + cut }

    /// Counts a job whose prefill begins for the first time.
    mutating func countStart(promptTokens: Int, cachedTokens: Int) {
        cacheQueries += UInt64(promptTokens)
        cacheHits += UInt64(cachedTokens)
        lastHitRate = promptTokens > 0 ? Double(cachedTokens) / Double(promptTokens) : 0
    }

    /// Counts a job that is done.
    mutating func count(_ job: borrowing Job) {
        promptTokens += UInt64(job.promptTokens)
        cachedTokens += UInt64(job.cachedTokens)
        generatedTokens += UInt64(job.generated)
        longestTokens = max(longestTokens, UInt64(job.promptTokens + job.generated))
        if job.isCut { cut += 1 } else { stopped += 1 }
        let prefill = job.firstAt - job.startedAt
        let decode = job.finishedAt - job.firstAt
        prefillNanoseconds += prefill
        decodeNanoseconds += decode
        firstToken.count(job.firstAt - job.submittedAt)
        endToEnd.count(job.finishedAt - job.submittedAt)
        queueTime.count(job.startedAt - job.submittedAt)
        prefillTime.count(prefill)
        decodeTime.count(decode)
        inferenceTime.count(job.finishedAt - job.startedAt)
        if job.generated > 1 {
            let gaps = UInt64(job.generated - 1)
            perToken.count(decode / gaps)
            betweenTokens.count(decode / gaps, times: gaps)
        }
    }
}

/// A distribution in Prometheus' form.
struct Histogram {
    /// Upper bounds in seconds.
    let bounds: [Double]
    /// One for each bound and one for what is above all of them; not cumulative.
    private(set) var counts: [UInt64]
    private(set) var sum = 0.0
    private(set) var total: UInt64 = 0

    init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.count + 1)
    }

    mutating func count(_ nanoseconds: UInt64, times: UInt64 = 1) {
        let seconds = Double(nanoseconds) / 1e9
        let index = bounds.firstIndex { seconds <= $0 } ?? bounds.count
        counts[index] += times
        sum += seconds * Double(times)
        total += times
    }

    static let firstTokenBounds: [Double] = [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
        40, 80, 160, 640, 2_560,
    ]
    static let tokenBounds: [Double] = [
        0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40,
        80,
    ]
    static let requestBounds: [Double] = [
        0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1_920,
        7_680,
    ]
}
