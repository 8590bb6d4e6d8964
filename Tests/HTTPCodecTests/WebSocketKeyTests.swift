// The handshake's digest and base64 against the samples of their RFCs.
import Testing

@testable import HTTPCodec

@Suite struct WebSocketKeyTests {
    private func base64(_ bytes: [UInt8]) -> String {
        let text = [UInt8](capacity: 200) { WebSocketKey.appendBase64(bytes.span, to: &$0) }
        return String(decoding: text, as: UTF8.self)
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func `base64 as RFC 4648 §10 has it`(text: String, expected: String) {
        #expect(base64(Array(text.utf8)) == expected)
        #expect(base64([0xFB, 0xFF, 0xFE]) == "+//+")
    }

    @Test(arguments: [
        ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
    ])
    func `the answer to a key`(key: String, expected: String) {
        let bytes = Array(key.utf8)
        let digest = WebSocketKey.digest(bytes.span)
        #expect(base64((0..<20).map { digest[$0] }) == expected)
    }

    @Test func `keys are sixteen bytes, and fresh`() {
        let keys = (0..<20).map { _ in
            String(
                decoding: [UInt8](capacity: 64) { WebSocketKey.appendKey(to: &$0) }, as: UTF8.self)
        }
        #expect(Set(keys).count == 20)
        #expect(keys.allSatisfy { $0.utf8.count == WebSocketKey.keyBytes && $0.hasSuffix("==") })
    }
}
