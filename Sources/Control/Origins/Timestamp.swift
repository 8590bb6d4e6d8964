/// A moment as the API writes it (`2026-05-04T03:02:01Z`, RFC 3339), comparable across offsets.
public struct Timestamp: Hashable, Sendable, Comparable, CustomStringConvertible, Decodable {
    /// Since 1970-01-01T00:00:00Z, leap seconds not counted.
    public let seconds: Int64
    /// 0 to 999,999,999.
    public let nanoseconds: Int32
    /// As written.
    public let description: String

    /// Reads an RFC 3339 date-time; nil when it is none.
    public init?(_ text: String) {
        var reader = DigitReader(bytes: Array(text.utf8))
        guard let year = reader.number(4), reader.skip("-"),
            let month = reader.number(2, in: 1...12), reader.skip("-"),
            let day = reader.number(2, in: 1...31), reader.skip("T") || reader.skip("t"),
            let hour = reader.number(2, in: 0...23), reader.skip(":"),
            let minute = reader.number(2, in: 0...59), reader.skip(":"),
            let second = reader.number(2, in: 0...60)
        else { return nil }
        var nanoseconds = 0
        if reader.skip(".") {
            guard let fraction = reader.fraction() else { return nil }
            nanoseconds = fraction
        }
        guard let offset = reader.offset(), reader.isAtEnd else { return nil }
        let days = Self.days(year: year, month: month, day: day)
        self.seconds = Int64(days * 86_400 + hour * 3_600 + minute * 60 + second - offset)
        self.nanoseconds = Int32(nanoseconds)
        self.description = text
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = Timestamp(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "\"\(text)\" is not a time; write it as 2026-05-04T03:02:01Z")
        }
        self = value
    }

    public static func < (a: Timestamp, b: Timestamp) -> Bool {
        (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
    }

    public static func == (a: Timestamp, b: Timestamp) -> Bool {
        (a.seconds, a.nanoseconds) == (b.seconds, b.nanoseconds)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(seconds)
        hasher.combine(nanoseconds)
    }

    /// Days since 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap
    /// day is the last.
    private static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}

/// Reads the parts of a date-time from the front of its text.
private struct DigitReader {
    let bytes: [UInt8]
    var index = 0

    var isAtEnd: Bool { index == bytes.count }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    mutating func number(_ digits: Int, in range: ClosedRange<Int> = 0...9_999) -> Int? {
        guard index + digits <= bytes.count else { return nil }
        var value = 0
        for byte in bytes[index..<index + digits] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        index += digits
        return range.contains(value) ? value : nil
    }

    /// One or more digits after the point, as nanoseconds; digits beyond the ninth are dropped.
    mutating func fraction() -> Int? {
        var value = 0
        var scale = 100_000_000
        let start = index
        while let digit = number(1) {
            value += digit * scale
            scale /= 10
        }
        return index == start ? nil : value
    }

    /// `Z` or `±hh:mm`, in seconds.
    mutating func offset() -> Int? {
        if skip("Z") || skip("z") { return 0 }
        let sign = skip("+") ? 1 : skip("-") ? -1 : 0
        guard sign != 0, let hours = number(2, in: 0...23), skip(":"),
            let minutes = number(2, in: 0...59)
        else { return nil }
        return sign * (hours * 3_600 + minutes * 60)
    }
}
