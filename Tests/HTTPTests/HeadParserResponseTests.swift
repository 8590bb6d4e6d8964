// Proves which answers of backends are accepted, how they end, and which are refused and why.
import Testing

@testable import HTTP

private func ok(_ fields: String) -> String { "HTTP/1.1 200 OK\r\n\(fields)\r\n" }

@Suite struct HeadParserResponseTests {
    static let refused: [Row<Malformed.Reason>] = [
        Row("an empty line first", "\r\n\(ok(""))", .statusLineBroken),
        Row("no space", "HTTP/1.1200 OK\r\n\r\n", .statusLineBroken),
        Row("two spaces", "HTTP/1.1  200 OK\r\n\r\n", .statusLineBroken),
        Row("two digits", "HTTP/1.1 20 OK\r\n\r\n", .statusLineBroken),
        Row("two digits and no reason", "HTTP/1.1 20\r\n\r\n", .statusLineBroken),
        Row("four digits", "HTTP/1.1 2000 OK\r\n\r\n", .statusLineBroken),
        Row("letters", "HTTP/1.1 2xx OK\r\n\r\n", .statusInvalid),
        Row("a sign", "HTTP/1.1 +20 OK\r\n\r\n", .statusInvalid),
        Row("099", "HTTP/1.1 099 Low\r\n\r\n", .statusInvalid),
        Row("600", "HTTP/1.1 600 High\r\n\r\n", .statusInvalid),
        Row("999", "HTTP/1.1 999 High\r\n\r\n", .statusInvalid),
        Row("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", .statusLineBroken),
        Row("a small http", "http/1.1 200 OK\r\n\r\n", .statusLineBroken),
        Row("ICY", "ICY 200 OK\r\n\r\n", .statusLineBroken),
        Row("a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", .statusLineBroken),
        Row("a control in the reason", "HTTP/1.1 200 O\u{1}K\r\n\r\n", .fieldControl),
        Row("bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", .bareCR),
        Row("garbage", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{FC}\u{3}\u{3}", .statusLineBroken),
        Row("a folded line", ok("A: b\r\n c\r\n"), .fieldFolded),
        Row("a space before the colon", ok("A : b\r\n"), .fieldNameSpace),
        Row("no colon", ok("A\r\n"), .fieldNameInvalid),
        Row("NUL in a value", ok("A: \0\r\n"), .fieldControl),
        Row("a bad length", ok("Content-Length: x\r\n"), .lengthInvalid),
        Row("a negative length", ok("Content-Length: -5\r\n"), .lengthInvalid),
        Row("an oversize length", ok("Content-Length: 92233720368547758080\r\n"), .lengthInvalid),
        Row("a list of lengths", ok("Content-Length: 5, 5\r\n"), .lengthInvalid),
        Row("two lengths", ok("Content-Length: 5\r\nContent-Length: 6\r\n"), .lengthRepeated),
        Row("an unknown coding", ok("Transfer-Encoding: gzip\r\n"), .codingUnknown),
        Row("gzip, chunked", ok("Transfer-Encoding: gzip, chunked\r\n"), .codingUnknown),
        Row("chunked, gzip", ok("Transfer-Encoding: chunked, gzip\r\n"), .codingNotLast),
        Row("an empty coding", ok("Transfer-Encoding: \r\n"), .codingNotLast),
        Row("chunked twice", ok("Transfer-Encoding: chunked, chunked\r\n"), .codingRepeated),
        Row(
            "a coding in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            .codingInHTTP10),
    ]

    @Test(arguments: refused) func `a broken head is refused for its cause`(
        _ row: Row<Malformed.Reason>
    ) {
        let input = bytes(row.input)
        for cut in 0...input.count {
            #expect(response(input, cuts: [cut]).reason == row.wanted, "cut at \(cut)")
        }
        #expect(response(input, cuts: Array(0...input.count)).reason == row.wanted)
    }

    struct Read: Sendable, Equatable {
        var status = 200
        var reason = "OK"
        var version = Version.http11
        var framing = BodyFraming.untilClose
        var keepsAlive = false
        var method = Method.get
    }

    static let accepted: [Row<Read>] = [
        Row("no framing", ok(""), Read()),
        Row("a length", ok("Content-Length: 5\r\n"), Read(framing: .length(5), keepsAlive: true)),
        Row(
            "a length of 0", ok("Content-Length: 0\r\n"),
            Read(framing: .length(0), keepsAlive: true)),
        Row(
            "a length repeated", ok("Content-Length: 5\r\nContent-Length: 5\r\n"),
            Read(framing: .length(5), keepsAlive: true)),
        Row(
            "chunked", ok("Transfer-Encoding: chunked\r\n"),
            Read(framing: .chunked, keepsAlive: true)),
        Row(
            "CHUNKED", ok("Transfer-Encoding: CHUNKED\r\n"),
            Read(framing: .chunked, keepsAlive: true)),
        Row(
            "both framings", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            Read(framing: .chunked)),
        Row(
            "both framings, a bad length",
            ok("Transfer-Encoding: chunked\r\nContent-Length: x\r\n"), Read(framing: .chunked)),
        Row(
            "no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
            Read(reason: "", framing: .length(0), keepsAlive: true)),
        Row(
            "no space before no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            Read(reason: "", framing: .length(0), keepsAlive: true)),
        Row(
            "a long reason", "HTTP/1.1 404 Not\t here \u{E9}\r\nContent-Length: 0\r\n\r\n",
            Read(status: 404, reason: "Not\t here \u{E9}", framing: .length(0), keepsAlive: true)),
        Row(
            "an unknown status", "HTTP/1.1 599 X\r\nContent-Length: 1\r\n\r\n",
            Read(status: 599, reason: "X", framing: .length(1), keepsAlive: true)),
        Row(
            "bare LFs", "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
            Read(framing: .length(5), keepsAlive: true)),
        Row(
            "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            Read(version: .http10, framing: .length(5))),
        Row(
            "HTTP/1.0 kept",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
            Read(version: .http10, framing: .length(5), keepsAlive: true)),
        Row(
            "HTTP/1.0 kept but endless", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
            Read(version: .http10)),
        Row("close", ok("Content-Length: 5\r\nConnection: close\r\n"), Read(framing: .length(5))),
        Row(
            "the answer to HEAD", ok("Content-Length: 5\r\n"),
            Read(framing: .none, keepsAlive: true, method: .head)),
        Row(
            "a chunked answer to HEAD", ok("Transfer-Encoding: chunked\r\n"),
            Read(framing: .none, keepsAlive: true, method: .head)),
        Row(
            "204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            Read(status: 204, reason: "No Content", framing: .none, keepsAlive: true)),
        Row(
            "304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            Read(status: 304, reason: "Not Modified", framing: .none, keepsAlive: true)),
        Row(
            "100", "HTTP/1.1 100 Continue\r\n\r\n",
            Read(status: 100, reason: "Continue", framing: .none, keepsAlive: true)),
        Row(
            "103 with a coding", "HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
            Read(status: 103, reason: "Hints", framing: .none, keepsAlive: true)),
        Row(
            "101", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            Read(status: 101, reason: "S", framing: .none, keepsAlive: true)),
    ]

    @Test(arguments: accepted) func `a good head is read, wherever it is cut`(
        _ row: Row<Read>
    ) throws {
        let input = bytes(row.input)
        let whole = response(input, to: row.wanted.method)
        let head = try #require(whole.head)
        #expect(
            Read(
                status: head.status, reason: head.reason, version: head.version,
                framing: head.framing, keepsAlive: head.keepsAlive, method: row.wanted.method)
                == row.wanted)
        for cut in 0...input.count {
            #expect(response(input, to: row.wanted.method, cuts: [cut]) == whole, "cut \(cut)")
            if cut < input.count {
                #expect(response(Array(input[..<cut]), to: row.wanted.method) == .incomplete)
            }
        }
        #expect(response(input, to: row.wanted.method, cuts: Array(0...input.count)) == whole)
    }

    @Test(
        arguments: [
            Row("timeout=5", "timeout=5", 5), Row("with max", "max=100, timeout=60", 60),
            Row("in capitals", "Timeout=7", 7), Row("nonsense", "timeout=x", nil),
            Row("none", "max=5", nil), Row("too great", "timeout=99999999999999", nil),
        ] as [Row<Int?>]) func `Keep-Alive tells how long the backend waits`(_ row: Row<Int?>)
        throws
    {
        let head = try #require(response(ok("Keep-Alive: \(row.input)\r\n")).head)
        #expect(head.timeout == row.wanted)
    }

    @Test func `with both framings the length is dropped`() throws {
        let head = try #require(
            response(ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")).head)
        #expect(head.written == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    }

    @Test func `the length of an answer to HEAD and of a 304 is kept, of a 204 dropped`() throws {
        let head = try #require(response(ok("Content-Length: 5\r\n"), to: .head).head)
        #expect(head.written == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        let none = try #require(response("HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n").head)
        #expect(none.written == "HTTP/1.1 204 N\r\n\r\n")
    }

    @Test func `a head of 65 KiB or 201 fields is refused`() {
        let line = "a: \(String(repeating: "b", count: 1_000))\r\n"
        #expect(response(ok(String(repeating: line, count: 61))).head != nil)
        #expect(response(ok(String(repeating: line, count: 62))).reason == .fieldsTooLong)
        #expect(response(ok(String(repeating: "a: b\r\n", count: 200))).head != nil)
        #expect(response(ok(String(repeating: "a: b\r\n", count: 201))).reason == .fieldsTooMany)
        let long = "HTTP/1.1 200 \(String(repeating: "x", count: 5_000))\r\n\r\n"
        #expect(response(long).reason == .statusLineTooLong)
    }

    @Test
    func `random mutations never trap, cuts never matter, and what is written reads the same`()
        throws
    {
        var random = Seeded(4)
        var head = ResponseHead()
        let rows = Self.accepted.map { (bytes($0.input), $0.wanted.method) }
        for round in 0..<6_000 {
            let (input, method) = rows[random.below(rows.count)]
            let changed = mutated(input, &random)
            let whole = response(&head, changed, to: method)
            let cut = random.below(changed.count + 1)
            #expect(response(&head, changed, to: method, cuts: [cut]) == whole, "round \(round)")
            guard let first = whole.head else { continue }
            let second = try #require(
                response(&head, bytes(first.written), to: method).head, "round \(round)")
            #expect(second.status == first.status && second.reason == first.reason)
            #expect(second.framing == first.framing && second.written == first.written)
        }
    }
}
