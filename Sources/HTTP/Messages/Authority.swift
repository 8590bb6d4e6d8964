/// Reading of `host[:port]` (RFC 3986 §3.2, RFC 9110 §4.2).
public enum Authority {
    /// The parts of a valid authority.
    public struct Parts: Equatable, Sendable {
        /// The host without port and without one trailing dot; with brackets for IPv6.
        public var host: Range<Int>
        /// The port; nil when there is none, or an empty one.
        public var port: UInt16?
        /// Whether the host has capital letters.
        public var hasCapitals: Bool
    }

    /// Bytes of the longest host: 253 of a DNS name, a trailing dot, and brackets.
    public static var hostBytesMax: Int { 255 }

    /// The parts of `bytes`; nil when it is not a valid host with an optional port.
    ///
    /// Narrower than RFC 3986: letters, digits, `-`, `_` and single dots, or an IPv6 address in
    /// brackets without a zone. Escapes and sub-delimiters never occur in names that can be
    /// reached, and are where two readers of one authority differ.
    public static func parse(_ bytes: Span<UInt8>) -> Parts? {
        parse(bytes, 0..<bytes.count)
    }

    /// The same for a range of a larger span, whose offsets the parts have too.
    static func parse(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Parts? {
        let start = range.lowerBound
        let last = range.upperBound
        if start == last || bytes[start] == 0x2E { return nil }
        if bytes[start] == 0x5B { return parseAddress(bytes, range) }
        var capitals = false
        let end = ByteScan.plainHostEnd(bytes, from: start, to: last, capitals: &capitals)
        if end == start || end &- start > hostBytesMax { return nil }
        // A dot at the end stands for the root.
        let host = bytes[end &- 1] == 0x2E ? end &- 1 : end
        if end == last {
            return Parts(host: start..<host, port: nil, hasCapitals: capitals)
        }
        return finish(bytes, start..<host, end, last, capitals)
    }

    /// Where the host of the usual authority ends, and its port; nil when `parse` must look at it.
    ///
    /// The usual one has 16 bytes at most, no capitals, no dot at its ends, and no empty port.
    @inline(__always)
    static func parseUsual(
        _ bytes: Span<UInt8>, _ start: Int, count: Int
    ) -> (end: Int, port: UInt16?)? {
        if count > 16 || start < 1 || start &+ 17 > bytes.count { return nil }
        let end = ByteScan.usualHostEnd(bytes, start, count: count)
        if end == start { return nil }
        let portCount = start &+ count &- end
        if portCount == 0 { return (end, nil) }
        if portCount > 6 || portCount < 2 || start &+ count < 8 || bytes[end] != 0x3A {
            return nil
        }
        guard
            let port = ByteScan.shortDecimal(bytes, count: portCount &- 1, to: start &+ count),
            port <= 65_535
        else { return nil }
        return (end, UInt16(truncatingIfNeeded: port))
    }

    /// Reads an optional port from `at` to the end.
    private static func finish(
        _ bytes: Span<UInt8>, _ host: Range<Int>, _ at: Int, _ end: Int, _ hasCapitals: Bool
    ) -> Parts? {
        if at == end { return Parts(host: host, port: nil, hasCapitals: hasCapitals) }
        if bytes[at] != 0x3A || end - at > 6 { return nil }
        if at + 1 == end { return Parts(host: host, port: nil, hasCapitals: hasCapitals) }
        guard let port = FieldValue.decimal(bytes.extracting((at + 1)..<end)), port <= 65_535
        else { return nil }
        return Parts(
            host: host, port: UInt16(truncatingIfNeeded: port), hasCapitals: hasCapitals)
    }

    /// Reads `[address]` and an optional port.
    private static func parseAddress(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Parts? {
        let start = range.lowerBound + 1
        let close = ByteScan.first(0x5D, bytes, from: start, to: range.upperBound)
        if close == range.upperBound || !isIPv6(bytes.extracting(start..<close)) { return nil }
        var hasCapitals = false
        for i in start..<close where bytes[i] &- 0x41 < 26 { hasCapitals = true }
        return finish(
            bytes, range.lowerBound..<(close + 1), close + 1, range.upperBound, hasCapitals)
    }

    /// Whether the bytes are an IPv6 address (RFC 3986 §3.2.2): eight groups, or fewer and one
    /// `::`; the last two may be an IPv4 address.
    static func isIPv6(_ bytes: Span<UInt8>) -> Bool {
        var at = 0
        var groups = 0
        var hasGap = false
        if bytes.count < 2 { return false }
        if bytes[0] == 0x3A {
            if bytes[1] != 0x3A { return false }
            hasGap = true
            at = 2
        }
        while at < bytes.count {
            let start = at
            while at < bytes.count, hexValue(bytes[at]) != nil { at += 1 }
            if at < bytes.count, bytes[at] == 0x2E {
                if !isIPv4(bytes.extracting(start...)) { return false }
                groups += 2
                return hasGap ? groups <= 7 : groups == 8
            }
            if at == start || at - start > 4 { return false }
            groups += 1
            if at == bytes.count { break }
            if bytes[at] != 0x3A { return false }
            at += 1
            if at == bytes.count { return false }
            if bytes[at] == 0x3A {
                if hasGap { return false }
                hasGap = true
                at += 1
            }
        }
        return hasGap ? groups <= 7 : groups == 8
    }

    /// Whether the bytes are four decimal numbers below 256 without leading zeros.
    static func isIPv4(_ bytes: Span<UInt8>) -> Bool {
        var at = 0
        for part in 0..<4 {
            let end = ByteScan.first(0x2E, bytes, from: at, to: bytes.count)
            if end == at || end - at > 3 || (end - at > 1 && bytes[at] == 0x30) { return false }
            guard let value = FieldValue.decimal(bytes.extracting(at..<end)), value < 256 else {
                return false
            }
            if (part == 3) != (end == bytes.count) { return false }
            at = end + 1
        }
        return true
    }

    /// The value of a hexadecimal digit.
    @inlinable @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8? {
        if byte &- 0x30 < 10 { return byte &- 0x30 }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }
}
