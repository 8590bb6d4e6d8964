import BasicContainers
import HTTP

/// Reading of query parameters as forms write them: `name=value` joined by `&`, with `%XX` for any
/// byte and `+` for a space.
enum QueryParam {
    /// The name and value of one parameter, as ranges of the query's bytes.
    struct Part {
        var name: Range<Int>
        var value: Range<Int>
    }

    /// The next parameter from `at` on, without a value when it has no `=`; nil at the end.
    static func next(_ bytes: Span<UInt8>, _ at: inout Int, to end: Int) -> Part? {
        while at < end {
            let stop = ByteScan.first(UInt8(ascii: "&"), bytes, from: at, to: end)
            let start = at
            at = stop + 1
            if start == stop { continue }
            let equals = ByteScan.first(UInt8(ascii: "="), bytes, from: start, to: stop)
            return Part(name: start..<equals, value: min(equals + 1, stop)..<stop)
        }
        return nil
    }

    /// The byte at `at`, decoded, which moves `at` behind it; a broken escape stands for itself.
    @inline(__always)
    static func decoded(_ bytes: Span<UInt8>, _ at: inout Int, to end: Int) -> UInt8 {
        let byte = bytes[at]
        at += 1
        if byte == UInt8(ascii: "+") { return UInt8(ascii: " ") }
        if byte != UInt8(ascii: "%") || at + 2 > end { return byte }
        guard let high = hexDigit(bytes[at]), let low = hexDigit(bytes[at + 1]) else { return byte }
        at += 2
        return high << 4 | low
    }

    /// Whether the decoded bytes of `range` are those of `text`.
    static func equals(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ text: Span<UInt8>, _ textRange: ArenaRange
    ) -> Bool {
        if range.count < textRange.count { return false }
        var at = range.lowerBound
        var wanted = textRange.offset
        while at < range.upperBound {
            if wanted == textRange.end { return false }
            if decoded(bytes, &at, to: range.upperBound) != text[wanted] { return false }
            wanted += 1
        }
        return wanted == textRange.end
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}

extension Table {
    /// Whether the first parameter of the condition's name has the wanted value.
    func queryMatches(_ condition: ConditionRow, _ head: borrowing RequestHead) -> Bool {
        let query = head.query.range
        var at = query.lowerBound
        while let part = QueryParam.next(head.bytes, &at, to: query.upperBound) {
            if !QueryParam.equals(head.bytes, part.name, arena.span, condition.name) { continue }
            if condition.pattern < 0 {
                return QueryParam.equals(head.bytes, part.value, arena.span, condition.value)
            }
            return queryMatchesPattern(condition, head.bytes, part.value)
        }
        return false
    }

    /// Whether the decoded value matches the pattern.
    private func queryMatchesPattern(
        _ condition: ConditionRow, _ bytes: Span<UInt8>, _ value: Range<Int>
    ) -> Bool {
        let span = bytes.extracting(value)
        let isPlain =
            ByteScan.first(UInt8(ascii: "%"), span, from: 0, to: span.count) == span.count
            && ByteScan.first(UInt8(ascii: "+"), span, from: 0, to: span.count) == span.count
        if isPlain { return matches(condition.pattern, span) }
        // Rare enough to allocate: an escaped parameter with a pattern on it.
        var plain = RigidArray<UInt8>(capacity: span.count)
        var at = 0
        while at < span.count { plain.append(QueryParam.decoded(span, &at, to: span.count)) }
        return matches(condition.pattern, plain.span)
    }
}
