// Proves what the simulated engines' times follow from: steps that requests share, caches that make a prompt
// shorter, adapters that have to be brought, models that have to go; and that the statistics tell it.

import Foundation
import Kernel
import Testing

@testable import Simulator

extension Stage {
    /// The node's own counts.
    func statistics(node: Int = 0) throws -> [String: Any] {
        try answer("GET", "/simulator/statistics", node: node).json
    }

    func count(_ name: String, node: Int = 0) throws -> Double {
        try #require(try statistics(node: node)[name] as? Double, "\(name)")
    }

    /// Asks for a completion of so many tokens of text, each of four bytes.
    func complete(
        _ text: String, _ tokens: Int, model: String = "llama3", _ more: String = ""
    ) throws -> Wire {
        let prompt = String(repeating: text, count: tokens)
        return try ask(
            "POST", "/v1/completions", #"{"model":"\#(model)","prompt":"\#(prompt)"\#(more)}"#)
    }

    /// Milliseconds until the answer is there, or as many as there are at most.
    func wait(_ wire: Wire, step: UInt64 = 10, most: UInt64 = 60_000) -> UInt64 {
        var passed: UInt64 = 0
        wire.receive()
        while wire.answer == nil, passed < most {
            pass(milliseconds: step)
            passed += step
            wire.receive()
        }
        return passed
    }
}

/// A vLLM with a prompt token a millisecond, and ten answer tokens, one each 10 ms.
private func engine(
    _ engine: Engine = .vllm, _ adjust: (inout SimulatorOptions) -> Void = { _ in }
) throws -> Stage {
    try Stage { options in
        options.engine = engine
        options.isFast = false
        options.loadNanoseconds = 0
        options.prefillRate = 1_000
        options.decodeRate = 100
        options.batchSlowdown = 0
        options.answerTokens = 10...10
        adjust(&options)
    }
}

@Suite struct StepTests {
    @Test func `prompts share the accelerator, the first come first`() throws {
        let stage = try engine()
        let first = try stage.complete("abcd", 500)
        let second = try stage.complete("efgh", 500)
        let one = stage.wait(first)
        let two = one + stage.wait(second)
        // 500 ms, then 510 in which the first gets a token beside the second's prompt, then eight more.
        #expect((1_080...1_110).contains(one), "\(one)")
        #expect((1_090...1_120).contains(two), "\(two)")
        #expect(abs(try stage.count("busySeconds") - 1.1) < 0.02)
    }

    @Test func `a long prompt is computed in pieces, and streams go on beside it`() throws {
        let stage = try engine { $0.batchTokens = 101 }
        let stream = try stage.complete("abcd", 10, #","stream":true"#)
        stage.pass(milliseconds: 15)
        let before = stream.partialContent.components(separatedBy: "data: ").count
        let long = try stage.complete("efgh", 1_000)
        stage.pass(milliseconds: 575)
        // 5 ms of the step under way, then a token with every 100 of the prompt: 110 ms a step.
        let after = stream.partialContent.components(separatedBy: "data: ").count
        #expect(after - before == 6, "\(before) \(after)")
        #expect(stage.simulation.nodes[0].jobs.count == 2)
        #expect(stage.wait(long) > 400)
    }

    @Test(arguments: [(0.0, 1, 100), (0.0, 4, 100), (0.5, 1, 100), (0.5, 4, 225)])
    func `each further request of a batch makes its steps longer`(
        _ slowdown: Double, _ count: Int, _ milliseconds: UInt64
    ) throws {
        let stage = try engine {
            $0.batchSlowdown = slowdown
            $0.prefillRate = 0
        }
        let wires = try (0..<count).map { _ in try stage.complete("abcd", 1) }
        let took = stage.wait(wires[count - 1], step: 1)
        #expect(abs(Int(took) - Int(milliseconds)) <= 12, "\(took)")
        for wire in wires { #expect(stage.answer(wire).status == 200) }
    }

    @Test func `whoever comes in a run of steps waits for the end of one`() throws {
        let stage = try engine { $0.answerTokens = 100...100 }
        let first = try stage.complete("abcd", 1)
        stage.pass(milliseconds: 28)
        let second = try stage.complete("efgh", 1, #","stream":true"#)
        stage.pass(milliseconds: 15)
        #expect(second.partialContent.contains("data: "), "The run of 16 steps was cut.")
        #expect(!first.hasHead)
    }

    @Test func `nobody passes one that had to give way`() throws {
        let stage = try engine {
            $0.contextTokens = 800
            $0.cacheTokens = 800
            $0.answerTokens = 300...300
        }
        let wires = try ["abcd", "efgh"].map { try stage.complete($0, 300) }
        while stage.simulation.nodes[0].metrics.preemptions == 0 { stage.pass(milliseconds: 10) }
        let third = try stage.complete("ijkl", 10)
        stage.pass(milliseconds: 500)
        #expect(stage.simulation.nodes[0].runningCount == 1)
        for wire in wires + [third] { _ = stage.wait(wire) }
        // The third came last, and gave way to the second.
        #expect(try stage.count("preemptions") <= 2 && stage.count("finished") == 3)
        #expect(stage.simulation.nodes[0].runners[0].cache.usedCount == 0)
    }

    @Test func `models at work at the same time share the accelerator`() throws {
        let stage = try engine(.ollama) { $0.prefillRate = 0 }
        let body = #"{"model":"MODEL","prompt":"a","stream":false}"#
        let alone = try stage.ask(
            "POST", "/api/generate", body.replacingOccurrences(of: "MODEL", with: "llama3"))
        #expect((85...105).contains(stage.wait(alone, step: 5)))
        let wires = try ["llama3", "mistral"].map {
            try stage.ask(
                "POST", "/api/generate", body.replacingOccurrences(of: "MODEL", with: $0))
        }
        #expect((165...200).contains(stage.wait(wires[1], step: 5)))
    }

    @Test func `models that embed work on one request at a time in an Ollama`() throws {
        let stage = try engine(.ollama) {
            $0.parallel = 4
            $0.prefillRate = 1
        }
        let wires = try (0..<3).map { _ in
            try stage.ask("POST", "/api/embed", #"{"model":"nomic-embed-text","input":"abcd"}"#)
        }
        #expect(stage.simulation.nodes[0].runningCount == 1)
        #expect(stage.simulation.nodes[0].waitingCount == 2)
        stage.pass(milliseconds: 3_100)
        for wire in wires { #expect(stage.answer(wire).status == 200) }
    }
}

@Suite struct PrefixTests {
    @Test(arguments: [true, false])
    func `a hit shortens the prefill, unless the cache is off`(_ isOn: Bool) throws {
        let stage = try engine { $0.cachesPrefixes = isOn }
        #expect((1_090...1_110).contains(stage.wait(try stage.complete("abcd", 1_000))))
        let again = try stage.complete("abcd", 1_000)
        let took = stage.wait(again)
        // 62 blocks of 16; one token at least is computed, and all of its block.
        #expect(isOn ? (95...110).contains(took) : took > 1_080, "\(took)")
        let usage = try #require(stage.answer(again).json["usage"] as? [String: Any])
        let details = try #require(usage["prompt_tokens_details"] as? [String: Any])
        #expect(details["cached_tokens"] as? Int == (isOn ? 992 : 0))
        #expect(try stage.count("promptTokens") == 2_000)
        #expect(try stage.count("cachedTokens") == (isOn ? 992 : 0))
        let page = try stage.answer("GET", "/metrics").content
        #expect(page.contains("enable_prefix_caching=\"\(isOn ? "True" : "False")\""))
        let hits = "prefix_cache_hits_total{engine=\"0\",model_name=\"llama3\"}"
        #expect(page.contains("\(hits) \(isOn ? 992 : 0)\n"))
    }

    @Test(arguments: [
        (Engine.vllm, nil, 96), (.vllm, 32, 96), (.vllm, 64, 64), (.sglang, nil, 101),
        (.sglang, 16, 96), (.llamaCpp, nil, 101),
    ])
    func `as much of a beginning is found as the engine's grain allows`(
        _ kind: Engine, _ block: Int?, _ cached: Int
    ) throws {
        let stage = try engine(kind) {
            $0.blockTokens = block
            $0.isFast = true
        }
        let start = String(repeating: "abcd", count: 101)
        for end in ["efgh", "ijkl"] {
            let prompt = start + String(repeating: end, count: 60)
            let body = #"{"model":"llama3","prompt":"\#(prompt)"}"#
            let wire = try stage.ask("POST", "/v1/completions", body)
            #expect(stage.answer(wire).status == 200)
        }
        #expect(try stage.count("cachedTokens") == Double(cached))
    }

    @Test(arguments: [Engine.vllm, .sglang, .llamaCpp, .ollama])
    func `the next turn of a conversation finds the answer of the last`(_ kind: Engine) throws {
        let stage = try engine(kind) { $0.isFast = true }
        func ask(_ messages: String) throws -> [String: Any] {
            let body = #"{"model":"llama3","messages":[\#(messages)]}"#
            return stage.answer(try stage.ask("POST", "/v1/chat/completions", body)).json
        }
        let first = #"{"role":"user","content":"\#(String(repeating: "abcd", count: 100))"}"#
        let answer = try ask(first)
        let choice = (answer["choices"] as? [[String: Any]])?.first?["message"] as? [String: Any]
        let text = try #require(choice?["content"] as? String)
        let turn = #"{"role":"assistant","content":"\#(text)"}"#
        _ = try ask(first + "," + turn + #",{"role":"user","content":"And then?"}"#)
        // "user\n", 400 bytes, "\n"; then "assistant\n", the answer, "\n".
        let known = (5 + 400 + 1) + (10 + text.utf8.count + 1)
        let grain = kind == .vllm ? 64 : 4
        #expect(try stage.count("cachedTokens") == Double(known / grain * grain / 4))
    }

    @Test func `conversations take a slot from each other, or come back from main memory`() throws {
        for (saved, cached) in [(0, 0), (4_096, 199)] {
            let stage = try engine(.llamaCpp) {
                $0.isFast = true
                $0.parallel = 1
                $0.promptCacheTokens = saved
            }
            for text in ["abcd", "efgh", "abcd"] {
                #expect(stage.answer(try stage.complete(text, 200)).status == 200)
            }
            #expect(try stage.count("cachedTokens") == Double(cached))
        }
    }

    @Test func `a cache that is too small forgets the oldest`() throws {
        let stage = try engine {
            $0.isFast = true
            $0.contextTokens = 300
            $0.cacheTokens = 640
        }
        for text in ["abcd", "efgh", "ijkl", "abcd"] {
            #expect(stage.answer(try stage.complete(text, 256)).status == 200)
        }
        #expect(try stage.count("cachedTokens") < 128, "Two prompts and their answers fit.")
        #expect(stage.answer(try stage.complete("ijkl", 256)).status == 200)
        #expect(try stage.count("cachedTokens") >= 240)
    }

    @Test func `llama-cpp's own completion tells what its slot holds`() throws {
        let stage = try engine(.llamaCpp) { $0.isFast = true }
        let body = #"{"prompt":"abcdabcdabcdabcd","n_predict":5}"#
        _ = try stage.answer("POST", "/completion", body)
        let answer = try stage.answer("POST", "/completion", body).json
        #expect(answer["tokens_cached"] as? Int == 9 && answer["tokens_evaluated"] as? Int == 4)
        #expect(answer["stop_type"] as? String == "limit")
        #expect(answer["tokens_predicted"] as? Int == 5)
        let timings = answer["timings"] as? [String: Any]
        #expect(timings?["cache_n"] as? Int == 3 && timings?["prompt_n"] as? Int == 1)
        let stream = try stage.answer("POST", "/completion", body.dropLast() + #","stream":true}"#)
        #expect(stream.events.count == 6 && stream.events.allSatisfy { $0.hasPrefix("data: {") })
        let last = Answer.json(String(stream.events[5].dropFirst(6)))
        #expect(last["stop"] as? Bool == true && last["content"] as? String == "")
    }
}

@Suite struct AdapterTests {
    @Test func `an adapter that is not there holds the batch up, and the oldest goes`() throws {
        let stage = try engine {
            $0.prefillRate = 0
            $0.adapters = ["a", "b", "c"]
            $0.adaptersMax = 2
            $0.adapterLoadNanoseconds = 200_000_000
        }
        // Ten tokens take 90 ms.
        for (name, isThere) in [
            ("a", false), ("a", true), ("b", false), ("a", true), ("c", false), ("a", true),
            ("b", false),
        ] {
            let took = stage.wait(try stage.complete("abcd", 1, model: name))
            #expect(isThere ? took < 120 : (280...310).contains(took), "\(name) \(took)")
        }
        #expect(try stage.count("adapterLoads") == 4)
    }

    @Test func `adapters are listed under their model`() throws {
        for kind in [Engine.vllm, .sglang] {
            let stage = try engine(kind) { $0.adapters = ["sql", "poems"] }
            let list = try stage.answer("GET", "/v1/models").json["data"]
            let models = try #require(list as? [[String: Any]])
            let adapters = models.filter { $0["parent"] is String }
            #expect(adapters.map { $0["id"] as? String } == ["sql", "poems"])
            #expect(adapters.allSatisfy { $0["parent"] as? String == "llama3" })
            let named = try stage.complete("abcd", 1, model: "llama3:poems")
            #expect(named.hasHead == (kind == .vllm), "vLLM has no such model.")
            stage.pass(milliseconds: 500)
            #expect(stage.answer(named).status == (kind == .vllm ? 404 : 200))
        }
    }
}

@Suite struct EvictionTests {
    private func chat(_ stage: Stage, _ model: String, _ options: String = "") throws -> Wire {
        let more = options.isEmpty ? "" : #","options":{\#(options)}"#
        return try stage.chat(model, #","stream":false"# + more)
    }

    @Test(arguments: [
        ("", "", 0), (#""num_ctx":8192"#, "", 0), (#""num_ctx":4096"#, "", 1),
        ("", #""num_batch":64"#, 1),
        (#""num_batch":64,"num_gpu":1"#, #""num_gpu":1,"num_batch":64"#, 0),
        (#""num_batch":64"#, #""num_batch":65"#, 1), (#""use_mmap":true"#, #""use_mmap":false"#, 1),
        (#""temperature":1"#, #""temperature":0.5"#, 0), (#""num_thread":2"#, "", 1),
    ])
    func `other options reload a model, and none mean the default`(
        _ first: String, _ second: String, _ reloads: Int
    ) throws {
        let stage = try Stage()
        for options in [first, second] {
            #expect(stage.answer(try chat(stage, "llama3", options)).status == 200)
        }
        #expect(try stage.count("reloads") == Double(reloads))
        #expect(try stage.count("modelLoads") == Double(1 + reloads))
    }

    @Test func `a model in use that has to go, goes as soon as it is idle, whatever its time`()
        throws
    {
        let stage = try engine(.ollama) {
            $0.loadedMax = 2
            $0.loadNanoseconds = 1_000_000_000
            $0.answerTokens = 200...200
        }
        let long = try stage.chat("llama3", #","keep_alive":"1h""#)
        stage.pass(milliseconds: 1_050)
        let short = try stage.chat("mistral", #","keep_alive":"1m""#)
        stage.pass(milliseconds: 1_050)
        let third = try stage.ask(
            "POST", "/api/embed", #"{"model":"nomic-embed-text","input":"x"}"#)
        #expect(Set(try stage.resident()) == ["llama3:latest", "mistral:latest"])
        // llama3 ends first, and stays: the other one is marked.
        _ = stage.wait(long)
        #expect(Set(try stage.resident()) == ["llama3:latest", "mistral:latest"])
        _ = stage.wait(short)
        stage.pass(milliseconds: 1_050)
        #expect(Set(try stage.resident()) == ["llama3:latest", "nomic-embed-text:latest"])
        #expect(try stage.count("evictions") == 1)
        #expect(stage.answer(third).status == 200)
    }

    @Test func `a load takes its time by the model's size, if it is told to`() throws {
        let stage = try engine(.ollama) {
            $0.models = [
                ModelOptions(name: "small", sizeBytes: 1_000_000_000),
                ModelOptions(name: "large", sizeBytes: 5_000_000_000),
            ]
            $0.loadNanoseconds = 500_000_000
            $0.loadRate = 1e9
            $0.prefillRate = 0
        }
        #expect((1_580...1_610).contains(stage.wait(try chat(stage, "small"))))
        #expect((5_580...5_610).contains(stage.wait(try chat(stage, "large"))))
    }
}

@Suite struct RouterTests {
    private func router(_ adjust: (inout SimulatorOptions) -> Void = { _ in }) throws -> Stage {
        try engine(.llamaCpp) {
            $0.isRouter = true
            $0.loadNanoseconds = 1_000_000_000
            adjust(&$0)
        }
    }

    private func states(_ stage: Stage) throws -> [String: String] {
        let list = try stage.answer("GET", "/models").json["data"]
        let data = try #require(list as? [[String: Any]])
        var states: [String: String] = [:]
        for model in data {
            let status = model["status"] as? [String: Any]
            states[model["id"] as? String ?? ""] = status?["value"] as? String
        }
        return states
    }

    @Test func `a model is loaded when it is asked for, and told so`() throws {
        let stage = try router()
        #expect(try stage.answer("GET", "/health").status == 200)
        #expect(Set(try states(stage).values) == ["unloaded"])
        let wire = try stage.complete("abcd", 1, model: "mistral")
        stage.pass(milliseconds: 500)
        #expect(try states(stage)["mistral"] == "loading")
        #expect((580...620).contains(stage.wait(wire)))
        #expect(try states(stage)["mistral"] == "loaded" && states(stage)["llama3"] == "unloaded")
        #expect(stage.answer(try stage.complete("abcd", 1, model: "nobody")).status == 404)
        #expect(try stage.answer("POST", "/v1/completions", #"{"prompt":"a"}"#).status == 400)
    }

    @Test func `models are loaded and unloaded on demand`() throws {
        let stage = try router()
        let body = #"{"model":"llama3"}"#
        #expect(try stage.answer("POST", "/models/unload", body).status == 400)
        #expect(try stage.answer("POST", "/models/load", body).json["success"] as? Bool == true)
        #expect(try stage.answer("POST", "/models/load", body).status == 400)
        stage.pass(milliseconds: 1_010)
        #expect(try states(stage)["llama3"] == "loaded")
        #expect(stage.simulation.nodes[0].jobs.count == 0)
        #expect(try stage.answer("POST", "/models/unload", body).json["success"] as? Bool == true)
        #expect(try states(stage)["llama3"] == "unloaded")
        let lone = try engine(.llamaCpp)
        #expect(try lone.answer("POST", "/models/load", body).status == 404)
        #expect(try states(lone).isEmpty)
    }

    @Test func `the model that was asked for longest ago makes room`() throws {
        let stage = try router { $0.loadedMax = 2 }
        for model in ["llama3", "mistral", "llama3", "nomic-embed-text"] {
            _ = stage.wait(try stage.complete("abcd", 1, model: model))
        }
        #expect(
            try states(stage) == [
                "llama3": "loaded", "mistral": "unloaded", "nomic-embed-text": "loaded",
            ])
        #expect(try stage.count("evictions") == 1)
    }
}

@Suite struct StatisticsTests {
    @Test func `every engine tells the same`() throws {
        var names: Set<[String]> = []
        for kind in Engine.allCases {
            let stage = try engine(kind)
            let statistics = try stage.statistics()
            #expect(statistics["engine"] as? String == kind.rawValue)
            names.insert(statistics.keys.sorted())
        }
        #expect(names.count == 1 && names.first?.count == 25)
    }

    @Test func `counts, peaks, and a new beginning`() throws {
        let stage = try engine { $0.parallel = 2 }
        let wires = try (0..<5).map { try stage.complete("abc\($0)", 64) }
        #expect(try stage.count("running") == 2 && stage.count("waiting") == 3)
        for wire in wires { _ = stage.wait(wire) }
        let all = try stage.statistics()
        for (name, value) in [
            ("requests", 5), ("finished", 5), ("refused", 0), ("aborted", 0), ("running", 0),
            ("waiting", 0), ("peakRunning", 2), ("peakWaiting", 3), ("promptTokens", 320),
            ("cachedTokens", 0), ("generatedTokens", 50), ("kvBlocks", 8_192),
            ("kvBlockTokens", 16), ("kvUsage", 0),
        ] as [(String, Double)] {
            #expect(all[name] as? Double == value, "\(name)")
        }
        // 64 tokens are 4 blocks, and one for the answer.
        #expect(abs((all["peakKvUsage"] as? Double ?? 0) - 10.0 / 8_192) < 1e-6)
        #expect(try stage.count("seconds") > 0.3)
        #expect(try stage.answer("POST", "/simulator/reset", "").json.isEmpty)
        for name in [
            "requests", "promptTokens", "generatedTokens", "busySeconds", "peakWaiting", "seconds",
            "peakKvUsage",
        ] {
            #expect(try stage.count(name) == 0, "\(name)")
        }
        _ = stage.wait(try stage.complete("abc1", 64))
        #expect(try stage.count("cachedTokens") == 48, "What is cached stays.")
        #expect(try stage.answer("GET", "/simulator/reset").status == 405)
    }

    @Test func `nodes count for themselves`() throws {
        let stage = try Stage(nodes: 2)
        _ = stage.answer(try stage.chat("llama3", node: 1))
        #expect(try stage.count("requests", node: 0) == 0 && stage.count("requests", node: 1) == 1)
        #expect(
            try stage.count("modelLoads", node: 0) == 0 && stage.count("modelLoads", node: 1) == 1)
    }

    @Test func `who is refused is counted apart`() throws {
        let stage = try engine(.ollama) {
            $0.queueMax = 1
            $0.loadNanoseconds = 1_000_000_000
        }
        let wires = try (0..<4).map { _ in try stage.chat() }
        #expect(stage.answer(wires[2]).status == 503 && stage.answer(wires[3]).status == 503)
        #expect(try stage.count("requests") == 2 && stage.count("refused") == 2)
    }
}
