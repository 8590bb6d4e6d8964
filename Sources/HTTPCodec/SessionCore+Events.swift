import Kernel

extension SessionCore {
    /// The next thing to be told, the connection's first.
    mutating func nextEvent() -> HTTP2Event? {
        if !news.isDisjoint(with: [.goAway, .capacity]) { return nextOfConnection() }
        guard let slot = streams.firstReady() else { return nil }
        let told = streams[slot].news
        let kind: HTTP2Event.Kind
        if told.contains(.reset) {
            // A stream that was opened and cut before anybody heard of it still has to be told of,
            // since its slot is taken until it is closed.
            if told.contains(.opened) {
                streams[slot].news.remove(.opened)
                return event(slot, .opened)
            }
            streams[slot].news = []
            kind = .reset(
                code: streams[slot].resetCode,
                refused: streams[slot].flags.contains(.isRefused))
        } else if told.contains(.opened) {
            streams[slot].news.remove(.opened)
            kind = .opened
        } else if told.contains(.readable) {
            streams[slot].news.remove(.readable)
            kind = .readable
        } else {
            streams[slot].news.remove(.writable)
            kind = .writable
        }
        return event(slot, kind)
    }

    private func event(_ slot: Int, _ kind: HTTP2Event.Kind) -> HTTP2Event {
        HTTP2Event(kind: kind, stream: streams.id(slot), tag: streams[slot].tag)
    }

    private mutating func nextOfConnection() -> HTTP2Event {
        let kind: HTTP2Event.Kind
        if news.contains(.goAway) {
            news.remove(.goAway)
            kind = .goAway
        } else {
            news.remove(.capacity)
            kind = .capacity
        }
        return HTTP2Event(kind: kind, stream: .none, tag: 0)
    }

    /// The connection is no more.
    mutating func connectionEnded(_ pool: inout BufferPool) {
        block.end(&pool)
        for slot in 0..<streams.slots.count where !streams[slot].flags.contains(.isFree) {
            let flags = streams[slot].flags
            if flags.contains(.isLeft) {
                streams[slot].giveBack(&pool)
                streams.remove(slot)
                continue
            }
            streams.markClosed(slot)
            if flags.contains(.inputEnded) && (role == .client || flags.contains(.endSent)) {
                streams[slot].giveOutputBack(&pool)
                continue
            }
            // What was never framed was never seen; and a server that has not said its preface, which comes
            // first of all (RFC 9113 §3.4), did not begin to serve the connection.
            if role == .client && (streams[slot].number == 0 || !hasPeerSettings) {
                streams[slot].flags.insert(.isRefused)
            }
            cut(slot, HTTP2Code.cancel, &pool)
        }
    }

    /// Gives every buffer back; the session is of no use afterwards.
    mutating func release(_ pool: inout BufferPool) {
        block.end(&pool)
        shelf.clear(&pool)
        for slot in 0..<streams.slots.count { streams[slot].giveBack(&pool) }
    }
}
