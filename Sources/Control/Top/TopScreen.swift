/// What `ai-gateway top` shows: tables of routes, endpoints, models and streams, as lines of text.
struct TopScreen {
    let now: TopSample
    /// An earlier one, for what happens a second; nil: sums since the gateway's start instead.
    let before: TopSample?

    /// Lines that fit the window; nil for no bound.
    func lines(columns: Int?, rows: Int?, title: String) -> [String] {
        var lines = [title, summary, ""]
        lines += table(
            routes,
            [
                "ROUTE", "RULE", "BACKEND", before == nil ? "REQUESTS" : "REQ/S", "5XX", "P50 MS",
                "P99 MS",
            ])
        lines += table(
            endpoints,
            ["ENDPOINT", "POOL", "ENGINE", "STATE", "HERE", "RUN", "WAIT", "KV", "MODELS"])
        lines += table(models, ["MODEL", "ENDPOINT", "VRAM", "UNTIL"])
        if lines.last == "" { lines.removeLast() }
        if let rows, lines.count > rows {
            let left = lines.count - (rows - 1)
            lines = Array(lines.prefix(max(0, rows - 1))) + ["… \(left) more lines"]
        }
        return columns.map { width in lines.map { String($0.prefix(width)) } } ?? lines
    }

    // MARK: - Rows

    private var summary: String {
        let parts = [
            ("connections", now.sum("ai_gateway_downstream_connections")),
            ("exchanges", now.sum("ai_gateway_active_exchanges")),
            ("tunnels", now.sum("ai_gateway_active_tunnels")),
            ("to backends", now.sum("ai_gateway_upstream_connections")),
        ]
        var text = parts.map { "\($0.0) \(Int($0.1))" }.joined(separator: "   ")
        if before != nil {
            text += "   requests/s \(Self.number(rate("ai_gateway_requests_total", [:])))"
        }
        return text
    }

    private struct RouteKey: Hashable, Comparable {
        let route: String
        let rule: String
        let backend: String

        static func < (a: RouteKey, b: RouteKey) -> Bool {
            (a.route, a.rule, a.backend) < (b.route, b.rule, b.backend)
        }
    }

    private var routes: [[String]] {
        var keys: Set<RouteKey> = []
        for row in now.rows where row.name == "ai_gateway_requests_total" {
            keys.insert(
                RouteKey(
                    route: row.labels["route"] ?? "", rule: row.labels["rule"] ?? "",
                    backend: row.labels["backend"] ?? ""))
        }
        return keys.sorted().map { key in
            var labels = ["route": key.route, "rule": key.rule]
            let times = [0.5, 0.99].map { share in
                quantile(share, "ai_gateway_request_duration_seconds", labels)
                    .map { Self.number($0 * 1_000) } ?? "-"
            }
            labels["backend"] = key.backend
            let errors = now.rows.filter { row in
                row.name == "ai_gateway_requests_total" && row.labels["code"]?.first == "5"
                    && labels.allSatisfy { (row.labels[$0] ?? "") == $1 }
            }.reduce(0) { $0 + $1.value }
            return [
                key.route.isEmpty ? "(none)" : key.route, key.rule,
                key.backend.isEmpty ? "-" : key.backend,
                Self.number(rate("ai_gateway_requests_total", labels)), Self.number(errors),
            ] + times
        }
    }

    private var endpoints: [[String]] {
        now.endpoints.pools.flatMap { pool in
            pool.endpoints.map { endpoint in Self.cells(endpoint, of: pool.name) }
        }
    }

    private static func cells(
        _ endpoint: EndpointPages.Endpoint, of pool: String
    ) -> [String] {
        let isEjected = (endpoint.ejectedForMilliseconds ?? 0) > 0
        let loading = endpoint.loading ?? 0
        var models = String(endpoint.resident?.count ?? 0)
        if loading > 0 { models += "+" + String(loading) }
        return [
            endpoint.address, pool, endpoint.engine, isEjected ? "ejected" : endpoint.state,
            cell(endpoint.inFlight.map(Double.init)), cell(endpoint.running),
            cell(endpoint.waiting), share(endpoint.kvUsage), models,
        ]
    }

    private static func cell(_ value: Double?) -> String {
        guard let value else { return "-" }
        return number(value)
    }

    private static func share(_ value: Double?) -> String {
        guard let value else { return "-" }
        return String(Int((value * 100).rounded())) + "%"
    }

    private var models: [[String]] {
        var seen: Set<[String]> = []
        var rows: [[String]] = []
        for endpoint in now.endpoints.pools.flatMap(\.endpoints) {
            for model in endpoint.resident ?? [] {
                guard seen.insert([endpoint.address, model.name]).inserted else { continue }
                let memory: String = model.vramBytes.map { Self.bytes($0) } ?? "-"
                rows.append([
                    model.name, endpoint.address, memory, model.until ?? model.state ?? "-",
                ])
            }
        }
        return rows.sorted { ($0[0], $0[1]) < ($1[0], $1[1]) }
    }

    // MARK: - Numbers

    /// What a counter grew by in a second; without an earlier sample its sum.
    private func rate(_ name: String, _ labels: [String: String]) -> Double {
        func total(_ sample: TopSample) -> Double {
            sample.rows.reduce(0) { sum, row in
                row.name == name && labels.allSatisfy { (row.labels[$0] ?? "") == $1 }
                    ? sum + row.value : sum
            }
        }
        guard let before, now.at > before.at else { return total(now) }
        return max(0, total(now) - total(before)) * 1_000 / Double(now.at - before.at)
    }

    /// The bound below which a share of the values lie that came since the earlier sample; nil where none came.
    private func quantile(
        _ share: Double, _ name: String, _ labels: [String: String]
    ) -> Double? {
        var counts: [Double: Double] = [:]
        func add(_ sample: TopSample, _ factor: Double) {
            for row in sample.rows
            where row.name == name + "_bucket" && labels.allSatisfy({ row.labels[$0] == $1 }) {
                guard
                    let bound = row.labels["le"].flatMap({ $0 == "+Inf" ? .infinity : Double($0) })
                else { continue }
                counts[bound, default: 0] += factor * row.value
            }
        }
        add(now, 1)
        if let before { add(before, -1) }
        guard let all = counts[.infinity], all > 0 else { return nil }
        let found = counts.sorted { $0.key < $1.key }.first { $0.value >= share * all }
        return found.flatMap { $0.key.isFinite ? $0.key : nil }
    }

    static func number(_ value: Double) -> String {
        let rounded = (value * 10).rounded() / 10
        return rounded == rounded.rounded() || rounded >= 100 ? "\(Int(rounded))" : "\(rounded)"
    }

    private static func bytes(_ count: UInt64) -> String {
        let gibi = Double(count) / Double(1 << 30)
        return gibi >= 1 ? "\(number(gibi))Gi" : "\(count >> 20)Mi"
    }

    /// Columns as wide as their widest cell, under their names, and an empty line; nothing without rows.
    private func table(_ rows: [[String]], _ names: [String]) -> [String] {
        if rows.isEmpty { return [] }
        let all = [names] + rows
        let widths = names.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            row.indices.map { StatusText.pad(Self.safe(row[$0]), widths[$0]) }.joined(
                separator: "  "
            )
            .trimmingTrailingSpaces()
        } + [""]
    }

    /// Names come from elsewhere: what a terminal would obey is not shown.
    private static func safe(_ text: String) -> String {
        String(
            text.unicodeScalars.map {
                $0.value < 0x20 || (0x7F...0x9F).contains($0.value) ? "?" : Character($0)
            })
    }
}

extension String {
    fileprivate func trimmingTrailingSpaces() -> String {
        var text = Substring(self)
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
