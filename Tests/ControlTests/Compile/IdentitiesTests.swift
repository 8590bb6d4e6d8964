// Proves that ids stay with what they name through reloads, and that none is given twice.
import Routing
import Telemetry
import Testing

@testable import Control

@Suite struct IdentitiesTests {
    private static func text(routes: [String], port: Int = 80) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gw}
        spec: {gatewayClassName: x, listeners: [{name: http, port: \(port), protocol: HTTP}]}
        ---
        apiVersion: ai-gateway.dev/v1alpha1
        kind: Backend
        metadata: {name: ollama}
        spec: {endpoints: [{address: 127.0.0.1, port: 11434}]}

        """
            + routes.map {
                """
                ---
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata: {name: \($0)}
                spec:
                  parentRefs: [{name: gw}]
                  rules: [{name: main, backendRefs: [{group: ai-gateway.dev, kind: Backend, name: ollama}]}]

                """
            }.joined()
    }

    private static func compiled(_ text: String, _ identities: inout Identities) -> Compiled {
        compile(status(Documents.admitted(text)), &identities)
    }

    private static func rules(_ compiled: Compiled) -> [String: UInt32] {
        var ids: [String: UInt32] = [:]
        for match in compiled.table.ports.flatMap(\.listeners).flatMap(\.matches) {
            ids[match.route] = compiled.table.rules[match.rule].id
        }
        return ids
    }

    @Test func `the same documents give the same description`() {
        var one = Identities()
        var two = Identities()
        let text = Self.text(routes: ["a", "b", "c"])
        let first = Self.compiled(text, &one)
        #expect(first.table == Self.compiled(text, &two).table)
        #expect(first.table == Self.compiled(text, &one).table)
        #expect(first.sockets == Self.compiled(text, &one).sockets)
    }

    @Test func `a rule keeps its id while others come and go`() {
        var identities = Identities()
        let before = Self.rules(Self.compiled(Self.text(routes: ["b", "c"]), &identities))
        let after = Self.rules(Self.compiled(Self.text(routes: ["a", "c"]), &identities))
        #expect(before["default/c"] == after["default/c"])
        #expect(!before.values.contains(after["default/a"] ?? 0))
        let again = Self.rules(Self.compiled(Self.text(routes: ["b"]), &identities))
        #expect(again["default/b"] == before["default/b"])
    }

    @Test func `a listener on another port is another listener`() {
        var identities = Identities()
        let before = Self.compiled(Self.text(routes: []), &identities)
        let after = Self.compiled(Self.text(routes: [], port: 81), &identities)
        #expect(before.table.ports[0].id != after.table.ports[0].id)
        #expect(before.table.ports[0].listeners[0].id != after.table.ports[0].listeners[0].id)
    }

    @Test func `series have names and never the id of no series`() {
        var identities = Identities()
        let compiled = Self.compiled(Self.text(routes: ["a"]), &identities)
        let rule = compiled.table.rules[0]
        #expect(rule.series != 0 && rule.backends[0].series != 0)
        let names = identities.seriesNames
        #expect(names[rule.series].gateway == "default/gw")
        #expect(names[rule.series].listener == "http")
        #expect(names[rule.series].route == "default/a")
        #expect(names[rule.series].rule == "main")
        #expect(names[rule.series].backend == "")
        #expect(names[rule.backends[0].series].backend == "default/ollama")
        let listener = compiled.table.ports[0].listeners[0].id
        #expect(names.listener(listener) == SeriesLabels(gateway: "default/gw", listener: "http"))
    }

    @Test func `routes of one name and of two kinds are told apart`() {
        var identities = Identities()
        var kinds: [UInt32] = []
        for kind in ["HTTPRoute", "GRPCRoute", "HTTPRoute"] {
            let text = Self.text(routes: ["a"]).replacing("kind: HTTPRoute", with: "kind: \(kind)")
            kinds += Self.rules(Self.compiled(text, &identities)).values
        }
        #expect(kinds[0] != kinds[1] && kinds[0] == kinds[2])
    }

    @Test func `a listener that serves something else is another one`() {
        var identities = Identities()
        func ids(_ proto: String) -> [UInt32] {
            let text = Self.text(routes: []).replacing("protocol: HTTP}", with: "\(proto)}")
            let ports = Self.compiled(text, &identities).table.ports
            return [ports[0].id, ports[0].listeners[0].id]
        }
        let http = ids("protocol: HTTP")
        let tcp = ids("protocol: TCP")
        let sealed = ids("protocol: TLS, tls: {mode: Passthrough}")
        let udp = ids("protocol: UDP")
        #expect(http[0] == tcp[0] && tcp[0] == sealed[0] && udp[0] != tcp[0])
        #expect(Set([http, tcp, sealed, udp].map { $0[1] }).count == 4)
    }
}
