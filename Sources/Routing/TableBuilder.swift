import BasicContainers
import HTTP

/// Why a description cannot become a table.
public struct TableError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public enum Reason: Equatable, Sendable {
        /// A regular expression does not compile.
        case pattern(PatternError)
        /// A match names a rule that the description does not have.
        case unknownRule(Int)
    }

    /// What is wrong.
    public let reason: Reason
    /// `namespace/name` of the route.
    public let route: String
    /// Position of the rule in its route.
    public let ruleIndex: Int
    /// Position of the match in its rule.
    public let matchIndex: Int

    public var description: String {
        let place = "\(route) rules[\(ruleIndex)].matches[\(matchIndex)]"
        switch reason {
        case .pattern(let error): return "\(place): \(error)"
        case .unknownRule(let index): return "\(place): there is no rule \(index)"
        }
    }
}

/// Compiles a description into a table; off the hot path, once per change of the documents.
public struct TableBuilder {
    private let description: TableDescription
    private var arena = ArenaBuilder()
    private var indexes = TextIndexesBuilder()
    private var prefixes = PrefixIndexesBuilder()
    private var hosts: [HostRow] = []
    private var matches: [MatchRow] = []
    private var conditions: [ConditionRow] = []
    private var switches: [SwitchRow] = []
    private var steps: [FilterStep] = []
    private var redirects: [RedirectRow] = []
    private var retries: [RetryRule] = []
    private var sessions: [SessionRow] = []
    private var sessionKeys: [SessionKey] = []
    /// Where in `sessionKeys` each list of keys begins.
    private var firstSessionKeys: [[SessionKey]: Int] = [:]
    private var cors: [CORSRow] = []
    private var corsOrigins: [CORSOriginRow] = []
    private var backends: [BackendRow] = []
    private var mirrors: [MirrorRow] = []
    private var authorizations: [AuthorizationRow] = []
    private var fieldNames: [ArenaRange] = []
    private var patterns: [Pattern] = []
    private var patternIndexes: [String: Int32] = [:]

    /// Takes a description.
    public init(_ description: TableDescription) {
        self.description = description
    }

    /// The table; the same description makes the same rows.
    ///
    /// Of several listeners of one port with the same hostname and kind the first is found.
    public func build() throws(TableError) -> Table {
        var builder = self
        return try builder.compile()
    }

    private mutating func compile() throws(TableError) -> Table {
        var ports: [PortRow] = []
        var listeners: [ListenerRow] = []
        for port in description.ports {
            var plain = HostIndexBuilder()
            var tls = HostIndexBuilder()
            let first = listeners.count
            for listener in port.listeners {
                let index = Int32(listeners.count)
                if listener.isTLS {
                    _ = tls.add(listener.hostname, index, &arena)
                } else {
                    _ = plain.add(listener.hostname, index, &arena)
                }
                listeners.append(try row(listener))
            }
            ports.append(
                PortRow(
                    id: port.id, transport: port.transport,
                    listeners: StepRange(
                        start: UInt32(first), count: UInt32(listeners.count - first)),
                    plain: plain.build(&indexes, arena), tls: tls.build(&indexes, arena)))
        }
        let rules = description.rules.map { row($0) }
        let byID = listeners.indices.map { IDRow(id: listeners[$0].id, index: Int32($0)) }
            .sorted { ($0.id, $0.index) < ($1.id, $1.index) }
        return Table(
            listeners: RigidArray(capacity: listeners.count, copying: listeners),
            rules: RigidArray(capacity: rules.count, copying: rules),
            backends: RigidArray(capacity: backends.count, copying: backends),
            mirrors: RigidArray(capacity: mirrors.count, copying: mirrors),
            ports: RigidArray(capacity: ports.count, copying: ports),
            listenersByID: RigidArray(capacity: byID.count, copying: byID),
            hosts: RigidArray(capacity: hosts.count, copying: hosts),
            matches: RigidArray(capacity: matches.count, copying: matches),
            conditions: RigidArray(capacity: conditions.count, copying: conditions),
            switches: RigidArray(capacity: switches.count, copying: switches),
            steps: RigidArray(capacity: steps.count, copying: steps),
            redirects: RigidArray(capacity: redirects.count, copying: redirects),
            retries: RigidArray(capacity: retries.count, copying: retries),
            sessions: RigidArray(capacity: sessions.count, copying: sessions),
            sessionKeys: RigidArray(capacity: sessionKeys.count, copying: sessionKeys),
            cors: RigidArray(capacity: cors.count, copying: cors),
            corsOrigins: RigidArray(capacity: corsOrigins.count, copying: corsOrigins),
            authorizations: RigidArray(capacity: authorizations.count, copying: authorizations),
            fieldNames: RigidArray(capacity: fieldNames.count, copying: fieldNames),
            indexes: indexes.build(),
            prefixes: prefixes.build(),
            arena: arena.build(),
            patterns: patterns)
    }

    // MARK: - Matches

    /// A match with its place in order.
    private struct Ranked {
        let rank: Rank
        var row: MatchRow
    }

    /// The matches of one host, by path.
    private struct HostPaths {
        var exact: [String: [Ranked]] = [:]
        var prefixes: [String: [Ranked]] = [:]
        var patterns: [Ranked] = []
    }

    private mutating func row(_ listener: ListenerDescription) throws(TableError) -> ListenerRow {
        var paths: [String: HostPaths] = [:]
        var names: [String] = []
        for (i, match) in listener.matches.enumerated() {
            let ranked = try compile(match, index: i)
            // Without hostnames a route has those of its listener.
            let hostnames = match.hostnames.isEmpty ? [listener.hostname ?? ""] : match.hostnames
            for name in hostnames {
                if paths[name] == nil { names.append(name) }
                switch match.path {
                case .exact(let path):
                    let path = PathMatch.normal(path)
                    paths[name, default: HostPaths()].exact[path, default: []].append(ranked)
                case .prefix(let path):
                    let path = PathMatch.stripped(prefix: PathMatch.normal(path))
                    paths[name, default: HostPaths()].prefixes[path, default: []].append(ranked)
                case .regularExpression:
                    paths[name, default: HostPaths()].patterns.append(ranked)
                }
            }
        }
        var index = HostIndexBuilder()
        for name in names {
            let host = addHost(paths[name] ?? HostPaths())
            _ = index.add(name, host, &arena)
        }
        let built = index.build(&indexes, arena)
        return ListenerRow(
            id: listener.id, isTLS: listener.isTLS, service: listener.service,
            number: listener.number, tls: listener.tls, terms: listener.terms,
            parameters: listener.parameters,
            needsModel: ModelField.isAsked(for: listener), hosts: built, only: only(built),
            prefixes: onlyPrefixes(built))
    }

    /// The bucket of the root, when no other path and no host matters; else -1.
    private func only(_ index: HostIndex) -> Int32 {
        let prefixes = onlyPrefixes(index)
        if prefixes.root < 0 || prefixes.longest > 0 { return -1 }
        return self.prefixes.slots[Int(prefixes.root)].bucket
    }

    /// The prefixes of every host, when no other path and no host matters; else none.
    private func onlyPrefixes(_ index: HostIndex) -> PrefixIndex {
        if index.only < 0 || !hosts[Int(index.only)].hasOnlyPrefixes { return .empty }
        return hosts[Int(index.only)].prefixes
    }

    /// Adds the rows of one host, paths by their text, so that equal input makes equal rows.
    private mutating func addHost(_ paths: HostPaths) -> Int32 {
        var exact: [(text: ArenaRange, value: Int32)] = []
        for (path, bucket) in paths.exact.sorted(by: { $0.key < $1.key }) {
            exact.append((arena.keep(path), addBucket(bucket)))
        }
        var entries: [PrefixIndexesBuilder.Entry] = []
        for (path, bucket) in paths.prefixes.sorted(by: { $0.key < $1.key }) {
            let first = addBucket(bucket)
            var entry = PrefixIndexesBuilder.Entry(text: arena.keep(path), bucket: first)
            if matches[Int(first)].isUnconditional {
                entry.rule = matches[Int(first)].rule
                entry.match = matches[Int(first)].match
            }
            entries.append(entry)
        }
        let row = HostRow(
            exact: indexes.add(exact, arena), prefixes: prefixes.add(entries, arena),
            patterns: addBucket(paths.patterns))
        hosts.append(row)
        return Int32(hosts.count - 1)
    }

    /// Adds the matches of one path by rank; the first row, or -1 when there is none.
    private mutating func addBucket(_ bucket: [Ranked]) -> Int32 {
        if bucket.isEmpty { return -1 }
        return addRows(bucket.sorted { $0.rank < $1.rank }.map(\.row), without: [])
    }

    /// Adds rows in their order; runs that ask for values of one field become a switch.
    ///
    /// `without` are the fields that switches around these rows have decided.
    private mutating func addRows(
        _ rows: [MatchRow], without decided: Set<ArenaRange>
    ) -> Int32 {
        var bucket: [MatchRow] = []
        var at = 0
        while at < rows.count {
            let (name, count) = longestRun(rows[at...], without: decided)
            if count >= SwitchRow.rowsMin {
                bucket.append(
                    addSwitch(name, Array(rows[at..<(at + count)]), without: decided))
                at += count
            } else {
                bucket.append(rows[at])
                at += 1
            }
        }
        bucket[bucket.count - 1].isLast = true
        let first = matches.count
        matches += bucket
        return Int32(first)
    }

    /// The field that most of the first rows, without a gap, ask an exact value of.
    private func longestRun(
        _ rows: ArraySlice<MatchRow>, without decided: Set<ArenaRange>
    ) -> (name: ArenaRange, count: Int) {
        var best = (name: ArenaRange.empty, count: 0)
        guard let first = rows.first else { return best }
        for condition in headers(of: first)
        where condition.pattern < 0 && !decided.contains(condition.name) {
            let run = rows.prefix { value(of: condition.name, in: $0) != nil }.count
            if run > best.count { best = (condition.name, run) }
        }
        return best
    }

    /// Adds the rows by their values of a field; the row that stands for them.
    private mutating func addSwitch(
        _ name: ArenaRange, _ rows: [MatchRow], without decided: Set<ArenaRange>
    ) -> MatchRow {
        var groups: [ArenaRange: [MatchRow]] = [:]
        var values: [ArenaRange] = []
        for row in rows {
            guard let value = value(of: name, in: row) else {
                preconditionFailure("Every row of a switch asks for a value of its field.")
            }
            if groups[value] == nil { values.append(value) }
            groups[value, default: []].append(row)
        }
        let entries = values.map { value in
            (text: value, value: addRows(groups[value] ?? [], without: decided.union([name])))
        }
        let field = headers(of: rows[0]).first { $0.name == name }?.field ?? .other
        switches.append(
            SwitchRow(name: name, field: field, values: indexes.add(entries, arena)))
        var row = rows[0]
        row.switchRow = Int32(switches.count - 1)
        row.isUnconditional = false
        row.isLast = false
        return row
    }

    private func headers(of row: MatchRow) -> ArraySlice<ConditionRow> {
        conditions[Int(row.conditions)..<(Int(row.conditions) + Int(row.headerCount))]
    }

    /// The exact value that a row asks of a field.
    private func value(of name: ArenaRange, in row: MatchRow) -> ArenaRange? {
        headers(of: row).first { $0.name == name && $0.pattern < 0 }?.value
    }

    private mutating func compile(
        _ match: MatchDescription, index: Int
    ) throws(TableError) -> Ranked {
        if !description.rules.indices.contains(match.rule) {
            throw TableError(.unknownRule(match.rule), match)
        }
        var pattern: Int32 = -1
        if case .regularExpression(let text) = match.path { pattern = try add(text, match) }
        let headers = HeaderModifier.firsts(match.headers, by: \.name)
        var known: Set<String> = []
        let query = match.query.filter { known.insert($0.name).inserted }
        let first = conditions.count
        for header in headers {
            let name = header.name.lowercased()
            try add(header, name, FieldName.recognise(Array(name.utf8).span), match)
        }
        for parameter in query { try add(parameter, parameter.name, .other, match) }
        let method = method(match.method)
        let row = MatchRow(
            rule: Int32(match.rule), match: Int32(index), conditions: UInt32(first),
            headerCount: UInt16(clamping: headers.count), queryCount: UInt16(clamping: query.count),
            pattern: pattern, method: method,
            isUnconditional: headers.isEmpty && query.isEmpty && pattern < 0
                && method.code == MethodMatch.any,
            isLast: false)
        let rank = Rank(match, headerCount: headers.count, queryCount: query.count)
        return Ranked(rank: rank, row: row)
    }

    private mutating func add(
        _ condition: ValueMatch, _ name: String, _ field: FieldName, _ match: MatchDescription
    ) throws(TableError) {
        let isPattern = condition.isRegularExpression
        let pattern = isPattern ? try add(condition.value, match) : -1
        conditions.append(
            ConditionRow(
                name: arena.keep(name), value: isPattern ? .empty : arena.keep(condition.value),
                pattern: pattern, field: field))
    }

    /// The index of a pattern, compiled once for all matches that have it.
    private mutating func add(
        _ pattern: String, _ match: MatchDescription
    ) throws(TableError) -> Int32 {
        if let index = patternIndexes[pattern] { return index }
        do {
            patterns.append(try Pattern(pattern))
        } catch {
            throw TableError(.pattern(error), match)
        }
        let index = Int32(patterns.count - 1)
        patternIndexes[pattern] = index
        return index
    }

    private mutating func method(_ method: String?) -> MethodMatch {
        guard let method else { return MethodMatch(code: MethodMatch.any, text: .empty) }
        let known = Method(token: Array(method.utf8).span)
        return MethodMatch(
            code: known.rawValue, text: known == .other ? arena.keep(method) : .empty)
    }

    // MARK: - Rules

    private mutating func row(_ rule: RuleDescription) -> RuleRow {
        let compiled = compile(rule.filters, hasFailed: rule.hasFailedFilter)
        let first = backends.count
        var sum: UInt32 = 0
        for backend in rule.backends {
            sum = sum &+ min(backend.weight, backendWeightMax)
            backends.append(row(backend, weightUpTo: sum))
        }
        var flags = compiled.flags
        if rule.editsAnswers { flags.insert(.responseFilters) }
        var retry = Int32(-1)
        if let asked = rule.retry {
            flags.insert(.retries)
            retry = Int32(retries.count)
            retries.append(asked)
        }
        var session = Int32(-1)
        if let asked = rule.session {
            // Answers bring the token.
            flags.formUnion([.sessions, .responseFilters])
            session = Int32(sessions.count)
            sessions.append(row(asked))
        }
        let authorization = addAuthorization(rule.filters, &flags)
        return RuleRow(
            id: rule.id, series: rule.series,
            requestTimeoutMilliseconds: rule.requestTimeoutMilliseconds,
            backendTimeoutMilliseconds: rule.backendTimeoutMilliseconds, flags: flags,
            onlyBackend: rule.backends.count == 1 && sum > 0 ? Int32(first) : -1, retry: retry,
            session: session,
            backends: StepRange(start: UInt32(first), count: UInt32(rule.backends.count)),
            weightSum: sum, request: compiled.request, response: compiled.response,
            cors: compiled.cors, mirrors: compiled.mirrors, authorization: authorization)
    }

    /// Adds the row of the first filter that asks; -1 where none does.
    private mutating func addAuthorization(
        _ filters: [FilterDescription], _ flags: inout RowFlags
    ) -> Int32 {
        for case .externalAuth(let asked) in filters {
            flags.insert(.authorizes)
            // A call's answer may have fields for the client.
            if asked.dialect == .grpc { flags.insert(.responseFilters) }
            authorizations.append(asked.row(&arena, &fieldNames))
            return Int32(authorizations.count - 1)
        }
        return -1
    }

    private mutating func row(_ session: SessionRule) -> SessionRow {
        var path = ArenaRange.empty
        var isCookie = false
        if case .cookie(let text) = session.carrier {
            isCookie = true
            path = arena.keep(text)
        }
        return SessionRow(
            name: arena.keep(session.name), path: path, isCookie: isCookie,
            isPermanent: session.isPermanent && session.absoluteSeconds > 0,
            absoluteSeconds: session.absoluteSeconds, idleSeconds: session.idleSeconds,
            key: session.key, secrets: row(session.secrets))
    }

    /// The place of keys, which are kept once for all rules that have the same.
    private mutating func row(_ keys: [SessionKey]) -> StepRange {
        precondition(!keys.isEmpty, "A token is signed with some key.")
        if let first = firstSessionKeys[keys] {
            return StepRange(start: UInt32(first), count: UInt32(keys.count))
        }
        let first = sessionKeys.count
        firstSessionKeys[keys] = first
        sessionKeys += keys
        return StepRange(start: UInt32(first), count: UInt32(keys.count))
    }

    private mutating func row(_ backend: BackendDescription, weightUpTo: UInt32) -> BackendRow {
        let compiled = compile(backend.filters, hasFailed: backend.hasFailedFilter)
        let (kind, value): (BackendRow.Kind, UInt32) =
            switch backend.target {
            case .cluster(let id): (.cluster, id)
            case .status(let status): (.status, UInt32(status))
            }
        var flags = compiled.flags
        if backend.hasRetryBudget { flags.insert(.retryBudget) }
        return BackendRow(
            kind: kind, flags: flags, value: value, series: backend.series,
            weightUpTo: weightUpTo, request: compiled.request, response: compiled.response,
            cors: compiled.cors, mirrors: compiled.mirrors)
    }

    private mutating func compile(
        _ filters: [FilterDescription], hasFailed: Bool
    ) -> (
        flags: RowFlags, request: StepRange, response: StepRange, cors: Int32, mirrors: StepRange
    ) {
        let firstMirror = mirrors.count
        var flags: RowFlags = hasFailed ? .failedFilter : []
        var policy: Int32 = -1
        var request: [FilterStep] = []
        var response: [FilterStep] = []
        for filter in filters {
            switch filter {
            case .requestHeaders(let modifier):
                add(modifier.steps(&arena), &request, &flags)
            case .responseHeaders(let modifier):
                add(modifier.steps(&arena), &response, &flags)
            case .urlRewrite(let rewrite):
                add(rewrite.steps(&arena), &request, &flags)
            case .requestRedirect(let redirect):
                let row = redirect.row(&arena)
                add(row.map { _ in [.redirect(Int32(redirects.count))] }, &request, &flags)
                if let row { redirects.append(row) }
            case .cors(let wanted):
                let row = wanted.row(&arena, &corsOrigins)
                add(row.map { _ in [] }, &request, &flags)
                if let row {
                    policy = Int32(cors.count)
                    cors.append(row)
                    flags.formUnion([.cors, .responseFilters])
                }
            case .requestMirror(let mirror):
                mirrors.append(mirror.row)
                flags.insert(.mirrors)
            case .externalAuth: break  // The rule's own, `addAuthorization`.
            }
        }
        for step in request {
            switch step {
            case .redirect: flags.insert(.redirect)
            case .rewriteHost: flags.insert(.rewritesHost)
            case .rewritePath: flags.insert(.rewritesPath)
            case .setField, .addField, .removeField: break
            }
        }
        if !request.isEmpty { flags.insert(.requestFilters) }
        if !response.isEmpty { flags.insert(.responseFilters) }
        let range = StepRange(
            start: UInt32(firstMirror), count: UInt32(mirrors.count - firstMirror))
        return (flags, keep(request), keep(response), policy, range)
    }

    /// Adds the steps of one filter; a filter that cannot be processed fails the whole list.
    private func add(
        _ new: [FilterStep]?, _ list: inout [FilterStep], _ flags: inout RowFlags
    ) {
        guard let new else {
            flags.insert(.failedFilter)
            return
        }
        list += new
    }

    private mutating func keep(_ list: [FilterStep]) -> StepRange {
        let range = StepRange(start: UInt32(steps.count), count: UInt32(list.count))
        steps += list
        return range
    }
}

extension TableError {
    init(_ reason: Reason, _ match: MatchDescription) {
        self.init(
            reason: reason, route: match.route, ruleIndex: match.ruleIndex,
            matchIndex: match.matchIndex)
    }
}
