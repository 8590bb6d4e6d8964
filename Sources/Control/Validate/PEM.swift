import Foundation

/// The blocks of a PEM text (RFC 7468), as far as telling what is in it goes.
///
/// Whether a certificate and key are good is for the TLS library to say; this tells a missing or
/// damaged block from a good one without it, with better words.
enum PEM {
    struct Block: Sendable {
        let label: String
        let contents: [UInt8]
    }

    /// The blocks in order; those whose content is not base64 of an ASN.1 sequence are left out.
    static func blocks(_ bytes: [UInt8]) -> [Block] {
        var blocks: [Block] = []
        var label: String?
        var content: [UInt8] = []
        for line in bytes.split(whereSeparator: { $0 == 10 || $0 == 13 }) {
            let text = String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespaces)
            if text.hasPrefix("-----BEGIN "), text.hasSuffix("-----") {
                label = String(text.dropFirst(11).dropLast(5))
                content = []
            } else if text.hasPrefix("-----END "), text.hasSuffix("-----"), let open = label {
                label = nil
                guard text.dropFirst(9).dropLast(5) == open,
                    let data = Data(base64Encoded: Data(content)), data.first == 0x30
                else { continue }
                blocks.append(Block(label: open, contents: Array(data)))
            } else if label != nil {
                content += text.utf8
            }
        }
        return blocks
    }

    /// Why the text holds no certificates; nil when it does.
    static func refusalOfCertificates(_ bytes: [UInt8]) -> String? {
        if bytes.allSatisfy({ $0 <= 32 }) { return "is empty" }
        if blocks(bytes).contains(where: { $0.label == "CERTIFICATE" }) { return nil }
        return "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
    }

    /// Why the text holds no private key; nil when it does.
    static func refusalOfKey(_ bytes: [UInt8]) -> String? {
        if bytes.allSatisfy({ $0 <= 32 }) { return "is empty" }
        let labels = blocks(bytes).map(\.label)
        // The older form says so in a line of its own (RFC 1421 §4.6.1.1).
        let isEncrypted = String(decoding: bytes, as: UTF8.self).contains("Proc-Type: 4,ENCRYPTED")
        if isEncrypted || labels.contains("ENCRYPTED PRIVATE KEY") {
            return "is an encrypted key, and there is nobody to ask for its password"
        }
        if labels.contains(where: { $0.hasSuffix("PRIVATE KEY") }) { return nil }
        return "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
    }
}
