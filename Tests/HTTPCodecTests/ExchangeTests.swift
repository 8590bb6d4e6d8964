// What a client sends as HTTP/1.1 text a server reads as such, and back, however the bytes are cut.
import HTTP
import HTTPCodec
import Testing

@Suite struct ExchangeTests {
    @Test(arguments: [1, 2, 3, 7, 64, Int.max])
    func `a request without content and an answer with a length`(step: Int) throws {
        let wire = Wire(step: step)
        let ids = try #require(
            wire.request("GET /p?q=1 HTTP/1.1\r\nhost: a.example\r\nAccept: */*\r\n\r\n"))
        let got = wire.server.read(ids.server)
        #expect(got.text == "GET /p?q=1 HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\n\r\n")
        #expect(got.last == .end)
        #expect(
            wire.server.send(
                ids.server,
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello"))
        wire.server.close(ids.server, .finished)
        wire.run()
        let answer = wire.client.read(ids.client)
        #expect(answer.text == "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        #expect(answer.last == .end)
        wire.client.close(ids.client, .finished)
        #expect(wire.client.openStreams == 0)
        #expect(wire.server.openStreams == 0)
        #expect(wire.client.bytesInUse == 0)
        #expect(wire.server.bytesInUse == 0)
    }

    @Test(arguments: [1, 5, Int.max])
    func `content of unknown length is chunked both ways, with trailers`(step: Int) throws {
        let wire = Wire(step: step)
        let ids = try #require(
            wire.request(
                "POST /g HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n"
                    + "3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 9\r\n\r\n"))
        let got = wire.server.read(ids.server)
        #expect(
            got.text == "POST /g HTTP/1.1\r\nhost: a\r\nte: trailers\r\n"
                + "transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nx-sum: 9\r\n\r\n")
        #expect(got.last == .end)
        #expect(
            wire.server.send(
                ids.server,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwxyz\r\n"
                    + "0\r\nGrpc-Status: 0\r\ngrpc-message: ok\r\n\r\n"))
        wire.run()
        let answer = wire.client.read(ids.client)
        #expect(
            answer.text == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwxyz\r\n"
                + "0\r\ngrpc-status: 0\r\ngrpc-message: ok\r\n\r\n")
        #expect(answer.last == .end)
        wire.server.close(ids.server, .finished)
        wire.client.close(ids.client, .finished)
        #expect(wire.client.openStreams + wire.server.openStreams == 0)
    }

    @Test func `text that is given byte by byte is the same`() throws {
        let wire = Wire()
        wire.run()
        let stream = try #require(wire.client.open(tag: 9))
        let request =
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
            + "x-a: 1\r\nx-b: 2\r\n\r\n"
        for byte in request.utf8 {
            #expect(wire.client.send(stream, bytes: [byte]))
            wire.run()
        }
        let opened = try #require(wire.server.opened().first)
        let got = wire.server.read(opened)
        #expect(got.text == request)
        #expect(got.last == .end)
        let answer =
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
            + "content-length: 2\r\n\r\nhi"
        for byte in answer.utf8 { #expect(wire.server.send(opened, bytes: [byte])) }
        wire.run()
        #expect(wire.client.read(stream).text == answer)
        #expect(wire.client.takeEvents().contains { $0.tag == 9 && $0.kind == .readable })
    }

    @Test func `a length is kept and exactly so many bytes follow`() throws {
        let wire = Wire()
        let text = "PUT /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabcd"
        let ids = try #require(wire.request(text))
        #expect(wire.server.read(ids.server).text == text)
    }

    @Test func `an answer of trailers only leaves as one frame, whatever is given in between`()
        throws
    {
        let wire = Wire()
        let ids = try #require(wire.request("POST /g HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(wire.server.send(ids.server, "HTTP/1.1 200 OK\r\ngrpc-status: 12\r\n"))
        #expect(wire.server.send(ids.server, "transfer-encoding: chunked\r\n\r\n"))
        #expect(wire.server.send(ids.server, "0\r\n\r\n"))
        let bytes = wire.server.output()
        let frames = Frame.parse(bytes)
        #expect(frames.filter { $0.stream == 1 }.map(\.type) == [1])
        #expect(frames.last?.flags == 5)
        wire.client.receive(bytes)
        let got = wire.client.read(ids.client)
        #expect(
            got.text == "HTTP/1.1 200 OK\r\ngrpc-status: 12\r\ntransfer-encoding: chunked\r\n\r\n"
                + "0\r\n\r\n")
        #expect(got.last == .end)
    }

    @Test func `trailers without content follow the head`() throws {
        let wire = Wire()
        let ids = try #require(wire.request("POST /g HTTP/1.1\r\nhost: a\r\n\r\n"))
        let text =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n"
        #expect(wire.server.send(ids.server, text))
        let bytes = wire.server.output()
        #expect(Frame.parse(bytes).map(\.type) == [1, 1])
        wire.client.receive(bytes)
        #expect(wire.client.read(ids.client).text == text)
    }

    @Test func `a request of trailers only reaches the server`() throws {
        let wire = Wire()
        let text =
            "POST /g HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-a: 1\r\n\r\n"
        let ids = try #require(wire.request(text))
        #expect(wire.server.read(ids.server).text == text)
    }

    @Test func `interim answers pass in order, and head answers have no content`() throws {
        let wire = Wire()
        let ids = try #require(wire.request("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"))
        let text =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
            + "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"
        #expect(wire.server.send(ids.server, text))
        wire.run()
        let got = wire.client.read(ids.client)
        #expect(got.text == text)
        #expect(got.last == .end)
    }

    @Test(arguments: [204, 304])
    func `statuses without content get no framing`(status: Int) throws {
        let wire = Wire()
        let ids = try #require(wire.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(wire.server.send(ids.server, "HTTP/1.1 \(status) X\r\netag: a\r\n\r\n"))
        wire.run()
        let got = wire.client.read(ids.client)
        #expect(got.text.hasPrefix("HTTP/1.1 \(status) "))
        #expect(got.text.hasSuffix("\r\netag: a\r\n\r\n"))
        #expect(got.last == .end)
    }

    @Test func `an answer until close ends with the stream`() throws {
        let wire = Wire()
        let ids = try #require(wire.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(wire.server.send(ids.server, "HTTP/1.1 200 OK\r\n\r\nab"))
        #expect(wire.server.send(ids.server, "cd"))
        wire.server.sendEnd(ids.server)
        wire.run()
        let got = wire.client.read(ids.client)
        #expect(
            got.text
                == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")
        #expect(got.last == .end)
    }

    @Test func `an early answer ends the request without an error`() throws {
        let wire = Wire()
        let ids = try #require(
            wire.request("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc"))
        #expect(wire.server.send(ids.server, "HTTP/1.1 413 X\r\ncontent-length: 0\r\n\r\n"))
        wire.server.close(ids.server, .finished)
        wire.run()
        #expect(wire.server.openStreams == 0)
        let got = wire.client.read(ids.client)
        #expect(got.text.hasPrefix("HTTP/1.1 413 "))
        #expect(got.last == .end)
        #expect(wire.client.send(ids.client, "more"))
        #expect(
            !wire.client.takeEvents().contains { if case .reset = $0.kind { true } else { false } })
        wire.client.close(ids.client, .finished)
        #expect(wire.client.openStreams == 0)
        #expect(wire.client.bytesInUse == 0)
    }

    @Test func `a client that has its answer cancels the rest of its request`() throws {
        let wire = Wire()
        let ids = try #require(
            wire.request("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc"))
        #expect(wire.server.send(ids.server, "HTTP/1.1 413 X\r\ncontent-length: 0\r\n\r\n"))
        wire.run()
        #expect(wire.client.read(ids.client).last == .end)
        wire.client.close(ids.client, .finished)
        wire.run()
        #expect(wire.client.openStreams == 0)
    }

    @Test(arguments: [("trailer", "x-sum"), ("content-type", "application/grpc+proto")])
    func `trailers behind a stated length make chunks of it where they are to be expected`(
        field: (String, String)
    ) throws {
        let raw = RawClient()
        let head = Frame.post + [("content-length", "5"), field, ("cookie", "a=1")]
        let trailers = Frame.headers(1, [("x-sum", "9")])
        raw.send(.headers(1, head, end: false), .data(1, "hello"), trailers)
        let stream = try #require(raw.server.opened().first)
        let read = raw.server.read(stream)
        #expect(
            read.text == "POST / HTTP/1.1\r\nhost: a.example\r\n\(field.0): \(field.1)\r\n"
                + "transfer-encoding: chunked\r\ncookie: a=1\r\n\r\n"
                + "5\r\nhello\r\n0\r\nx-sum: 9\r\n\r\n")
        #expect(read.last == .end)
        raw.send(.headers(3, head, end: false), .data(3, "four", end: true))
        #expect(raw.resetCode(3) == HTTP2Code.protocolError)
        // Where nothing says so, a length is a length, and of gRPC-Web the trailers are content.
        let web =
            Frame.post + [
                ("content-length", "5"), ("content-type", "application/grpc-web+proto"),
            ]
        raw.send(.headers(5, web, end: false), .data(5, "hello", end: true))
        let plain = try #require(raw.server.opened().last)
        #expect(raw.server.read(plain).text.contains("content-length: 5\r\n"))
    }

    @Test func `cookie crumbs become one line, and connection fields never leave`() throws {
        let raw = RawClient()
        raw.send(
            .headers(
                1,
                Frame.get + [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("te", "trailers")]))
        let stream = try #require(raw.server.opened().first)
        #expect(
            raw.server.read(stream).text
                == "GET / HTTP/1.1\r\nhost: a.example\r\nx: y\r\nte: trailers\r\n"
                + "cookie: a=1; b=2\r\n\r\n")
        let wire = Wire()
        let ids = try #require(
            wire.request(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, te\r\nkeep-alive: 5\r\n"
                    + "te: gzip\r\nproxy-connection: x\r\nhttp2-settings: y\r\nx-a: 1\r\n\r\n"))
        #expect(
            wire.server.read(ids.server).text == "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n\r\n")
    }

    @Test func `a large content passes in both directions, within windows`() throws {
        let wire = Wire()
        let count = 3 << 20
        let content = [UInt8](repeating: 0x61, count: count)
        let ids = try #require(
            wire.request("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \(count)\r\n\r\n"))
        var got = wire.server.read(ids.server).text.utf8.count
        let headBytes = got
        var sent = 0
        while got < headBytes + count {
            if sent < count && !wire.client.isCongested(ids.client) {
                let piece = Array(content[sent..<min(sent + 16_384, count)])
                #expect(wire.client.send(ids.client, bytes: piece))
                sent += piece.count
            }
            wire.run()
            got += wire.server.read(ids.server).text.utf8.count
        }
        #expect(got == headBytes + count)
        #expect(wire.server.read(ids.server).last == .end)
        #expect(wire.server.send(ids.server, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
        wire.server.close(ids.server, .finished)
        wire.run()
        wire.client.close(ids.client, .finished)
        #expect(wire.client.bytesInUse + wire.server.bytesInUse == 0)
    }

    @Test(arguments: [true, false])
    func `a request is not whole before its stream ends`(isLonger: Bool) throws {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post + [("content-length", "4")], end: false))
        raw.send(.data(1, "ab"))
        let stream = try #require(raw.server.opened().first)
        #expect(raw.server.read(stream).text.hasSuffix("\r\n\r\nab"))
        raw.send(.data(1, "cd"))
        let before = raw.server.read(stream)
        #expect(before.text == "c" && before.last == .wouldBlock)
        if isLonger {
            raw.send(.data(1, "e"))
            #expect(raw.resetCode(1) == HTTP2Code.protocolError)
            #expect(raw.server.read(stream).text == "")
        } else {
            _ = raw.server.takeEvents()
            raw.send(.data(1, "", end: true))
            #expect(raw.server.takeEvents().contains { $0.kind == .readable })
            let after = raw.server.read(stream)
            #expect(after.text == "d" && after.last == .end)
        }
        raw.server.close(stream, .cancel)
        #expect(raw.server.bytesInUse == 0)
    }

    @Test(arguments: [1, 9, 10, 100, 521, 1_024])
    func `frames leave through a window of any size`(window: Int) throws {
        let wire = Wire()
        let ids = try #require(wire.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        let content = String(repeating: "x", count: 2_000)
        #expect(
            wire.server.send(
                ids.server, "HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + content))
        var bytes = wire.server.output(window: window)
        // Content wants some room; a head and control frames take any.
        if window < HTTP2Limits.produceBytesMin { bytes += wire.server.output() }
        wire.client.receive(bytes)
        #expect(
            wire.client.read(ids.client).text
                == "HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + content)
    }

    @Test func `small rooms split heads and chunks without a byte lost`() throws {
        let wire = Wire()
        let ids = try #require(
            wire.request(
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                    + "64\r\n" + String(repeating: "y", count: 100) + "\r\n0\r\nx-t: 1\r\n\r\n"))
        let got = wire.server.read(ids.server, room: 64)
        let chunks = "34\r\n" + String(repeating: "y", count: 52) + "\r\n"
        #expect(got.text.contains(chunks))
        #expect(got.text.hasSuffix("\r\n0\r\nx-t: 1\r\n\r\n"))
        #expect(got.last == .end)
    }
}
