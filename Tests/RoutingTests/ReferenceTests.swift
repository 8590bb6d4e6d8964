// Proves the compiled table against a plain search that follows the specification's words, over
// random tables and requests.

import HTTP
import Testing

@testable import Routing

/// The specification as one sort and one search.
private struct Reference {
    let listener: ListenerDescription

    /// The place of the match that takes a request; nil when there is none.
    func match(_ request: Request) -> Int? {
        let host = request.host
        let path = String(request.target.prefix { $0 != "?" })
        let query =
            request.target.contains("?")
            ? String(request.target.drop { $0 != "?" }.dropFirst()) : ""
        var best: (key: [Int], tie: (String, Int, Int), index: Int)?
        for (index, match) in listener.matches.enumerated() {
            guard let pathKey = key(match.path, path), takes(match, request, query) else {
                continue
            }
            let hostnames = match.hostnames.isEmpty ? [listener.hostname ?? ""] : match.hostnames
            for hostname in hostnames {
                guard let hostKey = key(hostname, host) else { continue }
                let key =
                    hostKey + pathKey + [
                        match.method == nil ? 0 : 1, firsts(match.headers, isFolding: true).count,
                        firsts(match.query, isFolding: false).count,
                        // Older is better.
                        match.age == .max ? -1_000_000 : -Int(match.age),
                    ]
                let tie = (match.route, match.ruleIndex, match.matchIndex)
                guard let known = best else {
                    best = (key, tie, index)
                    continue
                }
                let isBetter =
                    known.key == key ? tie < known.tie : known.key.lexicographicallyPrecedes(key)
                if isBetter { best = (key, tie, index) }
            }
        }
        return best?.index
    }

    /// Characters of a name without and with wildcard; nil when it does not take the host.
    private func key(_ hostname: String, _ host: String) -> [Int]? {
        if hostname.isEmpty { return [0, 0] }
        if !hostname.hasPrefix("*.") {
            return hostname == host ? [hostname.count, hostname.count] : nil
        }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        let wanted = hostname.dropFirst(2).split(separator: ".")
        if labels.count <= wanted.count || labels.suffix(wanted.count) != wanted[...] { return nil }
        return [0, hostname.count]
    }

    /// Exact before pattern before prefix, longer prefixes first; nil when it does not take the
    /// path.
    private func key(_ match: PathMatch, _ path: String) -> [Int]? {
        switch match {
        case .exact(let text): return text == path ? [3, 0] : nil
        case .regularExpression(let text):
            guard let regex = try? Regex(text) else { return nil }
            return (try? regex.wholeMatch(in: path)) != nil && path.wholeMatch(of: regex) != nil
                ? [2, 0] : nil
        case .prefix(let text):
            let wanted = text.split(separator: "/")
            let elements = path.split(separator: "/")
            return elements.prefix(wanted.count) == wanted[...]
                ? [1, wanted.reduce(0) { $0 + $1.count + 1 }] : nil
        }
    }

    private func takes(_ match: MatchDescription, _ request: Request, _ query: String) -> Bool {
        if let method = match.method, method != request.method { return false }
        for condition in firsts(match.headers, isFolding: true) {
            let values = request.headers.filter {
                $0.name.lowercased() == condition.name.lowercased()
            }.map(\.value)
            if values.isEmpty || values.joined(separator: ",") != condition.value { return false }
        }
        let parameters = query.split(separator: "&").map { part in
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (name: String(pair[0]), value: pair.count > 1 ? String(pair[1]) : "")
        }
        for condition in firsts(match.query, isFolding: false) {
            let found = parameters.first { $0.name == condition.name }
            if found?.value != condition.value { return false }
        }
        return true
    }

    private func firsts(_ list: [ValueMatch], isFolding: Bool) -> [ValueMatch] {
        var kept: [ValueMatch] = []
        for item in list {
            let isKnown = kept.contains {
                isFolding
                    ? $0.name.lowercased() == item.name.lowercased() : $0.name == item.name
            }
            if !isKnown { kept.append(item) }
        }
        return kept
    }
}

/// Random tables and requests over few words, so that much of it meets.
private struct Generator {
    var random: SeededRandom
    /// How many matches ask for fields; many make switches.
    var headerPercent = 40
    /// How deep paths go; shallow ones bring many matches together.
    var depthMax = 3

    mutating func pick<T>(_ list: [T]) -> T { list[Int.random(in: list.indices, using: &random)] }
    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    mutating func path(_ depth: ClosedRange<Int>) -> String {
        let count = Int.random(in: depth, using: &random)
        if count == 0 { return "/" }
        return (0..<count).map { _ in "/" + pick(["a", "b", "ab", "v1", "models-of-ai"]) }.joined()
    }

    mutating func host() -> String {
        pick([
            "example.com", "a.example.com", "b.example.com", "x.a.example.com",
            "y.x.a.example.com", "example.org", "com", "aexample.com",
        ])
    }

    mutating func hostname() -> String {
        chance(40)
            ? "*." + pick(["example.com", "a.example.com", "x.a.example.com", "com", "org"])
            : host()
    }

    mutating func match(rule: Int) -> MatchDescription {
        let path: PathMatch =
            switch Int.random(in: 0..<10, using: &random) {
            case 0...2: .exact(path(0...depthMax))
            case 3: .regularExpression(pick(["/a.*", "/[ab]+/?", ".*", "/v1/(a|b)", "/ab(/.*)?"]))
            default: .prefix(path(0...depthMax) + (chance(20) ? "/" : ""))
            }
        let headerCount = chance(headerPercent) ? Int.random(in: 1...3, using: &random) : 0
        let queryCount = chance(25) ? Int.random(in: 1...2, using: &random) : 0
        return MatchDescription(
            hostnames: (0..<Int.random(in: 0...2, using: &random)).map { _ in hostname() },
            path: path,
            method: chance(25) ? pick(["GET", "POST", "PURGE"]) : nil,
            headers: (0..<headerCount).map { _ in
                ValueMatch(
                    name: pick(["x", "X", "y", "content-type", "Accept"]),
                    value: pick(["1", "2", "1,2"]))
            },
            query: (0..<queryCount).map { _ in
                ValueMatch(name: pick(["q", "r", "Q"]), value: pick(["1", "2", ""]))
            },
            rule: rule, age: chance(30) ? .max : UInt64.random(in: 1...3, using: &random),
            route: pick(["a/a", "a/b", "b/a"]), ruleIndex: Int.random(in: 0...2, using: &random),
            matchIndex: rule)
    }

    mutating func listener(matches: Int) -> ListenerDescription {
        ListenerDescription(
            id: 1, hostname: chance(20) ? "*.com" : nil,
            matches: (0..<matches).map { match(rule: $0) })
    }

    mutating func request() -> Request {
        var request = Request(path(0...4), host: host(), method: pick(["GET", "POST", "PURGE"]))
        if chance(10) && request.target != "/" { request.target += "/" }
        if chance(50) {
            let count = Int.random(in: 0...3, using: &random)
            request.target +=
                "?"
                + (0..<count).map { _ in
                    pick(["q", "r", "Q"]) + pick(["=1", "=2", "=", ""])
                }.joined(separator: "&")
        }
        if chance(70) {
            request.headers = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                (pick(["x", "X", "y", "Content-Type", "accept"]), pick(["1", "2"]))
            }
        }
        return request
    }
}

@Suite struct ReferenceTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func `the table finds what the plain search finds`(seed: UInt64) throws {
        var generator = Generator(random: SeededRandom(seed: seed))
        var head = RequestHead()
        var matched = 0
        for round in 0..<60 {
            let count = [1, 3, 10, 40, 150][round % 5]
            generator.headerPercent = round % 2 == 0 ? 40 : 90
            generator.depthMax = round % 3 == 0 ? 1 : 3
            let listener = generator.listener(matches: count)
            let table = try table(
                TableDescription(
                    ports: [PortDescription(id: 1, listeners: [listener])],
                    rules: (0..<count).map { RuleDescription(id: UInt32($0)) }))
            let reference = Reference(listener: listener)
            for _ in 0..<60 {
                let request = generator.request()
                request.read(into: &head)
                let found = table.match(listener: 0, head: head)
                let expected = reference.match(request)
                #expect(
                    Int(found.match) == expected ?? -1,
                    "seed \(seed), round \(round), \(request) in \(listener)")
                if expected != nil { matched += 1 }
            }
        }
        // The words are few enough that most requests meet something, and many do not.
        #expect((1_000...3_400).contains(matched))
    }

    @Test(arguments: [11, 12] as [UInt64])
    func `the listener found is the one that the plain order finds`(seed: UInt64) throws {
        var generator = Generator(random: SeededRandom(seed: seed))
        for _ in 0..<300 {
            let names: [String?] = (0..<Int.random(in: 1...12, using: &generator.random)).map { _ in
                generator.chance(15) ? nil : generator.hostname()
            }
            let listeners = names.enumerated().map {
                ListenerDescription(id: UInt32($0), hostname: $1)
            }
            let table = try table(
                TableDescription(ports: [PortDescription(id: 1, listeners: listeners)]))
            for _ in 0..<20 {
                let host = generator.host()
                let all = listeners.map { listener in
                    var match = match()
                    match.hostnames = [listener.hostname ?? ""]
                    match.route = String(UnicodeScalar(UInt8(0x41 + listener.id)))
                    return match
                }
                let expected = Reference(listener: ListenerDescription(id: 0, matches: all))
                    .match(Request(host: host))
                let found = table.listener(port: 0, host: Array(host.utf8).span, isTLS: false)
                #expect(Int(found) == expected ?? -1, "\(host) in \(names)")
                let head = Request(host: host).head()
                #expect(table.listener(port: 0, head: head, isTLS: false) == found)
            }
        }
    }
}
