// What is missing here ends the test.
// swift-format-ignore-file: NeverForceUnwrap, NeverUseForceTry

import BasicContainers
import Kernel
import Testing

@testable import Proxy

/// Bytes of a tunnel move until there is a reason to stop, and its directions end one by one.
@Suite struct TunnelTests {
    @Test func `a tunnel is done when both targets were told`() {
        var tunnel = Tunnel()
        #expect(tunnel[from: .client] == .open && tunnel[from: .backend] == .open)
        tunnel[from: .client] = .shut
        #expect(!tunnel.isDone)
        tunnel[from: .backend] = .told
        #expect(!tunnel.isDone)
        tunnel[from: .backend] = .shut
        #expect(tunnel.isDone)
        #expect(Side.client.other == .backend && Side.backend.other == .client)
    }

    @Test func `bytes go on, and an end after them`() throws {
        var stage = try Stage()
        stage.say("hello")
        #expect(stage.move() == "5 waits")
        #expect(stage.heard() == "hello")
        stage.say(" and bye")
        stage.source.shutdownWrite()
        stage.from.peerEnded = true
        #expect(stage.move() == "8 ended")
        #expect(stage.heard() == " and bye")
        #expect(stage.tell(.ended) == .shut)
        #expect(stage.heard() == "end")
    }

    @Test func `a reset of the source is no end`() throws {
        var stage = try Stage()
        stage.source.resetOnClose()
        stage.dropSource()
        #expect(stage.move() == "0 sourceBroke")
    }

    @Test
    func
        `a target that takes nothing stops the reading, and is not told of an end before it took all`()
        throws
    {
        var stage = try Stage()
        let block = [UInt8](repeating: 0x61, count: 64 * 1024)
        var moved = 0
        while !stage.to.isCongested {
            _ = stage.source.write(block.span)
            stage.from.isReadable = true
            moved += stage.moveOnce().count
            try #require(moved < 64 << 20)
        }
        _ = stage.source.write(block.span)
        stage.from.isReadable = true
        #expect(stage.moveOnce().count == 0)
        #expect(stage.tell(.ended) == .ended)
        var got = 0
        while got < moved {
            got += stage.drain()
            _ = stage.to.flush(&stage.pool)
        }
        #expect(got == moved && stage.tell(.ended) == .shut)
    }

    @Test func `others have their turn after a share`() throws {
        var stage = try Stage()
        let block = [UInt8](repeating: 0x61, count: 64 * 1024)
        var stops: [String] = []
        // A thread that writes would be a race; the buffers of loopback hold more than a share.
        for _ in 0..<64 { _ = stage.source.write(block.span) }
        for _ in 0..<64 where stops.last != "turn" {
            stage.from.isReadable = true
            stops.append("\(stage.moveOnce().stop)")
            _ = stage.drain()
            _ = stage.to.flush(&stage.pool)
        }
        #expect(stops.contains("turn"))
    }
}

/// A source's connection and a target's, both with their far ends.
private struct Stage: ~Copyable {
    var source: Socket
    let target: Socket
    var from: Link
    var to: Link
    var input = Buffer(capacity: Scratch.plaintextBytes)
    var cipher = CipherBuffers()
    var pool = BufferPool(budget: nil, pipesMax: 4)
    var splices = false

    init() throws {
        var first = try Ends()
        var second = try Ends()
        source = first.far.take()!
        from = Link(first.near.take()!)
        target = second.far.take()!
        to = Link(second.near.take()!)
    }

    private struct Ends: ~Copyable {
        var near: Socket?
        var far: Socket?

        init() throws {
            let listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: false)
            far = try Socket.connecting(to: listener.localAddress)
            while near == nil {
                if case .accepted(let fd, _) = listener.accept() { near = Socket(adopting: fd) }
            }
        }
    }

    func say(_ text: String) { _ = source.write(text.utf8Span.span) }

    /// Closes the far end of the source.
    mutating func dropSource() {
        var gone = Socket(adopting: try! Descriptor.duplicate(of: 2).release())
        swap(&gone, &source)
    }

    /// Moves until something is moved or it has ended: bytes over loopback are there at once, or nearly.
    mutating func move() -> String {
        while true {
            from.isReadable = true
            let (count, stop) = moveOnce()
            if count == 0, case .waits = stop { continue }
            if case .ended = stop { return "\(count) ended" }
            return "\(count) \(stop)"
        }
    }

    mutating func moveOnce() -> (count: Int, stop: Tunnel.Stop) {
        Tunnel.move(from: &from, to: &to, splices: &splices, &input, &cipher, &pool)
    }

    mutating func tell(_ way: Tunnel.Way) -> Tunnel.Way {
        Tunnel.tell(&to, way, &cipher, &pool)
    }

    /// What has come out at the far end.
    func heard() -> String {
        var bytes = RigidArray<UInt8>(capacity: 1024)
        while true {
            switch target.read(into: &bytes) {
            case .bytes:
                var text: [UInt8] = []
                for at in 0..<bytes.count { text.append(bytes[at]) }
                return String(decoding: text, as: UTF8.self)
            case .wouldBlock: continue
            case .end: return "end"
            case .failed: return "failed"
            }
        }
    }

    /// Reads all that has come out at the far end.
    func drain() -> Int {
        var count = 0
        while true {
            var bytes = RigidArray<UInt8>(capacity: 1 << 16)
            guard case .bytes(let more) = target.read(into: &bytes) else { return count }
            count += more
        }
    }
}
