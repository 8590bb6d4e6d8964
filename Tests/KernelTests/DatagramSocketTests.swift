// Datagrams in batches: who sent them, where they came to, and from where they are answered.
import CLinux
import Glibc
import Kernel
import Testing

struct DatagramSocketTests {
    private func receive(
        _ batch: inout DatagramBatch, from socket: borrowing DatagramSocket
    ) -> Int {
        waitUntil(socket.raw, [.readable])
        guard case .bytes(let count) = batch.receive(from: socket) else { return 0 }
        return count
    }

    /// Sends one datagram over a connected socket.
    private func send(_ bytes: [UInt8], over socket: borrowing DatagramSocket) throws {
        let copy = Socket(adopting: try Descriptor.duplicate(of: socket.raw).release())
        let result = copy.write(bytes.span)
        #expect(result == .bytes(bytes.count))
    }

    @Test(arguments: [false, true])
    func `a datagram says who sent it and where it came to`(v6: Bool) throws {
        let server = try DatagramSocket.open(.any(v6: v6, port: 0), reusePort: true)
        let port = server.localAddress.port
        let client = try DatagramSocket.connected(to: .loopback(v6: v6, port: port))
        try send([1, 2, 3], over: client)
        var batch = DatagramBatch()
        check(receive(&batch, from: server) == 1)
        check(array(batch.content(0)) == [1, 2, 3])
        check(batch.sender(0) == client.localAddress)
        check(batch.receiver(0) == .loopback(v6: v6, port: 0))
        check(batch.receive(from: server) == .wouldBlock)
    }

    @Test(arguments: ["127.0.0.1", "127.0.0.2", "127.1.2.3"])
    func `an answer leaves from the address that was asked`(host: String) throws {
        let server = try DatagramSocket.open(.any(v6: false, port: 0), reusePort: true)
        let address = try #require(SocketAddress(host, port: server.localAddress.port))
        let client = try DatagramSocket.connected(to: address)
        try send(Array("ask".utf8), over: client)
        var batch = DatagramBatch()
        check(receive(&batch, from: server) == 1)
        guard let sender = batch.sender(0), let receiver = batch.receiver(0) else {
            throw Unexpected()
        }
        #expect(receiver.isSameHost(as: address))
        let sent = batch.send(0..<1, over: server, to: sender, from: receiver)
        #expect(sent.count == 1 && sent.error == 0)
        // A connected socket would not take it from any other address.
        check(receive(&batch, from: client) == 1)
        check(array(batch.content(0)) == Array("ask".utf8))
    }

    @Test func `IPv6 answers leave from the address that was asked`() throws {
        let server = try DatagramSocket.open(.any(v6: true, port: 0), reusePort: true)
        let client = try DatagramSocket.connected(
            to: .loopback(v6: true, port: server.localAddress.port))
        try send([9], over: client)
        var batch = DatagramBatch()
        check(receive(&batch, from: server) == 1)
        guard let sender = batch.sender(0) else { throw Unexpected() }
        let sent = batch.send(0..<1, over: server, to: sender, from: batch.receiver(0))
        #expect(sent.count == 1)
        check(receive(&batch, from: client) == 1)
    }

    @Test func `more than a batch comes in several`() throws {
        let server = try DatagramSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        let client = try DatagramSocket.connected(to: server.localAddress)
        for number in 0..<70 { try send([UInt8(number), 7], over: client) }
        var batch = DatagramBatch()
        var seen: [UInt8] = []
        for expected in [32, 32, 6] {
            check(receive(&batch, from: server) == expected)
            for at in 0..<batch.count { seen.append(batch.content(at)[0]) }
        }
        #expect(seen == (0..<70).map { UInt8($0) })
    }

    @Test func `a batch goes on as it came`() throws {
        let front = try DatagramSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        let back = try DatagramSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        let client = try DatagramSocket.connected(to: front.localAddress)
        let onward = try DatagramSocket.connected(to: back.localAddress)
        let sizes = [0, 1, 1_400, 9_000, 65_507]
        for size in sizes { try send(pattern(size), over: client) }
        var batch = DatagramBatch()
        check(receive(&batch, from: front) == sizes.count)
        check((0..<batch.count).map { batch.length($0) } == sizes)
        check(batch.send(1..<5, over: onward).count == 4)
        check(batch.send(0..<1, over: onward).count == 1)
        check(receive(&batch, from: back) == sizes.count)
        for (at, size) in ([1, 1_400, 9_000, 65_507, 0] as [Int]).enumerated() {
            check(array(batch.content(at)) == pattern(size))
            check(!batch.isTruncated(at))
        }
    }

    @Test func `a datagram that does not fit says so`() throws {
        let server = try DatagramSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        let client = try DatagramSocket.connected(to: server.localAddress)
        try send(pattern(100), over: client)
        try send(pattern(101), over: client)
        try send(pattern(99), over: client)
        var batch = DatagramBatch(datagramBytes: 100)
        check(receive(&batch, from: server) == 3)
        check((0..<3).map { batch.isTruncated($0) } == [false, true, false])
        check(array(batch.content(1)) == Array(pattern(101)[..<100]))
        check(array(batch.content(2)) == pattern(99))
    }

    @Test func `a peer that is not there is noticed`() throws {
        let gone = try DatagramSocket.open(.loopback(v6: false, port: 0), reusePort: false)
            .localAddress
        let client = try DatagramSocket.connected(to: gone)
        try send([1], over: client)
        waitUntil(client.raw, [.error])
        var batch = DatagramBatch()
        check(batch.receive(from: client) == .failed(ECONNREFUSED))
        check(batch.receive(from: client) == .wouldBlock)
        try send([1], over: client)
        waitUntil(client.raw, [.error])
        check(client.takeError() == ECONNREFUSED)
        check(client.takeError() == 0)
    }

    @Test func `sockets share a port only when all ask for it`() throws {
        let first = try DatagramSocket.open(.loopback(v6: false, port: 0), reusePort: true)
        let second = try DatagramSocket.open(first.localAddress, reusePort: true)
        check(second.localAddress == first.localAddress)
        let address = first.localAddress
        #expect(throws: SystemError("bind", EADDRINUSE)) { try DatagramSocket.probe(address) }
        check(first.raw != second.raw)
    }

    @Test func `the ports of TCP and of UDP are apart`() throws {
        let listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: false)
        try DatagramSocket.probe(listener.localAddress)
        check(listener.localAddress.port != 0)
    }
}
