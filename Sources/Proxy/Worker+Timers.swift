import Kernel

/// Deadlines: each slot keeps its own, the wheel only says when to look.
extension Worker {
    /// Moves a client connection's deadline; 0 takes it away.
    @inline(always)
    mutating func setDeadline(downstream id: SlotID, in milliseconds: UInt32) {
        let at = milliseconds == 0 ? 0 : now &+ UInt64(milliseconds)
        if downstreams[id].timer.move(to: at) {
            timers.schedule(Token(kind: TokenKind.downstream, id), at: at)
        }
    }

    /// Moves a backend connection's deadline; 0 takes it away.
    @inline(always)
    mutating func setDeadline(upstream id: SlotID, in milliseconds: UInt32) {
        let at = milliseconds == 0 ? 0 : now &+ UInt64(milliseconds)
        if upstreams[id].timer.move(to: at) {
            timers.schedule(Token(kind: TokenKind.upstream, id), at: at)
        }
    }

    /// Moves the end of a session of datagrams.
    mutating func setDeadline(session id: SlotID, in milliseconds: UInt32) {
        let at = now &+ UInt64(milliseconds)
        if sessions.slots[id].timer.move(to: at) {
            timers.schedule(Token(kind: TokenKind.session, id), at: at)
        }
    }

    /// Sets an exchange's deadline to the nearer of its own and its attempt's.
    mutating func updateDeadline(exchange id: SlotID) {
        let at = exchanges[id].nearestDeadline
        if exchanges[id].timer.move(to: at) {
            timers.schedule(Token(kind: TokenKind.exchange, id), at: at)
        }
    }

    /// Looks at every slot whose entry has come up.
    @inline(never)
    mutating func expire() {
        while let token = timers.popExpired(now: now) {
            let id = token.id
            switch token.kind {
            case TokenKind.downstream:
                guard downstreams.contains(id) else { continue }
                switch downstreams[id].timer.fired(now: now) {
                case .ignore: continue
                case .again(let at): timers.schedule(token, at: at)
                case .due: downstreamTimedOut(id)
                }
            case TokenKind.upstream:
                guard upstreams.contains(id) else { continue }
                switch upstreams[id].timer.fired(now: now) {
                case .ignore: continue
                case .again(let at): timers.schedule(token, at: at)
                case .due: upstreamTimedOut(id)
                }
            case TokenKind.exchange:
                guard exchanges.contains(id) else { continue }
                switch exchanges[id].timer.fired(now: now) {
                case .ignore: continue
                case .again(let at): timers.schedule(token, at: at)
                case .due: exchangeTimedOut(id)
                }
            case TokenKind.session:
                guard sessions.slots.contains(id) else { continue }
                switch sessions.slots[id].timer.fired(now: now) {
                case .ignore: continue
                case .again(let at): timers.schedule(token, at: at)
                case .due: end(session: id, .done, "idle")
                }
            case TokenKind.acceptPause: resumeAccepting()
            case TokenKind.drain: drainStep()
            case TokenKind.leases: renewLeases()
            case TokenKind.tending: releaseUnneeded()
            default: break
            }
        }
    }
}
