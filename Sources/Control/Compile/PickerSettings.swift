import Foundation
import Inference

/// What documents say of how a pool's endpoints are picked; nil where they say nothing.
struct PickerSettings: Sendable, Equatable {
    var sendsAnswers: Bool?
    var concurrencyPerModel: Int?
    var concurrencyPerEndpoint: Int?
    var queueLimit: Int?
    var queueDeadlineMilliseconds: UInt64?
    var profile: Profile?

    init() {}

    /// Sets what a checked document says; the rest stays.
    mutating func apply(_ spec: PickerSpec?) {
        guard let spec else { return }
        if let body = spec.responseBody { sendsAnswers = body == .send }
        concurrencyPerModel = spec.concurrencyPerModel ?? concurrencyPerModel
        concurrencyPerEndpoint = spec.concurrencyPerEndpoint ?? concurrencyPerEndpoint
        queueLimit = spec.queueLimit ?? queueLimit
        if let deadline = spec.queueDeadline.flatMap({ GatewayDuration($0) }) {
            queueDeadlineMilliseconds = deadline.milliseconds
        }
        guard let weights = spec.weights else { return }
        var new = Profile()
        for (name, weight) in weights {
            if let scorer = Scorer(name: name) { new[scorer] = Float(weight) }
        }
        profile = new
    }

    /// Milliseconds that leases last instead of their default, for tests.
    static let leaseVariable = "AI_GATEWAY_LEASE_MILLISECONDS"

    /// The engine's defaults with what is set in their place.
    func configuration(_ engine: EngineKind) -> PoolConfiguration {
        var configuration = PoolConfiguration(engine: engine)
        if let concurrencyPerModel {
            configuration.concurrencyPerModel = Int32(clamping: concurrencyPerModel)
        }
        if let concurrencyPerEndpoint {
            configuration.concurrencyPerEndpoint = Int32(clamping: concurrencyPerEndpoint)
        }
        if let queueLimit { configuration.queueLimit = queueLimit }
        if let queueDeadlineMilliseconds {
            configuration.queueDeadlineMilliseconds = queueDeadlineMilliseconds
        }
        if let profile { configuration.profile = profile }
        // As long as the scraper believes what it was told: Ollama is asked less often than the others.
        if engine == .ollama { configuration.staleAfterMilliseconds = 10_000 }
        if let text = ProcessInfo.processInfo.environment[Self.leaseVariable],
            let milliseconds = UInt64(text), milliseconds > 0
        {
            configuration.leaseMilliseconds = milliseconds
        }
        return configuration
    }

    /// What tells one configuration of an engine from another.
    var key: String {
        let numbers = [concurrencyPerModel, concurrencyPerEndpoint, queueLimit]
            .map { $0.map { "\($0)" } ?? "-" }
        let weights = profile.map { profile in
            Scorer.allCases.map { "\(profile[$0])" }.joined(separator: ",")
        }
        let deadline = queueDeadlineMilliseconds.map { "\($0)" } ?? "-"
        return (numbers + [deadline, weights ?? "-"]).joined(separator: " ")
    }

    /// Whether somebody asked for a limit by model.
    ///
    /// Then the model is read even of a lone endpoint's requests. The limit that an engine has by itself
    /// only helps to choose.
    var limitsModels: Bool { concurrencyPerModel ?? 0 > 0 }
}

extension PickerSettings {
    /// The most that a queue may be asked to hold: each waiter has a place made beforehand.
    static let queueLimitMax = 65_536
}

extension FieldChecks {
    mutating func check(_ picker: PickerSpec?, at path: String, isGateway: Bool) {
        guard let picker else { return }
        if let body = picker.responseBody {
            require(
                isGateway, path + ".responseBody",
                "is about external pickers, which Backends have none of")
            require(
                body.isKnown, path + ".responseBody", "\"\(body)\" is not Send or Skip")
        }
        inRange(picker.concurrencyPerModel, 0...1_000_000, path + ".concurrencyPerModel")
        inRange(picker.concurrencyPerEndpoint, 0...1_000_000, path + ".concurrencyPerEndpoint")
        inRange(picker.queueLimit, 0...PickerSettings.queueLimitMax, path + ".queueLimit")
        duration(picker.queueDeadline, path + ".queueDeadline")
        let names = Scorer.allCases.map(\.name)
        for (name, weight) in (picker.weights ?? [:]).sorted(by: { $0.key < $1.key }) {
            let place = FieldPath.appending(key: name, to: path + ".weights")
            if Scorer(name: name) == nil {
                let meant = NearestName.suggestion(for: name, among: names)
                refuse(
                    place,
                    "is not a scorer; "
                        + (meant.map { "did you mean \"\($0)\"?" }
                            ?? "known are \(names.joined(separator: ", "))"))
            }
            require((0...1_000).contains(weight), place, "\(weight) is not within 0 to 1000")
        }
    }
}
