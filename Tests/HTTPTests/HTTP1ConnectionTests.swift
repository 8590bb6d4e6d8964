// Proves the order of events on a connection, for both roles, wherever the input is cut.
import Testing

@testable import HTTP

/// Every event of a connection as text, content joined.
func events(
    _ connection: inout HTTP1Connection, _ input: [UInt8], cuts: [Int] = [], ends: Bool = false
) -> [String] {
    var events: [String] = []
    var from = 0
    func note(_ connection: borrowing HTTP1Connection, _ event: Event, _ piece: Span<UInt8>) {
        switch event {
        case .needsMore: break
        case .head:
            events.append(
                connection.role == .server
                    ? "head \(text(connection.request.span(connection.request.target)))"
                    : "head \(connection.response.status)")
        case .content(let range):
            let content = text(piece.extracting(range))
            if let last = events.last, last.hasPrefix("content ") {
                events[events.count - 1] = last + content
            } else {
                events.append("content " + content)
            }
        case .trailer(let range): events.append("trailer " + text(piece.extracting(range)))
        case .end: events.append("end")
        case .malformed(let malformed): events.append("malformed \(malformed.reason)")
        }
    }
    for end in cuts + [input.count] {
        let piece = input.span.extracting(0..<end)
        while true {
            let event = connection.receive(piece, from: &from)
            note(connection, event, piece)
            if event == .needsMore { break }
            if case .malformed = event { return events }
        }
    }
    if ends { note(connection, connection.inputEnded(), input.span) }
    return events
}

@Suite struct HTTP1ConnectionTests {
    private let limits = HeadLimits(requestLineBytes: 256, fieldsBytes: 1_024, editBytes: 256)

    private func server() -> HTTP1Connection {
        HTTP1Connection(role: .server, requestLimits: limits, responseLimits: limits)
    }

    private func client(_ method: Method = .get) -> HTTP1Connection {
        var client = HTTP1Connection(role: .client, requestLimits: limits, responseLimits: limits)
        client.expectAnswer(to: method)
        return client
    }

    static let served: [Row<[String]>] = [
        Row("one request", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", ["head /a", "end"]),
        Row(
            "a length", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            ["head /a", "content hello", "end"]),
        Row(
            "chunks and a trailer",
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "2\r\nhe\r\n3\r\nllo\r\n0\r\nT: u\r\n\r\n",
            ["head /a", "content hello", "trailer T: u", "end"]),
        Row(
            "three pipelined",
            "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                + "\r\nxGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
            ["head /a", "end", "head /b", "content x", "end", "head /c", "end"]),
        Row(
            "a second that is broken", "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET b HTTP/1.1\r\n\r\n",
            ["head /a", "end", "malformed hostMissing"].map {
                $0 == "malformed hostMissing" ? "malformed targetForm" : $0
            }),
        Row(
            "bytes after a close", "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET",
            ["head /a", "end", "malformed answerUnasked"]),
        Row(
            "a broken chunk",
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhex",
            ["head /a", "content he", "malformed chunkDataEnd"]),
    ]

    @Test(arguments: served) func `a server gives the same events wherever input is cut`(
        _ row: Row<[String]>
    ) {
        let input = bytes(row.input)
        for cuts in (0...input.count).map({ [$0] }) + [Array(0...input.count)] {
            var server = server()
            check(events(&server, input, cuts: cuts) == row.wanted, "cuts \(cuts)")
        }
    }

    static let answers: [Row<[String]>] = [
        Row(
            "a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ["head 200", "content ok", "end"]),
        Row(
            "informational first",
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
            ["head 100", "head 103", "head 204", "end"]),
        Row("until close", "HTTP/1.0 200 OK\r\n\r\nhello", ["head 200", "content hello", "end"]),
        Row("an unasked upgrade", "HTTP/1.1 101 S\r\n\r\nx", ["malformed upgradeUnasked"]),
        Row(
            "more than was asked", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP",
            ["head 200", "content ok", "end", "malformed answerUnasked"]),
        Row(
            "a cut length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            ["head 200", "content ok", "malformed contentTruncated"]),
        Row(
            "cut chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            ["head 200", "content ok", "malformed contentTruncated"]),
        Row("a cut head", "HTTP/1.1 200 OK\r\nContent", ["malformed contentTruncated"]),
        Row("no answer", "", ["malformed contentTruncated"]),
        Row(
            "too many informational", String(repeating: "HTTP/1.1 100 C\r\n\r\n", count: 65),
            Array(repeating: "head 100", count: 64) + ["malformed informationalTooMany"]),
    ]

    @Test(arguments: answers) func `a client gives the same events wherever input is cut`(
        _ row: Row<[String]>
    ) {
        let input = bytes(row.input)
        for cuts in stride(from: 0, through: input.count, by: max(1, input.count / 200)).map({
            [$0]
        }) {
            var client = client()
            check(events(&client, input, cuts: cuts, ends: true) == row.wanted, "cuts \(cuts)")
        }
    }

    @Test func `an answer to HEAD ends with its head`() {
        var client = client(.head)
        let input = bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        check(events(&client, input) == ["head 200", "end"])
        check(client.isReusable)
        client.expectAnswer(to: .get)
        check(!client.isReusable)
    }

    @Test func `a connection is reusable between messages that keep it`() {
        var server = server()
        check(server.isReusable && !server.isInMessage)
        let input = bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok")
        check(events(&server, Array(input.dropLast())) == ["head /", "content o"])
        check(!server.isReusable && server.isInMessage)
        var from = 0
        check(server.receive(bytes("k").span, from: &from) == .content(0..<1))
        check(server.receive(bytes("k").span, from: &from) == .end)
        check(server.isReusable && !server.isInMessage)
        check(server.inputEnded() == .needsMore && !server.isReusable)
    }

    @Test func `bytes to a client that asked nothing are refused`() {
        var client = HTTP1Connection(role: .client, requestLimits: limits, responseLimits: limits)
        check(events(&client, bytes("HTTP/1.1 200 OK\r\n\r\n")) == ["malformed answerUnasked"])
    }

    @Test func `a head that a client builds is one that a server reads`() throws {
        var client = client()
        let target = bytes("/a?b")
        let host = bytes("A.example:81")
        check(
            client.request.begin(method: .post, target: target.span, authority: host.span))
        check(client.request.append(name: "x-one", value: bytes("1").span))
        let output = write(client.request, .chunked)
        check(
            text(output)
                == "POST /a?b HTTP/1.1\r\nhost: A.example:81\r\nx-one: 1\r\n"
                + "transfer-encoding: chunked\r\n\r\n")
        let read = try #require(request(output).head)
        check(read.host == "a.example" && read.port == 81 && read.framing == .chunked)
    }
}
