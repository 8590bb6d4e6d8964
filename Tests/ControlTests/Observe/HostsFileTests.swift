// The hosts file is read as hosts(5) says, and again when it changes.
import Kernel
import Testing

@testable import Control

struct HostsFileTests {
    @Test func `lines are an address and its names`() throws {
        let table = HostsFile.parse(
            """
            # comment
            127.0.0.1\tlocalhost  Me.Lan # me2
            ::1 localhost
            10.0.0.1 gpu
            10.0.0.2 gpu gpu
            nonsense gpu
            0.0.0.0 blocked.example
            10.0.0.3
            """)
        let one = try #require(SocketAddress("127.0.0.1", port: 0))
        #expect(table["localhost"] == [one, .loopback(v6: true, port: 0)])
        #expect(table["me.lan"] == [one])
        #expect(table["me2"] == nil)
        #expect(table["gpu"]?.map(\.hostDescription) == ["10.0.0.1", "10.0.0.2"])
        #expect(table["blocked.example"] == nil)
        #expect(table.count == 3)
    }

    @Test func `a changed file is read again, one that is not there has no names`() throws {
        let folder = try TemporaryFolder()
        var hosts = HostsFile(path: folder.path("hosts"))
        #expect(hosts.addresses(of: "gpu") == nil)
        try folder.write("hosts", "10.0.0.1 gpu\n")
        #expect(hosts.addresses(of: "gpu")?.map(\.hostDescription) == ["10.0.0.1"])
        try folder.write("hosts", "10.0.0.1 gpu\n10.0.0.22 gpu\n")
        #expect(hosts.addresses(of: "gpu")?.count == 2)
        try folder.remove("hosts")
        #expect(hosts.addresses(of: "gpu") == nil)
    }
}
