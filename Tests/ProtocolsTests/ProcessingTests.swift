import HTTP
import Protocols
import Testing

/// What is said to an external processor, what it says, and what that makes of heads.
@Suite struct ProcessingTests {
    static func field(_ number: UInt8, _ value: [UInt8]) -> [UInt8] {
        precondition(value.count < 128 * 128, "A length of two bytes.")
        let count: [UInt8] =
            value.count < 128
            ? [UInt8(value.count)] : [UInt8(value.count & 127) | 128, UInt8(value.count >> 7)]
        return [number << 3 | 2] + count + value
    }

    static func field(_ number: UInt8, _ text: String) -> [UInt8] {
        field(number, Array(text.utf8))
    }

    /// A HeaderValueOption.
    static func option(_ name: String, _ value: String, _ more: [UInt8] = []) -> [UInt8] {
        field(1, field(1, field(1, name) + field(3, value)) + more)
    }

    /// A choice with a destination in metadata and one field.
    static var choice: [UInt8] {
        let mutation = option("x-a", "1") + option("Content-Length", "12")
        let common = field(2, mutation) + [0x28, 1]
        let text = field(3, "10.0.0.1:80,10.0.0.2:80")
        let inner = field(1, field(1, "x-gateway-destination-endpoint") + field(2, text))
        let metadata = field(1, field(1, "envoy.lb") + field(2, field(5, inner)))
        return field(1, field(1, common)) + field(8, metadata)
    }

    private static func mutation(_ bytes: [UInt8], _ range: Range<Int>) -> HeadMutation? {
        HeadMutation(bytes.span, range)
    }

    private func text(_ bytes: [UInt8], _ range: Range<Int>) -> String {
        String(decoding: bytes[range], as: UTF8.self)
    }

    @Test func aChoiceIsRead() throws {
        let bytes = Self.choice
        let message = try #require(WireTests.response(bytes))
        #expect(message.kind == .requestHeaders)
        let destination = try #require(message.destination)
        #expect(text(bytes, destination) == "10.0.0.1:80,10.0.0.2:80")
        let mutation = try #require(Self.mutation(bytes, message.mutation))
        #expect(mutation.contentLength == 12 && mutation.destination == nil)
    }

    @Test func piecesAreRead() throws {
        let kept = Self.field(3, Self.field(1, []))
        #expect(WireTests.response(kept)?.body == .kept)
        let streamed = Self.field(
            4, Self.field(1, Self.field(3, Self.field(3, Self.field(1, "abc") + [0x10, 1]))))
        let message = try #require(WireTests.response(streamed))
        guard case .streamed(let range, ends: true) = message.body else {
            Issue.record("\(message.body)")
            return
        }
        #expect(message.kind == .answerBody && text(streamed, range) == "abc")
    }

    @Test func anImmediateAnswerIsRead() throws {
        let bytes = Self.field(
            7, Self.field(1, [0x08, 0xAD, 0x03]) + Self.field(3, "no") + Self.field(4, [0x08, 8]))
        let message = try #require(WireTests.response(bytes))
        #expect(message.kind == .immediate && message.status == 429 && message.grpcStatus == 8)
        #expect(text(bytes, message.content) == "no")
    }

    /// What becomes of a head.
    private func head(
        _ mutation: [UInt8], _ framing: HeadMutation.Framing = .asItIs,
        _ lines: String = "host: a\r\nX-A: old\r\nx-b: 1\r\ncontent-length: 3\r\n"
    ) throws -> String {
        let head = Array("POST /p HTTP/1.1\r\n\(lines)\r\n".utf8)
        let mutations = try #require(Self.mutation(mutation, 0..<mutation.count))
        let bytes =
            WireTests.written {
                mutations.append(head.span, mutation.span, framing: framing, into: &$0)
            } ?? []
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func fieldsAreReplacedUnlessTheyAskToBeAppended() throws {
        let rest = "host: a\r\nx-b: 1\r\ncontent-length: 3\r\n"
        let start = "POST /p HTTP/1.1\r\n"
        #expect(try head(Self.option("x-a", "new")) == start + rest + "x-a: new\r\n\r\n")
        // append: true.
        #expect(
            try head(Self.option("x-a", "new", Self.field(2, [0x08, 1])))
                == start + "host: a\r\nX-A: old\r\nx-b: 1\r\ncontent-length: 3\r\nx-a: new\r\n\r\n")
        // ADD_IF_ABSENT and OVERWRITE_IF_EXISTS.
        let all = start + "host: a\r\nX-A: old\r\nx-b: 1\r\ncontent-length: 3\r\n"
        #expect(try head(Self.option("x-a", "new", [0x18, 1])) == all + "\r\n")
        #expect(try head(Self.option("x-c", "new", [0x18, 1])) == all + "x-c: new\r\n\r\n")
        #expect(try head(Self.option("x-c", "new", [0x18, 3])) == all + "\r\n")
        #expect(try head(Self.field(2, "X-B")) == all.replacing("x-b: 1\r\n", with: "") + "\r\n")
    }

    @Test(arguments: [
        "host", ":authority", ":path", "x-envoy-a", "connection", "transfer-encoding",
        "content-length",
        "te", "upgrade", "bad name", "",
    ])
    func whatAPickerMayNotSet(name: String) throws {
        let untouched =
            "POST /p HTTP/1.1\r\nhost: a\r\nX-A: old\r\nx-b: 1\r\ncontent-length: 3\r\n\r\n"
        #expect(try head(Self.option(name, "1")) == untouched)
        #expect(try head(Self.field(2, name)) == untouched)
    }

    @Test(arguments: ["a\r\nx: 1", "a\n", "\0", "\u{7F}"])
    func valuesThatAreNone(value: String) throws {
        #expect(try !head(Self.option("x-a", value)).contains("x-a:"))
        #expect(try head(Self.option("x-a", value)).contains("X-A: old\r\n"))
    }

    @Test func theLastOfANameCounts() throws {
        let twice = Self.option("x-n", "1") + Self.option("X-N", "2")
        #expect(try head(twice).hasSuffix("content-length: 3\r\nx-n: 2\r\n\r\n"))
    }

    @Test func framingIsTheGateways() throws {
        let length = try head(Self.option("content-length", "9"), .length(9))
        #expect(length.hasSuffix("x-b: 1\r\ncontent-length: 9\r\n\r\n"))
        let chunked = try head([], .chunked)
        #expect(chunked.hasSuffix("x-b: 1\r\ntransfer-encoding: chunked\r\n\r\n"))
    }

    @Test func aRequestIsTold() throws {
        let head = Array(
            "POST /p?q HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        let bytes =
            WireTests.written {
                ProcessingRequest.append(
                    request: head.span, isSecure: true, ends: false, sendsAnswers: true, into: &$0)
            } ?? []
        guard case .message(let range) = WireTests.frame(bytes, 4096) else {
            Issue.record("no frame")
            return
        }
        func entry(_ name: String, _ value: String) -> [UInt8] {
            Self.field(1, Self.field(1, name) + Self.field(3, value))
        }
        let map =
            entry(":method", "POST") + entry(":path", "/p?q") + entry(":authority", "a")
            + entry(":scheme", "https") + entry("x-a", "1")
        let expected =
            Self.field(2, Self.field(1, map)) + Self.field(11, [0x08, 4, 0x10, 4])
        #expect(Array(bytes[range]) == expected)
    }

    @Test func aPieceIsToldInFrontOfItsBytes() throws {
        for count in [0, 5, 200, 70_000] {
            let bytes =
                WireTests.written {
                    ProcessingRequest.begin(.answer, body: count, ends: true, into: &$0)
                } ?? []
            #expect(bytes.count <= ProcessingRequest.beginBytesMax)
            let all = bytes + Array(repeating: 0x61, count: count)
            guard case .message(let range) = WireTests.frame(all, 1 << 20) else {
                Issue.record("no frame")
                return
            }
            #expect(range.upperBound == all.count)
            let fields = try #require(WireTests.fields(Array(all[range])))
            #expect(fields.count == 1 && fields[0].isBytes(5))
        }
    }
}
