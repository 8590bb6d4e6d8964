/// The forms that the API demands of texts, as predicates: no regular expression is run over
/// documents, of which there may be tens of thousands.
enum Patterns {
    /// An RFC 1123 label: small letters, digits and inner hyphens, at most 63.
    static func isLabel(_ text: some StringProtocol) -> Bool {
        (1...63).contains(text.utf8.count) && areLabels(text.utf8, dots: false)
    }

    /// Labels separated by dots, at most 253 characters: names of objects, listeners and rules.
    static func isSubdomain(_ text: some StringProtocol) -> Bool {
        (1...253).contains(text.utf8.count) && areLabels(text.utf8, dots: true)
    }

    /// Whether the last label is digits only: an IPv4 address or none, since no domain is called so (RFC 3696 §2).
    static func endsInNumber(_ text: String) -> Bool {
        guard let last = text.split(separator: ".").last else { return false }
        return last.utf8.allSatisfy(isDigit)
    }

    /// The owner of SRV records (RFC 2782): `_service._protocol.name`.
    static func isServiceName(_ text: String) -> Bool {
        let labels = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard labels.count == 3, text.utf8.count <= 253, labels[0].hasPrefix("_"),
            labels[1].hasPrefix("_")
        else { return false }
        return isLabel(String(labels[0].dropFirst())) && isLabel(String(labels[1].dropFirst()))
            && isSubdomain(labels[2])
    }

    /// `Hostname`: a subdomain, or `*.` and a subdomain.
    static func isHostname(_ text: String) -> Bool {
        if text.hasPrefix("*.") {
            return text.utf8.count <= 253 && isSubdomain(text.dropFirst(2))
        }
        return isSubdomain(text)
    }

    /// `AbsoluteURI`: a scheme, `://` and more, at most 253 characters.
    static func isAbsoluteURI(_ text: String) -> Bool {
        guard text.utf8.count <= 253, let colon = text.utf8.firstIndex(of: 58) else { return false }
        let scheme = text.utf8[..<colon]
        return !scheme.isEmpty && text[colon...].hasPrefix("://")
            && !scheme.contains { $0 == 47 || $0 == 63 || $0 == 35 }
    }

    /// The key of a label or annotation: a name, perhaps below a subdomain: `app.kubernetes.io/name`.
    static func isLabelKey(_ text: String) -> Bool {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2, !isSubdomain(parts[0]) { return false }
        return !parts[parts.count - 1].isEmpty && isLabelValue(parts[parts.count - 1])
    }

    /// The value of a label: at most 63 letters, digits, "-", "_" and ".", the first and the last alphanumeric.
    static func isLabelValue(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, let last = bytes.last else { return true }
        let isAlphanumeric = { (byte: UInt8) in isLetter(byte) || isDigit(byte) }
        return bytes.count <= 63 && isAlphanumeric(first) && isAlphanumeric(last)
            && bytes.allSatisfy { isAlphanumeric($0) || $0 == dash || $0 == dot || $0 == 0x5F }
    }

    /// `Group`: empty, or a subdomain.
    static func isGroup(_ text: String) -> Bool { text.isEmpty || isSubdomain(text) }

    /// `Kind`: letters, digits and inner hyphens, beginning with a letter, at most 63.
    static func isKind(_ text: String) -> Bool {
        guard (1...63).contains(text.utf8.count), let first = text.utf8.first,
            let last = text.utf8.last
        else { return false }
        return isLetter(first) && (isLetter(last) || isDigit(last))
            && text.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == dash }
    }

    /// `HeaderName`: a token of RFC 9110 §5.6.2, at most 256.
    static func isHeaderName(_ text: String) -> Bool {
        (1...256).contains(text.utf8.count) && text.utf8.allSatisfy(isTokenByte)
    }

    /// What a field value may hold: no control characters but inner tabs (RFC 9110 §5.5).
    static func isHeaderValue(_ text: String) -> Bool {
        guard (1...4096).contains(text.utf8.count), let first = text.utf8.first,
            let last = text.utf8.last
        else { return false }
        return !isBlank(first) && !isBlank(last)
            && text.utf8.allSatisfy { $0 == 9 || ($0 >= 32 && $0 != 127) }
    }

    /// `ProtocolType`: a word, or a domain, a slash and a word.
    static func isProtocol(_ text: String) -> Bool {
        guard (1...255).contains(text.utf8.count) else { return false }
        if let slash = text.firstIndex(of: "/") {
            let word = text[text.index(after: slash)...].utf8
            return isSubdomain(text[..<slash]) && !word.isEmpty
                && word.allSatisfy { isLetter($0) || isDigit($0) }
        }
        guard let first = text.utf8.first, let last = text.utf8.last else { return false }
        return (isLetter(first) || isDigit(first)) && (isLetter(last) || isDigit(last))
            && text.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == dash }
    }

    /// A domain, a slash and a path: `GatewayController`, and types of addresses.
    static func isDomainPath(_ text: String) -> Bool {
        guard (1...253).contains(text.utf8.count), let slash = text.firstIndex(of: "/") else {
            return false
        }
        let path = text[text.index(after: slash)...].utf8
        return isSubdomain(text[..<slash]) && !path.isEmpty
            && path.allSatisfy { isLetter($0) || isDigit($0) || pathMarks.contains($0) }
    }

    /// Letters, digits and `_`, not beginning with a digit; with dots, several such names.
    static func isProtocolBuffersName(_ text: String, dots: Bool) -> Bool {
        var isFirst = true
        for byte in text.utf8 {
            if byte == dot, dots, !isFirst {
                isFirst = true
                continue
            }
            guard isLetter(byte) || byte == UInt8(ascii: "_") || (!isFirst && isDigit(byte)) else {
                return false
            }
            isFirst = false
        }
        return !isFirst
    }

    /// The characters of an Exact or PathPrefix value: those of RFC 3986's path, escapes whole.
    static func hasPathCharacters(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "%") {
                guard index + 2 < bytes.count, isHex(bytes[index + 1]), isHex(bytes[index + 2])
                else { return false }
                index += 3
            } else if isLetter(byte) || isDigit(byte) || byte == dash || pathBytes.contains(byte) {
                index += 1
            } else {
                return false
            }
        }
        return !bytes.isEmpty
    }

    // MARK: - Bytes

    private static let dot = UInt8(ascii: ".")
    private static let dash = UInt8(ascii: "-")
    private static let pathBytes = Set("/._~!$&'()*+,;=:@".utf8)
    private static let pathMarks = Set("/-._~%!$&'()*+,;=:".utf8)
    private static let tokenMarks = Set("!#$%&'*+-.^_`|~".utf8)

    /// Small letters, digits and inner hyphens; with dots, several labels between them.
    private static func areLabels(_ bytes: some Sequence<UInt8>, dots: Bool) -> Bool {
        var last = dot
        for byte in bytes {
            let isAlphanumeric = isSmall(byte) || isDigit(byte)
            if !isAlphanumeric {
                guard byte == dash ? last != dot : (byte == dot && dots && isInner(last)) else {
                    return false
                }
            }
            last = byte
        }
        return isInner(last)
    }

    /// Whether a label may end in the byte.
    private static func isInner(_ byte: UInt8) -> Bool { byte != dash && byte != dot }

    private static func isSmall(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }
    private static func isLetter(_ byte: UInt8) -> Bool { isSmall(byte | 0x20) }
    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }
    private static func isHex(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x61...0x66).contains(byte | 0x20)
    }
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        isLetter(byte) || isDigit(byte) || tokenMarks.contains(byte)
    }
}
