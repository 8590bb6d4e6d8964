/// Identities of requests.
public enum RequestID {
    /// Whether a client's identity is kept: 1 to 128 of `[A-Za-z0-9._-]`.
    public static func isValid(_ bytes: Span<UInt8>) -> Bool {
        if bytes.isEmpty || bytes.count > 128 { return false }
        for i in bytes.indices {
            let byte = bytes[i]
            let isLetter = (byte | 0x20) &- 0x61 < 26
            let isDigit = byte &- 0x30 < 10
            if !isLetter && !isDigit && byte != 0x2E && byte != 0x5F && byte != 0x2D {
                return false
            }
        }
        return true
    }

    /// Bytes of a written UUID.
    public static var count: Int { 36 }

    /// Writes a UUID of version 7 (RFC 9562 §5.7) from 48 bits of milliseconds and 74 random bits.
    ///
    /// False, and nothing written, when it does not fit.
    public static func write(
        milliseconds: UInt64, random: (UInt64, UInt64), into output: inout OutputSpan<UInt8>
    ) -> Bool {
        if output.freeCapacity < count { return false }
        let high = milliseconds &<< 16 | 0x7000 | random.0 & 0x0FFF
        let low = random.1 & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        appendDigits(high, 64, 32, &output)
        output.append(0x2D)
        appendDigits(high, 32, 16, &output)
        output.append(0x2D)
        appendDigits(high, 16, 0, &output)
        output.append(0x2D)
        appendDigits(low, 64, 48, &output)
        output.append(0x2D)
        appendDigits(low, 48, 0, &output)
        return true
    }

    /// Appends the hexadecimal digits of the bits from `from` down to `to`.
    private static func appendDigits(
        _ word: UInt64, _ from: UInt64, _ to: UInt64, _ output: inout OutputSpan<UInt8>
    ) {
        var shift = from
        while shift > to {
            shift -= 4
            let digit = UInt8(truncatingIfNeeded: word &>> shift) & 0x0F
            output.append(digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
        }
    }
}
