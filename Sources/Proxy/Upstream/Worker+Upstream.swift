import BasicContainers
import HTTP
import Kernel
import Runtime
import Telemetry

/// A backend connection's events.
extension Worker {
    @inline(always)
    mutating func upstreamEvent(
        _ id: SlotID, _ readiness: Readiness, _ input: inout Buffer
    ) {
        let phase = upstreams[id].phase
        let state = upstreams[id].link.note(readiness)
        if phase == .active, state == .readable {
            pumpAnswer(id, &input)
        } else {
            unusualUpstreamEvent(id, readiness, &input)
        }
    }

    @inline(never)
    private mutating func unusualUpstreamEvent(
        _ id: SlotID, _ readiness: Readiness, _ input: inout Buffer
    ) {
        if upstreams[id].phase == .connecting {
            if readiness.contains(.writable) || !readiness.isDisjoint(with: .anyEnd) {
                finishConnecting(id)
            }
            return
        }
        if readiness.contains(.writable), upstreams[id].link.isCongested {
            flush(upstream: id, &input)
            guard upstreams.contains(id) else { return }
        }
        if upstreams[id].link.isReadable { upstreamReady(id, &input) }
    }

    /// Input may be there, or what stopped its reading is over.
    mutating func upstreamReady(_ id: SlotID, _ input: inout Buffer) {
        switch upstreams[id].phase {
        case .connecting: break
        case .handshaking: continueHandshake(upstream: id)
        case .active: pumpAnswer(id, &input)
        case .idle: checkIdle(id, &input)
        case .multiplexing: readFrames(upstream: id, &input)
        case .tunnel: pumpTunnel(upstreams[id].exchange, from: .backend, &input)
        }
    }

    /// Offers stuck bytes to the backend again, then lets the client's content follow.
    private mutating func flush(upstream id: SlotID, _ input: inout Buffer) {
        let exchange = upstreams[id].exchange
        if upstreams[id].link.flush(&buffers) == .failed {
            if upstreams[id].phase == .multiplexing {
                upstreams[id].link.peerEnded = true
                upstreams[id].link.isReadable = true
            } else if upstreams[id].phase == .tunnel {
                tunnelBroke(exchange, .backend)
            } else if exchange != .none {
                requestWriteFailed(exchange)
            } else {
                close(upstream: id)
            }
            return
        }
        if upstreams[id].phase == .multiplexing {
            cipher.multiplexers.noteOutput(upstreams[id].multiplexer)
        }
        if upstreams[id].link.isCongested || exchange == .none { return }
        if upstreams[id].phase == .tunnel {
            tunnelFlushed(exchange, to: .backend, &input)
        } else if exchanges[exchange].isReplaying {
            continueReplay(exchange)
        } else if exchanges[exchange].call != .none {
            goOnPicked(exchange)
        } else if !exchanges[exchange].requestDone {
            pumpRequest(exchange, &input)
        }
    }

    /// A pooled connection spoke or ended: only TLS may say something that is not content.
    private mutating func checkIdle(_ id: SlotID, _ input: inout Buffer) {
        input.removeAll()
        let result = upstreams[id].link.read(into: &input, &cipher, &buffers)
        if result != .wouldBlock { close(upstream: id) }
    }

    /// A connection leaves its exchange and is closed; the exchange decides what follows.
    @inline(never)
    mutating func letGo(_ id: SlotID) {
        let exchange = upstreams[id].exchange
        if exchange != .none, exchanges.contains(exchange) {
            exchanges[exchange].upstream = .none
        }
        upstreams[id].exchange = .none
        endpoints[Int(upstreams[id].endpointID)].active -= 1
        close(upstream: id)
    }

    mutating func upstreamTimedOut(_ id: SlotID) {
        let exchange = upstreams[id].exchange
        switch upstreams[id].phase {
        case .connecting:
            connectFailed(id, .connectTimeout)
        case .handshaking:
            connectFailed(id, .tls)
        case .active:
            if exchanges[exchange].isCarrier {
                carrierEnded(exchange)
            } else if exchanges[exchange].isAsking {
                askingFailed(exchange, .timeout)
            } else if exchanges[exchange].phase == .awaitingHead {
                letGo(id)
                attemptFailed(exchange, .firstByteTimeout)
            } else if exchanges[exchange].isMirror {
                letGo(id)
                fail(exchange, .idleTimeout)
            } else if downstreams.contains(exchanges[exchange].downstream),
                downstreams[exchanges[exchange].downstream].link.isCongested
            {
                // The client is slow, not the backend: the client's own stall timer judges.
                setDeadline(upstream: id, in: exchanges[exchange].times.streamIdle)
            } else {
                letGo(id)
                cut(exchange, .idleTimeout)
            }
        case .idle: close(upstream: id)
        case .multiplexing: multiplexingTimedOut(upstream: id)
        // The client's connection has the deadline of both.
        case .tunnel: break
        }
    }
}
