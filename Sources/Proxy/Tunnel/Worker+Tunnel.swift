import HTTP
import Kernel
import Runtime
import Telemetry

/// Both directions of a tunnel, from its first byte to its end.
///
/// A tunnel is a phase of an exchange, after a 101 or from the first byte on (`Exchange.isStream`): endpoints, attempts,
/// queues, limits and drain are those of any exchange.
extension Worker {
    /// Both connections carry bytes as they come from here on, those first that were held.
    mutating func beginTunnel(_ id: SlotID) {
        let downstream = exchanges[id].downstream
        let upstream = exchanges[id].upstream
        release(generation: exchanges[id].beginTunnel())
        if exchanges[id].isRetry {
            // It may last for days and is no attempt any more.
            exchanges[id].isRetry = false
            retriesRunning -= 1
        }
        // Only the log's strings are needed still.
        if options.log == nil { buffers.reclaim(&exchanges[id].buffer) }
        shard.add(.tunnels)
        activeTunnels += 1
        shard.set(.activeTunnels, UInt64(activeTunnels))
        downstreams[downstream].phase = .tunnel
        upstreams[upstream].phase = .tunnel
        setDeadline(upstream: upstream, in: 0)
        setDeadline(downstream: downstream, in: exchanges[id].times.tunnelIdle)
        var held = Buffer()
        swap(&held, &downstreams[downstream].input)
        giveHeld(id, &held, from: .client)
        swap(&held, &upstreams[upstream].input)
        giveHeld(id, &held, from: .backend)
        enqueue(downstream: downstream)
        enqueue(upstream: upstream)
    }

    /// Sends what was held until there was a tunnel, and gives its memory back.
    private mutating func giveHeld(_ id: SlotID, _ held: inout Buffer, from side: Side) {
        if held.isEmpty {
            buffers.reclaim(&held)
            return
        }
        count(id, held.count, from: side)
        let result =
            side == .client
            ? upstreams[exchanges[id].upstream].link.send(held.span, &cipher, &buffers)
            : downstreams[exchanges[id].downstream].link.send(held.span, &cipher, &buffers)
        buffers.reclaim(&held)
        if result == .failed { tunnelBroke(id, side.other) }
    }

    /// Moves what a side has said until one of both has to wait.
    mutating func pumpTunnel(_ id: SlotID, from side: Side, _ input: inout Buffer) {
        // A stream's client may speak before there is a backend: it waits in the socket.
        guard exchanges[id].phase == .tunnel else {
            if side == .client, wasReset(id, .client) { cutTunnel(id, by: .client) }
            return
        }
        if exchanges[id].tunnel.broken == side.other { return }
        if exchanges[id].tunnel[from: side] != .open {
            if wasReset(id, side) { cutTunnel(id, by: side) }
            return
        }
        let moved = move(id, from: side, &input)
        if moved.count > 0 {
            count(id, moved.count, from: side)
            setDeadline(
                downstream: exchanges[id].downstream, in: exchanges[id].times.tunnelIdle)
        }
        switch moved.stop {
        case .turn: enqueue(side, of: id)
        case .waits:
            if exchanges[id].tunnel.broken == side, !isCongested(id, side.other) {
                cutTunnel(id, by: side)
            }
        case .ended(let clean):
            if !clean, exchanges[id].tunnel[from: side.other] == .open {
                cutTunnel(id, by: side)
            } else {
                exchanges[id].tunnel[from: side] = .ended
                passEnd(id, from: side)
            }
        case .sourceBroke: cutTunnel(id, by: side)
        case .targetBroke: tunnelBroke(id, side.other)
        }
    }

    private mutating func move(
        _ id: SlotID, from side: Side, _ input: inout Buffer
    ) -> (count: Int, stop: Tunnel.Stop) {
        let downstream = exchanges[id].downstream
        let upstream = exchanges[id].upstream
        let mark: ExchangeMarks = side == .client ? .splicesRequest : .splicesAnswer
        var splices = exchanges[id].marks.contains(mark)
        let moved =
            side == .client
            ? Tunnel.move(
                from: &downstreams[downstream].link, to: &upstreams[upstream].link,
                splices: &splices, &input, &cipher, &buffers)
            : Tunnel.move(
                from: &upstreams[upstream].link, to: &downstreams[downstream].link,
                splices: &splices, &input, &cipher, &buffers)
        exchanges[id].marks.set(mark, splices)
        tendBuffers()
        return moved
    }

    /// Counts bytes that a side has said.
    private mutating func count(_ id: SlotID, _ bytes: Int, from side: Side) {
        let bytes = UInt64(truncatingIfNeeded: bytes)
        if side == .client {
            exchanges[id].receivedBytes &+= bytes
        } else {
            exchanges[id].sentToClient &+= bytes
        }
    }

    /// A side has sent what was stuck: the other goes on, or its end is told.
    mutating func tunnelFlushed(_ id: SlotID, to side: Side, _ input: inout Buffer) {
        guard exchanges[id].phase == .tunnel else { return }
        setDeadline(downstream: exchanges[id].downstream, in: exchanges[id].times.tunnelIdle)
        if exchanges[id].tunnel[from: side.other] == .open {
            pumpTunnel(id, from: side.other, &input)
        } else {
            passEnd(id, from: side.other)
        }
    }

    // MARK: - Ends

    /// Tells the other side that a side has ended; the second time the tunnel is done.
    private mutating func passEnd(_ id: SlotID, from side: Side) {
        if exchanges[id].tunnel.broken == side {
            cutTunnel(id, by: side)
            return
        }
        let way = exchanges[id].tunnel[from: side]
        exchanges[id].tunnel[from: side] =
            side == .client
            ? Tunnel.tell(&upstreams[exchanges[id].upstream].link, way, &cipher, &buffers)
            : Tunnel.tell(&downstreams[exchanges[id].downstream].link, way, &cipher, &buffers)
        if exchanges[id].tunnel.isDone { endTunnel(id, .done) }
    }

    /// A side takes no more bytes: what it said last is passed on, then both are cut.
    mutating func tunnelBroke(_ id: SlotID, _ side: Side) {
        exchanges[id].tunnel.broken = side
        if exchanges[id].tunnel[from: side] != .open {
            cutTunnel(id, by: side)
            return
        }
        if side == .client {
            let downstream = exchanges[id].downstream
            downstreams[downstream].link.discardOutput(&buffers)
            downstreams[downstream].link.isReadable = true
        } else {
            let upstream = exchanges[id].upstream
            upstreams[upstream].link.discardOutput(&buffers)
            upstreams[upstream].link.isReadable = true
        }
        enqueue(side, of: id)
    }

    /// A side has reset its connection, or ended it without saying so in TLS: so does the other.
    private mutating func cutTunnel(_ id: SlotID, by side: Side) {
        endTunnel(id, side == .client ? .clientCancel : .upstreamReset)
    }

    /// Neither side has said anything for too long; a stream that still waits for a backend has waited too long.
    mutating func tunnelTimedOut(_ id: SlotID) { endTunnel(id, .idleTimeout) }

    /// Ends a tunnel, or a stream that did not become one; all but `.done` resets both connections.
    mutating func endTunnel(_ id: SlotID, _ ended: Ended, _ reason: StaticString = "") {
        let downstream = exchanges[id].downstream
        forget(tunnel: id, ended, reason)
        downstreams[downstream].exchange = .none
        if ended != .done { downstreams[downstream].link.discardOutput(&buffers) }
        end(downstream: downstream, ended == .done ? .plain : .reset)
    }

    /// Tells of a tunnel, or of a stream that did not become one, and frees all of it but the client's connection.
    mutating func forget(tunnel id: SlotID, _ ended: Ended, _ reason: StaticString = "") {
        if exchanges[id].phase == .tunnel {
            activeTunnels -= 1
            shard.set(.activeTunnels, UInt64(activeTunnels))
            if ended != .done { shard.add(.tunnelCuts) }
        } else if ended == .rejected {
            shard.add(.streamRejections)
        }
        observe(tunnel: id, ended, reason)
        let upstream = exchanges[id].upstream
        if upstream != .none {
            if ended != .done {
                upstreams[upstream].link.socket.resetOnClose()
            } else if let stream = upstreams[upstream].link.stream {
                // What it was given last is still to be sent.
                cipher.multiplexers.close(stream, .finished, &buffers)
            }
            letGo(upstream)
        }
        stopWaiting(id)
        remove(id)
    }

    // MARK: - Sides

    private func isCongested(_ id: SlotID, _ side: Side) -> Bool {
        side == .client
            ? downstreams[exchanges[id].downstream].link.isCongested
            : upstreams[exchanges[id].upstream].link.isCongested
    }

    /// Whether news of a side that has ended say that it takes no more bytes either.
    private func wasReset(_ id: SlotID, _ side: Side) -> Bool {
        side == .client
            ? downstreams[exchanges[id].downstream].link.wasReset
            : upstreams[exchanges[id].upstream].link.wasReset
    }

    private mutating func enqueue(_ side: Side, of id: SlotID) {
        if side == .client {
            enqueue(downstream: exchanges[id].downstream)
        } else {
            enqueue(upstream: exchanges[id].upstream)
        }
    }
}
