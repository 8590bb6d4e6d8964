// What several of the tests need: connected sockets, and waiting without sleeping.
import BasicContainers
import Glibc
import Kernel
import Testing

/// Two ends of one connection over loopback.
struct Connection: ~Copyable {
    var client: Socket
    var server: Socket

    static func open(v6: Bool = false) throws -> Connection {
        let listener = try ListenSocket.open(.loopback(v6: v6, port: 0), reusePort: false)
        let client = try Socket.connecting(to: listener.localAddress)
        waitUntil(client.raw, [.writable])
        try #require(client.connectResult() == 0)
        waitUntil(listener.raw, [.readable])
        guard case .accepted(let fd, _) = listener.accept() else { throw Unexpected() }
        return Connection(client: client, server: Socket(adopting: fd))
    }
}

extension Connection {
    /// Ends the server's side by a reset; what takes its place is no socket.
    mutating func resetServer() throws {
        var gone = Socket(adopting: try Descriptor.duplicate(of: 2).release())
        swap(&gone, &server)
        gone.resetOnClose()
    }
}

struct Unexpected: Error {}

/// Expects it to hold; for what the macro cannot take apart because it cannot be copied.
func check(_ holds: Bool, location: SourceLocation = #_sourceLocation) {
    #expect(holds, sourceLocation: location)
}

/// Waits until a descriptor is ready for all of this; fails the test after ten seconds.
func waitUntil(_ fd: Int32, _ readiness: Readiness, location: SourceLocation = #_sourceLocation) {
    do {
        var loop = try Loop(capacity: 1)
        let token = Token(kind: 0, slot: 0, generation: 1)
        try loop.register(
            fd, token, edgeTriggered: false, readable: true,
            writable: readiness.contains(.writable))
        let deadline = Clock.monotonicMilliseconds() + 10_000
        while Clock.monotonicMilliseconds() < deadline {
            if loop.wait(timeoutMilliseconds: 100) == 1,
                loop.event(0).readiness.isSuperset(of: readiness)
            {
                return
            }
        }
        Issue.record("Descriptor \(fd) never became ready.", sourceLocation: location)
    } catch {
        Issue.record(error, sourceLocation: location)
    }
}

/// Reads so many bytes, waiting for them.
func read(_ count: Int, from socket: borrowing Socket) -> [UInt8] {
    var bytes = RigidArray<UInt8>(capacity: count)
    while bytes.count < count {
        switch socket.read(into: &bytes) {
        case .bytes: break
        case .wouldBlock: waitUntil(socket.raw, [.readable])
        case .end, .failed: return array(bytes.span)
        }
    }
    return array(bytes.span)
}

/// The bytes of a span as an array.
func array(_ span: Span<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    for index in span.indices { result.append(span[index]) }
    return result
}

/// Bytes whose values tell their places.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
}
