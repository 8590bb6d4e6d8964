import CLinux
import Glibc

/// What this process may use of the machine.
public enum Machine {
    /// The cores that the scheduler lets it run on, in order; never empty.
    public static func allowedCores() -> [Int] {
        let cores = CoreSet.allowed()
        if !cores.isEmpty { return cores }
        return Array(0..<max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// The limit of its control group in cores, such as 1.5; nil: none.
    public static func cpuLimit() -> Double? { ControlGroup.own.cpuLimit() }

    /// One worker per core that it may use, and no more than the limit gives work for.
    public static func defaultWorkers() -> Int {
        let cores = allowedCores().count
        guard let limit = cpuLimit(), limit < Double(cores) else { return cores }
        return max(1, Int(limit.rounded(.up)))
    }

    /// Bytes of memory: the least of the machine's and its control group's.
    public static func memoryLimit() -> Int {
        let machine = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        return min(machine, ControlGroup.own.memoryLimit() ?? machine)
    }

    /// Bytes of either of the two budgets of memory, for what is held as a whole and for all other buffers: a quarter of
    /// the memory, and no more than 512 MiB (`robustness.md` §6).
    public static func bufferShare() -> Int { min(memoryLimit() / 4, 512 << 20) }

    /// Ends the process although threads of it run.
    ///
    /// Nothing is put away, since they would go on to use it: at an orderly end libcrypto frees what a handshake in
    /// another thread reads.
    public static func endProcess(_ status: Int32) -> Never { _exit(status) }

    /// Raises the limit of open descriptors as far as it may and returns it.
    public static func raiseDescriptorLimit() -> Int {
        var limit = rlimit()
        // Sound: the pointer is valid for the call.
        guard unsafe getrlimit(RLIMIT_NOFILE, &limit) == 0 else { return 1024 }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        // Sound: as above.
        if unsafe setrlimit(RLIMIT_NOFILE, &limit) != 0 { limit.rlim_cur = before }
        return Int(clamping: limit.rlim_cur)
    }
}

/// The limits of a control group, of either version, and of all groups around it.
struct ControlGroup {
    /// Where the hierarchy is mounted.
    let root: String
    /// The lines of `/proc/self/cgroup`.
    let membership: String

    static var own: ControlGroup {
        ControlGroup(root: "/sys/fs/cgroup", membership: readText("/proc/self/cgroup") ?? "")
    }

    /// The least quota in cores.
    func cpuLimit() -> Double? {
        let second = paths(of: "").compactMap { path in
            readText(path + "/cpu.max").flatMap(ControlGroup.cores)
        }
        let first = paths(of: "cpu").compactMap { path -> Double? in
            guard let quota = readText(path + "/cpu.cfs_quota_us"),
                let period = readText(path + "/cpu.cfs_period_us")
            else { return nil }
            return ControlGroup.cores("\(quota.trimmed) \(period.trimmed)")
        }
        return (second + first).min()
    }

    /// The least limit in bytes.
    func memoryLimit() -> Int? {
        let second = paths(of: "").compactMap { path in
            readText(path + "/memory.max").flatMap { Int($0.trimmed) }
        }
        let first = paths(of: "memory").compactMap { path in
            readText(path + "/memory.limit_in_bytes").flatMap { Int($0.trimmed) }
        }
        return (second + first).filter { $0 > 0 }.min()
    }

    /// `max 100000` is none, `150000 100000` is 1.5; version 1 says none by a quota of -1.
    static func cores(_ text: String) -> Double? {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]),
            quota > 0, period > 0
        else { return nil }
        return quota / period
    }

    /// The folders of the group and of those around it; `controller` is empty for version 2.
    private func paths(of controller: String) -> [String] {
        let mount = controller.isEmpty ? root : "\(root)/\(controller)"
        var result = [mount]
        for line in membership.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isMeant =
                controller.isEmpty
                ? fields[1].isEmpty
                : fields[1].split(separator: ",").contains { $0 == controller }
            guard isMeant else { continue }
            var path = mount
            for part in fields[2].split(separator: "/") where part != ".." {
                path += "/\(part)"
                result.append(path)
            }
        }
        return result
    }
}

extension String {
    /// Without white space at the end.
    fileprivate var trimmed: Substring {
        var rest = self[...]
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return rest
    }
}

/// The text of a small file, at most 64 KiB; nil when it cannot be read.
func readText(_ path: String) -> String? {
    // Sound: a terminated string, read during the call only.
    let raw = SystemCall.run { unsafe open(path, O_RDONLY | O_CLOEXEC) } as Int32
    guard raw >= 0 else { return nil }
    let file = Descriptor(adopting: raw)
    var bytes: [UInt8] = []
    while bytes.count < 64 << 10 {
        // Sound: the memory is used during the call only.
        let (part, result) = unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4096) {
            buffer -> ([UInt8], Int) in
            // Sound: the buffer and its size go together.
            let result = SystemCall.run {
                unsafe Glibc.read(file.raw, buffer.baseAddress, buffer.count)
            }
            // Sound: the part that the call filled in.
            return unsafe (Array(buffer.prefix(max(0, result))), result)
        }
        if result < 0 { return nil }
        if result == 0 { break }
        bytes += part
    }
    return String(decoding: bytes, as: UTF8.self)
}
