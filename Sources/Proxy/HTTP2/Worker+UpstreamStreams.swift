import HTTP
import HTTPCodec
import Kernel
import Runtime
import Telemetry

/// Backends that speak HTTP/2: exchanges share few connections, and each has an upstream of its own for its stream.
extension Worker {
    // MARK: - Choosing a connection

    /// Whether connections to a cluster are, or may turn out to be, HTTP/2.
    func mayMultiplex(cluster id: UInt32, endpoint: UInt32) -> Bool {
        let row = clusters.row(ofCluster: id)
        // A connection that begins with the PROXY protocol speaks for one client.
        guard row >= 0, clusters.clusters[Int(row)].proxyProtocol == .none else { return false }
        return switch clusters.clusters[Int(row)].protocol {
        case .h2c: true
        case .http2: !endpoints[Int(endpoint)].declinedHTTP2
        case .http, .https: false
        }
    }

    /// Sends the request over a stream of a connection that stands; false when there is none with room.
    mutating func sendOverStream(_ id: SlotID, endpoint: UInt32) -> Bool {
        var slot = endpoints[Int(endpoint)].firstMultiplexed
        while slot != .max {
            let connection = upstreams.id(of: slot)
            slot = upstreams[slot].nextIdle
            if sendOverStream(id, of: connection) {
                shard.add(.upstreamReuses, 1)
                return true
            }
        }
        return false
    }

    /// Sends the request over a new stream of this connection; false when it takes no more.
    private mutating func sendOverStream(_ id: SlotID, of owner: SlotID) -> Bool {
        let connection = upstreams[owner].multiplexer
        // Until the backend has said how many streams it takes, one is safe.
        let room = cipher.multiplexers[connection].session.capacity
        let isKnown = cipher.multiplexers[connection].session.hasPeerSettings
        if room == 0 || (!isKnown && cipher.multiplexers[connection].session.openStreams > 0) {
            return false
        }
        if exchanges[id].upgrades, !cipher.multiplexers[connection].session.acceptsExtendedConnect {
            return false
        }
        guard let stream = cipher.multiplexers[connection].session.open(tag: 0) else {
            return false
        }
        let reference = StreamReference(connection: connection, stream: stream)
        let made = Upstream(reference, of: upstreams[owner], for: id)
        guard let upstream = upstreams.insert(made) else {
            cipher.multiplexers.close(reference, .cancel, &buffers)
            return false
        }
        cipher.multiplexers[connection].session.setTag(
            stream, Token(kind: TokenKind.upstream, upstream).raw)
        link(upstream, to: connection)
        upstreamStreams += 1
        endpoints[Int(upstreams[upstream].endpointID)].active += 1
        // A stream carries one exchange.
        exchanges[id].upstreamSpoiled = true
        exchanges[id].isOverStream = true
        armMultiplexing(upstream: owner)
        sendRequestAndGoOn(id, upstream, overPooled: upstreams[owner].wasReused)
        return true
    }

    private mutating func link(_ upstream: SlotID, to connection: SlotID) {
        let first = cipher.multiplexers[connection].firstStream
        upstreams[upstream].nextIdle = first
        if first != .max { upstreams[first].previousIdle = upstream.slot }
        cipher.multiplexers[connection].firstStream = upstream.slot
    }

    /// An upgrade that no connection took: it waits for the settings of one, or the backend does not offer it (RFC 8441).
    mutating func upgradeOverHTTP2(_ id: SlotID, endpoint: UInt32) {
        let first = endpoints[Int(endpoint)].firstMultiplexed
        waitForSettings(id, upstreams[first].multiplexer)
    }

    // MARK: - Beginning

    /// Whether the connection, which stands now, speaks HTTP/2.
    mutating func speaksHTTP2(_ upstream: SlotID) -> Bool {
        if upstreams[upstream].link.isSealed { return upstreams[upstream].link.speaksHTTP2() }
        let row = clusters.row(ofCluster: upstreams[upstream].clusterID)
        return row >= 0 && clusters.clusters[Int(row)].protocol == .h2c
    }

    /// Streams at once of a connection to a backend that would take more, so that none carries everything.
    private static var streamsOfConnectionMax: UInt32 { 1_000 }

    /// The connection speaks HTTP/2 from here on; the exchange that began it goes first, and those that wait for it when
    /// the backend has said how many streams it takes.
    mutating func beginMultiplexing(upstream: SlotID) {
        let id = upstreams[upstream].exchange
        let endpoint = Int(upstreams[upstream].endpointID)
        let isSecure = upstreams[upstream].link.isSealed
        var limits = HTTP2Limits()
        limits.concurrentStreamsMax = Self.streamsOfConnectionMax
        guard
            let session = HTTP2Session(
                role: .client, limits: limits, isSecure: isSecure, now: now),
            let connection = cipher.multiplexers.insert(
                Multiplexer(session, owner: upstream, isServer: false))
        else {
            letGo(upstream)
            fail(id, .overloaded)
            return
        }
        upstreams[upstream].phase = .multiplexing
        upstreams[upstream].multiplexer = connection
        upstreams[upstream].exchange = .none
        exchanges[id].upstream = .none
        endpoints[endpoint].active -= 1
        endpoints[endpoint].declinedHTTP2 = false
        takeEarlyFrames(upstream, connection)
        if !upstreams[upstream].isIntroduced { linkMultiplexed(upstream) }
        cipher.multiplexers.noteOutput(connection)
        armMultiplexing(upstream: upstream)
        if !sendOverStream(id, of: upstream) { waitForSettings(id, connection) }
        if upstreams.contains(upstream), upstreams[upstream].isIntroduced {
            cipher.multiplexers[connection].isEnding = true
        }
        if upstreams.contains(upstream) { upstreams[upstream].wasReused = true }
    }

    /// An upgrade needs to know what the backend's settings allow, and where they allow nothing others are waited for.
    private mutating func waitForSettings(_ id: SlotID, _ connection: SlotID) {
        let owner = cipher.multiplexers[connection].owner
        let isUnknown =
            exchanges[id].upgrades && !cipher.multiplexers[connection].session.hasPeerSettings
        if isUnknown || cipher.multiplexers[connection].session.isShut,
            !upstreams[owner].isIntroduced, !exchanges[id].isMirror
        {
            exchanges[id].beginConnecting()
            if !wait(id) { fail(id, .overloaded) }
        } else if exchanges[id].upgrades {
            fail(id, .malformedAnswer)
        } else {
            attemptFailed(id, .resetBeforeHead)
        }
    }

    /// Uses what a backend said in the same read as the end of its handshake; what it means is carried out at the end of
    /// the tick.
    private mutating func takeEarlyFrames(_ upstream: SlotID, _ connection: SlotID) {
        if upstreams[upstream].input.isEmpty { return }
        var early = Buffer()
        swap(&early, &upstreams[upstream].input)
        if !receiveFrames(connection, early.span) {
            cipher.multiplexers[connection].isEnding = true
            cipher.multiplexers.noteOutput(connection)
        }
        buffers.reclaim(&early)
    }

    // MARK: - Frames

    /// Reads frames and carries them out until input ends or others are to have their turn.
    mutating func readFrames(upstream id: SlotID, _ input: inout Buffer) {
        let connection = upstreams[id].multiplexer
        var left = Scratch.tickBytes
        while upstreams.contains(id), upstreams[id].link.isReadable {
            if left <= 0 {
                enqueue(upstream: id)
                return
            }
            input.removeAll()
            let result = upstreams[id].link.read(into: &input, &cipher, &buffers)
            left -= input.count
            switch result {
            case .bytes:
                if receiveFrames(connection, input.span) {
                    takeEvents(connection, &input)
                } else {
                    sendFrames(of: connection)
                    loseConnection(id, &input)
                }
            case .wouldBlock: return
            case .end, .failed: loseConnection(id, &input)
            }
        }
    }

    /// A backend's connection has ended: streams that have their whole answer deliver it, the others fail.
    private mutating func loseConnection(_ id: SlotID, _ input: inout Buffer) {
        let connection = upstreams[id].multiplexer
        cipher.multiplexers[connection].isLost = true
        cipher.multiplexers[connection].session.connectionEnded(&buffers)
        takeEvents(connection, &input)
        guard upstreams.contains(id) else { return }
        var slot = cipher.multiplexers[connection].firstStream
        while slot != .max {
            let stream = upstreams.id(of: slot)
            slot = upstreams[slot].nextIdle
            upstreams[stream].link.isReadable = true
            upstreams[stream].link.peerEnded = true
            enqueue(upstream: stream)
        }
        unlinkMultiplexed(id)
        cipher.multiplexers[connection].isEnding = true
        upstreams[id].link.isReadable = false
        if cipher.multiplexers[connection].firstStream == .max { close(upstream: id) }
    }

    /// Carries out what a backend's frames say about a stream.
    mutating func takeEvent(
        ofBackend connection: SlotID, _ event: HTTP2Event, _ input: inout Buffer
    ) {
        let owner = cipher.multiplexers[connection].owner
        switch event.kind {
        case .goAway:
            unlinkMultiplexed(owner)
            cipher.multiplexers[connection].isEnding = true
            cipher.multiplexers.noteOutput(connection)
            return
        case .capacity:
            if cipher.multiplexers[connection].session.isShut {
                // It is waited for, as if it were still being made: another one would be shut as well.
                armMultiplexing(upstream: owner)
                return
            }
            if cipher.multiplexers[connection].isAwaited {
                cipher.multiplexers[connection].isAwaited = false
                armMultiplexing(upstream: owner)
            }
            _ = keepPromise(owner)
            serveAllWaiting(cluster: upstreams[owner].clusterID)
            return
        case .opened, .readable, .writable, .reset: break
        }
        let id = Token(raw: event.tag).id
        guard upstreams.contains(id) else { return }
        switch event.kind {
        case .readable:
            upstreams[id].link.isReadable = true
            upstreamReady(id, &input)
        case .writable:
            upstreams[id].link.becameWritable()
            let exchange = upstreams[id].exchange
            if exchange != .none, exchanges[exchange].call != .none {
                goOnPicked(exchange)
            } else if exchange != .none, exchanges[exchange].isMirror {
                resumeMirror(exchange)
            } else if exchange != .none, exchanges[exchange].isAsking {
                if exchanges[exchange].isReplaying { continueReplay(exchange) }
            } else if exchange != .none, !exchanges[exchange].isCarrier {
                enqueue(downstream: exchanges[exchange].downstream)
            }
        case .reset:
            // What of its answer has come is read first.
            upstreams[id].link.isReadable = true
            upstreams[id].link.peerEnded = true
            upstreamReady(id, &input)
        case .opened, .goAway, .capacity: break
        }
    }

    // MARK: - Ending

    /// Frees a stream's slot; its exchange must have let go of it.
    mutating func forget(upstreamStream id: SlotID, _ how: StreamClose) {
        guard let stream = upstreams[id].link.stream else { return }
        let cluster = upstreams[id].clusterID
        let previous = upstreams[id].previousIdle
        let next = upstreams[id].nextIdle
        if previous == .max {
            cipher.multiplexers[stream.connection].firstStream = next
        } else {
            upstreams[previous].nextIdle = next
        }
        if next != .max { upstreams[next].previousIdle = previous }
        buffers.reclaim(&upstreams[id].input)
        upstreams.destroy(id)
        upstreamStreams -= 1
        cipher.multiplexers.close(stream, how, &buffers)
        armMultiplexing(upstream: cipher.multiplexers[stream.connection].owner)
        serveWaiting(cluster: cluster)
    }

    /// Puts a connection into its endpoint's list: it takes new streams.
    private mutating func linkMultiplexed(_ id: SlotID) {
        let endpoint = Int(upstreams[id].endpointID)
        let first = endpoints[endpoint].firstMultiplexed
        upstreams[id].nextIdle = first
        if first != .max { upstreams[first].previousIdle = id.slot }
        endpoints[endpoint].firstMultiplexed = id.slot
    }

    /// Takes a connection out of its endpoint's list: no new streams.
    private mutating func unlinkMultiplexed(_ id: SlotID) {
        let endpoint = Int(upstreams[id].endpointID)
        let previous = upstreams[id].previousIdle
        let next = upstreams[id].nextIdle
        if previous == .max {
            // Not in the list any more, or first in it.
            guard endpoints[endpoint].firstMultiplexed == id.slot else { return }
            endpoints[endpoint].firstMultiplexed = next
        } else {
            upstreams[previous].nextIdle = next
        }
        if next != .max { upstreams[next].previousIdle = previous }
        upstreams[id].nextIdle = .max
        upstreams[id].previousIdle = .max
    }

    /// Before a connection is closed: its streams end as broken off, and its session goes.
    mutating func closeStreams(ofUpstream id: SlotID) {
        unlinkMultiplexed(id)
        let connection = upstreams[id].multiplexer
        guard cipher.multiplexers.contains(connection) else { return }
        if cipher.multiplexers[connection].session.isShut { breakPromise(id, .overloaded) }
        while cipher.multiplexers[connection].firstStream != .max {
            answerEnded(upstreams.id(of: cipher.multiplexers[connection].firstStream), clean: false)
        }
        endSession(connection)
        upstreams[id].multiplexer = .none
    }

    /// A connection will not take in time what others wait to send over it: their attempts are over.
    private mutating func breakPromise(_ id: SlotID, _ reason: UpstreamFailure) {
        if !keepPromise(id) { return }
        failWaiting(
            cluster: upstreams[id].clusterID, endpoint: upstreams[id].endpointID, reason)
    }

    // MARK: - Time

    /// Sets the connection's deadline by what it waits for.
    mutating func armMultiplexing(upstream id: SlotID) {
        let connection = upstreams[id].multiplexer
        guard cipher.multiplexers.contains(connection) else { return }
        if !cipher.multiplexers[connection].session.hasPeerSettings {
            // A server speaks first of all; until then its time to connect goes on.
            if upstreams[id].timer.at == 0 {
                setDeadline(upstream: id, in: timeouts.connectMilliseconds)
            }
        } else if isAwaited(id) {
            // Once: settings that come again and again give it no more time.
            if !cipher.multiplexers[connection].isAwaited {
                cipher.multiplexers[connection].isAwaited = true
                setDeadline(upstream: id, in: timeouts.connectMilliseconds)
            }
        } else if cipher.multiplexers[connection].session.openStreams == 0 {
            setDeadline(upstream: id, in: timeouts.upstreamIdleMilliseconds)
        } else if let milliseconds = untilProbe(connection) {
            setDeadline(upstream: id, in: milliseconds)
        }
    }

    /// A connection takes no streams, and others wait until it does.
    private func isAwaited(_ id: SlotID) -> Bool {
        upstreams[id].isPromised
            && cipher.multiplexers[upstreams[id].multiplexer].session.isShut
    }

    /// A backend took the connection and never said its settings: as if it had not taken it.
    private mutating func neverSpoke(_ id: SlotID) {
        note(endpoint: upstreams[id].endpointID, reached: false)
        unlinkMultiplexed(id)
        breakPromise(id, .connectTimeout)
        close(upstream: id)
    }

    mutating func multiplexingTimedOut(upstream id: SlotID) {
        let connection = upstreams[id].multiplexer
        if !cipher.multiplexers[connection].session.hasPeerSettings {
            neverSpoke(id)
            return
        }
        if isAwaited(id) { breakPromise(id, .overloaded) }
        if cipher.multiplexers[connection].session.openStreams == 0 {
            unlinkMultiplexed(id)
            sayGoAway(connection)
            return
        }
        switch probe(connection) {
        case .wait(let milliseconds): setDeadline(upstream: id, in: milliseconds)
        case .dead: close(upstream: id)
        }
    }
}
