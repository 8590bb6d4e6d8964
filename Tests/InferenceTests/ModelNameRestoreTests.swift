// The client's name comes back in answers, and every other byte as it was, however they are cut.
import BasicContainers
import Testing

@testable import Inference

private func restore(
    _ answer: [UInt8], _ format: ModelNameRestore.Format, cuts: [Int] = [], capacity: Int = 1 << 16,
    client: String = "fast"
) -> String {
    var filter = ModelNameRestore(
        served: name("org/llama3:8b"), client: name(client), format: format)
    var restored: [UInt8] = []
    var output = RigidArray<UInt8>(capacity: capacity)
    func take() {
        for i in 0..<output.count { restored.append(output[i]) }
        output.removeAll()
    }
    for piece in pieces(answer, cuts) {
        var from = 0
        while from < piece.count {
            output.edit { filter.filter(piece.span, from: &from, into: &$0) }
            take()
        }
    }
    while !output.edit({ filter.finish(into: &$0) }) { take() }
    take()
    return String(decoding: restored, as: UTF8.self)
}

private let openAI = """
    data: {"id":"1","object":"chat.completion.chunk","model":"org/llama3:8b","choices":[{"delta":{"content":"\\"model\\":\\"org/llama3:8b\\""}}]}

    : ping

    data: {"model": "org\\/llama3:8b" , "choices":[{"model":"org/llama3:8b"}]}

    data: [DONE]


    """
private let anthropic = """
    event: message_start
    data: {"type":"message_start","message":{"id":"m","model":"org/llama3:8b","content":[{"model":"org/llama3:8b"}],"usage":{}}}

    event: response.created
    data:{"type":"response.created","response":{"x":{"model":"org/llama3:8b"},"model":"org/llama3:8b"},"model":"org/llama3:8b"}

    """

@Suite struct ModelNameRestoreTests {
    @Test(
        arguments: [
            ("application/json", ModelNameRestore.Format.json),
            ("Application/JSON; charset=utf-8", .json),
            ("application/x-ndjson", .json), ("application/jsonl", .json),
            ("text/event-stream", .events),
            ("text/event-stream;charset=utf-8", .events), ("text/plain", nil),
            ("application/json5", nil),
            ("application/js", nil), ("", nil),
        ] as [(String, ModelNameRestore.Format?)])
    func `the type of an answer says whether and how a name is looked for`(
        type: String, format: ModelNameRestore.Format?
    ) {
        #expect(ModelNameRestore.Format(contentType: Array(type.utf8).span) == format)
    }

    static let rows: [(String, ModelNameRestore.Format, String)] = [
        (#"{"model":"org/llama3:8b","x":1}"#, .json, #"{"model":"fast","x":1}"#),
        (#"{"model" : "org/llama3:8b"}"#, .json, #"{"model" : "fast"}"#),
        (#"{"model":"org\/llama3\u003a8b"}"#, .json, #"{"model":"fast"}"#),
        (#"{"model":"other"}"#, .json, #"{"model":"other"}"#),
        (#"{"model":""}"#, .json, #"{"model":""}"#),
        (#"{"model":null,"a":"org/llama3:8b"}"#, .json, #"{"model":null,"a":"org/llama3:8b"}"#),
        (#"{"a":{"model":"org/llama3:8b"}}"#, .json, #"{"a":{"model":"org/llama3:8b"}}"#),
        (#"[{"model":"org/llama3:8b"}]"#, .json, #"[{"model":"org/llama3:8b"}]"#),
        (#"{"model":["org/llama3:8b"]}"#, .json, #"{"model":["org/llama3:8b"]}"#),
        (#"{"a":"model","b":"org/llama3:8b"}"#, .json, #"{"a":"model","b":"org/llama3:8b"}"#),
        (
            #"{"message":{"model":"org/llama3:8b"},"model":"org/llama3:8b"}"#, .json,
            #"{"message":{"model":"fast"},"model":"fast"}"#
        ),
        (
            #"{"message":["model","org/llama3:8b"],"model":"org/llama3:8b"}"#, .json,
            #"{"message":["model","org/llama3:8b"],"model":"fast"}"#
        ),
        (
            #"{"message":"x","response":{"model":"org/llama3:8b"}}"#, .json,
            #"{"message":"x","response":{"model":"fast"}}"#
        ),
        (
            #"{"message":{"message":{"model":"org/llama3:8b"}}}"#, .json,
            #"{"message":{"message":{"model":"org/llama3:8b"}}}"#
        ),
        (
            #"{"model_x":"org/llama3:8b","mode":"org/llama3:8b","a model":"org/llama3:8b"}"#, .json,
            #"{"model_x":"org/llama3:8b","mode":"org/llama3:8b","a model":"org/llama3:8b"}"#
        ),
        (
            #"{"\\model":"org/llama3:8b","m\u006fdel":"org/llama3:8b"}"#, .json,
            #"{"\\model":"org/llama3:8b","m\u006fdel":"org/llama3:8b"}"#
        ),
        (
            "{\"model\":\"org/llama3:8b\",\"done\":false}\n{\"model\":\"org/llama3:8b\",\"done\":true}\n",
            .json,
            "{\"model\":\"fast\",\"done\":false}\n{\"model\":\"fast\",\"done\":true}\n"
        ),
        (#"{"model":"org/llama3:8b"#, .json, #"{"model":"org/llama3:8b"#), ("", .json, ""),
        ("plain text", .json, "plain text"),
        ("}}]]\"{model\":\"org/llama3:8b\"", .json, "}}]]\"{model\":\"org/llama3:8b\""),
        (
            "{\"model\":\"" + String(repeating: "a", count: 400)
                + "\",\"response\":{\"model\":\"org/llama3:8b\"}}", .json,
            "{\"model\":\"" + String(repeating: "a", count: 400)
                + "\",\"response\":{\"model\":\"fast\"}}"
        ),
        (
            "{\"model\":\"" + String(repeating: "\\\\", count: 127) + "\\\\x\"}", .json,
            "{\"model\":\"" + String(repeating: "\\\\", count: 127) + "\\\\x\"}"
        ),
        (
            openAI, .events,
            openAI
                .replacing(
                    #""model":"org/llama3:8b","choices""#, with: #""model":"fast","choices""#
                )
                .replacing(#""org\/llama3:8b" ,"#, with: #""fast" ,"#)
        ),
        (
            openAI.replacing("\n", with: "\r\n"), .events,
            openAI
                .replacing(
                    #""model":"org/llama3:8b","choices""#, with: #""model":"fast","choices""#
                )
                .replacing(#""org\/llama3:8b" ,"#, with: #""fast" ,"#).replacing("\n", with: "\r\n")
        ),
        (
            anthropic, .events,
            anthropic
                .replacing(#""id":"m","model":"org/llama3:8b""#, with: #""id":"m","model":"fast""#)
                .replacing(
                    #"},"model":"org/llama3:8b"},"model":"org/llama3:8b""#,
                    with: #"},"model":"fast"},"model":"fast""#)
        ),
        (
            "event: {\"model\":\"org/llama3:8b\"}\n", .events,
            "event: {\"model\":\"org/llama3:8b\"}\n"
        ),
        (
            "data: {\"a\n{\"model\":\"org/llama3:8b\"}\ndata: {\"model\":\"org/llama3:8b\"}\n",
            .events,
            "data: {\"a\n{\"model\":\"org/llama3:8b\"}\ndata: {\"model\":\"fast\"}\n"
        ),
        (
            "data: {\"model\":\"org/\ndata: {\"model\":\"org/llama3:8b\"}\n", .events,
            "data: {\"model\":\"org/\ndata: {\"model\":\"fast\"}\n"
        ),
    ]

    @Test(arguments: 0..<rows.count)
    func `the name comes back and nothing else changes`(index: Int) {
        let (answer, format, wanted) = Self.rows[index]
        let bytes = Array(answer.utf8)
        #expect(restore(bytes, format) == wanted)
        for cut in 0...bytes.count { #expect(restore(bytes, format, cuts: [cut]) == wanted) }
        #expect(restore(bytes, format, cuts: Array(0...bytes.count)) == wanted)
        for capacity in [1, 2, 3, 7, 30] {
            #expect(restore(bytes, format, capacity: capacity) == wanted)
        }
    }

    @Test func `a long name with escapes comes back whole through any room`() {
        let client = String(repeating: "\"\\", count: 128)
        let answer = Array(#"{"model":"org/llama3:8b"}"#.utf8)
        let wanted = #"{"model":""# + String(repeating: #"\"\\"#, count: 128) + #""}"#
        for capacity in [1, 2, 100, 600] {
            #expect(restore(answer, .json, capacity: capacity, client: client) == wanted)
        }
    }

    @Test func `bytes in front of a value do not wait for it`() {
        var filter = ModelNameRestore(served: name("a"), client: name("b"), format: .events)
        var output = RigidArray<UInt8>(capacity: 1_000)
        let first = Array("data: {\"choices\":[{\"delta\":{\"content\":\"hel".utf8)
        var from = 0
        output.edit { filter.filter(first.span, from: &from, into: &$0) }
        #expect(output.count == first.count)
    }

    @Test(arguments: 0..<200)
    func `random bytes pass unchanged when the name is not in them`(seed: UInt64) {
        var random = Seeded(seed)
        let words = [
            #"{"#, #"}"#, #"""#, #"\"#, "model", ":", ",", "[", "]", "data: ", "\n", "message", "x",
            "other", "é",
        ]
        var text = ""
        for _ in 0..<60 { text += words[Int.random(in: 0..<words.count, using: &random)] }
        let bytes = Array(text.utf8)
        for format in [ModelNameRestore.Format.json, .events] {
            let cuts = (0..<4).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()
            #expect(restore(bytes, format, cuts: cuts) == text)
            let named = text.replacing("other", with: "org/llama3:8b")
            let whole = restore(Array(named.utf8), format)
            let more = (0..<4).map { _ in Int.random(in: 0...named.utf8.count, using: &random) }
                .sorted()
            #expect(restore(Array(named.utf8), format, cuts: more, capacity: 5) == whole)
        }
    }
}
