// Proves what trees YAML text becomes, and that nothing in it can grow without end.
import Testing

@testable import Control

@Suite struct YAMLReaderTests {
    private func read(_ text: String, nodesMax: Int = 1_000) throws(SyntaxFailure) -> [DocumentNode]
    {
        var reader = YAMLReader(firstLine: 10, nodesMax: nodesMax)
        return try reader.documents(of: text)
    }

    @Test func `marks count from the line on which the text begins`() throws {
        let root = try #require(try read("a: é b\nc: [d,\n  e]\n").first)
        #expect(root["a"]?.mark == TextMark(line: 10, column: 4))
        #expect(root.member("c")?.keyMark == TextMark(line: 11, column: 1))
        guard case .sequence(let items)? = root["c"]?.content else { return #expect(Bool(false)) }
        #expect(items[1].mark == TextMark(line: 12, column: 3))
    }

    @Test func `quotes, blocks and tags make text for certain`() throws {
        let root = try #require(
            try read("a: 1\nb: '1'\nc: |\n  1\nd: !!str 1\ne: \"1\"\nf: !!int 1\n").first)
        func isPlain(_ key: String) -> Bool? {
            guard case .scalar(let scalar)? = root[key]?.content else { return nil }
            return scalar.isPlain
        }
        #expect(
            ["a", "b", "c", "d", "e", "f"].map(isPlain) == [true, false, false, false, false, true])
    }

    @Test func `an alias is a copy of what it stands for`() throws {
        let root = try #require(try read("a: &x {k: [1]}\nb: *x\n").first)
        #expect(root["a"]?.digest == root["b"]?.digest)
    }

    @Test func `merge keys add what the mapping does not have`() throws {
        let root = try #require(
            try read("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 0}\n").first)
        #expect(root["c"]?["x"]?.text == "0")
        #expect(root["c"]?["y"]?.text == "1")
        #expect(root["c"]?["z"]?.text == "2")
        #expect(root["c"]?["<<"] == nil)
        let quoted = try #require(try read("{\"<<\": 1}").first)
        #expect(quoted["<<"]?.text == "1")
    }

    @Test func `aliases count each time they are used`() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x]\n"
        for level in 1...8 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 8).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(aliases)]\n"
        }
        let failure = #expect(throws: SyntaxFailure.self) { try self.read(text) }
        #expect(failure?.reason == "TooLarge")
        #expect(failure?.message.hasPrefix("the document has more than 1000 values") == true)
    }

    @Test(arguments: [
        String(repeating: "[", count: 100_000), String(repeating: "{a: ", count: 100_000),
        String(repeating: "- ", count: 5_000),
        String(repeating: "[", count: 200) + String(repeating: "]", count: 200),
    ])
    func `depth is limited`(_ text: String) {
        let failure = #expect(throws: SyntaxFailure.self) { try self.read(text) }
        #expect(failure?.message == "more than 128 mappings and lists inside each other")
    }

    @Test func `depth up to the limit is read`() throws {
        let text = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        #expect(try read(text).count == 1)
    }

    @Test func `several documents, empty ones and comments are read`() throws {
        let documents = try read("# c\n---\na: 1\n...\n---\n---\nb: 2\n")
        #expect(documents.map(\.isNull) == [false, true, false])
        #expect(try read("").isEmpty)
        #expect(try read("# only\n").isEmpty)
    }

    @Test func `a second key is found though it is written in another way`() {
        let failure = #expect(throws: SyntaxFailure.self) {
            try self.read("x:\n  'a': 1\n  # note\n  b:\n    a: 1\n  a: 2\n")
        }
        #expect(failure?.message == "\"a\" is already given on line 11")
        #expect(failure?.mark == TextMark(line: 15, column: 3))
    }
}
