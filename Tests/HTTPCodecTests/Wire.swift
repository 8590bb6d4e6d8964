import HTTP
import HTTPCodec
import Kernel

/// One session with its pool, its clock, and what it told.
final class End {
    var session: HTTP2Session
    var pool = BufferPool(budget: nil)
    var now: UInt64 = 1_000
    var events: [HTTP2Event] = []
    var isGood = true

    init(_ role: Role, _ limits: HTTP2Limits = HTTP2Limits(), isSecure: Bool = true) {
        guard let session = HTTP2Session(role: role, limits: limits, isSecure: isSecure, now: 1_000)
        else { preconditionFailure("There is memory.") }
        self.session = session
    }

    func collect() {
        while let event = session.nextEvent() { events.append(event) }
    }

    /// All that the session writes now, in windows of so many bytes.
    func output(window: Int = 65_536) -> [UInt8] {
        var bytes: [UInt8] = []
        var more = true
        while more {
            let piece = [UInt8](capacity: window) { output in
                more = self.session.produce(into: &output, &self.pool, now: self.now)
            }
            bytes += piece
            if piece.isEmpty { break }
        }
        collect()
        return bytes
    }

    /// Gives bytes in pieces of `step`.
    func receive(_ bytes: [UInt8], step: Int = .max) {
        var at = 0
        while at < bytes.count {
            let end = step < bytes.count - at ? at + step : bytes.count
            let piece = bytes.span.extracting(at..<end)
            if !session.receive(piece, &pool, now: now) { isGood = false }
            at = end
        }
        collect()
    }

    /// Reads a stream until it has no more.
    func read(_ stream: StreamID, room: Int = 4_096) -> (text: String, last: HTTP2Read) {
        var bytes: [UInt8] = []
        while true {
            var last = HTTP2Read.end
            let piece = [UInt8](capacity: room) { output in
                last = self.session.read(stream, into: &output, &self.pool)
            }
            bytes += piece
            guard case .bytes = last else { return (String(decoding: bytes, as: UTF8.self), last) }
        }
    }

    func send(_ stream: StreamID, _ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return session.send(stream, bytes.span, &pool)
    }

    func send(_ stream: StreamID, bytes: [UInt8]) -> Bool {
        session.send(stream, bytes.span, &pool)
    }

    func close(_ stream: StreamID, _ how: StreamClose) {
        session.close(stream, how, &pool)
    }

    func open(tag: UInt64 = 1) -> StreamID? { session.open(tag: tag) }
    func isCongested(_ stream: StreamID) -> Bool { session.isCongested(stream) }
    func isFlushed(_ stream: StreamID) -> Bool { session.isFlushed(stream) }
    func wasRefused(_ stream: StreamID) -> Bool { session.wasRefused(stream) }
    func sendEnd(_ stream: StreamID) { session.sendEnd(stream) }
    var openStreams: Int { session.openStreams }
    var isReceivingHead: Bool { session.isReceivingHead }
    var acceptsExtendedConnect: Bool { session.acceptsExtendedConnect }
    var lastReceived: UInt64 { session.lastReceived }
    var capacity: Int { session.capacity }
    var wantsRoundTrip: Bool { session.wantsRoundTrip }
    func setRoundTrip(microseconds: UInt32?) {
        session.setRoundTrip(microseconds: microseconds, now: now)
    }
    var flood: Flood? { session.flood }
    var isOver: Bool { session.isOver }
    var bytesInUse: Int { pool.bytesInUse }

    /// Takes the events out, those of the connection left out.
    func takeEvents() -> [HTTP2Event] {
        defer { events = [] }
        return events.filter { !$0.stream.isNone }
    }

    /// The streams that were opened since the last time.
    func opened() -> [StreamID] {
        takeEvents().filter { $0.kind == .opened }.map(\.stream)
    }
}

/// A client and a server that are tied together in memory.
final class Wire {
    var client: End
    var server: End
    var step: Int

    init(
        _ limits: HTTP2Limits = HTTP2Limits(), clientLimits: HTTP2Limits = HTTP2Limits(),
        step: Int = .max
    ) {
        client = End(.client, clientLimits)
        server = End(.server, limits)
        self.step = step
    }

    /// Carries bytes both ways until neither has more.
    func run() {
        while true {
            let out = client.output()
            server.receive(out, step: step)
            let back = server.output()
            client.receive(back, step: step)
            if out.isEmpty && back.isEmpty { return }
        }
    }

    /// Lets time pass on both sides.
    func advance(_ milliseconds: UInt64) {
        client.now += milliseconds
        server.now += milliseconds
    }

    /// Opens a stream, sends `text`, and gives both ends' ids.
    func request(_ text: String) -> (client: StreamID, server: StreamID)? {
        run()
        _ = server.takeEvents()
        guard let stream = client.open(), client.send(stream, text) else { return nil }
        run()
        guard let opened = server.opened().first else { return nil }
        return (stream, opened)
    }
}

extension Array where Element == UInt8 {
    /// What `body` writes into so much room.
    init(capacity: Int, _ body: (inout OutputSpan<UInt8>) -> Void) {
        var buffer = Buffer(capacity: capacity)
        buffer.withFree { body(&$0) }
        let span = buffer.span
        self = span.indices.map { span[$0] }
    }
}
