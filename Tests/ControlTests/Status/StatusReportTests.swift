// Proves what a report keeps over time, and that certificates' states reach it.
import Testing

@testable import Control

@Suite struct StatusReportTests {
    private static func text(section: String, generation: Int = 1) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gw}
        spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: a, generation: \(generation)}
        spec:
          parentRefs: [{name: gw}]
          hostnames: [a.example.com]
          rules: [{backendRefs: [{name: \(section), port: 80}]}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {ports: [{port: 80}]}
        """
    }

    private static func conditions(_ report: StatusReport) -> [Condition] {
        report.object("HTTPRoute", "a")?.status.parents?.first?.conditions ?? []
    }

    @Test func `a condition keeps its time until its status changes`() {
        let first = status(
            Documents.admitted(Self.text(section: "web")), observations: Observations(now: 0))
        #expect(
            Self.conditions(first)["ResolvedRefs"]?.lastTransitionTime == "1970-01-01T00:00:00Z")
        let same = status(
            Documents.admitted(Self.text(section: "web", generation: 2)),
            observations: Observations(now: 60, previous: first.objects))
        let kept = Self.conditions(same)["ResolvedRefs"]
        #expect(kept?.lastTransitionTime == "1970-01-01T00:00:00Z")
        #expect(kept?.observedGeneration == 2)
        let broken = status(
            Documents.admitted(Self.text(section: "wbe", generation: 3)),
            observations: Observations(now: 120, previous: same.objects))
        let changed = Self.conditions(broken)
        #expect(changed["ResolvedRefs"]?.lastTransitionTime == "1970-01-01T00:02:00Z")
        #expect(changed["ResolvedRefs"]?.reason == "BackendNotFound")
        #expect(changed["Accepted"]?.lastTransitionTime == "1970-01-01T00:00:00Z")
    }

    @Test(arguments: ["port: 80000", "port: 80, hostnam: a.example"])
    func `a gateway that is refused as a whole is not called missing by its routes`(
        fault: String
    ) throws {
        let text = Self.text(section: "web").replacing(
            "port: 80, protocol", with: "\(fault), protocol")
        let documents = Admission.admit(Documents.read(text))
        let problem = try #require(documents.problems.first { $0.severity == .error })
        #expect(problem.object?.description == "Gateway default/gw")
        let accepted = Self.conditions(status(documents))["Accepted"]
        #expect(accepted?.reason == "NoMatchingParent")
        #expect(
            accepted?.message
                == "spec.parentRefs[0].name: Gateway default/gw is there, but refused as it is "
                + "written: \(problem.fieldPath): \(problem.message)")
    }

    @Test func `without a clock no time is told`() {
        let report = status(Documents.admitted(Self.text(section: "web")))
        #expect(Self.conditions(report).allSatisfy { $0.lastTransitionTime == nil })
    }

    @Test func `a gateway that is served again says since when`() {
        let documents = Documents.admitted(Self.text(section: "web"))
        let place = ListenPlace(address: nil, port: 80)
        let down = status(
            documents, observations: Observations(now: 0, listening: [place: .inUse]))
        let up = status(
            documents,
            observations: Observations(
                now: 5, listening: [place: .listening], localAddresses: ["192.0.2.1", "127.0.0.1"],
                previous: down.objects))
        let gateway = up.object("Gateway", "gw")?.status
        #expect(gateway?.conditions?["Programmed"]?.status == .isTrue)
        #expect(
            gateway?.conditions?["Programmed"]?.lastTransitionTime == "1970-01-01T00:00:05Z")
        #expect(gateway?.addresses == [GatewayStatusAddress(type: "IPAddress", value: "192.0.2.1")])
        #expect(gateway?.listeners?.first?.conditions["Programmed"]?.status == .isTrue)
    }

    // MARK: - Certificates

    private static let secure = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gw}
        spec:
          gatewayClassName: x
          listeners:
          - {name: one, port: 443, protocol: HTTPS, hostname: a.com, tls: {certificateRefs: [{name: one}]}}
          - {name: two, port: 443, protocol: HTTPS, hostname: b.com, tls: {certificateRefs: [{name: two}]}}
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: one}
        data: {tls.crt: \(Documents.certificate), tls.key: \(Documents.key)}
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: two}
        data: {tls.crt: \(Documents.certificate), tls.key: \(Documents.key)}
        """

    private static func listeners(
        _ outcomes: [String: CertificateObservation.Outcome], stale: Bool = false
    ) -> [ListenerStatus] {
        let documents = Documents.admitted(secure)
        var certificates: [NamespacedName: CertificateObservation] = [:]
        for object in documents.objects {
            guard let outcome = outcomes[object.name] else { continue }
            certificates[NamespacedName(object)] = CertificateObservation(
                digest: stale ? 0 : object.digest, outcome: outcome)
        }
        let report = status(
            documents, observations: Observations(now: 1_000, certificates: certificates))
        return report.object("Gateway", "gw")?.status.listeners ?? []
    }

    @Test func `a certificate that cannot be used is an invalid reference`() {
        let refused = Self.listeners(["one": .unusable("tls.key does not belong to it")])
        let condition = refused[0].conditions["ResolvedRefs"]
        #expect(condition?.reason == "InvalidCertificateRef")
        #expect(condition?.message.contains("Secret default/one: tls.key does not belong") == true)
        #expect(refused[0].conditions["Programmed"]?.status == .isFalse)
        #expect(refused[1].conditions["ResolvedRefs"]?.status == .isTrue)
    }

    @Test func `what was seen of an older Secret does not count`() {
        let listeners = Self.listeners(["one": .unusable("old")], stale: true)
        #expect(listeners[0].conditions["ResolvedRefs"]?.status == .isTrue)
    }

    @Test func `a certificate past its end is told and used`() {
        let listeners = Self.listeners([
            "one": .usable(names: ["a.com"], notBefore: 0, notAfter: 999),
            "two": .usable(names: ["b.com"], notBefore: 2_000, notAfter: 9_000),
        ])
        let one = listeners[0].conditions["ResolvedRefs"]
        #expect(one?.status == .isTrue)
        #expect(one?.message.contains("ended on 1970-01-01T00:16:39Z") == true)
        let two = listeners[1].conditions["ResolvedRefs"]
        #expect(two?.message.contains("begins on 1970-01-01T00:33:20Z") == true)
    }

    @Test func `certificates for some of the same names overlap`() {
        let listeners = Self.listeners([
            "one": .usable(names: ["*.a.com", "a.com"], notBefore: 0, notAfter: 9_000),
            "two": .usable(names: ["x.a.com"], notBefore: 0, notAfter: 9_000),
        ])
        #expect(
            listeners.map { $0.conditions["OverlappingTLSConfig"]?.reason }
                == ["OverlappingCertificates", "OverlappingCertificates"])
    }
}
