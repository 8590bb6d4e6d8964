// Proves that numbers, times and strings are written as JSON and RFC 3339 want them.

import Foundation
import Testing

@testable import Simulator

@Suite struct TextTests {
    @Test(arguments: [
        (0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (0.000_001, "0.000001"), (0.000_000_4, "0"),
        (-0.000_000_1, "0"), (123_456.789, "123456.789"), (2.0 / 3.0, "0.666667"),
        (.infinity, "0"),
    ])
    func `a number with places`(_ value: Double, _ expected: String) {
        var text = Text()
        text.add(fixed: value, places: 6)
        #expect(text.string == expected)
    }

    @Test func `whole numbers`() {
        var text = Text()
        text.add(decimal: 0)
        text.add(decimal: -12)
        text.add(decimal: UInt64.max)
        text.add(decimal: 7, width: 3)
        text.add(decimal: 1_000, width: 3)
        text.add(hexadecimal: 0xBEEF, digits: 6)
        #expect(text.string == "0-12184467440737095516150071000" + "00beef")
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (1_709_164_799_999_999_999, "2024-02-28T23:59:59.999999999Z"),
            (4_107_542_400_000_000_001, "2100-03-01T00:00:00.000000001Z"),
        ] as [(UInt64, String)])
    func `a time`(_ nanoseconds: UInt64, _ expected: String) {
        var text = Text()
        text.add(timestamp: nanoseconds)
        #expect(text.string == expected)
    }

    @Test func `a date of every month agrees with another calendar`() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        for month in 0..<2_400 {
            let seconds = UInt64(month) * 2_629_746
            let date = Date(timeIntervalSince1970: Double(seconds))
            let parts = calendar.dateComponents([.year, .month, .day], from: date)
            let own = CivilDate(secondsSince1970: seconds)
            #expect([own.year, own.month, own.day] == [parts.year, parts.month, parts.day])
        }
    }

    @Test func `what is escaped is read back`() throws {
        let plain = String(String.UnicodeScalarView((0..<0x180).compactMap(Unicode.Scalar.init)))
        var text = Text()
        text.add("{\"a\":\"")
        text.add(escaped: plain)
        text.add("\"}")
        #expect(Answer.json(text.decodedForTests)["a"] as? String == plain)
    }

    @Test func `base 64 of every length agrees`() {
        for count in 0..<20 {
            let bytes = (0..<count).map { UInt8($0 * 37 % 256) }
            var text = Text()
            text.add(base64: bytes.span)
            #expect(text.string == Data(bytes).base64EncodedString())
        }
    }

    @Test(
        arguments: [
            ("5m", 300_000_000_000), ("1h30m", 5_400_000_000_000), ("1.5s", 1_500_000_000),
            ("-1s", -1_000_000_000), ("0", 0), ("250ms", 250_000_000), ("10us", 10_000),
            ("5", nil), ("", nil), ("m", nil), ("1x", nil), ("1..2s", nil), ("-", nil),
        ] as [(String, Int64?)])
    func `a duration as Go writes it`(_ text: String, _ expected: Int64?) {
        #expect(GoDuration.nanoseconds(text) == expected)
    }

    @Test func `the checksum of a sink is the same however it is cut`() {
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var whole = Adler32()
        whole.add(bytes.span)
        var cut = Adler32()
        for start in stride(from: 0, to: bytes.count, by: 777) {
            cut.add(bytes.span.extracting(start..<min(start + 777, bytes.count)))
        }
        #expect(whole == cut)
        var known = Adler32()
        known.add("Wikipedia".utf8.span)
        #expect(known.value == 0x11E6_0398)
    }

    @Test func `an answer says that it is simulated, and one seed gives one text`() {
        let words = Words()
        func text(_ count: Int, _ seed: UInt64) -> String {
            var text = Text()
            words.add(0..<count, seed: seed, to: &text)
            return text.string
        }
        #expect(text(8, 1) == Words.statement)
        #expect(text(40, 1).hasPrefix(text(39, 1)))
        #expect(text(40, 1) == text(40, 1))
        #expect(text(40, 1) != text(40, 2))
    }
}
