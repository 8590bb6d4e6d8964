import Foundation
import HTTP
import Kernel
import Peer

/// What `ai-gateway status` does: asks a running gateway's admin port for its objects.
public struct StatusRequest: Sendable {
    /// What to print, and where.
    public struct Answer: Equatable, Sendable {
        /// For standard output when the gateway was reached, else a sentence for standard error.
        public let text: String
        public let isReached: Bool
    }

    private static let connectMilliseconds: UInt64 = 3_000
    private static let answerMilliseconds: UInt64 = 20_000
    private static let contentBytesMax = 256 << 20

    private let admin: String
    private let tokenFile: String?
    private let isJSON: Bool

    /// - Parameters:
    ///   - admin: `http://ADDRESS:PORT`, an IP address or localhost.
    ///   - tokenFile: its first line is sent as the token.
    ///   - isJSON: print what came, and not text for people.
    public init(admin: String, tokenFile: String?, isJSON: Bool) {
        self.admin = admin
        self.tokenFile = tokenFile
        self.isJSON = isJSON
    }

    /// Asks and waits; at most about 25 seconds.
    public func run() -> Answer {
        guard let place = Self.place(admin) else {
            return refused(
                "--admin \(admin) must be http://ADDRESS:PORT, with an IP address or localhost.")
        }
        var token: [UInt8]?
        if let tokenFile {
            do throws(AdminToken.Refused) {
                token = try AdminToken(path: tokenFile).bytes
            } catch {
                return refused("--admin-token-file: \(error).")
            }
        }
        var result = Result<(Int, [UInt8]), CallFailure>.failure(.invalidRequest)
        for address in place.addresses {
            result = Self.ask(address, authority: place.authority, token: token)
            guard case .failure(.connect) = result else { break }
        }
        switch result {
        case .failure(let failure): return refused(Self.sentence(failure, admin))
        case .success((let status, let content)): return answer(status, content)
        }
    }

    private func refused(_ sentence: String) -> Answer { Answer(text: sentence, isReached: false) }

    private func answer(_ status: Int, _ content: [UInt8]) -> Answer {
        switch status {
        case 200: break
        case 401:
            return refused(
                "The admin port at \(admin) wants its token: pass the right --admin-token-file.")
        default:
            let words = String(decoding: content.prefix(300), as: UTF8.self)
            return refused(
                """
                \(admin) answered \(status), so it is no admin port of ai-gateway, or refuses this: \
                \(words.trimmingCharacters(in: .whitespacesAndNewlines))
                """
            )
        }
        if isJSON {
            return Answer(text: String(decoding: content, as: UTF8.self), isReached: true)
        }
        guard let document = try? StatusDocument(json: content) else {
            return refused("\(admin) did not answer with a status; is it ai-gateway's admin port?")
        }
        return Answer(text: Self.text(document), isReached: true)
    }

    /// Problems, then objects, as `check` prints them.
    static func text(_ document: StatusDocument) -> String {
        let problems = (document.problems ?? []).map { $0.text + "\n" }.joined()
        let objects = StatusText.text(document.objects)
        let parts = [problems, objects].filter { !$0.isEmpty }
        return parts.isEmpty ? "no objects\n" : parts.joined(separator: "\n")
    }

    // MARK: - The call

    struct Place: Equatable {
        var addresses: [SocketAddress]
        var authority: String
    }

    /// Where a URL leads; nil when it is none that can be asked.
    static func place(_ url: String) -> Place? {
        guard url.lowercased().hasPrefix("http://") else { return nil }
        var authority = String(url.dropFirst(7))
        if authority.hasSuffix("/") { authority.removeLast() }
        let bytes = Array(authority.utf8)
        guard let parts = Authority.parse(bytes.span) else { return nil }
        let port = parts.port ?? 80
        let host = String(decoding: bytes[parts.host], as: UTF8.self).lowercased()
        if host == "localhost" {
            let both = [false, true].map { SocketAddress.loopback(v6: $0, port: port) }
            return Place(addresses: both, authority: authority)
        }
        let digits = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        return SocketAddress(digits, port: port).map {
            Place(addresses: [$0], authority: authority)
        }
    }

    private struct Outcome: Receiver {
        var result: Result<(Int, [UInt8]), CallFailure>?

        mutating func finish(_ call: CallID, status: Int, content: Span<UInt8>) {
            result = .success((status, content.indices.map { content[$0] }))
        }

        mutating func fail(_ call: CallID, _ failure: CallFailure) { result = .failure(failure) }
    }

    private static func ask(
        _ address: SocketAddress, authority: String, token: [UInt8]?
    ) -> Result<(Int, [UInt8]), CallFailure> {
        var now = Clock.monotonicMilliseconds()
        var client = Client(kind: 1, connections: 1, now: now)
        var outcome = Outcome()
        do throws(SystemError) {
            var loop = try Loop(capacity: 4)
            do throws(CallFailure) {
                try send(&client, address, authority, token, on: loop, now)
            } catch {
                return .failure(error)
            }
            while true {
                if let result = outcome.result { return result }
                let count = loop.wait(timeoutMilliseconds: client.nextDelay(now: now))
                now = Clock.monotonicMilliseconds()
                for index in 0..<count {
                    client.handle(loop.event(index), on: loop, now: now, &outcome)
                }
                client.tick(on: loop, now: now, &outcome)
            }
        } catch {
            return .failure(.connect(error.code))
        }
    }

    private static func send(
        _ client: inout Client, _ address: SocketAddress, _ authority: String, _ token: [UInt8]?,
        on loop: borrowing Loop, _ now: UInt64
    ) throws(CallFailure) {
        let target = Array("/status".utf8)
        let host = Array(authority.utf8)
        guard client.begin(.get, target: target.span, authority: host.span) else {
            throw .invalidRequest
        }
        if let token {
            let field = Array("Bearer ".utf8) + token
            guard client.addField("authorization", field.span) else { throw .invalidRequest }
        }
        let settings = CallSettings(
            address: address, connectMilliseconds: connectMilliseconds,
            answerMilliseconds: answerMilliseconds, contentBytesMax: contentBytesMax)
        _ = try client.send(settings, on: loop, now: now)
    }

    private static func sentence(_ failure: CallFailure, _ admin: String) -> String {
        let cause =
            switch failure {
            case .connect(let code): SystemError.sentence(for: code).lowercased()
            case .connectTimeout: "no connection within \(connectMilliseconds / 1_000) s"
            case .answerTimeout: "no answer within \(answerMilliseconds / 1_000) s"
            case .closed, .truncated: "the connection ended too early"
            case .malformed, .tooLarge: "the answer is none of an admin port"
            case .exhausted, .invalidRequest: "the request could not be sent"
            }
        return
            """
            No admin port answers at \(admin) (\(cause)): start ai-gateway run, or say where its \
            admin port is by --admin http://ADDRESS:PORT.
            """
    }
}

extension StatusDocument.Problem {
    /// The problem in one line, as `ConfigProblem` prints it.
    var text: String {
        var problem = ConfigProblem(
            severity == "error" ? .error : severity == "warning" ? .warning : .notice,
            fieldPath: field ?? "", reason: reason, message: message)
        if let file, let line, let column {
            problem.position = SourcePosition(file: file, line: line, column: column)
        }
        if let kind, let name {
            problem.object = ObjectReference(kind: kind, namespace: namespace, name: name)
        }
        return "\(problem)"
    }
}
