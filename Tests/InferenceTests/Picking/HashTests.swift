// Proves the hashes: xxHash64 against its published values, whatever the pieces; names of models; chains.

import BasicContainers
import Testing

@testable import Inference

@Suite struct PickingHashTests {
    @Test(arguments: [
        ("", 0xEF46_DB37_51D8_E999), ("a", 0xD24E_C4F1_A98C_6E5B), ("abc", 0x44BC_2CF5_AD77_0999),
        (
            "Call me Ishmael. Some years ago--never mind how long precisely-",
            0x02A2_E854_70D6_FD96
        ),
    ] as [(String, UInt64)])
    func `xxHash64 gives the published values in any pieces`(text: String, wanted: UInt64) {
        let bytes = Array(text.utf8)
        #expect(XXHash64.hash(bytes.span) == wanted)
        for cut in 0...bytes.count {
            var hash = XXHash64()
            hash.append(bytes.span.extracting(0..<cut))
            hash.append(bytes.span.extracting(cut..<bytes.count))
            #expect(hash.finish() == wanted)
        }
    }

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

    @Test func `a chain is the reference's, and the same in any pieces`() {
        let text = Array((0..<200).map { UInt8($0) })
        var whole = RigidArray<UInt64>(capacity: 256)
        let name = Array("m".utf8)
        let none: [UInt8] = []
        whole.append(addingCount: 4) { output in
            var hasher = PrefixHasher(model: name.span, salt: none.span)
            hasher.append(text.span, to: &output)
            hasher.finish(to: &output)
        }
        var previous = XXHash64.hash(name.span)
        for block in 0..<4 {
            var input = Array(text[block * 64..<min(200, block * 64 + 64)])
            for i in 0..<8 { input.append(UInt8(truncatingIfNeeded: previous >> UInt64(i * 8))) }
            previous = XXHash64.hash(input.span)
            #expect(whole[block] == previous)
        }
        for cut in 0...200 {
            var parts = RigidArray<UInt64>(capacity: 256)
            parts.append(addingCount: 4) { output in
                var hasher = PrefixHasher(model: name.span, salt: none.span)
                hasher.append(text.span.extracting(0..<cut), to: &output)
                hasher.append(text.span.extracting(cut..<200), to: &output)
                hasher.finish(to: &output)
            }
            for i in 0..<4 { #expect(parts[i] == whole[i]) }
        }
    }
}
