// Proves that Ollama's paths answer in Ollama's forms and words, refusals included.

import Foundation
import Testing

@testable import Simulator

@Suite struct OllamaTests {
    @Test(arguments: [
        ("GET", "/", 200, "text/plain", "Ollama is running"),
        ("GET", "/api/version", 200, "application/json", "{\"version\":\"0.33.0-simulated\"}"),
        ("GET", "/api/ps", 200, "application/json", "{\"models\":[]}"),
        ("POST", "/", 405, "text/plain", "405 method not allowed"),
        ("GET", "/api/chat", 405, "text/plain", "405 method not allowed"),
        ("DELETE", "/api/tags", 405, "text/plain", "405 method not allowed"),
        ("GET", "/nothing", 404, "text/plain", "404 page not found"),
        ("GET", "/metrics", 404, "text/plain", "404 page not found"),
        ("POST", "/v1/messages/count_tokens", 404, "text/plain", "404 page not found"),
    ])
    func `plain paths`(
        _ method: String, _ path: String, _ status: Int, _ type: String, _ content: String
    ) throws {
        let stage = try Stage()
        let answer = try stage.answer(method, path)
        #expect(answer.status == status)
        #expect(answer.head.contains("content-type: \(type)"))
        #expect(answer.content == content)
    }

    @Test(arguments: [("/", 200), ("/api/tags", 200), ("/api/version", 200), ("/api/ps", 405)])
    func `HEAD where Ollama has it`(_ path: String, _ status: Int) throws {
        let stage = try Stage()
        let wire = try stage.ask("HEAD", path)
        #expect(stage.run { wire.hasHead })
        #expect(wire.text.hasPrefix("HTTP/1.1 \(status) ") && wire.text.hasSuffix("\r\n\r\n"))
        #expect(!wire.text.contains("content-length: 0"))
    }

    @Test(arguments: [
        ("/api/chat", "", 400, "missing request body"),
        ("/api/chat", "{", 400, "unexpected EOF"),
        (
            "/api/chat", "{\"model\":\"llama3\",}", 400,
            "invalid character '}' looking for beginning of object key string"
        ),
        (
            "/api/chat", "[]", 400,
            "json: cannot unmarshal array into Go value of type api.ChatRequest"
        ),
        (
            "/api/chat", "{\"model\":1}", 400,
            "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"
        ),
        (
            "/api/generate", "{\"model\":\"llama3\",\"prompt\":[]}", 400,
            "json: cannot unmarshal array into Go struct field GenerateRequest.prompt of type string"
        ),
        (
            "/api/chat", "{\"model\":\"llama3\",\"stream\":\"yes\"}", 400,
            "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool"
        ),
        (
            "/api/chat", "{\"model\":\"llama3\",\"keep_alive\":\"soon\"}", 400,
            "time: invalid duration \"soon\""
        ),
        ("/api/chat", "{}", 400, "model is required"),
        ("/api/generate", "{}", 404, "model '' not found"),
        ("/api/chat", "{\"model\":\"no\\u0074hing\"}", 404, "model 'nothing' not found"),
        ("/api/chat", "{\"model\":\"llama3:70b\"}", 404, "model 'llama3:70b' not found"),
        ("/api/show", "{\"model\":\"x\"}", 404, "model 'x' not found"),
        (
            "/api/chat", "{\"model\":\"nomic-embed-text\",\"messages\":[]}", 400,
            "\"nomic-embed-text\" does not support chat"
        ),
        (
            "/api/generate", "{\"model\":\"nomic-embed-text\"}", 400,
            "\"nomic-embed-text\" does not support generate"
        ),
        (
            "/api/pull", "{\"model\":\"x\"}", 501,
            "model-simulator does not play this: it has no models on disk"
        ),
    ])
    func `refusals`(_ path: String, _ content: String, _ status: Int, _ words: String) throws {
        let stage = try Stage()
        let answer = try stage.answer("POST", path, content)
        #expect(answer.status == status)
        #expect(answer.json["error"] as? String == words)
        #expect(answer.json.count == 1)
    }

    @Test(arguments: [
        "llama3", "llama3:latest", "library/llama3", "registry.ollama.ai/library/llama3:latest",
    ])
    func `a model's names are one model, and the answer says it as it was asked`(
        _ name: String
    ) throws {
        let stage = try Stage()
        let answer = stage.answer(try stage.chat(name, ",\"stream\":false"))
        #expect(answer.json["model"] as? String == name)
        #expect(try stage.resident() == ["llama3:latest"])
    }

    @Test(arguments: [
        ("127.0.0.1", 200), ("127.0.0.1:11434", 200), ("[::1]:80", 200), ("8.8.8.8", 200),
        ("localhost", 200), ("LocalHost:11434", 200), ("a.localhost", 200), ("nas.local", 200),
        ("x.internal", 200), ("example.com", 403), ("localhost.example.com", 403),
        ("local", 403), ("ollama.lan", 403),
    ])
    func `a loopback server refuses the names of strangers`(
        _ host: String, _ status: Int
    ) throws {
        let stage = try Stage()
        let answer = try stage.answer("GET", "/api/version", host: host)
        #expect(answer.status == status)
        if status == 403 { #expect(answer.content.isEmpty) }
        let open = try Stage { $0.checksHost = false }
        #expect(try open.answer("GET", "/", host: host).status == 200)
    }

    @Test func `the list of models`() throws {
        let stage = try Stage()
        let answer = try stage.answer("GET", "/api/tags")
        let models = try #require(answer.json["models"] as? [[String: Any]])
        #expect(
            models.map { $0["name"] as? String } == [
                "llama3:latest", "mistral:latest", "nomic-embed-text:latest",
            ])
        for model in models {
            #expect((model["digest"] as? String)?.count == 64)
            #expect(model["size"] as? Int ?? 0 > 1_000_000)
            let details = try #require(model["details"] as? [String: Any])
            #expect(details["format"] as? String == "gguf")
            #expect(details["quantization_level"] is String)
            #expect((model["modified_at"] as? String)?.hasSuffix("Z") == true)
        }
        #expect(models[2]["capabilities"] as? [String] == ["embedding"])
    }

    @Test func `one model shown`() throws {
        let stage = try Stage()
        for key in ["model", "name"] {
            let shown = try stage.answer("POST", "/api/show", "{\"\(key)\":\"mistral\"}").json
            #expect((shown["modelfile"] as? String)?.contains("FROM mistral:latest") == true)
            let info = shown["model_info"] as? [String: Any]
            #expect(info?["llama.context_length"] as? Int == 8_192)
        }
    }

    @Test func `a model in memory shows its size, its time and its context`() throws {
        let stage = try Stage()
        _ = stage.answer(try stage.chat("llama3", ",\"keep_alive\":-1"))
        _ = stage.answer(try stage.chat("mistral", ",\"keep_alive\":\"1h\""))
        let models = try #require(
            try stage.answer("GET", "/api/ps").json["models"] as? [[String: Any]])
        #expect(models.map { $0["name"] as? String } == ["llama3:latest", "mistral:latest"])
        #expect(models[0]["size_vram"] as? Int == 4_661_224_676)
        #expect(models[0]["context_length"] as? Int == 8_192)
        let forEver = try #require(models[0]["expires_at"] as? String)
        #expect(Int(forEver.prefix(4)) ?? 0 > 2_300)
        let inAnHour = try #require(models[1]["expires_at"] as? String)
        let date = try #require(ISO8601DateFormatter().date(from: inAnHour.prefix(19) + "Z"))
        #expect(abs(date.timeIntervalSinceNow - 3_600) < 120)
    }

    @Test func `a stream, line by line`() throws {
        let stage = try Stage()
        let answer = stage.answer(try stage.chat())
        #expect(answer.status == 200)
        #expect(answer.head.contains("content-type: application/x-ndjson"))
        #expect(answer.head.contains("transfer-encoding: chunked"))
        let lines = answer.lines
        #expect(lines.count == 33)
        var text = ""
        for line in lines.dropLast() {
            #expect(line["done"] as? Bool == false && line["model"] as? String == "llama3")
            #expect((line["created_at"] as? String)?.count == 30)
            let message = line["message"] as? [String: Any]
            #expect(message?["role"] as? String == "assistant")
            text += message?["content"] as? String ?? ""
        }
        #expect(text.hasPrefix(Words.statement + " "))
        let last = try #require(lines.last)
        #expect(last["done"] as? Bool == true)
        #expect(last["eval_count"] as? Int == 32)
        let whole = stage.answer(try stage.chat("llama3", ",\"stream\":false")).json
        #expect((whole["message"] as? [String: Any])?["content"] as? String == text)
    }

    @Test func `generate answers as chat does, with response in the place of message`() throws {
        let stage = try Stage()
        let body = #"{"model":"llama3","prompt":"why","system":"be brief"}"#
        let lines = try stage.answer("POST", "/api/generate", body).lines
        #expect(lines.count == 33)
        let text = lines.compactMap { $0["response"] as? String }.joined()
        #expect(text.hasPrefix(Words.statement))
        let whole = try stage.answer(
            "POST", "/api/generate", body.dropLast() + #","stream":false}"#
        ).json
        #expect(whole["response"] as? String == text && whole["message"] == nil)
    }

    @Test(arguments: [
        ("{\"num_predict\":5}", 5, "length"), ("{\"num_predict\":100}", 32, "stop"),
        ("{\"num_predict\":-1}", 32, "stop"), ("{}", 32, "stop"),
        ("{\"num_ctx\":20}", 17, "length"),
    ])
    func `options bound an answer`(_ options: String, _ count: Int, _ reason: String) throws {
        let stage = try Stage()
        let wire = try stage.chat("llama3", ",\"stream\":false,\"options\":\(options)")
        let answer = stage.answer(wire).json
        #expect(answer["eval_count"] as? Int == count)
        #expect(answer["done_reason"] as? String == reason)
    }

    @Test func `embeddings have length one, and equal texts are equal`() throws {
        let stage = try Stage()
        let body = #"{"model":"nomic-embed-text","input":["a","b","a"]}"#
        let answer = try stage.answer("POST", "/api/embed", body).json
        let vectors = try #require(answer["embeddings"] as? [[Double]])
        #expect(vectors.count == 3 && vectors[0] == vectors[2] && vectors[0] != vectors[1])
        #expect(vectors[0].count == 768)
        #expect(abs(vectors[0].reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
        #expect(answer["prompt_eval_count"] as? Int == 3)
        let old = try stage.answer(
            "POST", "/api/embeddings", #"{"model":"nomic-embed-text","prompt":"a"}"#
        ).json
        #expect(old["embedding"] as? [Double] == vectors[0])
        let none = try stage.answer("POST", "/api/embed", #"{"model":"llama3","input":""}"#)
        #expect(none.json["embeddings"] as? [[Double]] == [])
    }

    @Test func `a request in chunks, after being told to go on`() throws {
        let stage = try Stage()
        let wire = try stage.wire()
        wire.send(
            "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                + "Expect: 100-continue\r\n\r\n")
        #expect(stage.run { wire.hasHead })
        #expect(wire.text == "HTTP/1.1 100 Continue\r\n\r\n")
        wire.forget()
        for piece in [#"{"model":"lla"#, #"ma3","stream":false,"#, #""messages":[{}]}"#] {
            wire.send("\(String(piece.utf8.count, radix: 16))\r\n\(piece)\r\n")
            stage.settle()
        }
        wire.send("0\r\n\r\n")
        #expect(stage.answer(wire).json["done"] as? Bool == true)
    }
}
