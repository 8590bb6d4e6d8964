import Foundation
import Inference
import Kernel
import Runtime

/// One endpoint of a pool as a choice saw it: why it was taken, or why not.
struct CandidateReport: Codable, Equatable, Sendable {
    /// `address:port`; the id of one that has left the pool.
    var endpoint: String
    var isChosen: Bool
    /// Why it was no candidate; absent for candidates.
    var excluded: String?
    /// Sum of weighted scores; absent where nothing was scored.
    var total: Float?
    /// From 0 to 1, by scorer; those that count nothing are left out.
    var scores: [String: Float]?
    /// The scorer that cost it most against the one that was chosen.
    var lostBy: String?
}

extension CandidateReport {
    /// All endpoints of a choice: the chosen one, the others by their totals, then who was no candidate.
    static func all(
        _ endpoints: [ExplainedEndpoint], _ profile: Profile, name: (UInt32) -> String
    ) -> [CandidateReport] {
        let chosen = endpoints.first(where: \.isChosen)
        let sorted = endpoints.enumerated().sorted { a, b in
            func key(_ row: ExplainedEndpoint) -> (Int, Float) {
                (row.isChosen ? 0 : row.exclusion == nil ? 1 : 2, -row.total)
            }
            let keys = (key(a.element), key(b.element))
            return keys.0 == keys.1 ? a.offset < b.offset : keys.0 < keys.1
        }
        return sorted.map { CandidateReport($0.element, chosen, profile, name) }
    }

    private init(
        _ row: ExplainedEndpoint, _ chosen: ExplainedEndpoint?, _ profile: Profile,
        _ name: (UInt32) -> String
    ) {
        endpoint = name(row.endpoint)
        isChosen = row.isChosen
        guard row.exclusion == nil else {
            excluded = row.exclusion.map { "\($0)" }
            return
        }
        var named: [String: Float] = [:]
        for scorer in Scorer.allCases where !row.scores[Int(scorer.rawValue)].isNaN {
            named[scorer.name] = row.scores[Int(scorer.rawValue)]
        }
        if named.isEmpty { return }
        total = row.total
        scores = named
        guard !row.isChosen, let chosen else { return }
        func cost(_ scorer: Scorer) -> Float {
            let at = Int(scorer.rawValue)
            let difference = profile[scorer] * (chosen.scores[at] - row.scores[at])
            return difference.isNaN ? 0 : difference
        }
        let worst = Scorer.allCases.max { cost($0) < cost($1) }
        lostBy = worst.flatMap { cost($0) > 0 ? $0.name : nil }
    }

    /// Why it was not taken, or that it was, as a part of a sentence.
    var reason: String {
        if isChosen { return "chosen" }
        if let excluded { return Self.words(excluded) }
        if let lostBy { return "less by \(lostBy)" }
        return "as good: one of the best is taken by chance"
    }

    /// An exclusion's name in words.
    static func words(_ exclusion: String) -> String {
        switch exclusion {
        case "\(Exclusion.notReady)": "is not ready"
        case "\(Exclusion.notInSubset)": "is not in the subset that was asked for"
        case "\(Exclusion.tried)": "was tried already"
        case "\(Exclusion.ejected)": "failed lately and is left alone for a while"
        case "\(Exclusion.circuitOpen)": "failed with this model lately"
        case "\(Exclusion.modelMissing)": "does not have the model"
        case "\(Exclusion.lowerPriority)": "is of a lower priority than others that can be used"
        case "\(Exclusion.noRoom)": "has all that its limits allow, or said that it is busy"
        case "\(Exclusion.wouldLoad)": "would have to load the model, which others have"
        case "\(Exclusion.saturated)": "is saturated"
        default: exclusion
        }
    }
}

extension Profile {
    /// The weights of the scorers that count, by their names.
    var named: [String: Float] {
        var weights: [String: Float] = [:]
        for scorer in Scorer.allCases where self[scorer] != 0 {
            weights[scorer.name] = self[scorer]
        }
        return weights
    }
}

/// How a pool would choose for a request, with every candidate's scores.
struct PoolReport: Codable, Equatable, Sendable {
    /// `namespace/name`.
    var pool: String
    var engine: String
    /// `chosen`, `waits`, or why nobody is: `saturated`, `noEndpoint`, `modelUnknown`.
    var outcome: String
    /// `documents`, where nothing is known but what they say, or `gateway`.
    var source: String
    var model: String?
    var promptBytes: Int
    /// Of one block of a prompt, and of how many blocks the prompt is taken to be.
    var blockBytes: Int
    var blocks: Int
    var priority: Int
    /// By scorer.
    var weights: [String: Float]
    /// How one of the best is taken.
    var picker: String
    /// What answers have taught about the model; absent where they have taught nothing.
    var learned: Learned?
    /// Requests that wait, and that run; of a gateway that runs only.
    var waiting: Int?
    var running: Int?
    var endpoints: [CandidateReport]

    /// Milliseconds; 0 for nothing yet.
    struct Learned: Codable, Equatable, Sendable {
        /// To load the model, and to serve a request once it is loaded.
        var loadMilliseconds: Float
        var serviceMilliseconds: Float
        /// To read a byte of a prompt.
        var prefillMillisecondsPerByte: Float
    }
}

/// What is asked of a pool: how it would choose for a request like this one.
struct PoolQuestion: Equatable, Sendable {
    /// `namespace/name`; nil: of the only one.
    var pool: String?
    /// As the content names it, or as it is rewritten.
    var model: String?
    var promptBytes = 0
    var priority: Int32 = 0
    /// `x-session-token` as the client sent it.
    var session: String?
    /// What makes an engine load a model anew (`num_ctx`); 0 for nothing.
    var options: UInt32 = 0
    /// The chain of the prompt in blocks of `blockBytes`.
    var blocks: [UInt64] = []
    var blockBytes = 0

    /// What the pick is asked with.
    func request(engine: EngineKind) -> PickRequest {
        let hash = model.map { PickingHash.model(Array($0.utf8).span, engine: engine) }
        var request = PickRequest(model: hash ?? 0, asker: Asker(worker: .max, exchange: 0))
        request.promptBytes = UInt32(clamping: promptBytes)
        request.priority = priority
        request.options = options
        if let session { request.session = PickingHash.of(Array(session.utf8).span) }
        return request
    }

    /// The report of an explanation.
    func report(
        _ told: borrowing Explanation, engine: EngineKind, profile: Profile, blockBytes: Int,
        blocks: Int, source: String, name: (UInt32) -> String
    ) -> PoolReport {
        let outcome = told.waits ? "waits" : told.rejection.map { "\($0)" } ?? "chosen"
        let endpoints = (0..<told.endpoints.count).map { told.endpoints[$0] }
        let learned = PoolReport.Learned(
            loadMilliseconds: told.loadMilliseconds, serviceMilliseconds: told.serviceMilliseconds,
            prefillMillisecondsPerByte: told.prefillMillisecondsPerByte)
        let hasLearned =
            learned.loadMilliseconds > 0 || learned.serviceMilliseconds > 0
            || learned.prefillMillisecondsPerByte > 0
        return PoolReport(
            pool: pool ?? "", engine: "\(engine)", outcome: outcome, source: source, model: model,
            promptBytes: promptBytes, blockBytes: blockBytes, blocks: blocks,
            priority: Int(priority), weights: profile.named, picker: profile.picker.name,
            learned: hasLearned ? learned : nil,
            endpoints: CandidateReport.all(endpoints, profile, name: name))
    }
}

extension PoolReport {
    /// A report as `/explain` answers it.
    init(json: [UInt8]) throws {
        self = try JSONDecoder().decode(PoolReport.self, from: Data(json))
    }
}
