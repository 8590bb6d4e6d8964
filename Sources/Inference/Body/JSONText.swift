/// Names as JSON strings (RFC 8259 §7), with no escape that is not needed.
enum JSONText {
    /// How many bytes a name has as a string, quotes included.
    static func count(quoted name: ModelName) -> Int {
        var count = 0
        for index in -1...name.count { count += unit(name, index).count }
        return count
    }

    /// Appends a name in quotes from its byte `start` on, as far as there is room.
    ///
    /// Returns how many bytes of it are written then, from its beginning.
    static func append(
        quoted name: ModelName, from start: Int, to output: inout OutputSpan<UInt8>
    ) -> Int {
        var at = 0
        for index in -1...name.count {
            let unit = unit(name, index)
            for i in 0..<unit.count {
                if at >= start {
                    if output.freeCapacity == 0 { return at }
                    output.append(UInt8(truncatingIfNeeded: unit.bytes >> UInt64(8 * i)))
                }
                at += 1
            }
        }
        return at
    }

    /// What a byte of a name becomes, the first byte lowest; before and behind it stands a quote.
    private static func unit(_ name: ModelName, _ index: Int) -> (bytes: UInt64, count: Int) {
        if index < 0 || index == name.count { return (0x22, 1) }
        let byte = name.byte(index)
        if byte == 0x22 || byte == 0x5C { return (0x5C | UInt64(byte) << 8, 2) }
        if byte >= 0x20 { return (UInt64(byte), 1) }
        // `\u00`, and two digits.
        let digits = UInt64(digit(byte >> 4)) | UInt64(digit(byte & 15)) << 8
        return (0x3030_755C | digits << 32, 6)
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}
