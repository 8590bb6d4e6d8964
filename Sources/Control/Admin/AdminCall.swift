import Foundation
import HTTP
import Kernel
import Peer

/// Asks a running gateway's admin port for one page; for `status`, `explain` and `top`.
struct AdminCall: Sendable {
    /// Why there is no page, as a sentence for standard error.
    struct Refused: Error, Equatable, CustomStringConvertible {
        let description: String
    }

    private static let connectMilliseconds: UInt64 = 3_000
    private static let answerMilliseconds: UInt64 = 20_000
    private static let contentBytesMax = 256 << 20

    /// `http://ADDRESS:PORT`, an IP address or localhost.
    let admin: String
    /// Its first line is sent as the token.
    let tokenFile: String?

    /// What a GET of a path, with its query, is answered; waits at most about 25 seconds.
    func get(_ target: String) throws(Refused) -> [UInt8] {
        guard let place = Self.place(admin) else {
            throw Refused(
                description:
                    "--admin \(admin) must be http://ADDRESS:PORT, with an IP address or localhost."
            )
        }
        let token = try token()
        var result = Result<(Int, [UInt8]), CallFailure>.failure(.invalidRequest)
        for address in place.addresses {
            result = Self.ask(address, authority: place.authority, target: target, token: token)
            guard case .failure(.connect) = result else { break }
        }
        switch result {
        case .failure(let failure): throw Refused(description: Self.sentence(failure, admin))
        case .success((let status, let content)): return try answer(status, content)
        }
    }

    private func token() throws(Refused) -> [UInt8]? {
        guard let tokenFile else { return nil }
        do throws(AdminToken.Refused) {
            return try AdminToken(path: tokenFile).bytes
        } catch {
            throw Refused(description: "--admin-token-file: \(error).")
        }
    }

    private func answer(_ status: Int, _ content: [UInt8]) throws(Refused) -> [UInt8] {
        switch status {
        case 200: return content
        case 401:
            throw Refused(
                description:
                    "The admin port at \(admin) wants its token: pass the right --admin-token-file."
            )
        default:
            let words = String(decoding: content.prefix(300), as: UTF8.self)
            throw Refused(
                description: """
                    \(admin) answered \(status), so it is no admin port of ai-gateway, or refuses \
                    this: \(words.trimmingCharacters(in: .whitespacesAndNewlines))
                    """)
        }
    }

    // MARK: - Where

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

    // MARK: - The call

    private struct Outcome: Receiver {
        var result: Result<(Int, [UInt8]), CallFailure>?

        mutating func finish(_ call: CallID, status: Int, content: Span<UInt8>) {
            result = .success((status, content.indices.map { content[$0] }))
        }

        mutating func fail(_ call: CallID, _ failure: CallFailure) { result = .failure(failure) }
    }

    private static func ask(
        _ address: SocketAddress, authority: String, target: String, token: [UInt8]?
    ) -> Result<(Int, [UInt8]), CallFailure> {
        var now = Clock.monotonicMilliseconds()
        var client = Client(kind: 1, connections: 1, now: now)
        var outcome = Outcome()
        do throws(SystemError) {
            var loop = try Loop(capacity: 4)
            do throws(CallFailure) {
                try send(&client, address, authority, target, token, on: loop, now)
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
        _ client: inout Client, _ address: SocketAddress, _ authority: String, _ target: String,
        _ token: [UInt8]?, on loop: borrowing Loop, _ now: UInt64
    ) throws(CallFailure) {
        let target = Array(target.utf8)
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
            case .closed, .truncated, .insecure: "the connection ended too early"
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
