// Streams over loopback: bytes, ends, failures, and what a pool may reuse.
import BasicContainers
import CLinux
import Glibc
import Kernel
import Testing

struct SocketTests {
    @Test(arguments: [false, true])
    func `bytes written on one end are read on the other`(v6: Bool) throws {
        let connection = try Connection.open(v6: v6)
        #expect(connection.client.write([1, 2, 3].span) == .bytes(3))
        #expect(read(3, from: connection.server) == [1, 2, 3])
        #expect(connection.server.write([4].span) == .bytes(1))
        #expect(read(1, from: connection.client) == [4])
    }

    @Test(
        arguments: [(0, 0), (0, 3), (2, 0), (2, 3), (24, 1000), (24, 1001), (1000, 5000)],
        [false, true])
    func `two ranges go out as one`(_ parts: (first: Int, second: Int), joining: Bool) throws {
        let connection = try Connection.open()
        let bytes = pattern(parts.first + parts.second)
        let head = bytes[..<parts.first]
        let rest = bytes[parts.first...]
        let result = connection.client.write(head.span, then: rest.span, joining: joining)
        #expect(result == .bytes(bytes.count))
        #expect(read(bytes.count, from: connection.server) == bytes)
    }

    @Test func `nothing to read is would-block, a finished peer is the end`() throws {
        let connection = try Connection.open()
        var bytes = RigidArray<UInt8>(capacity: 8)
        #expect(connection.server.read(into: &bytes) == .wouldBlock)
        #expect(connection.client.write([7].span) == .bytes(1))
        connection.client.shutdownWrite()
        waitUntil(connection.server.raw, [.peerClosed])
        #expect(connection.server.read(into: &bytes) == .bytes(1))
        #expect(connection.server.read(into: &bytes) == .end)
        #expect(array(bytes.span) == [7])
        #expect(connection.server.write([8].span) == .bytes(1))
        #expect(read(1, from: connection.client) == [8])
    }

    @Test func `reading appends to what is there, up to the capacity`() throws {
        let connection = try Connection.open()
        #expect(connection.client.write([1, 2, 3, 4].span) == .bytes(4))
        waitUntil(connection.server.raw, [.readable])
        var bytes = RigidArray<UInt8>(capacity: 3)
        bytes.append(9)
        #expect(connection.server.read(into: &bytes) == .bytes(2))
        #expect(array(bytes.span) == [9, 1, 2])
        var buffer = Buffer(capacity: 8)
        let result = buffer.withFree { output in connection.server.read(into: &output) }
        #expect(result == .bytes(2))
        #expect(array(buffer.span) == [3, 4])
    }

    @Test func `a buffer is read into behind what it holds`() throws {
        let connection = try Connection.open()
        var buffer = Buffer(capacity: 6)
        #expect(connection.server.read(into: &buffer) == .wouldBlock)
        check(buffer.isEmpty)
        #expect(buffer.append([9, 8].span) == 2)
        buffer.consume(1)
        #expect(connection.client.write([1, 2, 3, 4, 5, 6].span) == .bytes(6))
        waitUntil(connection.server.raw, [.readable])
        #expect(connection.server.read(into: &buffer) == .bytes(4))
        #expect(array(buffer.span) == [8, 1, 2, 3, 4])
        buffer.removeAll()
        connection.client.shutdownWrite()
        waitUntil(connection.server.raw, [.peerClosed])
        #expect(connection.server.read(into: &buffer) == .bytes(2))
        #expect(connection.server.read(into: &buffer) == .end)
        #expect(array(buffer.span) == [5, 6])
    }

    @Test func `reading into no room would look like the end, and ends the process`() async {
        await #expect(processExitsWith: .failure) {
            let connection = try Connection.open()
            var buffer = Buffer()
            _ = connection.server.read(into: &buffer)
        }
        await #expect(processExitsWith: .failure) {
            let connection = try Connection.open()
            var bytes = RigidArray<UInt8>(capacity: 1)
            bytes.append(1)
            _ = connection.server.read(into: &bytes)
        }
    }

    @Test func `peeked bytes can be read again`() throws {
        let connection = try Connection.open()
        #expect(connection.client.write([5, 6].span) == .bytes(2))
        waitUntil(connection.server.raw, [.readable])
        var bytes = RigidArray<UInt8>(capacity: 8)
        #expect(bytes.edit { connection.server.peek(into: &$0) } == .bytes(2))
        #expect(connection.server.read(into: &bytes) == .bytes(2))
        #expect(array(bytes.span) == [5, 6, 5, 6])
    }

    @Test func `a full stream takes a part, then would block, then goes on`() throws {
        let connection = try Connection.open()
        let bytes = pattern(1 << 20)
        var sent = 0
        while case .bytes(let count) = connection.client.write(bytes.span) { sent += count }
        #expect(sent > 0)
        #expect(connection.client.write([1].span) == .wouldBlock)
        _ = read(sent, from: connection.server)
        waitUntil(connection.client.raw, [.writable])
        #expect(connection.client.write([1].span) == .bytes(1))
    }

    @Test func `only an open and silent connection is idle`() throws {
        let connection = try Connection.open()
        check(connection.client.isIdle())
        #expect(connection.server.write([1].span) == .bytes(1))
        waitUntil(connection.client.raw, [.readable])
        check(!connection.client.isIdle())
        _ = read(1, from: connection.client)
        check(connection.client.isIdle())
        connection.server.shutdownWrite()
        waitUntil(connection.client.raw, [.peerClosed])
        check(!connection.client.isIdle())
    }

    @Test func `a reset is a failure for reader and writer, without a signal`() throws {
        var connection = try Connection.open()
        try connection.resetServer()
        waitUntil(connection.client.raw, [.hangUp])
        var bytes = RigidArray<UInt8>(capacity: 8)
        #expect(connection.client.read(into: &bytes) == .failed(ECONNRESET))
        #expect(connection.client.write([1].span) == .failed(EPIPE))
        #expect(connection.client.write([1].span, then: [2].span) == .failed(EPIPE))
        let joined = connection.client.write([1].span, then: [2].span, joining: true)
        #expect(joined == .failed(EPIPE))
        check(!connection.client.isIdle())
    }

    @Test func `a refused connect is reported by its result`() throws {
        let port: UInt16
        do {
            let listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: false)
            port = listener.localAddress.port
        }
        let socket = try Socket.connecting(to: .loopback(v6: false, port: port))
        waitUntil(socket.raw, [.hangUp])
        #expect(socket.connectResult() == ECONNREFUSED)
    }

    @Test func `both ends agree on their addresses`() throws {
        let connection = try Connection.open()
        #expect(connection.client.localAddress() == connection.server.peerAddress())
        #expect(connection.client.peerAddress() == connection.server.localAddress())
        #expect(connection.client.peerAddress()?.isLoopback == true)
    }

    @Test func `options reach the system`() throws {
        let connection = try Connection.open()
        connection.client.setKeepAlive(idleSeconds: 30, intervalSeconds: 10, count: 3)
        connection.client.setUserTimeout(milliseconds: 60_000)
        let tcp = Int32(IPPROTO_TCP)
        #expect(option(connection.client.raw, tcp, TCP_NODELAY) == 1)
        #expect(option(connection.client.raw, SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(option(connection.client.raw, tcp, TCP_KEEPIDLE) == 30)
        #expect(option(connection.client.raw, tcp, TCP_KEEPINTVL) == 10)
        #expect(option(connection.client.raw, tcp, TCP_KEEPCNT) == 3)
        #expect(option(connection.client.raw, tcp, TCP_USER_TIMEOUT) == 60_000)
    }

    @Test func `the shortest round trip over loopback is far below a second`() throws {
        let connection = try Connection.open()
        #expect(connection.client.write([1].span) == .bytes(1))
        _ = read(1, from: connection.server)
        let shortest = connection.client.shortestRoundTrip()
        #expect(shortest ?? .max < 1_000_000)
        let none = Socket.none
        check(none.shortestRoundTrip() == nil)
    }
}

/// A socket option that is one number.
func option(_ raw: Int32, _ level: Int32, _ name: Int32) -> Int32 {
    var value: Int32 = -1
    var length = socklen_t(4)
    // Sound: the value and its length live during the call.
    _ = unsafe getsockopt(raw, level, name, &value, &length)
    return value
}
