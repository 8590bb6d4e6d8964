// Proves which authorities are valid and what their parts are.
import Testing

@testable import HTTP

@Suite struct AuthorityTests {
    static let valid: [Row<String>] = [
        Row("a name", "a.example", "a.example"), Row("one label", "localhost", "localhost"),
        Row("a port", "a:80", "a 80"), Row("the greatest port", "a:65535", "a 65535"),
        Row("port 0", "a:0", "a 0"), Row("zeros before a port", "a:00080", "a 80"),
        Row("an empty port", "a:", "a"), Row("a dot at the end", "a.b.", "a.b"),
        Row("a dot and a port", "a.b.:1", "a.b 1"), Row("capitals", "A.Example", "A.Example +"),
        Row("an underscore", "my_service:80", "my_service 80"), Row("a hyphen", "a-b.c", "a-b.c"),
        Row("IPv4", "127.0.0.1:8080", "127.0.0.1 8080"), Row("digits", "123", "123"),
        Row("IPv6", "[::1]", "[::1]"), Row("IPv6 and a port", "[::1]:443", "[::1] 443"),
        Row("IPv6 in full", "[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7:8]"),
        Row("IPv6 all zero", "[::]", "[::]"),
        Row("IPv6 with IPv4", "[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
        Row("IPv6 full with IPv4", "[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:1.2.3.4]"),
        Row("IPv6 capitals", "[2001:DB8::]:1", "[2001:DB8::] 1 +"),
        Row("a gap of one", "[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7::]"),
        Row("255 bytes", String(repeating: "a", count: 255), String(repeating: "a", count: 255)),
        Row(
            "a long name of labels", "aaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb.Cc:1",
            "aaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb.Cc 1 +"),
    ]

    @Test(arguments: valid) func `a valid authority has its parts`(_ row: Row<String>) {
        // Within more text, as in a head, and alone: the scans differ.
        for (before, after) in [
            ("", ""), ("Host: ", "\r\nUser-Agent: X.y\r\n\r\nABCDEFGHIJKLMNOP"),
        ] {
            let input = bytes(before + row.input + after)
            let range = before.utf8.count..<(before.utf8.count + row.input.utf8.count)
            guard let parts = Authority.parse(input.span, range) else {
                Issue.record("refused")
                continue
            }
            var read = text(Array(input[parts.host]))
            if let port = parts.port { read += " \(port)" }
            if parts.hasCapitals { read += " +" }
            #expect(read == row.wanted)
        }
    }

    @Test(arguments: [
        "", ".", "..", ".a", "a..b", "a..", ":80", ":", "a:b", "a:-1", "a:+1", "a:65536",
        "a:100000",
        "a:8 ", "a b", "a,b", "a/b", "a?b", "a#b", "a\\b", "a@b", "u:p@a", "a%62", "a!b",
        "a\u{E9}b",
        "a\0b", "a;b", "a:80:80", "a::1", "::1", "[", "[]", "[:]", "[:::]", "[::1", "::1]",
        "[::1]a",
        "[::1]:x", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1::2::3]", "[12345::]", "[g::]",
        "[::1%25eth0]", "[::1.2.3]", "[::1.2.3.256]", "[::01.2.3.4]", "[::1.2.3.4:1]", "[1.2.3.4]",
        "[1:2:3:4:5:6:7:1.2.3.4]", "[1:2:3:4:5:6:7:8::]", "[v1.a]", "*", "a*b", "(a)", "\"a\"",
        String(repeating: "a", count: 256), "[::1]]",
    ])
    func `an invalid authority is refused`(_ input: String) {
        let alone = bytes(input)
        #expect(Authority.parse(alone.span) == nil)
        let within = bytes(input + "\r\n" + String(repeating: "x", count: 40))
        #expect(Authority.parse(within.span, 0..<alone.count) == nil)
    }
}
