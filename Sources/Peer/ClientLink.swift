// A value that cannot be copied is borrowed out of its optional in place.
// swift-format-ignore-file: NeverForceUnwrap

import BasicContainers
import HTTP
import HTTPCodec
import Kernel
import TLS

/// Room for what is on its way between a socket and a call's text; one for all links of a client.
struct LinkScratch: ~Copyable {
    /// As read from a socket.
    var raw = RigidArray<UInt8>()
    /// Frames of HTTP/2.
    var frames = RigidArray<UInt8>()
    /// Records of TLS to be sent.
    var sealed = RigidArray<UInt8>()

    private static var rawBytes: Int { 48 << 10 }

    /// Takes the memory, when the first link is made.
    mutating func prepare() {
        if raw.capacity > 0 { return }
        raw = RigidArray(capacity: Self.rawBytes)
        let frameBytes = TLSSession.plaintextCapacity(forCiphertext: Self.rawBytes)
        frames = RigidArray(capacity: frameBytes)
        sealed = RigidArray(
            capacity: TLSSession.ciphertextCapacity(forPlaintext: frameBytes))
    }
}

/// What stands between a connection's socket and the HTTP/1.1 of its calls: TLS, HTTP/2, or one in the other.
///
/// One call at a time, so of HTTP/2 there is one stream at a time.
struct ClientLink: ~Copyable {
    /// What a read of the socket came to.
    enum Received { case read, ended, broken }

    /// Why the handshake failed.
    private(set) var failure: TLSError?
    /// Whether requests can be sent.
    private(set) var isOpen = false
    /// Text of the answer is here that was not read.
    private(set) var hasText = false
    private var seal: TLSSession?
    private var session: HTTP2Session?
    private var stream = StreamID.none
    /// The server takes no more streams.
    private var isLeaving = false
    private var isCut = false
    /// What the socket did not take.
    private var unsent: Buffer?

    /// Whether another call may follow on this connection.
    var mayGoOn: Bool {
        mutating get {
            if isLeaving || isCut { return false }
            if session?.isOver ?? false { return false }
            return session?.capacity ?? 1 > 0
        }
    }

    /// Whether HTTP/2 is spoken, where frames may come between two calls.
    var hasFrames: Bool { mutating get { !session.isNil } }

    /// Begins to speak on a socket that stands; false: it cannot be done.
    mutating func begin(
        _ transport: CallTransport, over socket: borrowing Socket, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, now: UInt64
    ) -> Bool {
        scratch.prepare()
        guard let tls = transport.tls else {
            return beginFrames(over: socket, isSecure: false, &scratch, &pool, now)
        }
        do throws(TLSError) {
            seal = try TLSSession(client: tls, serverName: transport.serverName)
        } catch {
            failure = error
            return false
        }
        return handshake(Span(), over: socket, &scratch, &pool, now) != nil
    }

    private mutating func beginFrames(
        over socket: borrowing Socket, isSecure: Bool, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, _ now: UInt64
    ) -> Bool {
        session = HTTP2Session(role: .client, isSecure: isSecure, now: now)
        isOpen = !session.isNil
        return isOpen && produce(over: socket, &scratch, &pool, now)
    }

    /// Goes on with the handshake; how many bytes it took, nil when it failed.
    private mutating func handshake(
        _ bytes: Span<UInt8>, over socket: borrowing Socket, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, _ now: UInt64
    ) -> Int? {
        var from = 0
        while true {
            scratch.sealed.removeAll()
            let rest = bytes.extracting(from..<bytes.count)
            let result = scratch.sealed.edit { output in
                seal!.handshake(ciphertext: rest, into: &output)
            }
            from += result.consumed
            let isSent = push(scratch.sealed.span, over: socket, &pool)
            switch result.state {
            case .failed(let error):
                failure = error
                return nil
            case .outputFull where isSent: continue
            case .wantsInput where isSent: return from
            case .finished where isSent:
                let isHTTP2 = seal?.isHTTP2 ?? false
                if !isHTTP2 {
                    isOpen = true
                    return from
                }
                return beginFrames(over: socket, isSecure: true, &scratch, &pool, now) ? from : nil
            case .outputFull, .wantsInput, .finished: return nil
            }
        }
    }

    // MARK: - Sending

    /// Sends a whole request; false: the connection is broken.
    mutating func send(
        _ request: Span<UInt8>, over socket: borrowing Socket, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, now: UInt64
    ) -> Bool {
        if session.isNil { return sealAll(request, over: socket, &scratch.sealed, &pool) }
        guard let opened = session!.open(tag: 1) else { return false }
        stream = opened
        return session!.send(opened, request, &pool)
            && produce(over: socket, &scratch, &pool, now)
    }

    /// Offers what is stuck to the socket again; false: the connection is broken.
    mutating func flush(over socket: borrowing Socket, _ pool: inout BufferPool) -> Bool {
        guard var waiting = unsent.take() else { return true }
        while !waiting.isEmpty {
            switch socket.write(waiting.span) {
            case .bytes(let count): waiting.consume(count)
            case .wouldBlock:
                unsent = consume waiting
                return true
            case .end, .failed:
                pool.give(waiting)
                return false
            }
        }
        pool.give(waiting)
        return true
    }

    /// Sends the frames that wait.
    private mutating func produce(
        over socket: borrowing Socket, _ scratch: inout LinkScratch, _ pool: inout BufferPool,
        _ now: UInt64
    ) -> Bool {
        var frames = RigidArray<UInt8>()
        swap(&frames, &scratch.frames)
        defer { swap(&frames, &scratch.frames) }
        var hasMore = true
        while hasMore {
            frames.removeAll()
            hasMore = frames.edit { session!.produce(into: &$0, &pool, now: now) }
            if frames.isEmpty { return true }
            let isSent =
                seal.isNil
                ? push(frames.span, over: socket, &pool)
                : sealAll(frames.span, over: socket, &scratch.sealed, &pool)
            if !isSent { return false }
        }
        return true
    }

    private mutating func sealAll(
        _ bytes: Span<UInt8>, over socket: borrowing Socket, _ sealed: inout RigidArray<UInt8>,
        _ pool: inout BufferPool
    ) -> Bool {
        var from = 0
        while from < bytes.count {
            sealed.removeAll()
            let rest = bytes.extracting(from..<bytes.count)
            let result = sealed.edit { seal!.write(plaintext: rest, into: &$0) }
            guard case .sealed(let count) = result, count > 0,
                push(sealed.span, over: socket, &pool)
            else { return false }
            from += count
        }
        return true
    }

    private mutating func push(
        _ bytes: Span<UInt8>, over socket: borrowing Socket, _ pool: inout BufferPool
    ) -> Bool {
        if bytes.isEmpty { return true }
        var written = 0
        if unsent.isNil {
            switch socket.write(bytes) {
            case .bytes(let count): written = count
            case .wouldBlock: break
            case .end, .failed: return false
            }
        }
        return Answers.append(bytes.extracting(written..<bytes.count), to: &unsent, &pool)
    }

    // MARK: - Receiving

    /// Appends text of the answer that is here, or reads the socket, which `isExhausted` then tells of.
    mutating func receive(
        into input: inout RigidArray<UInt8>, from socket: borrowing Socket,
        isExhausted: inout Bool, _ scratch: inout LinkScratch, _ pool: inout BufferPool,
        now: UInt64
    ) -> Received {
        if hasText { return readText(into: &input, socket, &scratch, &pool, now) }
        var raw = RigidArray<UInt8>()
        swap(&raw, &scratch.raw)
        defer { swap(&raw, &scratch.raw) }
        raw.removeAll()
        switch socket.read(into: &raw) {
        case .bytes(let count): isExhausted = count < raw.capacity
        case .wouldBlock:
            isExhausted = true
            return .read
        case .end:
            // An end that TLS did not announce may be somebody else's.
            let isAnnounced = seal?.closeNotifyReceived ?? true
            return isAnnounced ? .ended : .broken
        case .failed: return .broken
        }
        var from = 0
        if !isOpen {
            guard let used = handshake(raw.span, over: socket, &scratch, &pool, now) else {
                return .broken
            }
            if !isOpen { return .read }
            from = used
        }
        return take(
            raw.span.extracting(from..<raw.count), into: &input, socket, &scratch, &pool, now)
    }

    private mutating func take(
        _ bytes: Span<UInt8>, into input: inout RigidArray<UInt8>, _ socket: borrowing Socket,
        _ scratch: inout LinkScratch, _ pool: inout BufferPool, _ now: UInt64
    ) -> Received {
        if session.isNil { return open(bytes, into: &input, socket, &scratch.sealed, &pool) }
        if seal.isNil { return takeFrames(bytes, into: &input, socket, &scratch, &pool, now) }
        var frames = RigidArray<UInt8>()
        swap(&frames, &scratch.frames)
        frames.removeAll()
        var result = open(bytes, into: &frames, socket, &scratch.sealed, &pool)
        let isTaken = session!.receive(frames.span, &pool, now: now)
        swap(&frames, &scratch.frames)
        if !isTaken { breakOff(&pool) }
        if result == .read { result = settle(into: &input, socket, &scratch, &pool, now) }
        return result
    }

    private mutating func takeFrames(
        _ bytes: Span<UInt8>, into input: inout RigidArray<UInt8>, _ socket: borrowing Socket,
        _ scratch: inout LinkScratch, _ pool: inout BufferPool, _ now: UInt64
    ) -> Received {
        if !session!.receive(bytes, &pool, now: now) { breakOff(&pool) }
        return settle(into: &input, socket, &scratch, &pool, now)
    }

    /// The server does not keep to HTTP/2: what is complete is still read, and what is not never will be.
    private mutating func breakOff(_ pool: inout BufferPool) {
        isLeaving = true
        session!.connectionEnded(&pool)
    }

    /// Carries out what frames said.
    private mutating func settle(
        into input: inout RigidArray<UInt8>, _ socket: borrowing Socket,
        _ scratch: inout LinkScratch, _ pool: inout BufferPool, _ now: UInt64
    ) -> Received {
        while let event = session!.nextEvent() {
            switch event.kind {
            case .reset where event.stream == stream: isCut = true
            case .goAway: isLeaving = true
            case .opened, .readable, .writable, .capacity, .reset: break
            }
        }
        if stream.isNone {
            let isSent = produce(over: socket, &scratch, &pool, now)
            return isSent && !isLeaving ? .read : .broken
        }
        return readText(into: &input, socket, &scratch, &pool, now)
    }

    /// Opens records into `plain`.
    private mutating func open(
        _ bytes: Span<UInt8>, into plain: inout RigidArray<UInt8>, _ socket: borrowing Socket,
        _ reply: inout RigidArray<UInt8>, _ pool: inout BufferPool
    ) -> Received {
        var from = 0
        let before = plain.count
        while true {
            reply.removeAll()
            let rest = bytes.extracting(from..<bytes.count)
            let result = plain.edit { output in
                reply.edit { seal!.read(ciphertext: rest, into: &output, reply: &$0) }
            }
            from += result.consumed
            if !push(reply.span, over: socket, &pool) { return .broken }
            switch result.state {
            case .replyFull: continue
            case .wantsInput: return .read
            // What came before is used first; the socket's end follows.
            case .closed: return plain.count > before ? .read : .ended
            case .plaintextFull, .failed: return .broken
            }
        }
    }

    /// Appends what the stream has of the answer.
    private mutating func readText(
        into input: inout RigidArray<UInt8>, _ socket: borrowing Socket,
        _ scratch: inout LinkScratch, _ pool: inout BufferPool, _ now: UInt64
    ) -> Received {
        let result = input.edit { session!.read(stream, into: &$0, &pool) }
        if !produce(over: socket, &scratch, &pool, now) { return .broken }
        if case .bytes = result {
            hasText = true
            return .read
        }
        hasText = false
        switch result {
        case .end: return .ended
        case .reset: return .broken
        case .bytes, .wouldBlock: return isCut ? .broken : .read
        }
    }

    // MARK: - Ends

    /// The call is over, and another one may follow.
    mutating func endCall(
        over socket: borrowing Socket, _ scratch: inout LinkScratch, _ pool: inout BufferPool,
        now: UInt64
    ) {
        hasText = false
        if session.isNil || stream.isNone { return }
        session!.close(stream, .finished, &pool)
        stream = .none
        if !produce(over: socket, &scratch, &pool, now) { isLeaving = true }
    }

    /// Gives its memory back.
    mutating func release(_ pool: inout BufferPool) {
        if !session.isNil { session!.release(&pool) }
        if let waiting = unsent.take() { pool.give(waiting) }
    }
}

extension Optional where Wrapped: ~Copyable {
    /// Whether there is nothing; `== nil` wants what can be copied.
    fileprivate var isNil: Bool {
        switch self {
        case .none: true
        case .some: false
        }
    }
}
