// That digests are those of the standards' examples.
import Testing

@testable import TLS

@Suite struct `A digest` {
    /// FIPS 180-2, appendix B.
    static let rows = [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ]

    @Test(arguments: rows) func `is SHA-256`(text: String, digest: String) {
        #expect(Digest.sha256Hex(Array(text.utf8)) == digest)
        #expect(Digest.sha256Hex(Array(text.utf8).span) == digest)
        #expect(Digest.sha256(Array(text.utf8).span).count == 32)
    }

    /// RFC 4231 §4.3.
    @Test func `with a key is HMAC`() {
        let code = Digest.hmacSHA256(
            key: Array("Jefe".utf8),
            Array("what do ya want for nothing?".utf8)
        )
        #expect(
            Digest.hex(code)
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )
    }
}
