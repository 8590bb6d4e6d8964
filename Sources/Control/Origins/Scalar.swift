/// A single value of a document: its text, and whether quotes make it a text for certain.
struct Scalar: Hashable, Sendable {
    var text: String
    /// Written without quotes, so that its form decides the type (YAML 1.2.2 §10.3.2).
    var isPlain: Bool

    enum ScalarType: UInt8, Sendable {
        case null, bool, integer, float, text
    }

    /// The type by YAML's core schema, whose forms JSON's values have too.
    var type: ScalarType {
        guard isPlain, let first = text.utf8.first else { return isPlain ? .null : .text }
        switch first {
        case UInt8(ascii: "~"), UInt8(ascii: "n"), UInt8(ascii: "N"):
            return ["~", "null", "Null", "NULL"].contains(text) ? .null : .text
        case UInt8(ascii: "t"), UInt8(ascii: "T"), UInt8(ascii: "f"), UInt8(ascii: "F"):
            return bool == nil ? .text : .bool
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "."):
            return numberType
        default:
            return .text
        }
    }

    /// The value of `true` and `false` in the forms of the core schema.
    var bool: Bool? {
        switch text {
        case "true", "True", "TRUE": true
        case "false", "False", "FALSE": false
        default: nil
        }
    }

    /// The value of a boolean field, which also takes the words of YAML 1.1: a cluster's
    /// tools write them, and where only a boolean fits they cannot mean anything else.
    var boolOfAnyVersion: Bool? {
        switch text {
        case "yes", "Yes", "YES", "on", "On", "ON": true
        case "no", "No", "NO", "off", "Off", "OFF": false
        default: bool
        }
    }

    /// The value of an integer in decimal, `0o` or `0x` form; nil when it is none or too large.
    func integer<I: FixedWidthInteger>(_: I.Type) -> I? {
        if text.hasPrefix("0x") { return I(text.dropFirst(2), radix: 16) }
        if text.hasPrefix("0o") { return I(text.dropFirst(2), radix: 8) }
        return I(text)
    }

    /// The value of a number, as near as a `Double` comes.
    var double: Double? {
        switch text {
        case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": .infinity
        case "-.inf", "-.Inf", "-.INF": -.infinity
        case ".nan", ".NaN", ".NAN": .nan
        default: Double(text) ?? integer(Int.self).map(Double.init)
        }
    }

    /// A decimal number that begins with a needless zero, which YAML 1.1 reads as octal.
    var hasLeadingZero: Bool {
        let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
        return digits.count > 1 && digits.allSatisfy(Self.isDigit)
            && digits.first == UInt8(ascii: "0")
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// `integer`, `float` or `text`, for a text that begins as a number may.
    private var numberType: ScalarType {
        if text.hasPrefix("0x") || text.hasPrefix("0o") {
            let radix = text.hasPrefix("0x") ? 16 : 8
            let digits = text.dropFirst(2)
            let fits = !digits.isEmpty && digits.allSatisfy { $0.hexDigitValue ?? 16 < radix }
            return fits ? .integer : .text
        }
        var rest = text.utf8[...]
        if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        if [".inf", ".Inf", ".INF"].contains(String(Substring(rest))) { return .float }
        if [".nan", ".NaN", ".NAN"].contains(text) { return .float }
        let whole = rest.prefix(while: Self.isDigit)
        rest = rest.dropFirst(whole.count)
        if rest.isEmpty { return whole.isEmpty ? .text : .integer }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            let fraction = rest.prefix(while: Self.isDigit)
            rest = rest.dropFirst(fraction.count)
            if whole.isEmpty, fraction.isEmpty { return .text }
        } else if whole.isEmpty {
            return .text
        }
        if rest.isEmpty { return .float }
        guard rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") else {
            return .text
        }
        rest.removeFirst()
        if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        return !rest.isEmpty && rest.allSatisfy(Self.isDigit) ? .float : .text
    }
}
