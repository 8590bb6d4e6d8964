// Proves that a field's path leads to its place in the text, or to the nearest place around it.
import Testing

@testable import Control

@Suite struct FieldPositionsTests {
    static let text = """
        spec:
          rules:
          - name: a
            matches: []
          - {name: b, "odd key": 1, 7: seven}
        data:
          tls.crt: x
          "": empty
          "0": zero
        """

    @Test(
        arguments: [
            ("", "1:1"), ("spec", "1:1"), ("spec.rules", "2:3"), ("spec.rules[0]", "3:5"),
            ("spec.rules[0].name", "3:11"), ("spec.rules[0].matches", "4:5"),
            ("spec.rules[0].matches[3].path", "4:5"), ("spec.rules[1].name", "5:12"),
            ("spec.rules[1][odd key]", "5:26"), ("spec.rules[1][7]", "5:32"),
            ("spec.rules[2].name", "2:3"), ("spec.other", "1:1"), ("data[tls.crt]", "7:12"),
            ("data[0]", "9:8"), ("other", nil), ("data[tls.key]", "6:1"),
        ] as [(String, String?)])
    func `a path leads to a place`(_ path: String, _ place: String?) throws {
        var reader = YAMLReader()
        let root = try #require(try reader.documents(of: Self.text).first)
        let positions = FieldPositions(of: root, file: "f")
        #expect(positions[path]?.description == place.map { "f:\($0)" })
    }

    @Test(arguments: [
        ("a", "", "a"), ("a", "b", "b.a"), ("a.b/c", "d", "d[a.b/c]"), ("", "d", "d[]"),
        ("$ref", "d", "d.$ref"),
    ])
    func `keys that are no words stand in brackets`(
        _ key: String, _ path: String, _ expected: String
    ) {
        #expect(FieldPath.appending(key: key, to: path) == expected)
    }

    @Test func `a path is taken apart into the steps that made it`() {
        #expect(
            FieldPath.steps(of: "spec.rules[0].a[b.c/d].e") == [
                "spec", "rules", "0", "a", "b.c/d", "e",
            ])
        #expect(FieldPath.steps(of: "").isEmpty)
        #expect(FieldPath.steps(of: "a[").count == 2)
        #expect(FieldPath.steps(of: "..").count <= 2)
    }
}
