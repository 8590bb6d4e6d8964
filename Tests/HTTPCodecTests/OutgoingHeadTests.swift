// What is no head of ours is not sent.
import HTTP
import Testing

@testable import HTTPCodec

@Suite struct OutgoingHeadTests {
    private func head(_ text: String, _ role: Role) -> OutgoingHead? {
        let bytes = Array(text.utf8)
        return OutgoingHead(bytes.span, from: role)
    }

    @Test func `framing is what the fields say`() {
        #expect(head("HTTP/1.1 200 OK\r\n\r\n", .server)?.framing == .untilClose)
        #expect(head("HTTP/1.1 200\r\ncontent-length: 7\r\n\r\n", .server)?.framing == .length(7))
        #expect(
            head("HTTP/1.1 200 \r\nTransfer-Encoding:  Chunked\r\n\r\n", .server)?.framing
                == .chunked)
        #expect(head("GET / HTTP/1.1\r\n\r\n", .client)?.framing == BodyFraming.none)
        #expect(head("GET / HTTP/1.1\r\nhost: a\r\n\r\n", .client)?.host == ByteRange(22..<23))
    }

    @Test(arguments: [
        "", "\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n", "HTTP/1.1 2000 X\r\n\r\n", "HTTP/1.1 200 OK\r\na\r\n\r\n",
        "HTTP/1.1 200 OK\r\n a: b\r\n\r\n", "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n", "HTTP/1.1 200 OK\na: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\n\r\n", "HTTP/1.1 200 OK\r\na: \u{1}\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nx",
    ])
    func `answers that are none`(text: String) { #expect(head(text, .server) == nil) }

    @Test(arguments: [
        "GET\r\n\r\n", "GET / \r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n", "GET x HTTP/1.1\r\n\r\n", "GET / HTTP/2\r\n\r\n",
        "GET /\u{7F} HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
    ])
    func `requests that are none`(text: String) { #expect(head(text, .client) == nil) }

    @Test func `the end of a head is found only when it is there`() {
        let text = Array("a: b\r\n\r\nrest".utf8)
        for count in 0..<8 {
            #expect(OutgoingHead.end(text.span.extracting(0..<count), from: 0) == nil)
        }
        #expect(OutgoingHead.end(text.span, from: 0) == 8)
    }
}
