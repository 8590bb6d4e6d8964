// A value that cannot be copied is borrowed out of its optional in place.
// swift-format-ignore-file: NeverForceUnwrap

import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// A listening socket of this worker; the slot is reused when its port is closed.
struct ListenerSlot: ~Copyable {
    var socket: ListenSocket?
    var portID: UInt32
    /// Taken out of the loop while the process has no descriptors left.
    var isPaused = false
    /// The socket's descriptor; -1 when the slot is free.
    var raw: Int32
}

/// Listening sockets: accepting, pausing when descriptors are gone, closing.
extension Worker {
    /// Connections taken from one socket in a tick.
    private static var acceptBatch: Int { 64 }
    /// How long accepting rests when the process has no descriptors left.
    private static var acceptPauseMilliseconds: UInt64 { 100 }

    /// Accepts on a socket from now on; keepalive and no-delay are the socket's own and inherited.
    mutating func listen(port: UInt32, _ socket: consuming ListenSocket) {
        var index = listeners.count
        for free in 0..<listeners.count where listeners[free].portID == .max {
            index = free
            break
        }
        let raw = socket.raw
        let registered = register(listener: index, raw)
        var slot = ListenerSlot(socket: socket, portID: port, raw: raw)
        slot.isPaused = !registered
        if index == listeners.count {
            listeners.append(slot)
        } else {
            listeners[index] = slot
        }
        if !registered { resumeLater() }
    }

    /// Takes what waits (closing would reset it), then closes the sockets of a port.
    mutating func unlisten(port: UInt32) {
        for index in 0..<listeners.count where listeners[index].portID == port {
            while acceptOne(index) {}
            listeners[index] = ListenerSlot(socket: nil, portID: .max, raw: -1)
        }
    }

    mutating func accept(_ index: Int) {
        var left = Self.acceptBatch
        while left > 0, acceptOne(index) { left -= 1 }
    }

    /// Takes one connection; false when there is none, or none can be taken now.
    private mutating func acceptOne(_ index: Int) -> Bool {
        if listeners[index].portID == .max || listeners[index].isPaused { return false }
        switch listeners[index].socket!.accept() {
        case .accepted(let descriptor, let peer):
            take(Socket(adopting: descriptor), peer: peer, portID: listeners[index].portID)
            return true
        case .aborted: return true
        case .wouldBlock: return false
        case .exhausted:
            pauseAccepting()
            return false
        case .failed: return false
        }
    }

    private mutating func take(
        _ socket: consuming Socket, peer: SocketAddress, portID: UInt32
    ) {
        let row = port(portID)
        guard row >= 0 else { return }
        let isTLS = generations[current].snapshot.table.isTLS(port: row)
        let raw = socket.raw
        guard mayConnect() else {
            turnAway(socket, isTLS: isTLS)
            return
        }
        guard
            let id = downstreams.insert(
                Downstream(socket, peer: peer, portID: portID, isTLS: isTLS))
        else {
            options.connections?.give(1)
            shard.add(.rejectedConnections, 1)
            return
        }
        do {
            try loop.register(raw, Token(kind: TokenKind.downstream, id), edgeTriggered: true)
        } catch {
            options.connections?.give(1)
            downstreams.destroy(id)
            shard.add(.rejectedConnections, 1)
            return
        }
        shard.add(.acceptedConnections, 1)
        countConnections()
        if takesIntroductions, awaitIntroduction(id, port: row) { return }
        beginConversation(id)
    }

    /// A client's own bytes begin here: at once, or after a header of the PROXY protocol.
    mutating func beginConversation(_ id: SlotID) {
        setDeadline(
            downstream: id,
            in: downstreams[id].isTLS
                ? timeouts.handshakeMilliseconds : timeouts.silentConnectionMilliseconds)
        if !downstreams[id].isTLS { beginPlain(id) }
    }

    /// Counts one more connection of the process; false, and nothing counted, when there are enough.
    private func mayConnect() -> Bool {
        guard let count = options.connections else { return true }
        guard count.take(1) else { return false }
        if count.used <= connectionsMax { return true }
        count.give(1)
        return false
    }

    /// Says 503 to a client that is one too many, as far as its socket takes it, and closes.
    private mutating func turnAway(_ socket: consuming Socket, isTLS: Bool) {
        shard.add(.rejectedConnections, 1)
        if isTLS { return }
        let text: StaticString =
            "HTTP/1.1 503 Service Unavailable\r\nserver: ai-gateway\r\nx-gateway-error: too_many_connections\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        _ = socket.write(ByteScan.bytes(text))
    }

    /// Row of a port in the current table; -1 when there is none.
    func port(_ id: UInt32) -> Int32 {
        current == .max ? -1 : generations[current].snapshot.table.portIndex(id: id)
    }

    private mutating func register(listener index: Int, _ raw: Int32) -> Bool {
        let token = Token(kind: TokenKind.listener, slot: UInt32(index), generation: 1)
        do {
            try loop.register(raw, token, edgeTriggered: false)
            return true
        } catch {
            return false
        }
    }

    /// The process has no descriptors: listeners leave the loop, else level triggering would spin.
    private mutating func pauseAccepting() {
        for index in 0..<listeners.count where listeners[index].portID != .max {
            if listeners[index].isPaused { continue }
            listeners[index].isPaused = true
            loop.remove(listeners[index].raw)
        }
        shard.add(.acceptPauses, 1)
        buffers.pipes.yieldDescriptors()
        tendBuffers()
        resumeLater()
    }

    mutating func resumeLater() {
        timers.schedule(
            Token(kind: TokenKind.acceptPause, slot: 0, generation: 1),
            at: now + Self.acceptPauseMilliseconds)
    }

    mutating func resumeAccepting() {
        var again = !resumeDatagrams()
        for index in 0..<listeners.count where listeners[index].isPaused {
            if register(listener: index, listeners[index].raw) {
                listeners[index].isPaused = false
            } else {
                again = true
            }
        }
        if again { resumeLater() }
    }
}
