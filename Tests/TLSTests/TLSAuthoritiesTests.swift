// That CA certificates are judged before a listener needs them.
import Testing

@testable import TLS

@Suite struct `A set of CA certificates` {
    @Test func `is valid from the first begin to the last end`() throws {
        let (one, two) = (Certificates.expired, Certificates.early)
        let both = try TLSAuthorities(pem: one.certificatePEM + two.certificatePEM)
        #expect(try both.notBefore == one.parsed().notBefore)
        #expect(try both.notAfter == two.parsed().notAfter)
    }

    @Test func `has at least one, and none that cannot be read`() {
        let text = String(decoding: Certificates.authority.certificatePEM, as: UTF8.self)
        var lines = text.split(separator: "\n")
        lines.remove(at: 2)
        for broken in ["", "nonsense", lines.joined(separator: "\n") + "\n" + text] {
            #expect {
                try TLSAuthorities(pem: Array(broken.utf8))
            } throws: {
                ($0 as? TLSError)?.reason == .trustUnusable
            }
        }
    }
}
