// A PROXY protocol header is read whole or not at all, however it is cut, and what is written is read back.
import BasicContainers
import Kernel
import Testing

struct ProxyHeaderTests {
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    private static func binary(
        _ command: UInt8, _ family: UInt8, _ rest: [UInt8], count: Int? = nil
    ) -> [UInt8] {
        let count = count ?? rest.count
        return signature + [command, family, UInt8(count >> 8), UInt8(count & 0xFF)] + rest
    }

    private static func proxied(_ source: String, _ destination: String) -> ProxyHeader {
        guard let source = SocketAddress(parsing: source),
            let destination = SocketAddress(parsing: destination)
        else { return .local }
        return .proxied(source: source, destination: destination)
    }

    private func parse(_ bytes: [UInt8]) -> ProxyHeader.Parsed { ProxyHeader.parse(bytes.span) }

    private static let v4: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB]
    private static let v6: [UInt8] =
        [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        + [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2] + [0x00, 0x50, 0x1F, 0x90]

    static let good: [([UInt8], ProxyHeader)] = [
        (
            Array("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".utf8),
            proxied("192.0.2.1:56324", "198.51.100.1:443")
        ),
        (
            Array("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".utf8),
            proxied("255.255.255.255:65535", "255.255.255.255:65535")
        ),
        (
            Array("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".utf8), proxied("0.0.0.0:0", "0.0.0.0:0")
        ),
        (
            Array("PROXY TCP6 2001:DB8::1 2001:db8::2 80 8080\r\n".utf8),
            proxied("[2001:db8::1]:80", "[2001:db8::2]:8080")
        ),
        (
            Array(
                ("PROXY TCP6 " + String(repeating: "ffff:", count: 7) + "ffff "
                    + String(repeating: "ffff:", count: 7) + "ffff 65535 65535\r\n").utf8),
            proxied(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
        ),
        (Array("PROXY UNKNOWN\r\n".utf8), .local),
        (
            Array(
                ("PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n").utf8), .local
        ),
        (binary(0x21, 0x11, v4), proxied("192.0.2.1:56324", "198.51.100.1:443")),
        (binary(0x21, 0x21, v6), proxied("[2001:db8::1]:80", "[2001:db8::2]:8080")),
        (
            binary(0x21, 0x11, v4 + [0x04, 0, 3, 1, 2, 3]),
            proxied("192.0.2.1:56324", "198.51.100.1:443")
        ),
        (
            binary(0x21, 0x11, v4 + Array(repeating: 0xEE, count: 4_096)),
            proxied("192.0.2.1:56324", "198.51.100.1:443")
        ),
        (binary(0x20, 0x00, []), .local),
        (binary(0x20, 0x11, v4), .local), (binary(0x20, 0x11, []), .local),
        (binary(0x20, 0x44, []), .local), (binary(0x20, 0xFF, [1, 2]), .local),
        (binary(0x21, 0x00, []), .local),
        (binary(0x21, 0x00, [1, 2, 3]), .local),
        (binary(0x21, 0x12, v4), .local),
        (binary(0x21, 0x22, v6), .local),
        (binary(0x21, 0x31, Array(repeating: 0x61, count: 216)), .local),
    ]

    @Test(arguments: good)
    func `a header is incomplete until its last byte`(bytes: [UInt8], header: ProxyHeader) {
        for count in 0..<bytes.count {
            #expect(parse(Array(bytes[..<count])) == .incomplete, "\(count)")
        }
        #expect(parse(bytes) == .header(header, byteCount: bytes.count))
    }

    @Test(arguments: good)
    func `what follows a header is not part of it`(bytes: [UInt8], header: ProxyHeader) {
        for next in [UInt8(0), 0x0A, 0x0D, 0x50] {
            let parsed = parse(bytes + Array(repeating: next, count: 200))
            #expect(parsed == .header(header, byteCount: bytes.count))
        }
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n", "P\r\n", "PROXY\r\n", "PROXY \r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4\r\n", "PROXY TCP4 \r\n", "PROXY TCP4 1.2.3.4\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1  1\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n", " PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4\t1.2.3.4 1.2.3.4 1 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n", "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n", "PROXY TCP4 1.2.3.4 example.org 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n", "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP6 ::1 1.2.3.4 1 1\r\n", "PROXY TCP6 fe80::1%lo ::1 1 1\r\n",
        "PROXY TCP6 ::g ::1 1 1\r\n", "PROXY TCP6 1:::1 ::1 1 1\r\n",
        "PROXY TCP6 [::1] [::1] 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 00 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 +1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 111111 1\r\n", "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", "PROXY unknown\r\n", "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\0\r\n", "\r\nPROXY UNKNOWN\r\n",
    ])
    func `text that is no header is refused`(text: String) {
        #expect(parse(Array(text.utf8)) == .malformed)
    }

    @Test func `a line is refused as soon as it is too long`() {
        let long = Array(("PROXY UNKNOWN " + String(repeating: "x", count: 200)).utf8)
        #expect(parse(Array(long[..<106])) == .incomplete)
        #expect(parse(Array(long[..<107])) == .malformed)
        #expect(parse(Array(long[..<106]) + [0x0D]) == .malformed)
        #expect(parse(Array(long[..<106]) + [0x0D, 0x0A]) == .malformed)
        #expect(parse(Array(long[..<105]) + [0x0D, 0x0A]) == .header(.local, byteCount: 107))
    }

    @Test(arguments: [
        binary(0x11, 0x11, v4), binary(0x22, 0x11, v4), binary(0x2F, 0x11, v4), binary(0x01, 0, []),
        binary(0x21, 0x01, v4), binary(0x21, 0x10, v4), binary(0x21, 0x13, v4),
        binary(0x21, 0x41, v4), binary(0x21, 0xFF, v4), binary(0x21, 0x11, Array(v4.dropLast())),
        binary(0x21, 0x11, []), binary(0x21, 0x21, Array(v6.dropLast())), binary(0x21, 0x21, v4),
        binary(0x21, 0x31, v6), binary(0x21, 0x11, v4, count: 0xFFFF),
        binary(0x20, 0x00, [], count: 216 + 4_097), binary(0x21, 0x44, []),
    ])
    func `binary that is no header is refused before its end`(bytes: [UInt8]) {
        #expect(parse(Array(bytes.prefix(16))) == .malformed)
        #expect(parse(bytes) == .malformed)
    }

    @Test func `a wrong byte of the signature is refused when it comes`() {
        for at in 0..<12 {
            var bytes = Self.signature
            bytes[at] ^= 0x80
            #expect(parse(Array(bytes[...at])) == .malformed, "\(at)")
        }
    }

    // MARK: - Writing

    private func written(_ body: (inout OutputSpan<UInt8>) -> Void) -> [UInt8] {
        var array = RigidArray<UInt8>(capacity: ProxyHeader.writtenBytesMax)
        array.edit { body(&$0) }
        return (0..<array.count).map { array[$0] }
    }

    @Test(arguments: good.filter { $0.1 != .local })
    func `what is written is read back`(bytes: [UInt8], header: ProxyHeader) {
        let text = written { header.writeText(into: &$0) }
        #expect(parse(text) == .header(header, byteCount: text.count))
        let binary = written { header.writeBinary(into: &$0) }
        #expect(parse(binary) == .header(header, byteCount: binary.count))
    }

    @Test func `the written forms are those of the specification`() {
        let v4 = Self.proxied("192.0.2.1:56324", "198.51.100.1:443")
        let line = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
        #expect(written { v4.writeText(into: &$0) } == Array(line.utf8))
        #expect(written { v4.writeBinary(into: &$0) } == Self.binary(0x21, 0x11, Self.v4))
        let v6 = Self.proxied("[2001:db8::1]:80", "[2001:db8::2]:8080")
        #expect(
            written { v6.writeText(into: &$0) }
                == Array("PROXY TCP6 2001:db8::1 2001:db8::2 80 8080\r\n".utf8))
        #expect(written { v6.writeBinary(into: &$0) } == Self.binary(0x21, 0x21, Self.v6))
    }

    @Test func `mapped addresses are written as IPv4`() {
        let mapped = Self.proxied("[::ffff:192.0.2.1]:56324", "[::ffff:198.51.100.1]:443")
        let line = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
        #expect(written { mapped.writeText(into: &$0) } == Array(line.utf8))
        #expect(written { mapped.writeBinary(into: &$0) } == Self.binary(0x21, 0x11, Self.v4))
    }

    @Test(arguments: [ProxyHeader.local, proxied("192.0.2.1:1", "[2001:db8::2]:2")])
    func `without two addresses of one family nobody is named`(header: ProxyHeader) {
        #expect(written { header.writeText(into: &$0) } == Array("PROXY UNKNOWN\r\n".utf8))
        #expect(written { header.writeBinary(into: &$0) } == Self.binary(0x21, 0x00, []))
    }

    @Test func `zero is a port of one digit`() {
        let header = Self.proxied("1.2.3.4:0", "1.2.3.4:10")
        #expect(
            written { header.writeText(into: &$0) }
                == Array("PROXY TCP4 1.2.3.4 1.2.3.4 0 10\r\n".utf8))
    }
}
