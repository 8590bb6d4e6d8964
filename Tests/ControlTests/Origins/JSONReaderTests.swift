// Proves that JSON is read to the letter (RFC 8259), with the place of every mistake.
import Foundation
import Testing

@testable import Control

@Suite struct JSONReaderTests {
    private func read(_ text: String) throws(SyntaxFailure) -> [DocumentNode] {
        var reader = JSONReader(Array(text.utf8))
        return try reader.documents()
    }

    @Test func `values keep their type and place`() throws {
        let text = "{\"a\": [1, -2.5e3, true, null, \"1\"],\r\n\t\"é\": {\"b\": {}}}"
        let root = try #require(try read(text).first)
        guard case .sequence(let items)? = root["a"]?.content else { return #expect(Bool(false)) }
        let types = items.map { item -> Scalar.ScalarType? in
            guard case .scalar(let scalar) = item.content else { return nil }
            return scalar.type
        }
        #expect(types == [.integer, .float, .bool, .null, .text])
        #expect(items[1].mark == TextMark(line: 1, column: 11))
        #expect(root.member("é")?.keyMark == TextMark(line: 2, column: 2))
        #expect(root["é"]?["b"]?.mark == TextMark(line: 2, column: 13))
    }

    @Test func `escapes are read, surrogate pairs too`() throws {
        let root = try #require(try read(#"["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"]"#).first)
        guard case .sequence(let items) = root.content else { return #expect(Bool(false)) }
        #expect(items[0].text == "\"\\/\u{8}\u{C}\n\r\té😀é")
    }

    @Test(arguments: [
        ("{\"a\": 1 \"b\": 2}", "1:9 not JSON: a \",\" or \"}\" is expected here"),
        ("[1 2]", "1:4 not JSON: a \",\" or \"]\" is expected here"),
        ("[1, ]", "1:5 not JSON: a value is expected here"),
        ("{\"a\": 1, }", "1:10 not JSON: a field's name in quotes is expected here"),
        ("{a: 1}", "1:2 not JSON: a field's name in quotes is expected here"),
        ("{\"a\" 1}", "1:6 not JSON: a \":\" is expected after a field's name"),
        ("[tru]", "1:2 not JSON: a value is expected here"),
        ("[True]", "1:2 not JSON: a value is expected here"),
        ("[0x10]", "1:2 not JSON: a value is expected here"),
        ("[\"a", "1:4 not JSON: the text ends inside quotes"),
        (
            "[\"a\n\"]",
            "1:4 not JSON: a line break or control character inside quotes; write it as \\n"
        ),
        ("[\"\\x\"]", "1:3 not JSON: not an escape of JSON; a \"\\\" itself is written \\\\"),
        ("[\"\\u12\"]", "1:5 not JSON: four hexadecimal digits are expected after \\u"),
        ("[\"\\ud83dx\"]", "1:3 not JSON: half of a surrogate pair"),
        ("[\"\\ude00\"]", "1:3 not JSON: half of a surrogate pair"),
        ("[", "1:2 not JSON: the text ends where a value is expected"),
        ("{\"a\": 1,\n \"a\": 2}", "2:2 \"a\" is already given on line 1"),
    ])
    func `a mistake is told with its place`(_ text: String, _ expected: String) {
        let failure = #expect(throws: SyntaxFailure.self) { try self.read(text) }
        #expect(failure.map { "\($0.mark.line):\($0.mark.column) \($0.message)" } == expected)
    }

    @Test func `depth is limited`() throws {
        let open = String(repeating: "[", count: 129)
        let failure = #expect(throws: SyntaxFailure.self) {
            try self.read("[" + open + String(repeating: "]", count: 130))
        }
        #expect(failure?.message == "more than 128 mappings and lists inside each other")
        let fits = String(repeating: "[", count: 129) + String(repeating: "]", count: 129)
        #expect(try read(fits).count == 1)
    }

    @Test func `whatever is cut off is refused, and never stops the program`() throws {
        let text = #"{"a": [1, "\u00e9\n", {"b": null}], "c": "é"}"#
        let bytes = Array(text.utf8)
        for count in 1..<bytes.count {
            var reader = JSONReader(Array(bytes[..<count]))
            #expect(throws: SyntaxFailure.self) { try reader.documents() }
        }
        #expect(try read(text).count == 1)
    }
}
