// Proves where a file of several documents is cut.
import Testing

@testable import Control

@Suite struct DocumentPartTests {
    @Test(arguments: [
        ("a: 1\n", ["1:a: 1\n"]),
        ("a: 1\n---\nb: 2\n", ["1:a: 1\n", "2:---\nb: 2\n"]),
        ("---\na: 1\n--- # c\nb: 2", ["1:---\na: 1\n", "3:--- # c\nb: 2"]),
        ("# c\n\n%YAML 1.2\n---\na: 1\n", ["1:# c\n\n%YAML 1.2\n---\na: 1\n"]),
        ("a: |\n  ---\n  x\n----\n", ["1:a: |\n  ---\n  x\n----\n"]),
        ("a: 1\r\n---\r\nb: 2\r\n", ["1:a: 1\r\n", "2:---\r\nb: 2\r\n"]),
        ("---\n---\n---", ["1:---\n", "2:---\n", "3:---"]),
        ("", []),
    ])
    func `a file is cut at its marker lines`(_ text: String, _ expected: [String]) {
        let parts = DocumentPart.parts(of: Array(text.utf8)[...])
        #expect(
            parts.map { "\($0.firstLine):" + String(decoding: $0.bytes, as: UTF8.self) } == expected
        )
    }

    @Test func `JSON inside YAML is read as JSON, and braces that are YAML as YAML`() throws {
        let text = "---\n {\"a\": \"\\ud83d\\ude00\"}\n--- {a: 1}\n---\n{\n  # c\n  b: 1}\n"
        let parts = DocumentPart.parts(of: Array(text.utf8)[...])
        let documents = try parts.flatMap { try $0.documents() }
        #expect(documents[0]["a"]?.text == "😀")
        #expect(documents[0].member("a")?.keyMark == TextMark(line: 2, column: 3))
        #expect(documents[1]["a"]?.text == "1")
        #expect(documents[2].member("b")?.keyMark == TextMark(line: 7, column: 3))
    }
}
