// Proves which request heads are accepted, what is read from them, and which are refused and why.
import Testing

@testable import HTTP

private let host = "Host: a.example\r\n"
private func get(_ fields: String) -> String { "GET / HTTP/1.1\r\n\(host)\(fields)\r\n" }
private func post(_ fields: String) -> String { "POST / HTTP/1.1\r\n\(host)\(fields)\r\n" }
private func target(_ target: String, _ method: String = "GET") -> String {
    "\(method) \(target) HTTP/1.1\r\n\(host)\r\n"
}

@Suite struct HeadParserRequestTests {
    static let refused: [Row<Malformed.Reason>] = [
        // Request line.
        Row("two spaces before the target", "GET  / HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("two spaces before the version", "GET /  HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("a space in the target", "GET /a b HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("a tab for a space", "GET\t/ HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("a tab before the version", "GET /\tHTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("no version, as HTTP/0.9", "GET /\r\n\r\n", .requestLineBroken),
        Row("no target", "GET\r\n\r\n", .requestLineBroken),
        Row("a space at the line's end", "GET / HTTP/1.1 \r\n\(host)\r\n", .requestLineBroken),
        Row("a leading space", " GET / HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("a method with a bracket", "G(T / HTTP/1.1\r\n\(host)\r\n", .methodInvalid),
        Row("a method with a colon", "GET: / HTTP/1.1\r\n\(host)\r\n", .methodInvalid),
        Row("a method above 0x7F", "G\u{C9}T / HTTP/1.1\r\n\(host)\r\n", .methodInvalid),
        Row("NUL in the method", "G\0T / HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("NUL in the target", "GET /\0 HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("DEL in the target", "GET /\u{7F} HTTP/1.1\r\n\(host)\r\n", .targetByte),
        Row("a byte above 0x7F in the target", "GET /\u{E9} HTTP/1.1\r\n\(host)\r\n", .targetByte),
        Row("a byte above 0x7F in the query", "GET /?\u{E9} HTTP/1.1\r\n\(host)\r\n", .targetByte),
        Row("bare CR in the line", "GET / HTTP/1.1\rX\n\(host)\r\n", .bareCR),
        Row("bare CR in the target", "GET /\r/ HTTP/1.1\r\n\(host)\r\n", .requestLineBroken),
        Row("CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n\(host)\r\n", .methodConnect),
        Row("CONNECT with a path", "CONNECT / HTTP/1.1\r\n\(host)\r\n", .methodConnect),
        // Versions.
        Row("HTTP/2.0", "GET / HTTP/2.0\r\n\(host)\r\n", .versionUnsupported),
        Row("HTTP/0.9", "GET / HTTP/0.9\r\n\(host)\r\n", .versionUnsupported),
        Row("HTTP/3.1", "GET / HTTP/3.1\r\n\(host)\r\n", .versionUnsupported),
        Row("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\n", .versionUnsupported),
        Row("a small http", "GET / http/1.1\r\n\(host)\r\n", .versionInvalid),
        Row("HTTP/1", "GET / HTTP/1\r\n\(host)\r\n", .versionInvalid),
        Row("HTTP/1.10", "GET / HTTP/1.10\r\n\(host)\r\n", .versionInvalid),
        Row("HTTP/01.1", "GET / HTTP/01.1\r\n\(host)\r\n", .versionInvalid),
        Row("HTTP/1,1", "GET / HTTP/1,1\r\n\(host)\r\n", .versionInvalid),
        Row("HTTP/a.1", "GET / HTTP/a.1\r\n\(host)\r\n", .versionInvalid),
        Row("HTTPS/1.1", "GET / HTTPS/1.1\r\n\(host)\r\n", .versionInvalid),
        Row("control in the version", "GET / HTTP/1\u{1}1\r\n\(host)\r\n", .versionInvalid),
        // Target forms.
        Row("a relative path", target("a"), .targetForm),
        Row("a query alone", target("?a"), .targetForm),
        Row("authority-form", target("a.example:80"), .targetForm),
        Row("* with GET", target("*"), .targetAsterisk),
        Row("** with OPTIONS", target("**", "OPTIONS"), .targetForm),
        Row("a fragment", target("/a#b"), .targetFragment),
        Row("a fragment in the query", target("/a?b#c"), .targetFragment),
        Row("a fragment after an escape", target("/%61#b"), .targetFragment),
        Row("a fragment after an authority", target("http://a#b"), .targetFragment),
        Row("userinfo", target("http://user@a.example/"), .targetUserinfo),
        Row("userinfo with a password", target("http://u:p@a.example/"), .targetUserinfo),
        Row("ftp", target("ftp://a.example/"), .targetScheme),
        Row("a scheme and no slashes", target("http:a.example/"), .targetForm),
        Row("an empty authority", target("http:///a"), .hostInvalid),
        Row("a bad host in the target", target("http://a..b/"), .hostInvalid),
        Row("a backslash in the authority", target("http://a\\b/"), .hostInvalid),
        // Paths.
        Row("a raw backslash", target("/a\\b"), .targetBackslash),
        Row("%00", target("/a%00b"), .targetNUL),
        Row("half an escape", target("/a%4"), .targetEscape),
        Row("an escape of no digits", target("/a%zzb"), .targetEscape),
        Row("an escape cut by the query", target("/a%4?x"), .targetEscape),
        Row("an overlong slash", target("/%c0%af"), .targetOverlong),
        Row("an overlong dot", target("/%C0%AE%C0%AE/"), .targetOverlong),
        Row("an overlong of three bytes", target("/%e0%80%af"), .targetOverlong),
        Row("an overlong of four bytes", target("/%f0%80%80%af"), .targetOverlong),
        Row("a form of five bytes", target("/%f8%80%80%80%af"), .targetOverlong),
        Row("..%2F", target("/a/..%2fb"), .targetSeparator),
        Row("%2F..", target("/a%2F../b"), .targetSeparator),
        Row("..%5C", target("/..%5cb"), .targetSeparator),
        Row("an encoded ..%2F", target("/%2e%2e%2f"), .targetSeparator),
        Row("a segment with %2F removed", target("/a%2Fb/../c"), .targetSeparator),
        // Field lines.
        Row("a space before the colon", get("Name : x\r\n"), .fieldNameSpace),
        Row("a tab before the colon", get("Name\t: x\r\n"), .fieldNameSpace),
        Row("an empty name", get(": x\r\n"), .fieldNameInvalid),
        Row("no colon", get("Name\r\n"), .fieldNameInvalid),
        Row("a name above 0x7F", get("N\u{E9}me: x\r\n"), .fieldNameInvalid),
        Row("a name with a bracket", get("Na(me: x\r\n"), .fieldNameInvalid),
        Row("a name with NUL", get("Na\0me: x\r\n"), .fieldNameInvalid),
        Row("a folded line", get("Name: x\r\n y\r\n"), .fieldFolded),
        Row("a folded line by tab", get("Name: x\r\n\ty\r\n"), .fieldFolded),
        Row("a folded first line", "GET / HTTP/1.1\r\n \(host)\r\n", .fieldFolded),
        Row("NUL in a value", get("Name: a\0b\r\n"), .fieldControl),
        Row("a bell in a value", get("Name: a\u{7}b\r\n"), .fieldControl),
        Row("DEL in a value", get("Name: a\u{7F}b\r\n"), .fieldControl),
        Row("an escape in a value", get("Name: a\u{1B}[2J\r\n"), .fieldControl),
        Row("bare CR in a value", get("Name: a\rb\r\n"), .bareCR),
        Row("CR CR LF", get("Name: a\r\r\n"), .bareCR),
        Row("bare CR for the empty line", "GET / HTTP/1.1\r\n\(host)\rX", .bareCR),
        // Host.
        Row("no Host", "GET / HTTP/1.1\r\n\r\n", .hostMissing),
        Row("no Host though the target has one", "GET http://a/ HTTP/1.1\r\n\r\n", .hostMissing),
        Row("two equal Hosts", get("Host: a.example\r\n"), .hostRepeated),
        Row("two Hosts", get("Host: b.example\r\n"), .hostRepeated),
        Row("two Hosts in 1.0", "GET / HTTP/1.0\r\n\(host)\(host)\r\n", .hostRepeated),
        Row("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", .hostInvalid),
        Row("a Host of two names", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .hostInvalid),
        Row("a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .hostInvalid),
        Row("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .hostInvalid),
        Row("a Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .hostInvalid),
        Row("a Host with a bad port", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", .hostInvalid),
        Row("a Host with a great port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", .hostInvalid),
        Row(
            "a bad Host beside an absolute target",
            "GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", .hostInvalid),
        // Content-Length.
        Row("a negative length", post("Content-Length: -1\r\n"), .lengthInvalid),
        Row("a signed length", post("Content-Length: +1\r\n"), .lengthInvalid),
        Row("a hexadecimal length", post("Content-Length: 0x10\r\n"), .lengthInvalid),
        Row("an empty length", post("Content-Length:\r\n"), .lengthInvalid),
        Row("a length with a space", post("Content-Length: 1 0\r\n"), .lengthInvalid),
        Row("a list of lengths", post("Content-Length: 5, 5\r\n"), .lengthInvalid),
        Row("a fraction", post("Content-Length: 5.0\r\n"), .lengthInvalid),
        Row("2^63", post("Content-Length: 9223372036854775808\r\n"), .lengthInvalid),
        Row("2^64 + 5", post("Content-Length: 18446744073709551621\r\n"), .lengthInvalid),
        Row(
            "40 digits", post("Content-Length: \(String(repeating: "9", count: 40))\r\n"),
            .lengthInvalid),
        Row("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n"), .lengthRepeated),
        Row(
            "a bad second length", post("Content-Length: 5\r\nContent-Length: x\r\n"),
            .lengthInvalid),
        // Transfer-Encoding.
        Row("gzip", post("Transfer-Encoding: gzip\r\n"), .codingUnknown),
        Row("identity", post("Transfer-Encoding: identity\r\n"), .codingUnknown),
        Row("gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n"), .codingUnknown),
        Row("chunked, gzip", post("Transfer-Encoding: chunked, gzip\r\n"), .codingNotLast),
        Row("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n"), .codingRepeated),
        Row(
            "chunked in two lines",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), .codingRepeated),
        Row(
            "chunked and identity in two lines",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
            .codingNotLast),
        Row("a comma after chunked", post("Transfer-Encoding: chunked,\r\n"), .codingNotLast),
        Row("a comma before chunked", post("Transfer-Encoding: ,chunked\r\n"), .codingNotLast),
        Row("an empty coding", post("Transfer-Encoding:\r\n"), .codingNotLast),
        Row(
            "chunked with a parameter", post("Transfer-Encoding: chunked;a=b\r\n"),
            .codingUnknown),
        Row("xchunked", post("Transfer-Encoding: xchunked\r\n"), .codingUnknown),
        Row("quoted chunked", post("Transfer-Encoding: \"chunked\"\r\n"), .codingUnknown),
        Row(
            "vertical tab before chunked", post("Transfer-Encoding: \u{B}chunked\r\n"),
            .fieldControl),
        Row("a space in the name", post("Transfer-Encoding : chunked\r\n"), .fieldNameSpace),
        Row(
            "both framings", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            .codingWithLength),
        Row(
            "both framings, the other way",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), .codingWithLength),
        Row(
            "a coding in HTTP/1.0", "POST / HTTP/1.0\r\n\(host)Transfer-Encoding: chunked\r\n\r\n",
            .codingInHTTP10),
        // Expect.
        Row("an unknown expectation", post("Expect: 200-ok\r\n"), .expectUnknown),
        Row("two expectations", post("Expect: 100-continue, x\r\n"), .expectUnknown),
        // Lines before the request line.
        Row(
            "five empty lines", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\(host)\r\n",
            .requestLineBroken),
        Row("bare CR before the line", "\rGET / HTTP/1.1\r\n\(host)\r\n", .bareCR),
    ]

    @Test(arguments: refused) func `a broken head is refused for its cause`(
        _ row: Row<Malformed.Reason>
    ) {
        #expect(request(row.input).reason == row.wanted)
    }

    /// Input and, of what was read: method, version, target, query, host, port, framing.
    struct Read: Sendable, Equatable {
        var method = Method.get
        var version = Version.http11
        var target = "/"
        var query: String?
        var host = "a.example"
        var port: UInt16?
        var framing = BodyFraming.none
        var keepsAlive = true
    }

    static let accepted: [Row<Read>] = [
        Row("the least", get(""), Read()),
        Row("bare LFs", "GET / HTTP/1.1\nHost: a.example\n\n", Read()),
        Row("four empty lines", "\r\n\r\n\n\r\nGET / HTTP/1.1\r\n\(host)\r\n", Read()),
        Row(
            "HTTP/1.0", "GET / HTTP/1.0\r\n\(host)\r\n",
            Read(version: .http10, keepsAlive: false)),
        Row(
            "HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n",
            Read(version: .http10, host: "", keepsAlive: false)),
        Row(
            "HTTP/1.0 kept", "GET / HTTP/1.0\r\n\(host)Connection: Keep-Alive\r\n\r\n",
            Read(version: .http10)),
        Row("HTTP/1.2 as 1.1", "GET / HTTP/1.2\r\n\(host)\r\n", Read()),
        Row("close", get("Connection: close\r\n"), Read(keepsAlive: false)),
        Row("close in a list", get("Connection: foo, CLOSE\r\n"), Read(keepsAlive: false)),
        Row(
            "close in a second line", get("Connection: a\r\nConnection: close\r\n"),
            Read(keepsAlive: false)),
        Row("close wins", get("Connection: keep-alive, close\r\n"), Read(keepsAlive: false)),
        Row("HEAD", "HEAD / HTTP/1.1\r\n\(host)\r\n", Read(method: .head)),
        Row("PATCH", "PATCH / HTTP/1.1\r\n\(host)\r\n", Read(method: .patch)),
        Row("a small method is another", "get / HTTP/1.1\r\n\(host)\r\n", Read(method: .other)),
        Row("GETX is another", "GETX / HTTP/1.1\r\n\(host)\r\n", Read(method: .other)),
        Row(
            "a method of odd tokens", "M-!#$%&'*+.^`|~ / HTTP/1.1\r\n\(host)\r\n",
            Read(method: .other)),
        Row("OPTIONS *", target("*", "OPTIONS"), Read(method: .options, target: "*")),
        Row("a query", target("/a?b=c&d"), Read(target: "/a?b=c&d", query: "b=c&d")),
        Row("an empty query", target("/a?"), Read(target: "/a?", query: "")),
        Row("two question marks", target("/a?b?c"), Read(target: "/a?b?c", query: "b?c")),
        Row(
            "a query that looks like a path", target("/a?/../b%zz\\"),
            Read(target: "/a?/../b%zz\\", query: "/../b%zz\\")),
        Row(
            "absolute-form", target("http://B.example/a?b"),
            Read(target: "/a?b", query: "b", host: "b.example")),
        Row(
            "absolute-form with a port", target("HTTPS://b.example:8443/"),
            Read(host: "b.example", port: 8443)),
        Row("absolute-form without a path", target("http://b.example"), Read(host: "b.example")),
        Row(
            "absolute-form, query only", target("http://b.example?x"),
            Read(target: "/?x", query: "x", host: "b.example")),
        Row(
            "absolute-form of OPTIONS", target("http://b.example", "OPTIONS"),
            Read(method: .options, target: "*", host: "b.example")),
        Row(
            "absolute-form in 1.0", "GET http://b/ HTTP/1.0\r\n\r\n",
            Read(version: .http10, host: "b", keepsAlive: false)),
        Row("a host in capitals", "GET / HTTP/1.1\r\nHost: A.Example\r\n\r\n", Read()),
        Row("a host with a dot", "GET / HTTP/1.1\r\nHost: a.example.\r\n\r\n", Read()),
        Row(
            "a host with dot and port", "GET / HTTP/1.1\r\nHost: a.example.:80\r\n\r\n",
            Read(port: 80)),
        Row("a host with an empty port", "GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n", Read()),
        Row(
            "an IPv4 host", "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
            Read(host: "127.0.0.1", port: 8080)),
        Row(
            "an IPv6 host", "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n",
            Read(host: "[2001:db8::1]", port: 80)),
        Row("Host in any case", "GET / HTTP/1.1\r\nhOsT:a.example\r\n\r\n", Read()),
        Row("white space around a value", get("Name: \t x \t\r\n"), Read()),
        Row("an empty value", get("Name:\r\nOther: \r\n"), Read()),
        Row("bytes above 0x7F in a value", get("Name: \u{E9}\u{FF}\r\n"), Read()),
        Row("a tab inside a value", get("Name: a\tb\r\n"), Read()),
        Row("a name of odd tokens", get("!#$%&'*+.^`|~9: x\r\n"), Read()),
        Row("a length", post("Content-Length: 5\r\n"), Read(method: .post, framing: .length(5))),
        Row(
            "a length of 0", post("Content-Length: 0\r\n"),
            Read(method: .post, framing: .length(0))),
        Row(
            "a length with zeros", post("Content-Length: 005\r\n"),
            Read(method: .post, framing: .length(5))),
        Row(
            "the greatest length", post("Content-Length: 9223372036854775807\r\n"),
            Read(method: .post, framing: .length(9_223_372_036_854_775_807))),
        Row(
            "a length repeated", post("Content-Length: 5\r\ncontent-length: 5\r\n"),
            Read(method: .post, framing: .length(5))),
        Row("a length with GET", get("Content-Length: 5\r\n"), Read(framing: .length(5))),
        Row(
            "chunked", post("Transfer-Encoding: chunked\r\n"),
            Read(method: .post, framing: .chunked)),
        Row(
            "Chunked", post("Transfer-Encoding:  Chunked \r\n"),
            Read(method: .post, framing: .chunked)),
        Row(
            "an expectation in 1.0", "POST / HTTP/1.0\r\n\(host)Expect: x\r\n\r\n",
            Read(method: .post, version: .http10, keepsAlive: false)),
        // A name with an underscore is dropped, so it frames nothing.
        Row("an underscore for a hyphen", post("Content_Length: 5\r\n"), Read(method: .post)),
    ]

    @Test(arguments: accepted) func `a good head is read`(_ row: Row<Read>) throws {
        let head = try #require(request(row.input).head)
        let read = Read(
            method: head.method, version: head.version, target: head.target, query: head.query,
            host: head.host, port: head.port, framing: head.framing, keepsAlive: head.keepsAlive)
        #expect(read == row.wanted)
    }

    @Test(arguments: accepted) func `a head cut at any byte is read the same`(
        _ row: Row<Read>
    ) {
        let input = bytes(row.input)
        let whole = request(input)
        var head = RequestHead()
        for cut in 0...input.count {
            #expect(request(&head, input, cuts: [cut]) == whole, "cut at \(cut)")
        }
        #expect(request(&head, input, cuts: Array(0...input.count)) == whole)
    }

    @Test(arguments: refused) func `a broken head cut at any byte is refused the same`(
        _ row: Row<Malformed.Reason>
    ) {
        let input = bytes(row.input)
        var head = RequestHead()
        for cut in 0...input.count {
            #expect(request(&head, input, cuts: [cut]).reason == row.wanted, "cut at \(cut)")
        }
        #expect(request(&head, input, cuts: Array(0...input.count)).reason == row.wanted)
    }

    @Test(arguments: accepted) func `a head without its last byte is incomplete`(
        _ row: Row<Read>
    ) {
        let input = bytes(row.input)
        for end in 0..<input.count {
            #expect(request(Array(input[..<end])) == .incomplete, "end at \(end)")
        }
    }

    @Test func `only the head is used of what follows it`() {
        let input = bytes(get("") + "GET /next HTTP/1.1\r\n")
        guard case .accepted(_, let consumed) = request(input) else {
            Issue.record("refused")
            return
        }
        #expect(consumed == bytes(get("")).count)
    }

    @Test func `lines are recorded with trimmed values`() throws {
        let head = try #require(request(get("A:  b \r\nc_d: e\r\nF:\r\n")).head)
        #expect(
            head.lines == [
                Line(name: "Host", value: "a.example"), Line(name: "A", value: "b"),
                Line(name: "c_d", value: "e", isDropped: true), Line(name: "F", value: ""),
            ])
    }

    @Test func `underscores are kept where that is asked for`() throws {
        var limits = HeadLimits.request
        limits.keepsUnderscoreNames = true
        let head = try #require(request(get("c_d: e\r\n"), limits: limits).head)
        #expect(!head.lines[1].isDropped)
    }

    @Test func `an absolute target replaces Host`() throws {
        let head = try #require(request(target("http://B.example:81/x")).head)
        #expect(head.authority == "B.example:81")
        #expect(head.written == "GET /x HTTP/1.1\r\nhost: B.example:81\r\n\r\n")
    }

    @Test func `100-continue waits only with content`() throws {
        let with = try #require(
            request(post("Content-Length: 5\r\nExpect: 100-Continue\r\n")).head)
        #expect(with.expectsContinue)
        #expect(
            try #require(request(get("Expect: 100-continue\r\n")).head).expectsContinue == false)
    }

    @Test func `trailers are accepted when TE lists them`() throws {
        #expect(try #require(request(get("TE: gzip, Trailers\r\n")).head).acceptsTrailers)
        #expect(try #require(request(get("TE: trailersx\r\n")).head).acceptsTrailers == false)
    }

    @Test(arguments: [
        Row("websocket", get("Connection: Upgrade\r\nUpgrade: WebSocket\r\n"), Upgrade.websocket),
        Row("h2c", get("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\n"), .other),
        Row("not named by Connection", get("Upgrade: websocket\r\n"), .none),
        Row("with POST", post("Connection: upgrade\r\nUpgrade: websocket\r\n"), .other),
        Row(
            "in 1.0",
            "GET / HTTP/1.0\r\n\(host)Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", .none),
    ]) func `an upgrade is recognised`(_ row: Row<Upgrade>) throws {
        #expect(try #require(request(row.input).head).upgrade == row.wanted)
    }

    @Test func `an old head leaves nothing in the next one`() throws {
        var head = RequestHead()
        let rich = bytes(
            "POST http://x:1/%61?q HTTP/1.1\r\n\(host)TE: trailers\r\nExpect: 100-continue\r\n"
                + "Connection: close, upgrade, a\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n")
        let plain = bytes(get(""))
        #expect(request(&head, rich).head != nil)
        #expect(request(&head, plain) == request(plain))
    }

    @Test func `random mutations never trap and cuts never matter`() {
        var random = Seeded(1)
        var head = RequestHead()
        let inputs = (Self.accepted.map(\.input) + Self.refused.map(\.input)).map(bytes)
        for round in 0..<6_000 {
            let input = mutated(inputs[random.below(inputs.count)], &random)
            let whole = request(&head, input)
            let cut = random.below(input.count + 1)
            #expect(request(&head, input, cuts: [cut]) == whole, "round \(round), cut \(cut)")
        }
    }

    @Test func `what is accepted reads the same after it was written`() throws {
        var random = Seeded(2)
        var head = RequestHead()
        let inputs = Self.accepted.map { bytes($0.input) }
        for round in 0..<4_000 {
            let input =
                round < inputs.count
                ? inputs[round] : mutated(inputs[random.below(inputs.count)], &random)
            guard let first = request(&head, input).head, !first.host.isEmpty else { continue }
            let second = try #require(request(&head, bytes(first.written)).head, "round \(round)")
            #expect(second.method == first.method && second.methodText == first.methodText)
            #expect(second.target == first.target && second.path == first.path)
            #expect(second.query == first.query && second.host == first.host)
            #expect(second.port == first.port && second.framing == first.framing)
            #expect(second.written == first.written)
        }
    }
}

@Suite struct HeadLimitTests {
    static let small = HeadLimits(
        requestLineBytes: 40, fieldBytes: 30, fieldsBytes: 100, fieldCount: 6)

    private static func line(_ count: Int) -> String {
        "GET /\(String(repeating: "a", count: count - 14)) HTTP/1.1\r\n"
    }

    private static func field(_ count: Int) -> String {
        "a: \(String(repeating: "b", count: count - 3))\r\n"
    }

    static let atBound: [Row<Malformed.Reason?>] = [
        Row("a line of 40", line(40) + "Host: a\r\n\r\n", nil),
        Row("a line of 41", line(41) + "Host: a\r\n\r\n", .requestLineTooLong),
        Row("an endless line", "GET /\(String(repeating: "a", count: 60))", .requestLineTooLong),
        Row("an endless method", String(repeating: "A", count: 60), .requestLineTooLong),
        Row("an endless bad method", "(" + String(repeating: "A", count: 60), .requestLineTooLong),
        Row("a field of 30", line(20) + "Host: a\r\n" + field(30) + "\r\n", nil),
        Row("a field of 31", line(20) + "Host: a\r\n" + field(31) + "\r\n", .fieldTooLong),
        Row(
            "a field of 31 with white space",
            line(20) + "Host: a\r\na:\(String(repeating: " ", count: 28))b\r\n\r\n", .fieldTooLong),
        Row(
            "an endless value", line(20) + "Host: a\r\na: " + String(repeating: "b", count: 40),
            .fieldTooLong),
        Row(
            "an endless name", line(20) + "Host: a\r\n" + String(repeating: "b", count: 40),
            .fieldTooLong),
        Row(
            "fields of 100 bytes",
            line(20) + "Host: a\r\n" + field(30) + field(30) + field(25) + "\r\n", nil),
        Row(
            "fields of 101 bytes",
            line(20) + "Host: a\r\n" + field(30) + field(30) + field(26) + "\r\n", .fieldsTooLong),
        Row(
            "six fields",
            line(20) + "Host: a\r\n" + String(repeating: "a: b\r\n", count: 5) + "\r\n",
            nil),
        Row(
            "seven fields",
            line(20) + "Host: a\r\n" + String(repeating: "a: b\r\n", count: 6) + "\r\n",
            .fieldsTooMany),
        Row(
            "seven fields, one dropped",
            line(20) + "Host: a\r\na_: b\r\n" + String(repeating: "a: b\r\n", count: 5) + "\r\n",
            .fieldsTooMany),
    ]

    @Test(arguments: atBound) func `a bound is exact wherever the input is cut`(
        _ row: Row<Malformed.Reason?>
    ) {
        let input = bytes(row.input)
        let whole = request(input, limits: Self.small)
        #expect(whole.reason == row.wanted)
        if row.wanted == nil { #expect(whole.head != nil) }
        for cut in 0...input.count {
            #expect(request(input, cuts: [cut], limits: Self.small) == whole, "cut at \(cut)")
        }
        #expect(request(input, cuts: Array(0...input.count), limits: Self.small) == whole)
    }

    @Test func `a line over its bound is 414, fields over theirs 431`() {
        #expect(Malformed(.requestLineTooLong).status == 414)
        for reason in [Malformed.Reason.fieldTooLong, .fieldsTooLong, .fieldsTooMany] {
            #expect(Malformed(reason).status == 431)
        }
    }

    @Test func `mutations around small bounds never trap and cuts never matter`() {
        var random = Seeded(3)
        var head = RequestHead(limits: Self.small)
        let inputs = Self.atBound.map { bytes($0.input) }
        for round in 0..<4_000 {
            let input = mutated(inputs[random.below(inputs.count)], &random)
            let whole = request(&head, input)
            let cuts = [random.below(input.count + 1), input.count].sorted()
            #expect(request(&head, input, cuts: cuts) == whole, "round \(round), cut \(cuts[0])")
        }
    }
}
