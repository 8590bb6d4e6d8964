// How fast `model` is read out of content, in nanoseconds a byte, beside Foundation's JSONDecoder.
//
// Bodies are chats as clients send them, with `model` first and then, for a whole pass, everything
// behind it. Readers take turns; each row has the median and the least and greatest of its rounds.
import Foundation
import HTTP
import Inference

private struct Request: Decodable {
    var model: String
}

private enum Text: CaseIterable {
    case plain, code, nested, cyrillic, chinese, escaped

    /// A paragraph as it stands inside of a JSON string.
    var paragraph: String {
        switch self {
        case .plain:
            "The committee met on Thursday and, after a long discussion of what the figures for the "
                + "second quarter do and do not say, decided to ask for another set of measurements. "
        case .code:
            #"for (int i = 0; i < count; i++) {\n    if (names[i] == \"model\") {\n        "#
                + #"found = i;\n\t    break;\n    }\n}\n"#
        case .nested:
            // JSON with code in it, as a tool is called.
            #"{\"path\": \"Sources/main.swift\", \"old\": \"let a = \\\"b\\\"\\nreturn a\\n\", "#
                + #"\"new\": \"    return b\\n}\"}"#
        case .cyrillic:
            "Комитет собрался в четверг и после долгого обсуждения решил провести измерения заново. "
        case .chinese: "委员会于周四开会，经过长时间的讨论，决定再进行一次测量，并在下个月公布结果。"
        case .escaped:
            #"\u59d4\u5458\u4f1a\u4e8e\u5468\u56db\u5f00\u4f1a\uff0c\u7ecf\u8fc7\u957f\u65f6\u95f4"#
        }
    }
}

/// A chat of about `count` bytes: messages of about 700 bytes, or one if there is to be one.
private func body(_ count: Int, _ text: Text, messageBytes: Int = 700) -> [UInt8] {
    var json =
        #"{"model":"llama3.1:8b-instruct-q4_K_M","stream":true,"temperature":0.7,"messages":["#
    json += #"{"role":"system","content":"You are a careful assistant."}"#
    var turn = 0
    while json.utf8.count < count - 200 {
        json += #",{"role":""# + (turn % 2 == 0 ? "user" : "assistant") + #"","content":""#
        let end = min(json.utf8.count + messageBytes, count - 100)
        repeat { json += text.paragraph } while json.utf8.count < end
        json += #""}"#
        turn += 1
    }
    json += #"],"max_tokens":512}"#
    return Array(json.utf8)
}

private func peek(_ bytes: [UInt8]) -> Int {
    var peek = BodyPeek()
    do throws(BodyRefusal) {
        try peek.scan(bytes.span)
        try peek.finish()
    } catch { fatalError("refused: \(error)") }
    return peek.facts.model?.count ?? 0
}

private func decode(_ data: Data, _ decoder: JSONDecoder) -> Int {
    guard let request = try? decoder.decode(Request.self, from: data) else {
        fatalError("not decoded")
    }
    return request.model.utf8.count
}

/// Nanoseconds that `repeats` calls take.
private func time(_ repeats: Int, _ work: () -> Int) -> Double {
    let clock = ContinuousClock()
    var sum = 0
    let took = clock.measure { for _ in 0..<repeats { sum &+= work() } }
    if sum == 0 { fatalError("nothing was read") }
    return Double(took.components.attoseconds) / 1e9 + Double(took.components.seconds) * 1e9
}

private struct Spread {
    var rounds: [Double] = []
    var text: String {
        let sorted = rounds.sorted()
        return String(
            format: "%.3f (%.3f–%.3f)", sorted[sorted.count / 2], sorted[0],
            sorted[sorted.count - 1])
    }
}

@main struct Micro {
    static func main() {
        var seconds = 1.0
        let arguments = CommandLine.arguments
        if arguments.count == 3, arguments[1] == "--seconds", let given = Double(arguments[2]) {
            seconds = given
        }
        print("| content | bytes | BodyPeek ns/byte | JSONDecoder ns/byte | times as fast |")
        print("|---|---|---|---|---|")
        for text in Text.allCases {
            for count in text == .plain ? [2_048, 204_800, 10_485_760] : [204_800] {
                row("chat, \(text)", body(count, text), seconds)
            }
        }
        row("chat, plain, short messages", body(204_800, .plain, messageBytes: 100), seconds)
        row("one prompt, plain", body(10_485_760, .plain, messageBytes: 10_485_760), seconds)
    }

    static func row(_ name: String, _ bytes: [UInt8], _ seconds: Double) {
        let data = Data(bytes)
        let decoder = JSONDecoder()
        let rounds = 15
        let target = seconds * 1e9 / Double(rounds)
        let peekOnce = max(1, time(3) { peek(bytes) } / 3)
        let decodeOnce = max(1, time(3) { decode(data, decoder) } / 3)
        var (ours, theirs, ratio) = (Spread(), Spread(), Spread())
        for _ in 0..<rounds {
            let (a, b) = (max(1, Int(target / peekOnce)), max(1, Int(target / decodeOnce)))
            let mine = time(a) { peek(bytes) } / Double(a) / Double(bytes.count)
            let other = time(b) { decode(data, decoder) } / Double(b) / Double(bytes.count)
            ours.rounds.append(mine)
            theirs.rounds.append(other)
            ratio.rounds.append(other / mine)
        }
        print("| \(name) | \(bytes.count) | \(ours.text) | \(theirs.text) | \(ratio.text) |")
    }
}
