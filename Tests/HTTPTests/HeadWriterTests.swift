// Proves that heads are written canonically: framing once, runs copied, repairs written anew.
import Testing

@testable import HTTP

private func parsed(_ text: String) throws -> RequestHead {
    var head = RequestHead()
    let input = bytes(text)
    guard case .complete = head.parse(input.span) else { throw Refused() }
    return head
}

private func answer(_ text: String, to method: Method = .get) throws -> ResponseHead {
    var head = ResponseHead()
    let input = bytes(text)
    guard case .complete = head.parse(input.span, requestMethod: method) else { throw Refused() }
    return head
}

struct Refused: Error {}

@Suite struct HeadWriterTests {
    static let requests: [Row<String>] = [
        Row(
            "canonical stays", "GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
            "GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"),
        Row(
            "white space is repaired", "GET / HTTP/1.1\r\nHost:a\r\nX:\t y \r\nE:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nE: \r\n\r\n"),
        Row(
            "odd names and bytes above 0x7F stay",
            "GET / HTTP/1.1\r\nHost: a\r\nX.Y: \u{E9}\tz\r\nZ: \u{FF}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX.Y: \u{E9}\tz\r\nZ: \u{FF}\r\n\r\n"),
        Row(
            "bare LFs are repaired", "GET / HTTP/1.1\nHost: a\nX: y\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"),
        Row(
            "HTTP/1.0 becomes 1.1", "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Row(
            "HTTP/1.3 becomes 1.1", "GET / HTTP/1.3\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Row(
            "a path is normalised", "GET /a/../%62?%63 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /b?%63 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Row(
            "names with _ are dropped", "GET / HTTP/1.1\r\nA: 1\r\nx_y: 2\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\nHost: a\r\n\r\n"),
        Row(
            "a length stays in place", "POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\n"),
        Row(
            "a length with zeros is written anew",
            "POST / HTTP/1.1\r\nContent-Length: 05\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n"),
        Row(
            "a length is written once",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\n"),
        Row(
            "Chunked is written anew",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"),
        Row(
            "an ignored expectation is dropped", "GET / HTTP/1.0\r\nHost: a\r\nExpect: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Row(
            "HTTP/1.0 without Host gets an empty one", "GET / HTTP/1.0\r\nA: b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: \r\nA: b\r\n\r\n"),
        Row(
            "empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]

    @Test func `heads and hosts of any length are kept and written whole`() {
        var head = RequestHead()
        var additions = RequestAdditions(via: "gateway")
        additions.setClient(bytes("192.0.2.1").span, isSecure: true, .http11)
        for count in 1...600 {
            let host = String(repeating: "h", count: 1 + count % 40)
            let sent =
                "GET / HTTP/1.1\r\nHost: \(host)\r\nx: "
                + String(repeating: "v", count: count) + "\r\n\r\n"
            let input = bytes(sent + String(repeating: "\u{0}", count: 16))
            let step = head.parse(input.span, count: sent.utf8.count)
            check(step == .complete(consumed: sent.utf8.count))
            check(text(head.bytes) == sent)
            let plain = written {
                HeadWriter.write(request: head, framing: .none, into: &$0)
            }
            check(plain.map { text($0) } == sent)
            let added = written {
                HeadWriter.write(
                    request: head, framing: .none, adding: [.forwarded], of: additions,
                    forwardedHost: head.authority, into: &$0
                ).fits
            }
            check(
                added.map { text($0) } == String(sent.prefix(sent.count - 1))
                    + "via: 1.1 gateway\r\n"
                    + "x-forwarded-proto: https\r\nx-forwarded-for: 192.0.2.1\r\n"
                    + "x-forwarded-host: \(host)\r\n\r\n")
        }
    }

    @Test(arguments: requests) func `a request is written canonically`(_ row: Row<String>) throws {
        let head = try parsed(row.input)
        check(text(write(head, head.framing)) == row.wanted)
    }

    @Test(arguments: [
        Row("none", "", BodyFraming.none),
        Row("a length", "content-length: 7\r\n", .length(7)),
        Row("chunked", "transfer-encoding: chunked\r\n", .chunked),
    ]) func `another framing replaces the old one`(_ row: Row<BodyFraming>) throws {
        for old in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            let head = try parsed("POST / HTTP/1.1\r\nHost: a\r\n\(old)X: y\r\n\r\n")
            if head.framing == row.wanted { continue }
            let output = text(write(head, row.wanted))
            #expect(output == "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\(row.input)\r\n")
        }
    }

    @Test func `edits are written where they must be`() throws {
        var head = try parsed("GET /old?q HTTP/1.1\r\nA: 1\r\nHost: a\r\nB: 2\r\nC: 3\r\n\r\n")
        head.remove(named: bytes("b").span)
        check(head.setTarget(path: bytes("/new").span))
        check(head.setAuthority(bytes("other:81").span))
        check(head.append(name: "d", value: bytes("4").span))
        check(head.append(name: "e", value: bytes("5").span))
        check(
            text(write(head, .none))
                == "GET /new?q HTTP/1.1\r\nhost: other:81\r\nA: 1\r\nC: 3\r\nd: 4\r\ne: 5\r\n\r\n")
        check(text(head.span(head.host)) == "a")
        check(text(head.span(head.path)) == "/new")
        check(text(head.span(head.query)) == "q")
    }

    @Test func `added lines follow those that came, whatever is edited beside them`() throws {
        let start = "GET /a HTTP/1.1\r\nHost: a\r\nB: 2\r\nC: 3\r\n"
        for edits in 0..<64 {
            var head = try parsed(start + "\r\n")
            var wanted = start
            // What stands between two lines is none.
            if edits & 1 != 0 { check(!head.fields.keep(bytes("kept").span).isNone) }
            if edits & 2 != 0 {
                check(head.append(name: "d", value: bytes("4").span))
                wanted += "d: 4\r\n"
            }
            if edits & 4 != 0 { check(!head.fields.keep(bytes("kept").span).isNone) }
            if edits & 8 != 0 {
                check(head.append(name: "e", value: bytes("5").span))
                wanted += "e: 5\r\n"
            }
            if edits & 16 != 0 {
                head.remove(named: bytes("d").span)
                wanted = wanted.replacing("d: 4\r\n", with: "")
            }
            if edits & 32 != 0 {
                head.remove(named: bytes("b").span)
                wanted = wanted.replacing("B: 2\r\n", with: "")
            }
            check(text(write(head, .none)) == wanted + "\r\n", "\(edits)")
            check(
                text(write(head, .length(7))) == wanted + "content-length: 7\r\n\r\n", "\(edits)")
        }
    }

    @Test func `nothing is written past the output`() throws {
        let head = try parsed("GET /a//b HTTP/1.1\r\nA:1\r\nHost: a\r\nB: 2\r\n\r\n")
        let whole = write(head, .chunked)
        for capacity in 0..<whole.count {
            let output = written(capacity: capacity) {
                HeadWriter.write(request: head, framing: .chunked, into: &$0)
            }
            #expect(output == nil, "capacity \(capacity)")
        }
        let exact = written(capacity: whole.count) {
            HeadWriter.write(request: head, framing: .chunked, into: &$0)
        }
        #expect(exact == whole)
    }

    struct Sent: Sendable {
        var version = Version.http11
        var framing: BodyFraming
        var closes = false
        var output: String
    }

    static let responses: [Row<Sent>] = [
        Row(
            "canonical stays", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Sent(
                framing: .length(5), output: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")),
        Row(
            "closing", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Sent(
                framing: .length(5), closes: true,
                output: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: close\r\n\r\n")),
        Row(
            "to 1.0", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Sent(
                version: .http10, framing: .length(5),
                output: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: keep-alive\r\n\r\n")),
        Row(
            "chunked to 1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
            Sent(
                version: .http10, framing: .untilClose,
                output: "HTTP/1.1 200 OK\r\nA: b\r\nconnection: close\r\n\r\n")),
        Row(
            "from 1.0", "HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
            Sent(
                framing: .chunked,
                output: "HTTP/1.1 200 OK\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n")),
        Row(
            "no reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n",
            Sent(framing: .length(5), output: "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n")),
        Row(
            "a shorter content", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n",
            Sent(
                framing: .length(4), output: "HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 4\r\n\r\n")
        ),
    ]

    @Test(arguments: responses) func `a response is written canonically`(_ row: Row<Sent>) throws {
        let head = try answer(row.input)
        let output = write(
            head, to: row.wanted.version, row.wanted.framing, closes: row.wanted.closes)
        check(text(output) == row.wanted.output)
    }

    @Test func `an answer of our own has its usual reason`() throws {
        var head = ResponseHead()
        head.begin(status: 404)
        check(head.append(.contentType, value: bytes("text/plain").span))
        check(
            text(write(head, .length(3)))
                == "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\n"
        )
        head.begin(status: 299)
        check(text(write(head, .length(0))) == "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n")
    }

    @Test func `a new status replaces the reason`() throws {
        var head = try answer("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
        head.setStatus(503)
        check(
            text(write(head, .length(0)))
                == "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    }

    // MARK: - Parts

    @Test(arguments: [
        0, 9, 10, 99, 100, 12_345, UInt64.max, 10_000_000_000_000_000_000, UInt64(Int64.max),
    ]) func `numbers are written in digits`(_ number: UInt64) {
        check(text(written { HeadWriter.append(decimal: number, into: &$0) } ?? []) == "\(number)")
        let hex = written { HeadWriter.append(hex: number, into: &$0) } ?? []
        #expect(text(hex) == String(number, radix: 16))
    }

    @Test(arguments: [
        Row("the epoch", "Thu, 01 Jan 1970 00:00:00 GMT", 0),
        Row("the example of the RFC", "Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        Row("a leap day", "Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
        Row("the day after", "Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
        Row("a century that leaps", "Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
        Row("a century that does not", "Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        Row("a year's end", "Fri, 31 Dec 1999 23:59:59 GMT", 946_684_799),
        Row("the last", "Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        Row("past the last", "Fri, 31 Dec 9999 23:59:59 GMT", UInt64.max),
    ]) func `a date is written as the RFC wants it`(_ row: Row<UInt64>) {
        check(
            text(written { HeadWriter.append(httpDate: row.wanted, into: &$0) } ?? []) == row.input)
    }

    @Test func `chunks and trailers are written as the decoder reads them`() {
        let output =
            written {
                HeadWriter.append(chunkOf: 26, into: &$0)
                    && HeadWriter.append("abcdefghijklmnopqrstuvwxyz\r\n", into: &$0)
                    && HeadWriter.appendLastChunk(into: &$0)
                    && HeadWriter.append(trailer: bytes("A:  b ").span, into: &$0)
                    && HeadWriter.append("\r\n", into: &$0)
            } ?? []
        #expect(text(output) == "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n")
        #expect(decode(output).content == "abcdefghijklmnopqrstuvwxyz")
    }

    @Test(arguments: [1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 70_000])
    func `a chunk is written whole or not at all`(_ count: Int) {
        let content = [UInt8](repeating: 0x61, count: count)
        let whole = bytes(String(count, radix: 16) + "\r\n") + content + bytes("\r\n")
        #expect(
            written(capacity: whole.count) { HeadWriter.append(chunk: content.span, into: &$0) }
                == whole)
        #expect(
            written(capacity: whole.count - 1) { HeadWriter.append(chunk: content.span, into: &$0) }
                == nil)
    }

    // MARK: - Dropped lines

    /// Drops the lines of `order` and says what must be written then.
    private func kept(_ lines: [String], without order: [Int]) -> String {
        lines.indices.filter { !order.contains($0) }.map { lines[$0] + "\r\n" }.joined()
    }

    @Test func `whatever lines are dropped, in whatever order, the others are written`() throws {
        let names = ["Host: a", "A: 1", "Accept: 2", "B: 3", "Cookie: 4", "C: 5"]
        var random = Seeded(40)
        for mask in 0..<64 {
            var order = (0..<6).filter { mask >> $0 & 1 == 1 }
            for _ in 0..<6 {
                for i in order.indices { order.swapAt(i, random.below(order.count)) }
                let fields = names.map { $0 + "\r\n" }.joined()
                var head = try parsed("GET /a HTTP/1.1\r\n\(fields)\r\n")
                for i in order { head.fields.remove(at: i) }
                let wanted = kept(names, without: order)
                check(text(write(head, .none)) == "GET /a HTTP/1.1\r\n\(wanted)\r\n")
                var reply = try answer("HTTP/1.1 204 N\r\n\(fields)\r\n")
                for i in order { reply.fields.remove(at: i) }
                check(text(write(reply, .none)) == "HTTP/1.1 204 N\r\n\(wanted)\r\n")
                check(reply.append(name: "d", value: bytes("6").span))
                check(text(write(reply, .none)) == "HTTP/1.1 204 N\r\n\(wanted)d: 6\r\n\r\n")
            }
        }
    }
}
