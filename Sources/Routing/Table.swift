import BasicContainers
import HTTP

/// All routes, compiled: flat rows addressed by small integers, and one arena of bytes.
///
/// Immutable; a worker owns its own copy (`clone`), so no reference count is touched by two. The
/// only objects are compiled patterns, which rules with regular expressions use. Looking up
/// allocates nothing and costs by the depth of the path and the rules of one host, not by the
/// table.
public struct Table: ~Copyable, Sendable {
    /// The listeners, in the order of the description.
    public let listeners: RigidArray<ListenerRow>
    /// The rules, in the order of the description.
    public let rules: RigidArray<RuleRow>
    /// The backends of all rules.
    public let backends: RigidArray<BackendRow>
    /// The mirrors of all rules and backends.
    public let mirrors: RigidArray<MirrorRow>
    @usableFromInline let ports: RigidArray<PortRow>
    /// Listeners by id, for `listenerIndex`.
    let listenersByID: RigidArray<IDRow>
    let hosts: RigidArray<HostRow>
    let matches: RigidArray<MatchRow>
    let conditions: RigidArray<ConditionRow>
    let switches: RigidArray<SwitchRow>
    let steps: RigidArray<FilterStep>
    let redirects: RigidArray<RedirectRow>
    let retries: RigidArray<RetryRule>
    let sessions: RigidArray<SessionRow>
    /// The keys of all rows of `sessions`.
    let sessionKeys: RigidArray<SessionKey>
    let cors: RigidArray<CORSRow>
    let corsOrigins: RigidArray<CORSOriginRow>
    let authorizations: RigidArray<AuthorizationRow>
    /// Names of fields that `authorizations` refer to.
    let fieldNames: RigidArray<ArenaRange>
    let indexes: TextIndexes
    let prefixes: PrefixIndexes
    let arena: RigidArray<UInt8>
    let patterns: [Pattern]
    let memory = PatternMemory()
    private let byAddress = ByAddress()

    /// A copy for another worker; only the compiled patterns are shared.
    public func clone() -> Table {
        Table(
            listeners: listeners.clone(), rules: rules.clone(), backends: backends.clone(),
            mirrors: mirrors.clone(),
            ports: ports.clone(), listenersByID: listenersByID.clone(), hosts: hosts.clone(),
            matches: matches.clone(), conditions: conditions.clone(), switches: switches.clone(),
            steps: steps.clone(), redirects: redirects.clone(), retries: retries.clone(),
            sessions: sessions.clone(), sessionKeys: sessionKeys.clone(), cors: cors.clone(),
            corsOrigins: corsOrigins.clone(),
            authorizations: authorizations.clone(), fieldNames: fieldNames.clone(),
            indexes: indexes.clone(), prefixes: prefixes.clone(), arena: arena.clone(),
            patterns: patterns)
    }

    // MARK: - Listeners

    /// Index of a port by its stable id; -1 when the table does not have it.
    @inline(__always)
    public func portIndex(id: UInt32) -> Int32 {
        var i = 0
        while i < ports.count {
            if ports[i].id == id { return Int32(truncatingIfNeeded: i) }
            i &+= 1
        }
        return -1
    }

    /// Index of a listener by its stable id; -1 when the table does not have it.
    public func listenerIndex(id: UInt32) -> Int32 {
        var low = 0
        var high = listenersByID.count
        while low < high {
            let middle = (low &+ high) / 2
            let row = listenersByID[middle]
            if row.id == id { return row.index }
            if row.id < id { low = middle &+ 1 } else { high = middle }
        }
        return -1
    }

    /// The most specific listener of a port for a host or a TLS server name; -1 for none.
    ///
    /// `host` is in small letters, without port. Order: exact name, wildcard with more labels, with
    /// fewer, no hostname. Only listeners of the same kind (TLS or not) are considered.
    public func listener(port: Int32, host: Span<UInt8>, isTLS: Bool) -> Int32 {
        if port < 0 { return -1 }
        let only = isTLS ? ports[Int(port)].onlyTLS : ports[Int(port)].onlyPlain
        return only >= 0 ? only : search(port: Int(port), isTLS, host, 0..<host.count)
    }

    /// The same for the host of a request.
    @inlinable @inline(always)
    public func listener(port: Int32, head: borrowing RequestHead, isTLS: Bool) -> Int32 {
        if port < 0 { return -1 }
        let only = isTLS ? ports[Int(port)].onlyTLS : ports[Int(port)].onlyPlain
        return only >= 0 ? only : search(port: Int(port), isTLS, head)
    }

    @inline(never)
    func search(
        port: Int, _ isTLS: Bool, _ bytes: Span<UInt8>, _ host: Range<Int>
    ) -> Int32 {
        mostSpecific(isTLS ? ports[port].tls : ports[port].plain, bytes, host)
    }

    @usableFromInline @inline(never)
    func search(port: Int, _ isTLS: Bool, _ head: borrowing RequestHead) -> Int32 {
        search(port: port, isTLS, head.bytes, head.host.range)
    }

    /// Index of the rule for all bytes of a connection, or all datagrams of a client; -1 for none.
    ///
    /// The TLS server name decides where there is one. Of several routes the oldest has it, as `Rank` orders them.
    ///
    /// `host` is in small letters.
    public func streamRule(listener: Int32, host: Span<UInt8>) -> Int32 {
        if listener < 0 { return -1 }
        let found = mostSpecific(listeners[Int(listener)].hosts, host, 0..<host.count)
        if found < 0 { return -1 }
        let root = hosts[Int(found)].prefixes.root
        return root < 0 ? -1 : matches[Int(prefixes.slots[Int(root)].bucket)].rule
    }

    // MARK: - Matches

    /// The rule for a request of a listener (`HTTPRoute`, precedence of matches).
    ///
    /// Hosts are tried from the most specific on; within a host Exact paths, then regular
    /// expressions, then prefixes from the longest on; within one path by `Rank`. A host none of
    /// whose rules match leaves the request to the next less specific one.
    public func match(listener: Int32, head: borrowing RequestHead) -> RouteMatch {
        if listener < 0 { return .none }
        let only = listeners[Int(listener)].only
        if only >= 0, matches[Int(only)].isUnconditional {
            return RouteMatch(
                rule: matches[Int(only)].rule, prefixCount: 0, match: matches[Int(only)].match)
        }
        if let found = prefixes.quick(
            listeners[Int(listener)].prefixes, head.bytes, Int(head.path.start),
            count: Int(head.path.count))
        {
            return found
        }
        return search(listener: Int(listener), head)
    }

    /// The rule for a request whose host, path or fields matter.
    @inline(never)
    func search(listener: Int, _ head: borrowing RequestHead) -> RouteMatch {
        let index = listeners[listener].hosts
        var memo = FieldMemo()
        if index.only >= 0 { return match(host: index.only, head, &memo) }
        let host = head.host.range
        var row = indexes.find(
            index.exact, head.bytes, host.lowerBound, count: host.count, arena.span)
        var cursor = 0
        while true {
            if row >= 0 {
                let found = match(host: row, head, &memo)
                if found.rule >= 0 { return found }
            }
            if index.wildcards.isEmpty { break }
            row =
                indexes.next(index.wildcards, head.bytes, host, arena.span, &cursor)
            if row < 0 { break }
        }
        return index.any < 0 ? .none : match(host: index.any, head, &memo)
    }

    /// The rule of one host.
    private func match(
        host: Int32, _ head: borrowing RequestHead, _ memo: inout FieldMemo
    ) -> RouteMatch {
        let row = hosts[Int(host)]
        let path = head.path.range
        if !row.exact.isEmpty {
            let exact = indexes.find(
                row.exact, head.bytes, path.lowerBound, count: path.count, arena.span)
            if exact >= 0 {
                let found = firstMatch(from: exact, prefixCount: 0, head, &memo)
                if found.rule >= 0 { return found }
            }
        }
        if row.patterns >= 0 {
            let found = firstMatch(from: row.patterns, prefixCount: 0, head, &memo)
            if found.rule >= 0 { return found }
        }
        var slot = prefixes.longest(
            row.prefixes, head.bytes, path.lowerBound, count: path.count, arena)
        while slot >= 0 {
            let prefix = prefixes.slots[Int(slot)]
            let found = firstMatch(
                from: prefix.bucket, prefixCount: prefix.text.count, head, &memo)
            if found.rule >= 0 { return found }
            slot = prefix.next
        }
        return .none
    }

    /// The first row of a bucket whose conditions hold; most often the only one, without any.
    @inline(__always)
    private func firstMatch(
        from first: Int32, prefixCount: UInt32, _ head: borrowing RequestHead,
        _ memo: inout FieldMemo
    ) -> RouteMatch {
        let row = matches[Int(first)]
        if row.isUnconditional {
            return RouteMatch(rule: row.rule, prefixCount: prefixCount, match: row.match)
        }
        return search(from: first, prefixCount: prefixCount, head, &memo)
    }

    /// The first row of a bucket whose conditions hold.
    @inline(never)
    func search(
        from first: Int32, prefixCount: UInt32, _ head: borrowing RequestHead,
        _ memo: inout FieldMemo
    ) -> RouteMatch {
        var at = Int(first)
        while true {
            let row = matches[at]
            if row.switchRow >= 0 {
                let found = search(
                    in: switches[Int(row.switchRow)], prefixCount: prefixCount, head, &memo)
                if found.rule >= 0 { return found }
            } else if accepts(row, head, &memo) {
                return RouteMatch(rule: row.rule, prefixCount: prefixCount, match: row.match)
            }
            if row.isLast { return .none }
            at &+= 1
        }
    }

    /// Whether all conditions beside host and path hold; the path too where it is a pattern.
    @inline(__always)
    private func accepts(
        _ row: MatchRow, _ head: borrowing RequestHead, _ memo: inout FieldMemo
    ) -> Bool {
        if !methodMatches(row.method, head) { return false }
        var at = Int(row.conditions)
        let query = at &+ Int(row.headerCount)
        let end = query &+ Int(row.queryCount)
        while at < query {
            if !headerMatches(conditions[at], head, &memo) { return false }
            at &+= 1
        }
        while at < end {
            if !queryMatches(conditions[at], head) { return false }
            at &+= 1
        }
        return row.pattern < 0 || matches(row.pattern, head.span(head.path))
    }

    // MARK: - Patterns

    /// How many matches of regular expressions met a bound since this copy was made.
    public var patternLimitCount: UInt64 { memory.limitCount }

    /// Whether a whole value matches a pattern.
    func matches(_ pattern: Int32, _ value: Span<UInt8>) -> Bool {
        patterns[Int(pattern)].match(value, memory) == .match
    }
}

/// What a request matched.
public struct RouteMatch: BitwiseCopyable, Sendable, Equatable {
    /// Index of the rule; -1 when nothing matched.
    public let rule: Int32
    /// Bytes of the path that a PathPrefix matched, without a slash at its end; 0 else.
    public let prefixCount: UInt32
    /// Index of the match in `ListenerDescription.matches`; -1 when nothing matched.
    public let match: Int32

    /// Makes a result, for callers that store none yet.
    public init(rule: Int32, prefixCount: UInt32, match: Int32) {
        self.rule = rule
        self.prefixCount = prefixCount
        self.match = match
    }

    /// Nothing matched.
    public static var none: RouteMatch { RouteMatch(rule: -1, prefixCount: 0, match: -1) }
}

/// A listener, compiled.
public struct ListenerRow: BitwiseCopyable, Sendable {
    /// The stable id.
    public let id: UInt32
    /// Whether connections begin with TLS.
    public let isTLS: Bool
    /// What happens to what arrives.
    public let service: ListenerService
    /// The port number of the listener's own specification.
    public let number: UInt16
    /// Index of the TLS configuration; -1 when there is none.
    public let tls: Int32
    /// Connections that were made under another number are not served.
    public let terms: UInt32
    /// Index of the parameters.
    public let parameters: Int32
    /// Whether a match asks for the model that a request names (`ModelField.name`): the content is
    /// read before the rule is chosen.
    public let needsModel: Bool
    /// Hosts of the attached routes.
    let hosts: HostIndex
    /// First row of the one bucket for all hosts and paths; -1 when these matter.
    let only: Int32
    /// All paths, when hosts do not matter and every path is a prefix; else empty.
    let prefixes: PrefixIndex
}

/// A rule, compiled.
public struct RuleRow: BitwiseCopyable, Sendable {
    /// The stable id.
    public let id: UInt32
    /// The metric series of exchanges that did not reach a backend.
    public let series: UInt32
    /// Bound of the whole exchange; 0 for none.
    public let requestTimeoutMilliseconds: UInt32
    /// Bound of one attempt; 0 for none.
    public let backendTimeoutMilliseconds: UInt32
    /// What filters ask for.
    public let flags: RowFlags
    /// The backend, where there is no choice; -1: `Table.backend(rule:random:)` chooses.
    public let onlyBackend: Int32
    /// Index of `Table.retries`; -1 where the rule does not say when it is tried again.
    let retry: Int32
    /// Index of `Table.sessions`; -1 where requests of the rule do not stay together.
    let session: Int32
    /// First backend and number of backends, in `Table.backends`.
    let backends: StepRange
    /// Sum of all weights.
    let weightSum: UInt32
    /// Filters on the request.
    let request: StepRange
    /// Filters on the response.
    let response: StepRange
    /// The CORS policy in `Table.cors`; -1 for none.
    let cors: Int32
    /// Mirrors of this rule.
    let mirrors: StepRange
    /// Index of `Table.authorizations`; -1 where nobody is asked.
    let authorization: Int32

    /// Indexes of the rule's backends in `Table.backends`, those of weight 0 included.
    public var backendRange: Range<Int> { backends.range }

    /// Indexes of its mirrors in `Table.mirrors`.
    public var mirrorRange: Range<Int> { mirrors.range }
}

/// A port, compiled.
@usableFromInline
struct PortRow: BitwiseCopyable, Sendable {
    let id: UInt32
    let transport: Transport
    /// Its listeners in `Table.listeners`.
    let listeners: StepRange
    /// Its listeners without and with TLS.
    let plain: HostIndex
    let tls: HostIndex
    /// The listener of each kind, where hosts do not matter; else -1.
    @usableFromInline let onlyPlain: Int32
    @usableFromInline let onlyTLS: Int32

    init(
        id: UInt32, transport: Transport, listeners: StepRange, plain: HostIndex,
        tls: HostIndex
    ) {
        self.id = id
        self.transport = transport
        self.listeners = listeners
        self.plain = plain
        self.tls = tls
        onlyPlain = plain.only
        onlyTLS = tls.only
    }
}

/// A stable id and where it stands.
struct IDRow: BitwiseCopyable, Sendable {
    let id: UInt32
    let index: Int32
}

/// The paths of one host of one listener; numbers are first rows of buckets in `Table.matches`.
struct HostRow: BitwiseCopyable, Sendable {
    /// Exact paths.
    let exact: TextIndex
    /// Path prefixes without a slash at their end, the root among them.
    let prefixes: PrefixIndex
    /// Matches by regular expression; -1 when there are none.
    let patterns: Int32

    /// Whether every path is a prefix.
    var hasOnlyPrefixes: Bool { exact.isEmpty && patterns < 0 }
}

/// One match in one bucket, or a switch that stands for many.
struct MatchRow: BitwiseCopyable, Sendable {
    /// Index in `Table.switches`; -1 for a match.
    var switchRow: Int32 = -1
    /// Index of the rule.
    var rule: Int32
    /// Index in the listener's description.
    var match: Int32
    /// First condition: those on fields, then those on the query.
    var conditions: UInt32
    var headerCount: UInt16
    var queryCount: UInt16
    /// Pattern of the path; -1 when the index has decided the path.
    var pattern: Int32
    var method: MethodMatch
    /// Whether nothing but host and path is asked.
    var isUnconditional: Bool
    /// Whether the bucket ends here.
    var isLast: Bool
}

/// Neighbours of one bucket that each ask for one value of the same field, found by that value.
///
/// A request has one value of the field, so the order between rows of different values is without
/// meaning; rows of the same value keep theirs, in a bucket of their own.
struct SwitchRow: BitwiseCopyable, Sendable {
    /// The field.
    var name: ArenaRange
    var field: FieldName
    /// Its values; numbers are first rows of buckets.
    var values: TextIndex

    /// Rows from which on a switch is cheaper than to ask one after the other.
    static var rowsMin: Int { 4 }
}
