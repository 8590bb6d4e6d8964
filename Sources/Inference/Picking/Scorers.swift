import BasicContainers

/// What scorers know of the request.
struct ScoredRequest: BitwiseCopyable {
    var blocks: Float
}

/// The formulas, from `inference-extension.md` §7 and, for the last three, `ai-features.md` §1.4.
///
/// Each fills one column, a number from 0 to 1 for each candidate, and knows nothing but its arguments.
extension Scorer {
    /// Scores all candidates into the first numbers of a column.
    func score(
        _ candidates: borrowing RigidArray<Candidate>, _ request: ScoredRequest,
        _ column: inout RigidArray<Float>
    ) {
        var output = column.mutableSpan
        score(candidates.span, request, &output)
    }

    private func score(
        _ candidates: Span<Candidate>, _ request: ScoredRequest, _ column: inout MutableSpan<Float>
    ) {
        switch self {
        case .queue:
            Self.byRange(candidates, &column) { $0.waiting }
        case .runningRequests:
            Self.byRange(candidates, &column) { $0.running }
        case .kvCacheUtilization:
            // An endpoint that does not tell is neither preferred nor avoided.
            Self.each(candidates, &column) { $0.kvUsage.isNaN ? 0.5 : 1 - $0.kvUsage }
        case .prefixCache:
            let blocks = max(1, request.blocks)
            Self.each(candidates, &column) { $0.matched / blocks }
        case .loraAffinity:
            Self.each(candidates, &column) {
                switch $0.lora {
                case .running: 1
                case .room: 0.8
                case .waiting: 0.6
                case .none: 0
                }
            }
        case .loadAware:
            Self.each(candidates, &column) {
                $0.waiting <= 0 ? 0.5 : 0.5 * (1 - min($0.waiting / 128, 1))
            }
        case .activeRequest:
            Self.byShare(candidates, &column) { $0.inFlight }
        case .tokenLoad:
            Self.each(candidates, &column) { 1 - min(1, $0.tokensInFlight / 4_194_304) }
        case .noHitLRU:
            Self.noHit(candidates, &column)
        case .sessionAffinity:
            Self.each(candidates, &column) { $0.isSession ? 1 : 0 }
        case .residency:
            Self.residency(candidates, &column)
        case .modelRequests:
            Self.byShare(candidates, &column) { $0.modelInFlight }
        case .estimatedTTFT:
            // Comparable between any two endpoints, and a few milliseconds weigh next to nothing.
            Self.each(candidates, &column) { 1_000 / (1_000 + $0.ttft) }
        }
    }

    @inline(__always)
    private static func each(
        _ candidates: Span<Candidate>, _ column: inout MutableSpan<Float>,
        _ formula: (Candidate) -> Float
    ) {
        for i in 0..<candidates.count { column[i] = clamp(formula(candidates[i])) }
    }

    @inline(__always)
    private static func clamp(_ value: Float) -> Float { max(0, min(1, value)) }

    /// (largest - x) / (largest - smallest); 1 when all are equal.
    @inline(__always)
    private static func byRange(
        _ candidates: Span<Candidate>, _ column: inout MutableSpan<Float>,
        _ value: (Candidate) -> Float
    ) {
        var smallest = Float.infinity
        var largest = -Float.infinity
        for i in 0..<candidates.count {
            let x = value(candidates[i])
            smallest = min(smallest, x)
            largest = max(largest, x)
        }
        let range = largest - smallest
        for i in 0..<candidates.count {
            column[i] = range > 0 ? (largest - value(candidates[i])) / range : 1
        }
    }

    /// 1 for who has none; otherwise (largest - x) / largest.
    @inline(__always)
    private static func byShare(
        _ candidates: Span<Candidate>, _ column: inout MutableSpan<Float>,
        _ value: (Candidate) -> Float
    ) {
        var largest: Float = 0
        for i in 0..<candidates.count { largest = max(largest, value(candidates[i])) }
        for i in 0..<candidates.count {
            let x = value(candidates[i])
            column[i] = x <= 0 ? 1 : (largest - x) / largest
        }
    }

    /// A prompt that nobody has goes to who was given such a one the longest time ago.
    private static func noHit(
        _ candidates: Span<Candidate>, _ column: inout MutableSpan<Float>
    ) {
        var isCold = true
        for i in 0..<candidates.count where candidates[i].matched > 0 { isCold = false }
        each(candidates, &column) { isCold ? $0.idleRank : 0.5 }
    }

    /// By class; where something may have to go, by how few models are there.
    private static func residency(
        _ candidates: Span<Candidate>, _ column: inout MutableSpan<Float>
    ) {
        each(candidates, &column) {
            switch $0.residency {
            case .inVRAM: 1
            case .resident: 0.8
            case .fits: 0.6
            case .unknown: 0.2 + 0.2 / (1 + $0.residentCount)
            }
        }
    }
}
