// Proves the OpenAI and Anthropic dialects event by event, and what differs between engines.

import Foundation
import Testing

@testable import Simulator

private func ask(_ stage: Stage, _ more: String = "", model: String = "llama3") throws -> Answer {
    let content = #"{"model":"\#(model)","messages":[{"role":"user","content":"hello"}]\#(more)}"#
    return try stage.answer("POST", "/v1/chat/completions", content)
}

/// The data of server-sent events as objects; the end mark is left out.
private func objects(_ answer: Answer) -> [[String: Any]] {
    answer.events.compactMap { event in
        guard let line = event.split(separator: "\n").last(where: { $0.hasPrefix("data: {") })
        else { return nil }
        return Answer.json(String(line.dropFirst(6)))
    }
}

private func choice(_ object: [String: Any]) -> [String: Any] {
    (object["choices"] as? [[String: Any]])?.first ?? [:]
}

@Suite struct OpenAITests {
    @Test(arguments: Engine.allCases)
    func `a chat at once`(_ engine: Engine) throws {
        let stage = try Stage { $0.engine = engine }
        let answer = try ask(stage)
        #expect(answer.status == 200)
        #expect(answer.head.contains("content-type: application/json"))
        let json = answer.json
        #expect(json["object"] as? String == "chat.completion")
        #expect((json["id"] as? String)?.hasPrefix("chatcmpl-") == true)
        #expect(json["model"] as? String == "llama3")
        let message = choice(json)["message"] as? [String: Any]
        #expect((message?["content"] as? String)?.hasPrefix(Words.statement) == true)
        #expect(choice(json)["finish_reason"] as? String == "stop")
        let usage = json["usage"] as? [String: Any]
        #expect(usage?["prompt_tokens"] as? Int == 3)
        #expect(usage?["completion_tokens"] as? Int == 32)
        #expect(usage?["total_tokens"] as? Int == 35)
    }

    @Test(arguments: Engine.allCases, [false, true])
    func `a chat in events`(_ engine: Engine, _ includesUsage: Bool) throws {
        let stage = try Stage { $0.engine = engine }
        let more = includesUsage ? ",\"stream_options\":{\"include_usage\":true}" : ""
        let answer = try ask(stage, ",\"stream\":true" + more)
        #expect(answer.head.contains("content-type: text/event-stream"))
        #expect(answer.events.last == "data: [DONE]")
        var events = objects(answer)
        let openings = engine == .ollama ? 0 : 1
        #expect(events.count == openings + 33 + (includesUsage ? 1 : 0))
        for event in events {
            #expect(event["object"] as? String == "chat.completion.chunk")
        }
        if includesUsage {
            let last = events.removeLast()
            #expect((last["choices"] as? [Any])?.isEmpty == true)
            let usage = last["usage"] as? [String: Any]
            #expect(usage?["completion_tokens"] as? Int == 32)
        }
        #expect(events.allSatisfy { !($0["usage"] is [String: Any]) })
        #expect(choice(events[events.count - 1])["finish_reason"] as? String == "stop")
        let deltas = events.map { choice($0)["delta"] as? [String: Any] ?? [:] }
        #expect(deltas[0]["role"] as? String == "assistant")
        let text = deltas.compactMap { $0["content"] as? String }.joined()
        let whole = choice(try ask(stage).json)["message"] as? [String: Any]
        #expect(text == whole?["content"] as? String)
    }

    @Test func `completions, and Ollama's zero usage in each chunk`() throws {
        for engine in [Engine.ollama, .vllm] {
            let stage = try Stage { $0.engine = engine }
            let body = #"{"model":"llama3","prompt":"hello","stream":true}"#
            let events = objects(try stage.answer("POST", "/v1/completions", body))
            #expect(events.count == 33)
            #expect(events.allSatisfy { $0["object"] as? String == "text_completion" })
            let zero = events[0]["usage"] as? [String: Int]
            #expect(zero?["total_tokens"] == (engine == .ollama ? 0 : nil))
            let text = events.compactMap { choice($0)["text"] as? String }.joined()
            let whole = try stage.answer(
                "POST", "/v1/completions", #"{"model":"llama3","prompt":["hello"]}"#
            ).json
            #expect(choice(whole)["text"] as? String == text)
        }
    }

    @Test(arguments: [
        (",\"max_tokens\":4", 4, "length"), (",\"max_completion_tokens\":4", 4, "length"),
        (",\"max_tokens\":32", 32, "stop"), (",\"max_tokens\":64", 32, "stop"),
        (",\"max_tokens\":64,\"ignore_eos\":true", 64, "length"),
        (",\"min_tokens\":50", 50, "stop"),
    ])
    func `bounds of an answer`(_ more: String, _ count: Int, _ reason: String) throws {
        let stage = try Stage { $0.engine = .vllm }
        let json = try ask(stage, more).json
        #expect((json["usage"] as? [String: Any])?["completion_tokens"] as? Int == count)
        #expect(choice(json)["finish_reason"] as? String == reason)
    }

    @Test func `a length from a range follows the prompt`() throws {
        let stage = try Stage { $0.answerTokens = 10...40 }
        var counts: Set<Int> = []
        for index in 0..<30 {
            let body = #"{"model":"llama3","prompt":"question \#(index)"}"#
            let usage = try stage.answer("POST", "/v1/completions", body).json["usage"]
            counts.insert((usage as? [String: Any])?["completion_tokens"] as? Int ?? 0)
        }
        #expect(counts.count > 5 && (counts.min() ?? 0) >= 10 && (counts.max() ?? 99) <= 40)
    }

    @Test func `embeddings as numbers and in base 64`() throws {
        let stage = try Stage { $0.engine = .vllm }
        let body = #"{"model":"llama3","input":["a","b"]}"#
        let json = try stage.answer("POST", "/v1/embeddings", body).json
        let rows = try #require(json["data"] as? [[String: Any]])
        let numbers = try #require(rows[1]["embedding"] as? [Double])
        #expect(rows.map { $0["index"] as? Int } == [0, 1])
        let coded = try stage.answer(
            "POST", "/v1/embeddings", #"{"model":"llama3","input":"b","encoding_format":"base64"}"#)
        let row = try #require((coded.json["data"] as? [[String: Any]])?.first)
        let bytes = try #require(Data(base64Encoded: row["embedding"] as? String ?? ""))
        #expect(bytes.count == 4 * numbers.count)
        let first = bytes.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        #expect(abs(Double(Float(bitPattern: first)) - numbers[0]) < 1e-6)
        for input in ["[1,2,3]", "[[1,2],[3]]"] {
            let body = #"{"model":"llama3","input":\#(input)}"#
            let usage = try stage.answer("POST", "/v1/embeddings", body).json["usage"]
            #expect((usage as? [String: Any])?["prompt_tokens"] as? Int == 3)
        }
    }

    @Test func `models, one and all`() throws {
        for engine in Engine.allCases {
            let stage = try Stage {
                $0.engine = engine
                $0.models = [ModelOptions(name: "org/big:1", sizeBytes: 1 << 30)]
                $0.adapters = engine == .ollama ? [] : ["sql"]
            }
            let list = try stage.answer("GET", "/v1/models").json
            let ids = (list["data"] as? [[String: Any]])?.compactMap { $0["id"] as? String }
            #expect(ids == (engine == .ollama ? ["org/big:1"] : ["org/big:1", "sql"]))
            for path in ["org/big:1", "org%2Fbig%3A1"] {
                let one = try stage.answer("GET", "/v1/models/\(path)")
                #expect(one.json["id"] as? String == "org/big:1", "\(engine) \(path)")
            }
            let other = try stage.answer("GET", "/v1/models/other")
            #expect(other.status == (engine == .llamaCpp ? 200 : 404))
        }
    }

    @Test func `refusals in each engine's form`() throws {
        func error(_ engine: Engine) throws -> [String: Any] {
            let stage = try Stage { $0.engine = engine }
            let answer = try ask(stage, model: "x")
            #expect(answer.status == 404)
            return answer.json
        }
        let ollama = try error(.ollama)["error"] as? [String: Any]
        #expect(ollama?["message"] as? String == "model 'x' not found")
        #expect(ollama?["type"] as? String == "not_found_error")
        #expect(ollama?["code"] is NSNull && ollama?["param"] is NSNull)
        let vllm = try error(.vllm)["error"] as? [String: Any]
        #expect(vllm?["message"] as? String == "The model `x` does not exist.")
        #expect(vllm?["type"] as? String == "NotFoundError")
        #expect(vllm?["code"] as? Int == 404 && vllm?["param"] as? String == "model")
        let sglang = try error(.sglang)
        #expect(sglang["object"] as? String == "error" && sglang["code"] as? Int == 404)
        let llama = try Stage { $0.engine = .llamaCpp }
        #expect(try ask(llama, model: "x").status == 200, "It serves one, whatever it is called.")
        let broken = try llama.answer("POST", "/v1/chat/completions", "{")
        #expect(broken.status == 400)
        #expect((broken.json["error"] as? [String: Any])?["code"] as? Int == 400)
    }

    @Test func `content in parts is read as one text`() throws {
        let stage = try Stage()
        let parts = """
            {"model":"llama3","messages":[{"role":"user","content":[{"type":"text","text":"hel"},\
            {"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"lo"}]}]}
            """
        let whole = try ask(stage).json
        let joined = try stage.answer("POST", "/v1/chat/completions", parts).json
        let texts = [whole, joined].map {
            (choice($0)["message"] as? [String: Any])?["content"] as? String
        }
        #expect(texts[0] == texts[1])
    }
}

@Suite struct AnthropicTests {
    private let body = """
        {"max_tokens":20,"messages":[{"role":"user","content":"hello"}],"model":"llama3"
        """

    @Test func `a message at once`() throws {
        let stage = try Stage()
        let json = try stage.answer("POST", "/v1/messages", body + "}").json
        #expect(json["type"] as? String == "message" && json["role"] as? String == "assistant")
        let content = json["content"] as? [[String: Any]]
        #expect((content?.first?["text"] as? String)?.hasPrefix(Words.statement) == true)
        #expect(json["stop_reason"] as? String == "max_tokens")
        let usage = json["usage"] as? [String: Any]
        #expect(usage?["input_tokens"] as? Int == 3 && usage?["output_tokens"] as? Int == 20)
    }

    @Test func `events in their order`() throws {
        let stage = try Stage()
        let answer = try stage.answer("POST", "/v1/messages", body + ",\"stream\":true}")
        #expect(answer.head.contains("content-type: text/event-stream"))
        let names = answer.events.map { $0.split(separator: "\n")[0].dropFirst(7) }
        let deltas = Array(repeating: "content_block_delta", count: 20)
        #expect(
            names.map(String.init)
                == ["message_start", "content_block_start", "ping"] + deltas
                + ["content_block_stop", "message_delta", "message_stop"])
        let events = objects(answer)
        for (name, event) in zip(names, events) {
            #expect(event["type"] as? String == String(name))
        }
        let message = events[0]["message"] as? [String: Any]
        #expect((message?["content"] as? [Any])?.isEmpty == true)
        #expect((message?["usage"] as? [String: Any])?["input_tokens"] as? Int == 3)
        let delta = events[events.count - 2]
        #expect((delta["usage"] as? [String: Any])?["output_tokens"] as? Int == 20)
        #expect((delta["delta"] as? [String: Any])?["stop_reason"] as? String == "max_tokens")
    }

    @Test func `what came from the cache is counted apart`() throws {
        let stage = try Stage { $0.engine = .llamaCpp }
        _ = try stage.answer("POST", "/v1/messages", body + "}")
        let usage = try stage.answer("POST", "/v1/messages", body + "}").json["usage"]
        let numbers = usage as? [String: Any]
        #expect(numbers?["input_tokens"] as? Int == 1)
        #expect(numbers?["cache_read_input_tokens"] as? Int == 2)
    }

    @Test(arguments: [
        (
            #"{"messages":[{"role":"user","content":"a"}],"model":"llama3"}"#, 400,
            "invalid_request_error"
        ),
        (#"{"max_tokens":5,"messages":[],"model":"llama3"}"#, 400, "invalid_request_error"),
        (
            #"{"max_tokens":5,"messages":[{"role":"user","content":"a"}],"model":"x"}"#, 404,
            "not_found_error"
        ),
        ("{", 400, "invalid_request_error"),
    ])
    func `refusals`(_ body: String, _ status: Int, _ type: String) throws {
        let stage = try Stage()
        let answer = try stage.answer("POST", "/v1/messages", body)
        #expect(answer.status == status)
        #expect(answer.json["type"] as? String == "error")
        #expect((answer.json["error"] as? [String: Any])?["type"] as? String == type)
        #expect((answer.json["request_id"] as? String)?.hasPrefix("req_") == true)
    }

    @Test func `tokens are counted without an answer`() throws {
        let stage = try Stage { $0.engine = .vllm }
        let text = String(repeating: "abcd", count: 100)
        let body = """
            {"model":"llama3","system":"abcdefgh","messages":[{"role":"user","content":"\(text)"}]}
            """
        let answer = try stage.answer("POST", "/v1/messages/count_tokens", body)
        #expect(answer.json["input_tokens"] as? Int == 104)
        #expect(stage.simulation.nodes[0].metrics.finished == 0)
    }
}
