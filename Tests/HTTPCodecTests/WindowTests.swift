// Windows are returned for what was read, and grow for readers and senders that are fast.
import HTTP
import HTTPCodec
import Testing

@Suite struct WindowTests {
    private static let post = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"

    /// Bytes by which WINDOW_UPDATE frames of a stream open its window.
    private func opened(_ frames: [Frame], _ stream: UInt32) -> Int {
        frames.filter { $0.type == 8 && $0.stream == stream }
            .reduce(0) { $0 + Int($1.payload.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }) }
    }

    private func begun(_ raw: RawClient, _ stream: UInt32) -> StreamID? {
        raw.send(.headers(stream, Frame.post, end: false))
        return raw.server.opened().first
    }

    private let large = String(repeating: "d", count: 16_384)

    @Test func `a reader that does not read gets a window once`() throws {
        let raw = RawClient()
        raw.server.setRoundTrip(microseconds: 0)
        raw.send(.headers(1, Frame.post, end: false))
        raw.send(Array(repeating: .data(1, large), count: 4))
        let stream = try #require(raw.server.opened().first)
        #expect(opened(raw.frames, 1) == 0)
        #expect(opened(raw.frames, 0) == 0)
        #expect(raw.server.bytesInUse >= 65_536 && raw.server.bytesInUse <= 160 << 10)
        #expect(raw.server.read(stream).text.utf8.count > 65_536)
        raw.send([])
        #expect(opened(raw.frames, 1) >= 65_536)
        #expect(raw.server.bytesInUse == 0)
    }

    @Test func `a client that overruns a window is cut off`() {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: false))
        raw.send(Array(repeating: .data(1, large), count: 5))
        #expect(
            raw.resetCode(1) == HTTP2Code.flowControlError
                || raw.goAwayCode == HTTP2Code.flowControlError)
    }

    @Test func `a slow reader's window does not grow`() throws {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: false))
        let stream = try #require(raw.server.opened().first)
        var sent = 0
        for _ in 0..<40 {
            raw.send(.data(1, large))
            sent += large.utf8.count
            raw.server.now += 50
            _ = raw.server.read(stream)
        }
        raw.send([])
        #expect(opened(raw.frames, 1) <= sent)
    }

    /// Sends and reads content of a stream as fast as it goes; what its window and the connection's are then.
    private func windows(
        afterFastContentOf raw: RawClient, frames: Int = 500, milliseconds: UInt64 = 0
    ) throws -> (stream: Int, connection: Int) {
        let stream = try #require(begun(raw, 1))
        var sent = 0
        for _ in 0..<frames {
            raw.send(.data(1, large))
            sent += large.utf8.count
            raw.server.now += milliseconds
            _ = raw.server.read(stream, room: 65_536)
        }
        raw.send([])
        return (65_536 + opened(raw.frames, 1) - sent, (1 << 20) + opened(raw.frames, 0) - sent)
    }

    @Test func `a fast reader's windows grow, to their bound and no further`() throws {
        var limits = HTTP2Limits()
        limits.windowMax = 2 << 20
        let raw = RawClient(limits)
        raw.server.setRoundTrip(microseconds: 10_000)
        let (stream, connection) = try windows(afterFastContentOf: raw)
        // The library gives windows back by halves.
        #expect(stream > 1 << 20 && stream <= 2 << 20)
        #expect(connection > 1 << 20 && connection <= 2 << 20)
    }

    @Test func `over loopback windows stay near a megabyte`() throws {
        let raw = RawClient()
        raw.server.setRoundTrip(microseconds: 40)
        let (stream, connection) = try windows(afterFastContentOf: raw)
        #expect(stream > 600_000 && stream <= 1_300_000)
        #expect(connection > 600_000 && connection <= 1_300_000)
    }

    @Test func `a window that is read in a round trip grows, no other one does`() throws {
        for (perFrame, grows) in [(UInt64(5), true), (10, false)] {
            // Four frames fill the first window: 20 ms of a round trip of 10, or 40.
            let raw = RawClient()
            raw.server.setRoundTrip(microseconds: 10_000)
            let (stream, _) = try windows(
                afterFastContentOf: raw, frames: 40, milliseconds: perFrame)
            #expect((stream > 65_536) == grows)
        }
    }

    @Test func `a round trip is asked for when a window would grow, and when it is old`() throws {
        let raw = RawClient()
        #expect(!raw.server.wantsRoundTrip)
        let (stream, _) = try windows(afterFastContentOf: raw, frames: 40)
        #expect(stream <= 65_536, "nothing grows before it is known")
        #expect(raw.server.wantsRoundTrip)
        raw.server.setRoundTrip(microseconds: nil)
        #expect(!raw.server.wantsRoundTrip)
        raw.server.setRoundTrip(microseconds: 100)
        var id = try #require(begun(raw, 3))
        for _ in 0..<40 {
            raw.send(.data(3, large))
            _ = raw.server.read(id, room: 65_536)
        }
        #expect(!raw.server.wantsRoundTrip)
        raw.server.now += 1_000
        id = try #require(begun(raw, 5))
        for _ in 0..<40 {
            raw.send(.data(5, large))
            _ = raw.server.read(id, room: 65_536)
        }
        #expect(raw.server.wantsRoundTrip)
    }

    @Test(arguments: [0, 1, 2])
    func `bytes that nobody reads open the connection's window again`(way: Int) throws {
        let raw = RawClient()
        var sent = 0
        for index in 0..<40 {
            let stream = UInt32(2 * index + 1)
            if way == 0 { raw.send(.headers(stream, Frame.post, end: false)) }
            switch way {
            case 0:
                // Left by the server with bytes unread, and more on the way.
                raw.send(.data(stream, large))
                for event in raw.server.takeEvents() where event.kind == .opened {
                    raw.server.close(event.stream, .cancel)
                }
                raw.send(.data(stream, large))
                sent += 2 * large.utf8.count
            case 1:
                // Reset by the client with bytes unread.
                raw.send(.headers(stream, Frame.post, end: false), .data(stream, large))
                raw.send(.reset(stream, 8))
                for event in raw.server.takeEvents() where event.kind == .opened {
                    raw.server.close(event.stream, .cancel)
                }
                sent += large.utf8.count
            default:
                // Padding, and content of a request that is malformed.
                raw.send(.headers(stream, Frame.post + [("X", "y")], end: false))
                let padded = [UInt8(255)] + Array(repeating: 0, count: 16_000)
                raw.send(Frame(type: 0, flags: 8, stream: stream, payload: padded))
                sent += padded.count
            }
            if raw.server.flood != nil { break }
        }
        #expect(raw.server.flood == nil)
        raw.send([])
        // The library waits until half of the window is worth an update.
        #expect(sent - opened(raw.frames, 0) <= 512 << 10)
        #expect(raw.server.bytesInUse == 0)
    }

    @Test func `padding is returned at once`() throws {
        let raw = RawClient()
        raw.send(.headers(1, Frame.post, end: false))
        let stream = try #require(raw.server.opened().first)
        for _ in 0..<2_000 {
            let payload = [UInt8(255)] + [0x61] + Array(repeating: 0, count: 255)
            raw.send(Frame(type: 0, flags: 8, stream: 1, payload: payload))
        }
        #expect(raw.goAwayCode == nil)
        #expect(opened(raw.frames, 1) >= 400_000)
        _ = raw.server.read(stream)
    }

    @Test func `congestion is told and ends`() throws {
        let wire = Wire()
        let ids = try #require(wire.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(
            wire.server.send(ids.server, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"))
        let chunk = "10000\r\n" + String(repeating: "x", count: 65_536) + "\r\n"
        #expect(wire.server.send(ids.server, chunk))
        #expect(wire.server.send(ids.server, chunk))
        #expect(wire.server.isCongested(ids.server))
        _ = wire.server.takeEvents()
        wire.run()
        #expect(wire.server.isCongested(ids.server), "the client has not read")
        _ = wire.client.read(ids.client, room: 65_536)
        wire.run()
        #expect(!wire.server.isCongested(ids.server))
        #expect(wire.server.takeEvents().contains { $0.kind == .writable })
        _ = wire.client.read(ids.client, room: 65_536)
        wire.run()
        #expect(wire.server.isFlushed(ids.server))
    }
}
