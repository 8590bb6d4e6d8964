/// Tokens (RFC 9110 §5.6.2).
public enum Token {
    /// Token bytes below 0x40, as a bit set.
    @usableFromInline static var low: UInt64 { 0x03FF_6CFA_0000_0000 }
    /// Token bytes from 0x40 to 0x7F, as a bit set.
    @usableFromInline static var high: UInt64 { 0x57FF_FFFF_C7FF_FFFE }

    /// Whether the byte may be part of a token.
    @inlinable @inline(__always)
    public static func isTokenByte(_ byte: UInt8) -> Bool {
        if byte >= 0x80 { return false }
        let bits = byte & 0x40 == 0 ? low : high
        return (bits &>> UInt64(byte & 0x3F)) & 1 != 0
    }

    /// Offset of the first byte from `start` on that may not be part of a token; the count of bytes when all may.
    @inline(never)
    public static func end(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var at = start
        repeat {
            at = ByteScan.plainNameEnd(bytes, from: at, to: bytes.count)
            // The other token bytes are rare.
            if at >= bytes.count || !isTokenByte(bytes[at]) { return at }
            at &+= 1
        } while at < bytes.count
        return at
    }

    /// Whether all bytes may be part of a token; true for no bytes.
    public static func isToken(_ bytes: Span<UInt8>) -> Bool { end(bytes, from: 0) == bytes.count }
}

/// Reading of field values.
public enum FieldValue {
    /// The value without spaces and tabs around it.
    @inlinable @_lifetime(copy value)
    public static func trimmed(_ value: Span<UInt8>) -> Span<UInt8> {
        value.extracting(trim(value, 0..<value.count))
    }

    /// The part of `range` without spaces and tabs around it.
    @inlinable public static func trim(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var lower = range.lowerBound
        var upper = range.upperBound
        while lower < upper, bytes[lower] == 0x20 || bytes[lower] == 0x09 { lower += 1 }
        while upper > lower, bytes[upper - 1] == 0x20 || bytes[upper - 1] == 0x09 { upper -= 1 }
        return lower..<upper
    }

    /// The next non-empty element of a comma-separated list, from `at` on; nil at the end.
    ///
    /// Quoted strings are not read: no field that is split here has them (Connection, TE, Expect…).
    public static func nextElement(
        _ bytes: Span<UInt8>, _ at: inout Int, to end: Int
    ) -> Range<Int>? {
        while at < end {
            let comma = ByteScan.first(0x2C, bytes, from: at, to: end)
            let element = trim(bytes, at..<comma)
            at = min(comma + 1, end)
            if !element.isEmpty { return element }
        }
        return nil
    }

    /// `decimal` of a range of a larger span.
    @inline(__always)
    static func decimal(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        if range.count &- 1 < 8, range.count > 0, range.upperBound >= 8 {
            return ByteScan.shortDecimal(bytes, count: range.count, to: range.upperBound)
        }
        return decimal(bytes.extracting(range))
    }

    /// A decimal number of only digits below 2^63; nil otherwise, also for no bytes.
    @inlinable public static func decimal(_ bytes: Span<UInt8>) -> UInt64? {
        if bytes.isEmpty { return nil }
        var value: UInt64 = 0
        if bytes.count <= 18 {
            for i in 0..<bytes.count {
                let digit = bytes[i] &- 0x30
                if digit > 9 { return nil }
                value = value &* 10 &+ UInt64(digit)
            }
            return value
        }
        for i in bytes.indices {
            let digit = bytes[i] &- 0x30
            if digit > 9 { return nil }
            // 2^63 / 10, so that the product stays below 2^63 and the sum never wraps.
            if value > 922_337_203_685_477_580 { return nil }
            value = value &* 10 &+ UInt64(digit)
        }
        return value > UInt64(Int64.max) ? nil : value
    }
}
