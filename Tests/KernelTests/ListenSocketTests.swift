// Listening: shared ports, ports in use, both families, and running out of descriptors.
import CLinux
import Glibc
import Kernel
import Synchronization
import Testing

struct ListenSocketTests {
    @Test(arguments: [false, true])
    func `an accepted connection knows its client`(v6: Bool) throws {
        let listener = try ListenSocket.open(.loopback(v6: v6, port: 0), reusePort: true)
        #expect(listener.localAddress.port != 0)
        #expect(listener.accept() == .wouldBlock)
        let client = try Socket.connecting(to: listener.localAddress)
        waitUntil(listener.raw, [.readable])
        guard case .accepted(let fd, let address) = listener.accept() else { throw Unexpected() }
        let server = Socket(adopting: fd)
        #expect(address == client.localAddress())
        #expect(listener.accept() == .wouldBlock)
        #expect(fcntl(server.raw, F_GETFL) & O_NONBLOCK != 0)
        #expect(fcntl(server.raw, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test func `a connection inherits no-delay from its listener`() throws {
        let connection = try Connection.open()
        #expect(option(connection.server.raw, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
    }

    @Test func `a connection inherits how a dead peer is found`() throws {
        let listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        listener.setDeadPeerDetection(
            idleSeconds: 30, intervalSeconds: 10, count: 3, userTimeoutMilliseconds: 60_000)
        let client = try Socket.connecting(to: listener.localAddress)
        waitUntil(listener.raw, [.readable])
        guard case .accepted(let fd, _) = listener.accept() else { throw Unexpected() }
        let server = Socket(adopting: fd)
        #expect(option(server.raw, SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(option(server.raw, Int32(IPPROTO_TCP), TCP_KEEPIDLE) == 30)
        #expect(option(server.raw, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == 60_000)
        _ = consume client
    }

    @Test func `several sockets share a port when all ask for it`() throws {
        let first = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: true)
        let second = try ListenSocket.open(first.localAddress, reusePort: true)
        #expect(second.localAddress == first.localAddress)
        let address = first.localAddress
        #expect(throws: SystemError("bind", EADDRINUSE)) {
            _ = try ListenSocket.open(address, reusePort: false)
        }
    }

    @Test(arguments: [false, true])
    func `a probe finds a port in use, shared or not`(isShared: Bool) throws {
        let listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: isShared)
        let address = listener.localAddress
        #expect(throws: SystemError("bind", EADDRINUSE)) { try ListenSocket.probe(address) }
        let any = SocketAddress.any(v6: false, port: address.port)
        #expect(throws: SystemError("bind", EADDRINUSE)) { try ListenSocket.probe(any) }
        _ = consume listener
        try ListenSocket.probe(address)
    }

    @Test func `connections in TIME_WAIT do not keep a port in use`() throws {
        let listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: true)
        let address = listener.localAddress
        let client = try Socket.connecting(to: address)
        waitUntil(listener.raw, [.readable])
        guard case .accepted(let fd, _) = listener.accept() else { throw Unexpected() }
        _ = close(fd)
        waitUntil(client.raw, [.peerClosed])
        _ = consume client
        _ = consume listener
        try ListenSocket.probe(address)
        _ = try ListenSocket.open(address, reusePort: true)
    }

    @Test func `an address of another machine is an error`() throws {
        let address = try #require(SocketAddress("192.0.2.1", port: 0))
        #expect(throws: SystemError("bind", EADDRNOTAVAIL)) { try ListenSocket.probe(address) }
    }

    @Test func `the IPv6 socket leaves IPv4 to another one`() throws {
        let v6 = try ListenSocket.open(.any(v6: true, port: 0), reusePort: false)
        #expect(option(v6.raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY) == 1)
        // Another process may own the IPv4 port of this number: only the clash with ours counts.
        let port = v6.localAddress.port
        let v4 = try ListenSocket.open(.loopback(v6: false, port: port), reusePort: false)
        let client = try Socket.connecting(to: v4.localAddress)
        waitUntil(v4.raw, [.readable])
        #expect(v6.accept() == .wouldBlock)
        _ = consume client
    }

    @Test func `without a free descriptor accepting is exhausted, and recovers`() throws {
        let outcome = Lock<[AcceptResult]>([])
        let client = Lock<SocketAddress?>(nil)
        // A thread with a descriptor table of its own, so that no other test is held up.
        let thread = try Thread.start(name: "exhausted") {
            let intoOwnTable: Int32 = 2  // CLOSE_RANGE_UNSHARE
            guard close_range(3, .max, intoOwnTable) == 0,
                let listener = try? ListenSocket.open(
                    .loopback(v6: false, port: 0), reusePort: false),
                let socket = try? Socket.connecting(to: listener.localAddress)
            else { return }
            waitUntil(listener.raw, [.readable])
            var last: Int32 = -1
            while true {
                let copy = fcntl(listener.raw, F_DUPFD_CLOEXEC, 0)
                if copy < 0 { break }
                last = copy
            }
            let first = listener.accept()
            _ = close(last)
            let second = listener.accept()
            outcome.withLock { $0 = [first, second] }
            client.withLock { $0 = socket.localAddress() }
        }
        thread.join()
        let results = outcome.withLock { $0 }
        try #require(results.count == 2)
        #expect(results[0] == .exhausted)
        guard case .accepted(_, let address) = results[1] else { throw Unexpected() }
        #expect(address == client.withLock { $0 })
    }
}
