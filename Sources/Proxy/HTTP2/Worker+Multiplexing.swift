import HTTP
import HTTPCodec
import Kernel
import Runtime
import Telemetry

/// What both sides' HTTP/2 connections have in common: frames in, events, frames out, dead peers.
extension Worker {
    /// Gives bytes of a connection to its session and carries out what they mean; false when the connection is over and
    /// what is left to say should be said.
    mutating func receiveFrames(
        _ id: SlotID, _ bytes: Span<UInt8>
    ) -> Bool {
        cipher.multiplexers[id].awaitsPing = false
        if cipher.multiplexers[id].session.wantsRoundTrip { measureRoundTrip(id) }
        let goesOn = cipher.multiplexers[id].session.receive(bytes, &buffers, now: now)
        cipher.multiplexers.noteOutput(id)
        return goesOn
    }

    /// Tells a session whose windows would grow what its connection's path allows.
    @inline(never)
    private mutating func measureRoundTrip(_ id: SlotID) {
        let owner = cipher.multiplexers[id].owner
        let shortest =
            cipher.multiplexers[id].isServer
            ? downstreams[owner].link.socket.shortestRoundTrip()
            : upstreams[owner].link.socket.shortestRoundTrip()
        cipher.multiplexers[id].session.setRoundTrip(microseconds: shortest, now: now)
    }

    /// Carries out what the frames that were received say, stream by stream.
    mutating func takeEvents(_ id: SlotID, _ input: inout Buffer) {
        while cipher.multiplexers.contains(id),
            let event = cipher.multiplexers[id].session.nextEvent()
        {
            if cipher.multiplexers[id].isServer {
                takeEvent(ofClient: id, event, &input)
            } else {
                takeEvent(ofBackend: id, event, &input)
            }
        }
    }

    /// Sends what sessions have to say; once a tick, so that what streams gave meanwhile leaves together.
    @inline(never)
    mutating func sendFrames(_ input: inout Buffer) {
        cipher.multiplexers.beginRound()
        while let id = cipher.multiplexers.nextOfRound() {
            guard cipher.multiplexers.contains(id) else { continue }
            sendFrames(of: id)
            takeEvents(id, &input)
            guard cipher.multiplexers.contains(id) else { continue }
            if cipher.multiplexers[id].untimed > 0 { timeUnsent(ofConnection: id) }
            endIfFinished(id)
        }
    }

    /// Sends what one session has to say, as far as its connection takes it.
    mutating func sendFrames(of id: SlotID) {
        let owner = cipher.multiplexers[id].owner
        let isServer = cipher.multiplexers[id].isServer
        // Only what the client takes gives it more time.
        let wasCongested = isServer && downstreams[owner].link.isCongested
        var out = Buffer()
        swap(&out, &output)
        var goesOn = true
        while goesOn {
            if isServer ? downstreams[owner].link.isCongested : upstreams[owner].link.isCongested {
                break
            }
            out.removeAll()
            let hasMore = cipher.multiplexers[id].session.produce(into: &out, &buffers, now: now)
            if out.isEmpty { break }
            let result =
                isServer
                ? downstreams[owner].link.send(out.span, &cipher, &buffers)
                : upstreams[owner].link.send(out.span, &cipher, &buffers)
            goesOn = result == .taken && hasMore
            if result == .failed { noteBroken(owner, isServer: isServer) }
        }
        swap(&out, &output)
        if isServer, !wasCongested, downstreams[owner].link.isCongested {
            armMultiplexing(downstream: owner)
        }
    }

    /// A write failed: what the peer still said is read, and the end found there.
    private mutating func noteBroken(_ owner: SlotID, isServer: Bool) {
        if isServer {
            downstreams[owner].link.peerEnded = true
            downstreams[owner].link.isReadable = true
            enqueue(downstream: owner)
        } else {
            upstreams[owner].link.peerEnded = true
            upstreams[owner].link.isReadable = true
            enqueue(upstream: owner)
        }
    }

    /// Ends a connection that has said its last word, in peace or because its peer broke the protocol.
    private mutating func endIfFinished(_ id: SlotID) {
        guard cipher.multiplexers.contains(id),
            cipher.multiplexers[id].isFinished || cipher.multiplexers[id].hasFailed
        else { return }
        let owner = cipher.multiplexers[id].owner
        if !cipher.multiplexers[id].isServer {
            close(upstream: owner)
        } else if !downstreams[owner].link.isCongested {
            endMultiplexing(downstream: owner)
        }
    }

    /// Says the final GOAWAY, once.
    mutating func sayGoAway(_ id: SlotID) {
        if cipher.multiplexers[id].isEnding { return }
        cipher.multiplexers[id].isEnding = true
        cipher.multiplexers[id].session.goAway()
        cipher.multiplexers.noteOutput(id)
    }

    /// Ends a session, whose streams must be gone, and counts what its peer did wrong.
    mutating func endSession(_ id: SlotID) {
        if let flood = cipher.multiplexers[id].session.flood {
            count(flood)
        } else if cipher.multiplexers[id].session.hasBrokenProtocol {
            shard.add(.http2ProtocolErrors, 1)
        }
        cipher.multiplexers.destroy(id, &buffers)
    }

    private mutating func count(_ flood: Flood) {
        let counter: Counter =
            switch flood {
            case .reset: .http2FloodResets
            case .continuation: .http2FloodContinuations
            case .settings: .http2FloodSettings
            case .ping: .http2FloodPings
            case .priority: .http2FloodPriorities
            case .emptyData: .http2FloodEmptyData
            case .lateData: .http2FloodLateData
            case .windowUpdate: .http2FloodWindowUpdates
            case .unknownFrame: .http2FloodUnknownFrames
            case .outboundQueue: .http2FloodOutboundQueue
            case .library: .http2FloodLibrary
            }
        shard.add(counter, 1)
    }

    // MARK: - Dead peers

    /// What to do with a connection whose timer fired while streams are open.
    enum PingVerdict {
        case wait(UInt32)
        case dead
    }

    /// Asks a peer that has been silent for long whether it is there (as TCP keepalive, but end to end).
    mutating func probe(_ id: SlotID) -> PingVerdict {
        let silent = now &- cipher.multiplexers[id].session.lastReceived
        let patience = UInt64(pingAfterMilliseconds)
        if silent < patience { return .wait(UInt32(patience - silent)) }
        if cipher.multiplexers[id].awaitsPing { return .dead }
        cipher.multiplexers[id].awaitsPing = true
        cipher.multiplexers[id].session.ping(now: now)
        cipher.multiplexers.noteOutput(id)
        return .wait(
            UInt32(
                timeouts.tcpKeepAliveIntervalSeconds * timeouts.tcpKeepAliveProbes) * 1000)
    }

    /// When a peer with open streams is next to be looked after; nil while its answer to a PING is waited for.
    func untilProbe(_ id: SlotID) -> UInt32? {
        if cipher.multiplexers[id].awaitsPing { return nil }
        let silent = now &- cipher.multiplexers[id].session.lastReceived
        let patience = UInt64(pingAfterMilliseconds)
        return silent < patience ? UInt32(patience - silent) : 1
    }

    /// How long a peer with open streams may be silent before it is asked.
    var pingAfterMilliseconds: UInt32 { UInt32(timeouts.tcpKeepAliveIdleSeconds) * 1000 }
}
