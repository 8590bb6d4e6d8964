// Another name takes the place of the one in the content, and nothing else changes.
import BasicContainers
import Foundation
import Testing

@testable import Inference

private func written(_ rewrite: ModelRewrite, capacity: Int = 4_096) -> [UInt8]? {
    var output = RigidArray<UInt8>(capacity: capacity)
    guard output.edit({ rewrite.write(into: &$0) }) else { return nil }
    return (0..<output.count).map { output[$0] }
}

@Suite struct ModelRewriteTests {
    @Test(arguments: [
        ("b", #""b""#), (#"a"b\c/d"#, #""a\"b\\c/d""#), ("é中😀", #""é中😀""#),
        ("a\u{1}\u{1F}\n", #""a\u0001\u001f\u000a""#),
        (String(repeating: "\"", count: 256), "\"" + String(repeating: "\\\"", count: 256) + "\""),
    ])
    func `a name is spliced in as JSON`(row: (name: String, text: String)) throws {
        let content = Array(#"{"a":1, "model" : "old\u002fname" ,"z":[]}"#.utf8)
        let range = try #require(peek(content).modelRange)
        let rewrite = ModelRewrite(range, by: name(row.name), in: .json)
        let bytes = try #require(written(rewrite))
        #expect(String(decoding: bytes, as: UTF8.self) == row.text)
        #expect(rewrite.count == bytes.count)
        let spliced =
            Array(content[..<range.lowerBound]) + bytes + Array(content[range.upperBound...])
        #expect(rewrite.contentLength(from: UInt64(content.count)) == UInt64(spliced.count))
        let object = try JSONSerialization.jsonObject(with: Data(spliced)) as? [String: Any]
        #expect(object?["model"] as? String == row.name)
        #expect(written(rewrite, capacity: bytes.count - 1) == nil)
    }

    @Test func `in a form a name stands as it is`() {
        let rewrite = ModelRewrite(10..<20, by: name(#"a"b"#), in: .form)
        #expect(written(rewrite) == Array(#"a"b"#.utf8))
        #expect(rewrite.contentLength(from: 100) == 93)
        #expect(written(rewrite, capacity: 2) == nil)
    }

    @Test func `a range that is not in the content has no length`() {
        #expect(ModelRewrite(10..<20, by: name("a"), in: .json).contentLength(from: 19) == nil)
        #expect(ModelRewrite(10..<20, by: name("a"), in: .json).contentLength(from: 20) == 13)
    }
}
