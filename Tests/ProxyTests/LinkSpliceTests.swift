// What is missing here ends the test.
// swift-format-ignore-file: NeverForceUnwrap, NeverUseForceTry

import BasicContainers
import Kernel
import Testing

@testable import Proxy

/// Bytes go from link to link by a pipe: whole, in order, no further than they may, and what is stuck stays in its place.
@Suite struct LinkSpliceTests {
    @Test func `no byte beyond the limit leaves the source`() throws {
        var stage = try SpliceStage()
        stage.say(Array("contentGET /".utf8))
        check(stage.spliceUntilMoved(atMost: 7) == 7)
        check(stage.hear(7) == Array("content".utf8))
        check(stage.from.isReadable)
        var rest = Buffer(capacity: 100)
        check(stage.from.read(into: &rest, &stage.cipher, &stage.pool) == .bytes)
        check(rest.count == 5)
    }

    @Test func `a source without bytes is dry, one that has ended has ended`() throws {
        var stage = try SpliceStage()
        stage.from.isReadable = true
        check(stage.splice().stop == .dry && !stage.from.isReadable)
        stage.far.shutdownWrite()
        while true {
            let stop = stage.splice().stop
            if stop == .dry { continue }
            check(stop == .ended)
            break
        }
        check(stage.pool.pipes.bytesInUse == 0)
    }

    @Test func `without a pipe nothing is taken`() throws {
        var stage = try SpliceStage(pipesMax: 0)
        stage.say([1, 2, 3])
        check(stage.splice().stop == .noPipe)
    }

    @Test func `a target that takes no more is congested until all has gone, in order`() throws {
        var stage = try SpliceStage()
        var (said, moved) = stage.fill()
        check(stage.to.isCongested && stage.to.pipe != .max && stage.pool.pipes.bytesInUse > 0)
        // Sent meanwhile: behind what is in the pipe, never before it.
        let last = [UInt8](repeating: 0xFF, count: 10)
        check(stage.to.send(last.span, &stage.cipher, &stage.pool) == .taken)
        check(stage.to.pipe == .max && stage.pool.pipes.bytesInUse == 0)
        moved += last.count
        said = Array(said.prefix(moved - last.count)) + last
        var got: [UInt8] = []
        while got.count < moved {
            got += stage.hearSome()
            check(stage.to.flush(&stage.pool) == .taken)
        }
        check(got == said && !stage.to.isCongested)
    }

    @Test func `what is in a pipe goes on when the target takes more`() throws {
        var stage = try SpliceStage()
        let (said, moved) = stage.fill()
        var got: [UInt8] = []
        while got.count < moved {
            got += stage.hearSome()
            check(stage.to.flush(&stage.pool) == .taken)
        }
        check(got == Array(said.prefix(moved)))
        check(!stage.to.isCongested && stage.to.pipe == .max)
        check(stage.pool.pipes.count == 1 && stage.pool.pipes.bytesInUse == 0)
    }

    @Test func `a pipe whose bytes are given up is not used again`() throws {
        var stage = try SpliceStage()
        _ = stage.fill()
        stage.to.discardOutput(&stage.pool)
        check(!stage.to.isCongested && stage.to.pipe == .max)
        check(stage.pool.pipes.count == 0 && stage.pool.pipes.bytesInUse == 0)
    }

    @Test func `a target that is gone breaks the move`() throws {
        var stage = try SpliceStage()
        stage.dropTarget()
        var stop = Link.SpliceStop.moved
        for _ in 0..<1000 where stop != .targetBroke {
            stage.say([1, 2, 3])
            stage.from.isReadable = true
            stop = stage.splice().stop
        }
        check(stop == .targetBroke && stage.pool.pipes.bytesInUse == 0)
    }

    @Test func `little is a trickle, nothing and much are none`() {
        check(!Relay.isTrickle(0) && Relay.isTrickle(1) && Relay.isTrickle(16 * 1024 - 1))
        check(!Relay.isTrickle(16 * 1024))
    }
}

/// Expects it to hold; for what the macro cannot take apart because it cannot be copied.
private func check(_ holds: Bool, location: SourceLocation = #_sourceLocation) {
    #expect(holds, sourceLocation: location)
}

/// A source and a target with their far ends.
private struct SpliceStage: ~Copyable {
    var far: Socket
    var sink: Socket
    var from: Link
    var to: Link
    var cipher = CipherBuffers()
    var pool: BufferPool

    init(pipesMax: Int = 2) throws {
        pool = BufferPool(budget: nil, pipesMax: pipesMax)
        var first = try Ends()
        var second = try Ends()
        far = first.far.take()!
        from = Link(first.near.take()!)
        sink = second.far.take()!
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

    func say(_ bytes: [UInt8]) { _ = far.write(bytes.span) }

    mutating func splice(atMost limit: Int = 1 << 18) -> (count: Int, stop: Link.SpliceStop) {
        Link.splice(from: &from, to: &to, atMost: limit, &pool)
    }

    /// Bytes over loopback are there at once, or nearly.
    mutating func spliceUntilMoved(atMost limit: Int) -> Int {
        while true {
            from.isReadable = true
            let (count, stop) = splice(atMost: limit)
            if stop == .moved { return count }
        }
    }

    /// Says and moves until the target takes no more; all that was said, and how much of it was moved.
    mutating func fill() -> (said: [UInt8], moved: Int) {
        var said: [UInt8] = []
        var moved = 0
        while !to.isCongested {
            var block: [UInt8] = []
            for at in 0..<65536 { block.append(UInt8(truncatingIfNeeded: (said.count + at) % 251)) }
            if case .bytes(let count) = far.write(block.span) { said += block.prefix(count) }
            from.isReadable = true
            moved += splice().count
        }
        return (said, moved)
    }

    /// Closes the far end of the target.
    mutating func dropTarget() {
        var gone = Socket(adopting: try! Descriptor.duplicate(of: 2).release())
        swap(&gone, &sink)
        gone.resetOnClose()
    }

    func hearSome() -> [UInt8] {
        var bytes = RigidArray<UInt8>(capacity: 1 << 16)
        guard case .bytes = sink.read(into: &bytes) else { return [] }
        var copy: [UInt8] = []
        for at in 0..<bytes.count { copy.append(bytes[at]) }
        return copy
    }

    func hear(_ count: Int) -> [UInt8] {
        var got: [UInt8] = []
        while got.count < count { got += hearSome() }
        return got
    }
}
