// Each cheap thing that a peer can do without end is answered with GOAWAY ENHANCE_YOUR_CALM, and what
// a busy peer does in good faith is not.
import HTTP
import HTTPCodec
import Testing

@Suite struct FloodTests {
    @Test func `every flood has a word of its own`() {
        let words = Flood.allCases.map { "\($0.slug)" }
        #expect(Set(words).count == words.count)
        #expect(words.allSatisfy { $0.hasPrefix("h2.flood.") })
    }

    private func expectCalm(_ raw: RawClient, _ flood: Flood) {
        #expect(raw.server.flood == flood)
        #expect(raw.goAwayCode == HTTP2Code.enhanceYourCalm)
        #expect(raw.server.isOver)
        raw.server.receive(Frame.ping().bytes)
        #expect(!raw.server.isGood)
    }

    @Test func `rapid resets`() {
        let raw = RawClient()
        for index in 0..<100 {
            let stream = UInt32(2 * index + 1)
            raw.send(.headers(stream, Frame.get), .reset(stream, 8))
            for event in raw.server.takeEvents() where event.kind == .opened {
                raw.server.close(event.stream, .cancel)
            }
        }
        #expect(raw.server.flood == nil)
        raw.send(.headers(201, Frame.get), .reset(201, 8))
        expectCalm(raw, .reset)
    }

    /// A client whose server is written by the test.
    private func client() -> End {
        let client = End(.client)
        _ = client.output()
        client.receive(Frame.settings([(3, 1_000)]).bytes)
        return client
    }

    @Test func `what crosses the resets of a busy client is no flood`() throws {
        let client = client()
        for index in 0..<1_000 {
            let stream = try #require(client.open())
            #expect(client.send(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
            _ = client.output()
            client.close(stream, .cancel)
            _ = client.output()
            let number = UInt32(2 * index + 1)
            client.receive(
                Frame.headers(number, [(":status", "200")], end: false).bytes
                    + Frame.headers(number, [("x", "y")]).bytes + Frame.reset(number, 0).bytes)
        }
        #expect(client.flood == nil)
        #expect(client.isGood)
    }

    @Test(arguments: [1, 3])
    func `a server's frames of streams that are over`(type: UInt8) throws {
        let client = client()
        let stream = try #require(client.open())
        #expect(client.send(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        _ = client.output()
        client.receive(Frame.headers(1, [(":status", "200")]).bytes)
        _ = client.read(stream)
        client.close(stream, .finished)
        _ = client.output()
        let stray =
            type == 1 ? Frame.headers(1, [(":status", "200")]).bytes : Frame.reset(1, 0).bytes
        for _ in 0..<100 { client.receive(stray) }
        #expect(client.flood == nil)
        for _ in 0..<3 { client.receive(stray) }
        #expect(client.flood == .unknownFrame)
        #expect(!client.isGood)
    }

    @Test(arguments: [UInt32(0), 8])
    func `resets among many complete streams are no flood`(code: UInt32) {
        let raw = RawClient()
        for index in 0..<600 {
            let stream = UInt32(2 * index + 1)
            raw.send(.headers(stream, Frame.get))
            for event in raw.server.takeEvents() where event.kind == .opened {
                _ = raw.server.send(event.stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                raw.server.close(event.stream, .finished)
            }
            raw.send([])
            // A client may reset what it has just read to its end.
            if index % 3 == 0 { raw.send(.reset(stream, code)) }
        }
        #expect(raw.server.flood == nil)
        #expect(raw.server.openStreams == 0)
    }

    @Test func `resets of no error are resets`() {
        let raw = RawClient()
        for index in 0..<102 {
            let stream = UInt32(2 * index + 1)
            raw.send(.headers(stream, Frame.get), .reset(stream, 0))
            for event in raw.server.takeEvents() where event.kind == .opened {
                raw.server.close(event.stream, .cancel)
            }
        }
        expectCalm(raw, .reset)
    }

    @Test func `resets over a long time are no flood`() {
        let raw = RawClient()
        for index in 0..<400 {
            let stream = UInt32(2 * index + 1)
            raw.server.now += 200
            raw.send(.headers(stream, Frame.get), .reset(stream, 8))
            for event in raw.server.takeEvents() where event.kind == .opened {
                raw.server.close(event.stream, .cancel)
            }
        }
        #expect(raw.server.flood == nil)
    }

    /// Ways to have the server reset a stream: each costs the client no RST_STREAM of its own.
    static let provocations: [(String, @Sendable (UInt32) -> [Frame])] = [
        (
            "window overflow",
            { [.headers($0, Frame.post, end: false), .windowUpdate($0, 0x7FFF_FFFF)] }
        ),
        (
            "more than the length",
            {
                [
                    .headers($0, Frame.post + [("content-length", "1")], end: false),
                    .data($0, "abc"),
                ]
            }
        ),
        ("upper case", { [.headers($0, Frame.get + [("Bad", "x")])] }),
        ("no path", { [.headers($0, Array(Frame.get.prefix(2)))] }),
        ("a connection field", { [.headers($0, Frame.get + [("connection", "close")])] }),
        (
            "trailers that do not end",
            {
                [.headers($0, Frame.post, end: false), .headers($0, [("a", "b")], end: false)]
            }
        ),
        (
            "malformed trailers",
            { [.headers($0, Frame.post, end: false), .headers($0, [("A", "b")])] }
        ),
    ]

    @Test(arguments: FloodTests.provocations.indices)
    func `resets that the server is made to send`(index: Int) {
        let raw = RawClient()
        let provoke = FloodTests.provocations[index].1
        var count = 0
        while raw.server.flood == nil && count < 200 {
            raw.send(provoke(UInt32(2 * count + 1)))
            for event in raw.server.takeEvents() where event.kind == .opened {
                raw.server.close(event.stream, .cancel)
            }
            count += 1
        }
        #expect(count == 101, "\(FloodTests.provocations[index].0)")
        expectCalm(raw, .reset)
    }

    @Test(arguments: [Frame.windowUpdate(1, 0), .data(1, "late"), .windowUpdate(9, 1)])
    func `what the library takes for an attack ends the connection`(frame: Frame) {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post), frame)
        #expect(
            raw.goAwayCode == HTTP2Code.protocolError || raw.goAwayCode == HTTP2Code.streamClosed)
        #expect(raw.server.isOver)
    }

    @Test func `CONTINUATION without end`() {
        let raw = RawClient()
        let block = Frame.block(Frame.get)
        var frames = [Frame(type: 1, flags: 1, stream: 1, payload: block)]
        for _ in 0..<8 {
            frames.append(
                Frame(type: 9, flags: 0, stream: 1, payload: Frame.block([("a", "b")])))
        }
        raw.send(frames)
        #expect(raw.server.flood == nil)
        #expect(raw.server.isReceivingHead)
        raw.send(Frame(type: 9, flags: 0, stream: 1, payload: []))
        expectCalm(raw, .continuation)
    }

    @Test(arguments: [false, true])
    func `eight CONTINUATION frames are a head`(cut: Bool) {
        let raw = RawClient()
        let block = Frame.block(Frame.get)
        var frames = [Frame(type: 1, flags: 1, stream: 1, payload: [])]
        for index in 0..<8 {
            let range = (index * block.count / 8)..<((index + 1) * block.count / 8)
            frames.append(
                Frame(type: 9, flags: index == 7 ? 4 : 0, stream: 1, payload: Array(block[range])))
        }
        raw.send(frames, step: cut ? 1 : .max)
        #expect(raw.server.opened().count == 1)
        #expect(!raw.server.isReceivingHead)
    }

    static let cheap: [(Flood, Frame, Int)] = [
        (.settings, .settings(), 40),
        (.ping, .ping(), 101),
        (.priority, .priority(3), 201),
        (.windowUpdate, .windowUpdate(0, 1), 505),
        (.unknownFrame, Frame(type: 0xBB, flags: 0, stream: 0, payload: [1]), 101),
        (.unknownFrame, Frame(type: 0xBB, flags: 0, stream: 77, payload: []), 101),
        (
            .priority,
            Frame(type: 16, flags: 0, stream: 0, payload: [0, 0, 0, 1] + Array("u=1".utf8)), 201
        ),
    ]

    @Test(arguments: FloodTests.cheap.indices, [1, Int.max])
    func `cheap frames`(index: Int, step: Int) {
        let (flood, frame, count) = FloodTests.cheap[index]
        let raw = RawClient()
        raw.send(Array(repeating: frame, count: count), step: step)
        expectCalm(raw, flood)
        let calm = RawClient()
        for _ in 0..<(3 * count) {
            calm.server.now += 1_000
            calm.send(frame)
        }
        #expect(calm.server.flood == nil)
    }

    @Test(arguments: [false, true])
    func `empty DATA`(isLeft: Bool) {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: false))
        if isLeft, let stream = raw.server.opened().first { raw.server.close(stream, .cancel) }
        raw.send(Array(repeating: .data(1, ""), count: 110))
        expectCalm(raw, .emptyData)
    }

    /// A client whose stream was reset by the server.
    private func cutOff(_ limits: HTTP2Limits = HTTP2Limits()) -> RawClient {
        let raw = RawClient(limits)
        raw.send(.headers(1, Frame.post, end: false))
        if let stream = raw.server.opened().first { raw.server.close(stream, .cancel) }
        raw.send([])
        return raw
    }

    @Test(arguments: [1, 64, 16_384])
    func `content of a reset stream that its window had allowed`(size: Int) {
        let raw = cutOff()
        let piece = String(repeating: "x", count: size)
        raw.send(Array(repeating: .data(1, piece), count: 65_536 / size))
        #expect(raw.server.flood == nil)
        // The next stream's content is nobody's flood.
        raw.send(.headers(3, Frame.post, end: false), .data(3, piece))
        raw.send(Array(repeating: .data(3, "x"), count: 1_000))
        #expect(raw.server.flood == nil)
        // One by one, since the connection's window holds for them as for any.
        for _ in 0..<200 { raw.send(.data(1, piece)) }
        #expect(raw.server.flood == nil)
        raw.send(.data(1, piece))
        expectCalm(raw, .lateData)
    }

    @Test(arguments: [true, false])
    func `content of a stream that the client itself has ended`(isReset: Bool) throws {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: !isReset))
        if isReset { raw.send(.reset(1, 8)) }
        let stream = try #require(raw.server.opened().first)
        #expect(isReset || raw.server.send(stream, "HTTP/1.1 204 No Content\r\n\r\n"))
        raw.server.close(stream, .finished)
        raw.send([])
        raw.send(Array(repeating: .data(1, "x"), count: 200), step: 100)
        #expect(raw.server.flood == nil)
        raw.send(.data(1, "x"))
        expectCalm(raw, .lateData)
    }

    @Test func `content does not pay for cheap frames where the stream is over`() {
        let raw = cutOff()
        for _ in 0..<100 { raw.send(.data(1, "x"), .ping()) }
        #expect(raw.server.flood == nil)
        raw.send(.data(1, "x"), .ping())
        expectCalm(raw, .ping)
    }

    @Test func `DATA of padding alone`() {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: false))
        let padded = Frame(type: 0, flags: 8, stream: 1, payload: [2, 0, 0])
        raw.send(Array(repeating: padded, count: 100))
        #expect(raw.server.flood == nil)
        raw.send(padded)
        expectCalm(raw, .emptyData)
    }

    @Test func `streams refused before the settings are acknowledged`() {
        var limits = HTTP2Limits()
        limits.concurrentStreamsMax = 1
        limits.earlyRefusalsMax = 10
        let server = End(.server, limits)
        server.receive(Frame.preface + Frame.settings().bytes)
        for index in 0..<111 {
            server.receive(Frame.headers(UInt32(2 * index + 1), Frame.get).bytes)
            _ = server.output()
        }
        #expect(server.flood == nil)
        server.receive(Frame.headers(223, Frame.get).bytes)
        _ = server.output()
        #expect(server.flood == .reset)
    }

    @Test func `heads of a stream that is over`() {
        let raw = RawClient()
        raw.send(.headers(1, Frame.get))
        for stream in raw.server.opened() {
            #expect(raw.server.send(stream, "HTTP/1.1 204 No Content\r\n\r\n"))
            raw.server.close(stream, .finished)
        }
        raw.send(.ping())
        #expect(raw.server.openStreams == 0)
        raw.send(Array(repeating: .headers(1, Frame.get), count: 50))
        #expect(raw.server.flood == nil)
        raw.send(Array(repeating: .headers(1, Frame.get), count: 60))
        expectCalm(raw, .unknownFrame)
    }

    @Test func `trailers that come with their request are those of a stream that is there`() {
        var limits = HTTP2Limits()
        limits.concurrentStreamsMax = 1
        let raw = RawClient(limits)
        // Each stream but the first is refused, which counts as a reset and as nothing else.
        for index in 0..<101 {
            let stream = UInt32(2 * index + 1)
            raw.send(.headers(stream, Frame.post, end: false), .headers(stream, [("a", "b")]))
        }
        #expect(raw.server.flood == nil)
        // Of those that are left the heads are stray: a hundred may be.
        raw.send(Array(repeating: .headers(201, [("a", "b")]), count: 100))
        #expect(raw.server.flood == nil)
        raw.send(.headers(203, Frame.post, end: false), .headers(203, [("a", "b")]))
        expectCalm(raw, .reset)
    }

    @Test func `a long stream of small messages trips nothing`() throws {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: false))
        let stream = try #require(raw.server.opened().first)
        #expect(raw.server.send(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"))
        for _ in 0..<5_000 {
            // As a client does that measures the bandwidth and returns each window at once.
            raw.send(
                .data(1, "hello"), .ping(), .windowUpdate(1, 5), .windowUpdate(0, 5))
            _ = raw.server.read(stream)
            #expect(raw.server.send(stream, "5\r\nworld\r\n"))
            raw.send([])
        }
        #expect(raw.server.flood == nil)
    }

    @Test func `answers to a client that does not read are bounded`() {
        var limits = HTTP2Limits()
        limits.outboundQueueMax = 50
        let server = End(.server, limits)
        server.receive(Frame.preface + Frame.settings().bytes)
        for index in 0..<60 {
            server.now += 1_000
            server.receive(Frame.ping(UInt8(index)).bytes)
        }
        #expect(!server.isGood)
        #expect(server.flood == .outboundQueue || server.flood == .library)
    }

    @Test func `a head that unpacks to more than its bound is refused, and the next one is not`() {
        let raw = RawClient()
        let large = String(repeating: "v", count: 3_900)
        // Into the table once, then named again and again by one byte.
        var block = Frame.block(Frame.get)
        block += [0x40] + Frame.integer(1, prefix: 7) + Array("x".utf8)
        block += Frame.integer(large.utf8.count, prefix: 7) + Array(large.utf8)
        block += Array(repeating: 0xBE, count: 10_000)
        raw.send(Frame(type: 1, flags: 5, stream: 1, payload: block))
        #expect(raw.resetCode(1) == HTTP2Code.enhanceYourCalm)
        #expect(raw.server.takeEvents().isEmpty)
        #expect(raw.server.bytesInUse == 0)
        raw.send(.headers(3, Frame.get))
        #expect(raw.server.opened().count == 1)
    }

    @Test func `a head of too many fields is refused`() {
        let raw = RawClient()
        let many = (0..<197).map { ("f\($0)", "x") }
        raw.send(.headers(1, Frame.get + many))
        #expect(raw.resetCode(1) == HTTP2Code.enhanceYourCalm)
        raw.send(.headers(3, Frame.get + many.dropLast()))
        #expect(raw.server.opened().count == 1)
    }

    @Test func `a window that is never opened holds a bounded output`() throws {
        let raw = RawClient()
        raw.send(.settings([(4, 0)]), .headers(1, Frame.get), .headers(3, Frame.get))
        let streams = raw.server.opened()
        try #require(streams.count == 2)
        #expect(raw.server.send(streams[0], "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"))
        var given = 0
        let piece = [UInt8](repeating: 1, count: 8_192)
        while !raw.server.isCongested(streams[0]) && given < 1_000_000 {
            #expect(raw.server.send(streams[0], bytes: piece))
            given += piece.count
        }
        #expect(given <= 80 << 10)
        // A stalled stream does not block its sibling.
        #expect(raw.server.send(streams[1], "HTTP/1.1 204 X\r\n\r\n"))
        raw.send([])
        #expect(raw.frames.contains { $0.type == 1 && $0.stream == 3 && $0.flags & 1 != 0 })
        // Nor does it go on for ever once the caller has had enough.
        raw.server.close(streams[0], .error)
        raw.server.close(streams[1], .finished)
        raw.send([])
        #expect(raw.resetCode(1) == HTTP2Code.internalError)
        #expect(raw.server.openStreams == 0)
        #expect(raw.server.bytesInUse == 0)
    }

    @Test func `a window opened byte by byte moves one byte each`() throws {
        let raw = RawClient()
        raw.send(.settings([(4, 0)]), .headers(1, Frame.get))
        let stream = try #require(raw.server.opened().first)
        #expect(
            raw.server.send(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n"
                    + String(repeating: "z", count: 3_000)))
        for _ in 0..<3_000 { raw.send(.windowUpdate(1, 1)) }
        #expect(raw.server.flood == nil)
        #expect(raw.frames.filter { $0.type == 0 }.reduce(0) { $0 + $1.payload.count } == 3_000)
    }
}
