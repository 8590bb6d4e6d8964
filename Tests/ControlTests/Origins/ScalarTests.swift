// Proves how the form of an unquoted value decides its type (YAML 1.2.2 §10.3.2).
import Testing

@testable import Control

@Suite struct ScalarTests {
    @Test(
        arguments: [
            ("", .null), ("~", .null), ("null", .null), ("NULL", .null), ("nUll", .text),
            ("nil", .text), ("true", .bool), ("False", .bool), ("tRue", .text), ("yes", .text),
            ("on", .text), ("0", .integer), ("-12", .integer), ("+7", .integer), ("007", .integer),
            ("0x1F", .integer), ("0o17", .integer), ("0x", .text), ("0o8", .text), ("0xfg", .text),
            ("1.0", .float), (".5", .float), ("5.", .float), ("1e3", .float), ("1E-3", .float),
            ("-.inf", .float), (".NaN", .float), (".", .text), ("-", .text), ("+", .text),
            ("1e", .text), ("1.2.3", .text), ("1_000", .text), ("12s", .text),
            ("10.0.0.0/8", .text),
            ("2026-05-04", .text), ("-.nan", .text), ("http", .text), ("--", .text), ("e3", .text),
        ] as [(String, Scalar.ScalarType)])
    func `a plain value has the type of its form`(_ text: String, _ type: Scalar.ScalarType) {
        #expect(Scalar(text: text, isPlain: true).type == type)
        #expect(Scalar(text: text, isPlain: false).type == .text)
    }

    @Test func `integers are read in their three forms, and only when they fit`() {
        func integer(_ text: String) -> UInt16? {
            Scalar(text: text, isPlain: true).integer(UInt16.self)
        }
        #expect(integer("80") == 80)
        #expect(integer("0x50") == 80)
        #expect(integer("0o120") == 80)
        #expect(integer("65536") == nil)
        #expect(integer("-1") == nil)
    }

    @Test func `numbers are read as a Double, infinities too`() {
        #expect(Scalar(text: "1e3", isPlain: true).double == 1_000)
        #expect(Scalar(text: "0x10", isPlain: true).double == 16)
        #expect(Scalar(text: "-.inf", isPlain: true).double == -.infinity)
        #expect(Scalar(text: ".nan", isPlain: true).double?.isNaN == true)
    }

    @Test(arguments: [("080", true), ("-01", true), ("0", false), ("80", false), ("0.5", false)])
    func `a needless zero in front is noticed`(_ text: String, _ expected: Bool) {
        #expect(Scalar(text: text, isPlain: true).hasLeadingZero == expected)
    }

    @Test func `boolean fields take the words of YAML 1.1`() {
        #expect(Scalar(text: "yes", isPlain: true).boolOfAnyVersion == true)
        #expect(Scalar(text: "OFF", isPlain: true).boolOfAnyVersion == false)
        #expect(Scalar(text: "y", isPlain: true).boolOfAnyVersion == nil)
    }
}
