// That a hello is read whole, from any cut, and that anything else is refused without a trap.
import Testing

@testable import TLS

func text(_ bytes: Span<UInt8>) -> String {
    String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self)
}

/// Writes hellos, good and bad.
private struct HelloWriter {
    var sessionID: [UInt8] = [1, 2, 3]
    var ciphers: [UInt8] = [0x0A, 0x0A, 0x13, 0x01]
    var compression: [UInt8] = [0]
    var extensions: [(type: Int, body: [UInt8])] = []
    var hasExtensions = true
    /// Added after everything else, within the message.
    var trailing: [UInt8] = []

    static func vector(_ size: Int, _ bytes: [UInt8]) -> [UInt8] {
        (0..<size).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + bytes
    }

    static func name(_ name: String, type: UInt8 = 0) -> (type: Int, body: [UInt8]) {
        (0, vector(2, [type] + vector(2, Array(name.utf8))))
    }

    static func protocols(_ names: [String]) -> (type: Int, body: [UInt8]) {
        (16, vector(2, names.flatMap { vector(1, Array($0.utf8)) }))
    }

    static func versions(_ versions: [UInt8]) -> (type: Int, body: [UInt8]) {
        (43, vector(1, versions))
    }

    /// GREASE values (RFC 8701) around the real ones.
    static let full = HelloWriter(extensions: [
        (0x0A0A, []), name("Chat.Example."), (23, []), (10, vector(2, [0x1A, 0x1A, 0, 29])),
        protocols(["\u{1A}\u{1A}", "h2", "http/1.1", "http/1.0"]),
        (51, [UInt8](repeating: 7, count: 1_200)), versions([0x2A, 0x2A, 3, 4, 3, 3]),
        (0xFAFA, [0]),
    ])

    var message: [UInt8] {
        var body: [UInt8] = [3, 3] + [UInt8](repeating: 9, count: 32)
        body += HelloWriter.vector(1, sessionID)
        body += HelloWriter.vector(2, ciphers)
        body += HelloWriter.vector(1, compression)
        if hasExtensions {
            let all = extensions.flatMap { type, bytes in
                [UInt8(type >> 8), UInt8(type & 255)] + HelloWriter.vector(2, bytes)
            }
            body += HelloWriter.vector(2, all)
        }
        return [1] + HelloWriter.vector(3, body + trailing)
    }

    /// The message cut into records of so many bytes.
    func records(of size: Int = 16_384, minor: UInt8 = 1) -> [UInt8] {
        let message = message
        return stride(from: 0, to: message.count, by: size).flatMap { start in
            let part = Array(message[start..<min(start + size, message.count)])
            return [22, 3, minor] + HelloWriter.vector(2, part)
        }
    }
}

private func parsed(_ bytes: [UInt8]) -> ClientHello? {
    guard case .hello(let hello) = ClientHello.parse(bytes.span) else { return nil }
    return hello
}

private func word(_ bytes: [UInt8]) -> String {
    switch ClientHello.parse(bytes.span) {
    case .incomplete: "incomplete"
    case .notTLS: "not TLS"
    case .malformed: "malformed"
    case .hello: "hello"
    }
}

@Suite struct `A ClientHello` {
    @Test(arguments: [1, 2, 3, 4, 5, 40, 100, 1_000, 16_384])
    func `is read from records of every size`(size: Int) throws {
        let hello = try #require(parsed(HelloWriter.full.records(of: size)))
        #expect(text(hello.serverName) == "chat.example")
        #expect(hello.offersApplicationProtocols)
        #expect(hello.offersHTTP2)
        #expect(hello.offersHTTP11)
        #expect(hello.offersTLS13)
    }

    @Test(arguments: [1, 7, 16_384]) func `cut at any byte is incomplete`(size: Int) {
        let bytes = HelloWriter.full.records(of: size)
        for count in 0..<bytes.count where word(Array(bytes.prefix(count))) != "incomplete" {
            Issue.record("\(count) of \(bytes.count)")
        }
        #expect(word(bytes + [23, 3, 3]) == "hello")
    }

    @Test func `with a wrong byte anywhere never traps`() {
        for size in [3, 16_384] {
            let bytes = HelloWriter.full.records(of: size)
            for index in bytes.indices {
                for value in [0, 1, 22, 127, 128, 255] as [UInt8] {
                    var changed = bytes
                    changed[index] = value
                    _ = ClientHello.parse(changed.span)
                }
            }
        }
    }

    @Test func `that the library makes is read`() throws {
        for protocols in [[], ["h2"], ["http/1.1"]] {
            let client = try clientConfiguration(protocols: protocols)
            var session = try TLSSession(client: client, serverName: "a.example")
            let (bytes, _) = withOutput(4_096) { session.handshake(ciphertext: Span(), into: &$0) }
            let hello = try #require(parsed(bytes))
            #expect(text(hello.serverName) == "a.example")
            #expect(hello.offersApplicationProtocols == !protocols.isEmpty)
            #expect(hello.offersHTTP2 == protocols.contains("h2"))
            #expect(hello.offersHTTP11 == protocols.contains("http/1.1"))
            #expect(hello.offersTLS13)
            for count in 0..<bytes.count {
                #expect(word(Array(bytes.prefix(count))) == "incomplete")
            }
        }
    }

    private static let minimal = HelloWriter(extensions: [], hasExtensions: false)
    private static let long = String(repeating: "a", count: 255)

    private static let good: [(what: String, writer: HelloWriter, name: String)] = [
        ("no extensions at all", minimal, ""),
        ("no extensions in the list", HelloWriter(), ""),
        ("no name", HelloWriter(extensions: [HelloWriter.protocols(["h2"])]), ""),
        ("the longest name", HelloWriter(extensions: [HelloWriter.name(long)]), long),
        (
            "a name of an unknown kind", HelloWriter(extensions: [HelloWriter.name("x", type: 9)]),
            ""
        ),
        ("an address", HelloWriter(extensions: [HelloWriter.name("10.0.0.1")]), "10.0.0.1"),
        ("an underscore", HelloWriter(extensions: [HelloWriter.name("a_b.c")]), "a_b.c"),
    ]

    @Test(arguments: good.indices) func `of every legal form is read`(index: Int) throws {
        let row = Self.good[index]
        let hello = try #require(parsed(row.writer.records()), "\(row.what)")
        #expect(text(hello.serverName) == row.name, "\(row.what)")
    }

    private static let bad: [(what: String, writer: HelloWriter)] = [
        (
            "two names",
            HelloWriter(extensions: [
                (
                    0,
                    HelloWriter.vector(
                        2,
                        [
                            0, 0, 1, 97, 0, 0, 1, 98,
                        ]
                    )
                )
            ])
        ),
        (
            "the name's extension twice",
            HelloWriter(extensions: [
                HelloWriter.name("a"), HelloWriter.name("a"),
            ])
        ),
        (
            "the protocols' extension twice",
            HelloWriter(extensions: [
                HelloWriter.protocols(["h2"]), HelloWriter.protocols(["h2"]),
            ])
        ),
        (
            "the versions' extension twice",
            HelloWriter(extensions: [
                HelloWriter.versions([3, 4]), HelloWriter.versions([3, 4]),
            ])
        ),
        ("an empty name", HelloWriter(extensions: [HelloWriter.name("")])),
        ("a name of one dot", HelloWriter(extensions: [HelloWriter.name(".")])),
        ("a NUL in the name", HelloWriter(extensions: [HelloWriter.name("a\0b")])),
        ("a space in the name", HelloWriter(extensions: [HelloWriter.name("a b")])),
        ("a name beyond ASCII", HelloWriter(extensions: [HelloWriter.name("münchen")])),
        ("too long a name", HelloWriter(extensions: [HelloWriter.name(long + "a")])),
        ("an empty protocol", HelloWriter(extensions: [HelloWriter.protocols(["h2", ""])])),
        ("no protocols", HelloWriter(extensions: [HelloWriter.protocols([])])),
        ("a protocol beyond its list", HelloWriter(extensions: [(16, [0, 3, 9, 104, 50])])),
        ("an odd list of versions", HelloWriter(extensions: [HelloWriter.versions([3, 4, 3])])),
        ("bytes after a name's list", HelloWriter(extensions: [(0, [0, 4, 0, 0, 1, 97, 0])])),
        ("bytes after the extensions", HelloWriter(trailing: [0])),
        ("too long a session id", HelloWriter(sessionID: [UInt8](repeating: 0, count: 33))),
        ("no ciphers", HelloWriter(ciphers: [])),
        ("no compression", HelloWriter(compression: [])),
        (
            "too long a message",
            HelloWriter(extensions: [
                (21, [UInt8](repeating: 0, count: 16_384))
            ])
        ),
    ]

    @Test(arguments: bad.indices) func `of no legal form is malformed`(index: Int) {
        let row = Self.bad[index]
        #expect(word(row.writer.records()) == "malformed", "\(row.what)")
    }

    @Test(arguments: [
        ("GET / HTTP/1.1", "not TLS"), ("\u{16}\u{2}", "not TLS"), ("\u{15}\u{3}\u{3}", "not TLS"),
        ("\u{16}", "incomplete"), ("\u{16}\u{3}\u{1}\u{0}\u{0}", "malformed"),
        ("\u{16}\u{3}\u{1}\u{0}\u{4}\u{2}", "malformed"),
        ("\u{16}\u{3}\u{1}\u{0}\u{1}\u{1}\u{17}", "malformed"),
    ]) func `is told from other bytes`(bytes: String, expected: String) {
        #expect(word(Array(bytes.utf8)) == expected)
    }

    @Test func `in too many records is malformed at the limit`() {
        var writer = HelloWriter()
        writer.extensions = [(21, [UInt8](repeating: 0, count: 10_000))]
        let bytes = writer.records(of: 1)
        #expect(bytes.count > ClientHello.bytesMax)
        #expect(word(Array(bytes.prefix(ClientHello.bytesMax - 1))) == "incomplete")
        #expect(word(Array(bytes.prefix(ClientHello.bytesMax))) == "malformed")
    }
}
