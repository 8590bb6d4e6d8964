// Proves the habits of each engine: connections, health, metrics; and the aids for benchmarks.

import Foundation
import Kernel
import Testing

@testable import Simulator

private let sglang =
    "{engine_type=\"unified\",model_name=\"llama3\",pp_rank=\"0\",tp_rank=\"0\""

@Suite struct EngineTests {
    @Test(arguments: [
        (Engine.vllm, "/health", 200), (.vllm, "/ping", 200), (.vllm, "/version", 200),
        (.vllm, "/load", 200), (.vllm, "/api/tags", 404), (.vllm, "/", 404),
        (.sglang, "/health", 200), (.sglang, "/health_generate", 200), (.sglang, "/ping", 404),
        (.llamaCpp, "/health", 200), (.llamaCpp, "/slots", 200), (.llamaCpp, "/props", 200),
        (.llamaCpp, "/lora-adapters", 200), (.llamaCpp, "/models", 200), (.llamaCpp, "/ping", 404),
        (.ollama, "/health", 404), (.ollama, "/slots", 404),
    ])
    func `paths of each engine`(_ engine: Engine, _ path: String, _ status: Int) throws {
        let stage = try Stage { $0.engine = engine }
        #expect(try stage.answer("GET", path).status == status)
    }

    @Test func `llama-cpp closes after a stream and does not say so`() throws {
        let stage = try Stage { $0.engine = .llamaCpp }
        let body = #"{"prompt":"hello","stream":true}"#
        let wire = try stage.ask("POST", "/v1/completions", body)
        let answer = stage.answer(wire)
        #expect(answer.head.contains("keep-alive: timeout=5, max=100"))
        #expect(!answer.head.contains("connection:"))
        #expect(
            stage.run {
                wire.receive(); return wire.hasEnded
            })
        let again = try stage.ask("POST", "/v1/completions", #"{"prompt":"hello"}"#)
        #expect(stage.answer(again).head.contains("keep-alive: timeout=5, max=100"))
        stage.settle()
        again.receive()
        #expect(!again.hasEnded)
        stage.pass(milliseconds: 5_100)
        #expect(
            stage.run {
                again.receive(); return again.hasEnded
            }, "Idle for 5 s.")
    }

    @Test func `llama-cpp's hundredth answer is the last of its connection`() throws {
        let stage = try Stage { $0.engine = .llamaCpp }
        let wire = try stage.wire()
        for count in 1...100 {
            wire.forget()
            wire.ask("GET", "/health", nil, host: "a")
            let answer = stage.answer(wire)
            #expect(answer.head.contains("connection: close") == (count == 100))
        }
    }

    @Test func `llama-cpp works on for a client that has left, unless it streams`() throws {
        for streams in [false, true] {
            let stage = try Stage {
                $0.engine = .llamaCpp
                $0.isFast = false
                $0.loadNanoseconds = 0
            }
            do {
                let body = #"{"prompt":"hello","stream":\#(streams)}"#
                let wire = try stage.ask("POST", "/v1/completions", body)
                stage.pass(milliseconds: 100)
                wire.receive()
            }
            #expect(stage.run { stage.connectionCount == 0 })
            #expect(stage.simulation.nodes[0].runningCount == (streams ? 0 : 1))
            stage.pass(milliseconds: 1_000)
            #expect(stage.simulation.nodes[0].runningCount == 0)
            #expect(stage.simulation.nodes[0].jobs.count == 0)
            #expect(stage.simulation.nodes[0].metrics.aborted == (streams ? 1 : 0))
        }
    }

    @Test func `llama-cpp's slots, timings and load at the start`() throws {
        let stage = try Stage {
            $0.engine = .llamaCpp
            $0.isFast = false
            $0.loadNanoseconds = 1_000_000_000
        }
        let health = try stage.answer("GET", "/health")
        #expect(health.status == 503 && health.content.contains("Loading model"))
        let early = try stage.answer("POST", "/v1/completions", #"{"prompt":"a"}"#)
        #expect(early.status == 503)
        stage.pass(milliseconds: 1_001)
        #expect(try stage.answer("GET", "/health").content == "{\"status\":\"ok\"}")
        let wire = try stage.ask("POST", "/v1/completions", #"{"prompt":"hello"}"#)
        stage.pass(milliseconds: 100)
        let slots = try stage.answer("GET", "/slots").content
        #expect(slots.components(separatedBy: "\"is_processing\":true").count == 2)
        #expect(slots.components(separatedBy: "\"is_processing\":false").count == 4)
        #expect(slots.contains(#""n_prompt_tokens":2,"n_prompt_tokens_processed":2,"#))
        stage.pass(milliseconds: 1_000)
        let timings = stage.answer(wire).json["timings"] as? [String: Any]
        #expect(timings?["prompt_n"] as? Int == 2 && timings?["predicted_n"] as? Int == 32)
        let again = try stage.ask("POST", "/v1/completions", #"{"prompt":"hello"}"#)
        stage.pass(milliseconds: 1_000)
        let known = stage.answer(again).json["timings"] as? [String: Any]
        #expect(known?["cache_n"] as? Int == 1 && known?["prompt_n"] as? Int == 1)
    }

    @Test(arguments: [
        (
            Engine.vllm,
            [
                "vllm:num_requests_running{engine=\"0\",model_name=\"llama3\"} 1",
                "vllm:num_requests_waiting{engine=\"0\",model_name=\"llama3\"} 1",
                "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"llama3\"} 0.00",
                "vllm:prompt_tokens_total{engine=\"0\",model_name=\"llama3\"} 2",
                "vllm:generation_tokens_total{engine=\"0\",model_name=\"llama3\"} 32",
                "vllm:request_success_total{engine=\"0\",model_name=\"llama3\","
                    + "finished_reason=\"stop\"} 1",
                "vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"llama3\"} 1",
                "vllm:inter_token_latency_seconds_bucket{engine=\"0\",model_name=\"llama3\","
                    + "le=\"0.025\"} 31",
                ",block_size=\"16\",", ",num_gpu_blocks=\"8192\"}",
                "enable_prefix_caching=\"True\"",
                "vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"llama3\"} 4",
                "vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"llama3\"} 0",
            ]
        ),
        (
            .sglang,
            [
                "sglang:num_running_reqs\(sglang)} 1",
                "sglang:num_queue_reqs\(sglang)} 1",
                "sglang:token_usage\(sglang)} 0.00",
                "sglang:num_requests_total\(sglang)} 1",
                "sglang:cache_hit_rate\(sglang)} 0\n",
                "sglang:max_total_num_tokens\(sglang)} 131072\n",
                "page_size=\"1\",num_pages=\"131072\"",
            ]
        ),
        (
            .llamaCpp,
            [
                "llamacpp:requests_processing 1", "llamacpp:requests_deferred 1",
                "llamacpp:prompt_tokens_total 2", "llamacpp:tokens_predicted_total 32",
                "llamacpp:n_tokens_max 34", "llamacpp:kv_cache_tokens 2\n",
                "llamacpp:kv_cache_usage_ratio 0.000244",
            ]
        ),
    ])
    func `metrics by the engine's names`(_ engine: Engine, _ lines: [String]) throws {
        let stage = try Stage {
            $0.engine = engine
            $0.isFast = false
            $0.loadNanoseconds = 0
            $0.parallel = 1
        }
        let wires = try ["hello", "again", "third"].map { text in
            let wire = try stage.ask(
                "POST", "/v1/completions", #"{"model":"llama3","prompt":"\#(text)"}"#)
            if text == "hello" { stage.pass(milliseconds: 700) }
            return wire
        }
        let page = try stage.answer("GET", "/metrics")
        #expect(page.head.contains("content-type: text/plain; version=0.0.4"))
        for line in lines { #expect(page.content.contains(line), "\(line)\n\(page.content)") }
        // Each series stands after the type of its own family.
        var family = ""
        for line in page.content.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") { family = String(line.split(separator: " ")[2]) }
            if !line.hasPrefix("#") { #expect(line.hasPrefix(family), "\(line)") }
        }
        #expect(wires.count == 3)
    }

    @Test func `an adapter is a model of its own, with a cache of its own`() throws {
        let stage = try Stage {
            $0.engine = .vllm
            $0.adapters = ["sql"]
        }
        let prompt = String(repeating: "abcd", count: 64)
        for (model, hits) in [("llama3", 0), ("sql", 0), ("sql", 48), ("llama3", 96)] {
            let body = #"{"model":"\#(model)","prompt":"\#(prompt)"}"#
            let json = try stage.answer("POST", "/v1/completions", body).json
            #expect(json["model"] as? String == model)
            #expect(stage.simulation.nodes[0].metrics.cacheHits == hits)
        }
    }
}

@Suite struct AidTests {
    @Test func `so many bytes`() throws {
        let stage = try Stage()
        for count in [0, 1, 200, 65_536, 300_000] {
            let answer = try stage.answer("GET", "/bytes/\(count)")
            #expect(answer.head.contains("content-length: \(count)"))
            #expect(answer.content.utf8.count == count)
        }
        for path in ["/bytes/", "/bytes/x", "/bytes/-1", "/bytes/99999999999999999999"] {
            #expect(try stage.answer("GET", path).status == 404)
        }
    }

    @Test func `chunks at their times`() throws {
        let stage = try Stage()
        let wire = try stage.ask("GET", "/chunks/4/10/250")
        #expect(wire.partialContent.utf8.count == 10)
        stage.pass(milliseconds: 240)
        #expect(wire.partialContent.utf8.count == 10)
        for count in 2...4 {
            stage.pass(milliseconds: 250)
            #expect(wire.partialContent.utf8.count == count * 10)
        }
        #expect(stage.answer(wire).content == String("abcdefghij".repeated(4)))
        let many = try stage.answer("GET", "/chunks/100/70000/0")
        #expect(many.content.utf8.count == 7_000_000)
        #expect(try stage.answer("GET", "/chunks/0/1/1").content.isEmpty)
        #expect(try stage.answer("GET", "/chunks/1/2").status == 404)
    }

    @Test func `a sink counts and sums`() throws {
        let stage = try Stage()
        let answer = try stage.answer("POST", "/sink", "Wikipedia")
        #expect(answer.json["bytes"] as? Int == 9)
        #expect(answer.json["adler32"] as? String == "11e60398")
        #expect(try stage.answer("POST", "/sink", "").json["bytes"] as? Int == 0)
        let wire = try stage.wire()
        wire.send("POST /sink HTTP/1.1\r\nHost: a.local\r\nContent-Length: 4000000\r\n\r\n")
        for _ in 0..<80 {
            wire.send(String(repeating: "x", count: 50_000))
            stage.turn()
        }
        #expect(stage.answer(wire).json["bytes"] as? Int == 4_000_000)
    }
}

extension String {
    func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}

@Suite struct SimulatorTests {
    @Test func `threads serve in real time, and stop`() throws {
        var options = SimulatorOptions(
            listen: [.loopback(v6: false, port: 0), .loopback(v6: false, port: 0)])
        options.loadNanoseconds = 60_000_000
        options.decodeRate = 200
        options.answerTokens = 4...4
        let simulator = try Simulator(options)
        #expect(Set(simulator.addresses.map(\.port)).count == 2)
        for address in simulator.addresses {
            let wire = try Wire(to: address)
            let body = #"{"model":"llama3","messages":[{"role":"user","content":"hello"}]}"#
            let began = Clock.monotonicNanoseconds()
            wire.ask("POST", "/api/chat", body, host: "localhost")
            while wire.answer == nil, !wire.hasEnded,
                Clock.monotonicNanoseconds() - began < 20_000_000_000
            {
                wire.receive()
            }
            let took = Double(Clock.monotonicNanoseconds() - began) / 1e9
            let lines = try #require(wire.answer).lines
            #expect(lines.count == 5)
            // 60 ms to load, 1.5 ms to read, three times 5 ms; the upper bound is for busy machines.
            #expect(took > 0.07 && took < 10)
        }
        simulator.stop()
        let wire = try Wire(to: simulator.addresses[0])
        #expect(wire.socket.connectResult() != 0 || wire.socket.peerAddress() == nil)
    }

    @Test func `simulated time may go faster than the clock`() throws {
        var options = SimulatorOptions(listen: [.loopback(v6: false, port: 0)])
        options.loadNanoseconds = 60_000_000_000
        options.timeScale = 200
        let simulator = try Simulator(options)
        let wire = try Wire(to: simulator.addresses[0])
        let body = #"{"model":"llama3","prompt":"hello","stream":false}"#
        let began = Clock.monotonicNanoseconds()
        wire.ask("POST", "/api/generate", body, host: "localhost")
        while wire.answer == nil, Clock.monotonicNanoseconds() - began < 40_000_000_000 {
            wire.receive()
        }
        let took = Double(Clock.monotonicNanoseconds() - began) / 1e9
        let answer = try #require(wire.answer).json
        #expect(answer["load_duration"] as? Double ?? 0 >= 60e9)
        #expect((60..<62).contains((answer["total_duration"] as? Double ?? 0) / 1e9))
        // A 200th of a minute; the upper bound is for busy machines.
        #expect(took > 0.3 && took < 30)
        simulator.stop()
    }

    @Test func `several threads share an address`() throws {
        var options = SimulatorOptions(listen: [.loopback(v6: false, port: 0)])
        options.isFast = true
        options.threads = 3
        let simulator = try Simulator(options)
        #expect(simulator.addresses.count == 1)
        for _ in 0..<30 {
            let wire = try Wire(to: simulator.addresses[0])
            let began = Clock.monotonicNanoseconds()
            var isSent = false
            while wire.answer == nil, Clock.monotonicNanoseconds() - began < 20_000_000_000 {
                if !isSent, wire.socket.peerAddress() != nil {
                    wire.ask("GET", "/api/version", nil, host: "localhost")
                    isSent = true
                }
                wire.receive()
            }
            #expect(wire.answer?.status == 200)
        }
        simulator.stop()
    }

    @Test func `a port in use is an error, not a shared port`() throws {
        let first = try Simulator(SimulatorOptions(listen: [.loopback(v6: false, port: 0)]))
        defer { first.stop() }
        for threads in [1, 2] {
            var options = SimulatorOptions(listen: first.addresses)
            options.threads = threads
            #expect(throws: SystemError.self) { try Simulator(options) }
        }
    }
}
