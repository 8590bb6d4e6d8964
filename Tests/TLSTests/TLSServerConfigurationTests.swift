// That a server chooses its certificate and protocol as documented, and asks clients for theirs.
import Testing

@testable import TLS

@Suite struct `A server's certificate` {
    /// Server name asked for, and the certificate that answers.
    static let choices: [(name: String, certificate: SelfSignedCertificate)] = [
        ("b.example", Certificates.other), ("x.b.example", Certificates.other),
        ("a.example", Certificates.ecdsa), ("y.x.b.example", Certificates.ecdsa),
        ("c.example", Certificates.ecdsa), ("", Certificates.ecdsa),
    ]

    @Test(arguments: choices.indices) func `is chosen by the name asked for`(row: Int) throws {
        let (name, certificate) = Self.choices[row]
        let server = try serverConfiguration([Certificates.ecdsa, Certificates.other])
        let client = try clientConfiguration(trust: .insecure)
        let pair = try Loopback(client, server, name: name.isEmpty ? "127.0.0.1" : name)
        #expect(pair.shake())
        let fingerprint = try certificate.parsed().fingerprint
        #expect(pair.client.peerFingerprint == fingerprint)
    }

    @Test func `with the very name goes before one with a wildcard`() throws {
        let exact = try SelfSignedCertificate.make(names: ["x.b.example"], days: 1)
        let server = try serverConfiguration([Certificates.other, exact])
        #expect(server.certificateSet(for: Array("x.b.example".utf8).span) == 1)
        #expect(server.certificateSet(for: Array("y.b.example".utf8).span) == 0)
        #expect(server.certificateSet(for: Array("b.example".utf8).span) == 0)
        #expect(server.certificateSet(for: Array("example".utf8).span) == nil)
        #expect(server.certificateSet(for: Array(".b.example".utf8).span) == nil)
        #expect(server.certificateSet(for: Span()) == nil)
    }

    @Test(arguments: [false, true]) func `of either key serves one name`(wantsRSA: Bool) throws {
        let server = try serverConfiguration([Certificates.ecdsa, Certificates.rsa])
        let client = try clientConfiguration()
        client.context.limitSignatures(toRSA: wantsRSA)
        let pair = try Loopback(client, server)
        #expect(pair.shake())
        let certificate = wantsRSA ? Certificates.rsa : Certificates.ecdsa
        let fingerprint = try certificate.parsed().fingerprint
        #expect(pair.client.peerFingerprint == fingerprint)
    }

    @Test func `is needed`() {
        #expect(throws: TLSError(.certificateMissing)) { try serverConfiguration([]) }
    }

    @Test func `outlives its configuration`() throws {
        var server: TLSServerConfiguration? = try serverConfiguration(
            protocols: ["h2"],
            ticketKeys: TLSTicketKeys(now: 0)
        )
        let client = try clientConfiguration(protocols: ["h2"])
        let pair = try Loopback(client, try #require(server))
        server = nil
        #expect(pair.shake())
        #expect(pair.server.isHTTP2 == true)
    }
}

@Suite struct `An application protocol` {
    struct Row: Sendable {
        let server: [String]
        let client: [String]
        /// What is agreed on; nil with `isRefused`: the handshake fails.
        let agreed: String?
        var isRefused = false
    }

    static let rows = [
        Row(server: ["h2", "http/1.1"], client: ["http/1.1", "h2"], agreed: "h2"),
        Row(server: ["http/1.1", "h2"], client: ["h2", "http/1.1"], agreed: "http/1.1"),
        Row(server: ["h2", "http/1.1"], client: ["http/1.1"], agreed: "http/1.1"),
        Row(server: ["h2"], client: ["x", "h2"], agreed: "h2"),
        Row(server: ["h2", "http/1.1"], client: [], agreed: nil),
        Row(server: [], client: ["h2", "http/1.1"], agreed: nil),
        Row(server: [], client: [], agreed: nil),
        Row(server: ["http/1.1"], client: ["h2"], agreed: nil, isRefused: true),
        Row(server: ["h2"], client: ["h2c", "h", "http/1.1"], agreed: nil, isRefused: true),
    ]

    @Test(arguments: rows.indices, [TLSVersion.tls12, .tls13])
    func `is the server's first that the client offered`(
        index: Int,
        version: TLSVersion
    ) throws {
        let row = Self.rows[index]
        let client = try clientConfiguration(protocols: row.client)
        client.context.limit(to: version)
        let pair = try Loopback(client, try serverConfiguration(protocols: row.server))
        #expect(pair.shake() == !row.isRefused)
        if row.isRefused {
            #expect(pair.serverFailure?.reason == .noApplicationProtocol)
            #expect(pair.clientFailure?.reason == .noApplicationProtocol)
        } else {
            #expect(pair.server.applicationProtocol == row.agreed)
            #expect(pair.client.applicationProtocol == row.agreed)
            #expect(pair.client.isHTTP2 == (row.agreed == "h2"))
            #expect(pair.server.isHTTP2 == (row.agreed == "h2"))
        }
    }

    @Test(arguments: ["", String(repeating: "x", count: 256)])
    func `has 1 to 255 bytes`(name: String) {
        #expect(throws: TLSError(.applicationProtocolInvalid)) {
            try serverConfiguration(protocols: [name])
        }
        #expect(throws: TLSError(.applicationProtocolInvalid)) {
            try clientConfiguration(protocols: [name])
        }
    }
}

@Suite struct `A client's certificate` {
    static let authorities = Certificates.authority.certificatePEM
    static let strangers = Certificates.stranger.certificatePEM

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `lets a client in where one is required`(version: TLSVersion) throws {
        let client = try clientConfiguration(certificate: Certificates.client)
        client.context.limit(to: version)
        let pair = try Loopback(
            client,
            try serverConfiguration(validation: .required(Self.authorities))
        )
        #expect(pair.shake())
        #expect(pair.server.peerVerificationFailure == nil)
        let fingerprint = try Certificates.client.parsed().fingerprint
        #expect(pair.server.peerFingerprint == fingerprint)
    }

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `must not be missing where it is required`(version: TLSVersion) throws {
        let client = try clientConfiguration()
        client.context.limit(to: version)
        let pair = try Loopback(
            client,
            try serverConfiguration(validation: .required(Self.authorities))
        )
        #expect(!pair.shake())
        #expect(pair.serverFailure?.reason == .clientCertificateMissing)
    }

    @Test func `must be trusted where it is required`() throws {
        let client = try clientConfiguration(certificate: Certificates.client)
        let pair = try Loopback(
            client,
            try serverConfiguration(validation: .required(Self.strangers))
        )
        #expect(!pair.shake())
        #expect(pair.serverFailure?.reason == .certificateUntrusted)
    }

    @Test func `may be missing or bad where it is only requested`() throws {
        let server = try serverConfiguration(validation: .requested(Self.strangers))
        let none = try Loopback(try clientConfiguration(), server)
        #expect(none.shake())
        #expect(none.server.peerVerificationFailure?.reason == .clientCertificateMissing)
        #expect(none.server.peerFingerprint == nil)
        let bad = try Loopback(try clientConfiguration(certificate: Certificates.client), server)
        #expect(bad.shake())
        #expect(bad.server.peerVerificationFailure?.reason == .certificateUntrusted)
        #expect(bad.server.peerFingerprint != nil)
    }

    @Test func `is not asked for otherwise`() throws {
        let pair = try Loopback(
            try clientConfiguration(certificate: Certificates.client),
            try serverConfiguration()
        )
        #expect(pair.shake())
        #expect(pair.server.peerFingerprint == nil)
        #expect(pair.server.peerVerificationFailure == nil)
    }

    /// So many CAs that their names do not fit into one message.
    static let many: [UInt8] = (0..<900).flatMap { number in
        let made = try? SelfSignedCertificate.make(
            names: [String(repeating: "x", count: 60) + "\(number)"],
            validSeconds: -60...3_600,
            isAuthority: true
        )
        return made?.certificatePEM ?? []
    }

    @Test(arguments: [TLSVersion.tls12, .tls13]) func `is checked against any number of CAs`(
        version: TLSVersion
    ) throws {
        let client = try clientConfiguration(certificate: Certificates.client)
        client.context.limit(to: version)
        let server = try serverConfiguration(
            validation: .required(Self.many + Self.authorities)
        )
        // Their names alone would be more than a message of a handshake may have.
        let pair = try Loopback(client, server)
        #expect(pair.shake())
        #expect(pair.server.peerVerificationFailure == nil)
    }

    @Test(arguments: [[], Array("nonsense".utf8)]) func `needs CAs to be checked against`(
        text: [UInt8]
    ) {
        #expect {
            try serverConfiguration(validation: .required(text))
        } throws: {
            ($0 as? TLSError)?.reason == .trustUnusable
        }
    }
}

@Suite struct `What is spoken` {
    @Test func `is never below TLS 1.2`() throws {
        let client = try clientConfiguration()
        client.context.allowOldVersions()
        let pair = try Loopback(client, try serverConfiguration())
        #expect(!pair.shake())
        #expect(pair.serverFailure?.reason == .noCommonVersion)
        #expect(pair.clientFailure?.reason == .noCommonVersion)
    }

    @Test func `is at least what the configuration says`() throws {
        let server = try TLSServerConfiguration(
            certificates: [try Certificates.ecdsa.parsed()],
            minimumVersion: .tls13,
            sessionContext: [],
            ticketKeys: nil
        )
        let client = try clientConfiguration()
        client.context.limit(to: .tls12)
        let pair = try Loopback(client, server)
        #expect(!pair.shake())
        #expect(pair.serverFailure?.reason == .noCommonVersion)
    }

    @Test(arguments: Flavour.all) func `has forward secrecy and authenticated encryption`(
        flavour: Flavour
    ) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        let cipher = pair.server.cipherName
        if flavour.maximum == .tls13 {
            #expect(cipher == "TLS_AES_128_GCM_SHA256")
        } else {
            let signature = flavour.isRSA ? "RSA" : "ECDSA"
            #expect(cipher == "ECDHE-\(signature)-AES128-GCM-SHA256")
        }
    }

    @Test func `cannot be negotiated again`() throws {
        let pair = try Flavour.all[0].loopback()
        #expect(pair.shake())
        #expect(pair.client.startRenegotiation() == false)
        pair.send([1, 2, 3])
        #expect(pair.receive() == .init(plaintext: [1, 2, 3]))
    }
}
