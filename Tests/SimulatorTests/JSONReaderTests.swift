// Proves that the reader takes exactly JSON, and says of anything else what Go's decoder says.

import Foundation
import Testing

@testable import Simulator

/// Reads a text to its end: the tokens as a line, or the fault.
func tokens(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var reader = JSONReader()
    var parts: [String] = []
    do throws(JSONFault) {
        while true {
            let token = try reader.next(bytes.span)
            func decoded(_ range: Range<Int>) -> String {
                var text = Text()
                JSONText.decode(bytes.span, range, into: &text)
                return text.decodedForTests
            }
            switch token {
            case .objectStart: parts.append("{")
            case .objectEnd: parts.append("}")
            case .arrayStart: parts.append("[")
            case .arrayEnd: parts.append("]")
            case .key(let range): parts.append("\(decoded(range)):")
            case .string(let range): parts.append("'\(decoded(range))'")
            case .number(let range): parts.append("\(JSONText.double(bytes.span, range))")
            case .bool(let value): parts.append("\(value)")
            case .null: parts.append("null")
            case .end: return parts.joined(separator: " ")
            }
        }
    } catch {
        return "! " + error.description
    }
}

extension Text {
    var decodedForTests: String {
        var array: [UInt8] = []
        for index in span.indices { array.append(span[index]) }
        return String(decoding: array, as: UTF8.self)
    }
}

@Suite struct JSONReaderTests {
    @Test(arguments: [
        ("{}", "{ }"), ("[]", "[ ]"), (" null ", "null"), ("true", "true"), ("false", "false"),
        ("0", "0.0"), ("-0.5e+2", "-50.0"), ("12345678901234567890", "1.2345678901234567e+19"),
        ("[1,2,[3]]", "[ 1.0 2.0 [ 3.0 ] ]"), ("\"\"", "''"),
        (#"{"a":{"b":[true,null]},"c":"d"}"#, "{ a: { b: [ true null ] } c: 'd' }"),
        (#""\"\\\/\b\f\n\r\t""#, "'\"\\/\u{8}\u{C}\n\r\t'"),
        (#""\u0041\u00e9\u20AC\ud83d\ude00""#, "'A\u{E9}\u{20AC}\u{1F600}'"),
        (#""\ud83d""#, "'\u{FFFD}'"), (#""\ude00x""#, "'\u{FFFD}x'"),
        (#""\ud83dA""#, "'\u{FFFD}A'"), ("\"\u{E9}\u{20AC}\"", "'\u{E9}\u{20AC}'"),
        (#"{"\u006dodel":1}"#, "{ model: 1.0 }"),
    ])
    func `what is JSON is read`(_ text: String, _ expected: String) {
        #expect(tokens(text) == expected)
    }

    @Test(arguments: [
        ("", "unexpected EOF"), ("{", "unexpected EOF"), ("\"a", "unexpected EOF"),
        ("tru", "unexpected EOF"), ("\"\\", "unexpected EOF"), ("[1", "unexpected EOF"),
        ("-", "unexpected EOF"), ("1.", "unexpected EOF"), ("1e", "unexpected EOF"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("{]", "invalid character ']' looking for beginning of object key string"),
        ("{1:2}", "invalid character '1' looking for beginning of object key string"),
        (#"{"a" 1}"#, "invalid character '1' after object key"),
        (#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
        (#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("1 2", "invalid character '2' after top-level value"),
        ("\"\n\"", "invalid character '\\n' in string literal"),
        (#""\x""#, "invalid character 'x' in string escape code"),
        (#""\u12g4""#, "invalid character 'g' in \\u hexadecimal character escape"),
        ("nul!", "invalid character '!' in literal null (expecting 'l')"),
        ("-a", "invalid character 'a' in numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("1.a", "invalid character 'a' after decimal point in numeric literal"),
        ("1ea", "invalid character 'a' in exponent of numeric literal"),
        ("+1", "invalid character '+' looking for beginning of value"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
        (String(repeating: "[", count: 65), "exceeded max depth"),
    ])
    func `what is no JSON is refused in Go's words`(_ text: String, _ expected: String) {
        #expect(tokens(text) == "! " + expected)
    }

    @Test func `every beginning of a text is too short`() {
        let text = #"{"a":[1,-2.5e3,true,"x\u00e9"],"b":{"c":null}}"#
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count {
            let part = String(decoding: bytes[..<count], as: UTF8.self)
            #expect(tokens(part) == "! unexpected EOF")
        }
    }

    @Test func `another reader agrees about ten thousand damaged texts`() {
        var state: UInt64 = 20_261
        func next(_ bound: Int) -> Int {
            state = PromptHash.mix(state, 1)
            return Int(state % UInt64(bound))
        }
        let sample = Array(
            #"{"model":"llama3","n":[-1.5e3,0,12],"s":"a\n\u0041b","t":true,"z":null,"o":{}}"#.utf8)
        let alphabet = Array(#"{}[]:,"\-+.0123eEtrufalsn u"#.utf8)
        for round in 0..<10_000 {
            var bytes = sample
            for _ in 0...next(3) {
                let at = next(bytes.count)
                switch next(3) {
                case 0: bytes[at] = alphabet[next(alphabet.count)]
                case 1: bytes.remove(at: at)
                default: bytes.insert(alphabet[next(alphabet.count)], at: at)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            // The other reader takes commas before an end, and no number beyond a double.
            let dense = text.filter { $0 != " " && $0 != "\n" }
            if dense.contains(",]") || dense.contains(",}") { continue }
            if text.wholeMatch(of: /.*[eE]\+?\d{3}.*/) != nil { continue }
            let isTaken = !tokens(text).hasPrefix("! ")
            let other = try? JSONSerialization.jsonObject(
                with: Data(bytes), options: [.fragmentsAllowed])
            #expect(isTaken == (other != nil), "round \(round): \(text)")
        }
    }
}
