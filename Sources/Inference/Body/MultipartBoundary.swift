import HTTP

/// What stands between the parts of a form: two hyphens and the boundary that its content type names
/// (RFC 2046 §5.1.1).
struct MultipartBoundary {
    /// The most characters that a boundary may have.
    static let boundaryMax = 70

    /// Hyphens and boundary.
    private(set) var bytes = InlineArray<72, UInt8>(repeating: 0x2D)
    private(set) var count = 2
    /// For each byte, how many bytes of the beginning end before it as well: where a search goes on.
    private var fallback = InlineArray<73, UInt8>(repeating: 0)

    /// Nil when the content type is no `multipart/form-data` with one boundary of 1 to 70 characters.
    init?(contentType: Span<UInt8>) {
        var parameters = ParameterScanner()
        let type = parameters.head(contentType)
        let wanted = ByteScan.bytes("multipart/form-data")
        if !ByteScan.equalFolding(contentType.extracting(type), wanted) { return nil }
        while let parameter = parameters.next(contentType) {
            let name = contentType.extracting(parameter.name)
            if !ByteScan.equalFolding(name, ByteScan.bytes("boundary")) { continue }
            if count != 2 { return nil }
            let value = contentType.extracting(parameter.value)
            if value.isEmpty || value.count > Self.boundaryMax { return nil }
            for i in value.indices {
                // An escape in a boundary is read in more than one way.
                if !Self.isAllowed(value[i]) { return nil }
                bytes[count] = value[i]
                count += 1
            }
            // A space at the end is not allowed.
            if bytes[count - 1] == 0x20 { return nil }
        }
        if count == 2 || parameters.isBroken { return nil }
        var length = 0
        for i in 1..<count {
            while length > 0, bytes[i] != bytes[length] { length = Int(fallback[length]) }
            if bytes[i] == bytes[length] { length += 1 }
            fallback[i + 1] = UInt8(length)
        }
    }

    /// How many bytes of the delimiter are matched with `byte` behind `matched` of them.
    func matched(_ matched: Int, with byte: UInt8) -> Int {
        var length = matched
        while length > 0, bytes[length] != byte { length = Int(fallback[length]) }
        return bytes[length] == byte ? length + 1 : 0
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x27, 0x28, 0x29, 0x2B, 0x5F, 0x2C, 0x2D, 0x2E, 0x2F, 0x3A, 0x3D, 0x3F, 0x20: true
        default: false
        }
    }
}

/// Walks the parameters of a field value: `type; name=value; name="value"` (RFC 9110 §5.6.6).
struct ParameterScanner {
    private var at = 0
    /// A parameter is not as the grammar says.
    private(set) var isBroken = false

    /// What stands before the first parameter.
    mutating func head(_ field: Span<UInt8>) -> Range<Int> {
        at = ByteScan.first(0x3B, field, from: 0, to: field.count)
        var (from, to) = (0, at)
        while from < to, Self.isSpace(field[from]) { from += 1 }
        while to > from, Self.isSpace(field[to - 1]) { to -= 1 }
        return from..<to
    }

    /// The next parameter; a quoted value is without its quotes, its escapes as they stand.
    mutating func next(
        _ field: Span<UInt8>
    ) -> (name: Range<Int>, value: Range<Int>, isEscaped: Bool)? {
        while at < field.count, Self.isSpace(field[at]) || field[at] == 0x3B { at += 1 }
        if at == field.count { return nil }
        let start = at
        while at < field.count, field[at] != 0x3D, field[at] != 0x3B { at += 1 }
        if at == field.count || field[at] != 0x3D || at == start { return broken(field) }
        let name = start..<at
        at += 1
        if at == field.count { return broken(field) }
        if field[at] != 0x22 {
            let from = at
            while at < field.count, field[at] != 0x3B, !Self.isSpace(field[at]) { at += 1 }
            let value = from..<at
            for i in value where field[i] == 0x22 { return broken(field) }
            return isAtEnd(field) && !value.isEmpty ? (name, value, false) : broken(field)
        }
        at += 1
        let from = at
        var isEscaped = false
        while at < field.count, field[at] != 0x22 {
            if field[at] == 0x5C {
                isEscaped = true
                at += 1
            }
            at += 1
        }
        if at >= field.count { return broken(field) }
        let value = from..<at
        at += 1
        return isAtEnd(field) ? (name, value, isEscaped) : broken(field)
    }

    /// Whether the value ended with the field or a semicolon.
    private mutating func isAtEnd(_ field: Span<UInt8>) -> Bool {
        while at < field.count, Self.isSpace(field[at]) { at += 1 }
        return at == field.count || field[at] == 0x3B
    }

    private mutating func broken(
        _ field: Span<UInt8>
    ) -> (name: Range<Int>, value: Range<Int>, isEscaped: Bool)? {
        isBroken = true
        at = field.count
        return nil
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
