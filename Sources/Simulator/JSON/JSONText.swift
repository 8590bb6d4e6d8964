import HTTP

/// Decoding and comparing of what stands between the quotes of a JSON string.
///
/// All take a range that `JSONReader` has checked.
enum JSONText {
    /// The value of a hexadecimal digit.
    static func hexadecimal(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - 0x30)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - 0x61 + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - 0x41 + 10)
        default: nil
        }
    }

    /// Whether the string, its escapes decoded, is this ASCII text.
    static func equals(_ bytes: Span<UInt8>, _ range: Range<Int>, _ text: StaticString) -> Bool {
        let text = ByteScan.bytes(text)
        var at = range.lowerBound
        var index = 0
        while at < range.upperBound {
            if index == text.count { return false }
            if bytes[at] == UInt8(ascii: "\\") {
                let (scalar, next) = unescape(bytes, at: at)
                if scalar != UInt32(text[index]) { return false }
                at = next
            } else {
                if bytes[at] != text[index] { return false }
                at += 1
            }
            index += 1
        }
        return index == text.count
    }

    /// Appends the decoded string; a lone surrogate becomes U+FFFD, as in Go.
    static func decode(_ bytes: Span<UInt8>, _ range: Range<Int>, into text: inout Text) {
        var plain = range.lowerBound
        while true {
            let at = ByteScan.first(
                UInt8(ascii: "\\"), bytes, from: plain, to: range.upperBound)
            text.add(bytes.extracting(plain..<at))
            if at >= range.upperBound { return }
            let (scalar, next) = unescape(bytes, at: at)
            text.add(utf8: scalar)
            plain = next
        }
    }

    /// The scalar that the escape at `at` stands for, and the offset behind it.
    private static func unescape(_ bytes: Span<UInt8>, at: Int) -> (scalar: UInt32, next: Int) {
        switch bytes[at + 1] {
        case UInt8(ascii: "b"): return (0x08, at + 2)
        case UInt8(ascii: "f"): return (0x0C, at + 2)
        case UInt8(ascii: "n"): return (0x0A, at + 2)
        case UInt8(ascii: "r"): return (0x0D, at + 2)
        case UInt8(ascii: "t"): return (0x09, at + 2)
        case UInt8(ascii: "u"):
            let first = unit(bytes, at: at + 2)
            if first & 0xFC00 == 0xD800, at + 12 <= bytes.count,
                bytes[at + 6] == UInt8(ascii: "\\"), bytes[at + 7] == UInt8(ascii: "u")
            {
                let second = unit(bytes, at: at + 8)
                if second & 0xFC00 == 0xDC00 {
                    return (0x10000 + (first & 0x3FF) << 10 + (second & 0x3FF), at + 12)
                }
            }
            return (first & 0xF800 == 0xD800 ? 0xFFFD : first, at + 6)
        case let other: return (UInt32(other), at + 2)
        }
    }

    /// Four hexadecimal digits; a byte that is none counts as zero.
    private static func unit(_ bytes: Span<UInt8>, at: Int) -> UInt32 {
        var value: UInt32 = 0
        for offset in 0..<4 { value = value << 4 | (hexadecimal(bytes[at + offset]) ?? 0) }
        return value
    }

    /// A checked number as an integer, cut towards zero and to the range of `Int`.
    static func integer(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int {
        let value = double(bytes, range)
        if value >= 9e18 { return Int.max }
        if value <= -9e18 { return Int.min }
        return Int(value)
    }

    /// A checked number as a double.
    static func double(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Double {
        if range.count <= 15 {
            var whole: UInt64 = 0
            var at = range.lowerBound
            while at < range.upperBound, bytes[at] &- 0x30 < 10 {
                whole = whole * 10 + UInt64(bytes[at] - 0x30)
                at += 1
            }
            if at == range.upperBound { return Double(whole) }
        }
        var text = ""
        for at in range { text.unicodeScalars.append(Unicode.Scalar(bytes[at])) }
        return Double(text) ?? 0
    }
}
