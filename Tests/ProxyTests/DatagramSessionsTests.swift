import Kernel
import Testing

@testable import Proxy

/// Sessions are found by their client, whatever the hash, and leave in the order of their last datagrams.
@Suite struct DatagramSessionsTests {
    private static let peer = try? DatagramSocket.open(
        .loopback(v6: false, port: 0), reusePort: false
    ).localAddress

    private func client(_ number: Int, asked: String = "127.0.0.1", port: UInt32 = 1) throws
        -> DatagramClient
    {
        DatagramClient(
            address: try #require(
                SocketAddress("10.0.\(number / 250).\(number % 250)", port: 5_000)),
            asked: try #require(SocketAddress(asked, port: 0)), portID: port)
    }

    private func insert(
        _ client: DatagramClient, hash: UInt64, into sessions: inout DatagramSessions
    ) throws -> SlotID {
        let route = DatagramRoute(
            clusterID: 0, endpointID: 0, endpoint: try #require(Self.peer), listenerID: 0,
            series: 0, backendSeries: 0, idleMilliseconds: 1)
        let socket = try DatagramSocket.connected(to: try #require(Self.peer))
        let id = sessions.insert(
            DatagramSession(socket, client, hash: hash, port: 0, route, began: 0))
        return try #require(id)
    }

    @Test func `a session is found by client, address and port`() throws {
        var sessions = DatagramSessions(seed: 1)
        let known = try client(1)
        let hash = sessions.hash(known)
        let id = try insert(known, hash: hash, into: &sessions)
        #expect(sessions.find(known, hash: hash) == id)
        for other in [
            try client(2), try client(1, asked: "127.0.0.2"), try client(1, port: 2),
        ] {
            #expect(sessions.find(other, hash: sessions.hash(other)) == nil)
            #expect(sessions.find(other, hash: hash) == nil)
        }
        sessions.remove(id)
        #expect(sessions.find(known, hash: hash) == nil)
        #expect(sessions.count == 0)
    }

    @Test(arguments: [true, false])
    func `each of many is found, also when all hashes are the same`(collide: Bool) throws {
        var sessions = DatagramSessions(seed: 2)
        var ids: [SlotID] = []
        for number in 0..<400 {
            let client = try client(number)
            let hash = collide ? 7 : sessions.hash(client)
            ids.append(try insert(client, hash: hash, into: &sessions))
        }
        for number in stride(from: 0, to: 400, by: 3) { sessions.remove(ids[number]) }
        for number in 0..<400 {
            let client = try client(number)
            let found = sessions.find(client, hash: collide ? 7 : sessions.hash(client))
            #expect(found == (number % 3 == 0 ? nil : ids[number]))
        }
        #expect(sessions.count == 266)
    }

    @Test func `the oldest is the one touched longest ago`() throws {
        var sessions = DatagramSessions(seed: 3)
        var ids: [SlotID] = []
        for number in 0..<5 {
            ids.append(try insert(try client(number), hash: UInt64(number), into: &sessions))
        }
        sessions.touch(ids[0])
        sessions.touch(ids[2])
        sessions.touch(ids[2])
        sessions.remove(ids[3])
        var order: [Int] = []
        while let oldest = sessions.oldest {
            order.append(try #require(ids.firstIndex(of: oldest)))
            sessions.remove(oldest)
        }
        #expect(order == [1, 4, 0, 2])
    }

    @Test func `another seed gives another hash`() throws {
        let known = try client(1)
        #expect(known.hash(seed: 1) == known.hash(seed: 1))
        #expect(known.hash(seed: 1) != known.hash(seed: 2))
    }
}
