/// A duration as the API writes it (GEP-2257): one to four numbers with `h`, `m`, `s` or `ms`.
public struct GatewayDuration: Hashable, Sendable, Comparable {
    public let milliseconds: UInt64

    public init(milliseconds: UInt64) {
        self.milliseconds = milliseconds
    }

    /// Reads `1h30m`, `500ms` or `0s`; nil when the text has another form.
    public init?(_ text: String) {
        var total: UInt64 = 0
        var parts = 0
        var number: UInt64 = 0
        var digits = 0
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if (0x30...0x39).contains(byte) {
                number = number * 10 + UInt64(byte - 0x30)
                digits += 1
                index += 1
                guard digits <= 5 else { return nil }
                continue
            }
            guard digits > 0 else { return nil }
            let isMilli =
                byte == UInt8(ascii: "m") && index + 1 < bytes.count
                && bytes[index + 1] == UInt8(ascii: "s")
            switch byte {
            case UInt8(ascii: "h"): total += number * 3_600_000
            case UInt8(ascii: "s"): total += number * 1_000
            case UInt8(ascii: "m"): total += isMilli ? number : number * 60_000
            default: return nil
            }
            index += isMilli ? 2 : 1
            parts += 1
            number = 0
            digits = 0
        }
        guard (1...4).contains(parts), digits == 0 else { return nil }
        milliseconds = total
    }

    /// The value for tables, with longer ones cut to about 49 days.
    public var clampedMilliseconds: UInt32 { UInt32(clamping: milliseconds) }

    public static func < (a: GatewayDuration, b: GatewayDuration) -> Bool {
        a.milliseconds < b.milliseconds
    }

    /// The shortest writing of a number of milliseconds: `90000` is `1m30s`.
    public static func text(milliseconds: UInt64) -> String {
        if milliseconds == 0 { return "0s" }
        var rest = milliseconds
        var text = ""
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let size = UInt64(size)
            if rest >= size {
                text += "\(rest / size)\(unit)"
                rest %= size
            }
        }
        return text
    }
}
