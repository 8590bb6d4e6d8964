// Proves that a head with ready lines says the same as one that was edited line by line.
import BasicContainers
import Testing

@testable import HTTP

/// A request head as it is sent: request line, and fields with names in small letters.
private struct Sent: Equatable {
    var line = ""
    var fields: [String] = []

    init(_ output: [UInt8]) {
        var lines = text(output).components(separatedBy: "\r\n")
        check(lines.suffix(2) == ["", ""], "a head ends with an empty line")
        lines.removeLast(2)
        line = lines.removeFirst()
        fields = lines.map { line in
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            return line[..<colon].lowercased() + line[colon...]
        }
    }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [String] {
        split(separator: separator, omittingEmptySubsequences: false).map { String($0) }
    }
}

@Suite struct RequestAdditionsTests {
    private let client = bytes("10.1.2.3")
    private let bits: (UInt64, UInt64) = (0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321)

    private func additions(isSecure: Bool) -> RequestAdditions {
        var additions = RequestAdditions(via: "ai-gateway")
        additions.setClient(client.span, isSecure: isSecure, .http11)
        additions.makeRequestID(milliseconds: 1_700_000_000_000, random: bits)
        return additions
    }

    /// What a test does to a head between parsing and writing.
    private struct Plan {
        var parts: RequestAdditions.Parts = [.requestID, .forwarded]
        var isSecure = false
        var framing: BodyFraming?
        var authority: String?
        var added: String?
        var removed: String?
    }

    private func edit(_ head: inout RequestHead, _ plan: Plan) {
        if let name = plan.added {
            check(head.append(name: bytes(name).span, value: bytes("added").span))
        }
        if let name = plan.removed { head.remove(named: bytes(name).span) }
        head.removeConnectionFields()
    }

    /// Line by line, with the editing functions of the head.
    private func slowly(_ head: inout RequestHead, _ plan: Plan) -> Sent {
        edit(&head, plan)
        if plan.parts.contains(.forwarded) {
            check(
                Forwarded.apply(
                    to: &head, client: client.span, isSecure: plan.isSecure, isTrusted: false))
        }
        check(head.append(.via, value: bytes("1.1 ai-gateway").span))
        if plan.parts.contains(.requestID) {
            var id = RigidArray<UInt8>(capacity: 36)
            check(
                id.edit {
                    RequestID.write(milliseconds: 1_700_000_000_000, random: bits, into: &$0)
                })
            check(head.set(.xRequestID, value: id.span))
        }
        if let authority = plan.authority { check(head.setAuthority(bytes(authority).span)) }
        return Sent(write(head, plan.framing ?? head.framing))
    }

    /// With ready lines; also what the writer says about places.
    private func quickly(_ head: inout RequestHead, _ plan: Plan, skipping before: Int) -> Sent {
        edit(&head, plan)
        let host = head.authority
        if let authority = plan.authority { check(head.setAuthority(bytes(authority).span)) }
        let lines = additions(isSecure: plan.isSecure)
        var output = RigidArray<UInt8>(capacity: 8_192)
        output.append(copying: [UInt8](repeating: 0x2E, count: before).span)
        let framing = plan.framing ?? head.framing
        let place = output.edit {
            HeadWriter.write(
                request: head, framing: framing, adding: plan.parts, of: lines,
                forwardedHost: host, into: &$0)
        }
        #expect(place.fits)
        if plan.parts.contains(.requestID) {
            check(text(output.span.extracting(place.requestID.range)) == text(lines.requestID))
        } else {
            #expect(place.requestID.isNone)
        }
        let sent = output.span.extracting(before...)
        for room in [0, 1, sent.count / 2, sent.count - 2, sent.count - 1] {
            var tight = RigidArray<UInt8>(capacity: room)
            let place = tight.edit {
                HeadWriter.write(
                    request: head, framing: framing, adding: plan.parts, of: lines,
                    forwardedHost: host, into: &$0)
            }
            #expect(!place.fits && place.requestID.isNone)
        }
        return Sent((0..<sent.count).map { sent[$0] })
    }

    private func compare(_ input: String, _ plan: Plan) {
        var first = RequestHead()
        var second = RequestHead()
        let input = bytes(input)
        guard case .complete = first.parse(input.span), case .complete = second.parse(input.span)
        else {
            Issue.record("refused: \(text(input))")
            return
        }
        let slow = slowly(&first, plan)
        let quick = quickly(&second, plan, skipping: input.count % 3)
        #expect(quick.line == slow.line)
        #expect(quick.fields.sorted() == slow.fields.sorted(), "\(text(input)) \(plan)")
        // What the gateway adds comes last, both times.
        let added = ["via: 1.1 ai", "x-request-id", "x-forwarded-", "content-length", "transfer-"]
        func kept(_ sent: Sent) -> [String] {
            sent.fields.filter { field in !added.contains { field.hasPrefix($0) } }
        }
        #expect(kept(quick) == kept(slow))
    }

    static let pieces = [
        "User-Agent: curl/8.0", "Accept: */*", "Connection: keep-alive", "Connection: x-own, close",
        "X-Own: 1", "Keep-Alive: timeout=5", "TE: trailers", "X-Forwarded-For: 1.1.1.1",
        "x-forwarded-FOR: 2.2.2.2", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1", "Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1",
        "X-Forwarded-Client-Cert: x", "x-forwarded-: y", "X-Forwarded: y", "Via: 1.0 other",
        "X-Request-ID: mine", "x-request-id: other", "Cookie: a=b; c=d", "Odd:value",
        "Odd2: \t value ", "Empty:", "bad_name: x",
        "Long: " + String(repeating: "abcdefgh", count: 40), "Upgrade: websocket",
        "Proxy-Connection: keep-alive", "Trailer: x", "Accept-Encoding: gzip",
    ]

    @Test(arguments: 0..<24) func `any head says the same both ways`(_ seed: Int) {
        var random = Seeded(UInt64(100 + seed))
        for _ in 0..<250 {
            var lines: [String] = []
            for _ in 0..<random.below(9) {
                lines.append(Self.pieces[random.below(Self.pieces.count)])
            }
            let length = [
                "", "Content-Length: 5", "Content-Length: 05", "Transfer-Encoding: chunked",
            ]
            let framing = length[random.below(9) % length.count]
            if !framing.isEmpty { lines.insert(framing, at: random.below(lines.count + 1)) }
            lines.insert("Host: Example.org:81", at: random.below(3) == 0 ? lines.count : 0)
            let starts = [
                "GET / HTTP/1.1", "POST /a/b?c=d HTTP/1.1", "GET /a/../b HTTP/1.1",
                "GET http://other/x HTTP/1.1",
                "PUT /" + String(repeating: "x", count: 200) + " HTTP/1.1",
            ]
            let start = starts[random.below(starts.count)]
            let end = random.below(12) == 0 ? "\n" : "\r\n"
            var plan = Plan()
            let parts = random.below(3) == 0 ? UInt8(random.below(4)) : 3
            plan.parts = RequestAdditions.Parts(rawValue: parts)
            plan.isSecure = random.below(2) == 0
            let framings = [BodyFraming.none, .chunked, .length(7)]
            if random.below(5) == 0 { plan.framing = framings[random.below(3)] }
            if random.below(4) == 0 { plan.authority = "endpoint:8000" }
            let added = ["x-added", "x-forwarded-for", "x-forwarded-new"]
            if random.below(5) == 0 { plan.added = added[random.below(3)] }
            let removed = ["accept", "x-own", "user-agent"]
            if random.below(5) == 0 { plan.removed = removed[random.below(3)] }
            compare(start + "\r\n" + lines.map { $0 + end }.joined() + "\r\n", plan)
        }
    }

    @Test func `the usual head is its own bytes with the lines behind them`() throws {
        var head = RequestHead()
        let input = bytes("GET /a HTTP/1.1\r\nHost: b:1\r\nAccept: */*\r\n\r\n")
        guard case .complete = head.parse(input.span) else { return }
        let lines = additions(isSecure: true)
        let output = written {
            HeadWriter.write(
                request: head, framing: .none, adding: [.requestID, .forwarded], of: lines,
                forwardedHost: head.authority, into: &$0
            ).fits
        }
        #expect(
            text(output ?? [])
                == "GET /a HTTP/1.1\r\nHost: b:1\r\nAccept: */*\r\n"
                + "x-request-id: 018bcfe5-6800-7ef0-8fed-cba987654321\r\nvia: 1.1 ai-gateway\r\n"
                + "x-forwarded-proto: https\r\nx-forwarded-for: 10.1.2.3\r\n"
                + "x-forwarded-host: b:1\r\n\r\n")
    }

    @Test func `without an authority there is no X-Forwarded-Host`() {
        compare("GET / HTTP/1.0\r\nAccept: x\r\n\r\n", Plan())
        compare("GET / HTTP/1.0\r\n\r\n", Plan())
    }

    @Test func `a trusted client's words are edited before and stay`() {
        var head = RequestHead()
        let input = bytes(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Any: b\r\n"
                + "X-Forwarded-Host: c\r\nX-Forwarded-Proto: https\r\nX-Request-ID: mine\r\n\r\n")
        guard case .complete = head.parse(input.span) else { return }
        check(
            Forwarded.apply(to: &head, client: client.span, isSecure: false, isTrusted: true))
        let lines = additions(isSecure: false)
        let output = written {
            HeadWriter.write(
                request: head, framing: .none, adding: [], of: lines,
                forwardedHost: head.authority, into: &$0
            ).fits
        }
        #expect(
            Sent(output ?? []).fields == [
                "host: a", "x-forwarded-any: b", "x-forwarded-host: c", "x-forwarded-proto: https",
                "x-request-id: mine", "x-forwarded-for: 1.1.1.1, 10.1.2.3", "via: 1.1 ai-gateway",
            ])
    }

    @Test func `another client's lines replace those of the one before`() {
        var lines = additions(isSecure: true)
        for address in ["::1", "2001:db8:1111:2222:3333:4444:5555:6666", "1.1.1.1", ""] {
            for isSecure in [true, false] {
                for (version, word) in [(Version.http2, "2"), (.http10, "1.0"), (.http11, "1.1")] {
                    lines.setClient(bytes(address).span, isSecure: isSecure, version)
                    let proto = isSecure ? "https" : "http"
                    check(
                        text(lines.lines([.forwarded]))
                            == "via: \(word) ai-gateway\r\nx-forwarded-proto: \(proto)\r\n"
                            + "x-forwarded-for: \(address)\r\n")
                }
            }
        }
        check(text(lines.lines([])) == "via: 1.1 ai-gateway\r\n")
        let id = text(lines.requestID)
        check(text(lines.lines([.requestID])) == "x-request-id: \(id)\r\nvia: 1.1 ai-gateway\r\n")
    }

    @Test func `the longest client and via fit`() {
        var lines = RequestAdditions(via: "a-rather-long-name-of-a-gateway-that-nobody-has")
        lines.setClient([UInt8](repeating: 0x61, count: 64).span, isSecure: true, .http11)
        check(text(lines.lines([.requestID, .forwarded])).hasSuffix("aaaa\r\n"))
    }
}
