// Proves the metrics page: its exact text for known numbers, and the rules of the format for any.

import Testing

@testable import Telemetry

@Suite struct PrometheusTextTests {
    private let names = SeriesNames([
        1: SeriesLabels(
            gateway: "ai/edge", listener: "http", route: "ai/chat", rule: "0", backend: ""),
        2: SeriesLabels(
            gateway: "ai/edge", listener: "http", route: "ai/chat", rule: "0",
            backend: "ai/ollama"),
        3: SeriesLabels(
            gateway: "ai/edge", listener: "https", route: "ai/chat", rule: "0",
            backend: "ai/ollama"),
        4: SeriesLabels(gateway: "a\\b\"c\nd"),
    ])

    private func page(
        _ readers: [ShardReader], facts: PrometheusText.Facts = .init(version: "1.2.3")
    ) -> String {
        var bytes: [UInt8] = []
        PrometheusText.write(readers, names: names, facts: facts, into: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The lines of one family.
    private func lines(_ page: String, _ name: String) -> [String] {
        page.split(separator: "\n").map(String.init).filter {
            $0.hasPrefix("# HELP \(name) ") || $0.hasPrefix("# TYPE \(name) ")
                || $0.hasPrefix("# UNIT \(name) ")
                || $0.hasPrefix(name + "{") || $0.hasPrefix(name + " ")
                || $0.hasPrefix(name + "_bucket") || $0.hasPrefix(name + "_sum")
                || $0.hasPrefix(name + "_count")
        }
    }

    @Test func `requests of all workers are summed by labels`() {
        var first = Shard(worker: 0)
        var second = Shard(worker: 1)
        first.countRequest(series: 2, method: 0, status: 200)
        second.countRequest(series: 2, method: 0, status: 200)
        second.countRequest(series: 2, method: 2, status: 503)
        second.countRequest(series: Series.none, method: 9, status: 400)
        second.countRequest(series: 77, method: 0, status: 0)
        #expect(
            lines(page([first.reader, second.reader]), "ai_gateway_requests_total") == [
                "# HELP ai_gateway_requests_total Exchanges that have ended, by the status sent.",
                "# TYPE ai_gateway_requests_total counter",
                #"ai_gateway_requests_total{gateway="_unknown",listener="_unknown","#
                    + #"route="_unknown",rule="_unknown",backend="_unknown",method="GET","#
                    + #"code="none"} 1"#,
                #"ai_gateway_requests_total{gateway="ai/edge",listener="http",route="ai/chat","#
                    + #"rule="0",backend="ai/ollama",method="GET",code="200"} 2"#,
                #"ai_gateway_requests_total{gateway="ai/edge",listener="http",route="ai/chat","#
                    + #"rule="0",backend="ai/ollama",method="POST",code="503"} 1"#,
                #"ai_gateway_requests_total{method="other",code="400"} 1"#,
            ])
    }

    @Test func `a histogram is cumulative and ends in its sum and count`() {
        var shard = Shard(worker: 0)
        for nanoseconds: UInt64 in [1, 1_000_000, 1_000_001, 2_500_000_000, 700_000_000_000] {
            shard.observe(.requestDuration, series: 1, nanoseconds: nanoseconds)
        }
        let name = "ai_gateway_request_duration_seconds"
        let labels = #"gateway="ai/edge",listener="http",route="ai/chat",rule="0""#
        let buckets = [
            ("0.001", 2), ("0.002", 3), ("0.005", 3), ("0.01", 3), ("0.025", 3), ("0.05", 3),
            ("0.1", 3), ("0.25", 3), ("0.5", 3), ("1", 3), ("2", 3), ("5", 4), ("10", 4),
            ("30", 4), ("60", 4), ("120", 4), ("300", 4), ("600", 4), ("+Inf", 5),
        ]
        #expect(
            lines(page([shard.reader]), name) == [
                "# HELP \(name) From the first byte of a request to the last of its answer.",
                "# TYPE \(name) histogram",
                "# UNIT \(name) seconds",
            ] + buckets.map { "\(name)_bucket{\(labels),le=\"\($0)\"} \($1)" } + [
                "\(name)_sum{\(labels)} 702.502000002",
                "\(name)_count{\(labels)} 5",
            ])
    }

    @Test func `failures of one backend by several rules are one row`() {
        var shard = Shard(worker: 0)
        shard.countUpstreamFailure(series: 2, reason: .connectRefused)
        shard.countUpstreamFailure(series: 3, reason: .connectRefused)
        shard.countUpstreamFailure(series: 3, reason: .tls)
        let name = "ai_gateway_upstream_failures_total"
        #expect(
            lines(page([shard.reader]), name) == [
                "# HELP \(name) Attempts at backends that failed.",
                "# TYPE \(name) counter",
                #"\#(name){backend="ai/ollama",reason="connect_refused"} 2"#,
                #"\#(name){backend="ai/ollama",reason="tls"} 1"#,
            ])
    }

    @Test func `label values are escaped`() {
        var shard = Shard(worker: 0)
        shard.countRequest(series: 4, method: 0, status: 200)
        #expect(
            page([shard.reader]).contains(
                #"ai_gateway_requests_total{gateway="a\\b\"c\nd",method="GET",code="200"} 1"#))
    }

    @Test func `rows of zero are not printed and metrics without labels always are`() {
        let shard = Shard(worker: 0)
        let text = page([shard.reader])
        #expect(!text.contains("ai_gateway_requests_total"))
        #expect(!text.contains("_seconds"))
        #expect(!text.contains("_other"))
        #expect(text.contains("\nai_gateway_downstream_connections 0\n"))
        #expect(text.contains("\nai_gateway_received_bytes_total 0\n"))
        #expect(text.contains("\n# UNIT ai_gateway_received_bytes_total bytes\n"))
        #expect(text.contains("\nai_gateway_build_info{version=\"1.2.3\"} 1\n"))
        #expect(!text.contains("config_last_reload_success"))
    }

    @Test(arguments: [(true, "1"), (false, "0")])
    func `the last reload is told`(isGood: Bool, value: String) {
        let facts = PrometheusText.Facts(version: "1", isLastReloadGood: isGood)
        let text = page([], facts: facts)
        #expect(text.contains("\nai_gateway_config_last_reload_success \(value)\n"))
    }

    @Test func `the whole page keeps the rules of the format`() throws {
        var shard = Shard(worker: 0)
        for series: UInt32 in [0, 1, 2, 3, 4, 99] {
            shard.countRequest(series: series, method: 0, status: 200)
            for reason in UpstreamFailure.allCases {
                shard.countUpstreamFailure(series: series, reason: reason)
            }
            for kind in Histogram.Kind.allCases {
                shard.observe(kind, series: series, nanoseconds: 12_345_678)
            }
        }
        var types: [String: String] = [:]
        var helps: Set<String> = []
        var rows: Set<String> = []
        for line in page([shard.reader], facts: .init(version: "x", isLastReloadGood: true))
            .split(separator: "\n")
        {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if words[0] == "#" {
                if words[1] == "HELP" { #expect(helps.insert(words[2]).inserted) }
                if words[1] == "TYPE" {
                    #expect(helps.contains(words[2]))
                    #expect(types.updateValue(words[3], forKey: words[2]) == nil)
                    #expect((words[3] == "counter") == words[2].hasSuffix("_total"))
                }
                continue
            }
            let space = try #require(line.lastIndex(of: " "))
            let value = line[line.index(after: space)...]
            #expect(value.allSatisfy { $0.isNumber || $0 == "." })
            let row = String(line[..<space])
            #expect(rows.insert(row).inserted, "\(row) stands there twice")
            let name = String(row.prefix { $0 != "{" })
            let family = types[name] == nil ? Self.family(name) : name
            #expect(types[family] != nil, "\(name) has no type")
            #expect(name.hasPrefix("ai_gateway_"))
            #expect(
                name.utf8.allSatisfy {
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F
                })
        }
        let histograms = Histogram.Kind.allCases.count
        #expect(types.count == 2 + Counter.allCases.count + Gauge.allCases.count + 2 + histograms)
    }

    private static func family(_ name: String) -> String {
        for end in ["_bucket", "_sum", "_count"] where name.hasSuffix(end) {
            return String(name.dropLast(end.count))
        }
        return name
    }

    @Test(
        arguments: [
            (0, "0"), (1, "0.000000001"), (5_000, "0.000005"), (1_000_000_000, "1"),
            (1_500_000_000, "1.5"), (600_000_000_000, "600"), (.max, "18446744073.709551615"),
        ] as [(UInt64, String)])
    func `seconds are exact`(nanoseconds: UInt64, text: String) {
        #expect(Decimal.seconds(nanoseconds: nanoseconds) == text)
    }
}
