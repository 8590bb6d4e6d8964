import COpenSSL

/// SHA-256 of bytes, for configuration and for what is shown to people; not for a request's path.
public enum Digest {
    /// The digest's 32 bytes.
    public static func sha256(_ bytes: Span<UInt8>) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        // Sound: the input's count is its own, and SHA-256 writes 32 bytes.
        let result = unsafe digest.withUnsafeMutableBufferPointer { digest in
            unsafe bytes.withUnsafeBufferPointer { bytes in
                unsafe EVP_Digest(
                    bytes.baseAddress,
                    bytes.count,
                    digest.baseAddress,
                    nil,
                    EVP_sha256(),
                    nil
                )
            }
        }
        precondition(result == 1, "libcrypto has no SHA-256.")
        return digest
    }

    /// The digest as 64 lower-case hex digits.
    public static func sha256Hex(_ bytes: Span<UInt8>) -> String { hex(sha256(bytes)) }

    /// The digest as 64 lower-case hex digits.
    public static func sha256Hex(_ bytes: [UInt8]) -> String { sha256Hex(bytes.span) }

    /// Two lower-case digits for each byte.
    static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// HMAC with SHA-256 (RFC 2104): 32 bytes.
    static func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 32)
        // Sound: all counts are the arrays' own, and HMAC-SHA-256 writes 32 bytes.
        let isDone = unsafe code.withUnsafeMutableBufferPointer { code in
            unsafe HMAC(
                EVP_sha256(),
                key,
                Int32(key.count),
                message,
                message.count,
                code.baseAddress,
                nil
            )
                != nil
        }
        precondition(isDone, "libcrypto has no HMAC.")
        return code
    }
}
