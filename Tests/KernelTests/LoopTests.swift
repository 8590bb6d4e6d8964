// The loop reports what happened to which token, each change once when edge-triggered.
import Glibc
import Kernel
import Testing

struct LoopTests {
    private let token = Token(kind: 7, slot: 0xFFFF_FFFE, generation: 0xFF_FFFF)

    @Test func `an event carries the whole token`() throws {
        var loop = try Loop()
        let connection = try Connection.open()
        try loop.register(connection.client.raw, token, edgeTriggered: true)
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(loop.event(0).token == token)
        #expect(loop.event(0).readiness == [.writable])
    }

    @Test func `data and the peer's end are one event, and no second comes`() throws {
        var loop = try Loop()
        let connection = try Connection.open()
        #expect(connection.client.write([1, 2].span) == .bytes(2))
        connection.client.shutdownWrite()
        waitUntil(connection.server.raw, [.readable, .peerClosed])
        try loop.register(connection.server.raw, token, edgeTriggered: true)
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(loop.event(0).readiness == [.readable, .writable, .peerClosed])
        check(!loop.event(0).readiness.isDisjoint(with: .anyEnd))
        #expect(read(1, from: connection.server) == [1])
        #expect(loop.wait(timeoutMilliseconds: 0) == 0)
    }

    @Test func `edge-triggered reports a change once, level-triggered as long as it lasts`() throws
    {
        var edge = try Loop()
        var level = try Loop()
        let connection = try Connection.open()
        try edge.register(connection.server.raw, token, edgeTriggered: true)
        try level.register(connection.server.raw, token, edgeTriggered: false)
        #expect(edge.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(level.wait(timeoutMilliseconds: 0) == 0)
        #expect(connection.client.write([1].span) == .bytes(1))
        #expect(edge.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(edge.event(0).readiness == [.readable, .writable])
        #expect(edge.wait(timeoutMilliseconds: 0) == 0)
        #expect(level.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(level.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(level.event(0).readiness == [.readable])
    }

    @Test func `what a level-triggered descriptor is watched for can change`() throws {
        var loop = try Loop()
        let connection = try Connection.open()
        let raw = connection.client.raw
        try loop.register(raw, token, edgeTriggered: false, writable: true)
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        #expect(loop.event(0).readiness == [.writable])
        try loop.update(raw, token, readable: true, writable: false)
        #expect(loop.wait(timeoutMilliseconds: 0) == 0)
    }

    @Test func `a reset is reported as hang-up and error`() throws {
        var loop = try Loop()
        var connection = try Connection.open()
        try loop.register(connection.client.raw, token, edgeTriggered: true)
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        try connection.resetServer()
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        check(loop.event(0).readiness.isSuperset(of: [.hangUp, .error, .peerClosed]))
    }

    @Test func `a removed descriptor is silent and can come back`() throws {
        var loop = try Loop()
        let connection = try Connection.open()
        try loop.register(connection.client.raw, token, edgeTriggered: true)
        loop.remove(connection.client.raw)
        loop.remove(connection.client.raw)
        #expect(loop.wait(timeoutMilliseconds: 0) == 0)
        try loop.register(connection.client.raw, token, edgeTriggered: true)
        #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
        let raw = connection.client.raw
        #expect(throws: SystemError("epoll_ctl", EEXIST)) {
            try loop.register(raw, self.token, edgeTriggered: true)
        }
    }

    @Test func `a batch has at most the capacity and the rest comes next`() throws {
        var loop = try Loop(capacity: 2)
        let first = try Connection.open()
        let second = try Connection.open()
        var seen: Set<UInt32> = []
        for (slot, raw) in [first.client.raw, first.server.raw, second.client.raw].enumerated() {
            try loop.register(
                raw, Token(kind: 1, slot: UInt32(slot), generation: 1), edgeTriggered: true)
        }
        for expected in [2, 1] {
            #expect(loop.wait(timeoutMilliseconds: 10_000) == expected)
            for index in 0..<expected { seen.insert(loop.event(index).token.slot) }
        }
        #expect(seen == [0, 1, 2])
        _ = consume first
        _ = consume second
    }

    @Test func `waiting ends when the time is over`() throws {
        var loop = try Loop()
        let before = Clock.monotonicMilliseconds()
        #expect(loop.wait(timeoutMilliseconds: 20) == 0)
        #expect(Clock.monotonicMilliseconds() - before >= 19)
    }
}
