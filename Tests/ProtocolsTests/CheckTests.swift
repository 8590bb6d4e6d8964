// Proves what is asked over ext_authz, and that no answer but a whole one says that a request may pass.
import BasicContainers
import HTTP
import Protocols
import Testing

@Suite struct CheckTests {
    private static func field(_ number: UInt8, _ value: [UInt8]) -> [UInt8] {
        ProcessingTests.field(number, value)
    }

    private static func header(_ name: String, _ value: String, _ more: [UInt8] = []) -> [UInt8] {
        field(1, ProcessingTests.field(1, name) + ProcessingTests.field(2, value)) + more
    }

    private static var allowed: [UInt8] {
        let ok =
            field(2, header("X-User", "ann")) + field(2, header("x-more", "1", [0x18, 1]))
            + field(2, header("content-length", "9")) + field(2, header("x-bad", "a\r\nb: c"))
            + ProcessingTests.field(5, "X-Gone") + ProcessingTests.field(5, "content-length")
            + ProcessingTests.field(5, "host") + field(6, header("x-seen", "1"))
        return field(1, []) + field(3, ok)
    }

    private static var denied: [UInt8] {
        let denial =
            field(1, [0x08, 0x91, 0x03]) + field(2, header("Location", "/in"))
            + ProcessingTests.field(3, "why")
        return field(1, [0x08, 0x07]) + field(2, denial)
    }

    private static func response(_ bytes: [UInt8]) -> CheckResponse? {
        CheckResponse(bytes.span, 0..<bytes.count)
    }

    private static func text(_ bytes: [UInt8], _ write: (inout OutputSpan<UInt8>) -> Bool) -> String
    {
        var out = RigidArray<UInt8>(capacity: 4096)
        #expect(out.edit { write(&$0) })
        return String(decoding: (0..<out.count).map { out[$0] }, as: UTF8.self)
    }

    @Test func `leave comes with edits of both heads`() throws {
        let bytes = Self.allowed
        let response = try #require(Self.response(bytes))
        #expect(response.isAllowed)
        #expect(
            Self.text(bytes) { response.appendEdits(of: .request, bytes.span, into: &$0) }
                == "=x-user:ann\r\n?x-more:1\r\n-x-gone:\r\n")
        #expect(
            Self.text(bytes) { response.appendEdits(of: .answer, bytes.span, into: &$0) }
                == "+x-seen:1\r\n")
        #expect(Self.text(bytes) { response.appendLines(bytes.span, into: &$0) } == "")
    }

    @Test func `edits are read as they were written`() {
        let bytes = Array("=x-user:ann: b\r\n-x-gone:\r\n".utf8)
        var edits = HeadEdits()
        var found: [String] = []
        while let line = edits.next(bytes.span) {
            found.append(
                "\(line.edit) \(String(decoding: bytes[line.name], as: UTF8.self)) "
                    + String(decoding: bytes[line.value], as: UTF8.self))
        }
        #expect(found == ["set x-user ann: b", "remove x-gone "])
    }

    @Test func `a denial has a status, lines and content`() throws {
        let bytes = Self.denied
        let response = try #require(Self.response(bytes))
        #expect(!response.isAllowed && response.status == 401)
        #expect(String(decoding: bytes[response.content], as: UTF8.self) == "why")
        #expect(
            Self.text(bytes) { response.appendLines(bytes.span, into: &$0) } == "location: /in\r\n")
        #expect(
            Self.text(bytes) { response.appendEdits(of: .request, bytes.span, into: &$0) } == "")
    }

    @Test func `an error without more is a denial`() throws {
        let response = try #require(Self.response([0x0A, 0x02, 0x08, 0x10]))
        #expect(!response.isAllowed && response.status == 403 && response.content.isEmpty)
    }

    @Test func `who allows and denies at once has said nothing`() {
        #expect(Self.response(Self.field(1, []) + Self.field(2, [])) == nil)
    }

    @Test func `a message that is cut anywhere is read over or refused, and traps nowhere`() {
        for bytes in [Self.allowed, Self.denied] {
            for count in 0..<bytes.count {
                let part = Array(bytes[..<count])
                guard let response = Self.response(part) else { continue }
                _ = Self.text(part) { response.appendEdits(of: .request, part.span, into: &$0) }
                _ = Self.text(part) { response.appendLines(part.span, into: &$0) }
            }
        }
    }

    @Test func `lines of one name are joined in the place of the first, however many there are`() {
        // As many steps as lines: in their square, so many would take minutes.
        let count = 20_000
        var head = Array("GET / HTTP/1.1\r\n".utf8)
        for at in 0..<count {
            head += "X-\(at % 2 == 0 ? "a" : "n\(at)"): \(at % 10)\r\n".utf8
            head += "x-\(at % 2 == 0 ? "N\(at)" : "A"): \(at % 10)\r\n".utf8
        }
        head += "\r\n".utf8
        let facts = CheckFacts(
            isSecure: true, version: .http11, size: 0, milliseconds: 0, clientPort: 1, ownPort: 2)
        var out = RigidArray<UInt8>(capacity: 2 * head.count)
        let fits = out.edit {
            CheckRequest.append(
                head.span, host: Span(), id: Span(), client: Span(), own: Span(), content: Span(),
                facts, isWhole: false, into: &$0)
        }
        #expect(fits)
        let joined = (0..<count).map { "\($0 % 10)" }.joined(separator: ",")
        let text = String(decoding: (0..<out.count).map { out[$0] }, as: UTF8.self)
        let first = text.firstRange(of: joined)
        #expect(first != nil && text.ranges(of: joined).count == 1)
        #expect(text.firstRange(of: "x-n0\u{12}")!.lowerBound > first!.upperBound)
    }

    @Test func `a question needs room, and fits where it was measured`() {
        let head = Array(
            "GET /a?b HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nCookie: a\r\ncookie: b\r\n\r\n".utf8)
        let latin: [UInt8] = [0x63, 0xE9]
        let facts = CheckFacts(
            isSecure: true, version: .http2, size: -1, milliseconds: 1_700_000_000_123,
            clientPort: 1, ownPort: 443)
        var sizes: Set<Int> = []
        for capacity in 0..<600 {
            var out = RigidArray<UInt8>(capacity: capacity)
            let fits = out.edit {
                CheckRequest.append(
                    head.span, host: "h".utf8Span.span, id: latin.span, client: "::1".utf8Span.span,
                    own: "10.0.0.1".utf8Span.span, content: latin.span, facts, isWhole: true,
                    into: &$0)
            }
            if fits { sizes.insert(out.count) }
        }
        #expect(sizes.count == 1)
        var out = RigidArray<UInt8>(capacity: 600)
        _ = out.edit {
            CheckRequest.append(
                head.span, host: "h".utf8Span.span, id: latin.span, client: "::1".utf8Span.span,
                own: "10.0.0.1".utf8Span.span, content: latin.span, facts, isWhole: true, into: &$0)
        }
        let bytes = (0..<out.count).map { out[$0] }
        #expect(GRPCFrame.read(bytes.span, messageBytesMax: 600) == .message(5..<bytes.count))
        let text = String(decoding: bytes, as: UTF8.self)
        for part in [
            "x-a\u{12}\u{3}1,2", "cookie\u{12}\u{4}a; b", "HTTP/2", "https", "c!", ":path",
        ] {
            #expect(text.contains(part), "\(part)")
        }
    }
}
