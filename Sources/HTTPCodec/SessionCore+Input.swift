import HTTP
import Kernel

// What the library tells of streams as it reads. A result is the code of a reset to be sent.
extension SessionCore {
    /// Unread bytes of heads over which a peer that sends nothing but heads is cut off.
    private static var headBytesMax: Int { 256 << 10 }

    // MARK: - Field blocks

    mutating func blockBegan(_ number: Int32, isRequest: Bool, _ pool: inout BufferPool) {
        if isRequest {
            return block.begin(.request, number: number, &pool)
        }
        guard let slot = streams.find(number: number), isWanted(slot) else {
            return block.begin(.nothing, number: number, &pool)
        }
        let isAnswer = role == .client && !streams[slot].flags.contains(.headCame)
        block.begin(isAnswer ? .answer : .trailers, number: number, &pool)
    }

    /// Whether what comes for the stream will be read.
    private func isWanted(_ slot: Int) -> Bool {
        streams[slot].flags.isDisjoint(with: [.isLeft, .isCut, .inputEnded])
    }

    mutating func field(
        _ number: Int32, _ name: Span<UInt8>, _ value: Span<UInt8>, _ pool: inout BufferPool
    ) -> UInt32? {
        if block.number != number { return nil }
        let refusal = block.take(
            name: name, value: value, listBytesMax: limits.headerListBytesMax,
            fieldCountMax: limits.fieldCountMax, &pool)
        guard let refusal else { return nil }
        return refuse(number, refusal.code, &pool)
    }

    /// Ends the stream, if there is one, for which a block cannot be taken.
    private mutating func refuse(
        _ number: Int32, _ code: UInt32, _ pool: inout BufferPool
    ) -> UInt32 {
        block.end(&pool)
        if let slot = streams.find(number: number) { cut(slot, code, &pool) }
        return code
    }

    mutating func blockEnded(
        _ number: Int32, endsStream: Bool, _ pool: inout BufferPool
    ) -> UInt32? {
        if block.number != number { return nil }
        let code: UInt32? =
            switch block.purpose {
            case .nothing: nil
            case .request: requestCame(number, endsStream, &pool)
            case .answer: answerCame(number, endsStream, &pool)
            case .trailers: trailersCame(number, endsStream, &pool)
            }
        block.end(&pool)
        return code
    }

    private mutating func requestCame(
        _ number: Int32, _ endsStream: Bool, _ pool: inout BufferPool
    ) -> UInt32? {
        if streams.count >= Int(limits.concurrentStreamsMax) { return HTTP2Code.refusedStream }
        var input = Buffer()
        switch block.composeRequest(endsStream: endsStream, to: &input, &pool) {
        case .refused(let refusal):
            pool.give(input)
            return refusal.code
        case .head(let head):
            let slot = streams.insert(number: number, window: Int32(clamping: limits.streamWindow))
            budget.earnStream()
            swap(&streams[slot].input, &input)
            take(head, slot)
            if case .tunnel = head.content { streams[slot].flags.insert(.isConnect) }
            if head.isHEAD { streams[slot].flags.insert(.isHEAD) }
            streams.tell(slot, [.opened, .readable])
            if endsStream { streams[slot].flags.insert(.inputEnded) }
            return nil
        }
    }

    /// Notes a final head that stands at the end of the input.
    private mutating func take(_ head: FieldBlock.Head, _ slot: Int) {
        streams[slot].flags.insert(.headCame)
        streams[slot].headBytes = streams[slot].input.count
        streams[slot].content = head.content
        switch head.content {
        case .length(let length): streams[slot].awaited = length
        case .chunked:
            guard let length = head.length else { return }
            streams[slot].awaited = length
            streams[slot].flags.insert(.hasLength)
        case .none, .tunnel: break
        }
    }

    private mutating func answerCame(
        _ number: Int32, _ endsStream: Bool, _ pool: inout BufferPool
    ) -> UInt32? {
        guard let slot = streams.find(number: number) else { return nil }
        if streams[slot].headBytes > Self.headBytesMax {
            return refuse(number, HTTP2Code.enhanceYourCalm, &pool)
        }
        let flags = streams[slot].flags
        let accept = flags.contains(.isConnect) ? streams[slot].accept : nil
        let composed = block.composeAnswer(
            endsStream: endsStream, toHEAD: flags.contains(.isHEAD), accept: accept,
            to: &streams[slot].input, &pool)
        switch composed {
        case .refused(let refusal): return refuse(number, refusal.code, &pool)
        case .head(let head):
            if head.status < 200 && head.status != 101 {
                streams[slot].headBytes = streams[slot].input.count
                streams.tell(slot, .readable)
                return nil
            }
            take(head, slot)
            if case .tunnel = head.content { streams[slot].flags.insert(.tunnelOpen) }
        }
        return endsStream ? inputEnded(slot, hasTrailers: false, &pool) : told(slot)
    }

    private mutating func told(_ slot: Int) -> UInt32? {
        streams.tell(slot, .readable)
        return nil
    }

    /// Trailers reach the reader of a chunked message only; elsewhere HTTP/1.1 has no place for
    /// them, and they are dropped.
    private mutating func trailersCame(
        _ number: Int32, _ endsStream: Bool, _ pool: inout BufferPool
    ) -> UInt32? {
        guard let slot = streams.find(number: number), isWanted(slot) else { return nil }
        if !endsStream { return refuse(number, HTTP2Code.protocolError, &pool) }
        guard case .chunked = streams[slot].content else {
            return inputEnded(slot, hasTrailers: false, &pool)
        }
        let before = streams[slot].input.count
        if !block.composeTrailers(to: &streams[slot].input, &pool) {
            return refuse(number, HTTP2Code.internalError, &pool)
        }
        streams[slot].tailBytes = streams[slot].input.count - before
        return inputEnded(slot, hasTrailers: true, &pool)
    }

    // MARK: - Content

    mutating func data(
        _ number: Int32, _ bytes: Span<UInt8>, _ pool: inout BufferPool
    ) -> UInt32? {
        guard let slot = streams.find(number: number), isWanted(slot) else {
            dropped += bytes.count
            return nil
        }
        switch streams[slot].content {
        case .none:
            // To a request that is refused in any case; a server has none to send before its head, nor behind one that
            // has no content.
            if role == .client { return broken(slot, dropping: bytes.count, &pool) }
            dropped += bytes.count
            return nil
        case .chunked where !streams[slot].flags.contains(.hasLength): break
        case .length, .chunked:
            if UInt64(bytes.count) > streams[slot].awaited {
                return broken(slot, dropping: bytes.count, &pool)
            }
            streams[slot].awaited -= UInt64(bytes.count)
        case .tunnel: break
        }
        if !streams[slot].input.append(bytes, &pool) {
            dropped += bytes.count
            cut(slot, HTTP2Code.internalError, &pool)
            return HTTP2Code.internalError
        }
        if streams[slot].windowSince == 0 { streams[slot].windowSince = now }
        if windowSince == 0 { windowSince = now }
        streams.tell(slot, .readable)
        return nil
    }

    /// Ends a stream whose content is not what its head says (RFC 9113 §8.1.1).
    private mutating func broken(
        _ slot: Int, dropping count: Int, _ pool: inout BufferPool
    ) -> UInt32? {
        dropped += count
        cut(slot, HTTP2Code.protocolError, &pool)
        return HTTP2Code.protocolError
    }

    mutating func contentEnded(_ number: Int32, _ pool: inout BufferPool) -> UInt32? {
        guard let slot = streams.find(number: number) else { return nil }
        if !isWanted(slot) {
            streams[slot].flags.insert(.inputEnded)
            return nil
        }
        return inputEnded(slot, hasTrailers: false, &pool)
    }

    /// The peer has said all.
    private mutating func inputEnded(
        _ slot: Int, hasTrailers: Bool, _ pool: inout BufferPool
    ) -> UInt32? {
        // Nothing is awaited where there is no length.
        if streams[slot].awaited > 0 || !streams[slot].flags.contains(.headCame) {
            cut(slot, HTTP2Code.protocolError, &pool)
            return HTTP2Code.protocolError
        }
        if case .chunked = streams[slot].content, !hasTrailers {
            if !streams[slot].input.append(ByteScan.bytes("0\r\n\r\n"), &pool) {
                cut(slot, HTTP2Code.internalError, &pool)
                return HTTP2Code.internalError
            }
            streams[slot].tailBytes = 5
        }
        streams[slot].flags.insert(.inputEnded)
        return told(slot)
    }

    // MARK: - Ends

    /// Forgets what came early for a tunnel that does not open.
    mutating func dropTunnel(_ slot: Int, _ pool: inout BufferPool) {
        // Where the head was not even read, the bytes behind it wait for the end of the stream.
        if streams[slot].headBytes == 0 {
            dropped += streams[slot].contentBytes
            streams[slot].giveInputBack(&pool)
        }
        streams[slot].content = .none
    }

    /// Ends the stream before its time: buffers go back, what was not read is gone.
    mutating func cut(_ slot: Int, _ code: UInt32, _ pool: inout BufferPool) {
        if streams[slot].flags.contains(.isCut) { return }
        streams[slot].flags.insert(.isCut)
        streams[slot].resetCode = code
        dropped += streams[slot].contentBytes
        streams[slot].giveBack(&pool)
        streams.tell(slot, .reset)
    }

    /// The library has closed the stream: both ends were said, or a reset came or went.
    mutating func closed(_ number: Int32, _ code: UInt32, _ pool: inout BufferPool) {
        guard let slot = streams.find(number: number) else { return }
        streams.markClosed(slot)
        if role == .client { news.insert(.capacity) }
        let flags = streams[slot].flags
        if flags.contains(.endSent) && code == HTTP2Code.noError { budget.countComplete(now: now) }
        if flags.contains(.isLeft) {
            streams[slot].giveBack(&pool)
            return streams.remove(slot)
        }
        // A server may end a stream once it has answered, whatever the rest of the request.
        if flags.contains(.inputEnded) && (flags.contains(.endSent) || role == .client) {
            streams[slot].giveOutputBack(&pool)
            return
        }
        let isUnseen = goAwayLast.map { number > $0 } ?? false
        if role == .client && (code == HTTP2Code.refusedStream || isUnseen) {
            streams[slot].flags.insert(.isRefused)
        }
        cut(slot, code == HTTP2Code.noError ? HTTP2Code.cancel : code, &pool)
    }

    /// The library could not send a request's head: the peer knows nothing of it.
    mutating func notSent(_ number: Int32, _ pool: inout BufferPool) {
        if role == .server { return }
        guard let slot = streams.find(number: number),
            !streams[slot].flags.contains(.isClosed)
        else { return }
        streams[slot].flags.insert(.isRefused)
        closed(number, HTTP2Code.refusedStream, &pool)
    }
}
