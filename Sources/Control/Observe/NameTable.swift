import Kernel

/// The names that are kept resolved: what is to be asked when, and what came of it.
///
/// No I/O and no clock: questions come out of `takeQuestions`, their outcomes go into `take`, what
/// changed comes out of `takeNews`. A name is asked for in rounds: A and AAAA, or SRV and then A and
/// AAAA of its targets. A round that brings no address changes nothing: the last good ones stay.
struct NameTable {
    /// One question to a DNS server.
    struct Question: Hashable, Sendable {
        /// Never used twice.
        let id: UInt64
        /// The name to ask for: a target of SRV has a last dot, so that no search domain is tried.
        let name: String
        let type: DNSRecordType
    }

    /// What came of a question.
    enum Outcome: Equatable, Sendable {
        case addresses([SocketAddress], ttlSeconds: UInt32)
        case services([DNSService], ttlSeconds: UInt32)
        /// The servers say that there is nothing.
        case nothing(cause: String)
        /// The servers say nothing of use.
        case failed(cause: String)
    }

    /// What others are to be told, in its order.
    enum News: Equatable, Sendable {
        /// The addresses of a name; port 0 but by SRV records. Sorted, IPv4 first.
        case addresses(name: String, [SocketAddress], isFirst: Bool)
        /// The first round of several that bring no address.
        case failing(name: String, cause: String, keeps: Bool)
        /// The first that brings some again.
        case recovered(name: String)
    }

    /// A TTL below is taken as this, so that nobody's zero makes us ask without end.
    static let leastPauseMilliseconds: UInt64 = 1_000
    /// A TTL above is taken as this, so that a record that was wrong is not kept for days.
    static let longestPauseMilliseconds: UInt64 = 300_000
    /// The pause after the first failure; it doubles with each one that follows.
    static let firstRetryMilliseconds: UInt64 = 1_000
    static let longestRetryMilliseconds: UInt64 = 30_000
    /// How long addresses of one family wait for those of the other, so that both are told as one.
    static let familyWaitMilliseconds: UInt64 = 250
    /// Questions that are open at once; names beyond wait their turn.
    static let questionsMax = 256
    /// Targets of one SRV name that are looked at, in the order of their priority.
    static let targetsMax = 16
    /// Addresses that are kept of one name.
    static let addressesMax = 256

    private struct Key: Hashable {
        let host: String
        let type: DNSRecordType
    }

    private struct Entry {
        var nextAt: UInt64
        /// Outcomes that this round waits for; 0: no round is under way.
        var pending = 0
        /// When the addresses that came so far are told, though others are awaited.
        var tellAt: UInt64?
        var outcomes: [Key: Outcome] = [:]
        /// What each question brought when it last brought something.
        var memory: [Key: [SocketAddress]] = [:]
        var services: [DNSService] = []
        /// Rounds in a row in which a question failed.
        var failures = 0
        var isFailing = false
        var told: [SocketAddress]?
    }

    /// A question and which round of which name it is for.
    private struct Asked {
        let question: Question
        let name: String
        let key: Key
    }

    private var entries: [String: Entry] = [:]
    /// Not asked yet, the oldest first.
    private var waiting: [Asked] = []
    private var open: [UInt64: Asked] = [:]
    private var news: [News] = []
    private var lastID: UInt64 = 0

    init() {}

    // MARK: - Names

    /// Takes the names that are wanted now, in small letters; all others are forgotten.
    mutating func follow(_ names: [String], now: UInt64) {
        let wanted = Set(names)
        entries = entries.filter { wanted.contains($0.key) }
        open = open.filter { wanted.contains($0.value.name) }
        waiting.removeAll { !wanted.contains($0.name) }
        for name in wanted where entries[name] == nil { entries[name] = Entry(nextAt: now) }
    }

    /// Lets `takeQuestions` give the open questions once more: whoever was asked has gone.
    mutating func askAgain() {
        waiting = open.values.sorted { $0.question.id < $1.question.id } + waiting
        open = [:]
    }

    /// Whether a name is a service's: `_service._proto.name` (RFC 2782).
    static func isService(_ name: String) -> Bool {
        let labels = name.split(separator: ".", maxSplits: 2)
        return labels.count == 3 && labels[0].hasPrefix("_") && labels[1].hasPrefix("_")
    }

    // MARK: - Asking

    /// The questions to ask now; each is answered once by `take`.
    mutating func takeQuestions(now: UInt64) -> [Question] {
        let due = entries.filter { $0.value.pending == 0 && $0.value.nextAt <= now }
        for name in due.keys.sorted() { begin(name) }
        let count = min(waiting.count, Self.questionsMax - open.count)
        let next = waiting.prefix(count)
        waiting.removeFirst(count)
        for asked in next { open[asked.question.id] = asked }
        return next.map(\.question)
    }

    /// Milliseconds until `takeQuestions` has something new; nil: not before an outcome.
    func delay(now: UInt64) -> UInt64? {
        if !waiting.isEmpty, open.count < Self.questionsMax { return 0 }
        let next = entries.values.lazy.compactMap { $0.pending == 0 ? $0.nextAt : $0.tellAt }.min()
        return next.map { $0 > now ? $0 - now : 0 }
    }

    /// What an open question asks for; nil when nobody wants its outcome any more.
    func type(of id: UInt64) -> DNSRecordType? { open[id]?.key.type }

    private mutating func begin(_ name: String) {
        entries[name]?.outcomes = [:]
        entries[name]?.services = []
        entries[name]?.tellAt = nil
        if Self.isService(name) {
            enter(name, host: name, .srv)
        } else {
            enterAddresses(name, host: name)
        }
    }

    private mutating func enterAddresses(_ name: String, host: String) {
        enter(name, host: host, .a)
        enter(name, host: host, .aaaa)
    }

    private mutating func enter(_ name: String, host: String, _ type: DNSRecordType) {
        lastID += 1
        let question = Question(id: lastID, name: host, type: type)
        waiting.append(
            Asked(question: question, name: name, key: Key(host: host, type: type)))
        entries[name]?.pending += 1
    }

    // MARK: - Outcomes

    /// Takes what came of a question.
    ///
    /// `isReachable` says whether this machine has a way to such an address; it is asked at the end
    /// of a round that brought both families.
    mutating func take(
        _ outcome: Outcome, of id: UInt64, now: UInt64,
        isReachable: (SocketAddress) -> Bool = { _ in true }
    ) {
        guard let asked = open.removeValue(forKey: id), var entry = entries[asked.name] else {
            return
        }
        var outcome = outcome
        switch outcome {
        case .addresses([], _), .services([], _): outcome = .nothing(cause: "it has no addresses")
        case .addresses, .services, .nothing, .failed: break
        }
        entry.outcomes[asked.key] = outcome
        entry.pending -= 1
        var hosts: [String] = []
        if case .services(let services, _) = outcome {
            let best = services.sorted {
                ($0.priority, $0.target, $0.port) < ($1.priority, $1.target, $1.port)
            }
            entry.services = Array(best.prefix(Self.targetsMax))
            hosts = Array(Set(entry.services.map { $0.target + "." })).sorted()
        }
        if case .addresses = outcome, !Self.isService(asked.name) {
            entry.tellAt = now + Self.familyWaitMilliseconds
        }
        entries[asked.name] = entry
        for host in hosts { enterAddresses(asked.name, host: host) }
        if entries[asked.name]?.pending == 0 { finish(asked.name, now, isReachable) }
    }

    /// What changed since the last call.
    mutating func takeNews() -> [News] {
        let taken = news
        news = []
        return taken
    }

    /// Tells addresses that have waited long enough for those of the other family.
    mutating func tellLate(
        now: UInt64, isReachable: (SocketAddress) -> Bool = { _ in true }
    ) {
        for (name, entry) in entries where entry.pending > 0 {
            guard let tellAt = entry.tellAt, tellAt <= now else { continue }
            var memory = entry.memory
            for (key, outcome) in entry.outcomes {
                if case .addresses(let found, _) = outcome { memory[key] = found }
            }
            entries[name]?.tellAt = nil
            tell(name, Self.chosen(name, entry.services, memory, isReachable))
        }
    }

    /// Addresses that came in spite of failures before are news, and so are others than before.
    private mutating func tell(_ name: String, _ addresses: [SocketAddress]) {
        guard let entry = entries[name] else { return }
        if entry.isFailing { news.append(.recovered(name: name)) }
        entries[name]?.isFailing = false
        if addresses == entry.told { return }
        news.append(.addresses(name: name, addresses, isFirst: entry.told == nil))
        entries[name]?.told = addresses
    }

    /// The end of a round.
    private mutating func finish(
        _ name: String, _ now: UInt64, _ isReachable: (SocketAddress) -> Bool
    ) {
        guard var entry = entries[name] else { return }
        var brought = false
        var hasFailed = false
        var seconds = UInt32.max
        var cause = "it has no addresses"
        var memory: [Key: [SocketAddress]] = [:]
        for (key, outcome) in entry.outcomes {
            switch outcome {
            case .addresses(let found, let ttl):
                brought = true
                seconds = min(seconds, ttl)
                memory[key] = found
            case .services(_, let ttl):
                seconds = min(seconds, ttl)
            case .nothing(let words):
                if !hasFailed { cause = words }
            case .failed(let words):
                hasFailed = true
                cause = words
                memory[key] = entry.memory[key]
            }
        }
        entry.failures = brought && !hasFailed ? 0 : entry.failures + 1
        let retry = Self.retryMilliseconds(entry.failures)
        guard brought else {
            entry.nextAt = now + retry
            if !entry.isFailing {
                entry.isFailing = true
                news.append(.failing(name: name, cause: cause, keeps: entry.told != nil))
            }
            entries[name] = entry
            return
        }
        let pause = Self.pauseMilliseconds(ttlSeconds: seconds)
        entry.nextAt = now + (hasFailed ? min(pause, retry) : pause)
        entry.memory = memory
        entries[name] = entry
        tell(name, Self.chosen(name, entry.services, memory, isReachable))
    }

    /// The addresses to use: of a service, those of its best priority that has any (RFC 2782).
    private static func chosen(
        _ name: String, _ services: [DNSService], _ memory: [Key: [SocketAddress]],
        _ isReachable: (SocketAddress) -> Bool
    ) -> [SocketAddress] {
        func addresses(_ host: String, port: UInt16) -> [SocketAddress] {
            let found =
                (memory[Key(host: host, type: .a)] ?? [])
                + (memory[Key(host: host, type: .aaaa)] ?? [])
            return found.map { address in
                var address = address
                address.port = port
                return address
            }
        }
        if !isService(name) { return sorted(addresses(name, port: 0), isReachable) }
        for priority in Set(services.map(\.priority)).sorted() {
            let group = services.filter { $0.priority == priority }
            let found = group.flatMap { addresses($0.target + ".", port: $0.port) }
            if !found.isEmpty { return sorted(found, isReachable) }
        }
        return []
    }

    /// In one order whatever order they came in; each once.
    ///
    /// Addresses that this machine has no way to are left out, unless that leaves none.
    private static func sorted(
        _ addresses: [SocketAddress], _ isReachable: (SocketAddress) -> Bool
    ) -> [SocketAddress] {
        var found = Array(Set(addresses))
        if Set(found.map(\.isIPv6)).count == 2 {
            let near = found.filter(isReachable)
            if !near.isEmpty { found = near }
        }
        let texts = found.map { ($0, $0.hostDescription) }.sorted { a, b in
            if a.0.isIPv6 != b.0.isIPv6 { return !a.0.isIPv6 }
            return (a.1, a.0.port) < (b.1, b.0.port)
        }
        return texts.prefix(addressesMax).map(\.0)
    }

    private static func pauseMilliseconds(ttlSeconds: UInt32) -> UInt64 {
        min(max(UInt64(ttlSeconds) * 1_000, leastPauseMilliseconds), longestPauseMilliseconds)
    }

    private static func retryMilliseconds(_ failures: Int) -> UInt64 {
        let doublings = UInt64(min(max(failures, 1), 16) - 1)
        return min(firstRetryMilliseconds << doublings, longestRetryMilliseconds)
    }
}
