/// The header by which a proxy in front says between whom a connection really is (PROXY protocol, versions 1 and 2,
/// HAProxy's `proxy-protocol.txt`).
///
/// It stands once, before any other byte, TLS included. Nothing in it is proven: only a peer that is known to send
/// it may be believed, and a listener that takes it must insist on it.
public enum ProxyHeader: BitwiseCopyable, Hashable, Sendable {
    /// The connection's own addresses hold: the proxy speaks for itself (LOCAL), or does not know for whom (UNKNOWN),
    /// or for somebody who is not reached over TCP.
    case local
    /// On behalf of `source`, which connected to `destination`; both are of one family.
    case proxied(source: SocketAddress, destination: SocketAddress)

    /// What some first bytes of a connection came to.
    public enum Parsed: Equatable, Sendable {
        /// So far they begin a header.
        case incomplete
        /// They are no header and will not become one.
        case malformed
        /// A header of so many bytes; what follows is the connection's own.
        case header(ProxyHeader, byteCount: Int)
    }

    /// Most bytes of version 1, line end included (§2.1).
    public static var textBytesMax: Int { 107 }
    /// Most bytes of version 2 that are read: the fixed part, the longest addresses and 4 KiB of extensions.
    public static var binaryBytesMax: Int { fixedBytes + 216 + 4_096 }
    /// Most bytes that are written, of either version.
    public static var writtenBytesMax: Int { textBytesMax }

    /// Reads a header of either version from the first bytes of a connection.
    ///
    /// Strict where the specification is: one space, no leading zeroes, a known family. Extensions (TLVs) are skipped.
    /// Costs a pass over at most `textBytesMax` bytes, so that it may be tried anew when more came.
    public static func parse(_ bytes: Span<UInt8>) -> Parsed {
        if bytes.isEmpty { return .incomplete }
        return bytes[0] == UInt8(ascii: "P") ? parseText(bytes) : parseBinary(bytes)
    }

    /// The two ends as they are written: as IPv4 where both are or are mapped (RFC 4291 §2.5.5.2), as IPv6 where
    /// neither is, else not at all.
    private var ends: (source: SocketAddress, destination: SocketAddress, isIPv6: Bool)? {
        guard case .proxied(let source, let destination) = self else { return nil }
        let isIPv6 = source.ipv4 == nil
        return isIPv6 == (destination.ipv4 == nil) ? (source, destination, isIPv6) : nil
    }
}

// MARK: - Version 1

extension ProxyHeader {
    /// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CRLF.
    private static func parseText(_ bytes: Span<UInt8>) -> Parsed {
        if !startsAlike(bytes, "PROXY ") { return .malformed }
        let count = min(bytes.count, textBytesMax)
        var end = 0
        while end < count, bytes[end] != 0x0D, bytes[end] != 0x0A { end += 1 }
        // A CR that is the last byte allowed has no room for its LF.
        if end + 1 >= count {
            let mayGoOn = count < textBytesMax && (end == count || bytes[end] == 0x0D)
            return mayGoOn ? .incomplete : .malformed
        }
        guard bytes[end] == 0x0D, bytes[end + 1] == 0x0A,
            let header = header(ofLine: bytes.extracting(6..<max(end, 6)))
        else { return .malformed }
        return .header(header, byteCount: end + 2)
    }

    /// What follows `PROXY `, without the line end.
    private static func header(ofLine line: Span<UInt8>) -> ProxyHeader? {
        var rest = Words(count: line.count)
        guard let family = rest.next(line) else { return nil }
        let word = line.extracting(family)
        // Whatever stands behind it is to be ignored.
        if equals(word, "UNKNOWN") { return .local }
        let isIPv6 = equals(word, "TCP6")
        guard isIPv6 || equals(word, "TCP4"),
            var source = rest.next(line).flatMap({ address(line.extracting($0), isIPv6) }),
            var destination = rest.next(line).flatMap({ address(line.extracting($0), isIPv6) }),
            let sourcePort = rest.next(line).flatMap({ port(line.extracting($0)) }),
            let destinationPort = rest.next(line).flatMap({ port(line.extracting($0)) }),
            rest.isAtEnd
        else { return nil }
        source.port = sourcePort
        destination.port = destinationPort
        return .proxied(source: source, destination: destination)
    }

    /// Words with exactly one space between them.
    private struct Words {
        private var at = 0
        private let count: Int

        init(count: Int) { self.count = count }

        var isAtEnd: Bool { at > count }

        mutating func next(_ line: Span<UInt8>) -> Range<Int>? {
            if at > count { return nil }
            var end = at
            while end < count, line[end] != 0x20 { end += 1 }
            defer { at = end + 1 }
            return end == at ? nil : at..<end
        }
    }

    private static func address(_ text: Span<UInt8>, _ isIPv6: Bool) -> SocketAddress? {
        if text.count > 45 { return nil }
        var string = ""
        for at in 0..<text.count {
            switch text[at] {
            case 0x30...0x39, 0x2E: break
            case 0x41...0x46, 0x61...0x66, 0x3A: if !isIPv6 { return nil }
            default: return nil
            }
            string.unicodeScalars.append(Unicode.Scalar(text[at]))
        }
        guard let address = SocketAddress(string, port: 0), address.isIPv6 == isIPv6 else {
            return nil
        }
        return address
    }

    private static func port(_ text: Span<UInt8>) -> UInt16? {
        guard (1...5).contains(text.count), text[0] != 0x30 || text.count == 1 else { return nil }
        var value: UInt32 = 0
        for at in 0..<text.count {
            guard (0x30...0x39).contains(text[at]) else { return nil }
            value = value * 10 + UInt32(text[at] - 0x30)
        }
        return UInt16(exactly: value)
    }

    /// Appends the header in version 1, at most `textBytesMax` bytes.
    public func writeText(into output: inout OutputSpan<UInt8>) {
        guard let (source, destination, isIPv6) = ends else {
            return Self.append("PROXY UNKNOWN\r\n", &output)
        }
        Self.append(isIPv6 ? "PROXY TCP6 " : "PROXY TCP4 ", &output)
        source.writeHost(into: &output)
        output.append(0x20)
        destination.writeHost(into: &output)
        output.append(0x20)
        Self.append(source.port, &output)
        output.append(0x20)
        Self.append(destination.port, &output)
        Self.append("\r\n", &output)
    }

    private static func append(_ number: UInt16, _ output: inout OutputSpan<UInt8>) {
        var divisor: UInt16 = 10_000
        while divisor > 1, number < divisor { divisor /= 10 }
        while divisor > 0 {
            output.append(UInt8(0x30 + number / divisor % 10))
            divisor /= 10
        }
    }
}

// MARK: - Version 2

extension ProxyHeader {
    /// Signature, version and command, family and protocol, length.
    private static var fixedBytes: Int { 16 }
    private static var signature: StaticString { "\r\n\r\n\0\r\nQUIT\n" }

    private static func parseBinary(_ bytes: Span<UInt8>) -> Parsed {
        if !startsAlike(bytes, signature) { return .malformed }
        if bytes.count > 12, bytes[12] != 0x20, bytes[12] != 0x21 { return .malformed }
        if bytes.count < fixedBytes { return .incomplete }
        let count = fixedBytes + Int(bytes[14]) << 8 + Int(bytes[15])
        guard count <= binaryBytesMax else { return .malformed }
        // With LOCAL the family and what follows are to be discarded, whatever they are.
        if bytes[12] == 0x20 {
            return bytes.count < count ? .incomplete : .header(.local, byteCount: count)
        }
        guard let needed = addressBytes(bytes[13]), count >= fixedBytes + needed else {
            return .malformed
        }
        if bytes.count < count { return .incomplete }
        return .header(header(family: bytes[13], bytes), byteCount: count)
    }

    /// Bytes of the two addresses by family and protocol; nil when these are none of the specification's.
    private static func addressBytes(_ family: UInt8) -> Int? {
        switch family {
        case 0x00: 0
        case 0x11, 0x12: 12
        case 0x21, 0x22: 36
        case 0x31, 0x32: 216
        default: nil
        }
    }

    private static func header(family: UInt8, _ bytes: Span<UInt8>) -> ProxyHeader {
        switch family {
        case 0x11:
            return .proxied(
                source: SocketAddress(
                    upper: 0, lower: number(bytes, at: 16, 4), scope: 0,
                    port: UInt16(number(bytes, at: 24, 2)), isIPv6: false),
                destination: SocketAddress(
                    upper: 0, lower: number(bytes, at: 20, 4), scope: 0,
                    port: UInt16(number(bytes, at: 26, 2)), isIPv6: false))
        case 0x21:
            return .proxied(
                source: SocketAddress(
                    upper: number(bytes, at: 16, 8), lower: number(bytes, at: 24, 8), scope: 0,
                    port: UInt16(number(bytes, at: 48, 2)), isIPv6: true),
                destination: SocketAddress(
                    upper: number(bytes, at: 32, 8), lower: number(bytes, at: 40, 8), scope: 0,
                    port: UInt16(number(bytes, at: 50, 2)), isIPv6: true))
        // Nobody who could be named in `x-forwarded-for`: unspecified, datagrams, Unix sockets.
        default: return .local
        }
    }

    /// A number in network order.
    private static func number(_ bytes: Span<UInt8>, at start: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for at in start..<(start + count) { value = value << 8 | UInt64(bytes[at]) }
        return value
    }

    /// Appends the header in version 2: 16, 28 or 52 bytes.
    public func writeBinary(into output: inout OutputSpan<UInt8>) {
        Self.append(Self.signature, &output)
        guard let (source, destination, isIPv6) = ends else {
            // The command PROXY with nobody's addresses, for LOCAL would say that no client is behind it.
            return Self.append(0x2100_0000, 4, &output)
        }
        if isIPv6 {
            Self.append(0x2121_0024, 4, &output)
            Self.append(source.upper, 8, &output)
            Self.append(source.lower, 8, &output)
            Self.append(destination.upper, 8, &output)
            Self.append(destination.lower, 8, &output)
        } else {
            Self.append(0x2111_000C, 4, &output)
            // The lower 32 bits, of a mapped address too.
            Self.append(source.lower, 4, &output)
            Self.append(destination.lower, 4, &output)
        }
        Self.append(UInt64(source.port), 2, &output)
        Self.append(UInt64(destination.port), 2, &output)
    }

    private static func append(
        _ number: UInt64, _ count: Int, _ output: inout OutputSpan<UInt8>
    ) {
        for at in 1...count {
            output.append(UInt8(truncatingIfNeeded: number >> UInt64((count - at) * 8)))
        }
    }
}

// MARK: - Text of our own

extension ProxyHeader {
    /// Whether the bytes begin with the text, or it with them.
    private static func startsAlike(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        let count = min(bytes.count, text.utf8CodeUnitCount)
        // Sound: below the count of a text that lives for ever.
        for at in 0..<count where unsafe bytes[at] != text.utf8Start[at] { return false }
        return true
    }

    private static func equals(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        bytes.count == text.utf8CodeUnitCount && startsAlike(bytes, text)
    }

    private static func append(_ text: StaticString, _ output: inout OutputSpan<UInt8>) {
        for at in 0..<text.utf8CodeUnitCount {
            // Sound: below the count of a text that lives for ever.
            output.append(unsafe text.utf8Start[at])
        }
    }
}
