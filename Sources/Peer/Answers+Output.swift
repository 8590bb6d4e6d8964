import BasicContainers
import HTTP
import Kernel

extension Answers {
    // MARK: - Heads

    mutating func beginFields() {
        if !hasFields {
            response.begin(status: 200)
            hasFields = true
        }
    }

    mutating func dropFields() { hasFields = false }

    mutating func writeHead(_ id: SlotID, status: Int, type: StaticString, framing: BodyFraming) {
        beginFields()
        hasFields = false
        response.setStatus(status)
        if type.utf8CodeUnitCount > 0 {
            _ = response.append(.contentType, value: ByteScan.bytes(type))
        }
        date.refresh(now: now)
        Self.append(date, to: &response)
        if let name = settings.name { _ = response.append(.server, value: ByteScan.bytes(name)) }
        if let keepAlive = settings.keepAlive {
            _ = response.append(.keepAlive, value: ByteScan.bytes(keepAlive))
        }
        let isLast = connections[id].served + 1 >= settings.exchangesPerConnection
        // Content that was not read would be taken for the next request.
        if isLast || connections[id].phase == .content { connections[id].closes = true }
        stage(for: id)
        let closes = connections[id].closes
        let version = connections[id].version == .http10 ? Version.http10 : .http11
        if Self.write(&staged, response, version, framing, closes: closes) { return }
        flushStaged()
        guard connections.contains(id), !connections[id].isBroken else { return }
        stagedFor = id
        let fits = Self.write(&staged, response, version, framing, closes: closes)
        precondition(fits, "A head fits into the empty staging area.")
    }

    private static func append(_ date: borrowing DateField, to response: inout ResponseHead) {
        _ = response.append(.date, value: date.span)
    }

    /// Appends a head, or nothing when it does not fit.
    private static func write(
        _ staged: inout RigidArray<UInt8>, _ response: borrowing ResponseHead, _ version: Version,
        _ framing: BodyFraming, closes: Bool
    ) -> Bool {
        let before = staged.count
        let fits = append(&staged, response, version, framing, closes: closes)
        if !fits { staged.removeLast(staged.count - before) }
        return fits
    }

    private static func append(
        _ staged: inout RigidArray<UInt8>, _ response: borrowing ResponseHead, _ version: Version,
        _ framing: BodyFraming, closes: Bool
    ) -> Bool {
        var fits = false
        staged.append(addingCount: staged.freeCapacity) { output in
            fits = HeadWriter.write(
                response: response, to: version, framing: framing, closes: closes, into: &output)
        }
        return fits
    }

    // MARK: - Bytes

    /// Bytes of an answer that the client has not taken.
    func waitingCount(_ id: SlotID) -> Int {
        switch connections[id].waiting {
        case .some(let buffer): buffer.count
        case .none: 0
        }
    }

    mutating func emitChunkHeader(_ id: SlotID, count: Int) {
        if connections[id].waiting == nil {
            stage(for: id)
            if staged.freeCapacity >= 32 {
                staged.append(addingCount: 32) { output in
                    _ = HeadWriter.append(chunkOf: count, into: &output)
                }
                return
            }
        }
        var header = RigidArray<UInt8>(capacity: 32)
        header.edit { output in _ = HeadWriter.append(chunkOf: count, into: &output) }
        emit(id, header.span)
    }

    /// Appends bytes to a connection's output: behind what waits, or to the staging area.
    mutating func emit(_ id: SlotID, _ bytes: Span<UInt8>) {
        guard connections.contains(id), !connections[id].isBroken, !bytes.isEmpty else { return }
        if connections[id].waiting != nil { return keep(id, bytes) }
        stage(for: id)
        if bytes.count <= staged.freeCapacity {
            staged.append(copying: bytes)
        } else if bytes.count < staged.capacity / 4 {
            flushStaged()
            emit(id, bytes)
        } else {
            writeThrough(id, bytes)
        }
    }

    /// Makes the staging area this connection's.
    private mutating func stage(for id: SlotID) {
        if stagedFor == id { return }
        flushStaged()
        stagedFor = id
    }

    /// Sends what is staged; what the socket does not take waits with the connection.
    mutating func flushStaged() {
        let id = stagedFor
        stagedFor = .none
        guard !staged.isEmpty else { return }
        if connections.contains(id), !connections[id].isBroken {
            switch connections[id].socket.write(staged.span) {
            case .bytes(let count):
                if count < staged.count { keepStaged(id, from: count) }
            case .wouldBlock:
                keepStaged(id, from: 0)
            case .end, .failed:
                breakOff(id)
            }
        }
        staged.removeAll()
    }

    /// Sends what is staged and then the bytes, by one call and without copying them.
    private mutating func writeThrough(_ id: SlotID, _ bytes: Span<UInt8>) {
        var sent = 0
        switch connections[id].socket.write(staged.span, then: bytes) {
        case .bytes(let count): sent = count
        case .wouldBlock: break
        case .end, .failed: breakOff(id)
        }
        if !connections[id].isBroken {
            let stagedCount = staged.count
            if sent < stagedCount { keepStaged(id, from: sent) }
            let rest = max(0, sent - stagedCount)
            if rest < bytes.count { keep(id, bytes.extracting(rest..<bytes.count)) }
        }
        stagedFor = .none
        staged.removeAll()
    }

    /// Puts bytes behind those that wait for the client.
    private mutating func keep(_ id: SlotID, _ bytes: Span<UInt8>) {
        Self.keep(&connections, &pool, id, bytes)
        didKeep(id)
    }

    private mutating func keepStaged(_ id: SlotID, from: Int) {
        Self.keep(&connections, &pool, id, staged, from: from)
        didKeep(id)
    }

    private mutating func didKeep(_ id: SlotID) {
        if connections[id].waiting == nil { return breakOff(id) }
        if connections[id].deadline.at == Deadline.never {
            setDeadline(id, after: settings.writeStallMilliseconds)
        }
    }

    private static func keep(
        _ connections: inout Slab<Connection>, _ pool: inout BufferPool, _ id: SlotID,
        _ staged: borrowing RigidArray<UInt8>, from: Int
    ) {
        keep(&connections, &pool, id, staged.span.extracting(from..<staged.count))
    }

    /// Appends to the waiting bytes; there are none afterwards when memory has run out.
    private static func keep(
        _ connections: inout Slab<Connection>, _ pool: inout BufferPool, _ id: SlotID,
        _ bytes: Span<UInt8>
    ) {
        var buffer = connections[id].waiting.take()
        if append(bytes, to: &buffer, &pool) { connections[id].waiting = consume buffer }
    }

    /// Appends bytes to a buffer that grows; false, and no buffer, when memory has run out.
    static func append(
        _ bytes: Span<UInt8>, to buffer: inout Buffer?, _ pool: inout BufferPool
    ) -> Bool {
        guard var old = buffer.take() else {
            guard var new = pool.take(capacity: max(bytes.count, 4 << 10)) else { return false }
            _ = new.append(bytes)
            buffer = consume new
            return true
        }
        if old.freeCapacity >= bytes.count {
            _ = old.append(bytes)
            buffer = consume old
            return true
        }
        guard var new = pool.take(capacity: max(old.count + bytes.count, old.capacity * 2)) else {
            pool.give(old)
            return false
        }
        _ = new.append(old.span)
        _ = new.append(bytes)
        pool.give(old)
        buffer = consume new
        return true
    }

    /// Writes what waits; whether nothing waits any more.
    mutating func writeWaiting(_ id: SlotID) -> Bool {
        guard var buffer = connections[id].waiting.take() else { return true }
        var isBlocked = false
        while !buffer.isEmpty, !isBlocked {
            switch connections[id].socket.write(buffer.span) {
            case .bytes(let count):
                isBlocked = count < buffer.count
                buffer.consume(count)
                setDeadline(id, after: settings.writeStallMilliseconds)
            case .wouldBlock:
                isBlocked = true
            case .end, .failed:
                pool.give(buffer)
                breakOff(id)
                return false
            }
        }
        if !buffer.isEmpty {
            connections[id].waiting = consume buffer
            return false
        }
        pool.give(buffer)
        if connections[id].phase == .answering { connections[id].deadline.clear() }
        return true
    }

    // MARK: - Ends

    /// The answer of a connection is complete: on to the next request, or to the end.
    func isLast(_ id: SlotID) -> Bool {
        connections[id].closes || connections[id].closesSilently
            || connections[id].phase == .content
    }

    mutating func complete(_ id: SlotID) {
        guard connections.contains(id), !connections[id].isBroken else { return }
        let isLast = isLast(id)
        connections[id].isOpen = false
        connections[id].awaitsRoom = false
        connections[id].served += 1
        connections[id].answer = .notBegun
        if isLast {
            connections[id].lingers = connections[id].lingers || connections[id].phase == .content
            connections[id].phase = .flushing
            setDeadline(id, after: settings.writeStallMilliseconds)
        } else {
            connections[id].phase = .head
            setDeadline(id, after: settings.idleMilliseconds)
        }
        if current != id || isLast { makeReady(id) }
    }

    /// Nothing can be written any more; the responder is told in the next turn.
    mutating func breakOff(_ id: SlotID) {
        connections[id].isBroken = true
        if stagedFor == id {
            stagedFor = .none
            staged.removeAll()
        }
        makeReady(id)
    }

    mutating func makeReady(_ id: SlotID) {
        if connections[id].isReady { return }
        connections[id].isReady = true
        ready.append(id)
    }

    mutating func setDeadline(_ id: SlotID, after milliseconds: UInt64) {
        let time = Deadline.time(milliseconds, after: now)
        connections[id].deadline.set(time, &wheel, Kernel.Token(kind: kind + 1, id))
    }

    /// Closes a connection and takes its buffers back.
    mutating func remove(_ id: SlotID) {
        if stagedFor == id { flushStaged() }
        guard var connection = connections.remove(id) else { return }
        if let buffer = connection.held.take() { pool.give(buffer) }
        if let buffer = connection.headBytes.take() { pool.give(buffer) }
        if let buffer = connection.content.take() { pool.give(buffer) }
        if let buffer = connection.waiting.take() { pool.give(buffer) }
    }
}

/// The value of the `date` field, made anew each second.
struct DateField: ~Copyable {
    private var bytes = RigidArray<UInt8>(capacity: 32)
    private var staleAt: UInt64 = 0

    init() {}

    var span: Span<UInt8> {
        @_lifetime(borrow self)
        get { bytes.span }
    }

    mutating func refresh(now: UInt64) {
        if now < staleAt { return }
        let wall = Clock.wallNanoseconds()
        // The next second of the wall clock, on the monotonic one.
        staleAt = now + 1_000 - wall / 1_000_000 % 1_000
        bytes.removeAll()
        bytes.edit { output in
            _ = HeadWriter.append(httpDate: wall / 1_000_000_000, into: &output)
        }
    }
}
