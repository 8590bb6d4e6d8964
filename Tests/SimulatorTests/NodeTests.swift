// Proves when a node loads, queues, evicts and forgets, by a clock that the test moves.

import Foundation
import Kernel
import Testing

@testable import Simulator

private let second: UInt64 = 1_000

/// A node that takes 2 s to load, 1 s for a prompt of 3 tokens, 100 ms for each of 10 tokens.
private func slowNode(_ adjust: (inout SimulatorOptions) -> Void = { _ in }) throws -> Stage {
    try Stage { options in
        options.isFast = false
        options.loadNanoseconds = 2_000_000_000
        options.prefillRate = 3
        options.decodeRate = 10
        options.answerTokens = 10...10
        adjust(&options)
    }
}

extension Stage {
    /// Models in memory, as `/api/ps` names them.
    func resident() throws -> [String] {
        let models = try answer("GET", "/api/ps").json["models"] as? [[String: Any]]
        return (models ?? []).compactMap { $0["name"] as? String }
    }

    func json(_ wire: Wire) -> [String: Any] { answer(wire).json }
}

@Suite struct LoadTests {
    @Test func `a cold model is loaded, then read to, then it answers`() throws {
        let stage = try slowNode()
        let wire = try stage.chat()
        stage.pass(milliseconds: 1_990)
        #expect(try stage.resident() == [])
        stage.pass(milliseconds: 20)
        #expect(try stage.resident() == ["llama3:latest"])
        #expect(!wire.hasHead, "No head before the first token.")
        stage.pass(milliseconds: 980)
        #expect(!wire.hasHead)
        stage.pass(milliseconds: 20)
        #expect(wire.hasHead)
        #expect(wire.partialContent.split(separator: "\n").count == 1)
        stage.pass(milliseconds: 450)
        #expect(wire.partialContent.split(separator: "\n").count == 5)
        stage.pass(milliseconds: 500)
        let lines = stage.answer(wire).lines
        #expect(lines.count == 11)
        let last = try #require(lines.last)
        #expect(last["done"] as? Bool == true && last["done_reason"] as? String == "stop")
        #expect((last["load_duration"] as? Double ?? 0) / 1e9 > 1.9)
        #expect(abs((last["prompt_eval_duration"] as? Double ?? 0) / 1e9 - 1) < 0.1)
        #expect(abs((last["eval_duration"] as? Double ?? 0) / 1e9 - 0.9) < 0.1)
        #expect(last["eval_count"] as? Int == 10 && last["prompt_eval_count"] as? Int == 3)
    }

    @Test func `a hot model costs no load, and what was read before no prefill`() throws {
        let stage = try slowNode()
        _ = try stage.chat()
        stage.pass(milliseconds: 5 * second)
        let wire = try stage.chat("llama3:latest", ",\"stream\":false")
        stage.pass(milliseconds: 1_280)
        let answer = stage.json(wire)
        #expect(answer["load_duration"] as? Int == 1_000)
        #expect(answer["prompt_eval_count"] as? Int == 3)
        #expect((answer["prompt_eval_duration"] as? Double ?? 0) < 0.5e9)
    }

    @Test func `an idle model goes when its time is over, and not before`() throws {
        let stage = try slowNode { $0.keepAliveNanoseconds = 10_000_000_000 }
        _ = try stage.chat()
        stage.pass(milliseconds: 5 * second)
        stage.pass(milliseconds: 8_500)
        #expect(try stage.resident() == ["llama3:latest"])
        stage.pass(milliseconds: 1_000)
        #expect(try stage.resident() == [])
    }

    @Test func `a model in use stays, however short its time`() throws {
        let stage = try slowNode { $0.decodeRate = 0.5 }
        let load = try stage.ask("POST", "/api/generate", #"{"model":"llama3","keep_alive":"3s"}"#)
        stage.pass(milliseconds: 2_050)
        #expect(stage.answer(load).status == 200)
        let wire = try stage.chat()
        stage.pass(milliseconds: 15_000)
        #expect(try stage.resident() == ["llama3:latest"])
        stage.pass(milliseconds: 5_000)
        #expect(stage.answer(wire).lines.count == 11)
        #expect(stage.simulation.nodes[0].metrics.loads == 1)
        stage.pass(milliseconds: 3_100)
        #expect(try stage.resident() == [])
    }

    @Test(arguments: [
        ("0", 0, false), ("\"30s\"", 20, true), ("\"30s\"", 31, false), ("-1", 4_000, true),
        ("1.5", 1, true), ("1.5", 2, false), ("\"-1s\"", 4_000, true),
    ])
    func `a request says how long its model stays`(
        _ keepAlive: String, _ seconds: UInt64, _ stays: Bool
    ) throws {
        let stage = try slowNode { $0.isFast = true }
        let wire = try stage.chat("mistral", ",\"stream\":false,\"keep_alive\":\(keepAlive)")
        #expect(stage.answer(wire).status == 200)
        stage.pass(milliseconds: seconds * second + 50)
        #expect(try stage.resident() == (stays ? ["mistral:latest"] : []))
    }

    @Test func `an empty prompt loads, and with no time to stay unloads`() throws {
        let stage = try slowNode()
        let load = try stage.ask("POST", "/api/generate", #"{"model":"llama3"}"#)
        stage.pass(milliseconds: 2_050)
        #expect(stage.json(load)["done_reason"] as? String == "load")
        #expect(try stage.resident() == ["llama3:latest"])
        let body = #"{"model":"llama3","messages":[],"keep_alive":0}"#
        let unload = try stage.answer("POST", "/api/chat", body)
        #expect(unload.json["done_reason"] as? String == "unload")
        #expect(try stage.resident() == [])
    }

    @Test func `one load at a time, in the order of asking`() throws {
        let stage = try slowNode()
        let first = try stage.chat("llama3")
        let second = try stage.chat("mistral")
        stage.pass(milliseconds: 2_100)
        #expect(try stage.resident() == ["llama3:latest"])
        stage.pass(milliseconds: 2_000)
        #expect(Set(try stage.resident()) == ["llama3:latest", "mistral:latest"])
        stage.pass(milliseconds: 2_100)
        let cold = stage.answer(second).lines.last?["load_duration"] as? Double ?? 0
        #expect(cold > 3.9e9, "It waited for the other load.")
        #expect(stage.answer(first).lines.count == 11)
    }

    @Test func `a full memory evicts the idle model with the least time`() throws {
        let stage = try Stage { $0.loadedMax = 2 }
        _ = stage.answer(try stage.chat("llama3", ",\"keep_alive\":\"1h\""))
        _ = stage.answer(try stage.chat("mistral", ",\"keep_alive\":\"1m\""))
        let embed = #"{"model":"nomic-embed-text","input":"x"}"#
        #expect(try stage.answer("POST", "/api/embed", embed).status == 200)
        #expect(Set(try stage.resident()) == ["llama3:latest", "nomic-embed-text:latest"])
        #expect(stage.simulation.nodes[0].metrics.evictions == 1)
    }

    @Test func `models that do not fit together push each other out`() throws {
        let stage = try Stage { $0.videoMemoryBytes = 6 << 30 }
        for _ in 0..<2 {
            _ = stage.answer(try stage.chat("llama3"))
            #expect(try stage.resident() == ["llama3:latest"])
            _ = stage.answer(try stage.chat("mistral"))
            #expect(try stage.resident() == ["mistral:latest"])
        }
        #expect(stage.simulation.nodes[0].metrics.loads == 4)
    }

    @Test func `a model in use is not evicted: the next one waits`() throws {
        let stage = try slowNode { $0.loadedMax = 1 }
        let busy = try stage.chat("llama3")
        stage.pass(milliseconds: 2_100)
        let waiting = try stage.chat("mistral")
        stage.pass(milliseconds: 1_500)
        #expect(try stage.resident() == ["llama3:latest"])
        stage.pass(milliseconds: 1_000)
        #expect(busy.partialContent.contains("\"done\":true"))
        #expect(try stage.resident() == [])
        stage.pass(milliseconds: 5_000)
        #expect(stage.answer(waiting).lines.count == 11)
    }

    @Test func `a model larger than the memory is partly elsewhere, and slow`() throws {
        let stage = try slowNode {
            $0.videoMemoryBytes = 2 << 30
            $0.loadNanoseconds = 0
        }
        let wire = try stage.chat()
        stage.pass(milliseconds: 2_000)
        let models = try stage.answer("GET", "/api/ps").json["models"] as? [[String: Any]]
        #expect(models?.first?["size_vram"] as? Int == 2 << 30)
        #expect(models?.first?["size"] as? Int == 4_661_224_676)
        #expect(wire.partialContent.split(separator: "\n").count == 3, "400 ms a token.")
    }

    @Test func `another context length means a reload`() throws {
        let stage = try Stage()
        _ = stage.answer(try stage.chat("llama3", ",\"options\":{\"num_ctx\":4096}"))
        _ = stage.answer(try stage.chat("llama3", ",\"options\":{\"num_ctx\":4096}"))
        #expect(stage.simulation.nodes[0].metrics.loads == 1)
        _ = stage.answer(try stage.chat())
        #expect(stage.simulation.nodes[0].metrics.loads == 2, "None means the default.")
        _ = stage.answer(try stage.chat("llama3", ",\"options\":{\"num_ctx\":2048}"))
        #expect(stage.simulation.nodes[0].metrics.loads == 3)
        let models = try stage.answer("GET", "/api/ps").json["models"] as? [[String: Any]]
        #expect(models?.first?["context_length"] as? Int == 2_048)
    }

    @Test func `more than may wait for a model are refused`() throws {
        let stage = try slowNode { $0.queueMax = 2 }
        let wires = try (0..<4).map { _ in try stage.chat() }
        let busy = stage.answer(wires[3])
        #expect(busy.status == 503)
        #expect(
            busy.json["error"] as? String
                == "server busy, please try again.  maximum pending requests exceeded")
        stage.pass(milliseconds: 8_000)
        for wire in wires.prefix(3) { #expect(stage.answer(wire).status == 200) }
    }

    @Test func `a client that leaves breaks its load off`() throws {
        let stage = try slowNode()
        do {
            let leaving = try stage.chat("llama3")
            _ = leaving.hasHead
        }
        let next = try stage.chat("mistral")
        #expect(stage.run { stage.connectionCount == 1 })
        stage.pass(milliseconds: 2_050)
        #expect(try stage.resident() == ["mistral:latest"])
        stage.pass(milliseconds: 2_000)
        #expect(stage.answer(next).status == 200)
    }
}

@Suite struct SlotTests {
    @Test func `one slot works for one request, the next waits in silence`() throws {
        let stage = try slowNode { $0.loadNanoseconds = 0 }
        let first = try stage.chat()
        let second = try stage.chat()
        stage.pass(milliseconds: 1_850)
        #expect(first.partialContent.split(separator: "\n").count == 9)
        #expect(!second.hasHead)
        stage.pass(milliseconds: 1_500)
        #expect(second.hasHead)
        stage.pass(milliseconds: 1_000)
        #expect(stage.answer(second).lines.count == 11)
    }

    @Test func `two slots work side by side`() throws {
        let stage = try slowNode {
            $0.loadNanoseconds = 0
            $0.parallel = 2
        }
        let wires = try (0..<3).map { _ in try stage.chat() }
        stage.pass(milliseconds: 1_050)
        #expect(wires[0].hasHead && !wires[1].hasHead, "One prompt after the other.")
        // A step with a token of the first and the second's prompt, which only the first one's slot holds.
        stage.pass(milliseconds: 1_100)
        #expect(wires[0].hasHead && wires[1].hasHead && !wires[2].hasHead)
        #expect(stage.simulation.nodes[0].runningCount == 2)
        #expect(stage.simulation.nodes[0].waitingCount == 1)
    }

    @Test func `who leaves makes room at once`() throws {
        let stage = try slowNode { $0.loadNanoseconds = 0 }
        do {
            let leaving = try stage.chat()
            _ = leaving.hasHead
        }
        let next = try stage.chat()
        #expect(stage.run { stage.simulation.nodes[0].waitingCount == 0 })
        stage.pass(milliseconds: 1_100)
        #expect(next.hasHead)
        #expect(stage.simulation.nodes[0].metrics.aborted == 1)
    }

    @Test func `nodes of one process share nothing`() throws {
        let stage = try Stage(nodes: 2)
        _ = stage.answer(try stage.chat("llama3", node: 0))
        _ = stage.answer(try stage.chat("mistral", node: 1))
        let names = try (0..<2).map { node in
            let models = try stage.answer("GET", "/api/ps", node: node).json["models"]
            return (models as? [[String: Any]])?.compactMap { $0["name"] as? String }
        }
        #expect(names == [["llama3:latest"], ["mistral:latest"]])
    }
}

@Suite struct BatchTests {
    /// A vLLM with a prompt token a millisecond and an answer token each 10 ms.
    private func vllm(_ adjust: (inout SimulatorOptions) -> Void = { _ in }) throws -> Stage {
        try slowNode { options in
            options.engine = .vllm
            options.loadNanoseconds = 0
            options.prefillRate = 1_000
            options.decodeRate = 100
            adjust(&options)
        }
    }

    private func ask(_ stage: Stage, _ text: String, _ more: String = "") throws -> Wire {
        let content = """
            {"model":"llama3","messages":[{"role":"user","content":"\(text)"}]\(more)}
            """
        return try stage.ask("POST", "/v1/chat/completions", content)
    }

    @Test func `a batch takes many, and heads of streams come at once`() throws {
        let stage = try vllm { $0.parallel = 2 }
        let wires = try (0..<3).map { _ in try ask(stage, "hello", ",\"stream\":true") }
        for wire in wires { #expect(wire.hasHead && wire.partialContent.isEmpty) }
        #expect(stage.simulation.nodes[0].runningCount == 2)
        stage.pass(milliseconds: 400)
        for wire in wires { #expect(stage.answer(wire).content.hasSuffix("data: [DONE]\n\n")) }
    }

    @Test func `whole blocks of a known prompt come from the cache`() throws {
        let stage = try vllm()
        let text = String(repeating: "abcd", count: 1_000)
        let first = try ask(stage, text)
        stage.pass(milliseconds: 1_200)
        #expect(stage.answer(first).status == 200)
        #expect(stage.simulation.nodes[0].metrics.cacheHits == 0)
        let second = try ask(stage, text)
        stage.pass(milliseconds: 150)
        #expect(stage.answer(second).status == 200, "Only the end of the prompt is computed.")
        let hits = stage.simulation.nodes[0].metrics.cacheHits
        #expect(hits == 992, "1,002 tokens are 62 whole blocks of 16.")
    }

    @Test func `a request waits for room in the cache`() throws {
        let stage = try vllm {
            $0.contextTokens = 1_000
            $0.cacheTokens = 1_600
        }
        let first = try ask(stage, String(repeating: "abcd", count: 900))
        let second = try ask(stage, String(repeating: "efgh", count: 900))
        #expect(stage.simulation.nodes[0].waitingCount == 1)
        stage.pass(milliseconds: 1_100)
        #expect(stage.answer(first).status == 200)
        #expect(stage.simulation.nodes[0].waitingCount == 0)
        stage.pass(milliseconds: 1_100)
        #expect(stage.answer(second).status == 200)
    }

    @Test func `a full cache preempts the last, which goes on where it was`() throws {
        let stage = try vllm {
            $0.contextTokens = 800
            $0.cacheTokens = 800
            $0.answerTokens = 300...300
        }
        let first = try ask(stage, String(repeating: "abcd", count: 300), ",\"stream\":true")
        let second = try ask(stage, String(repeating: "efgh", count: 300), ",\"stream\":true")
        #expect(stage.simulation.nodes[0].runningCount == 2)
        stage.pass(milliseconds: 3_700)
        #expect(stage.simulation.nodes[0].metrics.preemptions == 1)
        // The first is done after 0.3 s and 300 times 10 ms; the second had to wait for it.
        #expect(first.partialContent.hasSuffix("data: [DONE]\n\n"))
        #expect(!second.partialContent.contains("[DONE]"))
        stage.pass(milliseconds: 3_000)
        for wire in [first, second] {
            let events = stage.answer(wire).events
            // A role, 300 tokens, the finish and the end mark.
            #expect(events.count == 303)
            #expect(events.last == "data: [DONE]")
        }
        #expect(stage.simulation.nodes[0].runners[0].cache.usedCount == 0)
    }

    @Test func `a prompt over the context is refused`() throws {
        let stage = try vllm { $0.contextTokens = 100 }
        let answer = stage.answer(try ask(stage, String(repeating: "abcd", count: 100)))
        #expect(answer.status == 400)
        #expect(answer.content.contains("maximum context length is 100 tokens"))
    }

    @Test func `adapters over their number wait, others go on`() throws {
        let stage = try vllm {
            $0.adapters = ["a", "b", "c", "d", "e"]
            $0.adapterLoadNanoseconds = 0
        }
        let wires = try ["a", "b", "c", "d", "e", "a", "llama3"].map { name in
            let content = #"{"model":"\#(name)","prompt":"hello"}"#
            return try stage.ask("POST", "/v1/completions", content)
        }
        #expect(stage.simulation.nodes[0].runningCount == 6)
        #expect(stage.simulation.nodes[0].waitingCount == 1)
        let metrics = try stage.answer("GET", "/metrics").content
        #expect(metrics.contains("running_lora_adapters=\"a,b,c,d\""))
        #expect(metrics.contains("waiting_lora_adapters=\"e\""))
        stage.pass(milliseconds: 300)
        for wire in wires { #expect(stage.answer(wire).status == 200) }
    }
}
