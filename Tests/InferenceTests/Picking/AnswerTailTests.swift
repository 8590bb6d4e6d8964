// Proves what is learned from the end of an answer of Ollama's, however it was cut.

import Testing

@testable import Inference

@Suite struct AnswerTailTests {
    private static let last =
        #"{"model":"m","message":{"content":"x"},"done":true,"total_duration":50,"load_duration":700000001,"prompt_eval_count":3,"prompt_eval_duration":42,"eval_count":9}"#

    private func timings(_ text: String, pieces: Int) -> RequestTimings {
        var tail = AnswerTail()
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            tail.append(bytes[start..<min(bytes.count, start + pieces)].span)
        }
        return tail.timings
    }

    @Test(arguments: [1, 2, 7, 100, 511, 512, 513, 5_000])
    func `the last object's numbers`(pieces: Int) {
        let text =
            String(repeating: #"{"message":{"content":"token"}}"# + "\n", count: 90) + Self.last
            + "\n"
        let found = timings(text, pieces: pieces)
        #expect(found.isLoadKnown && found.load == 700_000_001 && found.prompt == 42)
        let chunked = timings(text + "\r\n0\r\n\r\n", pieces: pieces)
        #expect(chunked.load == 700_000_001 && chunked.prompt == 42)
    }

    @Test func `zeroes are left out, and an answer that broke off says nothing`() {
        let warm = timings(#"{"done":true,"total_duration":9}"#, pieces: 64)
        #expect(warm.isLoadKnown && warm.load == 0 && warm.prompt == 0)
        #expect(!timings(#"{"message":{"content":"to"}}"#, pieces: 64).isLoadKnown)
        #expect(!timings("", pieces: 64).isLoadKnown)
    }

    @Test func `what a model says is no number of the server's`() {
        let found = timings(
            #"{"content":"\"total_duration\":1,\"load_duration\":99","done":false}"#, pieces: 64)
        #expect(!found.isLoadKnown && found.load == 0)
    }
}
