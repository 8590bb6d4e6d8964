/// Durations as Go writes them: `5m`, `1h30m`, `1.5s`, `-1s`, `0`.
public enum GoDuration {
    /// Nanoseconds of at most 200 years; nil when the text is no duration.
    public static func nanoseconds(_ text: String) -> Int64? {
        var rest = text[...]
        var sign = 1.0
        if let first = rest.first, first == "-" || first == "+" {
            if first == "-" { sign = -1 }
            rest = rest.dropFirst()
        }
        if rest == "0" { return 0 }
        if rest.isEmpty { return nil }
        var total = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && $0.isNumber || $0 == "." }
            guard let value = Double(number) else { return nil }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let scale = scales.first(where: { $0.name == unit })?.scale else { return nil }
            total += value * scale
        }
        return Int64(sign * min(total, 6.3e18))
    }

    private static let scales: [(name: String, scale: Double)] = [
        ("ns", 1), ("us", 1e3), ("\u{B5}s", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10),
        ("h", 3.6e12),
    ]
}
