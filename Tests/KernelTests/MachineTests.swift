// What the process may use is read from the system and from control groups of both versions.
import Foundation
import Testing

@testable import Kernel

struct MachineTests {
    @Test func `there is a core, a worker, memory and room for descriptors`() {
        let cores = Machine.allowedCores()
        check(!cores.isEmpty)
        #expect(cores == cores.sorted())
        #expect(Machine.defaultWorkers() >= 1 && Machine.defaultWorkers() <= cores.count)
        #expect(Machine.memoryLimit() > 1 << 20)
        let limit = Machine.raiseDescriptorLimit()
        #expect(limit >= 64)
        #expect(Machine.raiseDescriptorLimit() == limit)
    }

    @Test func `every interface that is up has an address, each once`() {
        let addresses = Machine.localAddresses()
        #expect(addresses.contains("127.0.0.1"))
        #expect(Set(addresses).count == addresses.count)
    }

    @Test(
        arguments: [
            ("max 100000\n", nil), ("150000 100000\n", 1.5), ("50000 100000", 0.5), ("", nil),
            ("100000", nil), ("-1 100000", nil), ("x y", nil), ("100 0", nil), ("1 2 3", nil),
        ] as [(String, Double?)])
    func `a quota is read as cores`(text: String, cores: Double?) {
        #expect(ControlGroup.cores(text) == cores)
    }

    @Test func `the least limit of all groups around counts`() throws {
        let tree = try Tree([
            "cpu.max": "400000 100000\n", "memory.max": "max\n", "a/cpu.max": "max 100000\n",
            "a/memory.max": "1000000\n", "a/b/cpu.max": "250000 100000\n",
            "a/b/memory.max": "2000000\n", "other/cpu.max": "1000 100000\n",
        ])
        let group = ControlGroup(root: tree.path, membership: "0::/a/b\n")
        #expect(group.cpuLimit() == 2.5)
        #expect(group.memoryLimit() == 1_000_000)
        let top = ControlGroup(root: tree.path, membership: "0::/\n")
        #expect(top.cpuLimit() == 4)
        #expect(top.memoryLimit() == nil)
    }

    @Test func `version 1 groups are read by their controllers`() throws {
        let tree = try Tree([
            "cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
            "memory/y/memory.limit_in_bytes": "4096000\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        ])
        let membership = "4:memory:/y\n3:cpuset:/z\n2:cpu,cpuacct:/x\n0::/\n"
        let group = ControlGroup(root: tree.path, membership: membership)
        #expect(group.cpuLimit() == 3)
        #expect(group.memoryLimit() == 4_096_000)
    }

    @Test func `no groups, no limits`() {
        let group = ControlGroup(root: "/nowhere/at/all", membership: "nonsense\n1:2\n")
        #expect(group.cpuLimit() == nil)
        #expect(group.memoryLimit() == nil)
    }
}
