// Proves tokens, trimming, lists and numbers at their bounds.
import Testing

@testable import HTTP

@Suite struct FieldValueTests {
    @Test func `exactly the bytes of the RFC are token bytes`() {
        let tokens = Set(
            bytes("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        for byte in UInt8.min...UInt8.max {
            #expect(Token.isTokenByte(byte) == tokens.contains(byte), "\(byte)")
        }
    }

    @Test(arguments: [
        Row("nothing", "", ""), Row("spaces", " \t ", ""), Row("both ends", " \ta b\t ", "a b"),
        Row("none", "a", "a"), Row("other controls stay", "\u{B}a", "\u{B}a"),
    ]) func `white space is trimmed at both ends`(_ row: Row<String>) {
        let input = bytes(row.input)
        check(text(FieldValue.trimmed(input.span)) == row.wanted)
    }

    @Test(arguments: [
        Row("one", "a", ["a"]), Row("three", "a, b ,\tc", ["a", "b", "c"]),
        Row("empty ones", ",,a,,b,", ["a", "b"]),
        Row("nothing", "", []), Row("commas", " , ,", []),
    ]) func `a list gives its elements`(_ row: Row<[String]>) {
        let input = bytes(row.input)
        var at = 0
        var found: [String] = []
        while let element = FieldValue.nextElement(input.span, &at, to: input.count) {
            found.append(text(Array(input[element])))
        }
        #expect(found == row.wanted)
    }

    @Test(
        arguments: [
            Row("0", "0", 0), Row("zeros", "000000000000000000000000", 0), Row("7", "7", 7),
            Row("18 digits", "999999999999999999", 999_999_999_999_999_999),
            Row("19 digits", "1000000000000000000", 1_000_000_000_000_000_000),
            Row("2^63 - 1", "9223372036854775807", 9_223_372_036_854_775_807),
            Row("zeros and 2^63 - 1", "000009223372036854775807", 9_223_372_036_854_775_807),
            Row("2^63", "9223372036854775808", nil), Row("10^19", "10000000000000000000", nil),
            Row("2^64", "18446744073709551616", nil), Row("nothing", "", nil),
            Row("a sign", "-1", nil),
            Row("a space", "1 ", nil), Row("a letter", "1a", nil), Row("a slash", "/", nil),
            Row("a colon", ":", nil),
            Row("a late letter", "00000000000000000000a", nil),
        ] as [Row<UInt64?>]) func `a decimal number is exact or nothing`(_ row: Row<UInt64?>)
    {
        let input = bytes(row.input)
        #expect(FieldValue.decimal(input.span) == row.wanted)
    }
}
