// Proves methods and statuses, and that every refusal explains itself.
import Testing

@testable import HTTP

@Suite struct MethodStatusTests {
    @Test(arguments: Method.allCases.filter { $0 != .other })
    func `a method is known by its exact text`(_ method: Method) {
        let name = method.text.description
        #expect(Method(token: bytes(name).span) == method)
        #expect(Method(token: bytes(name.lowercased()).span) == .other)
        #expect(Method(token: bytes(name + "X").span) == .other)
        #expect(Method(token: bytes(String(name.dropLast())).span) == .other)
        let head = request(
            "\(name) \(method == .connect ? "a:1" : "/") HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(method == .connect || head.head?.method == method)
    }

    @Test func `only methods without effect of a repeat are idempotent`() {
        let idempotent = Method.allCases.filter(\.isIdempotent)
        #expect(idempotent == [.get, .head, .put, .delete, .options, .trace])
    }

    @Test func `informational, 204 and 304 have no content`() {
        let empty = (100...599).filter(Status.hasNoContent)
        #expect(empty == Array(100...199) + [204, 304])
    }

    @Test func `reasons are printable text`() {
        for status in 0...700 {
            for byte in Status.reason(status).description.utf8 {
                #expect(byte >= 0x20 && byte < 0x7F)
            }
        }
        #expect(Status.reason(200).description == "OK" && Status.reason(299).description == "")
    }

    @Test(arguments: Malformed.Reason.allCases)
    func `a refusal has a status of errors and one sentence`(_ reason: Malformed.Reason) {
        let malformed = Malformed(reason)
        #expect((400...599).contains(malformed.status))
        let sentence = malformed.sentence.description
        #expect(sentence.hasSuffix(".") && sentence.first?.isUppercase == true)
        #expect(sentence.contains(";") || sentence.contains(","), "says what to do")
        #expect(malformed.description == "\(malformed.part.rawValue): \(sentence)")
        let isOfAnswer = malformed.part == .statusLine || malformed.status == 502
        #expect(isOfAnswer == (malformed.status == 502))
    }

    @Test func `a refusal is one byte`() {
        #expect(MemoryLayout<Malformed>.size == 1 && MemoryLayout<FieldLine>.stride == 24)
    }
}
