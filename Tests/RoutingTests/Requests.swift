// Requests and tables for the tests of this folder.

import BasicContainers
import HTTP

@testable import Routing

/// A request in plain values.
struct Request: Sendable, CustomStringConvertible {
    var method = "GET"
    var host = "example.com"
    var target = "/"
    var headers: [(name: String, value: String)] = []

    init(
        _ target: String = "/", host: String = "example.com", method: String = "GET",
        headers: [(name: String, value: String)] = []
    ) {
        self.method = method
        self.host = host
        self.target = target
        self.headers = headers
    }

    var description: String {
        "\(method) \(host)\(target)" + headers.map { " \($0.name)=\($0.value)" }.joined()
    }

    /// The request as a client sends it.
    var bytes: [UInt8] {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n"
        for header in headers { text += "\(header.name): \(header.value)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    /// Reads the request into a head; traps when it is not a valid one.
    func read(into head: inout RequestHead) {
        let bytes = bytes
        guard case .complete(bytes.count) = head.parse(bytes.span) else {
            preconditionFailure("The request of a test is not valid: \(self)")
        }
    }

    /// The request as a head.
    func head(_ limits: HeadLimits = .request) -> RequestHead {
        var head = RequestHead(limits: limits)
        read(into: &head)
        return head
    }
}

/// The text of some bytes.
func text(_ bytes: borrowing RigidArray<UInt8>) -> String {
    String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self)
}

extension RequestHead {
    /// The text of a range.
    func text(_ range: ByteRange) -> String {
        let span = span(range)
        return String(decoding: span.indices.map { span[$0] }, as: UTF8.self)
    }

    /// The kept lines of a name, in their order.
    func values(_ name: String) -> [String] {
        var found: [String] = []
        for i in 0..<fields.count where !fields[i].isDropped {
            if text(fields[i].name).lowercased() == name { found.append(text(fields[i].value)) }
        }
        return found
    }
}

extension ResponseHead {
    /// The kept lines of a name, in their order.
    func values(_ name: String) -> [String] {
        func text(_ range: ByteRange) -> String {
            let span = span(range)
            return String(decoding: span.indices.map { span[$0] }, as: UTF8.self)
        }
        var found: [String] = []
        for i in 0..<fields.count where !fields[i].isDropped {
            if text(fields[i].name).lowercased() == name { found.append(text(fields[i].value)) }
        }
        return found
    }
}

extension TableDescription {
    /// One port with one listener that takes every host; one rule for each match, in order.
    init(_ matches: [MatchDescription], rules: [RuleDescription]? = nil) {
        let numbered = matches.enumerated().map { i, match in
            var match = match
            if rules == nil { match.rule = i }
            return match
        }
        self.init(
            ports: [
                PortDescription(
                    id: 1, listeners: [ListenerDescription(id: 1, matches: numbered)])
            ],
            rules: rules ?? matches.indices.map { RuleDescription(id: UInt32($0)) })
    }

    /// One listener, one rule that takes every request, with these filters.
    init(
        filters: [FilterDescription], prefix: String = "/", isTLS: Bool = false,
        number: UInt16 = 80, backends: [BackendDescription] = []
    ) {
        let match = MatchDescription(path: .prefix(prefix), rule: 0)
        self.init(
            ports: [
                PortDescription(
                    id: 1,
                    listeners: [
                        ListenerDescription(
                            id: 1, isTLS: isTLS, number: number, matches: [match])
                    ])
            ],
            rules: [RuleDescription(id: 1, filters: filters, backends: backends)])
    }
}

extension Table {
    /// The rule of a request at the first listener; -1 when there is none.
    func rule(_ request: Request) -> Int32 {
        let head = request.head()
        return match(listener: 0, head: head).rule
    }
}

/// The table of a description that is known to be good.
func table(_ description: TableDescription) throws -> Table {
    try TableBuilder(description).build()
}

/// A match for the tables of these tests; the rule is given by its place.
func match(
    _ path: PathMatch = .prefix("/"), hosts: [String] = [], method: String? = nil,
    headers: [(String, String)] = [], query: [(String, String)] = [], age: UInt64 = .max,
    route: String = "ns/route", ruleIndex: Int = 0, matchIndex: Int = 0
) -> MatchDescription {
    MatchDescription(
        hostnames: hosts, path: path, method: method,
        headers: headers.map { ValueMatch(name: $0.0, value: $0.1) },
        query: query.map { ValueMatch(name: $0.0, value: $0.1) }, rule: 0, age: age,
        route: route, ruleIndex: ruleIndex, matchIndex: matchIndex)
}

/// Numbers that follow from a seed (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
