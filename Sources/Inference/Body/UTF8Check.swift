/// Checks UTF-8 byte by byte (RFC 3629 §4).
struct UTF8Check: Sendable {
    /// Bytes of a character that are still to come, and the least and greatest value of the next.
    private var left: UInt8 = 0
    private var least: UInt8 = 0x80
    private var most: UInt8 = 0xBF

    /// Whether the bytes so far are whole characters.
    var isWhole: Bool { left == 0 }

    /// Takes a byte; false when no character has it there.
    mutating func take(_ byte: UInt8) -> Bool {
        if left > 0 {
            if byte < least || byte > most { return false }
            (least, most) = (0x80, 0xBF)
            left -= 1
            return true
        }
        switch byte {
        case ..<0x80: break
        case 0xC2...0xDF: left = 1
        case 0xE0: (left, least) = (2, 0xA0)
        case 0xED: (left, most) = (2, 0x9F)
        case 0xE1...0xEF: left = 2
        case 0xF0: (left, least) = (3, 0x90)
        case 0xF1...0xF3: left = 3
        case 0xF4: (left, most) = (3, 0x8F)
        default: return false
        }
        return true
    }
}
