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

    @Test func `lines are what a walk finds, in the table or beside it`() throws {
        func fields(_ lines: [String]) throws -> [String] {
            let bytes = Array(
                ("HTTP/1.1 200 OK\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n").utf8)
            let parsed = OutgoingHead(bytes.span, from: .server)
            let head = try #require(parsed)
            var fields = OutgoingFields(.answer, head)
            var found: [String] = []
            while let field = fields.next(bytes.span, of: head) {
                guard case .text(let name) = field.name, case .text(let value) = field.value else {
                    continue
                }
                found.append(
                    String(decoding: bytes[name.range], as: UTF8.self) + "="
                        + String(decoding: bytes[value.range], as: UTF8.self))
            }
            return found
        }
        let usual = ["a: 1", "x_y!:  2 \t", "connection: close", "content-length: 0", "e:"]
        #expect(try fields(usual) == ["a=1", "x_y!=2", "content-length=0", "e="])
        // More lines than have a place, a long name and a long value.
        let many = (0..<40).map { "n\($0): \($0)" }
        #expect(try fields(many) == (0..<40).map { "n\($0)=\($0)" })
        let name = String(repeating: "n", count: 300)
        let value = String(repeating: "v", count: 70_000)
        #expect(
            try fields(["\(name): 1", "b: \(value)", "c: 3"]) == ["\(name)=1", "b=\(value)", "c=3"])
        let sixteen = (0..<16).map { "n\($0): \($0)" }
        #expect(try fields(sixteen).count == 16)
    }

    @Test func `the end of a head is found only when it is there`() {
        let text = Array("a: b\r\n\r\nrest".utf8)
        for count in 0..<8 {
            #expect(OutgoingHead.end(text.span.extracting(0..<count), from: 0) == nil)
        }
        #expect(OutgoingHead.end(text.span, from: 0) == 8)
    }
}
