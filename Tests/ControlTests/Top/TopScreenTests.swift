// Proves what `top` reads from the admin port's pages and draws of it.
import Testing

@testable import Control

@Suite struct TopScreenTests {
    private static func metrics(_ requests: Int, errors: Int, fast: Int, all: Int) -> [UInt8] {
        Array(
            """
            # HELP ai_gateway_requests_total Requests.
            ai_gateway_requests_total{route="ai/\\"chat\\"",rule="0",backend="ai/m",code="200"} \(requests)
            ai_gateway_requests_total{route="ai/\\"chat\\"",rule="0",backend="ai/m",code="503"} \(errors)
            ai_gateway_request_duration_seconds_bucket{route="ai/\\"chat\\"",rule="0",le="0.005"} \(fast)
            ai_gateway_request_duration_seconds_bucket{route="ai/\\"chat\\"",rule="0",le="0.5"} \(all)
            ai_gateway_request_duration_seconds_bucket{route="ai/\\"chat\\"",rule="0",le="+Inf"} \(all)
            ai_gateway_active_exchanges 7
            nonsense
            """.utf8)
    }

    private static let endpoints = Array(
        #"{"pools":[{"name":"ai/m","waiting":0,"picker":"here","endpoints":[{"address":"10.0.0.1:1","engine":"ollama","state":"ready","inFlight":2,"loading":1,"kvUsage":0.256,"resident":[{"name":"llama\u001b[2J3","vramBytes":3221225472}]}]}]}"#
            .utf8)

    private func screen(
        _ now: [UInt8], before: [UInt8]?, columns: Int? = nil, rows: Int? = nil
    ) -> [String] {
        TopScreen(
            now: TopSample(at: 3_000, metrics: now, endpoints: Self.endpoints),
            before: before.map { TopSample(at: 1_000, metrics: $0, endpoints: []) }
        ).lines(columns: columns, rows: rows, title: "title")
    }

    @Test func `rates and quantiles are of what came since the earlier sample`() throws {
        let lines = screen(
            Self.metrics(1_100, errors: 4, fast: 1_060, all: 1_104),
            before: Self.metrics(1_000, errors: 4, fast: 1_000, all: 1_004))
        let row = try #require(lines.first { $0.hasPrefix("ai/\"chat\"") })
        let cells = row.split(separator: " ").map(String.init)
        #expect(cells == ["ai/\"chat\"", "0", "ai/m", "50", "4", "5", "500"])
        #expect(lines[1].contains("exchanges 7") && lines[1].contains("requests/s 50"))
    }

    @Test func `without an earlier sample there are sums`() throws {
        let lines = screen(Self.metrics(10, errors: 1, fast: 11, all: 11), before: nil)
        #expect(lines.contains { $0.contains("REQUESTS") })
        let row = try #require(lines.first { $0.hasPrefix("ai/") })
        #expect(row.split(separator: " ")[3] == "11")
    }

    @Test func `endpoints and models, without what a terminal would obey`() throws {
        let lines = screen([], before: nil)
        let endpoint = try #require(lines.first { $0.hasPrefix("10.0.0.1:1") })
        #expect(endpoint.contains("ready") && endpoint.contains("26%") && endpoint.hasSuffix("1+1"))
        #expect(lines.contains { $0.hasPrefix("llama?[2J3") && $0.contains("3Gi") })
        #expect(!lines.contains { $0.contains("\u{1B}") })
    }

    @Test func `lines fit the window`() {
        for rows in 1...12 {
            let lines = screen([], before: nil, columns: 20, rows: rows)
            #expect(lines.count <= rows && lines.allSatisfy { $0.count <= 20 })
        }
        #expect(screen([], before: nil, rows: 4).last?.contains("more lines") == true)
    }
}
