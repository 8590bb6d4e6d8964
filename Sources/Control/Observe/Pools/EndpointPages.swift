import Foundation
import Inference
import Runtime
import Telemetry

/// `/endpoints`, and what metrics say of models: as the endpoints told it themselves.
struct EndpointPages {
    struct Page: Codable, Equatable, Sendable {
        var pools: [Pool]
    }

    struct Pool: Codable, Equatable, Sendable {
        var name: String
        /// Who has the say: `here`, also while an external picker fails, or `external`.
        var picker: String
        /// Requests that wait in the gateway.
        var waiting: Int?
        var endpoints: [Endpoint]
    }

    struct Endpoint: Codable, Equatable, Sendable {
        var address: String
        var engine: String
        /// `ready`, `notReady` or, where nothing can be asked, `notAsked`.
        var state: String
        /// Why the last question got no answer.
        var trouble: String?
        var version: String?
        /// Requests of this gateway there, and models that they wait to be loaded.
        var inFlight: Int?
        var loading: Int?
        /// For how long it gets no requests, after failures.
        var ejectedForMilliseconds: UInt64?
        /// In the engine, as it tells.
        var waiting: Double?
        var running: Double?
        var kvUsage: Double?
        /// Of the load, in milliseconds.
        var ageMilliseconds: UInt64?
        /// Absent where they are not told.
        var resident: [Model]?
        var residentAgeMilliseconds: UInt64?
        var disk: [String]?
        var loraRunning: [String]?
        var loraWaiting: [String]?
    }

    struct Model: Codable, Equatable, Sendable {
        var name: String
        var bytes: UInt64?
        var vramBytes: UInt64?
        /// RFC 3339.
        var until: String?
        var state: String?
    }

    private let views: [PoolView]
    private let now: UInt64

    init(_ views: [PoolView], now: UInt64) {
        self.views = views
        self.now = now
    }

    // MARK: - The page

    /// One line of JSON.
    var json: [UInt8] {
        jsonBytes(
            Page(
                pools: views.map { view in
                    Pool(
                        name: view.name, picker: view.ledger == nil ? "external" : "here",
                        waiting: view.ledger?.counts.waiting,
                        endpoints: view.endpoints.map { row($0, view.ledger) })
                }))
    }

    private func row(_ probe: EndpointProbe, _ ledger: PoolLedger?) -> Endpoint {
        let engine = probe.endpoint.engine
        let isAsked = probe.endpoint.transport != nil && engine.ask(.health) != nil
        var row = Endpoint(
            address: "\(probe.endpoint.address)", engine: "\(engine)",
            state: isAsked ? probe.isReady ? "ready" : "notReady" : "notAsked")
        if let own = ledger?.status(of: probe.endpoint.id) {
            row.inFlight = Int(own.inFlight)
            row.loading = Int(own.loadingCount)
            let nanoseconds = now &* 1_000_000
            if own.ejectedUntil > nanoseconds {
                row.ejectedForMilliseconds = (own.ejectedUntil - nanoseconds) / 1_000_000
            }
        }
        row.trouble = probe.trouble
        row.version = probe.version
        if probe.isFresh(probe.metricsAt, .load, now) {
            row.waiting = probe.metrics.waiting
            row.running = probe.metrics.running
            row.kvUsage = probe.metrics.kvUsage
            if probe.metrics.loraLimit != nil {
                row.loraRunning = probe.metrics.loraRunning
                row.loraWaiting = probe.metrics.loraWaiting
            }
        }
        if probe.metricsAt != 0 { row.ageMilliseconds = now &- probe.metricsAt }
        if probe.residentAt != 0 {
            row.residentAgeMilliseconds = now &- probe.residentAt
            row.resident = probe.resident.map { model in
                Model(
                    name: model.name, bytes: model.size == 0 ? nil : model.size,
                    vramBytes: model.expiresAt == nil ? nil : model.sizeVRAM,
                    until: model.expiresAt.map(UTC.text), state: model.state)
            }
        }
        if probe.diskAt != 0 { row.disk = probe.disk.map(\.name) }
        return row
    }

    // MARK: - Metrics

    /// Appends the families of models in memory; none where no endpoint tells of any.
    func metrics(wallSeconds: Int64, into output: inout [UInt8]) {
        // An endpoint may be in several pools: its row is told once.
        var seen: Set<String> = []
        var rows: [(endpoint: String, model: KnownModel)] = []
        for probe in views.flatMap(\.endpoints)
        where probe.isFresh(probe.residentAt, .resident, now) {
            let endpoint = "\(probe.endpoint.address)"
            for model in probe.resident where model.state ?? "loaded" == "loaded" {
                guard seen.insert("\(endpoint) \(model.name)").inserted else { continue }
                rows.append((endpoint, model))
            }
        }
        var page = PrometheusText()
        func family(_ name: String, _ help: String, _ value: (KnownModel) -> String?) {
            let told = rows.compactMap { row in value(row.model).map { (row, $0) } }
            if told.isEmpty { return }
            page.family(name, .gauge, help)
            for (row, value) in told {
                page.row(name, [("endpoint", row.endpoint), ("model", row.model.name)], value)
            }
        }
        family("ai_gateway_model_resident", "Models in the memory of an endpoint.") { _ in "1" }
        family("ai_gateway_model_vram_bytes", "Video memory that a model takes.") { model in
            model.expiresAt == nil ? nil : "\(model.sizeVRAM)"
        }
        family(
            "ai_gateway_model_expires_seconds", "Until a model that nobody asks for is unloaded."
        ) { model in
            model.expiresAt.map { "\(max(0, $0 - wallSeconds))" }
        }
        output += page.text
    }
}
