// Proves that damaged certificates and keys are told from good ones before any library sees them.
import Testing

@testable import Control

@Suite struct PEMTests {
    private func bytes(_ label: String, _ content: String) -> [UInt8] {
        Array("-----BEGIN \(label)-----\n\(content)\n-----END \(label)-----\n".utf8)
    }

    @Test func `a block with a sequence in base64 is read`() {
        #expect(PEM.refusalOfCertificates(bytes("CERTIFICATE", "MAA=")) == nil)
        #expect(PEM.refusalOfCertificates(bytes("CERTIFICATE", "MA\nA=")) == nil)
        #expect(PEM.refusalOfKey(bytes("PRIVATE KEY", "MAA=")) == nil)
        #expect(PEM.refusalOfKey(bytes("EC PRIVATE KEY", "MAA=")) == nil)
        let crlf = "-----BEGIN CERTIFICATE-----\r\nMAA=\r\n-----END CERTIFICATE-----\r\n"
        #expect(PEM.refusalOfCertificates(Array(crlf.utf8)) == nil)
    }

    @Test(arguments: ["", " \n", "Hello world"])
    func `what is no block is refused`(text: String) {
        #expect(PEM.refusalOfCertificates(Array(text.utf8)) != nil)
        #expect(PEM.refusalOfKey(Array(text.utf8)) != nil)
    }

    @Test func `a block with other content, label or end is refused`() {
        #expect(PEM.refusalOfCertificates(bytes("CERTIFICATE", "SGVsbG8=")) != nil)
        #expect(PEM.refusalOfCertificates(bytes("CERTIFICATE", "***")) != nil)
        #expect(PEM.refusalOfCertificates(bytes("PRIVATE KEY", "MAA=")) != nil)
        let torn = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END PRIVATE KEY-----\n"
        #expect(PEM.refusalOfCertificates(Array(torn.utf8)) != nil)
    }

    @Test func `an encrypted key is told from a missing one`() {
        let refusal = PEM.refusalOfKey(bytes("ENCRYPTED PRIVATE KEY", "MAA="))
        #expect(refusal?.contains("encrypted") == true)
    }
}
