// That certificates are read, described, and refused with the cause that a person can act on.
import Testing

@testable import TLS

@Suite struct `A certificate` {
    static let now: Int64 = wallSeconds()

    @Test func `tells its names, validity, key and fingerprint`() throws {
        let made = try SelfSignedCertificate.make(
            names: ["A.Example", "*.b.example", "10.1.2.3", "fe80::1"],
            days: 3
        )
        let certificate = try made.parsed()
        #expect(
            certificate.names
                == ["a.example", "*.b.example", "10.1.2.3", "fe80:0:0:0:0:0:0:1"]
        )
        #expect(abs(certificate.notBefore - (Self.now - 3_600)) < 600)
        #expect(abs(certificate.notAfter - (Self.now + 3 * 86_400)) < 600)
        #expect(certificate.isValid(at: Self.now))
        #expect(!certificate.isValid(at: certificate.notAfter + 1))
        #expect(!certificate.isValid(at: certificate.notBefore - 1))
        #expect(certificate.keyKind == .ecdsa)
        #expect(certificate.fingerprint == Digest.sha256Hex(derBytes(made.certificatePEM)))
        let rsa = try Certificates.rsa.parsed()
        #expect(rsa.keyKind == .rsa)
    }

    @Test func `without alternative names goes by its common name`() throws {
        #expect(try Certificates.authority.parsed().names == ["localhost"])
    }

    @Test func `may be expired`() throws {
        let certificate = try Certificates.expired.parsed()
        #expect(!certificate.isValid(at: Self.now))
    }

    @Test func `may bring its chain`() throws {
        let middle = try SelfSignedCertificate.make(
            names: ["middle"],
            validSeconds: -60...86_400,
            issuer: Certificates.authority,
            isAuthority: true
        )
        let leaf = try SelfSignedCertificate.make(
            names: ["a.example"],
            validSeconds: -60...86_400,
            issuer: middle
        )
        for (chain, isTrusted) in [
            (leaf.certificatePEM + middle.certificatePEM, true), (leaf.certificatePEM, false),
        ] {
            let server = try TLSServerConfiguration(
                certificates: [try TLSCertificate(chainPEM: chain, keyPEM: leaf.keyPEM)],
                sessionContext: [],
                ticketKeys: nil
            )
            let pair = try Loopback(try clientConfiguration(), server)
            #expect(pair.shake() == isTrusted)
        }
    }

    struct Bad: Sendable {
        let what: String
        let chain: [UInt8]
        let key: [UInt8]
        let reason: TLSError.Reason
    }

    static let good = Certificates.ecdsa
    static let bad = [
        Bad(what: "nothing", chain: [], key: [], reason: .certificateNotPEM),
        Bad(what: "noise", chain: sampleBytes(500), key: good.keyPEM, reason: .certificateNotPEM),
        Bad(
            what: "a cut certificate",
            chain: good.certificatePEM.dropLast(40),
            key: good.keyPEM,
            reason: .certificateNotPEM
        ),
        Bad(
            what: "a damaged second certificate",
            chain: good.certificatePEM + good.certificatePEM.dropLast(40),
            key: good.keyPEM,
            reason: .certificateNotPEM
        ),
        Bad(
            what: "a key in place of the certificate",
            chain: good.keyPEM,
            key: good.keyPEM,
            reason: .certificateNotPEM
        ),
        Bad(what: "no key", chain: good.certificatePEM, key: [], reason: .keyNotPEM),
        Bad(
            what: "a certificate in place of the key",
            chain: good.certificatePEM,
            key: good.certificatePEM,
            reason: .keyNotPEM
        ),
        Bad(
            what: "another key",
            chain: good.certificatePEM,
            key: Certificates.other.keyPEM,
            reason: .keyMismatch
        ),
        Bad(
            what: "a key of another kind",
            chain: good.certificatePEM,
            key: Certificates.rsa.keyPEM,
            reason: .keyMismatch
        ),
    ]

    @Test(arguments: bad.indices) func `is refused with its cause`(index: Int) {
        let row = Self.bad[index]
        #expect("\(row.what)") {
            try TLSCertificate(chainPEM: row.chain, keyPEM: row.key)
        } throws: {
            ($0 as? TLSError)?.reason == row.reason
        }
    }

    @Test func `needs a key that is not encrypted`() throws {
        let key = try encryptedKey(Self.good.keyPEM)
        #expect(String(decoding: key, as: UTF8.self).contains("ENCRYPTED"))
        #expect {
            try TLSCertificate(chainPEM: Self.good.certificatePEM, keyPEM: key)
        } throws: {
            ($0 as? TLSError)?.reason == .keyNotPEM
        }
    }

    @Test func `and key may be one text`() throws {
        let text = Self.good.keyPEM + Self.good.certificatePEM
        _ = try TLSCertificate(chainPEM: text, keyPEM: text)
    }
}
