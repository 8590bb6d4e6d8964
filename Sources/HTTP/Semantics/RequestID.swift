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
        ByteScan.append(Text(milliseconds: milliseconds, random: random), to: &output)
    }

    /// The 36 bytes of a UUID as words, first byte lowest.
    struct Text: BitwiseCopyable {
        let first: UInt64
        let second: UInt64
        let third: UInt64
        let fourth: UInt64
        let last: UInt32

        /// A UUID of version 7: eight digits, and three times four and twelve after hyphens.
        @inline(__always)
        init(milliseconds: UInt64, random: (UInt64, UInt64)) {
            let high = milliseconds &<< 16 | 0x7000 | random.0 & 0x0FFF
            let low = random.1 & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
            let (a, b) = ByteScan.hexDigits(high)
            let (c, d) = ByteScan.hexDigits(low)
            first = a
            second = (b &<< 8) & 0xFF_FFFF_FF00 | (b &>> 32) &<< 48 | 0x2D00_0000_002D
            third = (b &>> 48) | (c & 0xFFFF_FFFF) &<< 24 | 0x2D00_0000_002D_0000
            fourth = (c &>> 32) | (d &<< 32)
            last = UInt32(truncatingIfNeeded: d &>> 32)
        }
    }
}
