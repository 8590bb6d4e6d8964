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
    /// brackets without a zone. Escapes and sub-delimiters never occur in names that can be reached,
    /// and are where two readers of one authority differ.
    public static func parse(_ bytes: Span<UInt8>) -> Parts? {
        if bytes.isEmpty { return nil }
        if bytes[0] == 0x5B { return parseAddress(bytes) }
        var at = 0
        var capitals: UInt8 = 0
        var isLabelEmpty = true
        while at < bytes.count {
            let byte = bytes[at]
            if (byte | 0x20) &- 0x61 < 26 {
                // Bit 5 is clear in capitals only.
                capitals |= ~byte & 0x20
                isLabelEmpty = false
            } else if byte &- 0x30 < 10 || byte == 0x2D || byte == 0x5F {
                isLabelEmpty = false
            } else if byte == 0x2E {
                if isLabelEmpty { return nil }
                isLabelEmpty = true
            } else {
                break
            }
            at &+= 1
        }
        // A host that ends in a dot has an empty last label, which is the root.
        let end = isLabelEmpty ? at &- 1 : at
        if end <= 0 || at > hostBytesMax { return nil }
        return finish(bytes, 0..<end, at, capitals != 0)
    }

    /// Reads an optional port from `at` to the end.
    private static func finish(
        _ bytes: Span<UInt8>, _ host: Range<Int>, _ at: Int, _ hasCapitals: Bool
    ) -> Parts? {
        if at == bytes.count { return Parts(host: host, port: nil, hasCapitals: hasCapitals) }
        if bytes[at] != 0x3A || bytes.count - at > 6 { return nil }
        if at + 1 == bytes.count { return Parts(host: host, port: nil, hasCapitals: hasCapitals) }
        guard let port = FieldValue.decimal(bytes.extracting((at + 1)...)), port <= 65_535 else {
            return nil
        }
        return Parts(
            host: host, port: UInt16(truncatingIfNeeded: port), hasCapitals: hasCapitals)
    }

    /// Reads `[address]` and an optional port.
    private static func parseAddress(_ bytes: Span<UInt8>) -> Parts? {
        let close = ByteScan.first(0x5D, bytes, from: 1, to: bytes.count)
        if close == bytes.count || !isIPv6(bytes.extracting(1..<close)) { return nil }
        var hasCapitals = false
        for i in 1..<close where bytes[i] &- 0x41 < 26 { hasCapitals = true }
        return finish(bytes, 0..<(close + 1), close + 1, hasCapitals)
    }

    /// Whether the bytes are an IPv6 address (RFC 3986 §3.2.2): eight groups, or fewer and one `::`;
    /// the last two may be an IPv4 address.
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
