// Two sessions that talk to each other in memory, over windows of a chosen size, and the
// certificates that the tests use.
import Testing

@testable import TLS

/// Runs a body with an output window of so many bytes; what was put out, and the body's result.
func withOutput<Result>(
    _ capacity: Int,
    _ body: (inout OutputSpan<UInt8>) -> Result
) -> (bytes: [UInt8], result: Result) {
    var result: Result?
    let bytes = [UInt8](capacity: capacity) { output in
        result = body(&output)
    }
    guard let result else { fatalError("The body runs exactly once.") }
    return (bytes, result)
}

/// A client and a server with the bytes that travel between them.
final class Loopback {
    var client: TLSSession
    var server: TLSSession
    var toServer: [UInt8] = []
    var toClient: [UInt8] = []
    /// The most ciphertext given to a session at once.
    var inputSize = 65_536
    /// The room for ciphertext given to a session at once.
    var outputSize = 65_536
    /// The first error of either side.
    var clientFailure: TLSError?
    var serverFailure: TLSError?

    init(
        _ client: TLSClientConfiguration,
        _ server: TLSServerConfiguration,
        name: String = "a.example",
        resumptionKey: UInt64 = 0
    ) throws {
        let clientSession = try TLSSession(
            client: client,
            serverName: name,
            resumptionKey: resumptionKey
        )
        let serverSession = try TLSSession(server: server, serverName: Array(name.utf8).span)
        self.client = clientSession
        self.server = serverSession
    }

    /// Lets both sides go on until nothing moves any more; true: both are open.
    func shake() -> Bool {
        var isMoving = true
        while isMoving {
            isMoving = Loopback.step(
                &client,
                &toClient,
                &toServer,
                inputSize,
                outputSize,
                &clientFailure
            )
            if Loopback.step(&server, &toServer, &toClient, inputSize, outputSize, &serverFailure) {
                isMoving = true
            }
        }
        return client.isOpen && server.isOpen
    }

    /// One call for one side: whether it took or gave anything, or finished.
    private static func step(
        _ session: inout TLSSession,
        _ input: inout [UInt8],
        _ output: inout [UInt8],
        _ inputSize: Int,
        _ outputSize: Int,
        _ failure: inout TLSError?
    ) -> Bool {
        guard !session.isOpen, failure == nil else { return false }
        let window = Array(input.prefix(inputSize))
        let (bytes, result) = withOutput(outputSize) { output in
            session.handshake(ciphertext: window.span, into: &output)
        }
        input.removeFirst(result.consumed)
        output += bytes
        switch result.state {
        case .wantsInput: #expect(result.consumed == window.count)
        case .outputFull: #expect(bytes.count == outputSize)
        case .finished: return true
        case .failed(let error): failure = error
        }
        return result.consumed > 0 || !bytes.isEmpty
    }

    /// What a read of everything on its way gave.
    struct Received: Equatable {
        var plaintext: [UInt8] = []
        var last: TLSSession.ReadResult.State = .wantsInput
    }

    /// Reads what is on its way to the server (or the client), through windows of `inputSize` and
    /// plaintext windows of `room`.
    func receive(atServer: Bool = true, room: Int = 81_920) -> Received {
        if atServer {
            return Loopback.receive(&server, &toServer, &toClient, inputSize, room)
        }
        return Loopback.receive(&client, &toClient, &toServer, inputSize, room)
    }

    private static func receive(
        _ session: inout TLSSession,
        _ input: inout [UInt8],
        _ reply: inout [UInt8],
        _ inputSize: Int,
        _ room: Int
    ) -> Received {
        var received = Received()
        repeat {
            let window = Array(input.prefix(inputSize))
            var replied: [UInt8] = []
            let (bytes, result) = withOutput(room) { plaintext in
                let (bytes, result) = withOutput(TLSSession.replyCapacity) { reply in
                    session.read(ciphertext: window.span, into: &plaintext, reply: &reply)
                }
                replied = bytes
                return result
            }
            #expect(bytes.count == result.produced)
            input.removeFirst(result.consumed)
            reply += replied
            received.plaintext += bytes
            received.last = result.state
            switch result.state {
            case .wantsInput: #expect(result.consumed == window.count)
            case .plaintextFull: #expect(bytes.count == room)
            case .replyFull: break
            case .closed, .failed: return received
            }
        } while !input.isEmpty || session.hasPending
        return received
    }

    /// Writes from the client (or the server), through ciphertext windows of `outputSize`.
    func send(_ plaintext: [UInt8], fromServer: Bool = false) {
        if fromServer {
            Loopback.send(&server, plaintext, &toClient, outputSize)
        } else {
            Loopback.send(&client, plaintext, &toServer, outputSize)
        }
    }

    private static func send(
        _ session: inout TLSSession,
        _ plaintext: [UInt8],
        _ output: inout [UInt8],
        _ room: Int
    ) {
        var rest = plaintext
        while !rest.isEmpty {
            let (bytes, result) = withOutput(room) { output in
                session.write(plaintext: rest.span, into: &output)
            }
            output += bytes
            guard case .sealed(let count) = result, count > 0 else {
                Issue.record("\(result)")
                return
            }
            rest.removeFirst(count)
        }
    }
}

/// Certificates made once for all tests.
enum Certificates {
    static let authority = make([], isAuthority: true)
    static let stranger = make([], isAuthority: true)
    static let ecdsa = make(["a.example"], issuer: authority)
    static let rsa = make(["a.example"], isRSA: true, issuer: authority)
    static let other = make(["b.example", "*.b.example"], issuer: authority)
    static let address = make(["127.0.0.1", "::1"], issuer: authority)
    static let uri = make(["spiffe://cluster/model"], issuer: authority)
    static let expired = make(["a.example"], validSeconds: -7_200...(-3_600), issuer: authority)
    static let early = make(["a.example"], validSeconds: 3_600...7_200, issuer: authority)
    static let client = make(["client"], issuer: authority)

    private static func make(
        _ names: [String],
        validSeconds: ClosedRange<Int> = -60...86_400,
        isRSA: Bool = false,
        issuer: SelfSignedCertificate? = nil,
        isAuthority: Bool = false
    ) -> SelfSignedCertificate {
        do {
            return try SelfSignedCertificate.make(
                names: names,
                validSeconds: validSeconds,
                isRSA: isRSA,
                issuer: issuer,
                isAuthority: isAuthority
            )
        } catch {
            fatalError("\(error)")
        }
    }
}

extension SelfSignedCertificate {
    func parsed() throws -> TLSCertificate {
        try TLSCertificate(chainPEM: certificatePEM, keyPEM: keyPEM)
    }
}

func serverConfiguration(
    _ certificates: [SelfSignedCertificate] = [Certificates.ecdsa],
    protocols: [String] = [],
    validation: TLSClientValidation = .none,
    context: [UInt8] = [1],
    ticketKeys: TLSTicketKeys? = nil
) throws -> TLSServerConfiguration {
    try TLSServerConfiguration(
        certificates: try certificates.map { try $0.parsed() },
        applicationProtocols: protocols,
        clientValidation: validation,
        sessionContext: context,
        ticketKeys: ticketKeys
    )
}

func clientConfiguration(
    trust: TLSTrust = .certificates(Certificates.authority.certificatePEM),
    subjectNames: [TLSSubjectName] = [],
    protocols: [String] = [],
    certificate: SelfSignedCertificate? = nil,
    resumableSessionsMax: Int = 0
) throws -> TLSClientConfiguration {
    try TLSClientConfiguration(
        trust: trust,
        subjectNames: subjectNames,
        applicationProtocols: protocols,
        clientCertificate: try certificate?.parsed(),
        resumableSessionsMax: resumableSessionsMax
    )
}

/// Bytes without a pattern, the same in every run.
func sampleBytes(_ count: Int) -> [UInt8] {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 33)
    }
}
