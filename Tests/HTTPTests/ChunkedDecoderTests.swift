// Proves what chunked content is accepted, what passes through, and that no cut changes it.
import Testing

@testable import HTTP

/// What came out of chunked content that was given in some number of pieces.
struct Decoded: Equatable {
    var content = ""
    var trailers: [String] = []
    var verdict = Verdict.incomplete
    var used = 0

    enum Verdict: Equatable {
        case incomplete
        case ended
        case refused(Malformed.Reason)
    }
}

func decode(_ input: [UInt8], cuts: [Int] = []) -> Decoded {
    var decoder = ChunkedDecoder()
    var decoded = Decoded()
    var from = 0
    for end in cuts + [input.count] {
        let piece = input.span.extracting(0..<end)
        reading: while true {
            switch decoder.next(piece, from: &from) {
            case .content(let range): decoded.content += text(piece.extracting(range))
            case .trailer(let range): decoded.trailers.append(text(piece.extracting(range)))
            case .end:
                decoded.verdict = .ended
                decoded.used = from
                return decoded
            case .incomplete: break reading
            case .malformed(let malformed):
                decoded.verdict = .refused(malformed.reason)
                return decoded
            }
        }
    }
    return decoded
}

/// What `relay` let pass, with `next` taking over where it must.
struct Relayed: Equatable {
    var passed: [UInt8] = []
    var verdict = Decoded.Verdict.incomplete
    var needsDecoding = false
}

func relay(_ input: [UInt8], cuts: [Int] = []) -> Relayed {
    var decoder = ChunkedDecoder()
    var relayed = Relayed()
    var from = 0
    for end in cuts + [input.count] {
        let (upTo, state) = decoder.relay(input.span.extracting(0..<end), from: from)
        relayed.passed += input[from..<upTo]
        from = upTo
        switch state {
        case .more: continue
        case .finished: relayed.verdict = .ended
        case .needsDecoding: relayed.needsDecoding = true
        case .malformed(let malformed): relayed.verdict = .refused(malformed.reason)
        }
        return relayed
    }
    return relayed
}

@Suite struct ChunkedDecoderTests {
    struct Good: Sendable {
        var content: String
        var trailers: [String] = []
        var isPlain = true
    }

    static let accepted: [Row<Good>] = [
        Row("nothing", "0\r\n\r\n", Good(content: "")),
        Row("one chunk", "5\r\nhello\r\n0\r\n\r\n", Good(content: "hello")),
        Row("two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Good(content: "hello world")),
        Row(
            "small and capital digits", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            Good(content: "01234567890123456789")),
        Row("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", Good(content: "hello")),
        Row("sixteen digits", "0000000000000001\r\nx\r\n0\r\n\r\n", Good(content: "x")),
        Row(
            "content that looks like framing", "7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
            Good(content: "0\r\n\r\n\r\n")),
        Row(
            "an extension", "5;a=b\r\nhello\r\n0\r\n\r\n",
            Good(content: "hello", isPlain: false)),
        Row(
            "a quoted extension", "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n",
            Good(content: "hello", isPlain: false)),
        Row(
            "white space before an extension", "5 \t;a\r\nhello\r\n0\r\n\r\n",
            Good(content: "hello", isPlain: false)),
        Row(
            "an extension of the last chunk", "1\r\nx\r\n0;a\r\n\r\n",
            Good(content: "x", isPlain: false)),
        Row(
            "256 bytes of extension", "1;\(String(repeating: "a", count: 255))\r\nx\r\n0\r\n\r\n",
            Good(content: "x", isPlain: false)),
        Row(
            "a trailer", "1\r\nx\r\n0\r\nA: b\r\n\r\n",
            Good(content: "x", trailers: ["A: b"], isPlain: false)),
        Row(
            "two trailers", "0\r\nGrpc-Status: 0\r\nB:c\r\n\r\n",
            Good(content: "", trailers: ["Grpc-Status: 0", "B:c"], isPlain: false)),
        Row(
            "trailers that frame", "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            Good(content: "", isPlain: false)),
        Row(
            "trailers that route",
            "0\r\nHost: b\r\nX-Forwarded-For: c\r\nX-Forwarded-Any: d\r\n\r\n",
            Good(content: "", isPlain: false)),
        Row(
            "trailers that authorise",
            "0\r\nAuthorization: b\r\nCookie: c\r\nSet-Cookie: d\r\n\r\n",
            Good(content: "", isPlain: false)),
        Row(
            "trailers of the connection", "0\r\nConnection: close\r\nTE: x\r\nUpgrade: y\r\n\r\n",
            Good(content: "", isPlain: false)),
        Row(
            "a trailer with an underscore", "0\r\nContent_Length: 5\r\nE: f\r\n\r\n",
            Good(content: "", trailers: ["E: f"], isPlain: false)),
        Row(
            "a trailer of the gateway", "0\r\nX-Gateway-Destination-Endpoint: a\r\n\r\n",
            Good(content: "", isPlain: false)),
        Row(
            "a trailer of an answer's age", "0\r\nExpires: 0\r\nIf-Match: a\r\nETag: b\r\n\r\n",
            Good(content: "", trailers: ["ETag: b"], isPlain: false)),
    ]

    @Test(arguments: accepted) func `good content is decoded, wherever it is cut`(
        _ row: Row<Good>
    ) {
        let input = bytes(row.input)
        var wanted = Decoded(content: row.wanted.content, trailers: row.wanted.trailers)
        wanted.verdict = .ended
        wanted.used = input.count
        for cut in 0...input.count {
            #expect(decode(input + bytes("GET /"), cuts: [cut]) == wanted, "cut at \(cut)")
        }
        #expect(decode(input, cuts: Array(0...input.count)) == wanted)
    }

    @Test(arguments: accepted) func `plain content is relayed exactly, wherever it is cut`(
        _ row: Row<Good>
    ) {
        let input = bytes(row.input)
        for cuts in (0...input.count).map({ [$0] }) + [Array(0...input.count)] {
            let relayed = relay(input + bytes("GET /"), cuts: cuts)
            #expect(relayed.needsDecoding == !row.wanted.isPlain)
            if row.wanted.isPlain {
                #expect(relayed.passed == input && relayed.verdict == .ended)
            } else {
                #expect(Array(input.prefix(relayed.passed.count)) == relayed.passed)
            }
        }
    }

    static let refused: [Row<Malformed.Reason>] = [
        Row("no digits", "\r\nhello\r\n", .chunkSize),
        Row("a sign", "+5\r\nhello\r\n", .chunkSize),
        Row("a minus", "-1\r\n", .chunkSize),
        Row("a prefix", "0x5\r\nhello\r\n", .chunkSize),
        Row("a space first", " 5\r\nhello\r\n", .chunkSize),
        Row("a tab first", "\t5\r\nhello\r\n", .chunkSize),
        Row("a letter", "5g\r\nhello\r\n", .chunkSize),
        Row("an underscore", "5_0\r\nhello\r\n", .chunkSize),
        Row("a comma", "5,0\r\n", .chunkSize),
        Row("NUL", "5\0\r\n", .chunkSize),
        Row("bare LF after the size", "5\nhello\r\n0\r\n\r\n", .chunkLineEnd),
        Row("bare CR after the size", "5\rhello\r\n0\r\n\r\n", .chunkLineEnd),
        Row("a space after the size", "5 \r\nhello\r\n0\r\n\r\n", .chunkLineEnd),
        Row("a word after the size", "5 6\r\nhello\r\n", .chunkLineEnd),
        Row("seventeen digits", "00000000000000001\r\nx\r\n", .chunkSizeTooLarge),
        Row("2^63", "8000000000000000\r\nx\r\n", .chunkSizeTooLarge),
        Row("2^64 - 1", "FFFFFFFFFFFFFFFF\r\nx\r\n", .chunkSizeTooLarge),
        Row("2^64 + 5", "10000000000000005\r\nhello", .chunkSizeTooLarge),
        Row("bare LF after an extension", "5;a\nhello\r\n", .chunkLineEnd),
        Row("bare CR in an extension", "5;a\rb\r\nhello\r\n", .chunkLineEnd),
        Row("NUL in an extension", "5;a\0\r\nhello\r\n", .chunkExtension),
        Row("DEL in an extension", "5;a\u{7F}\r\nhello\r\n", .chunkExtension),
        Row(
            "257 bytes of extension", "1;\(String(repeating: "a", count: 256))\r\nx\r\n",
            .chunkExtensionTooLong),
        Row(
            "endless space", "1\(String(repeating: " ", count: 300))", .chunkExtensionTooLong),
        Row(
            "4 KiB of extensions",
            String(repeating: "1;\(String(repeating: "a", count: 200))\r\nx\r\n", count: 21),
            .chunkExtensionTooLong),
        Row("data longer than its size", "5\r\nhello!\r\n0\r\n\r\n", .chunkDataEnd),
        Row("data without CR", "5\r\nhello\n0\r\n\r\n", .chunkDataEnd),
        Row("data without LF", "5\r\nhello\r0\r\n\r\n", .chunkDataEnd),
        Row("data without a line end", "5\r\nhello0\r\n\r\n", .chunkDataEnd),
        Row("bare LF for the end", "0\r\n\n", .chunkLineEnd),
        Row("bare LF after 0", "0\n\r\n", .chunkLineEnd),
        Row("bare CR for the end", "0\r\n\rX", .chunkLineEnd),
        Row("a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", .trailerInvalid),
        Row("a trailer without a colon", "0\r\nA\r\n\r\n", .trailerInvalid),
        Row("a trailer with a space", "0\r\nA : b\r\n\r\n", .trailerInvalid),
        Row("a trailer without a name", "0\r\n: b\r\n\r\n", .trailerInvalid),
        Row("a request for a trailer", "0\r\nGET / HTTP/1.1\r\n\r\n", .trailerInvalid),
        Row("NUL in a trailer", "0\r\nA: \0\r\n\r\n", .trailerInvalid),
        Row("bare LF after a trailer", "0\r\nA: b\n\r\n", .chunkLineEnd),
        Row(
            "a trailer too long", "0\r\nA: \(String(repeating: "b", count: 16_382))\r\n\r\n",
            .trailersTooLong),
        Row(
            "an endless trailer", "0\r\nA: \(String(repeating: "b", count: 20_000))",
            .trailersTooLong),
        Row(
            "101 trailers", "0\r\n\(String(repeating: "A: b\r\n", count: 101))\r\n",
            .trailersTooLong),
        Row(
            "101 dropped trailers", "0\r\n\(String(repeating: "Host: b\r\n", count: 101))\r\n",
            .trailersTooLong),
        Row(
            "61 KiB of trailers",
            "0\r\n"
                + String(repeating: "A: \(String(repeating: "b", count: 12_000))\r\n", count: 6),
            .trailersTooLong),
    ]

    @Test(arguments: refused) func `broken content is refused for its cause, wherever it is cut`(
        _ row: Row<Malformed.Reason>
    ) {
        let input = bytes(row.input)
        let step = max(1, input.count / 300)
        for cut in stride(from: 0, through: input.count, by: step) {
            #expect(decode(input, cuts: [cut]).verdict == .refused(row.wanted), "cut at \(cut)")
        }
    }

    @Test(arguments: refused) func `nothing broken is relayed, wherever it is cut`(
        _ row: Row<Malformed.Reason>
    ) {
        let input = bytes(row.input)
        let whole = relay(input)
        #expect(whole.needsDecoding || whole.verdict == .refused(row.wanted))
        let step = max(1, input.count / 300)
        for cut in stride(from: 0, through: input.count, by: step) {
            #expect(relay(input, cuts: [cut]) == whole, "cut at \(cut)")
        }
    }

    @Test func `a decoder that failed goes on failing`() {
        var decoder = ChunkedDecoder()
        let input = bytes("x5\r\nhello\r\n")
        var from = 0
        check(decoder.next(input.span, from: &from) == .malformed(Malformed(.chunkSize)))
        check(decoder.next(input.span, from: &from) == .malformed(Malformed(.chunkSize)))
        check(decoder.relay(input.span, from: 1).state == .malformed(Malformed(.chunkSize)))
    }

    @Test func `next takes over where relay stopped`() {
        let input = bytes("3\r\nabc\r\n3;x\r\ndef\r\n0\r\nT: u\r\n\r\n")
        var decoder = ChunkedDecoder()
        let (upTo, state) = decoder.relay(input.span, from: 0)
        #expect(state == .needsDecoding && text(Array(input[..<upTo])) == "3\r\nabc\r\n")
        var from = upTo
        check(decoder.next(input.span, from: &from) == .content(13..<16))
        check(decoder.next(input.span, from: &from) == .trailer(21..<25))
        check(decoder.next(input.span, from: &from) == .end)
        #expect(from == input.count && decoder.isFinished)
    }

    @Test func `relay goes on where next left a chunk`() {
        let input = bytes("3;x\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
        var decoder = ChunkedDecoder()
        check(decoder.relay(input.span, from: 0).state == .needsDecoding)
        var from = 0
        check(decoder.next(input.span, from: &from) == .content(5..<8))
        let (upTo, state) = decoder.relay(input.span, from: from)
        #expect(state == .finished && upTo == input.count)
    }

    @Test func `what relay passes decodes to what decode gives, for random mutations`() {
        var random = Seeded(5)
        let inputs = (Self.accepted.map(\.input) + Self.refused.map(\.input)).map(bytes)
            .filter { $0.count < 2_000 }
        for round in 0..<6_000 {
            let input = mutated(inputs[random.below(inputs.count)], &random)
            let cuts = [random.below(input.count + 1), random.below(input.count + 1)].sorted()
            let whole = decode(input)
            #expect(decode(input, cuts: cuts) == whole, "round \(round)")
            let relayed = relay(input)
            #expect(relay(input, cuts: cuts) == relayed, "round \(round)")
            if relayed.needsDecoding { continue }
            #expect(relayed.verdict == whole.verdict, "round \(round)")
            let again = decode(relayed.passed)
            #expect(whole.content.hasPrefix(again.content), "round \(round)")
        }
    }
}
