// Proves what an endpoint is asked and when, and what of its answers the picker is told.
import Inference
import Kernel
import Peer
import Testing

@testable import Control

@Suite struct EndpointProbeTests {
    /// A probe that is answered by hand.
    @dynamicMemberLookup
    private final class Asked {
        private(set) var probe: EndpointProbe

        init(_ probe: EndpointProbe) { self.probe = probe }

        subscript<T>(dynamicMember path: KeyPath<EndpointProbe, T>) -> T { probe[keyPath: path] }

        func isFresh(_ at: UInt64, _ task: ProbeTask, _ now: UInt64) -> Bool {
            probe.isFresh(at, task, now)
        }

        /// The task that is due, answered with this; all others are answered with nothing before it.
        func answer(
            _ task: ProbeTask, _ status: Int, _ page: String, at now: UInt64
        ) -> EndpointObservation? {
            while let asked = probe.next(now: now) {
                let content = Array((asked == task ? page : "").utf8)
                let news = probe.finish(
                    status: asked == task ? status : 200, content.span, now: now,
                    wallSeconds: 1_767_225_600, jitter: 0.5)
                if asked == task { return news }
            }
            Issue.record("\(task) is not asked at \(now)")
            return nil
        }

        /// All that is due has no answer; what the failure of its health tells.
        func fail(at now: UInt64, isDown: Bool = true) -> EndpointObservation? {
            var told: EndpointObservation?
            while let task = probe.next(now: now) {
                let news = probe.fail(
                    "no connection", isDown: isDown, now: now, jitter: 0.5)
                if task == .health { told = news }
            }
            return told
        }

        /// What is asked until then, answered 200 without content.
        func ask(until end: UInt64) -> [ProbeTask] {
            var asked: [ProbeTask] = []
            for now in stride(from: UInt64(2_000), through: end, by: 500) {
                while let task = probe.next(now: now) {
                    asked.append(task)
                    let none: [UInt8] = []
                    _ = probe.finish(
                        status: 200, none.span, now: now, wallSeconds: 0, jitter: 0.5)
                }
            }
            return asked
        }
    }

    private func probe(_ engine: EngineKind, isAsked: Bool = true) -> Asked {
        let address = SocketAddress("127.0.0.1", port: 11_434) ?? .loopback(v6: false, port: 1)
        return Asked(
            EndpointProbe(
                WatchedEndpoint(
                    id: 7, address: address, host: "127.0.0.1:11434", engine: engine,
                    transport: isAsked ? .plain : nil),
                now: 1_000, jitter: 0))
    }

    private static let resident = """
        {"models":[{"name":"llama3:latest","model":"llama3:latest","size":5000,"size_vram":4000,
        "expires_at":"2026-01-01T00:05:00.5Z"},
        {"name":"pinned","size":10,"size_vram":10,"expires_at":"2318-01-01T00:00:00-07:00"}]}
        """

    @Test func `Ollama's models in memory are told`() throws {
        let probe = self.probe(.ollama)
        let told = try #require(probe.answer(.resident, 200, Self.resident, at: 2_000))
        #expect(told.known == .resident)
        #expect(told.observedAt == 2_000_000_000)
        #expect(told.residentCount == 2)
        let first = told.resident(0)
        #expect(first.model == PickingHash.model(Array("llama3".utf8).span, engine: .ollama))
        #expect(first.size == 5_000 && first.sizeVRAM == 4_000)
        #expect(first.expiresAt == 302_000_000_000)
        #expect(told.resident(1).expiresAt == .max)
        #expect(probe.isFresh(probe.residentAt, .resident, 12_000))
        #expect(!probe.isFresh(probe.residentAt, .resident, 12_001))
    }

    @Test func `Ollama without models is told, and models on disk apart`() throws {
        let probe = self.probe(.ollama)
        let told = try #require(probe.answer(.resident, 200, "{\"models\":null}", at: 2_000))
        #expect(told.residentCount == 0 && told.known == .resident)
        let disk = try #require(
            probe.answer(.disk, 200, "{\"models\":[{\"name\":\"a:latest\"}]}", at: 2_000))
        #expect(disk.known == .disk && disk.disk.count == 1)
        #expect(disk.disk[0] == PickingHash.model(Array("a".utf8).span, engine: .ollama))
    }

    @Test func `a queue is told, and is not believed for ever`() throws {
        let probe = self.probe(.vllm)
        let page =
            "vllm:num_requests_waiting 3\nvllm:num_requests_running 2\nvllm:kv_cache_usage_perc 0.5\n"
        let told = try #require(probe.answer(.load, 200, page, at: 2_000))
        #expect(told.known == [.load, .kvUsage])
        #expect(told.waiting == 3 && told.running == 2 && told.kvUsage == 0.5)
        #expect(probe.nextAt >= 2_900 && probe.nextAt <= 3_100)
        #expect(probe.isFresh(probe.metricsAt, .load, 7_000))
        #expect(!probe.isFresh(probe.metricsAt, .load, 7_001))
    }

    @Test func `three failures make it not ready, two successes ready again`() throws {
        let probe = self.probe(.vllm)
        var now: UInt64 = 2_000
        for _ in 0..<2 {
            #expect(probe.fail(at: now) == nil)
            now += 10_000
        }
        let down = try #require(probe.fail(at: now))
        #expect(!down.isReady && !probe.isReady)
        now += 10_000
        #expect(probe.answer(.health, 200, "", at: now) == nil)
        now += 10_000
        // One failure in between counts from the beginning.
        #expect(probe.answer(.health, 503, "", at: now) == nil)
        now += 10_000
        #expect(probe.answer(.health, 200, "", at: now) == nil)
        now += 10_000
        let up = try #require(probe.answer(.health, 404, "", at: now))
        #expect(up.isReady && probe.isReady)
    }

    @Test func `a server that is slow is not one that is gone`() {
        let probe = self.probe(.vllm)
        for now in stride(from: UInt64(2_000), through: 100_000, by: 10_000) {
            #expect(probe.fail(at: now, isDown: false)?.isReady == nil)
        }
        #expect(probe.isReady && probe.trouble != nil)
    }

    @Test func `metrics that are turned off are no failure and are asked for seldom`() {
        let probe = self.probe(.llamaCpp)
        #expect(probe.answer(.load, 501, "{}", at: 2_000) == nil)
        #expect(probe.isReady)
        let asked = probe.ask(until: 60_000)
        #expect(!asked.contains(.load))
        #expect(asked.filter { $0 == .health }.count >= 10)
    }

    @Test func `a router's models are told, a lone model serves any name`() throws {
        let router = self.probe(.llamaCpp)
        let page = """
            {"data":[{"id":"a","status":{"value":"loaded"}},{"id":"b","status":{"value":"unloaded"}},
            {"id":"c","status":{"value":"unloaded","failed":true}}]}
            """
        let told = try #require(router.answer(.resident, 200, page, at: 2_000))
        #expect(told.known == [.resident, .disk])
        #expect(told.residentCount == 1 && told.disk.count == 2)
        let lone = self.probe(.llamaCpp)
        let any = try #require(
            lone.answer(.resident, 200, "{\"data\":[{\"id\":\"a\"}]}", at: 2_000))
        #expect(any.known == [.anyModel] && any.residentCount == 0)
        #expect(lone.answer(.disk, 200, "{\"data\":[{\"id\":\"a\"}]}", at: 2_000) == nil)
        #expect(lone.disk.map(\.name) == ["a"])
    }

    @Test func `nothing is asked where nothing can be`() {
        #expect(probe(.openai).nextAt == .max)
        #expect(probe(.none).nextAt == .max)
        #expect(probe(.vllm, isAsked: false).nextAt == .max)
    }

    @Test(arguments: ["", "[]", "{\"models\":[{}]}", "{\"models\":5}", "\u{0}"])
    func `a page that is none does no harm`(page: String) {
        let probe = self.probe(.ollama)
        let told = probe.answer(.resident, 200, page, at: 2_000)
        #expect(told?.residentCount ?? 0 == 0)
        #expect(probe.isReady)
    }
}
