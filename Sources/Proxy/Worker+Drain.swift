import Kernel
import Runtime
import Telemetry

/// Ending: readiness is the control plane's; here accepting stops, idle connections go, running ones finish.
extension Worker {
    /// How often a draining worker looks whether it is done.
    private static var drainStepMilliseconds: UInt64 { 50 }

    mutating func beginDrain(delay: UInt64, timeout: UInt64) {
        if drainEnds != 0 { return }
        drainStopsAccepting = now + delay
        drainEnds = now + delay + timeout
        drainStep()
    }

    /// Stops accepting when the delay is over, ends when nothing runs or the time is up.
    mutating func drainStep() {
        guard drainEnds != 0 else { return }
        if !isDraining, now >= drainStopsAccepting { stopAccepting() }
        let isDone = downstreams.count == 0 && sessions.count == 0
        if isDraining, isDone || now >= drainEnds {
            isStopped = true
            return
        }
        timers.schedule(
            Token(kind: TokenKind.drain, slot: 0, generation: 1),
            at: now + Self.drainStepMilliseconds)
    }

    private mutating func stopAccepting() {
        isDraining = true
        for index in 0..<listeners.count where listeners[index].portID != .max {
            unlisten(port: listeners[index].portID)
        }
        drainSessions()
        for slot in 0..<downstreams.highWater where downstreams.isOccupied(slot) {
            let id = downstreams.id(of: slot)
            if downstreams[id].phase == .reading, downstreams[id].headTried == 0 {
                end(downstream: id, .linger)
            } else if downstreams[id].phase == .hello || downstreams[id].phase == .introduction {
                close(downstream: id)
            } else if downstreams[id].phase == .multiplexing {
                shutDown(downstream: id)
            }
        }
    }

    /// Cuts what still runs when the thread ends.
    mutating func closeEverything() {
        endSessions()
        for slot in 0..<downstreams.highWater where downstreams.isOccupied(slot) {
            cutExchange(of: downstreams.id(of: slot))
        }
        for slot in 0..<downstreams.highWater where downstreams.isOccupied(slot) {
            close(downstream: downstreams.id(of: slot))
        }
        cutAllMirrors()
    }

    private mutating func cutExchange(of id: SlotID) {
        let exchange = downstreams[id].exchange
        guard exchange != .none, exchanges.contains(exchange) else { return }
        shard.add(.drainCuts, 1)
        if exchanges[exchange].isTunnel {
            endTunnel(exchange, .drained)
            return
        }
        observe(exchange, .drained)
        let upstream = exchanges[exchange].upstream
        if upstream != .none, upstreams.contains(upstream) { letGo(upstream) }
        stopWaiting(exchange)
        remove(exchange)
        downstreams[id].exchange = .none
        if downstreams[id].link.stream != nil {
            endStream(id, .cut)
        } else {
            downstreams[id].link.socket.resetOnClose()
        }
    }
}
