// `model` and its neighbours are read out of JSON as a strict parser would, whatever the cuts are.
import Foundation
import Testing

@testable import Inference

@Suite struct BodyPeekTests {
    @Test(arguments: [
        (#"{"model":"llama3"}"#, "llama3"),
        (#" { "model" : "llama3" } "#, "llama3"),
        (#"{"messages":[{"model":"no"}],"model":"yes"}"#, "yes"),
        (#"{"a":"\"model\":\"no\"","model":"yes"}"#, "yes"),
        (#"{"\u006dodel":"a\u002fb"}"#, "a/b"),
        (#"{"m\u006F\u0064el":"\u00e9\u4e2d\ud83d\ude00"}"#, "é中😀"),
        (#"{"model":"é中😀"}"#, "é中😀"),
        (#"{"model":"a\\\"b\/c"}"#, #"a\"b/c"#),
        (#"{"x":{"model":"no"},"y":[["model","no"]],"model":"m"}"#, "m"),
        (#"{"models":"no","mode":"no","":1,"model":"m"}"#, "m"),
        (#"{"a":-0.5e+10,"b":0,"c":1E2,"d":true,"e":false,"f":null,"model":"m"}"#, "m"),
        (#"{"a":"\ud800","b":{"\udc00":1},"model":"m"}"#, "m"),
        (
            "{\"model\":\"" + String(repeating: "a", count: 256) + "\"}",
            String(repeating: "a", count: 256)
        ),
    ])
    func `the model is the top level's`(row: (json: String, model: String)) {
        let reading = peek(row.json)
        #expect(reading.refusal == nil)
        #expect(reading.model == row.model)
    }

    @Test(arguments: [
        "{}", "[]", "1", "-1.5e3", "\"model\"", "null", "[{\"model\":\"x\"}]", #"{"name":"x"}"#,
    ])
    func `a missing model is no refusal`(json: String) {
        let reading = peek(json)
        #expect(reading.refusal == nil)
        #expect(reading.model == nil)
        #expect(reading.modelRange == nil)
    }

    static let refused: [(String, BodyRefusal)] = [
        ("", .truncated), ("  ", .truncated), ("{", .truncated), (#"{"model":"x""#, .truncated),
        (#"{"model":"x"#, .truncated), ("-", .truncated), ("1.", .truncated), ("1e", .truncated),
        ("[1", .truncated), ("tru", .truncated), (#"{"a":"\u00"#, .truncated),
        ("x", .notJSON), ("{]", .notJSON), ("[}", .notJSON), ("{,}", .notJSON), ("[,]", .notJSON),
        ("[1,]", .notJSON), (#"{"a":1,}"#, .notJSON), (#"{"a"}"#, .notJSON), (#"{"a":}"#, .notJSON),
        (#"{"a" 1}"#, .notJSON), (#"{"a":1 "b":2}"#, .notJSON), ("{1:2}", .notJSON),
        ("01", .trailingBytes),
        ("[01]", .notJSON), ("[+1]", .notJSON), ("[.5]", .notJSON), ("[1.]", .notJSON),
        ("[1.e1]", .notJSON),
        ("[-]", .notJSON), ("[1e+]", .notJSON), ("[1ee]", .notJSON), ("[0x1]", .notJSON),
        ("[NaN]", .notJSON),
        ("[Infinity]", .notJSON), ("[True]", .notJSON), ("[nul]", .notJSON), ("[truex]", .notJSON),
        ("['a']", .notJSON), (#"["\x"]"#, .notJSON), (#"["\u00g0"]"#, .notJSON),
        (#"["\U0000"]"#, .notJSON),
        ("[\"a\nb\"]", .notJSON), ("[\"\t\"]", .notJSON), ("[\u{0B}1]", .notJSON),
        ("[\u{A0}1]", .notJSON),
        ("[1] // c", .trailingBytes), ("/**/[1]", .notJSON), ("{\"model\":\"a\u{1}\"}", .notJSON),
        (#"{"model":"a"}x"#, .trailingBytes), (#"{"model":"a"}{"model":"b"}"#, .trailingBytes),
        ("{\"model\":\"a\"}\u{0}", .notJSON), ("1 2", .trailingBytes), ("nullnull", .trailingBytes),
        (#"{"model":"a","model":"b"}"#, .duplicateModel),
        (#"{"model":"a","model":"a"}"#, .duplicateModel),
        (#"{"model":"a","\u006dodel":"b"}"#, .duplicateModel),
        (#"{"model":"a","x":[{"y":1}],"mod\u0065l":1}"#, .duplicateModel),
        (#"{"model":"a","Model":"b"}"#, .duplicateModel), (#"{"MODEL":"a"}"#, .modelSpelling),
        (#"{"model":1}"#, .modelNotString), (#"{"model":null}"#, .modelNotString),
        (#"{"model":["a"]}"#, .modelNotString), (#"{"model":{"a":1}}"#, .modelNotString),
        (#"{"model":true}"#, .modelNotString), (#"{"model":-1}"#, .modelNotString),
        (#"{"model":}"#, .notJSON),
        (#"{"model":""}"#, .modelEmpty), (#"{"model":"a\u0000"}"#, .modelControl),
        (#"{"model":"a\nb"}"#, .modelControl),
        (#"{"model":"\u007f"}"#, .modelControl), ("{\"model\":\"\u{7F}\"}", .modelControl),
        (#"{"model":"\u0085"}"#, .modelControl), ("{\"model\":\"\u{85}\"}", .modelControl),
        (#"{"model":"\ud800"}"#, .loneSurrogate), (#"{"model":"\udc00"}"#, .loneSurrogate),
        (#"{"model":"\ud800x"}"#, .loneSurrogate), (#"{"model":"\ud800\n"}"#, .loneSurrogate),
        (#"{"model":"\ud800\ud800\udc00"}"#, .loneSurrogate), (#"{"\ud800":1}"#, .loneSurrogate),
        ("{\"model\":\"" + String(repeating: "a", count: 257) + "\"}", .modelTooLong),
        ("\u{FEFF}{}", .byteOrderMark),
        (String(repeating: "[", count: 65), .tooDeep),
        (String(repeating: "{\"a\":", count: 65), .tooDeep),
    ]

    @Test(arguments: refused)
    func `what is refused`(row: (json: String, refusal: BodyRefusal)) {
        #expect(peek(row.json).refusal == row.refusal, "\(row.json.prefix(60))")
    }

    @Test(arguments: refused)
    func `any cut refuses the same`(row: (json: String, refusal: BodyRefusal)) {
        let bytes = Array(row.json.utf8)
        for cut in 0...bytes.count { #expect(peek(bytes, cuts: [cut]).refusal == row.refusal) }
        #expect(peek(bytes, cuts: Array(0...bytes.count)).refusal == row.refusal)
    }

    static let notUTF8: [[UInt8]] = [
        [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3, 0x28], [0xE0, 0x9F, 0xBF],
        [0xE0, 0x80, 0x80],
        [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xE4, 0xB8, 0x28], [0xE4, 0x28, 0xAD],
        [0xF0, 0x8F, 0xBF, 0xBF],
        [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xFE], [0xF0, 0x9F, 0x98],
        [0xE4, 0xB8], [0xC3],
    ]

    @Test(arguments: notUTF8)
    func `bytes that are no UTF-8 are refused in every string`(bad: [UInt8]) {
        for (before, after) in [
            (#"{"model":""#, #""}"#), (#"{""#, #"":1}"#), (#"{"a":""#, #""}"#),
            (#"{"a":{""#, #"":1}}"#),
            (#"["中"#, #"中中中"]"#), (#"["ééé"#, #"ééééé"]"#), (#"["é"#, #"中中中"]"#),
            (#"["0123456789abcdefé中😀"#, #"0123456789abcdef"]"#),
        ] {
            let bytes = Array(before.utf8) + bad + Array(after.utf8)
            for cut in 0...bytes.count {
                #expect(peek(bytes, cuts: [cut]).refusal == .notUTF8, "\(before)")
            }
        }
    }

    @Test func `UTF-16 is refused`() {
        #expect(peek([0xFF, 0xFE, 0x7B, 0x00]).refusal == .byteOrderMark)
        #expect(peek([0xFE, 0xFF, 0x00, 0x7B]).refusal == .byteOrderMark)
        #expect(peek([0x7B, 0x00, 0x7D, 0x00]).refusal == .byteOrderMark)
        #expect(peek([0x00, 0x7B, 0x00, 0x7D], cuts: [1, 2]).refusal == .byteOrderMark)
    }

    @Test func `every scalar of Unicode passes`() {
        for raw in UInt32(0x20)...0x10FFFF {
            guard let scalar = Unicode.Scalar(raw), raw != 0x22, raw != 0x5C else { continue }
            if raw > 0x3000 && raw % 7 != 0 { continue }
            let character = Array(String(Character(scalar)).utf8)
            let bytes = Array(#"["aaaaaaaa"#.utf8) + character + Array(#"bbbbbbbb"]"#.utf8)
            if peek(bytes).refusal != nil || peek(bytes, cuts: [11]).refusal != nil {
                Issue.record("U+\(String(raw, radix: 16)) is refused")
                return
            }
        }
    }

    @Test func `64 levels and 1,000 members are read`() {
        let deep = String(repeating: "[", count: 63) + String(repeating: "]", count: 63)
        #expect(peek(#"{"a":"# + deep + #","model":"m"}"#).model == "m")
        #expect(peek(#"{"a":["# + deep + #"],"model":"m"}"#).refusal == .tooDeep)
        let members = (0..<999).map { "\"k\($0)\":{\"a\":1,\"b\":2}" }.joined(separator: ",")
        #expect(peek("{\(members),\"model\":\"m\"}").model == "m")
        #expect(peek("{\(members),\"x\":1,\"model\":\"m\"}").refusal == .tooManyKeys)
    }

    @Test(arguments: [
        (#"{"name":"a"}"#, "a", 8..<11), (#"{"name":"a","model":"b"}"#, "b", 20..<23),
        (#"{"model":"b","name":"a"}"#, "b", 9..<12), (#"{"model":"","name":"a"}"#, "a", 19..<22),
        (#"{"name":"a","model":""}"#, "a", 8..<11), (#"{"model":"b","name":""}"#, "b", 9..<12),
        (#"{"model":"b","name":7}"#, "b", 9..<12),
    ])
    func `the alias counts as long as model says nothing`(
        row: (json: String, model: String, range: Range<Int>)
    ) {
        let bytes = Array(row.json.utf8)
        for cut in 0...bytes.count {
            let reading = peek(bytes, cuts: [cut], acceptsName: true)
            #expect(reading.model == row.model)
            #expect(reading.modelRange == row.range)
        }
    }

    @Test func `the alias is refused where it is doubtful`() {
        #expect(peek(#"{"name":"a","name":"a"}"#, acceptsName: true).refusal == .duplicateModel)
        #expect(peek(#"{"Name":"a"}"#, acceptsName: true).refusal == .modelSpelling)
        #expect(peek(#"{"name":1}"#, acceptsName: true).refusal == .modelNotString)
        #expect(peek(#"{"name":"","model":""}"#, acceptsName: true) == peek("{}"))
        #expect(peek(#"{"name":1,"name":2}"#).refusal == nil)
    }

    /// Members of an object in an array, which are passed over in one go where they are plain texts.
    static let members: [(String, BodyRefusal?)] = [
        (#"{}"#, nil), (#"{"role":"user","content":"hi"}"#, nil),
        (#"{"role": "user", "content": "hi"}"#, nil), (#"{"a" : "b" , "c" : "d" }"#, nil),
        (#"{"a":  "b",  "c":"d"}"#, nil), ("{\"a\":\n\"b\",\t\"c\":\"d\"\r}", nil),
        (#"{"a":"b","c":1,"d":"e"}"#, nil), (#"{"a":"b","c":["d",{"e":"f"}],"g":"h"}"#, nil),
        (#"{"a":"x\ny","b":"\u00e9","c\n":"d","e":"f"}"#, nil), (#"{"a":"é","中":"😀","b":""}"#, nil),
        (#"{"":"","":""}"#, nil), (#"{"a":"\\","b":"\""}"#, nil),
        (#"{"a":"b",}"#, .notJSON), (#"{"a":"b", }"#, .notJSON), (#"{"a":"b",,"c":"d"}"#, .notJSON),
        (#"{"a":"b","c"}"#, .notJSON), (#"{"a":"b","c":}"#, .notJSON),
        (#"{"a":"b":"c"}"#, .notJSON),
        (#"{"a","b"}"#, .notJSON), (#"{"a":"b" "c":"d"}"#, .notJSON),
        (#"{"a":"b""c":"d"}"#, .notJSON),
        (#"{"a":"b","c":"d"]"#, .notJSON), (#"{"a":"b",{"c":"d"}}"#, .notJSON),
        (#"{"a":"b","c":"\x"}"#, .notJSON), ("{\"a\":\"b\",\"c\":\"\u{1}\"}", .notJSON),
        ("{\"a\":\u{1}\"b\"}", .notJSON), ("{\"a\":\"b\",\u{A0}\"c\":\"d\"}", .notJSON),
    ]

    @Test(arguments: members)
    func `members that nobody looks at are judged as any, wherever they are cut`(
        row: (json: String, refusal: BodyRefusal?)
    ) {
        let whole = Array((#"{"messages":["# + row.json + #",{"x":"y"}],"model":"m"}"#).utf8)
        for cut in 0...whole.count {
            let reading = peek(whole, cuts: [cut])
            #expect(reading.refusal == row.refusal, "\(row.json), \(cut)")
            if row.refusal == nil { #expect(reading.model == "m", "\(row.json), \(cut)") }
        }
    }

    @Test func `neighbours of the model are read`() {
        let json = #"""
            {"system":"be brief","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":5,
             "max_completion_tokens":70,"max_output_tokens":6.9,"keep_alive":"5m","options":{"num_ctx":4096,"x":{"num_ctx":1}},
             "model":"m"}
            """#
        let bytes = Array(json.utf8)
        for cut in 0...bytes.count {
            let reading = peek(bytes, cuts: [cut])
            #expect(reading.model == "m")
            #expect(reading.stream == true)
            #expect(reading.hasKeepAlive)
            #expect(reading.hasPrompt)
            #expect(reading.maxTokens == 70)
            #expect(reading.contextLength == 4096)
            let found = reading.prompts.map { String(decoding: bytes[$0], as: UTF8.self) }
            #expect(found == [#""be brief""#, #"[{"role":"user","content":"hi"}]"#])
            #expect(
                reading.modelRange.map { String(decoding: bytes[$0], as: UTF8.self) } == #""m""#)
        }
    }

    @Test(
        arguments: [
            (#"{"stream":true}"#, true), (#"{"stream":false}"#, false), (#"{"stream":null}"#, nil),
            (#"{}"#, nil),
            (#"{"stream":"true"}"#, nil), (#"{"stream":true,"stream":false}"#, false),
            (#"{"stream":true,"stream":1}"#, nil),
            (#"{"stream":[true]}"#, nil), (#"{"a":{"stream":true}}"#, nil),
        ] as [(String, Bool?)])
    func `stream is what the last one says`(row: (json: String, stream: Bool?)) {
        #expect(peek(row.json).stream == row.stream)
    }

    @Test(
        arguments: [
            (#"{"max_tokens":0}"#, 0), (#"{"max_tokens":12}"#, 12), (#"{"max_tokens":-12}"#, nil),
            (#"{"max_tokens":1e3}"#, nil),
            (#"{"max_tokens":"12"}"#, nil), (#"{"max_tokens":[12]}"#, nil),
            (#"{"max_tokens":99999999999999999999999}"#, .max),
            (#"{"max_tokens":18446744073709551615}"#, .max),
            (#"{"max_tokens":null,"max_output_tokens":7}"#, 7),
        ] as [(String, UInt64?)])
    func `numbers of tokens are whole`(row: (json: String, count: UInt64?)) {
        #expect(peek(row.json).maxTokens == row.count)
    }

    @Test(arguments: [
        (#"{"messages":[]}"#, true), (#"{"messages":[ ]}"#, true), (#"{"prompt":""}"#, true),
        (#"{}"#, true),
        (#"{"prompt":null}"#, true), (#"{"system":"x"}"#, true), (#"{"messages":[{}]}"#, false),
        (#"{"prompt":"x"}"#, false), (#"{"input":["a"]}"#, false), (#"{"input":[[1,2]]}"#, false),
        (#"{"contents":[{"parts":[]}]}"#, false), (#"{"prompt":"","messages":[1]}"#, false),
        (#"{"prompt":"\n"}"#, false),
    ])
    func `an empty prompt asks nothing`(row: (json: String, isEmpty: Bool)) {
        #expect(peek(row.json).hasPrompt != row.isEmpty)
    }

    @Test func `four prompts are kept`() {
        let json = #"{"prompt":"a","system":"b","input":"c","messages":"d","contents":"e"}"#
        #expect(peek(json).prompts.count == 4)
    }

    @Test func `a refusal stays`() {
        var peek = BodyPeek()
        #expect(throws: BodyRefusal.notJSON) { try peek.scan([0x78].span) }
        #expect(throws: BodyRefusal.notJSON) { try peek.scan(Array("{}".utf8).span) }
        #expect(throws: BodyRefusal.notJSON) { try peek.finish() }
    }

    @Test func `every refusal has a sentence of its own`() {
        var sentences: Set<String> = []
        for refusal in BodyRefusal.allCases {
            sentences.insert("\(refusal.sentence)")
            #expect([400, 413, 415].contains(refusal.status))
        }
        #expect(sentences.count == BodyRefusal.allCases.count)
    }

    // MARK: - Properties

    @Test(arguments: 0..<400)
    func `random documents read as Foundation reads them, whatever the cuts`(seed: UInt64) {
        var random = Seeded(seed)
        for _ in 0..<10 {
            var maker = RandomJSON(random: random)
            var bytes = maker.document()
            random = maker.random
            if Bool.random(using: &random) { maker.damage(&bytes, &random) }
            let whole = peek(bytes)
            check(bytes, whole)
            for _ in 0..<6 {
                let cuts = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                    Int.random(in: 0...bytes.count, using: &random)
                }
                #expect(peek(bytes, cuts: cuts.sorted()) == whole)
            }
            #expect(peek(bytes, cuts: Array(0...bytes.count)) == whole)
        }
    }

    @Test(arguments: 0..<40)
    func `texts full of escapes read the same at once and byte by byte`(seed: UInt64) {
        var random = Seeded(seed)
        let parts = [
            #"\\"#, #"\""#, #"\n"#, #"\/"#, #"\t"#, #"\r"#, #"\b"#, #"\u00e9"#, "é", "words", " ",
            "\\",
            "\u{1}", #"\x"#, #"""#,
        ]
        var accepted = 0
        for round in 0..<60 {
            // The last four end a text, or are refused.
            let most = round % 4 == 0 ? parts.count : parts.count - 4
            var text = ""
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                text += parts[Int.random(in: 0..<most, using: &random)]
                if round % 3 == 0 { text += "and what follows it" }
            }
            let bytes = Array(
                #"{"messages":[{"role":"user","content":"\#(text)"}],"model":"a"}"#.utf8)
            let whole = peek(bytes)
            check(bytes, whole)
            #expect(peek(bytes, cuts: Array(0...bytes.count)) == whole)
            if whole.refusal == nil { accepted += 1 }
        }
        #expect(accepted >= 45)
    }

    /// Compares with Foundation: what is accepted has the same model there, what is refused for its
    /// grammar is refused there.
    private func check(_ bytes: [UInt8], _ reading: Reading) {
        let shown = String(decoding: bytes, as: UTF8.self)
        let object = try? JSONSerialization.jsonObject(
            with: Data(bytes), options: .fragmentsAllowed)
        switch reading.refusal {
        case nil:
            #expect(object != nil, "\(shown)")
            let theirs = (object as? [String: Any])?["model"] as? String
            #expect(
                theirs.map { Array($0.utf8) } == reading.model.map { Array($0.utf8) }, "\(shown)")
        case .notJSON, .truncated, .trailingBytes, .notUTF8:
            // Foundation takes a comma behind the last value, and guesses encodings from zeros.
            if shown.contains(/,\s*[\]}]/) || bytes.contains(0) { return }
            #expect(object == nil, "\(shown)")
        default: break
        }
    }
}

/// Makes documents that have all that JSON has, often with `model` in odd places.
private struct RandomJSON {
    var random: Seeded

    mutating func document() -> [UInt8] {
        Array((space() + (chance(8) ? value(0) : object(0)) + space()).utf8)
    }

    /// Changes, removes or adds a few bytes.
    func damage(_ bytes: inout [UInt8], _ random: inout Seeded) {
        for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &random)
            let interesting: [UInt8] = [
                0x22, 0x5C, 0x2C, 0x3A, 0x7B, 0x7D, 0x5B, 0x5D, 0x00, 0x80, 0xE2, 0x30, 0x2E, 0x65,
            ]
            switch UInt8.random(in: 0..<3, using: &random) {
            case 0: bytes[at] = interesting[Int.random(in: 0..<interesting.count, using: &random)]
            case 1: bytes.remove(at: at)
            default: bytes.insert(bytes[at], at: at)
            }
        }
    }

    private mutating func chance(_ one: Int) -> Bool {
        Int.random(in: 0..<one, using: &random) == 0
    }

    private mutating func pick(_ texts: [String]) -> String {
        texts[Int.random(in: 0..<texts.count, using: &random)]
    }

    private mutating func space() -> String { chance(3) ? pick([" ", "\n", "\t\r", "   "]) : "" }

    private mutating func string() -> String {
        var text = "\""
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            text += pick([
                "a", "model", "0123456789abcdef0123456789abcdef", " ", "é", "中", "😀", #"\n"#,
                #"\""#, #"\\"#,
                #"\u0041"#, #"\ud83d\ude00"#, #"\u00e9"#, #"\/"#, "{", "]", ":", ",",
            ])
        }
        return text + "\""
    }

    private mutating func value(_ depth: Int) -> String {
        switch Int.random(in: 0..<(depth > 4 ? 4 : 6), using: &random) {
        case 0: string()
        case 1: pick(["0", "-1", "1.5", "12e3", "-0.5E-2", "123456789"])
        case 2: pick(["true", "false", "null"])
        case 3: string()
        case 4: object(depth + 1)
        default: array(depth + 1)
        }
    }

    private mutating func object(_ depth: Int) -> String {
        var members: [String] = []
        for index in 0..<Int.random(in: 0...5, using: &random) {
            let key =
                chance(4) && (depth > 0 || !members.contains { $0.contains("model") })
                ? pick([#""model""#, #""mod\u0065l""#]) : "\"k\(index)" + string().dropFirst()
            members.append(
                space() + key + space() + ":" + space() + (chance(2) ? string() : value(depth))
                    + space())
        }
        return "{" + members.joined(separator: ",") + space() + "}"
    }

    private mutating func array(_ depth: Int) -> String {
        let values = (0..<Int.random(in: 0...4, using: &random)).map { _ in
            space() + value(depth) + space()
        }
        return "[" + values.joined(separator: ",") + space() + "]"
    }
}
