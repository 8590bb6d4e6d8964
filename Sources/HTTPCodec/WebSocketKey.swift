import Kernel

/// The key of a WebSocket handshake and the answer to it (RFC 6455 §4), which HTTP/2 does without
/// (RFC 8441 §5) and virtual HTTP/1.1 must have.
enum WebSocketKey {
    /// Bytes of a key in base64.
    static var keyBytes: Int { 24 }
    /// Bytes of an answer in base64.
    static var acceptBytes: Int { 28 }

    /// Appends a fresh key; there must be room.
    static func appendKey(to output: inout OutputSpan<UInt8>) {
        let first = Random.next64()
        let second = Random.next64()
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        for index in 0..<8 {
            bytes[index] = UInt8(truncatingIfNeeded: first >> UInt64(8 * index))
            bytes[index + 8] = UInt8(truncatingIfNeeded: second >> UInt64(8 * index))
        }
        appendBase64(bytes.span, to: &output)
    }

    /// The digest that answers a key: SHA-1 of the key and a fixed text.
    static func digest(_ key: Span<UInt8>) -> InlineArray<20, UInt8> {
        var hash = SHA1()
        for index in key.indices { hash.append(key[index]) }
        let text: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        for byte in "\(text)".utf8 { hash.append(byte) }
        return hash.finish()
    }

    /// Appends bytes in base64 with padding (RFC 4648 §4); there must be room.
    static func appendBase64(_ bytes: Span<UInt8>, to output: inout OutputSpan<UInt8>) {
        var at = 0
        while at < bytes.count {
            let count = min(3, bytes.count - at)
            var word = UInt32(bytes[at]) << 16
            if count > 1 { word |= UInt32(bytes[at + 1]) << 8 }
            if count > 2 { word |= UInt32(bytes[at + 2]) }
            for index in 0..<4 {
                let digit = UInt8(truncatingIfNeeded: word >> UInt32(18 - 6 * index)) & 63
                output.append(index <= count ? base64(digit) : 0x3D)
            }
            at += count
        }
    }

    private static func base64(_ digit: UInt8) -> UInt8 {
        switch digit {
        case 0..<26: 0x41 + digit
        case 26..<52: 0x61 + (digit - 26)
        case 52..<62: 0x30 + (digit - 52)
        case 62: 0x2B
        default: 0x2F
        }
    }
}

/// SHA-1 (FIPS 180-4), for a handshake that asks for it and for nothing that must be secure.
private struct SHA1 {
    private var state: InlineArray<5, UInt32> = [
        0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0,
    ]
    private var block = InlineArray<64, UInt8>(repeating: 0)
    private var count: UInt64 = 0

    mutating func append(_ byte: UInt8) {
        block[Int(count & 63)] = byte
        count &+= 1
        if count & 63 == 0 { compress() }
    }

    mutating func finish() -> InlineArray<20, UInt8> {
        let bits = count &* 8
        append(0x80)
        while count & 63 != 56 { append(0) }
        for index in 0..<8 { append(UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * index))) }
        var digest = InlineArray<20, UInt8>(repeating: 0)
        for index in 0..<20 {
            let word = state[index / 4]
            digest[index] = UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * (index % 4)))
        }
        return digest
    }

    private mutating func compress() {
        var words = InlineArray<80, UInt32>(repeating: 0)
        for index in 0..<16 {
            var word: UInt32 = 0
            for byte in 0..<4 { word = word << 8 | UInt32(block[4 * index + byte]) }
            words[index] = word
        }
        for index in 16..<80 {
            let mixed =
                words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16]
            words[index] = rotate(mixed, 1)
        }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for index in 0..<80 {
            let (mix, constant): (UInt32, UInt32) =
                switch index / 20 {
                case 0: (b & c | ~b & d, 0x5A82_7999)
                case 1: (b ^ c ^ d, 0x6ED9_EBA1)
                case 2: (b & c | b & d | c & d, 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            let next = rotate(a, 5) &+ mix &+ e &+ constant &+ words[index]
            (e, d, c, b, a) = (d, c, rotate(b, 30), a, next)
        }
        state[0] &+= a
        state[1] &+= b
        state[2] &+= c
        state[3] &+= d
        state[4] &+= e
    }

    private func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
        word << count | word >> (32 - count)
    }
}
