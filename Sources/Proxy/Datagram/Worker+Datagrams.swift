// A value that cannot be copied is borrowed out of its optional in place.
// swift-format-ignore-file: NeverForceUnwrap

import Kernel
import Runtime
import Telemetry

/// A bound UDP socket of this worker; the slot is reused when its port is closed.
struct DatagramPort: ~Copyable {
    var socket: DatagramSocket?
    /// `.max` when the slot is free.
    var portID: UInt32
    /// Not in the loop yet, for want of memory.
    var isPaused = false
    /// The socket's descriptor; -1 when the slot is free.
    var raw: Int32
    /// The port that it is bound to.
    var number: UInt16
}

/// UDP ports: what clients send, to the backend of each one's session.
extension Worker {
    /// Batches taken from one socket before others have their turn.
    private static var batchesPerTurn: Int { 8 }

    // MARK: - Ports

    /// Takes datagrams of a socket from now on.
    mutating func listen(port: UInt32, _ socket: consuming DatagramSocket) {
        if datagrams == nil { datagrams = DatagramBatch() }
        var index = datagramPorts.count
        for free in 0..<datagramPorts.count where datagramPorts[free].portID == .max {
            index = free
            break
        }
        let raw = socket.raw
        let number = socket.localAddress.port
        let slot = DatagramPort(
            socket: socket, portID: port, isPaused: true, raw: raw, number: number)
        if index == datagramPorts.count {
            datagramPorts.append(slot)
        } else {
            datagramPorts[index] = slot
        }
        if !register(datagramPort: index) { resumeLater() }
    }

    /// Tries again to watch sockets that could not be watched; false when that failed again.
    mutating func resumeDatagrams() -> Bool {
        var all = true
        for index in 0..<datagramPorts.count
        where datagramPorts[index].isPaused && !register(datagramPort: index) {
            all = false
        }
        return all
    }

    private mutating func register(datagramPort index: Int) -> Bool {
        let token = Token(kind: TokenKind.datagrams, slot: UInt32(index), generation: 1)
        do {
            try loop.register(datagramPorts[index].raw, token, edgeTriggered: false)
            datagramPorts[index].isPaused = false
            return true
        } catch {
            return false
        }
    }

    /// Ends the sessions of a port, then closes its sockets.
    mutating func unlistenDatagrams(port: UInt32) {
        for index in 0..<datagramPorts.count where datagramPorts[index].portID == port {
            for slot in 0..<sessions.slots.highWater
            where sessions.slots.isOccupied(slot) && sessions.slots[slot].port == index {
                end(session: sessions.slots.id(of: slot), .done, "port_closed")
            }
            datagramPorts[index] = DatagramPort(socket: nil, portID: .max, raw: -1, number: 0)
        }
    }

    // MARK: - From clients

    /// Takes what clients have sent to a port.
    mutating func receiveDatagrams(_ index: Int) {
        guard datagramPorts[index].portID != .max, var batch = datagrams.take() else { return }
        var left = Self.batchesPerTurn
        while left > 0 {
            guard case .bytes(let count) = batch.receive(from: datagramPorts[index].socket!) else {
                break
            }
            forward(&batch, from: index)
            left = count < DatagramBatch.capacity ? 0 : left - 1
        }
        datagrams = consume batch
    }

    /// Sends a batch on, neighbours of one client together.
    private mutating func forward(_ batch: inout DatagramBatch, from index: Int) {
        shard.add(.datagramsReceived, UInt64(batch.count))
        var start = 0
        var client: DatagramClient?
        for at in 0..<batch.count {
            let next = sender(batch, at, index)
            if at > start, next != client {
                forward(&batch, start..<at, of: client, from: index)
                start = at
            }
            client = next
        }
        forward(&batch, start..<batch.count, of: client, from: index)
    }

    /// Who sent a datagram; nil when it is not to be sent on.
    private mutating func sender(
        _ batch: borrowing DatagramBatch, _ at: Int, _ index: Int
    ) -> DatagramClient? {
        if batch.isTruncated(at) { return nil }
        guard let address = batch.sender(at), address.port != 0 else { return nil }
        let asked = batch.receiver(at) ?? .any(v6: address.isIPv6, port: 0)
        // A forged sender that is a port of our own: each answer would be the next question.
        if isOwn(address, asked) { return nil }
        return DatagramClient(
            address: address, asked: asked, portID: datagramPorts[index].portID)
    }

    /// Whether an address is that of a UDP port of this gateway, on any address of the machine.
    private mutating func isOwn(_ address: SocketAddress, _ asked: SocketAddress) -> Bool {
        for port in 0..<datagramPorts.count where datagramPorts[port].number == address.port {
            return address.isSameHost(as: asked) || address.isLoopback
                || localAddresses.contains(address, now: now)
        }
        return false
    }

    /// Sends datagrams of one client to its backend; to another one where nobody was found at the first.
    private mutating func forward(
        _ batch: inout DatagramBatch, _ range: Range<Int>, of client: DatagramClient?,
        from index: Int
    ) {
        shard.add(.datagramBytesReceived, batch.byteCount(range))
        guard let client else { return dropDatagrams(range.count) }
        let hash = sessions.hash(client)
        var rest = range
        var refused = UInt32.max
        while !rest.isEmpty {
            guard
                let id = sessions.find(client, hash: hash)
                    ?? beginSession(client, hash: hash, from: index, avoiding: refused)
            else { return dropDatagrams(rest.count) }
            let sent = batch.send(rest, over: sessions.slots[id].socket)
            let gone = rest.lowerBound..<(rest.lowerBound + sent.count)
            sessions.slots[id].receivedBytes &+= batch.byteCount(gone)
            touch(session: id)
            rest = gone.upperBound..<rest.upperBound
            if rest.isEmpty { return }
            if sent.wasRefused {
                // What it was about is lost; what waits goes to another endpoint, once.
                let first = refused == .max
                refused = sessions.slots[id].route.endpointID
                sessionRefused(id)
                if !first { return dropDatagrams(rest.count) }
            } else if sent.wouldBlock {
                return dropDatagrams(rest.count)
            } else {
                // This one cannot be sent, such as one that is too long for the other family.
                dropDatagrams(1)
                rest = (rest.lowerBound + 1)..<rest.upperBound
            }
        }
    }

    /// Datagrams that go nowhere: cut, without backend, or more than a socket takes.
    mutating func dropDatagrams(_ count: Int) {
        shard.add(.datagramsDropped, UInt64(count))
    }
}
