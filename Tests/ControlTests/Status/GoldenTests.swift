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
                documents, placement: sample.placement, except: sample.outcomes)
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

    /// Kind, condition, status and reasons: `gateway-api.md` §16 as far as it can occur now.
    static let reasons: [(String, String, String, [String])] = [
        ("GatewayClass", "Accepted", "True", ["Accepted"]),
        ("GatewayClass", "Accepted", "False", ["InvalidParameters"]),
        ("GatewayClass", "SupportedVersion", "True", ["SupportedVersion"]),
        ("Gateway", "Accepted", "True", ["Accepted", "ListenersNotValid"]),
        (
            "Gateway", "Accepted", "False",
            ["ListenersNotValid", "InvalidParameters", "UnsupportedAddress"]
        ),
        ("Gateway", "Programmed", "True", ["Programmed"]),
        ("Gateway", "Programmed", "False", ["Invalid", "AddressNotUsable"]),
        ("Gateway", "Programmed", "Unknown", ["Pending"]),
        ("Gateway", "ResolvedRefs", "True", ["ResolvedRefs"]),
        (
            "Gateway", "ResolvedRefs", "False",
            ["RefNotPermitted", "InvalidClientCertificateRef", "ListenersNotResolved"]
        ),
        ("listener", "Accepted", "True", ["Accepted"]),
        (
            "listener", "Accepted", "False",
            [
                "PortUnavailable", "UnsupportedProtocol", "UnsupportedValue", "HostnameConflict",
                "ProtocolConflict",
            ]
        ),
        ("listener", "ResolvedRefs", "True", ["ResolvedRefs"]),
        (
            "listener", "ResolvedRefs", "False",
            ["InvalidCertificateRef", "InvalidRouteKinds", "RefNotPermitted"]
        ),
        ("listener", "Programmed", "True", ["Programmed"]),
        ("listener", "Programmed", "False", ["Invalid"]),
        ("listener", "Programmed", "Unknown", ["Pending"]),
        ("listener", "Conflicted", "False", ["NoConflicts"]),
        ("listener", "Conflicted", "True", ["HostnameConflict", "ProtocolConflict"]),
        ("listener", "OverlappingTLSConfig", "True", ["OverlappingHostnames"]),
        ("ListenerSet", "Accepted", "True", ["Accepted", "ListenersNotValid"]),
        (
            "ListenerSet", "Accepted", "False",
            ["NotAllowed", "ParentNotAccepted", "ListenersNotValid", "Invalid"]
        ),
        ("ListenerSet", "Programmed", "True", ["Programmed"]),
        (
            "ListenerSet", "Programmed", "False",
            ["NotAllowed", "ParentNotAccepted", "ListenersNotValid", "Invalid"]
        ),
        ("listener", "Programmed", "False", ["HostnameConflict", "ProtocolConflict"]),
        ("HTTPRoute", "Accepted", "True", ["Accepted"]),
        (
            "HTTPRoute", "Accepted", "False",
            [
                "NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent",
                "UnsupportedValue", "IncompatibleFilters",
            ]
        ),
        ("HTTPRoute", "ResolvedRefs", "True", ["ResolvedRefs"]),
        (
            "HTTPRoute", "ResolvedRefs", "False",
            ["RefNotPermitted", "InvalidKind", "BackendNotFound", "UnsupportedProtocol"]
        ),
        ("HTTPRoute", "PartiallyInvalid", "True", ["UnsupportedValue", "IncompatibleFilters"]),
        ("GRPCRoute", "Accepted", "True", ["Accepted"]),
        (
            "GRPCRoute", "Accepted", "False",
            ["NotAllowedByListeners", "HostnameConflict"]
        ),
        ("GRPCRoute", "ResolvedRefs", "False", ["BackendNotFound", "UnsupportedProtocol"]),
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
        ("GatewayParameters", "PartiallyInvalid", "True", ["UnsupportedValue"]),
        ("TrafficPolicy", "Accepted", "False", ["UnsupportedValue"]),
    ]

    @Test func `the golden files cover each reason that can occur`() {
        var seen: Set<String> = []
        for sample in Self.samples {
            for object in Self.report(of: sample).report.objects {
                for (section, conditions) in object.status.allConditions {
                    let kind = section.hasPrefix("listener ") ? "listener" : object.kind
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
        let missing = wanted.filter { !seen.contains($0) }
        #expect(missing == [])
    }
}
