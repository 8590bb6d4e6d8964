// Proves what backends are told about clients, trusted or not.
import Testing

@testable import HTTP

@Suite struct ForwardedTests {
    private func forwarded(_ fields: String, trusted: Bool, secure: Bool = false) -> String {
        var head = RequestHead()
        let input = bytes("GET / HTTP/1.1\r\nHost: a:1\r\n\(fields)\r\n")
        guard case .complete = head.parse(input.span) else { return "refused" }
        check(
            Forwarded.apply(
                to: &head, client: bytes("9.9.9.9").span, isSecure: secure, isTrusted: trusted))
        return text(write(head, head.framing))
            .replacing("GET / HTTP/1.1\r\nHost: a:1\r\n", with: "").replacing("\r\n", with: "|")
    }

    static let lies =
        "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n"
        + "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.1.1.1\r\n"
        + "X-Real-IP: 1.1.1.1\r\nX-Forwarded-Client-Cert: x\r\nX-Forwarded: y\r\nA: b\r\n"

    @Test func `an untrusted client's words are dropped`() {
        #expect(
            forwarded(Self.lies, trusted: false)
                == "X-Forwarded: y|A: b|x-forwarded-for: 9.9.9.9|x-forwarded-proto: http|"
                + "x-forwarded-host: a:1||")
    }

    @Test func `a trusted client's list is continued and the rest kept`() {
        #expect(
            forwarded(Self.lies, trusted: true, secure: true)
                == "X-Forwarded-Proto: https|X-Forwarded-Host: evil|X-Forwarded-Port: 1|"
                + "Forwarded: for=1.1.1.1|X-Real-IP: 1.1.1.1|X-Forwarded-Client-Cert: x|"
                + "X-Forwarded: y|A: b|x-forwarded-for: 1.1.1.1, 2.2.2.2, 9.9.9.9||")
    }

    @Test func `what a trusted client did not say is said`() {
        #expect(
            forwarded("X-Forwarded-For:\r\n", trusted: true, secure: true)
                == "x-forwarded-for: 9.9.9.9|x-forwarded-proto: https|x-forwarded-host: a:1||")
    }

    @Test func `without room nothing traps`() {
        let limits = HeadLimits(
            requestLineBytes: 20, fieldsBytes: 100, fieldCount: 4, editBytes: 0, editCount: 0)
        var head = RequestHead(limits: limits)
        let input = bytes("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nX-Forwarded-For: 3\r\n\r\n")
        guard case .complete = head.parse(input.span) else { return }
        for trusted in [false, true] {
            check(
                !Forwarded.apply(
                    to: &head, client: bytes("9.9.9.9").span, isSecure: false, isTrusted: trusted))
        }
    }
}
