// Proves that documents come to the same conditions, problems and rows as in the golden files
// beside them, and that these cover every reason of the API that can occur.
//
// `GOLDEN_UPDATE=1 swift test --filter GoldenTests` writes the files anew; read the difference.
import Foundation
import Testing

@testable import Control

@Suite struct GoldenTests {
    static let folder = Documents.root.appending(path: "Tests/ControlTests/Golden")

    /// A pair's documents, with what their first lines say about the process.
    struct Sample: Sendable, CustomTestStringConvertible {
        let name: String
        let text: String
        var testDescription: String { name }

        /// `# check`: nothing is served.
        var isCheck: Bool { text.contains("# check\n") }

        /// `# address 127.0.0.9`, `# bind 80=8080`.
        var placement: Placement {
            var placement = Placement()
            for words in lines {
                if words[0] == "address" { placement.addresses.append(words[1]) }
                if words[0] == "bind" {
                    let ports = words[1].split(separator: "=").compactMap { UInt16($0) }
                    placement.boundPorts[ports[0]] = ports[1]
                }
            }
            return placement
        }

        /// `# socket *:81 inUse`.
        var outcomes: [ListenPlace: ListenOutcome] {
            var outcomes: [ListenPlace: ListenOutcome] = [:]
            for words in lines where words[0] == "socket" {
                let parts = words[1].split(separator: ":")
                let address = parts[0] == "*" ? nil : String(parts[0])
                let place = ListenPlace(address: address, port: UInt16(parts[1]) ?? 0)
                switch words[2] {
                case "inUse": outcomes[place] = .inUse
                case "denied": outcomes[place] = .denied
                case "notLocal": outcomes[place] = .notLocal
                default: outcomes[place] = .failed(words[2])
                }
            }
            return outcomes
        }

        /// `# names ai/cert a.example b.example`: what a Secret's certificate was found to be good for.
        func certificates(
            _ documents: DocumentSet
        ) -> [NamespacedName: CertificateObservation] {
            var certificates: [NamespacedName: CertificateObservation] = [:]
            for words in lines where words[0] == "names" {
                guard
                    let secret = documents.objects.first(where: {
                        $0.kind == "Secret" && NamespacedName($0).description == words[1]
                    })
                else { continue }
                certificates[NamespacedName(secret)] = CertificateObservation(
                    digest: secret.digest,
                    outcome: .usable(
                        names: Array(words.dropFirst(2)), notBefore: 0, notAfter: .max))
            }
            return certificates
        }

        private var lines: [[String]] {
            text.split(separator: "\n").prefix { $0.hasPrefix("# ") }
                .map { $0.dropFirst(2).split(separator: " ").map(String.init) }
        }
    }

    static let samples: [Sample] = {
        let files = try? FileManager.default.contentsOfDirectory(
            at: folder, includingPropertiesForKeys: nil)
        return (files ?? []).filter { $0.pathExtension == "yaml" }
            .sorted { $0.path < $1.path }
            .compactMap { file in
                let text = try? String(contentsOf: file, encoding: .utf8)
                let name = file.deletingPathExtension().lastPathComponent
                return text.map { Sample(name: name, text: $0) }
            }
    }()

    static func report(of sample: Sample) -> (documents: DocumentSet, report: StatusReport) {
        let read = Documents.read(sample.text, file: "\(sample.name).yaml")
        let documents = Admission.admit(read)
        let observations =
            sample.isCheck
            ? nil
            : Documents.served(
                documents, placement: sample.placement, except: sample.outcomes,
                certificates: sample.certificates(documents))
        let report = status(documents, placement: sample.placement, observations: observations)
        return (documents, report)
    }

    @Test func `there are samples`() {
        #expect(Self.samples.count > 10)
    }

    @Test(arguments: samples)
    func `documents come to the conditions of their golden file`(sample: Sample) throws {
        let (documents, report) = Self.report(of: sample)
        let check = CheckReport(documents, report)
        let problems = check.problems.map { "\($0)\n" }.joined()
        try Self.compare(
            problems + "\n" + StatusText.text(report.objects), with: "\(sample.name).status")
        #expect(
            check.isClean == !(report.hasFaults || check.problems.contains(where: Self.isError)))
    }

    private static func isError(_ problem: ConfigProblem) -> Bool { problem.severity == .error }

    @Test(arguments: samples)
    func `documents come to the rows of their golden file`(sample: Sample) throws {
        let (_, report) = Self.report(of: sample)
        var identities = Identities()
        let compiled = compile(report, &identities)
        try Self.compare(
            TableText.text(compiled, &identities), with: "\(sample.name).table")
    }

    private static func compare(_ text: String, with name: String) throws {
        let file = folder.appending(path: name)
        if ProcessInfo.processInfo.environment["GOLDEN_UPDATE"] == "1" {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        let golden = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
        let ours = text.split(separator: "\n", omittingEmptySubsequences: false)
        let theirs = golden.split(separator: "\n", omittingEmptySubsequences: false)
        for (number, (line, wanted)) in zip(ours, theirs).enumerated() where line != wanted {
            Issue.record("\(name):\(number + 1): \(line)\nwanted: \(wanted)")
            return
        }
        #expect(ours.count == theirs.count, "\(name) has another number of lines")
    }

    // MARK: - Coverage

    /// Kind, condition, status and reasons: all of `gateway-api.md` §16, and what is our own.
    ///
    /// An `entry` is a ListenerSet's listener.
    static let reasons = ofObjects + ofEachRoute

    typealias Reasons = (kind: String, type: String, status: String, reasons: [String])

    private static let ofObjects: [Reasons] = [
        ("GatewayClass", "Accepted", "True", ["Accepted"]),
        (
            "GatewayClass", "Accepted", "False",
            ["InvalidParameters", "Pending", "Unsupported", "Waiting"]
        ),
        ("GatewayClass", "SupportedVersion", "True", ["SupportedVersion"]),
        ("GatewayClass", "SupportedVersion", "False", ["UnsupportedVersion"]),
        ("Gateway", "Accepted", "True", ["Accepted", "ListenersNotValid"]),
        (
            "Gateway", "Accepted", "False",
            [
                "ListenersNotValid", "Invalid", "InvalidParameters", "UnsupportedAddress",
                "Pending",
            ]
        ),
        ("Gateway", "Programmed", "True", ["Programmed"]),
        (
            "Gateway", "Programmed", "False",
            ["Invalid", "NoResources", "AddressNotAssigned", "AddressNotUsable"]
        ),
        ("Gateway", "Programmed", "Unknown", ["Pending"]),
        ("Gateway", "ResolvedRefs", "True", ["ResolvedRefs"]),
        (
            "Gateway", "ResolvedRefs", "False",
            ["RefNotPermitted", "InvalidClientCertificateRef", "ListenersNotResolved"]
        ),
        ("Gateway", "InsecureFrontendValidationMode", "True", ["ConfigurationChanged"]),
        ("listener", "Accepted", "True", ["Accepted"]),
        (
            "listener", "Accepted", "False",
            [
                "PortUnavailable", "UnsupportedProtocol", "NoValidCACertificate",
                "UnsupportedValue", "HostnameConflict", "ProtocolConflict", "Pending",
            ]
        ),
        ("listener", "ResolvedRefs", "True", ["ResolvedRefs"]),
        (
            "listener", "ResolvedRefs", "False",
            [
                "InvalidCertificateRef", "InvalidRouteKinds", "RefNotPermitted",
                "InvalidCACertificateRef", "InvalidCACertificateKind",
            ]
        ),
        ("listener", "Programmed", "True", ["Programmed"]),
        ("listener", "Programmed", "False", ["Invalid"]),
        ("listener", "Programmed", "Unknown", ["Pending"]),
        ("listener", "Conflicted", "False", ["NoConflicts"]),
        ("listener", "Conflicted", "True", ["HostnameConflict", "ProtocolConflict"]),
        (
            "listener", "OverlappingTLSConfig", "True",
            ["OverlappingHostnames", "OverlappingCertificates"]
        ),
        ("ListenerSet", "Accepted", "True", ["Accepted", "ListenersNotValid"]),
        (
            "ListenerSet", "Accepted", "False",
            ["NotAllowed", "ParentNotAccepted", "ListenersNotValid", "Invalid", "Pending"]
        ),
        ("ListenerSet", "Programmed", "True", ["Programmed"]),
        (
            "ListenerSet", "Programmed", "False",
            ["NotAllowed", "ParentNotAccepted", "ListenersNotValid", "Invalid"]
        ),
        ("ListenerSet", "Programmed", "Unknown", ["Pending"]),
        ("entry", "Accepted", "True", ["Accepted"]),
        (
            "entry", "Accepted", "False",
            [
                "UnsupportedProtocol", "TooManyListeners", "PortUnavailable", "HostnameConflict",
                "ProtocolConflict", "NoValidCACertificate",
            ]
        ),
        ("entry", "Programmed", "True", ["Programmed"]),
        (
            "entry", "Programmed", "False",
            ["PortUnavailable", "Invalid", "HostnameConflict", "ProtocolConflict"]
        ),
        ("entry", "Programmed", "Unknown", ["Pending"]),
        ("entry", "ResolvedRefs", "True", ["ResolvedRefs"]),
        (
            "entry", "ResolvedRefs", "False",
            [
                "InvalidCertificateRef", "InvalidRouteKinds", "RefNotPermitted",
                "InvalidCACertificateRef",
            ]
        ),
        ("entry", "Conflicted", "False", ["NoConflicts"]),
        (
            "entry", "Conflicted", "True",
            ["HostnameConflict", "ProtocolConflict", "ListenerConflict"]
        ),
        ("HTTPRoute", "Accepted", "False", ["IncompatibleFilters"]),
        ("HTTPRoute", "PartiallyInvalid", "True", ["UnsupportedValue", "IncompatibleFilters"]),
        ("GRPCRoute", "Accepted", "False", ["IncompatibleFilters", "HostnameConflict"]),
        ("GRPCRoute", "PartiallyInvalid", "True", ["UnsupportedValue"]),
        (
            "TLSRoute", "Accepted", "False",
            ["NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent"]
        ),
        ("TLSRoute", "Accepted", "True", ["Accepted"]),
        ("TCPRoute", "Accepted", "False", ["NotAllowedByListeners"]),
        ("TCPRoute", "Accepted", "True", ["Accepted"]),
        ("TCPRoute", "ResolvedRefs", "False", ["BackendNotFound"]),
        ("UDPRoute", "Accepted", "False", ["NotAllowedByListeners"]),
        ("UDPRoute", "ResolvedRefs", "False", ["UnsupportedProtocol"]),
        ("BackendTLSPolicy", "Accepted", "True", ["Accepted"]),
        (
            "BackendTLSPolicy", "Accepted", "False",
            ["Conflicted", "Invalid", "TargetNotFound", "NoValidCACertificate"]
        ),
        ("BackendTLSPolicy", "ResolvedRefs", "True", ["ResolvedRefs"]),
        ("BackendTLSPolicy", "ResolvedRefs", "False", ["InvalidCACertificateRef", "InvalidKind"]),
        ("InferencePool", "Accepted", "True", ["Accepted"]),
        ("InferencePool", "Accepted", "False", ["HTTPRouteNotAccepted"]),
        ("InferencePool", "ResolvedRefs", "True", ["ResolvedRefs"]),
        ("InferencePool", "ResolvedRefs", "False", ["InvalidExtensionRef"]),
        ("InferencePool", "Exported", "False", ["NotSupported"]),
        ("InferenceObjective", "Accepted", "True", ["Accepted"]),
        ("InferenceObjective", "Accepted", "Unknown", ["Pending"]),
        ("InferenceModelRewrite", "Accepted", "True", ["Accepted"]),
        ("InferenceModelRewrite", "Accepted", "Unknown", ["Pending"]),
        ("Backend", "Accepted", "False", ["UnsupportedValue"]),
        ("Backend", "ResolvedRefs", "False", ["InvalidCACertificateRef", "InvalidKind"]),
        ("GatewayParameters", "Accepted", "False", ["UnsupportedValue"]),
        (
            "GatewayParameters", "PartiallyInvalid", "True",
            ["UnsupportedValue", "InvalidSealingKeyRef"]
        ),
        ("XBackendTrafficPolicy", "Accepted", "True", ["Accepted"]),
        (
            "XBackendTrafficPolicy", "Accepted", "False",
            ["Conflicted", "Invalid"]
        ),
        ("TrafficPolicy", "Accepted", "False", ["UnsupportedValue"]),
    ]

    /// What holds for every kind of route.
    private static let ofEachRoute: [Reasons] = RouteKind.allCases.flatMap { kind -> [Reasons] in
        [
            (kind.rawValue, "Accepted", "True", ["Accepted"]),
            (
                kind.rawValue, "Accepted", "False",
                [
                    "NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent",
                    "UnsupportedValue", "Pending",
                ]
            ),
            (kind.rawValue, "ResolvedRefs", "True", ["ResolvedRefs"]),
            (
                kind.rawValue, "ResolvedRefs", "False",
                ["RefNotPermitted", "InvalidKind", "BackendNotFound", "UnsupportedProtocol"]
            ),
        ]
    }

    /// Reasons that are never given, each with the cause.
    static let absent: [String: String] = {
        let atOnce = "what is read is judged at once, and nobody else writes the status"
        var absent = [
            "GatewayClass Accepted False Pending": atOnce,
            "GatewayClass Accepted False Waiting": atOnce,
            "Gateway Accepted False Pending": atOnce,
            "listener Accepted False Pending": atOnce,
            "ListenerSet Accepted False Pending": atOnce,
            "GatewayClass Accepted False Unsupported": "all that a class can ask is its parameters",
            "GatewayClass SupportedVersion False UnsupportedVersion":
                "files have no CustomResourceDefinitions, whose versions it is about",
            "Gateway Accepted False Invalid":
                "admission refuses such a Gateway, and keeps the last good one",
            "Gateway Programmed False NoResources":
                "nothing is created for a Gateway that could be short",
            "Gateway Programmed False AddressNotAssigned":
                "where none is asked for, all addresses of the machine are served",
            "entry Accepted False TooManyListeners": "there is no limit on their number",
            "entry Programmed False PortUnavailable":
                "said by Accepted; Programmed says Invalid then",
            "entry Conflicted True ListenerConflict": "the two that are more exact are said",
        ]
        for kind in RouteKind.allCases {
            absent["\(kind.rawValue) Accepted False Pending"] = atOnce
        }
        for kind in [RouteKind.tls, .tcp, .udp] {
            absent["\(kind.rawValue) Accepted False UnsupportedValue"] =
                "has no fields with values of their own; a listener of another protocol is "
                + "NotAllowedByListeners, as the suite has it"
        }
        for kind in [RouteKind.tcp, .udp] {
            absent["\(kind.rawValue) Accepted False NoMatchingListenerHostname"] =
                "has no hostnames"
        }
        return absent
    }()

    @Test func `the golden files show each reason of the API`() {
        var seen: Set<String> = []
        for sample in Self.samples {
            for object in Self.report(of: sample).report.objects {
                for (section, conditions) in object.status.allConditions {
                    let listener = object.kind == "ListenerSet" ? "entry" : "listener"
                    let kind = section.hasPrefix("listener ") ? listener : object.kind
                    for condition in conditions {
                        seen.insert(
                            "\(kind) \(condition.type) \(condition.status.rawValue) "
                                + condition.reason)
                    }
                }
            }
        }
        let wanted = Self.reasons.flatMap { kind, type, status, reasons in
            reasons.map { "\(kind) \(type) \(status) \($0)" }
        }
        let missing = wanted.filter { !seen.contains($0) && Self.absent[$0] == nil }
        #expect(missing == [], "no golden file shows them")
        #expect(Self.absent.keys.filter { seen.contains($0) } == [], "they are given all the same")
        #expect(Self.absent.keys.filter { !wanted.contains($0) } == [], "no reason of the table")
    }

    /// The API in a few pages, which is kept beside the repository.
    static let specification = try? String(
        contentsOf: Documents.root.deletingLastPathComponent()
            .appending(path: "shared/spec/gateway-api.md"), encoding: .utf8)

    @Test(.enabled(if: specification != nil, "the specification is not there"))
    func `the table has each reason of the specification`() throws {
        let text = try #require(Self.specification)
        let start = try #require(text.range(of: "| Object | Condition: reasons"))
        let table = text[start.upperBound...].split(separator: "\n").dropFirst()
            .prefix { $0.hasPrefix("|") }
        #expect(table.count > 10)
        var known = Set(Self.reasons.flatMap { $0.reasons + [$0.type] })
        // Conditions without False, kinds, words of a message, and what others prove.
        known.formUnion([
            "Accepted", "Programmed", "True", "False", "Route", "Listener", "Gateway",
            "GatewayClass", "ListenerSet", "InferencePool", "BackendTLSPolicy", "Dropped", "Rule",
            "Fall", "Back", "Conflicted", "OverlappingTLSConfig",
        ])
        var missing: Set<Substring> = []
        for line in table where !line.contains("BackendTLSPolicy") {
            for word in line.split(whereSeparator: { !$0.isLetter })
            where word.first?.isUppercase == true && !known.contains(String(word)) {
                missing.insert(word)
            }
        }
        #expect(missing == [])
    }
}
