// Requests that break RFC 9113 §8 are reset with PROTOCOL_ERROR and nobody hears of them; nothing
// that a peer says in a field can become a line of its own.
import HTTP
import HTTPCodec
import Testing

@Suite struct MalformedTests {
    private static func replaced(_ name: String, _ value: String) -> [(String, String)] {
        Frame.get.map { $0.0 == name ? (name, value) : $0 }
    }

    private static func without(_ name: String) -> [(String, String)] {
        Frame.get.filter { $0.0 != name }
    }

    static let heads: [(String, [(String, String)])] = [
        ("capital in a name", Frame.get + [("X-a", "b")]),
        ("empty name", Frame.get + [("", "b")]),
        ("space in a name", Frame.get + [("a b", "c")]),
        ("colon in a name", Frame.get + [("a:b", "c")]),
        ("line end in a name", Frame.get + [("a\r\nb", "c")]),
        ("byte above ASCII in a name", Frame.get + [("ä", "c")]),
        ("CR in a value", Frame.get + [("a", "b\rc")]),
        ("LF in a value", Frame.get + [("a", "b\nc")]),
        ("NUL in a value", Frame.get + [("a", "b\0c")]),
        ("DEL in a value", Frame.get + [("a", "b\u{7F}c")]),
        ("space before a value", Frame.get + [("a", " b")]),
        ("tab behind a value", Frame.get + [("a", "b\t")]),
        ("connection", Frame.get + [("connection", "close")]),
        ("keep-alive", Frame.get + [("keep-alive", "5")]),
        ("proxy-connection", Frame.get + [("proxy-connection", "close")]),
        ("transfer-encoding", Frame.get + [("transfer-encoding", "chunked")]),
        ("upgrade", Frame.get + [("upgrade", "websocket")]),
        ("te", Frame.get + [("te", "gzip")]),
        ("te of two", Frame.get + [("te", "trailers, gzip")]),
        ("unknown pseudo-field", [(":x", "y")] + Frame.get),
        ("status in a request", Frame.get + [(":status", "200")]),
        ("late pseudo-field", without(":path") + [("a", "b"), (":path", "/")]),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("no authority and no host", without(":authority")),
        ("method twice", Frame.get + [(":method", "GET")]),
        ("scheme twice", Frame.get + [(":scheme", "https")]),
        ("path twice", Frame.get + [(":path", "/")]),
        ("authority twice", Frame.get + [(":authority", "a.example")]),
        ("empty path", replaced(":path", "")),
        ("path of a name", replaced(":path", "a")),
        ("asterisk with GET", replaced(":path", "*")),
        ("absolute path", replaced(":path", "http://a/")),
        ("space in the path", replaced(":path", "/a b")),
        ("request in the path", replaced(":path", "/ HTTP/1.1\r\nx: y\r\n\r\nGET /")),
        ("LF in the path", replaced(":path", "/\n")),
        ("NUL in the path", replaced(":path", "/\0")),
        ("tab in the path", replaced(":path", "/\tb")),
        ("byte above ASCII in the path", replaced(":path", "/ä")),
        ("empty method", replaced(":method", "")),
        ("space in the method", replaced(":method", "GET /")),
        ("line end in the method", replaced(":method", "GET / HTTP/1.1\r\n\r\nGET")),
        ("unknown scheme", replaced(":scheme", "ftp")),
        ("line end in the scheme", replaced(":scheme", "https\r\n")),
        ("line end in the authority", replaced(":authority", "a\r\nx: y")),
        ("space in the authority", replaced(":authority", "a b")),
        ("empty authority", replaced(":authority", "")),
        ("another host", Frame.get + [("host", "b.example")]),
        ("host twice", without(":authority") + [("host", "a"), ("host", "a")]),
        ("length of letters", Frame.get + [("content-length", "x")]),
        ("length with a sign", Frame.get + [("content-length", "+0")]),
        ("length twice", Frame.get + [("content-length", "0"), ("content-length", "0")]),
        ("length without content", Frame.get + [("content-length", "4")]),
        ("length over 63 bits", Frame.get + [("content-length", "9999999999999999999")]),
        ("protocol without CONNECT", Frame.get + [(":protocol", "websocket")]),
        ("CONNECT with a path", replaced(":method", "CONNECT")),
        ("CONNECT without authority", [(":method", "CONNECT")]),
        (
            "tunnel that has ended",
            replaced(":method", "CONNECT") + [(":protocol", "websocket")]
        ),
    ]

    @Test(arguments: MalformedTests.heads.indices)
    func `heads that break a rule`(index: Int) {
        let (what, fields) = MalformedTests.heads[index]
        let raw = RawClient()
        raw.send(.headers(1, fields))
        #expect(raw.server.takeEvents().isEmpty, "\(what)")
        #expect(raw.resetCode(1) == HTTP2Code.protocolError, "\(what)")
        #expect(raw.server.bytesInUse == 0)
        raw.send(.headers(3, Frame.get))
        #expect(raw.server.opened().count == 1, "\(what): the connection goes on")
    }

    /// Text that would be something else if it were not what it is.
    static let injections = [
        "\r\nx: y", "\n", "\r", "\0", "a\r\n\r\nGET / HTTP/1.1\r\nhost: b\r\n\r\n", "\u{0B}",
        "\u{1}",
    ]

    @Test(arguments: [
        ":method", ":scheme", ":path", ":authority", "host", "cookie", "x", "te", "content-length",
    ])
    func `no field can begin another line`(name: String) {
        for text in MalformedTests.injections {
            for value in [text, "/" + text, text + "b", "/a" + text + "b"] {
                let raw = RawClient()
                var fields = Frame.get.map { $0.0 == name ? (name, value) : $0 }
                if !name.hasPrefix(":") { fields.append((name, value)) }
                raw.send(.headers(1, fields))
                #expect(raw.server.takeEvents().isEmpty)
                #expect(raw.resetCode(1) == HTTP2Code.protocolError)
            }
        }
    }

    @Test func `what is sent in trailers is checked as well`() throws {
        for fields in [
            [("X", "y")], [("a", "b\r\nc")], [(":path", "/")], [("connection", "x")], [("a ", "b")],
        ] {
            let raw = RawClient()
            raw.send(.headers(1, Frame.post, end: false), .data(1, "abc"), .headers(1, fields))
            let events = raw.server.takeEvents()
            let stream = try #require(events.first?.stream)
            #expect(raw.resetCode(1) == HTTP2Code.protocolError)
            let got = raw.server.read(stream)
            #expect(got.last == .reset(HTTP2Code.protocolError))
            #expect(!got.text.contains("0\r\n\r\n"))
            raw.server.close(stream, .error)
            #expect(raw.server.openStreams == 0)
        }
    }

    @Test(arguments: ["5", "3", "2"])
    func `content and length must agree`(length: String) throws {
        let raw = RawClient()
        raw.send(
            .headers(1, Frame.post + [("content-length", length)], end: false),
            .data(1, "abc", end: true))
        let events = raw.server.takeEvents()
        let stream = try #require(events.first?.stream)
        let isWrong = length != "3"
        #expect((raw.resetCode(1) == HTTP2Code.protocolError) == isWrong)
        let got = raw.server.read(stream)
        #expect((got.last == .end) == !isWrong)
        #expect(isWrong || got.text.hasSuffix("\r\n\r\nabc"))
    }

    @Test func `host stands in for authority, and may say the same`() throws {
        for fields in [
            MalformedTests.without(":authority") + [("host", "a.example")],
            Frame.get + [("host", "A.example")],
        ] {
            let raw = RawClient()
            raw.send(.headers(1, fields))
            let stream = try #require(raw.server.opened().first)
            #expect(raw.server.read(stream).text == "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
        }
    }

    @Test func `the asterisk is OPTIONS's`() throws {
        let raw = RawClient()
        raw.send(
            .headers(
                1,
                [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")]))
        let stream = try #require(raw.server.opened().first)
        #expect(raw.server.read(stream).text == "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")
    }

    @Test func `plain CONNECT reads as CONNECT, which the parser refuses`() throws {
        for fields in [
            [(":method", "CONNECT"), (":authority", "a:443")],
            Frame.get.map { $0.0 == ":method" ? ($0.0, "CONNECT") : $0 } + [
                (":protocol", "connect-udp")
            ],
        ] {
            let raw = RawClient()
            raw.send(.headers(1, fields, end: false), .data(1, "GET / HTTP/1.1\r\n\r\n"))
            let stream = try #require(raw.server.opened().first)
            let text = raw.server.read(stream).text
            #expect(text.hasPrefix("CONNECT a") && text.hasSuffix("\r\n\r\n"))
            #expect(!text.contains("GET"))
            var head = RequestHead()
            let bytes = Array(text.utf8)
            guard case .malformed = head.parse(bytes.span) else {
                Issue.record("CONNECT was taken")
                continue
            }
        }
    }

    @Test func `answers that break a rule are cut`() throws {
        for fields in [
            [(":status", "101")], [(":status", "200"), ("connection", "close")], [("a", "b")],
            [(":status", "200"), ("A", "b")], [(":status", "200"), (":path", "/")],
            [(":status", "2x0")], [(":status", "200"), ("content-length", "5")],
        ] {
            let client = End(.client)
            _ = client.output()
            client.receive(Frame.settings().bytes)
            let stream = try #require(client.open())
            #expect(client.send(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
            _ = client.output()
            client.receive(Frame.headers(1, fields).bytes)
            _ = client.output()
            guard case .reset = client.read(stream).last else {
                Issue.record("\(fields) was taken")
                continue
            }
        }
    }

    /// A client whose request, with this method, has left; its stream is number 1.
    private func asked(_ method: String) throws -> (client: End, stream: StreamID) {
        let client = End(.client)
        _ = client.output()
        client.receive(Frame.settings().bytes)
        let stream = try #require(client.open())
        #expect(client.send(stream, "\(method) / HTTP/1.1\r\nhost: a\r\n\r\n"))
        _ = client.output()
        return (client, stream)
    }

    @Test func `an answer whose content is not what its head says is cut`() throws {
        let cases: [(String, [Frame])] = [
            ("GET", [.headers(1, [(":status", "103")], end: false), .data(1, "abc", end: true)]),
            ("GET", [.headers(1, [(":status", "103"), ("content-length", "0")], end: false)]),
            ("HEAD", [.headers(1, [(":status", "200")], end: false), .data(1, "abc", end: true)]),
            ("GET", [.headers(1, [(":status", "304")], end: false), .data(1, "abc", end: true)]),
            ("GET", [.headers(1, [(":status", "204"), ("content-length", "3")])]),
            (
                "GET",
                [
                    .headers(
                        1, [(":status", "200"), ("content-length", "2"), ("trailer", "a")],
                        end: false),
                    .data(1, "abc"),
                ]
            ),
            (
                "GET",
                [
                    .headers(
                        1, [(":status", "200"), ("content-length", "4"), ("trailer", "a")],
                        end: false),
                    .data(1, "abc"), .headers(1, [("a", "b")]),
                ]
            ),
        ]
        for (index, (method, frames)) in cases.enumerated() {
            let (client, stream) = try asked(method)
            client.receive(frames.flatMap(\.bytes))
            #expect(client.read(stream).last == .reset(HTTP2Code.protocolError), "case \(index)")
        }
    }

    @Test func `a length that says nothing is forgiven`() throws {
        let (client, stream) = try asked("GET")
        client.receive(Frame.headers(1, [(":status", "204"), ("content-length", "0")]).bytes)
        let got = client.read(stream)
        #expect(got.text == "HTTP/1.1 204 No Content\r\n\r\n")
        #expect(got.last == .end)
    }

    @Test(arguments: ["2", "4", "9999999999999999999"])
    func `content that is read in chunks has its length all the same`(length: String) {
        let raw = RawClient()
        let fields = Frame.post + [("content-length", length), ("trailer", "a")]
        raw.send(.headers(1, fields, end: false), .data(1, "abc"), .headers(1, [("a", "b")]))
        #expect(raw.resetCode(1) == HTTP2Code.protocolError)
    }

    @Test func `a bad preface ends the connection`() {
        let server = End(.server)
        server.receive(Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8))
        _ = server.output()
        #expect(!server.isGood || server.isOver)
    }

    @Test(arguments: [
        Frame(type: 0, flags: 0, stream: 0, payload: [1]),
        Frame(type: 0, flags: 0, stream: 9, payload: [1]),
        Frame(type: 4, flags: 0, stream: 0, payload: [1]),
        Frame(type: 9, flags: 4, stream: 1, payload: []),
        Frame(type: 8, flags: 0, stream: 0, payload: [0, 0, 0, 0]),
        Frame(type: 6, flags: 0, stream: 0, payload: [1]),
        Frame(type: 1, flags: 5, stream: 2, payload: Frame.block(Frame.get)),
        Frame(type: 1, flags: 5, stream: 1, payload: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        Frame(type: 0, flags: 0, stream: 1, payload: Array(repeating: 0, count: 16_385)),
        Frame(type: 5, flags: 4, stream: 1, payload: [0, 0, 0, 2]),
    ])
    func `frames that break the connection end it with GOAWAY`(frame: Frame) {
        let raw = RawClient()
        raw.send(frame)
        #expect(raw.goAwayCode != nil && raw.goAwayCode != 0)
        #expect(raw.server.isOver)
    }
}
