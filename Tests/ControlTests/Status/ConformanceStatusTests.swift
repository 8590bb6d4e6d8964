// Proves that the statuses which the official suite expects of routes and Gateways before any
// step are the ones reported, for every case that needs nothing from later work.
import Foundation
import Testing

@testable import Control

@Suite struct ConformanceStatusTests {
    /// Cases that cannot hold yet, each with what it waits for.
    static let waiting = [
    ]

    /// Cases about gateways that do not claim what this one does.
    static let notApplicable: Set = [
        "TLSRouteListenerMixedTerminationNotSupported", "TLSRouteListenerTerminateNotSupported",
    ]

    static let folder: URL = {
        let named = ProcessInfo.processInfo.environment["CONFORMANCE_DIR"]
        return named.map { URL(fileURLWithPath: $0) }
            ?? Documents.root.deletingLastPathComponent().appending(path: "shared/conformance")
    }()

    private static let prefixes = [
        "BackendTLSPolicy", "Gateway", "HTTPRoute", "GRPC", "TLSRoute", "TCPRoute", "UDPRoute",
    ]

    static let cases: [URL] = {
        let files = try? FileManager.default.contentsOfDirectory(
            at: folder.appending(path: "cases"), includingPropertiesForKeys: nil)
        return (files ?? [])
            .filter {
                let name = $0.lastPathComponent
                return name.hasSuffix(".json")
                    && prefixes.contains { name.hasPrefix($0) }
            }
            .sorted { $0.path < $1.path }
    }()

    @Test(
        .enabled(if: !cases.isEmpty, "the suite's cases are not there; CONFORMANCE_DIR names them"),
        arguments: cases)
    func `the statuses of the official suite hold`(file: URL) throws {
        let content = try JSONSerialization.jsonObject(with: Data(contentsOf: file))
        let test = try #require(content as? [String: Any])
        guard test["suite"] as? String == "gateway-api" else { return }
        let name = try #require(test["test"] as? String)
        if Self.notApplicable.contains(name) { return }
        let documents = try Self.documents(of: test)
        let placement = Placement(addresses: ["127.0.0.1"])
        let observations = Documents.served(documents, placement: placement)
        let report = status(documents, placement: placement, observations: observations)
        var judge = StatusJudge(report: report, documents: documents)
        for entry in test["status"] as? [[String: Any]] ?? [] where entry["step"] as? Int ?? 1 == 1
        {
            judge.judge(entry)
        }
        let namespaces = test["namespacesReady"] as? [String] ?? []
        judge.judgeReadiness(of: namespaces)
        if let cause = Self.waiting[name] {
            #expect(!judge.failures.isEmpty, "\(name) holds and need not wait for \(cause)")
        } else {
            #expect(judge.failures == [], "\(name)")
        }
    }

    /// The documents of a case with what its runner adds: a class, addresses, certificates.
    private static func documents(of test: [String: Any]) throws -> DocumentSet {
        var paths = [test["base"] as? String].compactMap { $0 }
        paths += (test["manifests"] as? [String]) ?? [test["manifest"] as? String].compactMap { $0 }
        var text = runnersDocuments
        for path in paths {
            text += "\n---\n"
            text += try String(contentsOf: folder.appending(path: path), encoding: .utf8)
        }
        text = text.replacing("{GATEWAY_CLASS_NAME}", with: "conformance")
            .replacing("{GATEWAY_CONTROLLER_NAME}", with: GatewayClass.ownController)
            .replacing("PLACEHOLDER_USABLE_ADDRS", with: "127.0.0.1")
            .replacing("PLACEHOLDER_UNUSABLE_ADDRS", with: "192.0.2.77")
        var documents = Documents.admitted(text)
        // Each Gateway has an address of its own, as in the suite's clusters.
        var number = 1
        documents.objects = documents.objects.map { object in
            guard var gateway = object.resource as? Gateway, gateway.spec.addresses == nil else {
                return object
            }
            number += 1
            gateway.spec.addresses = [GatewaySpecAddress(type: nil, value: "127.0.1.\(number)")]
            return LocatedObject(
                apiVersion: object.apiVersion, kind: object.kind, namespace: object.namespace,
                name: object.name, resource: gateway, generation: object.generation,
                position: object.position, positions: object.positions, digest: object.digest,
                declaredDigest: object.declaredDigest)
        }
        return documents
    }

    private static var runnersDocuments: String {
        var text = """
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: conformance}
            spec: {controllerName: \(GatewayClass.ownController)}
            """
        let infra = "gateway-conformance-infra"
        let secrets = [
            ("gateway-conformance-web-backend", "certificate"),
            (infra, "tls-validity-checks-certificate"), (infra, "tls-checks-certificate"),
            (infra, "tls-checks-client-certificate"),
            (infra, "tls-validity-checks-client-certificate"),
            (infra, "tls-passthrough-checks-certificate"),
            (infra, "tls-terminate-checks-certificate"),
        ]
        for (namespace, name) in secrets {
            text += """

                ---
                apiVersion: v1
                kind: Secret
                metadata: {name: \(name), namespace: \(namespace)}
                type: kubernetes.io/tls
                data: {tls.crt: \(Documents.certificate), tls.key: \(Documents.key)}
                """
        }
        let authorities = [
            ("gateway-conformance-web-backend", "web-backend-cm"),
            (infra, "tls-validity-checks-ca-certificate"),
            (infra, "tls-validity-checks-per-port-ca-certificate"),
            (infra, "mismatch-ca-certificate"), (infra, "tls-checks-ca-certificate"),
        ]
        for (namespace, name) in authorities {
            text += """

                ---
                apiVersion: v1
                kind: ConfigMap
                metadata: {name: \(name), namespace: \(namespace)}
                binaryData: {ca.crt: \(Documents.base64(Documents.authority))}
                """
        }
        return text
    }
}

/// Compares a report with the entries of a case, as its README says.
private struct StatusJudge {
    let report: StatusReport
    let documents: DocumentSet
    private(set) var failures: [String] = []

    init(report: StatusReport, documents: DocumentSet) {
        self.report = report
        self.documents = documents
    }

    mutating func judge(_ entry: [String: Any]) {
        guard let kind = entry["kind"] as? String, let name = entry["name"] as? String else {
            return
        }
        guard let object = report.object(kind, name) else {
            failures.append("\(kind) \(name) has no status")
            return
        }
        for (section, conditions) in object.status.allConditions {
            for condition in conditions
            where condition.observedGeneration != object.metadata.generation {
                failures.append("\(kind) \(name) \(section): \(condition.type) is of the past")
            }
        }
        if kind.hasSuffix("Route") {
            judgeRoute(entry, object)
        } else if let ancestor = entry["ancestor"] as? String {
            judgePolicy(entry, object, at: ancestor)
        } else {
            compare(entry["conditions"], object.status.conditions ?? [], "\(kind) \(name)")
            if kind == "Gateway" { judgeGateway(entry, object) }
        }
    }

    mutating func judgeReadiness(of namespaces: [String]) {
        for object in report.objects where object.kind == "Gateway" {
            guard namespaces.contains(object.metadata.namespace ?? ""),
                !isSkipped(object)
            else { continue }
            for type in ["Accepted", "Programmed"] {
                let condition = object.status.conditions?[type]
                if condition?.status != .isTrue {
                    failures.append("\(object.reference) is not ready: \(condition?.message ?? "")")
                }
            }
        }
    }

    private func isSkipped(_ object: ObjectStatus) -> Bool {
        let found = documents.objects.first { $0.reference == object.reference }
        let mark = "gateway-api/skip-this-for-readiness"
        return found?.resource.metadata.annotations?[mark] == "true"
    }

    private mutating func judgeRoute(_ entry: [String: Any], _ object: ObjectStatus) {
        let parents = object.status.parents ?? []
        if entry["noAcceptedParents"] as? Bool == true {
            let isRefused =
                parents.count == 1
                && parents[0].conditions["Accepted"]?.status == .isFalse
            if !parents.isEmpty, !isRefused { failures.append("a parent accepts") }
            return
        }
        guard let wanted = entry["parent"] as? String else { return }
        let found = parents.filter {
            "\($0.parentRef.namespace ?? object.metadata.namespace ?? "")/\($0.parentRef.name)"
                == wanted
        }
        if found.isEmpty { failures.append("no parent \(wanted)") }
        for parent in found {
            if parent.controllerName != GatewayClass.ownController {
                failures.append("another controller")
            }
            if let kind = entry["parentKind"] as? String,
                parent.parentRef.kind != kind || parent.parentRef.group != Groups.gateway
                    || parent.parentRef.namespace == nil
            {
                failures.append("the parentRef is not whole")
            }
            compare(entry["conditions"], parent.conditions, "\(object.reference) at \(wanted)")
        }
    }

    private mutating func judgePolicy(
        _ entry: [String: Any], _ object: ObjectStatus, at wanted: String
    ) {
        let found = (object.status.ancestors ?? []).filter {
            "\($0.ancestorRef.namespace ?? "")/\($0.ancestorRef.name)" == wanted
        }
        if found.isEmpty { failures.append("\(object.reference): no ancestor \(wanted)") }
        for ancestor in found {
            if ancestor.controllerName != GatewayClass.ownController {
                failures.append("another controller")
            }
            compare(
                entry["conditions"], ancestor.conditions, "\(object.reference) at \(wanted)")
        }
    }

    private mutating func judgeGateway(_ entry: [String: Any], _ object: ObjectStatus) {
        let listeners = object.status.listeners ?? []
        for listener in listeners {
            compare(entry["everyListener"], listener.conditions, "listener \(listener.name)")
        }
        if let wanted = entry["listeners"] as? [[String: Any]] {
            if Set(listeners.map(\.name)) != Set(wanted.compactMap { $0["name"] as? String }) {
                failures.append("the listeners differ")
            }
            for entry in wanted { judgeListener(entry, listeners) }
        }
        for entry in entry["listenerSubset"] as? [[String: Any]] ?? [] {
            judgeListener(entry, listeners)
        }
        if entry["zeroAttachedRoutes"] as? Bool == true, !listeners.isEmpty,
            listeners.count != 1 || listeners[0].attachedRoutes != 0
        {
            failures.append("routes are attached")
        }
        if entry["hasAddress"] as? Bool == true, object.status.addresses?.isEmpty ?? true {
            failures.append("no address")
        }
    }

    private mutating func judgeListener(
        _ entry: [String: Any], _ listeners: [ListenerStatus]
    ) {
        let name = entry["name"] as? String ?? ""
        guard let listener = listeners.first(where: { $0.name == name }) else {
            failures.append("no listener \(name)")
            return
        }
        if let kinds = entry["supportedKinds"] as? [String] {
            let own = Set(listener.supportedKinds.map(\.kind))
            if kinds.isEmpty ? !own.isEmpty : !own.isSuperset(of: kinds) {
                failures.append("listener \(name) supports \(own)")
            }
        }
        if let count = entry["attachedRoutes"] as? Int, count != listener.attachedRoutes {
            failures.append("listener \(name) has \(listener.attachedRoutes) routes, not \(count)")
        }
        compare(entry["conditions"], listener.conditions, "listener \(name)")
    }

    private mutating func compare(_ wanted: Any?, _ conditions: [Condition], _ place: String) {
        for entry in wanted as? [[String: String]] ?? [] {
            let type = entry["type"] ?? ""
            guard let condition = conditions[type] else {
                failures.append("\(place): no \(type)")
                continue
            }
            let isEqual =
                (entry["status"].map { $0 == condition.status.rawValue } ?? true)
                && (entry["reason"].map { $0 == condition.reason } ?? true)
            if !isEqual {
                failures.append(
                    "\(place): \(type) is \(condition.status.rawValue) \(condition.reason) "
                        + "(\(condition.message)), not \(entry)")
            }
        }
    }
}
