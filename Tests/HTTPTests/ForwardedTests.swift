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

    @Test(arguments: [
        ("X-Forwarded-For: a\r\n", 1, "a"), ("X-Forwarded-For: a\r\n", 2, nil),
        ("A: b\r\n", 1, nil),
        ("X-Forwarded-For: a, b , c\r\n", 1, "c"), ("X-Forwarded-For: a, b , c\r\n", 2, "b"),
        ("X-Forwarded-For: a,b\r\nA: b\r\nx-forwarded-for: c\r\n", 1, "c"),
        ("X-Forwarded-For: a,b\r\nA: b\r\nx-forwarded-for: c\r\n", 2, "b"),
        ("X-Forwarded-For: a,b\r\nA: b\r\nx-forwarded-for: c\r\n", 3, "a"),
        ("X-Forwarded-For: a,b\r\nA: b\r\nx-forwarded-for: c\r\n", 4, nil),
        ("X-Forwarded-For:\r\nX-Forwarded-For: ,a,, ,\r\n", 1, "a"),
        ("X-Forwarded-For: , ,\r\n", 1, nil),
    ])
    func `the client stands so many proxies from the end`(
        fields: String, hops: Int, client: String?
    ) {
        var head = RequestHead()
        let input = bytes("GET / HTTP/1.1\r\nHost: a:1\r\n\(fields)\r\n")
        guard case .complete = head.parse(input.span) else { return check(false) }
        let found = Forwarded.client(of: head, hops: hops)
        var said: String?
        if let found { said = part(head, found) }
        check(said == client)
    }

    @Test func `a list begins anew with the client that another field tells of`() {
        var head = RequestHead()
        let input = bytes(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nCF-Connecting-IP: 1.2.3.4\r\n\r\n"
        )
        guard case .complete = head.parse(input.span) else { return check(false) }
        let told = Forwarded.client(of: head, named: bytes("cf-connecting-ip").span)
        var said: String?
        if let told { said = part(head, told) }
        check(said == "1.2.3.4")
        check(Forwarded.restart(&head, from: told))
        check(
            Forwarded.apply(
                to: &head, client: bytes("9.9.9.9").span, isSecure: false, isTrusted: true))
        check(text(write(head, head.framing)).contains("x-forwarded-for: 1.2.3.4, 9.9.9.9\r\n"))
        check(!text(write(head, head.framing)).contains("6.6.6.6"))
        Forwarded.drop(bytes("cf-connecting-ip").span, of: &head)
        check(Forwarded.client(of: head, named: bytes("cf-connecting-ip").span) == nil)
    }

    private func part(_ head: borrowing RequestHead, _ range: ByteRange) -> String {
        let span = head.span(range)
        return String(decoding: span.indices.map { span[$0] }, as: UTF8.self)
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
