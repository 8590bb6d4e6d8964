import BasicContainers
import HTTP

/// Bytes of an answer that is being put together; kept and reused, so it grows only at first.
struct Text: ~Copyable {
    private(set) var bytes = UniqueArray<UInt8>()

    init() {}

    var count: Int { bytes.count }
    var isEmpty: Bool { bytes.count == 0 }

    var span: Span<UInt8> {
        @_lifetime(borrow self)
        get { bytes.span }
    }

    mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    /// Appends a literal.
    mutating func add(_ literal: StaticString) { bytes.append(copying: ByteScan.bytes(literal)) }

    mutating func add(_ span: Span<UInt8>) { bytes.append(copying: span) }

    mutating func add(_ array: [UInt8]) { bytes.append(copying: array.span) }

    mutating func add(text: String) { bytes.append(copying: text.utf8.span) }

    mutating func add(byte: UInt8) { bytes.append(byte) }

    /// Appends one Unicode scalar as UTF-8.
    mutating func add(utf8 scalar: UInt32) {
        func tail(_ shift: UInt32) -> UInt8 {
            UInt8(truncatingIfNeeded: scalar >> shift & 0x3F | 0x80)
        }
        switch scalar {
        case ..<0x80:
            bytes.append(UInt8(truncatingIfNeeded: scalar))
        case ..<0x800:
            bytes.append(UInt8(truncatingIfNeeded: scalar >> 6 | 0xC0))
            bytes.append(tail(0))
        case ..<0x10000:
            bytes.append(UInt8(truncatingIfNeeded: scalar >> 12 | 0xE0))
            bytes.append(tail(6))
            bytes.append(tail(0))
        default:
            bytes.append(UInt8(truncatingIfNeeded: scalar >> 18 | 0xF0))
            bytes.append(tail(12))
            bytes.append(tail(6))
            bytes.append(tail(0))
        }
    }

    mutating func add(decimal value: UInt64) {
        if value >= 10 { add(decimal: value / 10) }
        bytes.append(UInt8(truncatingIfNeeded: value % 10) + 0x30)
    }

    mutating func add(decimal value: Int) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        add(decimal: UInt64(value.magnitude))
    }

    /// Appends a number with at least `width` digits.
    mutating func add(decimal value: UInt64, width: Int) {
        var limit: UInt64 = 10
        for _ in 1..<width {
            if value < limit { bytes.append(0x30) }
            limit *= 10
        }
        add(decimal: value)
    }

    /// Appends a number with up to `places` places behind the point, rounded, without an exponent.
    mutating func add(fixed value: Double, places: Int) {
        var scale: UInt64 = 1
        for _ in 0..<places { scale *= 10 }
        // What does not fit 64 bits when scaled is not worth an algorithm here.
        guard value.isFinite, value.magnitude < 9e18 / Double(scale) else { return add("0") }
        let scaled = UInt64((value.magnitude * Double(scale)).rounded())
        if value < 0, scaled != 0 { bytes.append(UInt8(ascii: "-")) }
        add(decimal: scaled / scale)
        var rest = scaled % scale
        if rest == 0 { return }
        bytes.append(UInt8(ascii: "."))
        while rest != 0 {
            scale /= 10
            bytes.append(UInt8(truncatingIfNeeded: rest / scale) + 0x30)
            rest %= scale
        }
    }

    mutating func add(hexadecimal value: UInt64, digits: Int) {
        for index in stride(from: digits - 1, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(index * 4)) & 15
            bytes.append(digit < 10 ? digit + 0x30 : digit + 0x57)
        }
    }

    /// Appends the bytes as what stands between the quotes of a JSON string.
    mutating func add(escaped span: Span<UInt8>) {
        var plain = 0
        while true {
            let at = ByteScan.firstOfString(span, from: plain, to: span.count)
            bytes.append(copying: span.extracting(plain..<at))
            if at >= span.count { return }
            plain = at + 1
            let byte = span[at]
            bytes.append(UInt8(ascii: "\\"))
            switch byte {
            case 0x0A: bytes.append(UInt8(ascii: "n"))
            case 0x0D: bytes.append(UInt8(ascii: "r"))
            case 0x09: bytes.append(UInt8(ascii: "t"))
            case 0x20...: bytes.append(byte)
            default:
                add("u00")
                add(hexadecimal: UInt64(byte), digits: 2)
            }
        }
    }

    mutating func add(escaped array: [UInt8]) { add(escaped: array.span) }

    mutating func add(escaped text: String) { add(escaped: text.utf8.span) }

    /// Appends a wall-clock time as RFC 3339 in UTC with nanoseconds.
    mutating func add(timestamp nanoseconds: UInt64) {
        let seconds = nanoseconds / 1_000_000_000
        let date = CivilDate(secondsSince1970: seconds)
        add(decimal: UInt64(date.year), width: 4)
        bytes.append(UInt8(ascii: "-"))
        add(decimal: UInt64(date.month), width: 2)
        bytes.append(UInt8(ascii: "-"))
        add(decimal: UInt64(date.day), width: 2)
        bytes.append(UInt8(ascii: "T"))
        add(decimal: seconds / 3600 % 24, width: 2)
        bytes.append(UInt8(ascii: ":"))
        add(decimal: seconds / 60 % 60, width: 2)
        bytes.append(UInt8(ascii: ":"))
        add(decimal: seconds % 60, width: 2)
        bytes.append(UInt8(ascii: "."))
        add(decimal: nanoseconds % 1_000_000_000, width: 9)
        bytes.append(UInt8(ascii: "Z"))
    }

    /// Appends the bytes in base 64 (RFC 4648 §4).
    mutating func add(base64 span: Span<UInt8>) {
        let alphabet = ByteScan.bytes(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var at = 0
        while at < span.count {
            let left = span.count - at
            let second = left > 1 ? UInt32(span[at + 1]) << 8 : 0
            let third = left > 2 ? UInt32(span[at + 2]) : 0
            let group = UInt32(span[at]) << 16 | second | third
            bytes.append(alphabet[Int(group >> 18)])
            bytes.append(alphabet[Int(group >> 12 & 63)])
            bytes.append(left > 1 ? alphabet[Int(group >> 6 & 63)] : UInt8(ascii: "="))
            bytes.append(left > 2 ? alphabet[Int(group & 63)] : UInt8(ascii: "="))
            at += 3
        }
    }
}

/// Year, month and day of a time in UTC.
struct CivilDate: Equatable {
    let year: Int
    let month: Int
    let day: Int

    /// Counts in eras of 400 years that begin on 1 March, so that the leap day ends a year.
    init(secondsSince1970 seconds: UInt64) {
        let days = Int(seconds / 86_400) + 719_468
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}
