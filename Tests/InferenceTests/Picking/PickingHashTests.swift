// Proves that names of models are compared as their engine compares them.

import Testing

@testable import Inference

@Suite struct PickingHashTests {
    private func model(_ name: String, _ engine: EngineKind = .ollama) -> UInt64 {
        PickingHash.model(Array(name.utf8).span, engine: engine)
    }

    @Test func `names of Ollama's are compared as it compares them`() {
        #expect(model("llama3") == model("llama3:latest"))
        #expect(model("registry.ollama.ai/library/llama3:latest") == model("llama3"))
        #expect(model("library/llama3") == model("llama3"))
        #expect(model("hf.co/a/b") == model("hf.co/a/b:latest"))
        #expect(model("host:5000/a") == model("host:5000/a:latest"))
        #expect(model("llama3:8b") != model("llama3"))
        #expect(model("llama3", .vllm) != model("llama3:latest", .vllm))
        #expect(model("") == 0)
    }
}
