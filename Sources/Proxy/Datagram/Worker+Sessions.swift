// A value that cannot be copied is borrowed out of its optional in place.
// swift-format-ignore-file: NeverForceUnwrap

import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// Sessions of UDP clients: begun by a datagram, ended by silence.
extension Worker {
    /// Batches of answers taken from one session before others have their turn.
    private static var batchesPerTurn: Int { 4 }
    /// How long a draining worker waits for another answer of a session.
    private static var drainIdleMilliseconds: UInt32 { 2_000 }

    // MARK: - Beginning

    /// Chooses a backend for a client and opens a socket to it; nil when there is none, or no room.
    @inline(never)
    mutating func beginSession(
        _ client: DatagramClient, hash: UInt64, from index: Int, avoiding refused: UInt32
    ) -> SlotID? {
        if isDraining { return nil }
        guard let route = chooseRoute(port: client.portID, avoiding: refused) else { return nil }
        while sessions.count >= sessionsMax, let oldest = sessions.oldest {
            end(session: oldest, .done, "evicted")
        }
        guard let socket = openSession(to: route.endpoint) else { return nil }
        let raw = socket.raw
        guard
            let id = sessions.insert(
                DatagramSession(
                    socket, client, hash: hash, port: index, route, began: nowNanoseconds))
        else { return nil }
        do {
            try loop.register(raw, Token(kind: TokenKind.session, id), edgeTriggered: false)
        } catch {
            sessions.remove(id)
            return nil
        }
        endpoints[Int(route.endpointID)].active += 1
        shard.add(.datagramSessionsBegun, 1)
        shard.set(.datagramSessions, UInt64(sessions.count))
        return id
    }

    /// A connected socket; where descriptors or ports have run out, that of the oldest session makes room.
    private mutating func openSession(to endpoint: SocketAddress) -> DatagramSocket? {
        for isFirst in [true, false] {
            do throws(SystemError) {
                return try DatagramSocket.connected(to: endpoint)
            } catch {
                guard isFirst, error.isExhaustion, let oldest = sessions.oldest else { return nil }
                end(session: oldest, .done, "evicted")
            }
        }
        return nil
    }

    /// What the documents say about a port's datagrams now, and an endpoint by weight and load.
    private mutating func chooseRoute(
        port id: UInt32, avoiding refused: UInt32
    ) -> DatagramRoute? {
        let port = port(id)
        guard port >= 0 else { return nil }
        let listener = generations[current].snapshot.table.listener(
            port: port, host: Span(), isTLS: false)
        guard listener >= 0 else { return nil }
        let listenerRow = generations[current].snapshot.table.listeners[Int(listener)]
        let rule = generations[current].snapshot.table.streamRule(listener: listener, host: Span())
        guard rule >= 0 else { return nil }
        let at = generations[current].snapshot.table.backend(
            rule: rule, random: UInt32(truncatingIfNeeded: random.next()))
        guard at >= 0 else { return nil }
        let backend = generations[current].snapshot.table.backends[Int(at)]
        guard backend.kind == .cluster,
            let row = chooseEndpoint(cluster: backend.value, avoiding: refused)
        else {
            shard.countUpstreamFailure(series: backend.series, reason: .noEndpoint)
            return nil
        }
        let endpoint = clusters.endpoints[Int(row)]
        return DatagramRoute(
            clusterID: backend.value, endpointID: endpoint.id, endpoint: endpoint.address,
            listenerID: listenerRow.id,
            series: generations[current].snapshot.table.rules[Int(rule)].series,
            backendSeries: backend.series,
            idleMilliseconds: generations[current].snapshot
                .parameters[Int(listenerRow.parameters)].timeouts.udpIdleMilliseconds)
    }

    // MARK: - Answers

    /// A session's backend has answered, or is not there.
    mutating func sessionEvent(_ id: SlotID) {
        guard var batch = datagrams.take() else { return }
        var left = Self.batchesPerTurn
        while left > 0 {
            switch batch.receive(from: sessions.slots[id].socket) {
            case .bytes(let count):
                answer(&batch, id)
                left = count < DatagramBatch.capacity ? 0 : left - 1
            case .wouldBlock, .end: left = 0
            case .failed:
                sessionRefused(id)
                left = 0
            }
        }
        datagrams = consume batch
    }

    /// Sends a batch of answers to the client that asked, and to nobody else, from the address that it asked.
    private mutating func answer(_ batch: inout DatagramBatch, _ id: SlotID) {
        if sessions.slots[id].firstAnswer == 0 {
            sessions.slots[id].firstAnswer = nowNanoseconds
            note(endpoint: sessions.slots[id].route.endpointID, reached: true)
        }
        touch(session: id)
        var start = 0
        for at in 0..<batch.count where batch.isTruncated(at) {
            answer(&batch, start..<at, id)
            dropDatagrams(1)
            start = at + 1
        }
        answer(&batch, start..<batch.count, id)
    }

    private mutating func answer(
        _ batch: inout DatagramBatch, _ range: Range<Int>, _ id: SlotID
    ) {
        let client = sessions.slots[id].client
        let port = sessions.slots[id].port
        var rest = range
        while !rest.isEmpty {
            let sent = batch.send(
                rest, over: datagramPorts[port].socket!, to: client.address, from: client.asked)
            let gone = rest.lowerBound..<(rest.lowerBound + sent.count)
            let bytes = batch.byteCount(gone)
            sessions.slots[id].sentBytes &+= bytes
            shard.add(.datagramsSent, UInt64(gone.count))
            shard.add(.datagramBytesSent, bytes)
            rest = gone.upperBound..<rest.upperBound
            if rest.isEmpty { return }
            if sent.wouldBlock { return dropDatagrams(rest.count) }
            // This one cannot be sent: too long, or the client cannot be reached any more.
            dropDatagrams(1)
            rest = (rest.lowerBound + 1)..<rest.upperBound
        }
    }

    /// A datagram moves the end of its session away.
    mutating func touch(session id: SlotID) {
        sessions.touch(id)
        let idle = sessions.slots[id].route.idleMilliseconds
        setDeadline(
            session: id, in: isDraining ? min(idle, Self.drainIdleMilliseconds) : idle)
    }

    // MARK: - Ending

    /// The system says that nobody is there: the client's next datagram has an endpoint chosen anew.
    mutating func sessionRefused(_ id: SlotID) {
        let route = sessions.slots[id].route
        note(endpoint: route.endpointID, reached: false)
        shard.countUpstreamFailure(series: route.backendSeries, reason: .connectRefused)
        end(session: id, .upstreamReset, "connect_refused")
    }

    mutating func end(session id: SlotID, _ ended: Ended, _ reason: StaticString) {
        if options.log != nil { log(session: id, ended, ByteScan.bytes(reason)) }
        endpoints[Int(sessions.slots[id].route.endpointID)].active -= 1
        sessions.remove(id)
        shard.set(.datagramSessions, UInt64(sessions.count))
    }

    /// Ends sessions whose backend is none of their port's any more, or has lost the endpoint.
    mutating func reviewSessions() {
        if sessions.count == 0 { return }
        for slot in 0..<sessions.slots.highWater where sessions.slots.isOccupied(slot) {
            let route = sessions.slots[slot].route
            if !hasEndpoint(route) {
                end(session: sessions.slots.id(of: slot), .done, "endpoint_gone")
            } else if !leads(port: sessions.slots[slot].client.portID, to: route.clusterID) {
                end(session: sessions.slots.id(of: slot), .done, "route_gone")
            }
        }
    }

    private func hasEndpoint(_ route: DatagramRoute) -> Bool {
        let row = clusters.row(ofCluster: route.clusterID)
        if row < 0 { return false }
        let first = Int(clusters.clusters[Int(row)].firstEndpoint)
        for at in first..<(first + Int(clusters.clusters[Int(row)].endpointCount))
        where clusters.endpoints[at].id == route.endpointID {
            return true
        }
        return false
    }

    private func leads(port id: UInt32, to cluster: UInt32) -> Bool {
        let port = port(id)
        if port < 0 { return false }
        let listener = generations[current].snapshot.table.listener(
            port: port, host: Span(), isTLS: false)
        let rule = generations[current].snapshot.table.streamRule(listener: listener, host: Span())
        if rule < 0 { return false }
        for at in generations[current].snapshot.table.rules[Int(rule)].backendRange {
            let backend = generations[current].snapshot.table.backends[at]
            if backend.kind == .cluster, backend.value == cluster { return true }
        }
        return false
    }

    /// A draining worker begins no sessions and waits shortly for the answers of those that it has.
    mutating func drainSessions() {
        for slot in 0..<sessions.slots.highWater where sessions.slots.isOccupied(slot) {
            setDeadline(
                session: sessions.slots.id(of: slot),
                in: min(
                    sessions.slots[slot].route.idleMilliseconds, Self.drainIdleMilliseconds))
        }
    }

    /// Ends what is left when the thread ends.
    mutating func endSessions() {
        while let oldest = sessions.oldest { end(session: oldest, .drained, "") }
    }

    private mutating func log(
        session id: SlotID, _ ended: Ended, _ reason: Span<UInt8>
    ) {
        let route = sessions.slots[id].route
        var line = AccessRecord()
        line.time = nowNanoseconds &+ wallOffset
        line.duration = nowNanoseconds &- sessions.slots[id].began
        if sessions.slots[id].firstAnswer != 0 {
            line.timeToFirstByte = sessions.slots[id].firstAnswer &- sessions.slots[id].began
        }
        line.bytesReceived = sessions.slots[id].receivedBytes
        line.bytesSent = sessions.slots[id].sentBytes
        line.series = route.series
        line.backendSeries = route.backendSeries
        line.listener = route.listenerID
        line.version = AccessRecord.datagramVersion
        line.ended = ended
        line.client = sessions.slots[id].client.address
        line.endpoint = route.endpoint
        log(line, reason)
    }
}
