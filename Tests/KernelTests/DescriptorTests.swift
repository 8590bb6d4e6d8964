// A descriptor is closed exactly once, by its owner.
import Glibc
import Kernel
import Testing

struct DescriptorTests {
    /// Whether somebody has the number open.
    private func isOpen(_ raw: Int32) -> Bool { fcntl(raw, F_GETFD) >= 0 }

    /// A number so high that no other test takes it after it was closed.
    private func high(_ number: Int32) throws -> Int32 {
        let raw = fcntl(2, F_DUPFD_CLOEXEC, number)
        try #require(raw >= number)
        return raw
    }

    @Test func `the end of its life closes it`() throws {
        let raw = try high(900)
        do {
            let descriptor = Descriptor(adopting: raw)
            #expect(isOpen(descriptor.raw))
        }
        #expect(!isOpen(raw))
    }

    @Test func `a released one stays open`() throws {
        let raw = try high(910)
        let released = Descriptor(adopting: raw).release()
        #expect(released == raw)
        #expect(isOpen(raw))
        _ = close(raw)
    }

    @Test func `a socket closes and releases in the same way`() throws {
        let raw = try high(920)
        _ = Socket(adopting: Socket(adopting: raw).release())
        #expect(!isOpen(raw))
    }

    @Test func `a file that cannot be opened is an error with its reason`() throws {
        #expect(throws: SystemError("open", ENOENT)) {
            _ = try Descriptor.appending(to: "/nowhere/at/all")
        }
    }

    @Test func `what is written comes out on the other end`() throws {
        var signals = try Pipe()
        let connection = try Connection.open()
        let second = try Descriptor.duplicate(of: connection.client.raw)
        #expect(second.write([1, 2, 3].span) == .bytes(3))
        waitUntil(connection.server.raw, [.readable])
        #expect(signals.fill(from: connection.server, atMost: 10) == .bytes(3))
    }
}
