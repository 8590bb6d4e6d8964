import BasicContainers
import HTTP
import Protocols
import Testing

/// Protobuf's wire format, read and written, and what no message is.
@Suite struct WireTests {
    /// Writes into memory of so many bytes; nil when it did not fit.
    static func written(
        _ capacity: Int = 4096, _ body: (inout OutputSpan<UInt8>) -> Bool
    ) -> [UInt8]? {
        var output = RigidArray<UInt8>(capacity: capacity)
        if !output.edit({ body(&$0) }) { return nil }
        return (0..<output.count).map { output[$0] }
    }

    /// A message as a processor says it.
    static func response(_ bytes: [UInt8]) -> ProcessingResponse? {
        ProcessingResponse(bytes.span, 0..<bytes.count)
    }

    /// All fields; nil when the bytes are no message.
    static func fields(_ bytes: [UInt8]) -> [WireField]? {
        var fields = WireFields(0..<bytes.count)
        var all: [WireField] = []
        while let field = fields.next(bytes.span) { all.append(field) }
        return fields.isMalformed ? nil : all
    }

    static func frame(_ bytes: [UInt8], _ most: Int) -> GRPCFrame.Step {
        GRPCFrame.read(bytes.span, messageBytesMax: most)
    }

    @Test(arguments: [0, 1, 127, 128, 300, 1 << 21, UInt64.max])
    func aNumberIsReadAsItWasWritten(number: UInt64) throws {
        let bytes = Self.written { WireWriter.append(5, number: number, into: &$0) } ?? []
        #expect(bytes.count == 1 + WireWriter.count(number))
        let fields = try #require(Self.fields(bytes))
        #expect(fields.count == 1 && fields[0].isNumber(5) && fields[0].value == number)
    }

    @Test func unknownFieldsAreSkipped() throws {
        // 1: fixed64, 2: fixed32, 3: bytes "ab".
        let bytes: [UInt8] =
            [0x09] + Array(repeating: 1, count: 8) + [0x15, 1, 2, 3, 4, 0x1A, 2, 0x61, 0x62]
        let fields = try #require(Self.fields(bytes))
        #expect(fields.map(\.kind) == [.fixed64, .fixed32, .bytes])
        #expect(fields[2].isBytes(3) && fields[2].range == 16..<18)
    }

    @Test(
        arguments: [
            [0x08], [0x0A, 5, 1], [0x00, 0], [0x0B], [0x09, 1, 2], [0x15, 1],
            [0x08] + Array(repeating: 0xFF, count: 11),
            [0x0A] + Array(repeating: 0xFF, count: 9) + [1],
        ] as [[UInt8]])
    func whatIsNoMessage(bytes: [UInt8]) {
        #expect(Self.fields(bytes) == nil)
        #expect(Self.response(bytes) == nil)
    }

    /// Bytes at random, and true messages with bytes changed, are read to an end and never past it.
    @Test func anyBytesAreReadToTheirEnd() {
        var random = SystemRandomNumberGenerator()
        let seed = ProcessingTests.choice
        for round in 0..<20_000 {
            var bytes: [UInt8] =
                round & 1 == 0
                ? seed : (0..<Int.random(in: 0...64)).map { _ in .random(in: 0...255) }
            for _ in 0..<Int.random(in: 0...4) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255)
            }
            if .random() { bytes.removeLast(Int.random(in: 0...bytes.count)) }
            guard let message = ProcessingResponse(bytes.span, 0..<bytes.count) else { continue }
            #expect(message.mutation.upperBound <= bytes.count)
            #expect((message.destination?.upperBound ?? 0) <= bytes.count)
            guard let mutation = HeadMutation(bytes.span, message.mutation) else { continue }
            let head = Array("POST / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
            let written = Self.written {
                mutation.append(head.span, bytes.span, framing: .chunked, into: &$0)
            }
            #expect(written == nil || written?.count ?? 0 >= head.count)
        }
    }

    @Test func framesOfCalls() {
        let bytes =
            Self.written {
                GRPCFrame.begin(3, into: &$0) && HeadWriter.append("abc", into: &$0)
            } ?? []
        #expect(Self.frame(bytes, 3) == .message(5..<8))
        #expect(Self.frame(bytes, 2) == .refused)
        #expect(Self.frame(Array(bytes.prefix(7)), 3) == .incomplete)
        #expect(Self.frame(Array(bytes.prefix(4)), 3) == .incomplete)
        #expect(Self.frame([1, 0, 0, 0, 0], 3) == .refused)
    }
}
