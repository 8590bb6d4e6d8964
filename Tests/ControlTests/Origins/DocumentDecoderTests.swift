// Proves how types learn of their values, and what the decoder does for types of all shapes.
import Foundation
import Testing

@testable import Control

@Suite struct DocumentDecoderTests {
    private func decode<T: Decodable>(
        _ type: T.Type, _ text: String
    ) throws -> (value: T?, lines: [String]) {
        var reader = YAMLReader()
        let root = try #require(try reader.documents(of: "spec: \(text)").first)
        let log = DecodingLog()
        let value = DocumentDecoder(log: log).decode(Root<T>.self, from: root)?.spec
        return (value, log.problems.map { "\($0.fieldPath): \($0.message)" })
    }

    private struct Root<T: Decodable>: Decodable {
        var spec: T
    }

    private enum NumberOrName: Decodable, Equatable {
        case number(Int), name(String)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int.self) {
                self = .number(number)
            } else {
                self = .name(try container.decode(String.self))
            }
        }
    }

    @Test func `a type that tries one form after another leaves no problem behind`() throws {
        #expect(try decode([NumberOrName].self, "[1, a]").value == [.number(1), .name("a")])
        #expect(try decode(NumberOrName.self, "a").lines.isEmpty)
        let wrong = try decode([NumberOrName].self, "[1, [2]]")
        #expect(wrong.lines == ["spec[1]: a list stands where text is expected"])
    }

    private struct StringOrObject: Decodable {
        struct Object: Decodable { var name: String }
        var name: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let object = try? container.decode(Object.self) {
                name = object.name
            } else {
                name = try container.decode(String.self)
            }
        }
    }

    @Test func `an attempt that logs problems counts as failed and is undone`() throws {
        #expect(try decode(StringOrObject.self, "{name: a}").value?.name == "a")
        #expect(try decode(StringOrObject.self, "a").value?.name == "a")
        #expect(try decode(StringOrObject.self, "a").lines.isEmpty)
        #expect(
            try decode(StringOrObject.self, "{nam: a}").lines
                == ["spec: fields stand where text is expected"])
    }

    private struct Size: Decodable {
        var bytes: Int
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let bytes = Int(text.dropLast(2)), text.hasSuffix("Gi") else {
                throw DecodingError.dataCorruptedError(
                    in: container, debugDescription: "\"\(text)\" is not a size; write 12Gi")
            }
            self.bytes = bytes << 30
        }
    }

    @Test func `a type's own sentence becomes the problem`() throws {
        #expect(try decode(Size.self, "2Gi").value?.bytes == 2 << 30)
        #expect(
            try decode([Size].self, "[2Mi]").lines == ["spec[0]: \"2Mi\" is not a size; write 12Gi"]
        )
    }

    private struct Window: Decodable {
        enum CodingKeys: CodingKey { case from, to }
        var from: Int
        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            from = try container.decode(Int.self, forKey: .from)
            let to = try container.decode(Int.self, forKey: .to)
            guard from <= to else {
                throw DecodingError.dataCorruptedError(
                    forKey: .to, in: container, debugDescription: "it ends before it begins")
            }
        }
    }

    @Test func `a finding about one field is told at that field`() throws {
        #expect(
            try decode(Window.self, "{from: 2, to: 1}").lines == [
                "spec.to: it ends before it begins"
            ])
    }

    private struct Early: Decodable {
        struct Stop: Error, CustomStringConvertible { var description: String { "no" } }
        enum CodingKeys: CodingKey { case first, second }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            _ = try container.decode(String.self, forKey: .first)
            throw Stop()
        }
    }

    private struct EarlyListed: Decodable {
        enum CodingKeys: CodingKey, CaseIterable { case first, second }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            _ = try container.decode(String.self, forKey: .first)
            throw Early.Stop()
        }
    }

    @Test func `fields are called unknown only when all known ones are known`() throws {
        #expect(try decode(Early.self, "{first: a, second: b, third: c}").lines == ["spec: no"])
        #expect(
            try decode(Early.self, "{frist: a, second: b}").lines
                == ["spec.frist: unknown field; did you mean \"first\"?", "spec: no"])
        #expect(
            try decode(EarlyListed.self, "{first: a, second: b, third: c}").lines
                == ["spec.third: unknown field; known here: first, second", "spec: no"])
    }

    private struct Nested: Decodable {
        enum Keys: CodingKey { case inner, list }
        enum InnerKeys: CodingKey { case a }
        var a: Int
        var sum = 0

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Keys.self)
            let inner = try container.nestedContainer(keyedBy: InnerKeys.self, forKey: .inner)
            a = try inner.decode(Int.self, forKey: .a)
            var list = try container.nestedUnkeyedContainer(forKey: .list)
            while !list.isAtEnd { sum += try list.decode(Int.self) }
        }
    }

    @Test func `nested containers are judged like types of their own`() throws {
        let good = try decode(Nested.self, "{inner: {a: 1}, list: [1, 2]}")
        #expect(good.value?.a == 1)
        #expect(good.value?.sum == 3)
        let bad = try decode(Nested.self, "{inner: {a: 1, b: 2}, list: [1, x]}")
        #expect(bad.lines.contains("spec.list[1]: \"x\" stands where a whole number is expected"))
        #expect(
            try decode(Nested.self, "{list: []}").lines == ["spec.inner: this field is required"])
    }

    private struct Everything: Decodable, Equatable {
        var a: Int8?
        var b: UInt64
        var c: Float
        var d: Double?
        var e: Data
        var f: [String: [Int]]
        var g: [Int?]
        var h: Set<String>
        var i: Bool
    }

    @Test func `values of every kind are read`() throws {
        let result = try decode(
            Everything.self,
            "{a: -1, b: 18446744073709551615, c: 1.5, d: 2, e: \"AQ ==\", f: {x: [1]}, "
                + "g: [1, null], h: [a], i: off}")
        #expect(result.lines.isEmpty)
        let value = try #require(result.value)
        #expect(value.a == -1 && value.b == .max && value.c == 1.5 && value.d == 2)
        #expect(value.e == Data([1]) && value.f == ["x": [1]] && value.g == [1, nil])
        #expect(value.h == ["a"] && !value.i)
    }

    @Test func `one pass finds what is wrong with every field`() throws {
        let result = try decode(
            Everything.self,
            "{a: 300, b: -1, c: x, d: [], e: \"?\", f: {x: [y]}, g: [a], h: [1], i: 1}")
        #expect(
            result.lines == [
                "spec.a: 300 is not within -128 to 127",
                "spec.b: -1 is not within 0 to 18446744073709551615",
                "spec.c: \"x\" stands where a number is expected",
                "spec.d: a list stands where a number is expected",
                "spec.e: the value is not base64; plain text belongs into stringData",
                "spec.f.x[0]: \"y\" stands where a whole number is expected",
                "spec.g[0]: \"a\" stands where a whole number is expected",
                "spec.h[0]: 1 is a number where text is expected; put it in quotes: \"1\"",
                "spec.i: \"1\" stands where true or false is expected",
            ])
    }

    @Test func `every required field that is absent is told`() throws {
        let result = try decode(Everything.self, "{}")
        #expect(
            result.lines
                == ["b", "c", "e", "f", "g", "h", "i"].map { "spec.\($0): this field is required" })
        #expect(
            try decode(Everything.self, "").lines == [
                "spec: nothing stands where fields are expected"
            ])
    }

    @Test(arguments: [
        ("PathMatchType", "a path match type"), ("HTTPMethod", "an HTTP method"),
        ("TLSMode", "a TLS mode"), ("OpenEnum", "an open enum"), ("Kind", "a kind"),
        ("HTTP", "an HTTP"), ("UDPRoute", "a UDP route"),
    ])
    func `a type's name becomes words`(_ name: String, _ words: String) {
        #expect(EnumValues.noun(for: name) == words)
    }

    @Test func `long values are shortened in messages`() {
        #expect(shortened("ab") == "ab")
        #expect(shortened("a\nb") == "a…")
        #expect(shortened(String(repeating: "a", count: 61)).count == 61)
    }

    @Test func `large mappings are read by index`() throws {
        let fields = (0..<2_000).map { "k\($0): v\($0)" }.joined(separator: ", ")
        let result = try decode([String: String].self, "{\(fields)}")
        #expect(result.value?.count == 2_000)
        #expect(result.value?["k1999"] == "v1999")
    }
}
