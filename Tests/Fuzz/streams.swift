// Any bytes, in any pieces, to an HTTP/2 server: nothing traps, what is read of a request's head is
// taken or refused by the parser, and content behind it keeps to the framing that the head says.
import HTTP
import HTTPCodec
import Kernel

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let input = UnsafeBufferPointer(start: start, count: count)
    // The first byte says how the rest is cut, and whether a preface comes before it.
    let step = Int(input[0] & 0x3F) * Int(input[0] & 0x3F) + 1
    var bytes: [UInt8] = []
    if input[0] & 0x40 == 0 {
        bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
    }
    bytes += input[1...]
    var peer = Peer()
    peer.run(bytes, step, answers: input[0] & 0x80 == 0)
    return 0
}

/// The server's side: reads every stream, answers every request, leaves when it is told to.
struct Peer: ~Copyable {
    var session: HTTP2Session
    var pool = BufferPool(budget: nil)
    var texts: [StreamID: [UInt8]] = [:]
    var now: UInt64 = 1

    init() {
        guard let made = HTTP2Session(role: .server, isSecure: true, now: 1) else { fatalError() }
        session = made
    }

    mutating func run(_ bytes: [UInt8], _ step: Int, answers: Bool) {
        var at = 0
        var isGood = true
        while at < bytes.count && isGood {
            let end = min(at + step, bytes.count)
            isGood = session.receive(bytes.span.extracting(at..<end), &pool, now: now)
            at = end
            now += 1
            events(answers)
            produce()
            events(answers)
        }
        session.connectionEnded(&pool)
        events(answers)
        for stream in texts.keys { session.close(stream, .finished, &pool) }
        precondition(session.openStreams == 0, "a stream stays behind")
        session.release(&pool)
        precondition(pool.bytesInUse == 0, "a buffer is lost")
    }

    mutating func produce() {
        var buffer = Buffer(capacity: 4_096)
        while session.produce(into: &buffer, &pool, now: now) {
            if buffer.isEmpty { break }
            buffer.removeAll()
        }
    }

    mutating func events(_ answers: Bool) {
        while let event = session.nextEvent() {
            switch event.kind {
            case .opened:
                precondition(texts[event.stream] == nil, "opened twice")
                texts[event.stream] = []
            case .readable:
                read(event.stream)
                if answers { answer(event.stream) }
            case .reset:
                session.close(event.stream, .cancel, &pool)
                texts[event.stream] = nil
            case .writable, .goAway, .capacity: break
            }
        }
    }

    mutating func read(_ stream: StreamID) {
        var buffer = Buffer(capacity: 1_000)
        while case .bytes = session.read(stream, into: &buffer, &pool) {
            for index in buffer.span.indices { texts[stream]?.append(buffer.span[index]) }
            buffer.removeAll()
        }
        if let text = texts[stream] { check(text) }
    }

    /// The text is one request and no more.
    func check(_ text: [UInt8]) {
        var head = RequestHead()
        switch head.parse(text.span) {
        case .malformed: return
        case .incomplete: preconditionFailure("a head comes whole")
        case .complete(let used):
            var content = ContentReader(head.framing)
            var at = used
            if head.upgrade == .websocket { return }
            while at < text.count {
                switch content.next(text.span, from: &at) {
                case .content, .trailer: break
                case .end:
                    precondition(at == text.count, "bytes behind the request")
                    return
                case .incomplete: return
                case .malformed:
                    // Trailers may be more than the decoder takes; nothing else may be wrong.
                    precondition(text.suffix(2) == [13, 10], "broken framing")
                    return
                }
            }
        }
    }

    mutating func answer(_ stream: StreamID) {
        guard let text = texts[stream], !text.isEmpty else { return }
        let isUpgrade = text.starts(with: Array("GET".utf8)) && contains(text, "upgrade: websocket")
        let answer =
            isUpgrade && text.count % 2 == 0
            ? "HTTP/1.1 101 X\r\nupgrade: websocket\r\n\r\nabc"
            : "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n"
        let bytes = Array(answer.utf8)
        guard session.send(stream, bytes.span, &pool) else { return }
        if isUpgrade { read(stream) }
        session.close(stream, .finished, &pool)
        texts[stream] = nil
    }

    func contains(_ text: [UInt8], _ word: String) -> Bool {
        let word = Array(word.utf8)
        guard text.count >= word.count else { return false }
        return (0...(text.count - word.count)).contains {
            text[$0..<($0 + word.count)] == word[...]
        }
    }
}
