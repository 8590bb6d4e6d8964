import HTTP
import Kernel

// HTTP/1.1 text from the caller, out of its framing and into frames.
extension HTTP2Session {
    /// Bytes of a head, or of a trailer line, that may be given without its end.
    private static var carryBytesMax: Int { 128 << 10 }
    /// Bytes of all trailer lines that wait to be sent.
    private static var trailerBytesMax: Int { 64 << 10 }

    // MARK: - Sending

    /// Takes all of the bytes of a message, one range after the other.
    ///
    /// False: the stream has gone, the bytes are no message, or there is no memory for them; the
    /// caller then closes the stream. What is given after a peer that has answered in full said
    /// that it wants no more is dropped.
    public mutating func send(
        _ stream: StreamID, _ bytes: Span<UInt8>, then more: Span<UInt8>,
        _ pool: inout BufferPool
    ) -> Bool {
        guard let slot = find(stream) else { return false }
        let flags = library.core.streams[slot].flags
        if flags.contains(.isCut) || hasEnded { return false }
        if flags.contains(.isClosed) { return true }
        if !take(slot, bytes, &pool) || !take(slot, more, &pool) {
            // What it cannot carry it never began, and whoever waits for an answer hears of it.
            reset(slot, HTTP2Code.internalError)
            library.core.cut(slot, HTTP2Code.internalError, &pool)
            return false
        }
        if library.core.streams[slot].unsentBytes > Int(library.core.limits.outputHighBytes) {
            library.core.streams[slot].flags.insert(.isCongested)
        }
        return true
    }

    /// The same with one range.
    public mutating func send(
        _ stream: StreamID, _ bytes: Span<UInt8>, _ pool: inout BufferPool
    ) -> Bool {
        send(stream, bytes, then: Span<UInt8>(), &pool)
    }

    /// Ends the output of a tunnel, or of an answer that lasts until the connection closes.
    ///
    /// The other direction goes on. Nothing where the message has its own end.
    public mutating func sendEnd(_ stream: StreamID) {
        guard let slot = find(stream), library.core.streams[slot].flags.contains(.isRaw)
        else { return }
        library.core.streams[slot].flags.insert(.outputEnded)
        library.core.streams.markDirty(slot)
    }

    /// Whether so much output is unsent that the giver should wait for `.writable`.
    public func isCongested(_ stream: StreamID) -> Bool {
        guard let slot = find(stream) else { return false }
        return library.core.streams[slot].flags.contains(.isCongested)
    }

    /// Bytes that were given and are still to be framed.
    public func unsentBytes(_ stream: StreamID) -> Int {
        guard let slot = find(stream) else { return 0 }
        return library.core.streams[slot].output.count
    }

    /// Whether nothing that was given is still to be framed.
    public func isFlushed(_ stream: StreamID) -> Bool {
        guard let slot = find(stream) else { return true }
        let flags = library.core.streams[slot].flags
        if flags.contains(.isClosed) { return true }
        if flags.contains(.outputEnded) { return flags.contains(.endSent) }
        return library.core.streams[slot].output.isEmpty && library.core.streams[slot].head.isNone
    }

    /// Whether a stream's answer was given whole while its request goes on.
    public func isAnsweredEarly(_ stream: StreamID) -> Bool {
        guard let slot = find(stream) else { return false }
        let flags = library.core.streams[slot].flags
        return flags.contains(.outputEnded)
            && flags.isDisjoint(with: [.inputEnded, .isClosed, .isCut, .isRaw])
    }

    /// Whether the peer has said, or shown, that it did nothing about a stream's request (RFC 9113 §8.7).
    public func wasRefused(_ stream: StreamID) -> Bool {
        guard let slot = find(stream) else { return false }
        return library.core.streams[slot].flags.contains(.isRefused)
    }

    // MARK: - Out of the text

    /// Takes bytes behind those that were carried over from before.
    private mutating func take(
        _ slot: Int, _ bytes: Span<UInt8>, _ pool: inout BufferPool
    ) -> Bool {
        if bytes.isEmpty { return true }
        if library.core.streams[slot].carry.isEmpty {
            guard let used = digest(slot, bytes, &pool) else { return false }
            if used == bytes.count { return true }
            return carry(slot, bytes.extracting(used...), &pool)
        }
        if !carry(slot, bytes, &pool) { return false }
        var held = library.core.streams[slot].carry.takeOut()
        guard let used = digest(slot, held.span, &pool) else {
            pool.give(held)
            return false
        }
        held.consume(used)
        if held.isEmpty {
            pool.give(held)
        } else {
            swap(&held, &library.core.streams[slot].carry)
        }
        return true
    }

    private mutating func carry(
        _ slot: Int, _ bytes: Span<UInt8>, _ pool: inout BufferPool
    ) -> Bool {
        let count = library.core.streams[slot].carry.count + bytes.count
        if count > Self.carryBytesMax + bytes.count { return false }
        return library.core.streams[slot].carry.append(bytes, &pool)
    }

    /// Takes what is whole of the bytes and says how much; nil when they are no message.
    private mutating func digest(
        _ slot: Int, _ bytes: Span<UInt8>, _ pool: inout BufferPool
    ) -> Int? {
        var at = 0
        while !library.core.streams[slot].flags.contains(.headGiven) {
            if at == bytes.count { return at }
            guard let end = OutgoingHead.end(bytes, from: at) else {
                return bytes.count - at > Self.carryBytesMax ? nil : at
            }
            if !takeHead(slot, bytes.extracting(at..<end), &pool) { return nil }
            at = end
        }
        return takeContent(slot, bytes, at, &pool)
    }

    private mutating func takeContent(
        _ slot: Int, _ bytes: Span<UInt8>, _ start: Int, _ pool: inout BufferPool
    ) -> Int? {
        var at = start
        if library.core.streams[slot].flags.contains(.isRaw) {
            if library.core.streams[slot].flags.contains(.outputEnded) {
                return at == bytes.count ? at : nil
            }
            let rest = bytes.extracting(at...)
            if !library.core.streams[slot].output.append(rest, &pool) { return nil }
            library.core.streams.markDirty(slot)
            return bytes.count
        }
        while true {
            switch library.core.streams[slot].reader.next(bytes, from: &at) {
            case .content(let range):
                let content = bytes.extracting(range)
                if !library.core.streams[slot].output.append(content, &pool) { return nil }
                library.core.streams.markDirty(slot)
            case .trailer(let range):
                if !takeTrailer(slot, bytes.extracting(range), &pool) { return nil }
            case .incomplete:
                let isLong = bytes.count - at > Self.carryBytesMax
                return isLong ? nil : endIfWhole(slot, at)
            case .end:
                // Bytes behind the end would be another message, which a stream has no place for.
                return at == bytes.count ? endIfWhole(slot, at) : nil
            case .malformed: return nil
            }
        }
    }

    private mutating func endIfWhole(_ slot: Int, _ at: Int) -> Int {
        if library.core.streams[slot].reader.isFinished,
            !library.core.streams[slot].flags.contains(.outputEnded)
        {
            library.core.streams[slot].flags.insert(.outputEnded)
            library.core.streams.markDirty(slot)
        }
        return at
    }

    private mutating func takeTrailer(
        _ slot: Int, _ line: Span<UInt8>, _ pool: inout BufferPool
    ) -> Bool {
        if library.core.streams[slot].trailers.count + line.count > Self.trailerBytesMax {
            return false
        }
        library.core.streams[slot].trailerCount += 1
        return library.core.streams[slot].trailers.append(line, &pool)
            && library.core.streams[slot].trailers.append(ByteScan.bytes("\r\n"), &pool)
    }

    // MARK: - Heads

    private mutating func takeHead(
        _ slot: Int, _ text: Span<UInt8>, _ pool: inout BufferPool
    ) -> Bool {
        let role = library.core.role
        guard let head = OutgoingHead(text, from: role) else { return false }
        let isConnect = library.core.streams[slot].flags.contains(.isConnect)
        if role == .server && head.status < 200 {
            if head.status != 101 { return sendInterim(slot, head, text) }
            if !isConnect { return false }
        }
        switch role {
        case .server:
            beginAnswer(slot, status: head.status, head.framing, &pool)
        case .client:
            if !beginRequest(slot, head, text) { return false }
        }
        let kind = fieldKind(head, library.core.streams[slot].flags)
        var fields = OutgoingFields(kind, head)
        guard let put = library.core.shelf.put(&fields, of: head, text, &pool) else { return false }
        wait(slot, put)
        return true
    }

    /// Lets a head wait until frames are asked for: if its end is known by then, both leave in one frame, as gRPC wants
    /// it for an answer of trailers only.
    private mutating func wait(_ slot: Int, _ head: HeadShelf.Head) {
        library.core.streams[slot].head = head
        library.core.streams[slot].flags.insert(.headGiven)
        library.core.streams.markDirty(slot)
    }

    /// Gives an answer's final head without a text of its own: its lines are ranges of `text`, in `headBytes` at most.
    ///
    /// Says how many bytes its fields have; 0, and nothing, where only the text will do: the stream has gone, or its
    /// request is no usual one. The content, as `framing` says it, follows in `send`.
    public mutating func sendHead(
        _ stream: StreamID, _ head: borrowing ResponseHead, _ text: Span<UInt8>, headBytes: Int,
        framing: BodyFraming, _ pool: inout BufferPool
    ) -> Int {
        guard let slot = find(stream), !hasEnded, head.status >= 200,
            library.core.streams[slot].flags.isDisjoint(with: Self.needText),
            library.core.streams[slot].carry.isEmpty,
            let put = library.core.shelf.put(
                head, text, headBytes: headBytes, framing: framing, &pool)
        else { return 0 }
        wait(slot, put)
        beginAnswer(slot, status: head.status, framing, &pool)
        return library.core.shelf.bytes(of: put)
    }

    /// A stream with one of these has no head to give, or one that is no usual answer's.
    private static var needText: Stream.Flags { [.headGiven, .isConnect, .isCut, .isClosed] }

    private mutating func sendInterim(
        _ slot: Int, _ head: OutgoingHead, _ text: Span<UInt8>
    ) -> Bool {
        let number = library.core.streams[slot].number
        return library.submit(
            number, OutgoingFields(.answer, head), of: head, text, .interim) >= 0
    }

    private mutating func beginAnswer(
        _ slot: Int, status: Int, _ said: BodyFraming, _ pool: inout BufferPool
    ) {
        let flags = library.core.streams[slot].flags
        if status == 101 {
            library.core.streams[slot].flags.formUnion([.isRaw, .tunnelOpen])
            let hasInput = !library.core.streams[slot].input.isEmpty
            if hasInput || flags.contains(.inputEnded) {
                library.core.streams.tell(slot, .readable)
            }
            return
        }
        if flags.contains(.isConnect) { library.core.dropTunnel(slot, &pool) }
        var framing = said
        if flags.contains(.isHEAD) || Status.hasNoContent(status) { framing = .none }
        if framing == .untilClose {
            library.core.streams[slot].flags.insert(.isRaw)
        } else {
            library.core.streams[slot].reader = ContentReader(framing)
            _ = endIfWhole(slot, 0)
        }
    }

    private mutating func beginRequest(
        _ slot: Int, _ head: OutgoingHead, _ text: Span<UInt8>
    ) -> Bool {
        if head.isHEAD { library.core.streams[slot].flags.insert(.isHEAD) }
        if !head.isWebSocket {
            library.core.streams[slot].reader = ContentReader(head.framing)
            _ = endIfWhole(slot, 0)
            return true
        }
        let isGET = ByteScan.equal(text.extracting(head.method.range), ByteScan.bytes("GET"))
        if !isGET || head.key.isNone || head.key.count > 64 || head.framing != .none {
            return false
        }
        if !library.core.acceptsExtendedConnect { return false }
        library.core.streams[slot].accept = WebSocketKey.digest(text.extracting(head.key.range))
        library.core.streams[slot].flags.formUnion([.isConnect, .isRaw])
        return true
    }
}
