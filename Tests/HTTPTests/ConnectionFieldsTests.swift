// Proves what does not pass from one connection to the next, and what cannot be removed.
import Testing

@testable import HTTP

@Suite struct ConnectionFieldsTests {
    private func stripped(_ fields: String, keeping kept: KeptOptions = []) -> String {
        var head = RequestHead()
        let input = bytes("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
        guard case .complete = head.parse(input.span) else { return "refused" }
        head.removeConnectionFields(keeping: kept)
        let output = text(write(head, head.framing))
        return output.replacing("GET / HTTP/1.1\r\nHost: a\r\n", with: "").replacing(
            "\r\n", with: "|")
    }

    static let rows: [Row<String>] = [
        Row("close", "Connection: close\r\nA: b\r\n", "A: b||"),
        Row(
            "all that always goes",
            "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: trailers\r\nTrailer: x\r\n"
                + "Upgrade: h2c\r\nHTTP2-Settings: x\r\nA: b\r\n", "A: b||"),
        Row(
            "a named field", "Connection: X-Own, close\r\nx-own: 1\r\nX-OWN: 2\r\nX-Other: 3\r\n",
            "X-Other: 3||"),
        Row(
            "a field named in a second line",
            "Connection: close\r\nConnection: x-own\r\nX-Own: 1\r\n", "|"),
        Row(
            "a known field named", "Connection: Accept\r\nAccept: 1\r\nCookie: 2\r\n", "Cookie: 2||"
        ),
        Row(
            "the one who may not be named",
            "Connection: host, content-length, authorization, x-forwarded-for, "
                + "x-forwarded-any, via, forwarded, cookie, x-api-key, x-request-id, "
                + "content-type, traceparent\r\n"
                + "Content-Length: 5\r\nAuthorization: b\r\n"
                + "X-Forwarded-For: c\r\nX-Forwarded-Any: d\r\n",
            "Content-Length: 5|Authorization: b|X-Forwarded-For: c|X-Forwarded-Any: d||"),
        Row(
            "transfer-encoding may not be named",
            "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked||"),
        Row("nonsense names", "Connection: , ;;, \"x\", a b\r\nA: b\r\n", "A: b||"),
        Row("nothing", "A: b\r\n", "A: b||"),
    ]

    @Test(arguments: rows) func `connection-specific fields are removed`(_ row: Row<String>) {
        #expect(stripped(row.input) == row.wanted)
    }

    @Test(arguments: [
        Row("trailers, asked", "TE: trailers\r\n", "te: trailers|connection: te||"),
        Row(
            "trailers, among others", "TE: gzip, trailers;q=1, trailers\r\n",
            "te: trailers|connection: te||"),
        Row("trailers, not asked", "TE: gzip\r\n", "|"),
        Row(
            "websocket, asked", "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "upgrade: websocket|connection: upgrade||"),
        Row("h2c, asked", "Connection: upgrade\r\nUpgrade: h2c\r\n", "|"),
        Row(
            "both", "TE: trailers\r\nConnection: upgrade, te\r\nUpgrade: websocket\r\n",
            "te: trailers|upgrade: websocket|connection: te, upgrade||"),
    ]) func `what is kept is told anew if it was asked for`(_ row: Row<String>) {
        #expect(stripped(row.input, keeping: [.trailers, .upgrade]) == row.wanted)
        #expect(stripped(row.input) == "|")
    }

    @Test func `answers are stripped alike`() {
        var head = ResponseHead()
        let input = bytes(
            "HTTP/1.1 200 OK\r\nConnection: x-own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n"
                + "Content-Length: 0\r\n\r\n")
        guard case .complete = head.parse(input.span, requestMethod: .get) else { return }
        head.removeConnectionFields()
        check(text(write(head, .length(0))) == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    }

    @Test func `a 101 keeps its upgrade only when asked`() {
        for (kept, wanted) in [
            (KeptOptions.upgrade, "upgrade: websocket\r\nconnection: upgrade\r\n"), ([], ""),
        ] {
            var head = ResponseHead()
            let input = bytes(
                "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nA: b\r\n\r\n")
            guard case .complete = head.parse(input.span, requestMethod: .get) else { return }
            head.removeConnectionFields(keeping: kept)
            check(text(write(head, .none)) == "HTTP/1.1 101 S\r\nA: b\r\n\(wanted)\r\n")
        }
    }
}
