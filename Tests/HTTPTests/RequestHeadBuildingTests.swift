// Proves that heads built field by field obey the rules of HTTP/2 and become canonical HTTP/1.1.
import Testing

@testable import HTTP

@Suite struct RequestHeadBuildingTests {
    private static let usual = [
        ":method: GET", ":scheme: https", ":path: /a?b", ":authority: A.example:81",
    ]

    /// Builds from lines `name: value`, where a name may begin with a colon.
    private func build(
        _ lines: [String], hasContent: Bool = false, limits: HeadLimits = .request
    ) -> Outcome<Request> {
        var head = RequestHead(limits: limits)
        head.begin()
        for line in lines {
            let colon = line.dropFirst().firstIndex(of: ":") ?? line.endIndex
            let name = bytes(String(line[..<colon]))
            let value = bytes(String(line[colon...].dropFirst(2)))
            if let malformed = head.appendField(name: name.span, value: value.span) {
                return .refused(malformed.reason)
            }
        }
        if let malformed = head.finish(hasContent: hasContent) { return .refused(malformed.reason) }
        return .accepted(Request(head), consumed: 0)
    }

    @Test func `a usual head becomes HTTP/1.1`() throws {
        let head = try #require(
            build(Self.usual + ["accept: x", "cookie: a=1", "cookie: b=2", "te: trailers"]).head)
        #expect(head.version == .http2 && head.method == .get && head.target == "/a?b")
        #expect(head.path == "/a" && head.query == "b")
        #expect(head.host == "a.example" && head.port == 81 && head.acceptsTrailers)
        #expect(
            head.written
                == "GET /a?b HTTP/1.1\r\nhost: A.example:81\r\naccept: x\r\nte: trailers\r\n"
                + "cookie: a=1; b=2\r\n\r\n")
    }

    @Test func `a path is normalised`() throws {
        let head = try #require(
            build([":path: /x/../%61?%61", ":method: GET", ":scheme: http", ":authority: a"]).head)
        #expect(head.target == "/a?%61" && head.path == "/a" && head.query == "%61")
    }

    @Test func `content of unknown length is chunked, of a known length counted`() throws {
        #expect(try #require(build(Self.usual, hasContent: true).head).framing == .chunked)
        let counted = try #require(build(Self.usual + ["content-length: 5"], hasContent: true).head)
        #expect(counted.framing == .length(5))
        #expect(counted.written.hasSuffix("\r\ncontent-length: 5\r\n\r\n"))
        #expect(try #require(build(Self.usual + ["content-length: 0"]).head).framing == .length(0))
        #expect(try #require(build(Self.usual).head).framing == BodyFraming.none)
    }

    @Test func `host stands in for the authority, and an equal one is dropped`() throws {
        let alone = try #require(
            build([":method: GET", ":scheme: http", ":path: /", "host: B"]).head)
        #expect(alone.host == "b" && alone.written == "GET / HTTP/1.1\r\nhost: B\r\n\r\n")
        let equal = try #require(build(Self.usual + ["host: a.EXAMPLE:81"]).head)
        #expect(equal.written == "GET /a?b HTTP/1.1\r\nhost: A.example:81\r\n\r\n")
    }

    @Test func `OPTIONS * is built`() throws {
        let lines = [":method: OPTIONS", ":scheme: http", ":path: *", ":authority: a"]
        #expect(try #require(build(lines).head).target == "*")
    }

    static let refused: [(String, [String], Malformed.Reason)] = [
        ("no method", Array(usual.dropFirst()), .pseudoMissing),
        ("no scheme", [usual[0], usual[2], usual[3]], .pseudoMissing),
        ("no path", [usual[0], usual[1], usual[3]], .pseudoMissing),
        ("no authority", Array(usual.dropLast()), .hostMissing),
        ("two methods", usual + [":method: GET"], .pseudoRepeated),
        ("two paths", usual + [":path: /"], .pseudoRepeated),
        ("two schemes", usual + [":scheme: http"], .pseudoRepeated),
        ("two authorities", usual + [":authority: a"], .pseudoRepeated),
        ("a late pseudo-field", [usual[0], "a: b", usual[1]], .pseudoLate),
        ("an unknown pseudo-field", usual + [":status: 200"], .pseudoUnknown),
        ("a capital", usual + ["Accept: x"], .nameUpperCase),
        ("a space in a name", usual + ["a b: x"], .fieldNameInvalid),
        ("CR in a value", usual + ["a: b\rc"], .fieldControl),
        ("LF in a value", usual + ["a: b\nc"], .fieldControl),
        ("NUL in a value", usual + ["a: \0"], .fieldControl),
        ("a space after a value", usual + ["a: b "], .fieldPadded),
        ("connection", usual + ["connection: close"], .fieldOfConnection),
        ("transfer-encoding", usual + ["transfer-encoding: chunked"], .fieldOfConnection),
        ("upgrade", usual + ["upgrade: websocket"], .fieldOfConnection),
        ("keep-alive", usual + ["keep-alive: x"], .fieldOfConnection),
        ("proxy-connection", usual + ["proxy-connection: x"], .fieldOfConnection),
        ("te: gzip", usual + ["te: gzip"], .teOfHTTP2),
        ("another host", usual + ["host: b"], .authorityDiffers),
        ("two hosts", usual + ["host: a.example:81", "host: a.example:81"], .hostRepeated),
        ("a bad authority", [usual[0], usual[1], usual[2], ":authority: u@a"], .hostInvalid),
        ("a bad host", [usual[0], usual[1], usual[2], "host: a b"], .hostInvalid),
        ("an empty path", [":path: "], .targetForm),
        ("a relative path", [":path: a"], .targetForm),
        ("an absolute path", [":path: http://a/"], .targetForm),
        ("a fragment", [":path: /a#b"], .targetFragment),
        ("a space in a path", [":path: /a b"], .targetByte),
        ("CRLF in a path", [":path: /a\r\nX: y"], .targetByte),
        ("* with GET", [usual[0], usual[1], ":path: *", usual[3]], .targetAsterisk),
        ("a method with a space", [":method: GET /"], .methodInvalid),
        ("an empty method", [":method: "], .methodInvalid),
        ("CONNECT", [":method: CONNECT", ":authority: a:1"], .methodConnect),
        ("another scheme", [":scheme: ftp"], .targetScheme),
        ("a length without content", usual + ["content-length: 5"], .contentLengthDiffers),
        ("two lengths", usual + ["content-length: 5", "content-length: 6"], .lengthRepeated),
        ("a bad length", usual + ["content-length: x"], .lengthInvalid),
        ("an expectation", usual + ["expect: x"], .expectUnknown),
        ("a long path", [":path: /" + String(repeating: "a", count: 8_192)], .requestLineTooLong),
        ("a long field", usual + ["a: " + String(repeating: "b", count: 16_384)], .fieldTooLong),
        ("many fields", usual + Array(repeating: "a: b", count: 101), .fieldsTooMany),
        (
            "long fields",
            usual + Array(repeating: "a: " + String(repeating: "b", count: 7_000), count: 9),
            .fieldsTooLong
        ),
    ]

    @Test(arguments: 0..<refused.count) func `a broken head is refused for its cause`(_ index: Int)
    {
        let (name, lines, reason) = Self.refused[index]
        #expect(build(lines).reason == reason, "\(name)")
    }

    @Test func `what is built parses to the same`() throws {
        let lines = Self.usual + ["accept: x", "a_b: dropped", "content-length: 3"]
        let built = try #require(build(lines, hasContent: true).head)
        let read = try #require(request(bytes(built.written)).head)
        #expect(read.target == built.target && read.host == built.host && read.port == built.port)
        #expect(read.framing == built.framing && read.written == built.written)
    }

    @Test func `random fields never trap, and what is accepted parses to the same`() throws {
        var random = Seeded(8)
        let names = [
            ":method", ":path", ":scheme", ":authority", ":x", "host", "te", "cookie",
            "content-length",
            "a", "A", "", "connection", "expect", "a_b",
        ]
        let values = [
            "GET", "/", "https", "a", "", "trailers", "5", "/%2e", "a:1", "*", "100-continue", " x",
            "x\0",
        ]
        for round in 0..<6_000 {
            var lines = Self.usual.filter { _ in random.below(8) != 0 }
            for _ in 0..<random.below(5) {
                let line =
                    "\(names[random.below(names.count)]): \(values[random.below(values.count)])"
                lines.insert(line, at: random.below(lines.count + 1))
            }
            guard let built = build(lines, hasContent: random.below(2) == 0).head else { continue }
            let read = try #require(request(bytes(built.written)).head, "round \(round) \(lines)")
            #expect(read.method == built.method && read.target == built.target)
            #expect(read.host == built.host && read.framing == built.framing)
        }
    }

    @Test(arguments: ["", "a", "/a b", "*x", "/\r\n"])
    func `a request of our own needs a valid target`(_ target: String) {
        var head = RequestHead()
        check(!head.begin(method: .get, target: bytes(target).span, authority: bytes("a").span))
    }

    @Test func `a request of our own needs a valid authority and a known method`() {
        var head = RequestHead()
        check(!head.begin(method: .get, target: bytes("/").span, authority: bytes("a b").span))
        check(!head.begin(method: .other, target: bytes("/").span, authority: bytes("a").span))
        check(head.begin(method: .options, target: bytes("*").span, authority: [UInt8]().span))
        check(text(write(head, .none)) == "OPTIONS * HTTP/1.1\r\n\r\n")
    }
}
