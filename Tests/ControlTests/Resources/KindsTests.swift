// Proves that every kind is read in every version, that unknown values of enumerations are kept,
// and that unknown fields of the API's types are told.
import Testing

@testable import Control

@Suite struct KindsTests {
    static let kinds: [any Resource.Type] = [
        GatewayClass.self, Gateway.self, ListenerSet.self, HTTPRoute.self, GRPCRoute.self,
        TLSRoute.self, TCPRoute.self, UDPRoute.self, ReferenceGrant.self, BackendTLSPolicy.self,
        Namespace.self, Service.self, EndpointSlice.self, Pod.self, Secret.self, ConfigMap.self,
        ServiceImport.self, InferencePool.self, InferenceObjective.self,
        InferenceModelRewrite.self, Backend.self, GatewayParameters.self, TrafficPolicy.self,
    ]

    @Test func `every kind is found in each of its versions and in no other`() {
        for type in Self.kinds {
            for group in type.groups {
                for version in group.versions {
                    let match = KindRegistry.all.match(
                        group: group.name, version: version, kind: type.kind)
                    guard case .type(let found) = match else {
                        Issue.record("\(group.name)/\(version) \(type.kind) is not found")
                        continue
                    }
                    #expect(ObjectIdentifier(found) == ObjectIdentifier(type))
                }
                let match = KindRegistry.all.match(
                    group: group.name, version: "v9", kind: type.kind)
                guard case .unknownVersion = match else {
                    Issue.record("\(group.name)/v9 \(type.kind) is found")
                    continue
                }
            }
        }
    }

    @Test(arguments: ["v1", "v1beta1", "v1alpha2"])
    func `the versions of a route are read alike`(version: String) throws {
        let documents = Documents.admitted(
            """
            apiVersion: gateway.networking.k8s.io/\(version)
            kind: HTTPRoute
            metadata: {name: a, namespace: ai}
            spec: {rules: [{matches: [{path: {value: /x}}]}]}
            """)
        let route = try #require(documents.objects.first?.resource as? HTTPRoute)
        #expect(route.spec.rules?.first?.matches?.first?.path?.value == "/x")
    }

    @Test func `an unknown value of an enumeration is kept as it is written`() throws {
        let documents = Documents.admitted(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: a}
            spec:
              rules:
              - matches: [{path: {type: Glob, value: /x}, method: FETCH}]
                filters: [{type: Compress}]
            """)
        let route = try #require(documents.objects.first?.resource as? HTTPRoute)
        let rule = try #require(route.spec.rules?.first)
        #expect(rule.matches?.first?.path?.type?.rawValue == "Glob")
        #expect(rule.matches?.first?.path?.type?.isKnown == false)
        #expect(rule.matches?.first?.method?.rawValue == "FETCH")
        #expect(rule.filters?.first?.type.rawValue == "Compress")
    }

    @Test func `a field that a type of the API lacks is a problem with the nearest name`() {
        let documents = Documents.read(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: a}
            spec:
              rules:
              - backendRefs: [{name: web, prot: 80}]
            """)
        #expect(
            documents.problems.map(\.description) == [
                "test.yaml:6:31: HTTPRoute default/a spec.rules[0].backendRefs[0].prot: "
                    + "unknown field; did you mean \"port\"?"
            ])
        #expect(documents.objects.isEmpty)
    }

    @Test func `fields that we do not use are no problem in a cluster's own kinds`() {
        let documents = Documents.admitted(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: a}
            spec: {sessionAffinity: None, internalTrafficPolicy: Cluster, ports: [{port: 80, nodePort: 30080}]}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: a}
            spec: {nodeName: n, containers: [{name: a, image: b, ports: [{containerPort: 80, hostPort: 80}]}]}
            status: {podIP: 192.0.2.1, hostIP: 192.0.2.2}
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: a}
            addressType: IPv4
            endpoints: [{addresses: [192.0.2.1], nodeName: n, hints: {forZones: []}}]
            """)
        #expect(documents.objects.count == 3)
    }

    @Test func `a port is a number or a name`() throws {
        let documents = Documents.admitted(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: a}
            spec: {ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: http}]}
            """)
        let service = try #require(documents.objects.first?.resource as? Service)
        #expect(service.spec.ports?.map(\.targetPort) == [.int(8080), .string("http")])
    }

    struct Selection: Sendable, CustomTestStringConvertible {
        let selector: LabelSelector
        let takes: Bool
        var testDescription: String { "\(selector)" }
    }

    private static func requirement(
        _ key: String, _ name: String, _ values: String...
    ) -> LabelSelector {
        LabelSelector(matchExpressions: [
            LabelSelectorRequirement(key: key, operator: .init(rawValue: name), values: values)
        ])
    }

    static let selections: [Selection] = [
        Selection(selector: LabelSelector(), takes: true),
        Selection(selector: LabelSelector(matchLabels: ["team": "blue"]), takes: true),
        Selection(selector: LabelSelector(matchLabels: ["team": "red"]), takes: false),
        Selection(selector: LabelSelector(matchLabels: ["none": ""]), takes: false),
        Selection(selector: requirement("team", "In", "red", "blue"), takes: true),
        Selection(selector: requirement("team", "In", "red"), takes: false),
        Selection(selector: requirement("none", "In", "red"), takes: false),
        Selection(selector: requirement("team", "NotIn", "red"), takes: true),
        Selection(selector: requirement("team", "NotIn", "blue"), takes: false),
        Selection(selector: requirement("none", "NotIn", "blue"), takes: true),
        Selection(selector: requirement("team", "Exists"), takes: true),
        Selection(selector: requirement("none", "Exists"), takes: false),
        Selection(selector: requirement("none", "DoesNotExist"), takes: true),
        Selection(selector: requirement("team", "DoesNotExist"), takes: false),
        Selection(selector: requirement("team", "Is", "blue"), takes: false),
    ]

    @Test(arguments: selections)
    func `selectors take labels as the API says`(selection: Selection) {
        #expect(selection.selector.matches(["team": "blue", "x": "y"]) == selection.takes)
    }
}
