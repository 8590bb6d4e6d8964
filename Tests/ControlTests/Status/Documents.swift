import Foundation
import Testing

@testable import Control

/// Documents for tests, from YAML.
enum Documents {
    /// What the text says, as read; broken text fails the test.
    static func read(_ yaml: String, file: String = "test.yaml") -> DocumentSet {
        let manifest = ManifestReader.read(Array(yaml.utf8), file: file, kinds: .all)
        var documents = DocumentSet(
            objects: manifest.objects.sorted { $0.key < $1.key }, problems: manifest.problems)
        documents.refusedPolicies = manifest.unreadPolicies
        return documents
    }

    /// What the text says, after admission; refused objects fail the test.
    static func admitted(
        _ yaml: String, sourceLocation: SourceLocation = #_sourceLocation
    ) -> DocumentSet {
        let documents = Admission.admit(read(yaml))
        let errors = documents.problems.filter { $0.severity == .error }.map(\.description)
        #expect(errors == [], sourceLocation: sourceLocation)
        return documents
    }

    /// Observations of a process in which every wanted place listens.
    static func served(
        _ documents: DocumentSet, placement: Placement = Placement(),
        except outcomes: [ListenPlace: ListenOutcome] = [:],
        certificates: [NamespacedName: CertificateObservation] = [:],
        previous: [ObjectStatus] = [], now: Int64 = 1_767_225_600
    ) -> Observations {
        let local = ["127.0.0.1", "::1", "198.51.100.7"]
        var observations = Observations(
            now: now, localAddresses: local, certificates: certificates, previous: previous)
        let report = status(documents, placement: placement, observations: observations)
        var identities = Identities()
        var listening: [ListenPlace: ListenOutcome] = [:]
        for socket in compile(report, &identities).sockets {
            listening[socket.place] = outcomes[socket.place] ?? .listening
        }
        observations.listening = listening
        return observations
    }

    /// The repository.
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// A certificate and key that look well from outside, in base64.
    static let certificate = base64(
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    static let key = base64("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")

    /// A CA certificate that the library takes.
    static let authority = """
        -----BEGIN CERTIFICATE-----
        MIIBXTCCAQSgAwIBAgIUUjmMX8Abee0d0QRT5wPppidrO48wCgYIKoZIzj0EAwIw
        FDESMBAGA1UEAwwJZ29sZGVuIGNhMCAXDTI2MTEyMzEzNTAwNVoYDzIxMjYxMDMw
        MTQ1MDA1WjAUMRIwEAYDVQQDDAlnb2xkZW4gY2EwWTATBgcqhkjOPQIBBggqhkjO
        PQMBBwNCAAT6vmT6Y9jU02iQ8LNDXKqR9QSfVEWBiijVdIWzQikmIz5tPsT6lEQM
        19XHW7XVh5UfsTUkPgk8cYrOTrmWObcUozIwMDAPBgNVHRMBAf8EBTADAQH/MB0G
        A1UdDgQWBBREptusTYBhblVSMLl6a5PXS2gpEDAKBggqhkjOPQQDAgNHADBEAiB2
        cID9MGbj7UGaArk9VjrRcPwCfgdz00LaLR6laG2+jwIgTY3KyxoBoOjhrX86pKkk
        +PUq/AppTB7lDzdYPPEv53E=
        -----END CERTIFICATE-----
        """

    static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
}

extension StatusReport {
    func object(_ kind: String, _ name: String) -> ObjectStatus? {
        objects.first {
            $0.kind == kind
                && (name == $0.metadata.name
                    || name == "\($0.metadata.namespace ?? "")/\($0.metadata.name)")
        }
    }
}

extension [Condition] {
    subscript(type: String) -> Condition? { first { $0.type == type } }
}
