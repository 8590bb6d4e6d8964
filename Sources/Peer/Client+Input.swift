import BasicContainers
import HTTP
import Kernel

extension Client {
    /// Reads the answer as far as it has come.
    mutating func read<R: Receiver & ~Copyable>(
        _ id: SlotID, on loop: borrowing Loop, _ receiver: inout R
    ) {
        repeat {
            input.removeAll()
            if let held = connections[id].held.take() {
                Self.append(held, &input)
                pool.give(held)
            }
            let outcome =
                connections[id].isPlain
                ? Self.receive(&connections[id], &input, &pool)
                : Self.receiveLinked(&connections[id], &input, &scratch, &pool, now)
            if connections[id].phase == .opening {
                if outcome != .read { return failOpening(id, &receiver) }
                if !connections[id].link.isOpen { continue }
                begin(request: id, on: loop, &receiver)
                guard connections.contains(id), connections[id].phase == .head else { return }
            }
            if outcome == .broken { return retryOrFail(id, on: loop, &receiver) }
            var from = 0
            let step = Self.take(
                input, &from, &response, &connections, &pool, &receiver, id)
            switch step {
            case .needsMore: break
            case .failed(let failure): return fail(id, failure, &receiver)
            case .complete: return complete(id, isClean: from == input.count, &receiver)
            }
            if outcome == .ended { return inputEnded(id, on: loop, &receiver) }
            if from < input.count {
                guard var buffer = pool.take(capacity: input.count - from) else {
                    return fail(id, .exhausted, &receiver)
                }
                _ = buffer.append(input.span.extracting(from..<input.count))
                connections[id].held = consume buffer
            }
            if connections[id].turnBytes >= ServerSettings.turnBytes { return ready.append(id) }
        } while connections[id].isReadable || connections[id].link.hasText
    }

    private typealias Outcome = ClientLink.Received

    /// The same through what stands between the socket and the text.
    private static func receiveLinked(
        _ connection: inout ClientConnection, _ input: inout RigidArray<UInt8>,
        _ scratch: inout LinkScratch, _ pool: inout BufferPool, _ now: UInt64
    ) -> Outcome {
        let before = input.count
        var isExhausted = false
        let outcome = connection.link.receive(
            into: &input, from: connection.socket, isExhausted: &isExhausted, &scratch, &pool,
            now: now)
        connection.turnBytes += input.count - before
        if isExhausted, !connection.peerEnded { connection.isReadable = false }
        if outcome == .ended { connection.peerEnded = true }
        if input.count > before, !connection.hasAnswer { beginAnswer(&connection, &pool) }
        return outcome
    }

    /// Takes the frames that come between two calls; false: the connection is of no more use.
    mutating func hearsFrames(_ id: SlotID) -> Bool {
        if connections[id].isPlain || !connections[id].link.hasFrames { return false }
        while connections[id].isReadable {
            input.removeAll()
            let outcome = Self.receiveLinked(&connections[id], &input, &scratch, &pool, now)
            if outcome != .read || !input.isEmpty { return false }
        }
        return connections[id].link.mayGoOn
    }

    private static func receive(
        _ connection: inout ClientConnection, _ input: inout RigidArray<UInt8>,
        _ pool: inout BufferPool
    ) -> Outcome {
        let free = input.freeCapacity
        switch connection.socket.read(into: &input) {
        case .bytes(let count):
            connection.turnBytes += count
            if count < free, !connection.peerEnded { connection.isReadable = false }
            if !connection.hasAnswer { beginAnswer(&connection, &pool) }
            return .read
        case .wouldBlock:
            connection.isReadable = false
            return .read
        case .end:
            connection.peerEnded = true
            return .ended
        case .failed:
            return .broken
        }
    }

    /// A request that was sent whole is not sent again once its answer has begun.
    private static func beginAnswer(
        _ connection: inout ClientConnection, _ pool: inout BufferPool
    ) {
        connection.hasAnswer = true
        guard let request = connection.request.take() else { return }
        if connection.sent < request.count {
            connection.request = consume request
        } else {
            pool.give(request)
        }
    }

    private static func append(_ held: borrowing Buffer, _ input: inout RigidArray<UInt8>) {
        input.append(copying: held.span)
    }

    // MARK: - The answer

    private enum Step { case needsMore, complete, failed(CallFailure) }

    /// Takes what the input holds of the answer.
    private static func take<R: Receiver & ~Copyable>(
        _ input: borrowing RigidArray<UInt8>, _ from: inout Int, _ response: inout ResponseHead,
        _ connections: inout Slab<ClientConnection>, _ pool: inout BufferPool,
        _ receiver: inout R, _ id: SlotID
    ) -> Step {
        let bytes = input.span
        while connections[id].phase == .head {
            if from == bytes.count { return .needsMore }
            let step = response.parse(
                bytes.extracting(from..<bytes.count), resumeAt: connections[id].scanned,
                requestMethod: connections[id].method)
            switch step {
            case .incomplete(let scanned):
                connections[id].scanned = scanned
                return .needsMore
            case .malformed(let malformed):
                return .failed(.malformed(malformed))
            case .complete(let consumed):
                from += consumed
                connections[id].scanned = 0
            }
            if response.status < 200 {
                connections[id].informational += 1
                if response.status == 101 { return .failed(.malformed(Malformed(.upgradeUnasked))) }
                if connections[id].informational > informationalMax {
                    return .failed(.malformed(Malformed(.informationalTooMany)))
                }
                continue
            }
            connections[id].phase = .content
            connections[id].status = response.status
            connections[id].reader = ContentReader(response.framing)
            connections[id].keeps = response.keepsAlive && response.framing != .untilClose
            if let seconds = response.keepAliveTimeoutSeconds {
                // A second before the server closes, so that no request meets the closing.
                let milliseconds = UInt64(min(max(seconds, 1), 3_600) - 1) * 1_000
                connections[id].idleMilliseconds = min(idleMilliseconds, milliseconds)
            }
            receiver.begin(connections[id].call, response)
        }
        return takeContent(bytes, &from, &connections, &pool, &receiver, id)
    }

    private static func takeContent<R: Receiver & ~Copyable>(
        _ bytes: Span<UInt8>, _ from: inout Int, _ connections: inout Slab<ClientConnection>,
        _ pool: inout BufferPool, _ receiver: inout R, _ id: SlotID
    ) -> Step {
        while true {
            switch connections[id].reader.next(bytes, from: &from) {
            case .content(let range):
                let piece = bytes.extracting(range)
                if connections[id].settings.takesPieces {
                    receiver.receive(piece, connections[id].call)
                } else {
                    var content = connections[id].content.take()
                    let limit = connections[id].settings.contentBytesMax
                    let fits = count(content) + piece.count <= limit
                    let isKept = fits && Answers.append(piece, to: &content, &pool)
                    connections[id].content = consume content
                    if !isKept { return .failed(fits ? .exhausted : .tooLarge) }
                }
            case .trailer: continue
            case .end: return .complete
            case .incomplete: return .needsMore
            case .malformed(let malformed): return .failed(.malformed(malformed))
            }
        }
    }

    private static func count(_ buffer: borrowing Buffer?) -> Int {
        switch buffer {
        case .some(let buffer): buffer.count
        case .none: 0
        }
    }

    private mutating func inputEnded<R: Receiver & ~Copyable>(
        _ id: SlotID, on loop: borrowing Loop, _ receiver: inout R
    ) {
        switch connections[id].phase {
        case .content where connections[id].reader.inputEnded():
            connections[id].keeps = false
            complete(id, isClean: true, &receiver)
        case .content: fail(id, .truncated, &receiver)
        case .connecting, .opening, .head, .idle: retryOrFail(id, on: loop, &receiver)
        }
    }

    /// The answer is whole: the connection is kept or closed, then the receiver hears of it.
    private mutating func complete<R: Receiver & ~Copyable>(
        _ id: SlotID, isClean: Bool, _ receiver: inout R
    ) {
        let call = connections[id].call
        let status = connections[id].status
        let content = connections[id].content.take()
        let isSent =
            switch connections[id].request {
            case .some(let buffer): connections[id].sent == buffer.count
            case .none: true
            }
        Self.endCall(&connections[id], &scratch, &pool, now)
        if connections[id].keeps, connections[id].settings.reuses, isClean, isSent,
            !connections[id].peerEnded, connections[id].link.mayGoOn
        {
            keep(id)
        } else {
            remove(id)
        }
        Self.finish(call, status, content, &receiver)
        if let content { pool.give(content) }
    }

    private static func endCall(
        _ connection: inout ClientConnection, _ scratch: inout LinkScratch,
        _ pool: inout BufferPool, _ now: UInt64
    ) {
        if connection.isPlain { return }
        connection.link.endCall(over: connection.socket, &scratch, &pool, now: now)
    }

    private static func finish<R: Receiver & ~Copyable>(
        _ call: CallID, _ status: Int, _ content: borrowing Buffer?, _ receiver: inout R
    ) {
        switch content {
        case .some(let content): receiver.finish(call, status: status, content: content.span)
        case .none: receiver.finish(call, status: status, content: Span())
        }
    }

    private mutating func keep(_ id: SlotID) {
        if let request = connections[id].request.take() { pool.give(request) }
        connections[id].phase = .idle
        idle.append(id)
        setDeadline(id, at: now + connections[id].idleMilliseconds)
        if idle.count > idleMax { remove(idle[0]) }
    }
}
