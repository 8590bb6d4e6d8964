import BasicContainers
import HTTP

/// Host names with a number each, found from the most specific to the least: exact name, longer
/// wildcard, shorter wildcard, every host (`Listener.hostname`, `HTTPRoute.spec.hostnames`).
struct HostIndex: BitwiseCopyable, Sendable {
    /// Exact names.
    var exact: TextIndex
    /// What follows `*.` in wildcards; never matches the name itself.
    var wildcards: TextIndex
    /// The number of "every host"; -1 when there is none.
    var any: Int32
    /// That number when there are no names, so that the host does not matter; else -1.
    var only: Int32

    init(exact: TextIndex, wildcards: TextIndex, any: Int32) {
        self.exact = exact
        self.wildcards = wildcards
        self.any = any
        only = exact.isEmpty && wildcards.isEmpty ? any : -1
    }
}

/// Host names while a table is built.
struct HostIndexBuilder {
    private var exact: [(text: ArenaRange, value: Int32)] = []
    private var wildcards: [(text: ArenaRange, value: Int32)] = []
    private var any: Int32 = -1
    private var known: Set<String> = []

    /// Adds a name, `*.name`, or nil or an empty text for every host; false when it is there.
    mutating func add(_ hostname: String?, _ value: Int32, _ arena: inout ArenaBuilder) -> Bool {
        guard let hostname, !hostname.isEmpty else {
            if any >= 0 { return false }
            any = value
            return true
        }
        if !known.insert(hostname).inserted { return false }
        if hostname.hasPrefix("*.") {
            wildcards.append((arena.keep(String(hostname.dropFirst(2))), value))
        } else {
            exact.append((arena.keep(hostname), value))
        }
        return true
    }

    func build(_ indexes: inout TextIndexesBuilder, _ arena: ArenaBuilder) -> HostIndex {
        HostIndex(
            exact: indexes.add(exact, arena), wildcards: indexes.add(wildcards, arena), any: any)
    }
}

extension Table {
    /// The most specific number for a host; -1 when there is none.
    @inline(__always)
    func mostSpecific(_ index: HostIndex, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Int32 {
        let arena = arena.span
        let exact = indexes.find(
            index.exact, bytes, range.lowerBound, count: range.count, arena)
        if exact >= 0 { return exact }
        if index.wildcards.isEmpty { return index.any }
        var cursor = 0
        let wild = indexes.next(index.wildcards, bytes, range, arena, &cursor)
        return wild >= 0 ? wild : index.any
    }
}
