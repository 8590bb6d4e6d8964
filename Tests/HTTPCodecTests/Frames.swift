import HTTPCodec

/// A frame as it is on the wire.
struct Frame: Equatable {
    var type: UInt8
    var flags: UInt8
    var stream: UInt32
    var payload: [UInt8]

    /// The code of RST_STREAM, or of GOAWAY.
    var code: UInt32 {
        let at = type == 7 ? 4 : 0
        guard payload.count >= at + 4 else { return .max }
        return payload[at..<(at + 4)].reduce(0) { $0 << 8 | UInt32($1) }
    }

    var bytes: [UInt8] {
        let count = payload.count
        return [
            UInt8(count >> 16 & 0xFF), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF), type, flags,
        ]
            + Frame.word(stream) + payload
    }

    static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// The whole frames of some bytes, behind a client's preface if there is one.
    static func parse(_ bytes: [UInt8]) -> [Frame] {
        var at = bytes.starts(with: preface) ? preface.count : 0
        var frames: [Frame] = []
        while at + 9 <= bytes.count {
            let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            let stream = bytes[(at + 5)..<(at + 9)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let end = min(at + 9 + length, bytes.count)
            frames.append(
                Frame(
                    type: bytes[at + 3], flags: bytes[at + 4], stream: stream,
                    payload: Array(bytes[(at + 9)..<end])))
            at = end
        }
        return frames
    }

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    static func settings(_ entries: [(UInt16, UInt32)] = []) -> Frame {
        let payload = entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 0xFF)] + word($0.1) }
        return Frame(type: 4, flags: 0, stream: 0, payload: payload)
    }

    static let settingsACK = Frame(type: 4, flags: 1, stream: 0, payload: [])

    static func headers(
        _ stream: UInt32, _ fields: [(String, String)], end: Bool = true
    ) -> Frame {
        Frame(type: 1, flags: end ? 5 : 4, stream: stream, payload: block(fields))
    }

    /// Fields as literals that enter no table (RFC 7541 §6.2.2).
    static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { [0] + string($0.0) + string($0.1) }
    }

    private static func string(_ text: String) -> [UInt8] {
        integer(text.utf8.count, prefix: 7) + Array(text.utf8)
    }

    static func integer(_ value: Int, prefix: Int) -> [UInt8] {
        let most = (1 << prefix) - 1
        if value < most { return [UInt8(value)] }
        var bytes = [UInt8(most)]
        var rest = value - most
        while rest >= 128 {
            bytes.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    static func data(_ stream: UInt32, _ text: String, end: Bool = false) -> Frame {
        Frame(type: 0, flags: end ? 1 : 0, stream: stream, payload: Array(text.utf8))
    }

    static func reset(_ stream: UInt32, _ code: UInt32) -> Frame {
        Frame(type: 3, flags: 0, stream: stream, payload: word(code))
    }

    static func windowUpdate(_ stream: UInt32, _ count: UInt32) -> Frame {
        Frame(type: 8, flags: 0, stream: stream, payload: word(count))
    }

    static func ping(_ byte: UInt8 = 1) -> Frame {
        Frame(type: 6, flags: 0, stream: 0, payload: Array(repeating: byte, count: 8))
    }

    static func priority(_ stream: UInt32) -> Frame {
        Frame(type: 2, flags: 0, stream: stream, payload: word(0) + [15])
    }

    static let get = [
        (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a.example"),
    ]
    static let post = [
        (":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "a.example"),
    ]
}

/// A server whose client is written by the test, frame by frame.
final class RawClient {
    var server: End
    var frames: [Frame] = []

    /// Begins with preface and SETTINGS, and acknowledges the server's.
    init(_ limits: HTTP2Limits = HTTP2Limits()) {
        server = End(.server, limits)
        server.receive(Frame.preface + Frame.settings().bytes)
        _ = server.output()
        server.receive(Frame.settingsACK.bytes)
        server.collect()
        _ = server.takeEvents()
    }

    /// Sends frames and keeps what comes back.
    func send(_ sent: Frame..., step: Int = .max) {
        send(sent, step: step)
    }

    func send(_ sent: [Frame], step: Int = .max) {
        server.receive(sent.flatMap(\.bytes), step: step)
        frames += Frame.parse(server.output())
    }

    /// The code with which a stream was reset.
    func resetCode(_ stream: UInt32) -> UInt32? {
        frames.first { $0.type == 3 && $0.stream == stream }?.code
    }

    /// The code of GOAWAY, if it was said.
    var goAwayCode: UInt32? { frames.last { $0.type == 7 }?.code }
}
