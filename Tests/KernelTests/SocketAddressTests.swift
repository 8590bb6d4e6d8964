// Addresses are read and written as RFC 4291 and RFC 5952 say, and nothing else is read.
import BasicContainers
import Kernel
import Testing

struct SocketAddressTests {
    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
        ("10.20.30.4", "10.20.30.4"), ("::", "::"), ("::1", "::1"), ("1::", "1::"),
        ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
        ("2001:0db8:0000:0000:0000:ff00:0042:8329", "2001:db8::ff00:42:8329"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"), ("0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("::192.0.2.1", "::c000:201"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fe80::1%1", "fe80::1%1"),
    ])
    func `a numeric host is written in its one form`(host: String, written: String) throws {
        let address = try #require(SocketAddress(host, port: 80))
        #expect(address.hostDescription == written)
        let isMapped = host.hasPrefix("::ffff")
        if !isMapped { #expect(SocketAddress(written, port: 80) == address) }
        #expect(address.isIPv6 == host.contains(":"))
    }

    @Test(arguments: [
        "", " ", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "::1::",
        "[::1]", ":::", "12345::", "1.2.3.4:80", "fe80::1%", "fe80::1%nowhere0", "1.2.3.4\0",
        "g::1", String(repeating: "1", count: 100),
    ])
    func `anything else is no host`(host: String) {
        #expect(SocketAddress(host, port: 80) == nil)
    }

    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("192.0.2.7:4711", "192.0.2.7"), ("2001:DB8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"), ("[2001:db8::7]:4711", "2001:db8::7"),
        ("0000:0000:0000:0000:0000:ffff:192.168.100.228", "192.168.100.228"),
    ])
    func `what a proxy tells is read without its port`(text: String, host: String) throws {
        let told = SocketAddress(told: text.utf8Span.span)
        let address = try #require(told)
        #expect(address.hostDescription == host && address.port == 0)
    }

    @Test(arguments: [
        "", ":", "[", "[]", "[::1", "unknown", "_hidden", "1.2.3", "256.1.1.1", "1.2.3.4 ",
        "fe80::1%1",
        String(repeating: "1", count: 100), String(repeating: ":", count: 46),
    ])
    func `what is no address tells of nobody`(text: String) {
        let told = SocketAddress(told: text.utf8Span.span)
        #expect(told == nil)
    }

    @Test(arguments: [
        ("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:65535", "[::1]:65535"), ("[::]:0", "[::]:0"),
        ("[2001:DB8::1]:8080", "[2001:db8::1]:8080"),
    ])
    func `an address with a port is read and written`(text: String, written: String) throws {
        let address = try #require(SocketAddress(parsing: text))
        #expect(address.description == written)
        #expect(SocketAddress(parsing: written) == address)
    }

    @Test(arguments: [
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
        "127.0.0.1:+1", "127.0.0.1: 1", "::1:80", "[::1]", "[::1]80", "[::1:80", "::1]:80",
        "[127.0.0.1]:80", "[]:80", "localhost:80", "127.0.0.1:80:80",
    ])
    func `anything else is no address`(text: String) {
        #expect(SocketAddress(parsing: text) == nil)
    }

    @Test func `a mapped address counts as IPv4 in text`() throws {
        let address = try #require(SocketAddress("::ffff:127.0.0.1", port: 9))
        #expect(address.isIPv6)
        #expect(address.isLoopback)
        #expect(address.description == "127.0.0.1:9")
    }

    @Test func `the kinds are told apart`() throws {
        #expect(SocketAddress.any(v6: false, port: 1).isAny)
        #expect(SocketAddress.any(v6: true, port: 1).isAny)
        #expect(SocketAddress.any(v6: false, port: 1) != SocketAddress.any(v6: true, port: 1))
        check(SocketAddress.loopback(v6: true, port: 1).isLoopback)
        #expect(try #require(SocketAddress("127.9.9.9", port: 1)).isLoopback)
        #expect(try !#require(SocketAddress("128.0.0.1", port: 1)).isLoopback)
        #expect(try !#require(SocketAddress("::2", port: 1)).isLoopback)
        #expect(!SocketAddress.any(v6: false, port: 1).isLoopback)
    }

    @Test(arguments: [
        ("10.1.2.3", "10.1.9.9", 16, true), ("10.1.2.3", "10.1.9.9", 21, false),
        ("10.1.2.3", "10.1.9.9", 20, true), ("10.1.2.3", "10.1.2.3", 32, true),
        ("10.1.2.3", "10.1.2.2", 32, false), ("10.1.2.3", "99.1.2.3", 0, true),
        ("::ffff:10.1.2.3", "10.1.0.0", 16, true), ("10.0.0.0", "::1", 0, false),
        ("2001:db8::1", "2001:db8::2", 64, true), ("2001:db8::1", "2001:db8::2", 126, true),
        ("2001:db8::1", "2001:db8::2", 127, false), ("2001:db8::1", "2001:db8::1", 128, true),
        ("2001:db8::1", "2001:db9::1", 31, true), ("2001:db8::1", "2001:db9::1", 32, false),
        ("2001:db8::1", "2001:db9::1", 128, false),
    ])
    func `leading bits are compared`(one: String, two: String, bits: Int, agree: Bool) throws {
        let first = try #require(SocketAddress(one, port: 1))
        let second = try #require(SocketAddress(two, port: 2))
        #expect(first.agrees(with: second, bits: bits) == agree)
        #expect(second.agrees(with: first, bits: bits) == agree)
    }

    @Test func `every octet is written in decimal, with much room or just enough`() throws {
        for octet in 0...255 as ClosedRange<Int> {
            for place in 0..<4 {
                var octets = [7, 42, 199, 0]
                octets[place] = octet
                let text = octets.map(String.init).joined(separator: ".")
                let address = try #require(SocketAddress(text, port: 1))
                for room in [text.utf8.count, text.utf8.count + 1, 16, 64]
                where room >= text.utf8.count {
                    var bytes = RigidArray<UInt8>(capacity: room + 1)
                    bytes.append(0x21)
                    bytes.edit { address.writeHost(into: &$0) }
                    #expect(String(decoding: array(bytes.span), as: UTF8.self) == "!" + text)
                }
            }
        }
    }

    @Test func `equal addresses hash alike and the port can change`() throws {
        var one = try #require(SocketAddress("10.0.0.1", port: 1))
        let two = try #require(SocketAddress("10.0.0.1", port: 2))
        #expect(one != two)
        one.port = 2
        #expect(one == two)
        #expect(Set([one, two]).count == 1)
    }
}
