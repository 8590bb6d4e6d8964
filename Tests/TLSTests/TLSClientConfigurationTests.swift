// That a client believes the right server only, and says what is wrong with another.
import Testing

@testable import TLS

@Suite struct `A server's name and certificate` {
    struct Row: Sendable {
        let what: String
        let certificate: SelfSignedCertificate
        var name = "a.example"
        var subjectNames: [TLSSubjectName] = []
        /// nil: the server is believed.
        let reason: TLSError.Reason?
        var text = ""
    }

    static let rows = [
        Row(what: "good", certificate: Certificates.ecdsa, reason: nil),
        Row(what: "good, RSA", certificate: Certificates.rsa, reason: nil),
        Row(what: "a final dot", certificate: Certificates.ecdsa, name: "a.example.", reason: nil),
        Row(what: "capitals", certificate: Certificates.ecdsa, name: "A.Example", reason: nil),
        Row(what: "wildcard", certificate: Certificates.other, name: "x.b.example", reason: nil),
        Row(
            what: "too deep for a wildcard",
            certificate: Certificates.other,
            name: "y.x.b.example",
            reason: .certificateNameMismatch,
            text: "hostname mismatch"
        ),
        Row(
            what: "wrong name",
            certificate: Certificates.other,
            reason: .certificateNameMismatch,
            text: "hostname mismatch"
        ),
        Row(
            what: "expired",
            certificate: Certificates.expired,
            reason: .certificateExpired,
            text: "certificate has expired"
        ),
        Row(
            what: "not yet valid",
            certificate: Certificates.early,
            reason: .certificateNotYetValid,
            text: "certificate is not yet valid"
        ),
        Row(
            what: "common name only",
            certificate: Certificates.authority,
            name: "localhost",
            reason: .certificateNameMismatch,
            text: "hostname mismatch"
        ),
        Row(what: "IPv4", certificate: Certificates.address, name: "127.0.0.1", reason: nil),
        Row(what: "IPv6", certificate: Certificates.address, name: "::1", reason: nil),
        Row(
            what: "wrong address",
            certificate: Certificates.address,
            name: "127.0.0.2",
            reason: .certificateNameMismatch,
            text: "IP address mismatch"
        ),
        Row(
            what: "one of the subject names",
            certificate: Certificates.other,
            subjectNames: [.host("no.example"), .host("b.example")],
            reason: nil
        ),
        Row(
            what: "subject names replace the server name",
            certificate: Certificates.ecdsa,
            subjectNames: [.host("b.example")],
            reason: .certificateNameMismatch,
            text: "hostname mismatch"
        ),
        Row(
            what: "a URI",
            certificate: Certificates.uri,
            subjectNames: [.host("b.example"), .uri("spiffe://cluster/model")],
            reason: nil
        ),
        Row(
            what: "another URI",
            certificate: Certificates.uri,
            subjectNames: [.uri("spiffe://cluster/other")],
            reason: .certificateNameMismatch,
            text: "hostname mismatch"
        ),
        Row(
            what: "an address among subject names",
            certificate: Certificates.address,
            name: "127.0.0.1",
            subjectNames: [.host("b.example")],
            reason: .certificateNameMismatch,
            text: "hostname mismatch"
        ),
    ]

    @Test(arguments: rows.indices, [TLSVersion.tls12, .tls13])
    func `are verified`(index: Int, version: TLSVersion) throws {
        let row = Self.rows[index]
        let client = try clientConfiguration(subjectNames: row.subjectNames)
        client.context.limit(to: version)
        let pair = try Loopback(client, try serverConfiguration([row.certificate]), name: row.name)
        let isOpen = pair.shake()
        #expect(pair.clientFailure?.reason == row.reason, "\(row.what)")
        #expect(isOpen == (row.reason == nil), "\(row.what)")
        if let failure = pair.clientFailure {
            #expect(failure.libraryText?.lowercased() == row.text.lowercased(), "\(row.what)")
            #expect(failure.description.hasSuffix(": \(failure.libraryText ?? "")"))
        }
    }

    @Test func `must lead to a trusted CA`() throws {
        let client = try clientConfiguration(
            trust: .certificates(Certificates.stranger.certificatePEM)
        )
        let pair = try Loopback(client, try serverConfiguration())
        #expect(!pair.shake())
        #expect(pair.clientFailure?.reason == .certificateUntrusted)
        #expect(pair.serverFailure?.reason == .alertReceived)
    }

    @Test func `are not believed by the system's trust`() throws {
        let pair = try Loopback(
            try clientConfiguration(trust: .system),
            try serverConfiguration()
        )
        #expect(!pair.shake())
        #expect(pair.clientFailure?.reason == .certificateUntrusted)
    }

    @Test func `may be pinned themselves`() throws {
        let client = try clientConfiguration(
            trust: .certificates(Certificates.ecdsa.certificatePEM)
        )
        let pair = try Loopback(client, try serverConfiguration())
        #expect(pair.shake())
    }

    @Test(arguments: [Certificates.expired, Certificates.other, Certificates.stranger])
    func `do not matter to an insecure client`(certificate: SelfSignedCertificate) throws {
        let client = try clientConfiguration(
            trust: .insecure,
            subjectNames: [.uri("spiffe://cluster/other")]
        )
        let pair = try Loopback(client, try serverConfiguration([certificate]))
        #expect(pair.shake())
        #expect(pair.client.peerVerificationFailure == nil)
    }

    @Test(arguments: ["", "a b", "a/b", "münchen.example", String(repeating: "a", count: 256)])
    func `need a name that can be one`(name: String) throws {
        let client = try clientConfiguration()
        #expect(throws: TLSError(.serverNameInvalid)) {
            _ = try Loopback(client, try serverConfiguration(), name: name)
        }
    }

    @Test func `need CAs that can be read`() {
        for text in [
            [], Array("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".utf8),
        ] {
            #expect {
                try clientConfiguration(trust: .certificates(text))
            } throws: {
                ($0 as? TLSError)?.reason == .trustUnusable
            }
        }
    }
}

@Suite struct `The name that is sent` {
    @Test(arguments: [("a.example", "a.example"), ("A.Example.", "a.example"), ("127.0.0.1", "")])
    func `is the server name, but no address`(name: String, sent: String) throws {
        var client = try TLSSession(client: try clientConfiguration(), serverName: name)
        let (bytes, result) = withOutput(4_096) {
            client.handshake(ciphertext: Span(), into: &$0)
        }
        #expect(result == .init(consumed: 0, state: .wantsInput))
        guard case .hello(let hello) = ClientHello.parse(bytes.span) else {
            Issue.record("No hello.")
            return
        }
        #expect(text(hello.serverName) == sent)
    }
}
