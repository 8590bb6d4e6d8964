import BasicContainers
import HTTP
import Kernel

extension Answers {
    /// Whether input of this connection may be looked at now.
    func takesInput(_ id: SlotID) -> Bool {
        guard connections.contains(id), !connections[id].isBroken, connections[id].waiting == nil
        else { return false }
        let phase = connections[id].phase
        return phase == .head || phase == .content
    }

    /// Moves the bytes that were kept to the input.
    mutating func takeHeld(_ id: SlotID, _ input: inout RigidArray<UInt8>) {
        guard let held = connections[id].held.take() else { return }
        Self.append(held, &input)
        pool.give(held)
    }

    private static func append(_ held: borrowing Buffer, _ input: inout RigidArray<UInt8>) {
        input.append(copying: held.span)
    }

    /// Reads once, behind what is in the input; whether the client's end was read.
    mutating func receive(_ id: SlotID, _ input: inout RigidArray<UInt8>) -> Bool {
        let free = input.freeCapacity
        guard connections[id].isReadable, free > 0 else { return false }
        switch connections[id].socket.read(into: &input) {
        case .bytes(let count):
            connections[id].turnBytes += count
            // After a short read there is nothing more, unless an end was reported with it.
            if count < free, !connections[id].peerEnded { connections[id].isReadable = false }
        case .wouldBlock:
            connections[id].isReadable = false
        case .end:
            connections[id].peerEnded = true
            return true
        case .failed:
            connections[id].isReadable = false
            breakOff(id)
        }
        return false
    }

    /// Keeps what was not used, where it can still be of use.
    mutating func keepHeld(_ id: SlotID, _ input: borrowing RigidArray<UInt8>, from: Int) {
        guard from < input.count, !connections[id].isBroken else { return }
        switch connections[id].phase {
        case .head, .content, .answering:
            guard var buffer = pool.take(capacity: input.count - from) else { return breakOff(id) }
            _ = buffer.append(input.span.extracting(from..<input.count))
            connections[id].held = consume buffer
            if connections[id].phase == .head, !connections[id].hasBegunHead {
                connections[id].hasBegunHead = true
                setDeadline(id, after: settings.headMilliseconds)
            }
        case .flushing, .lingering:
            break
        }
    }

    /// Notes what the answer depends on.
    mutating func begin(_ id: SlotID, _ head: borrowing RequestHead) {
        connections[id].scanned = 0
        connections[id].hasBegunHead = false
        connections[id].isHead = head.method == .head
        connections[id].version = head.version
        connections[id].closes = !head.keepsAlive
    }

    /// Opens the exchange of a request.
    mutating func open(_ id: SlotID) -> ExchangeID {
        connections[id].number &+= 1
        connections[id].isOpen = true
        if connections[id].phase == .head || connections[id].plan != .pieces {
            connections[id].phase = .answering
            connections[id].deadline.clear()
        }
        return ExchangeID(connection: id, number: connections[id].number)
    }

    mutating func holdHead(_ id: SlotID, _ bytes: Span<UInt8>) {
        guard var buffer = pool.take(capacity: bytes.count) else { return breakOff(id) }
        _ = buffer.append(bytes)
        connections[id].headBytes = consume buffer
    }

    func gatheredCount(_ id: SlotID) -> Int {
        switch connections[id].content {
        case .some(let buffer): buffer.count
        case .none: 0
        }
    }

    mutating func gather(_ id: SlotID, _ piece: Span<UInt8>) {
        var buffer = connections[id].content.take()
        if Self.append(piece, to: &buffer, &pool) {
            connections[id].content = consume buffer
        } else {
            breakOff(id)
        }
    }

    /// Tells a client that waits for it to send its content (RFC 9110 §10.1.1).
    mutating func emitContinue(_ id: SlotID) {
        guard takesInput(id), connections[id].answer == .notBegun else { return }
        emit(id, ByteScan.bytes("HTTP/1.1 100 Continue\r\n\r\n"))
    }

    /// Answers what cannot be taken as a request, and closes after letting the rest run out.
    mutating func refuse<R: Responder & ~Copyable>(
        _ id: SlotID, status: Int, _ sentence: StaticString, _ responder: inout R
    ) {
        if connections[id].isOpen {
            let hasBegun = connections[id].answer != .notBegun
            connections[id].isOpen = false
            responder.cancel(
                ExchangeID(connection: id, number: connections[id].number), &self)
            if hasBegun { return breakOff(id) }
        }
        dropFields()
        connections[id].closes = true
        connections[id].lingers = true
        if connections[id].phase == .head, status != 413 { connections[id].isHead = false }
        let length = UInt64(sentence.utf8CodeUnitCount + 1)
        writeHead(id, status: status, type: "text/plain; charset=utf-8", framing: .length(length))
        if !connections[id].isHead {
            emit(id, ByteScan.bytes(sentence))
            emit(id, ByteScan.bytes("\n"))
        }
        complete(id)
    }
}
