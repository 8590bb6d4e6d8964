import HTTP
import HTTPCodec
import Kernel
import Runtime

/// Connections: accepted, read, written, closed.
extension PickerServer {
    /// Connections taken from one listener in one turn.
    private static var acceptBatch: Int { 64 }
    /// Bytes read from one connection in one turn.
    private static var readsPerTurn: Int { 4 }

    /// Gateways have one call a request over few connections, and each call ends with one of them going.
    private static var limits: HTTP2Limits {
        var limits = HTTP2Limits()
        limits.concurrentStreamsMax = 16_384
        limits.resetsMax = 1_000_000
        limits.outboundQueueMax = 100_000
        return limits
    }

    mutating func accept(_ index: Int) {
        guard index < listeners.count else { return }
        for _ in 0..<Self.acceptBatch {
            switch listeners[index].accept() {
            case .accepted(let fd, _): take(Socket(adopting: fd))
            case .aborted: continue
            case .wouldBlock, .exhausted, .failed: return
            }
        }
    }

    /// Begins a connection; over the limit it is closed at once.
    private mutating func take(_ socket: consuming Socket) {
        let raw = socket.raw
        guard !connections.isFull,
            let session = HTTP2Session(
                role: .server, limits: Self.limits, isSecure: false, now: now),
            let id = connections.insert(GatewayConnection(socket, session))
        else { return }
        do throws(SystemError) {
            try loop.register(raw, Token(kind: TokenKind.connection, id), edgeTriggered: false)
            if isDraining { connections[id].session.shutDown() }
            noteOutput(id)
        } catch {
            close(connection: id)
        }
    }

    /// Goes on with a connection after an event of its socket.
    mutating func advance(_ id: SlotID, _ readiness: Readiness) {
        guard connections.contains(id) else { return }
        if readiness.contains(.writable) { noteOutput(id) }
        if readiness.isDisjoint(with: [.readable, .peerClosed, .hangUp, .error]) { return }
        var bytes = Buffer()
        swap(&bytes, &input)
        readFrames(id, &bytes)
        swap(&bytes, &input)
    }

    private mutating func readFrames(_ id: SlotID, _ bytes: inout Buffer) {
        for _ in 0..<Self.readsPerTurn {
            bytes.removeAll()
            switch connections[id].socket.read(into: &bytes) {
            case .bytes where connections[id].isParting: continue
            case .bytes:
                let goesOn = connections[id].session.receive(bytes.span, &buffers, now: now)
                noteOutput(id)
                takeEvents(id)
                guard connections.contains(id) else { return }
                if !goesOn {
                    sendFrames(of: id)
                    if connections.contains(id) { part(id) }
                    return
                }
                if bytes.freeCapacity > 0 { return }
            case .wouldBlock: return
            case .end, .failed:
                close(connection: id)
                return
            }
        }
    }

    /// Carries out what frames said, stream by stream.
    private mutating func takeEvents(_ id: SlotID) {
        while connections.contains(id), let event = connections[id].session.nextEvent() {
            if event.kind == .opened {
                open(id, event.stream)
                continue
            }
            let call = Token(raw: event.tag).id
            guard calls.contains(call) else { continue }
            switch event.kind {
            case .readable, .writable: read(call)
            case .reset: leave(call, .cancel)
            case .opened, .goAway, .capacity: break
            }
        }
    }

    // MARK: - Output

    /// Lists a connection that may have something to send.
    mutating func noteOutput(_ id: SlotID) {
        guard connections.contains(id), !connections[id].isListed else { return }
        connections[id].isListed = true
        unsent.append(id)
    }

    /// Sends what was said during the tick.
    mutating func sendFrames() {
        while let id = unsent.popLast() {
            guard connections.contains(id) else { continue }
            connections[id].isListed = false
            sendFrames(of: id)
            takeEvents(id)
            if connections.contains(id), connections[id].session.isOver,
                connections[id].waiting.isEmpty
            {
                part(id)
            }
        }
    }

    /// Ends a connection on which all is said; in a drain the gateway closes it, for what closes first may cut off the last
    /// words.
    private mutating func part(_ id: SlotID) {
        if !isDraining { return close(connection: id) }
        if connections[id].isParting { return }
        connections[id].isParting = true
        connections[id].socket.shutdownWrite()
    }

    private mutating func sendFrames(of id: SlotID) {
        let hadWaiting = !connections[id].waiting.isEmpty
        var frames = Buffer()
        swap(&frames, &output)
        let isSound = flush(id) && write(id, &frames)
        swap(&frames, &output)
        if !isSound { return close(connection: id) }
        let hasWaiting = !connections[id].waiting.isEmpty
        if hasWaiting == hadWaiting { return }
        do throws(SystemError) {
            // Who does not read is not read from.
            try loop.update(
                connections[id].socket.raw, Token(kind: TokenKind.connection, id),
                readable: !hasWaiting, writable: hasWaiting)
        } catch {
            close(connection: id)
        }
    }

    /// Sends what the session has to say, and keeps what the socket does not take; false when it is broken.
    private mutating func write(_ id: SlotID, _ frames: inout Buffer) -> Bool {
        while connections[id].waiting.isEmpty {
            frames.removeAll()
            _ = connections[id].session.produce(into: &frames, &buffers, now: now)
            if frames.isEmpty { return true }
            switch connections[id].socket.write(frames.span) {
            case .bytes(let count): frames.consume(count)
            case .wouldBlock: break
            case .end, .failed: return false
            }
            if !buffers.append(frames.span, to: &connections[id].waiting) { return false }
        }
        return true
    }

    /// Sends what the socket did not take before; false when it is broken.
    private mutating func flush(_ id: SlotID) -> Bool {
        while !connections[id].waiting.isEmpty {
            switch connections[id].socket.write(connections[id].waiting.span) {
            case .bytes(let count): connections[id].waiting.consume(count)
            case .wouldBlock: return true
            case .end, .failed: return false
            }
        }
        buffers.reclaim(&connections[id].waiting)
        return true
    }

    /// Tells of the connections of gateways: the calls on one are its requests.
    mutating func answer(_ report: ConnectionReport) {
        var rows: [ConnectionRow] = []
        for slot in 0..<connections.highWater
        where connections.isOccupied(slot) && rows.count < ConnectionReport.rowsMax {
            guard let peer = connections[slot].socket.peerAddress() else { continue }
            var row = ConnectionRow(client: peer, kind: .http2)
            row.requestCount = UInt32(clamping: connections[slot].session.openStreams)
            row.waitingBytes = connections[slot].waiting.count
            rows.append(row)
        }
        report.take(rows, total: connections.count)
    }

    /// Ends a connection with all its calls.
    mutating func close(connection id: SlotID) {
        guard connections.contains(id) else { return }
        for slot in 0..<calls.highWater
        where calls.isOccupied(slot) && calls[slot].connection == id {
            leave(calls.id(of: slot), .cancel)
        }
        buffers.reclaim(&connections[id].waiting)
        connections[id].session.release(&buffers)
        connections.destroy(id)
    }
}
