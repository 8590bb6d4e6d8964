// That two sessions agree and carry bytes whatever the windows are, and that an end is told from a
// truncation.
import Testing

@testable import TLS

/// What a connection may be made of.
struct Flavour: Sendable, CustomTestStringConvertible {
    let maximum: TLSVersion
    let isRSA: Bool
    var testDescription: String { "\(maximum), \(isRSA ? "RSA" : "ECDSA")" }

    static let all = [TLSVersion.tls12, .tls13].flatMap { version in
        [false, true].map { Flavour(maximum: version, isRSA: $0) }
    }

    func loopback() throws -> Loopback {
        let client = try clientConfiguration()
        client.context.limit(to: maximum)
        return try Loopback(
            client,
            try serverConfiguration([isRSA ? Certificates.rsa : Certificates.ecdsa])
        )
    }
}

@Suite struct `A session` {
    @Test(arguments: Flavour.all, [1, 2, 5, 7, 64, 255, 1_024, 16_384, 65_536])
    func `agrees and carries bytes through input windows of every size`(
        flavour: Flavour,
        size: Int
    ) throws {
        let pair = try flavour.loopback()
        pair.inputSize = size
        #expect(pair.shake())
        #expect(pair.server.version == flavour.maximum)
        #expect(pair.client.version == flavour.maximum)
        let bytes = sampleBytes(40_000)
        pair.send(bytes)
        #expect(pair.receive() == .init(plaintext: bytes))
        pair.send(bytes, fromServer: true)
        #expect(pair.receive(atServer: false) == .init(plaintext: bytes))
    }

    @Test(arguments: Flavour.all, [1, 2, 3, 16, 97, 500, 4_096])
    func `keeps handshake bytes that do not fit the output`(flavour: Flavour, size: Int) throws {
        let pair = try flavour.loopback()
        pair.outputSize = size
        #expect(pair.shake())
        pair.outputSize = 65_536
        pair.send([1, 2, 3])
        #expect(pair.receive().plaintext == [1, 2, 3])
    }

    @Test(arguments: Flavour.all, [97, 100, 1_000, 16_384, 16_480, 16_500, 40_000, 65_536])
    func `seals only what fits the output`(flavour: Flavour, room: Int) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        pair.outputSize = room
        let bytes = sampleBytes(room < 1_000 ? 500 : 100_000)
        pair.send(bytes)
        #expect(pair.receive() == .init(plaintext: bytes))
    }

    @Test(arguments: [0, 1, 64, TLSSession.recordOverheadMax])
    func `seals nothing where no record fits`(room: Int) throws {
        let pair = try Flavour.all[0].loopback()
        #expect(pair.shake())
        let (bytes, result) = withOutput(room) { output in
            pair.client.write(plaintext: [1, 2, 3].span, into: &output)
        }
        #expect(result == .sealed(0))
        #expect(bytes.isEmpty)
        pair.send([4])
        #expect(pair.receive().plaintext == [4])
    }

    @Test(arguments: Flavour.all, [1, 3, 100, 16_383, 16_384, 16_385])
    func `keeps plaintext that does not fit, and says so`(flavour: Flavour, room: Int) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        let bytes = sampleBytes(room == 1 ? 2_000 : 50_000)
        pair.send(bytes)
        #expect(pair.receive(room: room) == .init(plaintext: bytes))
        #expect(pair.server.hasPending == false)
    }

    @Test func `takes no ciphertext beyond the record that fills the plaintext`() throws {
        let pair = try Flavour.all[2].loopback()
        #expect(pair.shake())
        pair.send([1, 2, 3, 4])
        let first = pair.toServer.count
        pair.send([5, 6])
        let window = pair.toServer
        let (bytes, result) = withOutput(4) { plaintext in
            withOutput(64) { reply in
                pair.server.read(ciphertext: window.span, into: &plaintext, reply: &reply)
            }.result
        }
        #expect(bytes == [1, 2, 3, 4])
        #expect(result == .init(consumed: first, produced: 4, state: .plaintextFull))
    }

    @Test(arguments: Flavour.all) func `takes all ciphertext with the documented capacity`(
        flavour: Flavour
    ) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        let bytes = sampleBytes(70_000)
        pair.send(bytes)
        // All of a first record but one byte is with the session already.
        var window = Array(pair.toServer.prefix(16_400))
        var got: [UInt8] = []
        for next in [Array(pair.toServer.dropFirst(16_400)), []] {
            let capacity = TLSSession.plaintextCapacity(forCiphertext: window.count)
            let (plain, result) = withOutput(capacity) { plaintext in
                withOutput(64) { reply in
                    pair.server.read(ciphertext: window.span, into: &plaintext, reply: &reply)
                }.result
            }
            #expect(result.state == .wantsInput)
            #expect(result.consumed == window.count)
            got += plain
            window = next
        }
        #expect(got == bytes)
    }

    @Test(arguments: Flavour.all, [1, 16_384, 16_385, 65_536, 100_000])
    func `seals everything with the documented capacity`(flavour: Flavour, count: Int) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        let bytes = sampleBytes(count)
        let capacity = TLSSession.ciphertextCapacity(forPlaintext: count)
        let (_, result) = withOutput(capacity) { output in
            pair.client.write(plaintext: bytes.span, into: &output)
        }
        #expect(result == .sealed(count))
    }

    @Test(arguments: Flavour.all) func `carries a megabyte unchanged`(flavour: Flavour) throws {
        let pair = try flavour.loopback()
        pair.inputSize = 10_000
        #expect(pair.shake())
        let bytes = sampleBytes(1 << 20)
        pair.send(bytes, fromServer: true)
        let received = pair.receive(atServer: false)
        #expect(Digest.sha256Hex(received.plaintext) == Digest.sha256Hex(bytes))
    }

    @Test func `leaves early application data to read`() throws {
        let pair = try Flavour.all[2].loopback()
        // The client's last flight and its first request arrive together.
        while !pair.client.isOpen {
            let input = pair.toClient
            pair.toClient = []
            let (bytes, _) = withOutput(65_536) { output in
                pair.client.handshake(ciphertext: input.span, into: &output)
            }
            pair.toServer += bytes
            if pair.client.isOpen { break }
            let hello = pair.toServer
            pair.toServer = []
            let (answer, _) = withOutput(65_536) { output in
                pair.server.handshake(ciphertext: hello.span, into: &output)
            }
            pair.toClient += answer
        }
        pair.send([7, 8, 9])
        #expect(pair.server.isOpen == false)
        #expect(pair.shake())
        #expect(pair.receive() == .init(plaintext: [7, 8, 9]))
    }

    @Test(arguments: Flavour.all) func `changes its key unnoticed`(flavour: Flavour) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        for round in 0..<5 {
            pair.client.recordsUntilKeyUpdate = 1
            let bytes = sampleBytes(20_000 + round)
            pair.send(bytes)
            #expect(pair.receive() == .init(plaintext: bytes))
            pair.send(bytes, fromServer: true)
            #expect(pair.receive(atServer: false) == .init(plaintext: bytes))
        }
    }

    @Test(arguments: Flavour.all) func `makes short records where the peer asks for them`(
        flavour: Flavour
    ) throws {
        let pair = try flavour.loopback()
        pair.client.askForShortRecords()
        #expect(pair.shake())
        for room in [1_000, 65_536] {
            pair.outputSize = room
            let bytes = sampleBytes(20_000)
            pair.send(bytes, fromServer: true)
            #expect(pair.toClient.count > 20_000 + 20_000 / 512 * 22)
            #expect(pair.receive(atServer: false) == .init(plaintext: bytes))
        }
    }

    @Test func `answers a key update with its next record`() throws {
        let pair = try Flavour.all[2].loopback()
        #expect(pair.shake())
        _ = pair.receive(atServer: false)
        pair.client.requestKeyUpdate()
        pair.send([1, 2, 3])
        #expect(pair.receive() == .init(plaintext: [1, 2, 3]))
        #expect(pair.toClient.isEmpty)
        pair.outputSize = TLSSession.recordOverheadMax + 3
        pair.send([4, 5, 6], fromServer: true)
        // A key update takes 27 bytes, a record 22 more than its plaintext.
        #expect(pair.toClient.count == 27 + 25)
        #expect(pair.receive(atServer: false) == .init(plaintext: [4, 5, 6]))
    }
}

@Suite struct `The end of a session` {
    @Test(arguments: Flavour.all) func `is told by close_notify`(flavour: Flavour) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        pair.send([1, 2, 3])
        let (bytes, isDone) = withOutput(TLSSession.replyCapacity) { output in
            pair.client.closeNotify(into: &output)
        }
        #expect(isDone)
        #expect(!bytes.isEmpty)
        pair.toServer += bytes
        #expect(pair.receive() == .init(plaintext: [1, 2, 3], last: .closed))
        #expect(pair.server.closeNotifyReceived == true)
        // The other direction still works.
        pair.send([4, 5], fromServer: true)
        #expect(pair.receive(atServer: false) == .init(plaintext: [4, 5]))
    }

    @Test(arguments: Flavour.all) func `without close_notify is a truncation`(
        flavour: Flavour
    ) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        pair.send([1, 2, 3])
        #expect(pair.receive() == .init(plaintext: [1, 2, 3]))
        #expect(pair.server.closeNotifyReceived == false)
    }

    @Test func `may come in pieces`() throws {
        let pair = try Flavour.all[2].loopback()
        #expect(pair.shake())
        var calls = 0
        var isDone = false
        while !isDone && calls < 100 {
            let (bytes, result) = withOutput(1) { output in
                pair.client.closeNotify(into: &output)
            }
            pair.toServer += bytes
            isDone = result
            calls += 1
        }
        #expect(calls > 10)
        #expect(pair.receive().last == .closed)
    }

    @Test func `lets nothing be written after it`() throws {
        let pair = try Flavour.all[0].loopback()
        #expect(pair.shake())
        _ = withOutput(64) { output in pair.client.closeNotify(into: &output) }
        let (bytes, result) = withOutput(1_000) { output in
            pair.client.write(plaintext: [1].span, into: &output)
        }
        #expect(result == .failed(TLSError(.notOpen)))
        #expect(bytes.isEmpty)
    }

    @Test func `is quiet while there is no session yet`() throws {
        let pair = try Flavour.all[0].loopback()
        let (bytes, isDone) = withOutput(64) { output in pair.client.closeNotify(into: &output) }
        #expect(isDone)
        #expect(bytes.isEmpty)
        #expect(
            withOutput(64) { pair.client.write(plaintext: [1].span, into: &$0) }.result
                == .failed(TLSError(.notOpen))
        )
    }
}

@Suite struct `Garbage` {
    @Test(arguments: Flavour.all) func `in place of a record ends the session with an alert`(
        flavour: Flavour
    ) throws {
        let pair = try flavour.loopback()
        #expect(pair.shake())
        pair.send(sampleBytes(100))
        pair.toServer[pair.toServer.count / 2] ^= 1
        let received = pair.receive()
        #expect(received.plaintext.isEmpty)
        guard case .failed(let error) = received.last else {
            Issue.record("\(received)")
            return
        }
        #expect(error.reason == .protocolViolation)
        #expect(!pair.toClient.isEmpty)
        #expect(pair.server.isOpen == false)
        // The other side hears of it.
        guard case .failed(let heard) = pair.receive(atServer: false).last else {
            Issue.record("No alert.")
            return
        }
        #expect(heard.reason == .alertReceived)
    }

    @Test(arguments: [0, 1, 5, 50, 300], [1, 64, 65_536])
    func `in a handshake ends it, cut anywhere`(keep: Int, size: Int) throws {
        let pair = try Flavour.all[2].loopback()
        let (hello, _) = withOutput(65_536) { pair.client.handshake(ciphertext: Span(), into: &$0) }
        pair.toServer = Array(hello.prefix(keep)) + sampleBytes(20_000)
        pair.inputSize = size
        var failure: TLSError?
        for _ in 0..<30_000 where failure == nil && !pair.toServer.isEmpty {
            let window = Array(pair.toServer.prefix(size))
            let (_, result) = withOutput(65_536) {
                pair.server.handshake(ciphertext: window.span, into: &$0)
            }
            pair.toServer.removeFirst(result.consumed)
            if case .failed(let error) = result.state { failure = error }
        }
        #expect(failure != nil)
        let again = withOutput(100) { pair.server.handshake(ciphertext: Span(), into: &$0) }
        #expect(again.result.state == .failed(TLSError(.notOpen)))
    }

    @Test func `of every kind never opens a session`() throws {
        let configuration = try serverConfiguration()
        let noise = sampleBytes(4_000)
        for start in stride(from: 0, to: 3_000, by: 7) {
            var server = try TLSSession(server: configuration, serverName: Span())
            var bytes = Array(noise[start..<(start + 600)])
            if start % 2 == 0 { bytes.replaceSubrange(0..<3, with: [22, 3, 1]) }
            let (_, result) = withOutput(1_000) {
                server.handshake(ciphertext: bytes.span, into: &$0)
            }
            #expect(result.state != .finished)
        }
    }

    @Test func `that is plain HTTP is told apart`() throws {
        var server = try TLSSession(server: try serverConfiguration(), serverName: Span())
        let request = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        let (_, result) = withOutput(100) { server.handshake(ciphertext: request.span, into: &$0) }
        guard case .failed(let error) = result.state else {
            Issue.record("\(result)")
            return
        }
        #expect(error.reason == .plainHTTP)
    }

    @Test func `of one session is not blamed on the next`() throws {
        var bad = try TLSSession(server: try serverConfiguration(), serverName: Span())
        _ = withOutput(100) { bad.handshake(ciphertext: sampleBytes(100).span, into: &$0) }
        let pair = try Flavour.all[0].loopback()
        #expect(pair.shake())
    }
}

/// Ends `count` sessions of each side, most of them in the middle of their handshake.
private func makeMany(
    _ count: Int, _ client: TLSClientConfiguration, _ server: TLSServerConfiguration
) throws {
    for round in 0..<count {
        var session = try TLSSession(client: client, serverName: "a.example")
        _ = withOutput(2_000) { session.handshake(ciphertext: Span(), into: &$0) }
        _ = try TLSSession(server: server, serverName: Span())
        if round % 200 == 0 {
            let pair = try Loopback(client, server)
            _ = pair.shake()
            _ = pair.receive(atServer: false)
        }
    }
}

@Suite struct `Memory` {
    /// In a process of its own, where no other test takes memory meanwhile.
    @Test func `stays flat over ten thousand sessions`() async {
        await #expect(processExitsWith: .success) {
            let client = try clientConfiguration(resumableSessionsMax: 4)
            let server = try serverConfiguration(ticketKeys: TLSTicketKeys(now: 0))
            try makeMany(1_000, client, server)
            let before = residentPages()
            try makeMany(10_000, client, server)
            // A leak of a hundred bytes for each session would be some 500 pages.
            #expect(residentPages() - before < 200)
        }
    }
}
