/// Paths of documents in the form in which requests' paths are compared.
enum PathText {
    /// The path with escapes of unreserved characters decoded (RFC 3986 §6.2.2.2), as
    /// `HTTP.PathNormaliser` leaves them: `/%61` in a document is the `/a` of a request.
    static func matched(_ path: String) -> String {
        guard path.utf8.contains(percent) else { return path }
        let bytes = Array(path.utf8)
        var output: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == percent, index + 2 < bytes.count,
                let value = UInt8(
                    String(decoding: bytes[(index + 1)...(index + 2)], as: UTF8.self), radix: 16),
                isUnreserved(value)
            {
                output.append(value)
                index += 3
            } else {
                output.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static let percent = UInt8(ascii: "%")

    /// Letters, digits, `-`, `.`, `_` and `~` (RFC 3986 §2.3).
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte)
            || "-._~".utf8.contains(byte)
    }
}
