// Proves what `explain` says of requests: where they go, what nearly took them, and what a question to a pool carries.
import Foundation
import Testing

@testable import Control
@testable import Inference

@Suite struct ExplainTests {
    private static let documents = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gw}
        spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}
        ---
        apiVersion: ai-gateway.dev/v1alpha1
        kind: Backend
        metadata: {name: models}
        spec: {modelServer: ollama, endpoints: [{address: 10.0.0.1, port: 1}, {address: gpu.lan, port: 2}]}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: by-model}
        spec:
          parentRefs: [{name: gw}]
          rules:
          - matches: [{headers: [{name: X-Gateway-Model-Name, value: "llama3"}]}]
            backendRefs: [{group: ai-gateway.dev, kind: Backend, name: models}]
          - matches: [{path: {value: /web}, queryParams: [{name: q, value: "1"}]}]
            backendRefs: [{group: ai-gateway.dev, kind: Backend, name: models}]
        """

    private func explain(
        _ url: String, _ edit: (inout ExplainRequest) -> Void = { _ in }
    ) throws -> (report: ExplainReport?, answer: ExplainRequest.Answer) {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("explain-\(UUID().uuidString).yaml")
        try Data(Self.documents.utf8).write(to: path)
        defer { try? FileManager.default.removeItem(at: path) }
        var request = ExplainRequest(paths: [path.path], url: url)
        request.isJSON = true
        edit(&request)
        let answer = request.run()
        let report = try? JSONDecoder().decode(ExplainReport.self, from: Data(answer.text.utf8))
        return (report, answer)
    }

    @Test func `the model in the content chooses the route, and a client's own word does not`()
        throws
    {
        let found = try explain("http://gw.lan/v1/chat/completions") {
            $0.content = Array(
                #"{"model":"llama3","messages":[{"role":"user","content":"hi"}]}"#.utf8)
        }
        #expect(found.answer.status == 0 && found.report?.model == "llama3")
        let backend = try #require(found.report?.backends.first)
        let pool = try #require(backend.pool)
        #expect(pool.endpoints.map(\.endpoint).sorted() == ["10.0.0.1:1", "gpu.lan:2"])
        #expect(pool.source == "documents" && pool.model == "llama3" && pool.promptBytes > 0)
        let lied = try explain("http://gw.lan/v1/models") {
            $0.fields = [("x-gateway-model-name", "llama3")]
        }
        #expect(lied.answer.status == 3)
    }

    @Test func `near misses name the one condition`() throws {
        let report = try #require(try explain("http://gw.lan/web/x?q=2").report)
        // The one whose path agrees comes first.
        #expect(!report.isRouted && report.nearMisses.map(\.ruleIndex) == [1, 0])
        #expect(report.nearMisses[0].butFor == [#"query parameter q is "1" (the request has "2")"#])
        #expect(report.text.contains("near misses\n"))
    }

    @Test func `content that is refused`() throws {
        let found = try explain("http://gw.lan/api/chat") {
            $0.content = Array(#"{"model":1}"#.utf8)
        }
        #expect(found.answer.status == 3 && found.report?.answer?.status == 400)
    }

    @Test func `words that make no request`() throws {
        #expect(try explain("ftp://gw.lan/").answer.status == 2)
        #expect(try explain("http://a b/").answer.status == 2)
        var absent = ExplainRequest(paths: ["/nonexistent.yaml"], url: "http://gw.lan/")
        absent.isJSON = true
        #expect(absent.run().status == 1)
    }

    @Test func `a question survives its query`() throws {
        var question = PoolQuestion()
        question.pool = "ai/llama"
        question.model = "registry/a&b=c+d e:latest"
        question.promptBytes = 1_234
        question.priority = -3
        question.session = "YS9i/+=="
        question.options = 8_192
        question.blocks = [1, .max, 0xABC]
        question.blockBytes = 64
        let target = question.target
        #expect(target.hasPrefix("/explain?"))
        #expect(PoolQuestion(query: String(target.dropFirst(9))) == question)
        #expect(
            PoolQuestion(query: "nonsense=1") == nil && PoolQuestion(query: "blocks=xyz") == nil)
    }

    @Test func `who lost, and by what`() {
        var profile = Profile()
        profile[.queue] = 2
        profile[.kvCacheUtilization] = 3
        func row(_ id: UInt32, _ queue: Float, _ kv: Float, chosen: Bool = false)
            -> ExplainedEndpoint
        {
            var row = ExplainedEndpoint(endpoint: id, exclusion: nil)
            row.scores[Int(Scorer.queue.rawValue)] = queue
            row.scores[Int(Scorer.kvCacheUtilization.rawValue)] = kv
            row.total = 2 * queue + 3 * kv
            row.isChosen = chosen
            return row
        }
        let rows = CandidateReport.all(
            [
                row(1, 1, 0.1), ExplainedEndpoint(endpoint: 2, exclusion: .ejected),
                row(3, 0.5, 1, chosen: true), row(4, 0.5, 1),
            ],
            profile
        ) { "e\($0)" }
        #expect(rows.map(\.endpoint) == ["e3", "e4", "e1", "e2"])
        #expect(rows.map(\.lostBy) == [nil, nil, "kv-cache-utilization-scorer", nil])
        #expect(rows[3].excluded == "ejected" && rows[3].scores == nil)
        #expect(rows[1].reason.hasPrefix("as good"))
    }
}
