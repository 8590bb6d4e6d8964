// What it costs to find the rule of a request, and to build and to copy the table, by the number of routes.
//
// Every host has two routes, every route two rules: three paths; one path by a method or by a header.
import BasicContainers
import HTTP
import Routing

private func description(routes: Int) -> TableDescription {
    var matches: [MatchDescription] = []
    var rules: [RuleDescription] = []
    for route in 0..<routes {
        let host = "h\(route / 2).example.com"
        func add(_ path: PathMatch, method: String? = nil, headers: [ValueMatch] = [], rule: Int) {
            matches.append(
                MatchDescription(
                    hostnames: [host], path: path, method: method, headers: headers,
                    rule: 2 * route + rule, age: UInt64(route), route: "ns/r\(route)",
                    ruleIndex: rule, matchIndex: matches.count % 3))
        }
        add(.prefix("/a\(route)/v1"), rule: 0)
        add(.prefix("/a\(route)/v2"), rule: 0)
        add(.exact("/a\(route)/models"), rule: 0)
        add(.prefix("/b\(route)"), method: "POST", rule: 1)
        add(.prefix("/b\(route)"), headers: [ValueMatch(name: "x-tenant", value: "t")], rule: 1)
        for rule in 0..<2 {
            let backend = BackendDescription(target: .cluster(UInt32(route % 100)))
            rules.append(RuleDescription(id: UInt32(2 * route + rule), backends: [backend]))
        }
    }
    let listener = ListenerDescription(id: 1, matches: matches)
    return TableDescription(ports: [PortDescription(id: 1, listeners: [listener])], rules: rules)
}

/// A request to one of the routes: of five, three meet the first rule and two the second.
private func head(_ route: Int, _ kind: Int) -> RequestHead {
    let targets = [
        "/a\(route)/v1/chat/completions", "/a\(route)/v2/x", "/a\(route)/models", "/b\(route)/x",
        "/b\(route)",
    ]
    let text =
        "POST \(targets[kind]) HTTP/1.1\r\nHost: h\(route / 2).example.com\r\n"
        + "x-tenant: t\r\naccept: */*\r\n\r\n"
    var head = RequestHead(limits: .request)
    guard case .complete = head.parse(Array(text.utf8).span) else { fatalError("a valid request") }
    return head
}

/// The least tenth, the median and the largest tenth of batches, in nanoseconds a round.
private func spread(rounds: Int, _ batch: () -> Void) -> [Double] {
    batch()
    let clock = ContinuousClock()
    var times = (0..<100).map { _ in
        let took = clock.measure { batch() }
        return Double(took.components.attoseconds) / 1e9 / Double(rounds)
    }
    times.sort()
    return [times[10], times[50], times[90]]
}

@main enum Matches {
    static func table(_ description: TableDescription) -> Table {
        do { return try TableBuilder(description).build() } catch { fatalError("a good table") }
    }

    @inline(never)
    static func blackHole(_ table: consuming Table) {
        precondition(table.rules.count > 0)
    }

    static func main() {
        let clock = ContinuousClock()
        print("routes\tone request, ns\t\t\t512 requests, ns\t\t\tbuild, ms\tcopy, ms")
        for routes in [10, 1_000, 10_000] {
            let described = description(routes: routes)
            let table = table(described)
            let built = clock.measure { blackHole(Matches.table(described)) }
            let copied = clock.measure { blackHole(table.clone()) }
            var heads = UniqueArray<RequestHead>()
            for index in 0..<512 { heads.append(head(index * 7919 % routes, index % 5)) }
            var found = 0
            let one = spread(rounds: 1_000) {
                for _ in 0..<1_000 { found &+= Int(table.match(listener: 0, head: heads[0]).rule) }
            }
            let many = spread(rounds: 512) {
                for index in 0..<512 {
                    let match = table.match(listener: 0, head: heads[index])
                    guard match.rule >= 0 else { fatalError("every request has a rule") }
                    found &+= Int(match.rule)
                }
            }
            precondition(found > 0)
            func milliseconds(_ duration: Duration) -> String {
                "\((Double(duration.components.attoseconds) / 1e14).rounded() / 10)"
            }
            let row =
                (one + many).map { String(Int($0.rounded())) } + [built, copied].map(milliseconds)
            print("\(routes)\t" + row.joined(separator: "\t"))
        }
    }
}
