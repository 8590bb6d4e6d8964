// Proves that the known ends of answer streams are seen, however they are cut, and nothing else.
import Testing

@testable import HTTP

private func hasEnded(_ input: [UInt8], cuts: [Int] = []) -> Bool {
    var scanner = StreamEndScanner()
    var from = 0
    for end in cuts + [input.count] {
        scanner.scan(input.span.extracting(from..<end))
        from = end
    }
    return scanner.hasEnded
}

@Suite struct StreamEndTests {
    static let rows: [Row<Bool>] = [
        Row("nothing", "", false), Row("empty lines", "\n\n\r\n", false),
        Row("OpenAI", "data: {\"a\":1}\n\ndata: [DONE]\n\n", true),
        Row("OpenAI with CR", "data: {}\r\n\r\ndata: [DONE]\r\n\r\n", true),
        Row("without a space", "data:[DONE]\n\n", true),
        Row("not yet ended by a line end", "data: [DONE]", true),
        Row("and then more", "data: [DONE]\n\ndata: {}\n\n", false),
        Row("only a part", "data: [DON", false), Row("longer", "data: [DONE] x\n\n", false),
        Row("in a string", "data: {\"c\":\"data: [DONE]\"}\n\n", false),
        Row("in a line of its own in a string", "data: {\"c\":\"\\ndata: [DONE]\"}\n\n", false),
        Row(
            "Anthropic's event", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n", true),
        Row("Anthropic's event line alone", "event: message_stop\n", true),
        Row("Anthropic's data alone", "data: {\"type\":\"message_stop\"}\n\n", true),
        Row("Anthropic's data with a space", "data: {\"type\": \"message_stop\" }\n\n", true),
        Row(
            "Anthropic's other event",
            "event: message_delta\ndata: {\"type\":\"message_delta\"}\n\n", false),
        Row(
            "Anthropic's word in a string",
            "data: {\"text\":\"\\\"type\\\":\\\"message_stop\\\"\"}\n\n", false),
        Row("Responses", "event: response.completed\ndata: {\"type\":\"message_stop\"}\n\n", true),
        Row("Ollama", "{\"done\":false}\n{\"message\":{},\"done\":true,\"eval_count\":5}\n", true),
        Row("Ollama with a space", "{\"done\": true}\n", true),
        Row("Ollama goes on", "{\"done\":false}\n", false),
        Row(
            "Ollama's word in a string", "{\"content\":\"\\\"done\\\":true\",\"done\":false}\n",
            false),
        Row("Ollama ended and went on", "{\"done\":true}\n{\"done\":false}\n", false),
        Row(
            "a long last line",
            "{\"context\":[\(String(repeating: "1,", count: 5_000))2],\"done\":true}\n", true),
        Row("done in server-sent data", "data: {\"done\":true}\n\n", false),
        Row("two quotes before the word", "{\"\"done\":true}\n", true),
        Row("a comment keeps it open", "data: [DONE]\n\n: ping\n\n", false),
    ]

    @Test(arguments: rows) func `an end is seen wherever the stream is cut`(_ row: Row<Bool>) {
        let input = bytes(row.input)
        for cut in stride(from: 0, through: input.count, by: max(1, input.count / 150)) {
            #expect(hasEnded(input, cuts: [cut]) == row.wanted, "cut at \(cut)")
        }
        #expect(hasEnded(input, cuts: Array(0...input.count)) == row.wanted)
    }

    @Test func `cuts never matter`() {
        var random = Seeded(7)
        let inputs = Self.rows.map { bytes($0.input) }.filter { $0.count < 300 && !$0.isEmpty }
        for _ in 0..<4_000 {
            let input = mutated(inputs[random.below(inputs.count)], &random)
            let cuts = [random.below(input.count + 1), random.below(input.count + 1)].sorted()
            #expect(hasEnded(input, cuts: cuts) == hasEnded(input))
        }
    }
}
