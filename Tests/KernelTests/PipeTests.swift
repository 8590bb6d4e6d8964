// Bytes pass through a pipe from socket to socket, whole and in order.
import Glibc
import Kernel
import Testing

struct PipeTests {
    @Test(arguments: [1, 5_000, 300_000, 2_000_000])
    func `bytes arrive whole and in order`(count: Int) throws {
        let origin = try Connection.open()
        let sink = try Connection.open()
        let bytes = pattern(count)
        let written = Lock(0)
        let writer = origin.client.raw
        let thread = try Thread.start(name: "writer") {
            let socket = Socket(adopting: writer)
            var sent = 0
            while sent < count {
                switch socket.write(bytes.span.extracting(sent...)) {
                case .bytes(let more): sent += more
                case .wouldBlock: waitUntil(writer, [.writable])
                case .end, .failed: break
                }
            }
            written.withLock { $0 = sent }
            _ = socket.release()
        }
        let reader = sink.server.raw
        let received = Lock<[UInt8]>([])
        let second = try Thread.start(name: "reader") {
            let socket = Socket(adopting: reader)
            let all = read(count, from: socket)
            received.withLock { $0 = all }
            _ = socket.release()
        }

        var pipe = try Pipe()
        var left = count
        while left > 0 || !pipe.isEmpty {
            if left > 0 {
                switch pipe.fill(from: origin.server, atMost: left) {
                case .bytes(let more): left -= more
                case .wouldBlock: if pipe.isEmpty { waitUntil(origin.server.raw, [.readable]) }
                case .end, .failed: throw Unexpected()
                }
            }
            if !pipe.isEmpty {
                switch pipe.drain(to: sink.client, moreFollows: left > 0) {
                case .bytes: break
                case .wouldBlock: waitUntil(sink.client.raw, [.writable])
                case .end, .failed: throw Unexpected()
                }
            }
        }
        thread.join()
        second.join()
        #expect(written.withLock { $0 } == count)
        #expect(received.withLock { $0 } == bytes)
    }

    @Test func `the source's end is the end, and what is inside still comes out`() throws {
        let origin = try Connection.open()
        let sink = try Connection.open()
        var pipe = try Pipe()
        #expect(pipe.fill(from: origin.server, atMost: 100) == .wouldBlock)
        #expect(origin.client.write([1, 2, 3].span) == .bytes(3))
        origin.client.shutdownWrite()
        waitUntil(origin.server.raw, [.peerClosed])
        #expect(pipe.fill(from: origin.server, atMost: 2) == .bytes(2))
        #expect(pipe.count == 2)
        #expect(pipe.fill(from: origin.server, atMost: 100) == .bytes(1))
        #expect(pipe.fill(from: origin.server, atMost: 100) == .end)
        #expect(pipe.drain(to: sink.client) == .bytes(3))
        check(pipe.isEmpty)
        #expect(read(3, from: sink.server) == [1, 2, 3])
    }

    @Test func `a full pipe would block although the source has more`() throws {
        let origin = try Connection.open()
        var pipe = try Pipe(capacity: 4096)
        #expect(pipe.capacity == 4096)
        #expect(origin.client.write(pattern(20_000).span) == .bytes(20_000))
        waitUntil(origin.server.raw, [.readable])
        while case .bytes = pipe.fill(from: origin.server, atMost: 20_000) {}
        #expect(pipe.fill(from: origin.server, atMost: 20_000) == .wouldBlock)
        #expect(pipe.count > 0 && pipe.count < 20_000)
        check(!origin.server.isIdle())
    }

    @Test func `a closed target is a failure and no signal`() throws {
        let origin = try Connection.open()
        var sink = try Connection.open()
        var pipe = try Pipe()
        #expect(origin.client.write([1].span) == .bytes(1))
        waitUntil(origin.server.raw, [.readable])
        #expect(pipe.fill(from: origin.server, atMost: 1) == .bytes(1))
        try sink.resetServer()
        waitUntil(sink.client.raw, [.hangUp])
        guard case .failed = pipe.drain(to: sink.client) else { throw Unexpected() }
        guard case .failed(EPIPE) = pipe.drain(to: sink.client) else { throw Unexpected() }
    }
}
