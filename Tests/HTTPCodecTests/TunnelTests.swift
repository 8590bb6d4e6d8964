// WebSockets over HTTP/2 (RFC 8441): HTTP/1.1 on both sides, bytes as they are in between.
import HTTP
import HTTPCodec
import Testing

@Suite struct TunnelTests {
    private static let upgrade =
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        + "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    private static let accept =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        + "sec-websocket-accept: xxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nsec-websocket-protocol: c\r\n\r\n"

    @Test(arguments: [1, Int.max])
    func `a WebSocket opens, carries bytes both ways, and closes one way at a time`(step: Int)
        throws
    {
        let wire = Wire(step: step)
        let ids = try #require(wire.request(Self.upgrade))
        let text = wire.server.read(ids.server).text
        #expect(
            text.hasPrefix(
                "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                    + "sec-websocket-key: "))
        #expect(text.hasSuffix("==\r\nsec-websocket-version: 13\r\n\r\n"))
        #expect(!text.contains("dGhlIHNhbXBsZSBub25jZQ=="))
        var head = RequestHead()
        let bytes = Array(text.utf8)
        #expect(head.parse(bytes.span) == .complete(consumed: bytes.count))
        #expect(head.upgrade == .websocket)

        // Early bytes wait.
        #expect(wire.client.send(ids.client, "GET / HTTP/1.1\r\n\r\n"))
        wire.run()
        #expect(wire.server.read(ids.server).last == .wouldBlock)
        _ = wire.server.takeEvents()
        #expect(wire.server.send(ids.server, Self.accept + "first"))
        wire.server.collect()
        #expect(wire.server.takeEvents().contains { $0.kind == .readable })
        wire.run()
        #expect(wire.server.read(ids.server).text == "GET / HTTP/1.1\r\n\r\n")
        // The sample of RFC 6455 §1.3.
        #expect(
            wire.client.read(ids.client).text
                == "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n"
                + "upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                + "sec-websocket-protocol: c\r\n\r\nfirst")
        #expect(wire.client.send(ids.client, "\0\r\n0\r\n\r\n"))
        wire.client.sendEnd(ids.client)
        wire.run()
        let got = wire.server.read(ids.server)
        #expect(got.text == "\0\r\n0\r\n\r\n")
        #expect(got.last == .end)
        #expect(wire.server.send(ids.server, "still"))
        wire.run()
        let still = wire.client.read(ids.client)
        #expect(still.text == "still")
        #expect(still.last == .wouldBlock)
        wire.server.sendEnd(ids.server)
        wire.server.close(ids.server, .finished)
        wire.run()
        #expect(wire.client.read(ids.client).last == .end)
        wire.client.close(ids.client, .finished)
        #expect(wire.client.openStreams + wire.server.openStreams == 0)
        #expect(wire.client.bytesInUse + wire.server.bytesInUse == 0)
    }

    @Test func `the request goes out as extended CONNECT`() throws {
        let wire = Wire()
        wire.run()
        let stream = try #require(wire.client.open())
        #expect(wire.client.send(stream, Self.upgrade))
        let block = Frame.parse(wire.client.output()).first { $0.type == 1 }
        #expect(block?.flags == 4, "the stream stays open")
    }

    @Test(arguments: ["HTTP/1.1 403 Forbidden", "HTTP/1.1 200 OK"])
    func `an answer that opens no tunnel drops what came for it`(line: String) throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.upgrade))
        _ = wire.server.read(ids.server)
        #expect(wire.client.send(ids.client, "GET /secret HTTP/1.1\r\nhost: b\r\n\r\n"))
        wire.run()
        #expect(wire.server.send(ids.server, line + "\r\ncontent-length: 2\r\n\r\nno"))
        #expect(wire.server.read(ids.server).text == "")
        #expect(wire.client.send(ids.client, "GET /more"))
        wire.run()
        #expect(wire.server.read(ids.server).text == "")
        wire.server.close(ids.server, .finished)
        wire.run()
        let text = wire.client.read(ids.client).text
        // A success that is no 101 would have opened the tunnel.
        #expect(text.hasPrefix(line.contains("200") ? "HTTP/1.1 502 " : "HTTP/1.1 403 "))
        #expect(text.hasSuffix("content-length: 2\r\n\r\nno"))
        wire.client.close(ids.client, .finished)
        #expect(wire.client.openStreams + wire.server.openStreams == 0)
    }

    @Test func `a server that does not know of WebSockets is not asked for one`() throws {
        let client = End(.client)
        _ = client.output()
        client.receive(Frame.settings().bytes)
        #expect(!client.acceptsExtendedConnect)
        let stream = try #require(client.open())
        #expect(!client.send(stream, Self.upgrade))
        client.close(stream, .cancel)
        #expect(client.openStreams == 0)
        #expect(!Frame.parse(client.output()).contains { $0.type == 1 })
    }

    @Test func `an answer of 101 to a request that asked for nothing is refused`() throws {
        let wire = Wire()
        let ids = try #require(wire.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(!wire.server.send(ids.server, Self.accept))
    }
}
