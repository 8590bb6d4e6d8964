/// The metrics page in Prometheus' text format 0.0.4.
///
/// Rows by series that are zero are not printed, nor are families without a row; metrics without
/// labels always are. Not for the hot path.
public struct PrometheusText {
    /// Content type of the page.
    public static var contentType: String { "text/plain; version=0.0.4; charset=utf-8" }

    /// What the page says beside the counters of the workers.
    public struct Facts: Sendable, Equatable {
        /// The version of the program.
        public var version: String
        /// Whether the last reload of the documents went through; nil before the first.
        public var isLastReloadGood: Bool?

        /// Makes facts.
        public init(version: String, isLastReloadGood: Bool? = nil) {
            self.version = version
            self.isLastReloadGood = isLastReloadGood
        }
    }

    /// Kinds of metrics.
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    private var bytes: [UInt8] = []

    /// Begins an empty page.
    public init() {}

    /// Appends the whole page of all workers.
    public static func write(
        _ readers: [ShardReader], names: SeriesNames, facts: Facts, into output: inout [UInt8]
    ) {
        var page = PrometheusText()
        page.facts(facts)
        page.counters(readers)
        page.gauges(readers)
        var sums: [Column: [UInt64]] = [:]
        for reader in readers { reader.add(to: &sums) }
        page.requests(sums, names)
        page.failures(sums, names)
        for kind in Histogram.Kind.allCases { page.histogram(kind, sums, names) }
        output += page.bytes
    }

    // MARK: - Families

    /// Appends the lines before the rows of a metric; its unit is what its name ends in, if any.
    public mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        line("# HELP \(name) \(Self.escaped(help: help))")
        line("# TYPE \(name) \(kind.rawValue)")
        for unit in ["seconds", "bytes"] {
            if name.hasSuffix("_\(unit)") || name.hasSuffix("_\(unit)_total") {
                line("# UNIT \(name) \(unit)")
            }
        }
    }

    /// Appends one row; labels without a value are left out.
    public mutating func row(_ name: String, _ labels: [(String, String)], _ value: String) {
        line("\(name)\(Self.text(labels)) \(value)")
    }

    /// What was appended so far.
    public var text: [UInt8] { bytes }

    private mutating func facts(_ facts: Facts) {
        family("ai_gateway_build_info", .gauge, "Version of the gateway; the value is always 1.")
        row("ai_gateway_build_info", [("version", facts.version)], "1")
        guard let isGood = facts.isLastReloadGood else { return }
        let name = "ai_gateway_config_last_reload_success"
        family(name, .gauge, "Whether the last reload of the documents went through.")
        row(name, [], isGood ? "1" : "0")
    }

    private mutating func counters(_ readers: [ShardReader]) {
        for counter in Counter.allCases {
            let (name, help) = Self.words(counter)
            family(name, .counter, help)
            row(name, [], String(readers.reduce(0) { $0 &+ $1.value(counter) }))
        }
    }

    private mutating func gauges(_ readers: [ShardReader]) {
        for gauge in Gauge.allCases {
            let (name, help) = Self.words(gauge)
            family(name, .gauge, help)
            row(name, [], String(readers.reduce(0) { $0 &+ $1.value(gauge) }))
        }
    }

    private mutating func requests(_ sums: [Column: [UInt64]], _ names: SeriesNames) {
        var rows: [String: UInt64] = [:]
        for (column, values) in sums where column.kind == .request && values[0] > 0 {
            let labels =
                Self.labels(names[column.series])
                + [("method", Self.method(column.method)), ("code", Self.code(column.code))]
            rows[Self.text(labels), default: 0] &+= values[0]
        }
        numbers(
            "ai_gateway_requests_total", "Exchanges that have ended, by the status sent.", rows)
    }

    private mutating func failures(_ sums: [Column: [UInt64]], _ names: SeriesNames) {
        var rows: [String: UInt64] = [:]
        for (column, values) in sums where column.kind == .failure && values[0] > 0 {
            let reason = UpstreamFailure(rawValue: UInt8(truncatingIfNeeded: column.code))
            let labels = [
                ("backend", names[column.series].backend), ("reason", reason?.text ?? "other"),
            ]
            rows[Self.text(labels), default: 0] &+= values[0]
        }
        numbers(
            "ai_gateway_upstream_failures_total", "Attempts at backends that failed.", rows)
    }

    private mutating func numbers(_ name: String, _ help: String, _ rows: [String: UInt64]) {
        if rows.isEmpty { return }
        family(name, .counter, help)
        for (labels, value) in rows.sorted(by: { $0.key < $1.key }) {
            line("\(name)\(labels) \(value)")
        }
    }

    private mutating func histogram(
        _ kind: Histogram.Kind, _ sums: [Column: [UInt64]], _ names: SeriesNames
    ) {
        // Several series may have the same labels, for a reader of the page they are one.
        var rows: [SeriesLabels: [UInt64]] = [:]
        for (column, values) in sums
        where column.kind == .histogram && column.code == UInt16(kind.rawValue) {
            if values[..<Histogram.sumOffset].allSatisfy({ $0 == 0 }) { continue }
            let labels = names[column.series]
            if let known = rows[labels] {
                rows[labels] = zip(known, values).map { $0 &+ $1 }
            } else {
                rows[labels] = values
            }
        }
        if rows.isEmpty { return }
        let (name, help) = Self.words(kind)
        family(name, .histogram, help)
        let sorted = rows.map { (Self.labels($0.key), $0.value) }
            .sorted { Self.text($0.0) < Self.text($1.0) }
        let bounds = Histogram.bounds(kind).map { Decimal.seconds(nanoseconds: $0) } + ["+Inf"]
        for (labels, values) in sorted {
            var count: UInt64 = 0
            for (i, bound) in bounds.enumerated() {
                count &+= values[i]
                row("\(name)_bucket", labels + [("le", bound)], String(count))
            }
            let sum = Decimal.seconds(nanoseconds: values[Histogram.sumOffset])
            row("\(name)_sum", labels, sum)
            row("\(name)_count", labels, String(count))
        }
    }

    // MARK: - Text

    private mutating func line(_ text: String) {
        bytes += text.utf8
        bytes.append(UInt8(ascii: "\n"))
    }

    private static func labels(_ labels: SeriesLabels) -> [(String, String)] {
        [
            ("gateway", labels.gateway), ("listener", labels.listener), ("route", labels.route),
            ("rule", labels.rule), ("backend", labels.backend),
        ]
    }

    private static func text(_ labels: [(String, String)]) -> String {
        let pairs = labels.filter { !$0.1.isEmpty }.map { "\($0)=\"\(escaped(label: $1))\"" }
        return pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}"
    }

    private static func escaped(label: String) -> String {
        var text = ""
        for scalar in label.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    private static func escaped(help: String) -> String {
        var text = ""
        for scalar in help.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// The word of a raw value of `HTTP.Method`.
    private static func method(_ method: UInt8) -> String {
        let words = [
            "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
        ]
        return Int(method) < words.count ? words[Int(method)] : "other"
    }

    /// The status; `none` when none was sent.
    private static func code(_ status: UInt16) -> String {
        status == 0 ? "none" : String(status)
    }
}
