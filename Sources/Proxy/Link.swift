// A value that cannot be copied is borrowed out of its optional in place.
// swift-format-ignore-file: NeverForceUnwrap

import BasicContainers
import HTTP
import HTTPCodec
import Kernel
import TLS

/// What a read of a link gave; bytes are in the array that was passed.
enum LinkRead: Equatable {
    /// At least one byte of plaintext was appended.
    case bytes
    /// Nothing to read now.
    case wouldBlock
    /// The peer ended its sending side; `clean` is false for a TLS connection without close_notify.
    case end(clean: Bool)
    /// The connection is broken.
    case failed
}

/// What a write to a link gave.
///
/// A link takes all bytes or is broken: what the socket refuses waits in `output`.
enum LinkWrite: Equatable {
    case taken
    case failed
}

/// What one worker lends to the link in use: buffers for ciphertext, and the sessions of streams.
struct CipherBuffers: ~Copyable {
    /// HTTP/2 connections.
    var multiplexers = Multiplexers()
    /// Ciphertext as read from a socket.
    var input = RigidArray<UInt8>(capacity: Scratch.readBytes)
    /// Ciphertext to be sent: all that one read of a plain link brings leaves in one call.
    var output = RigidArray<UInt8>(
        capacity: TLSSession.ciphertextCapacity(forPlaintext: Scratch.bulkBytes))
    /// A head and a small content side by side, so that they leave in one record.
    var joined = RigidArray<UInt8>(capacity: TLSSession.recordBytesMax)
}

/// Sizes of the worker's scratch buffers, in bytes.
enum Scratch {
    /// One read of a socket.
    ///
    /// Multiples of a TLS record keep records whole.
    static let readBytes = 64 * 1024
    /// Plaintext of one read: what was held inside libssl may come on top.
    static let plaintextBytes = readBytes + 16 * 1024
    /// The rest of a tick's bytes, in one read: fewer acknowledgements, and fewer turns of the peer, than reads of
    /// `readBytes` make.
    ///
    /// For what is sealed; what is plain is moved unseen where there is much of it.
    static let bulkBytes = tickBytes - plaintextBytes
    /// A written head, with room for a small content behind it.
    static let outputBytes = 160 * 1024
    /// Bytes that one connection may move in a tick before others have their turn.
    static let tickBytes = 256 * 1024
    /// What clients' handshakes may take of a tick; the first one begins in any case.
    static let handshakeNanoseconds: Int64 = 1_000_000
}

/// One connection's bytes, plain, TLS or a stream of HTTP/2, with what the last edges said about it.
///
/// A link owns a buffer, or a pipe, only while bytes are stuck: plaintext for a plain link, ciphertext for TLS. While it
/// does, it is congested, and whoever feeds it stops reading its own source. A stream reads and writes like a connection of
/// HTTP/1.1; its bytes are with its session.
struct Link: ~Copyable {
    // In an order that leaves no gaps.
    /// `Socket.none` for a stream.
    let socket: Socket
    /// The pipe with bytes, behind those in `output`, that the socket did not take either; `.max`: none.
    private(set) var pipe = UInt32.max
    private let byAddress = ByAddress()
    private let ownStream: StreamReference
    private(set) var session: TLSSession?
    /// Bytes that the socket did not take.
    private(set) var output = Buffer()
    /// Bytes go to the socket as they are.
    private(set) var isPlain = true
    /// More waits than should: stop reading what would be sent here.
    private(set) var isCongested = false
    /// An edge announced input that no short read has exhausted yet.
    var isReadable = false
    /// RDHUP, HUP or ERR was announced: reading goes on until 0 or an error (no second edge comes).
    var peerEnded = false { didSet { if peerEnded { readsOn = true } } }
    /// The peer has sent an urgent byte of TCP, at which `splice` stops and a read is short: from then on what comes is read
    /// until there is nothing.
    private(set) var wasUrgent = false
    /// A short read does not exhaust the socket: a FIN may have come with the bytes, which no second edge announces, or it
    /// stopped at an urgent byte.
    private var readsOn = false

    init(_ socket: consuming Socket) {
        self.socket = socket
        ownStream = .none
    }

    /// A stream whose request, or answer, is there to be read or about to come.
    init(_ stream: StreamReference) {
        socket = .none
        ownStream = stream
        isPlain = false
    }

    /// The stream that this is, instead of a socket.
    var stream: StreamReference? {
        @inline(always) get { ownStream.connection == .none ? nil : ownStream }
    }

    /// Whether ALPN chose HTTP/2.
    mutating func speaksHTTP2() -> Bool { session?.isHTTP2 ?? false }

    /// Whether bytes are TLS records.
    var isSealed: Bool { !isPlain && stream == nil }

    /// From here on bytes are sealed.
    mutating func seal(with session: consuming TLSSession) {
        self.session = consume session
        isPlain = false
    }

    /// What an event leaves to be done.
    enum Noted {
        /// Only input is to be read.
        case readable
        /// Output waits, or there is no input.
        case other
    }

    /// Notes what an event said.
    @inline(always)
    mutating func note(_ readiness: Readiness) -> Noted {
        if !readiness.isDisjoint(with: .unusual) {
            noteUnusual(readiness)
        } else if readiness.contains(.readable) {
            isReadable = true
        }
        return isReadable && !isCongested ? .readable : .other
    }

    @inline(never)
    private mutating func noteUnusual(_ readiness: Readiness) {
        if !readiness.isDisjoint(with: .anyEnd) { peerEnded = true }
        if readiness.contains(.urgent) {
            wasUrgent = true
            readsOn = true
        }
        isReadable = true
    }

    /// Reads once into an empty `bytes` of `Scratch.plaintextBytes`.
    @inline(always)
    mutating func read(
        into bytes: inout Buffer, _ cipher: inout CipherBuffers,
        _ pool: inout BufferPool
    ) -> LinkRead {
        if !isPlain { return readOtherwise(into: &bytes, &cipher, &pool) }
        return read(behind: &bytes, atMost: .max)
    }

    /// Reads once behind the bytes that stand in a buffer, where there must be room, at most `limit` bytes; the link is
    /// plain.
    @inline(always)
    mutating func read(behind bytes: inout Buffer, atMost limit: Int) -> LinkRead {
        let most = min(limit, bytes.roomBehind)
        switch socket.read(into: &bytes, atMost: most) {
        case .bytes(let count):
            if count < most && !readsOn { isReadable = false }
            return .bytes
        case .wouldBlock:
            isReadable = false
            return .wouldBlock
        case .end: return .end(clean: true)
        case .failed: return .failed
        }
    }

    @inline(never)
    private mutating func readOtherwise(
        into bytes: inout Buffer, _ cipher: inout CipherBuffers,
        _ pool: inout BufferPool
    ) -> LinkRead {
        guard let stream else { return readSealed(into: &bytes, &cipher, &pool) }
        let result = cipher.multiplexers.read(stream, into: &bytes, &pool)
        if result == .wouldBlock { isReadable = false }
        return result
    }

    private mutating func readSealed(
        into bytes: inout Buffer, _ cipher: inout CipherBuffers,
        _ pool: inout BufferPool
    ) -> LinkRead {
        cipher.input.removeAll()
        var ended = false
        switch socket.read(into: &cipher.input) {
        case .bytes(let count):
            if count < Scratch.readBytes && !readsOn { isReadable = false }
        case .wouldBlock:
            isReadable = false
            return .wouldBlock
        case .end: ended = true
        case .failed: return .failed
        }
        if ended { return .end(clean: session?.closeNotifyReceived ?? true) }
        var sealed = RigidArray<UInt8>()
        swap(&sealed, &cipher.input)
        let result = open(sealed.span, into: &bytes, &cipher, &pool)
        swap(&sealed, &cipher.input)
        return result
    }

    /// What a step of a handshake did; what it had to say is sent.
    struct HandshakeStep {
        enum State { case wantsInput, finished, failed }
        /// Bytes used of the input.
        var consumed: Int
        var state: State
    }

    /// Gives ciphertext to the handshake and sends its answer.
    mutating func handshake(
        _ bytes: Span<UInt8>, _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> HandshakeStep {
        var from = 0
        while true {
            cipher.output.removeAll()
            let rest = bytes.extracting(from..<bytes.count)
            let result = cipher.output.edit { out in
                session!.handshake(ciphertext: rest, into: &out)
            }
            from += result.consumed
            if push(cipher.output, &pool) == .failed {
                return HandshakeStep(consumed: from, state: .failed)
            }
            switch result.state {
            case .outputFull: continue
            case .wantsInput: return HandshakeStep(consumed: from, state: .wantsInput)
            case .finished: return HandshakeStep(consumed: from, state: .finished)
            case .failed: return HandshakeStep(consumed: from, state: .failed)
            }
        }
    }

    /// Decrypts ciphertext that is at hand.
    mutating func open(
        _ ciphertext: Span<UInt8>, into bytes: inout Buffer,
        _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> LinkRead {
        var from = 0
        let before = bytes.count
        while true {
            cipher.output.removeAll()
            let rest = ciphertext.extracting(from..<ciphertext.count)
            let result = bytes.withFree { plaintext in
                cipher.output.edit { reply in
                    session!.read(ciphertext: rest, into: &plaintext, reply: &reply)
                }
            }
            from += result.consumed
            if push(cipher.output, &pool) == .failed { return .failed }
            switch result.state {
            case .replyFull: continue
            case .wantsInput: return bytes.count > before ? .bytes : .wouldBlock
            case .closed:
                peerEnded = true
                isReadable = true
                return bytes.count > before ? .bytes : .end(clean: true)
            case .failed: return .failed
            case .plaintextFull: return .failed
            }
        }
    }

    /// Sends `head` and then `content`, in one system call where the socket takes them; see `Socket.write` for `joining`.
    @inline(always)
    mutating func send(
        _ head: Span<UInt8>, then content: Span<UInt8>, joining: Bool = false,
        _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> LinkWrite {
        if content.isEmpty { return send(head, &cipher, &pool) }
        if head.isEmpty { return send(content, &cipher, &pool) }
        if !isPlain || isCongested { return sendOtherwise(head, content, &cipher, &pool) }
        let result = socket.write(head, then: content, joining: joining)
        if case .bytes(let count) = result, count == head.count &+ content.count { return .taken }
        return keepRest(result, head, content, &pool)
    }

    /// Sends bytes.
    @inline(always)
    mutating func send(
        _ content: Span<UInt8>, _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> LinkWrite {
        if content.isEmpty { return .taken }
        if !isPlain || isCongested { return sendOtherwise(content, Span(), &cipher, &pool) }
        let result = socket.write(content)
        if case .bytes(let count) = result, count == content.count { return .taken }
        return keepRest(result, content, Span(), &pool)
    }

    /// Seals bytes, gives them to the stream, or puts them behind those that are stuck.
    @inline(never)
    private mutating func sendOtherwise(
        _ head: Span<UInt8>, _ content: Span<UInt8>,
        _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> LinkWrite {
        if let stream {
            let result = cipher.multiplexers.send(stream, head, then: content, &pool)
            isCongested = result == .congested
            return result == .failed ? .failed : .taken
        }
        if session == nil {
            return stash(head, &pool) == .failed ? .failed : stash(content, &pool)
        }
        if content.isEmpty { return seal(head, &cipher, &pool) }
        return seal(head, then: content, &cipher, &pool)
    }

    /// Keeps what a write did not take.
    @inline(never)
    private mutating func keepRest(
        _ result: IOResult, _ head: Span<UInt8>, _ content: Span<UInt8>, _ pool: inout BufferPool
    ) -> LinkWrite {
        switch result {
        case .bytes(let count):
            let fromHead = min(count, head.count)
            let rest = head.extracting(fromHead..<head.count)
            if stash(rest, &pool) == .failed { return .failed }
            return stash(content.extracting((count - fromHead)..<content.count), &pool)
        case .wouldBlock:
            return stash(head, &pool) == .failed ? .failed : stash(content, &pool)
        case .end, .failed: return .failed
        }
    }

    /// Offers what is stuck to the socket again.
    mutating func flush(_ pool: inout BufferPool) -> LinkWrite {
        while !output.isEmpty {
            switch socket.write(output.span) {
            case .bytes(let count): output.consume(count)
            case .wouldBlock: return .taken
            case .end, .failed: return .failed
            }
        }
        pool.reclaim(&output)
        if pipe != .max { return flushPipe(&pool) }
        isCongested = false
        return .taken
    }

    @inline(never)
    private mutating func flushPipe(_ pool: inout BufferPool) -> LinkWrite {
        let waiting = pipe
        pipe = .max
        isCongested = false
        return drain(waiting, &pool)
    }

    /// Sends what is in a pipe, behind what is stuck; what the socket does not take waits there, else the pipe goes back.
    @inline(always)
    mutating func drain(_ waiting: UInt32, _ pool: inout BufferPool) -> LinkWrite {
        if isCongested {
            pipe = waiting
            return .taken
        }
        // Until all is taken or the socket has refused: what is left after a short write, no event would announce.
        while !pool.pipes.isEmpty(waiting) {
            switch pool.pipes.drain(waiting, to: socket) {
            case .bytes(let count) where count > 0: continue
            case .wouldBlock:
                pipe = waiting
                isCongested = true
                return .taken
            case .bytes, .end, .failed:
                pool.pipes.give(waiting)
                return .failed
            }
        }
        pool.pipes.give(waiting)
        return .taken
    }

    /// Its session has sent enough of what waited.
    mutating func becameWritable() { isCongested = false }

    /// Gives the stuck bytes up, before the link goes.
    mutating func discardOutput(_ pool: inout BufferPool) {
        pool.reclaim(&output)
        if pipe != .max { pool.pipes.give(pipe) }
        pipe = .max
        isCongested = false
    }

    /// Says close_notify on a TLS link; nothing on a plain one.
    mutating func sayClose(_ cipher: inout CipherBuffers, _ pool: inout BufferPool) {
        guard session != nil, !isCongested else { return }
        cipher.output.removeAll()
        cipher.output.edit { out in _ = session?.closeNotify(into: &out) }
        _ = push(cipher.output, &pool)
    }

    /// Says that no more will be sent, once nothing is stuck and `sayClose` has said so in TLS; reading goes on.
    mutating func endSending(_ cipher: inout CipherBuffers) {
        if let stream {
            cipher.multiplexers.sendEnd(stream)
        } else {
            socket.shutdownWrite()
        }
    }

    /// The peer has said close_notify: what may still come is its FIN.
    var heardClose: Bool { mutating get { session?.closeNotifyReceived ?? false } }

    /// The connection was reset; behind the end of what the peer sends, reading does not tell.
    var wasReset: Bool { stream == nil && socket.connectResult() != 0 }

    /// Sends ciphertext (or a reply of libssl) that stands in the worker's buffer.
    mutating func push(
        _ bytes: borrowing RigidArray<UInt8>, _ pool: inout BufferPool
    ) -> LinkWrite {
        if bytes.isEmpty { return .taken }
        if isCongested { return stash(bytes.span, &pool) }
        switch socket.write(bytes.span) {
        case .bytes(let count):
            if count == bytes.count { return .taken }
            return stash(bytes.span.extracting(count..<bytes.count), &pool)
        case .wouldBlock: return stash(bytes.span, &pool)
        case .end, .failed: return .failed
        }
    }

    /// Head and content leave in one record where they fit.
    private mutating func seal(
        _ head: Span<UInt8>, then content: Span<UInt8>,
        _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> LinkWrite {
        if head.count + content.count > cipher.joined.capacity {
            if seal(head, &cipher, &pool) == .failed { return .failed }
            return seal(content, &cipher, &pool)
        }
        var joined = RigidArray<UInt8>()
        swap(&joined, &cipher.joined)
        joined.removeAll()
        joined.append(copying: head)
        joined.append(copying: content)
        let result = seal(joined.span, &cipher, &pool)
        swap(&joined, &cipher.joined)
        return result
    }

    private mutating func seal(
        _ bytes: Span<UInt8>, _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> LinkWrite {
        var from = 0
        while from < bytes.count {
            cipher.output.removeAll()
            let rest = bytes.extracting(from..<bytes.count)
            let result = cipher.output.edit { out in
                session!.write(plaintext: rest, into: &out)
            }
            guard case .sealed(let count) = result, count > 0 else { return .failed }
            from += count
            if push(cipher.output, &pool) == .failed { return .failed }
        }
        return .taken
    }

    private mutating func stash(_ bytes: Span<UInt8>, _ pool: inout BufferPool) -> LinkWrite {
        if pipe != .max {
            let waiting = pipe
            pipe = .max
            if !pool.pour(pipe: waiting, into: &output) { return .failed }
        }
        guard pool.append(bytes, to: &output) else { return .failed }
        isCongested = !output.isEmpty
        return .taken
    }
}
