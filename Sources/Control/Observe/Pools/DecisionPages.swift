import Foundation
import Inference
import Kernel
import Runtime

/// `/decisions`: the last picks of every pool, the newest first, with every candidate's scores and what decided.
struct DecisionPages {
    /// The most picks of one pool that are shown.
    static let limit = 1_000

    private struct Page: Encodable {
        var pools: [Pool]
    }

    private struct Pool: Encodable {
        var name: String
        /// By scorer.
        var weights: [String: Float]
        var decisions: [Row]
    }

    private struct Row: Encodable {
        /// RFC 3339.
        var at: String
        /// As the endpoints call it; absent when none of them has told of it, or the request named none.
        var model: String?
        /// `address:port`; absent when it has left the pool.
        var endpoint: String?
        /// What decided: `only`, `session`, `prefix`, `resident`, `loading`, `cold`, `score`, `panic`.
        var reason: String
        /// The endpoint had to load the model.
        var isColdLoad: Bool
        var candidates: Int
        /// Sum of weighted scores; 0 with one candidate.
        var total: Float
        /// Blocks of the prompt that the endpoint probably held.
        var matchedBlocks: Int
        var waitedMilliseconds: Int
        /// Absent where later picks have taken their place: about 8,000 are kept for a pool.
        var endpoints: [CandidateReport]?
    }

    private let views: [PoolView]
    private let now: UInt64
    private let wallMilliseconds: UInt64

    /// `now` is the monotonic clock's and `wallMilliseconds` the wall clock's word for the same moment.
    init(_ views: [PoolView], now: UInt64, wallMilliseconds: UInt64) {
        self.views = views
        self.now = now
        self.wallMilliseconds = wallMilliseconds
    }

    /// One line of JSON.
    var json: [UInt8] {
        jsonBytes(
            Page(
                pools: views.compactMap { view in
                    guard let ledger = view.ledger else { return nil }
                    let names = Self.names(view)
                    let addresses = view.addresses
                    return Pool(
                        name: view.name, weights: ledger.profile.named,
                        decisions: ledger.decisions(limit: Self.limit).map {
                            row($0, ledger.profile, names, addresses)
                        })
                }))
    }

    private func row(
        _ told: ToldDecision, _ profile: Profile, _ names: [UInt64: String],
        _ addresses: [UInt32: String]
    ) -> Row {
        let decision = told.decision
        let age = now &- min(now, decision.at / 1_000_000)
        return Row(
            at: UTC.text(Int64((wallMilliseconds &- age) / 1_000)),
            model: names[decision.model], endpoint: addresses[decision.endpoint],
            reason: "\(decision.reason)", isColdLoad: decision.isColdLoad,
            candidates: Int(decision.candidateCount), total: decision.total,
            matchedBlocks: Int(decision.matchedBlocks),
            waitedMilliseconds: Int(decision.waitedMilliseconds),
            endpoints: told.endpoints.isEmpty
                ? nil
                : CandidateReport.all(told.endpoints, profile) { addresses[$0] ?? "\($0)" })
    }

    /// Names by their hashes: decisions keep hashes only.
    private static func names(_ view: PoolView) -> [UInt64: String] {
        var names: [UInt64: String] = [:]
        for probe in view.endpoints {
            for model in probe.resident + probe.disk {
                let hash = PickingHash.model(
                    Array(model.name.utf8).span, engine: probe.endpoint.engine)
                names[hash] = model.name
            }
        }
        return names
    }
}
