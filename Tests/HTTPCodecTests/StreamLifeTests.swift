// How streams and connections end, who hears of it, and that nothing stays behind.
import HTTP
import HTTPCodec
import Kernel
import Testing

@Suite struct StreamLifeTests {
    private static let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    private static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

    @Test(arguments: [
        (StreamClose.cancel, HTTP2Code.cancel, false), (.error, HTTP2Code.internalError, false),
        (.refused, HTTP2Code.refusedStream, true), (.finished, HTTP2Code.internalError, false),
    ])
    func `a server that leaves without an answer resets`(
        how: StreamClose, code: UInt32, refused: Bool
    ) throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        _ = wire.client.takeEvents()
        wire.server.close(ids.server, how)
        wire.run()
        let events = wire.client.takeEvents()
        #expect(events.map(\.kind) == [.reset(code: code, refused: refused)])
        #expect(wire.client.read(ids.client).last == .reset(code))
        #expect(!wire.client.send(ids.client, "x"))
        wire.client.close(ids.client, .finished)
        #expect(wire.client.openStreams + wire.server.openStreams == 0)
    }

    @Test(arguments: [StreamClose.cancel, .error, .finished])
    func `a client that leaves cancels`(how: StreamClose) throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        wire.client.close(ids.client, how)
        wire.run()
        let kinds = wire.server.takeEvents().filter { $0.stream == ids.server }.map(\.kind)
        let code = how == .error ? HTTP2Code.internalError : HTTP2Code.cancel
        #expect(kinds.contains(.reset(code: code, refused: false)))
        #expect(wire.server.read(ids.server).last == .reset(code))
        #expect(wire.server.openStreams == 1, "its work has not ended")
        wire.server.close(ids.server, .cancel)
        #expect(wire.client.openStreams + wire.server.openStreams == 0)
        #expect(wire.client.bytesInUse + wire.server.bytesInUse == 0)
    }

    @Test func `an answer that breaks off is never completed`() throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        #expect(wire.server.send(ids.server, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"))
        wire.server.close(ids.server, .finished)
        wire.run()
        #expect(wire.client.read(ids.client).last == .reset(HTTP2Code.internalError))
    }

    @Test func `a stale id finds nothing`() throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        #expect(wire.server.send(ids.server, Self.ok))
        wire.server.close(ids.server, .finished)
        wire.run()
        wire.client.close(ids.client, .finished)
        let next = try #require(wire.request(Self.get))
        #expect(next.server != ids.server && next.client != ids.client)
        #expect(!wire.server.send(ids.server, Self.ok))
        wire.server.close(ids.server, .cancel)
        #expect(wire.server.openStreams == 1)
    }

    @Test func `tags come with events`() throws {
        let wire = Wire()
        let ids = try #require(
            wire.request("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"))
        wire.server.session.setTag(ids.server, 77)
        #expect(wire.client.send(ids.client, "abc"))
        wire.run()
        let events = wire.server.takeEvents()
        #expect(events.map(\.kind) == [.readable])
        #expect(events.first?.stream == ids.server && events.first?.tag == 77)
    }

    @Test func `streams that were reset count until their work has ended`() throws {
        var limits = HTTP2Limits()
        limits.concurrentStreamsMax = 3
        let raw = RawClient(limits)
        for stream in [UInt32(1), 3, 5] { raw.send(.headers(stream, Frame.get), .reset(stream, 8)) }
        let opened = raw.server.opened()
        #expect(opened.count == 3)
        raw.send(.headers(7, Frame.get))
        #expect(raw.resetCode(7) == HTTP2Code.refusedStream)
        #expect(raw.server.opened().isEmpty)
        raw.server.close(opened[0], .cancel)
        raw.send(.headers(9, Frame.get))
        #expect(raw.server.opened().count == 1)
    }

    @Test func `a client opens no more streams than it may`() throws {
        var limits = HTTP2Limits()
        limits.concurrentStreamsMax = 2
        let wire = Wire(limits)
        #expect(wire.client.capacity == 100, "before the server has said how many")
        wire.run()
        #expect(wire.client.capacity == 2)
        let first = try #require(wire.client.open())
        _ = try #require(wire.client.open())
        #expect(wire.client.open() == nil)
        #expect(wire.client.send(first, Self.get))
        wire.run()
        wire.client.close(first, .cancel)
        wire.client.events = []
        wire.run()
        #expect(wire.client.events.contains { $0.kind == .capacity })
        #expect(wire.client.capacity == 1)
        #expect(wire.server.capacity == 0)
    }

    @Test func `a stream that was never sent goes without a word`() throws {
        let wire = Wire()
        wire.run()
        let stream = try #require(wire.client.open())
        #expect(wire.client.send(stream, "GET / HTT"))
        wire.client.close(stream, .finished)
        #expect(wire.client.openStreams == 0)
        #expect(wire.client.output().isEmpty)
        #expect(wire.client.bytesInUse == 0)
    }

    @Test func `a request that is cancelled before it is written is not written`() throws {
        let wire = Wire()
        wire.run()
        let stream = try #require(wire.client.open())
        #expect(wire.client.send(stream, Self.get))
        wire.client.close(stream, .cancel)
        wire.run()
        #expect(wire.server.takeEvents().filter { $0.kind == .opened }.isEmpty)
        #expect(wire.client.openStreams + wire.server.openStreams == 0)
    }

    // MARK: - GOAWAY

    @Test func `a server shuts down in two steps, and streams in between are served`() throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        let late = try #require(wire.client.open())
        wire.server.session.shutDown()
        #expect(wire.client.send(late, Self.get))
        let out = wire.client.output()
        let notice = wire.server.output()
        #expect(Frame.parse(notice).last?.payload.prefix(4) == [0x7F, 0xFF, 0xFF, 0xFF])
        wire.server.receive(out)
        let second = try #require(wire.server.opened().first)
        wire.client.receive(notice)
        #expect(wire.client.events.contains { $0.kind == .goAway })
        #expect(wire.client.capacity == 0)
        wire.server.session.goAway()
        wire.run()
        for stream in [ids.server, second] {
            #expect(wire.server.send(stream, Self.ok))
            wire.server.close(stream, .finished)
        }
        wire.run()
        #expect(wire.client.read(ids.client).last == .end)
        #expect(wire.client.read(late).last == .end)
        wire.client.close(ids.client, .finished)
        wire.client.close(late, .finished)
        wire.run()
        #expect(wire.server.isOver)
        #expect(wire.client.isOver)
    }

    @Test func `streams above the last one may be tried elsewhere`() throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        wire.server.session.goAway()
        let goAway = wire.server.output()
        let late = try #require(wire.client.open(tag: 5))
        #expect(wire.client.send(late, Self.get))
        _ = wire.client.output()
        wire.client.receive(goAway)
        let reset = wire.client.takeEvents().first { $0.stream == late }
        #expect(reset?.kind == .reset(code: HTTP2Code.refusedStream, refused: true))
        #expect(reset?.tag == 5)
        #expect(wire.server.send(ids.server, Self.ok))
        wire.server.close(ids.server, .finished)
        wire.client.receive(wire.server.output())
        #expect(wire.client.read(ids.client).last == .end)
    }

    @Test func `a request that GOAWAY overtakes is refused, and not sent`() throws {
        let wire = Wire()
        wire.run()
        let stream = try #require(wire.client.open())
        wire.server.session.goAway()
        wire.client.receive(wire.server.output())
        #expect(wire.client.send(stream, Self.get))
        wire.run()
        let kinds = wire.client.takeEvents().filter { $0.stream == stream }.map(\.kind)
        #expect(kinds == [.reset(code: HTTP2Code.refusedStream, refused: true)])
        // Also where it is heard of by a write that fails.
        #expect(wire.client.wasRefused(stream))
        wire.client.close(stream, .finished)
        #expect(!wire.client.wasRefused(stream))
        #expect(wire.client.openStreams == 0)
    }

    @Test func `the end of the connection cuts what is incomplete`() throws {
        let wire = Wire()
        let first = try #require(wire.request(Self.get))
        let second = try #require(wire.request(Self.get))
        #expect(wire.server.send(first.server, Self.ok))
        wire.run()
        _ = wire.client.takeEvents()
        let unsent = try #require(wire.client.open())
        wire.client.session.connectionEnded(&wire.client.pool)
        wire.client.collect()
        let events = wire.client.takeEvents()
        #expect(events.map(\.stream).contains(second.client))
        #expect(
            events.contains { $0.stream == unsent && $0.kind == .reset(code: 8, refused: true) })
        #expect(!events.contains { $0.stream == first.client })
        #expect(wire.client.read(first.client).last == .end)
        for stream in [first.client, second.client, unsent] { wire.client.close(stream, .finished) }
        #expect(wire.client.openStreams == 0)
        #expect(wire.client.isOver)
        #expect(wire.client.bytesInUse == 0)
    }

    @Test func `a connection that ends before the server's preface did nothing for its requests`()
        throws
    {
        let wire = Wire()
        let stream = try #require(wire.client.open())
        #expect(wire.client.send(stream, Self.get))
        _ = wire.client.output()
        wire.client.session.connectionEnded(&wire.client.pool)
        wire.client.collect()
        #expect(
            wire.client.takeEvents().contains {
                $0.stream == stream && $0.kind == .reset(code: 8, refused: true)
            })
        #expect(wire.client.wasRefused(stream))
        wire.client.close(stream, .finished)
        #expect(wire.client.bytesInUse == 0)
    }

    @Test func `a ping is answered`() {
        let wire = Wire()
        wire.run()
        wire.client.session.ping(now: wire.client.now)
        wire.client.session.ping(now: wire.client.now)
        wire.client.events = []
        let out = wire.client.output()
        #expect(Frame.parse(out).map(\.type) == [6])
        wire.advance(30)
        wire.server.receive(out)
        wire.client.receive(wire.server.output())
        #expect(wire.client.events.isEmpty)
        #expect(wire.client.lastReceived == wire.client.now)
    }

    // MARK: - What cannot be sent

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc", "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad line\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
    ])
    func `bytes that are no answer are not sent`(text: String) throws {
        let wire = Wire()
        let ids = try #require(wire.request(Self.get))
        #expect(!wire.server.send(ids.server, text))
        wire.server.close(ids.server, .error)
        wire.run()
        #expect(wire.client.read(ids.client).last == .reset(HTTP2Code.internalError))
        #expect(wire.server.bytesInUse == 0)
    }

    @Test func `without memory a stream is refused and the connection goes on`() throws {
        let wire = Wire()
        wire.server.pool = BufferPool(budget: Budget(limit: 4_096))
        #expect(wire.request(Self.get) == nil)
        #expect(wire.server.isGood)
        #expect(wire.server.flood == nil)
    }

    @Test func `many streams at once, and slots are used again`() throws {
        let wire = Wire()
        wire.run()
        for _ in 0..<5 {
            var streams: [StreamID] = []
            for _ in 0..<100 {
                let stream = try #require(wire.client.open())
                #expect(wire.client.send(stream, Self.get))
                streams.append(stream)
            }
            wire.run()
            let opened = wire.server.opened()
            #expect(opened.count == 100)
            for stream in opened {
                #expect(wire.server.read(stream).last == .end)
                #expect(wire.server.send(stream, Self.ok))
                wire.server.close(stream, .finished)
            }
            wire.run()
            for stream in streams {
                #expect(wire.client.read(stream).last == .end)
                wire.client.close(stream, .finished)
            }
            #expect(wire.client.openStreams + wire.server.openStreams == 0)
        }
    }

    @Test func `two long answers take turns`() throws {
        let wire = Wire()
        let first = try #require(wire.request(Self.get))
        let second = try #require(wire.request(Self.get))
        let content = String(repeating: "c", count: 60_000)
        for stream in [first.server, second.server] {
            #expect(
                wire.server.send(
                    stream, "HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n" + content))
        }
        let frames = Frame.parse(wire.server.output()).filter { $0.type == 0 }
        let order = frames.map(\.stream)
        #expect(Set(order.prefix(2)).count == 2, "\(order)")
    }
}
