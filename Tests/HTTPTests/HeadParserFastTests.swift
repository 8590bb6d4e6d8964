// What is missing here ends the test.
// swift-format-ignore-file: NeverForceUnwrap, NeverUseForceTry

// Proves that the vector path of field lines reads what a byte loop reads, wherever a line lies and
// whatever follows the head.
import Testing

@testable import HTTP

@Suite struct HeadParserFastTests {
    /// A line as a byte loop reads it.
    struct Plain: Equatable {
        var name: [UInt8]
        var value: [UInt8]
        var id: FieldName
        var isCanonical: Bool
    }

    /// The lines of a section of good lines, read byte by byte.
    func reference(_ section: [UInt8]) -> [Plain] {
        var lines: [Plain] = []
        var line: [UInt8] = []
        for byte in section {
            if byte != 0x0A {
                line.append(byte)
                continue
            }
            let hasCR = line.last == 0x0D
            if hasCR { line.removeLast() }
            let colon = line.firstIndex(of: 0x3A)!
            let sent = Array(line[(colon + 1)...])
            let value = Array(
                sent.drop { $0 == 0x20 || $0 == 0x09 }.reversed()
                    .drop { $0 == 0x20 || $0 == 0x09 }.reversed())
            let name = Array(line[..<colon])
            let lower = name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
            let id =
                FieldName.allCases.first { $0 != .other && bytes("\($0.text)") == lower } ?? .other
            lines.append(
                Plain(
                    name: name, value: value, id: id,
                    isCanonical: hasCR && !value.isEmpty && sent == [0x20] + value))
            line = []
        }
        return lines
    }

    func lines(_ head: borrowing RequestHead) -> [Plain] {
        var result: [Plain] = []
        for i in 0..<head.fields.count {
            let line = head.fields[i]
            result.append(
                Plain(
                    name: copy(head.span(line.name)), value: copy(head.span(line.value)),
                    id: line.id, isCanonical: line.isCanonical))
        }
        return result
    }

    func copy(_ span: Span<UInt8>) -> [UInt8] { span.indices.map { span[$0] } }

    /// Names that decide nothing, so that every section of them is good.
    static let names: [String] =
        FieldName.allCases
        .filter { $0.rawValue > FieldName.expect.rawValue }.map { "\($0.text)" } + [
            "x", "X-Forwarded-Anything", "x-forwarded-", "Sec-Fetch-Mode", "a!b",
            "sec-ch-ua-platform", "abcdefghijklmn", "abcdefghijklmno", "abcdefghijklmnop",
            "abcdefghijklmnopqrstuvwxyz012345",
        ]

    func section(_ random: inout Seeded) -> [UInt8] {
        var section: [UInt8] = []
        for _ in 0..<random.below(6) {
            for byte in bytes(Self.names[random.below(Self.names.count)]) {
                let isLetter = (0x61...0x7A).contains(byte)
                section.append(isLetter && random.below(4) == 0 ? byte & 0xDF : byte)
            }
            section += bytes([":", ": ", ": ", ": ", ": ", ":\t", ":  "][random.below(7)])
            for _ in 0..<random.below([4, 12, 40, 90][random.below(4)]) {
                section.append(UInt8(0x21 + random.below(random.below(8) == 0 ? 0x5E : 10)))
                if random.below(16) == 0 {
                    section += bytes([" ", "\t", "\u{E9}"][random.below(3)])
                }
            }
            section += bytes(["\r\n", "\r\n", "\r\n", "\r\n", "\n", " \r\n"][random.below(6)])
        }
        return section
    }

    @Test func `random heads read as a byte loop reads them, whatever follows`() {
        var random = Seeded(60)
        var head = RequestHead()
        for round in 0..<4_000 {
            let fields = section(&random)
            let start = bytes("GET /" + String(repeating: "p", count: round % 33) + " HTTP/1.1\r\n")
            let input =
                start + bytes("Host: a\r\n") + fields + bytes("\r\n")
                + [UInt8](repeating: [0x3A, 0x61, 0x0D, 0x80][round % 4], count: random.below(41))
            let end = start.count + 9 + fields.count + 2
            guard case .complete(let consumed) = head.parse(input.span) else {
                Issue.record("refused: \(String(decoding: input, as: UTF8.self))")
                continue
            }
            let wanted = reference(bytes("Host: a\r\n") + fields)
            #expect(consumed == end)
            if lines(head) != wanted {
                Issue.record("read otherwise: \(String(decoding: input, as: UTF8.self))")
            }
            #expect(copy(head.bytes).starts(with: input[..<end]))
            for line in wanted where line.id != .other {
                let value = wanted.first { $0.id == line.id }!.value
                #expect(copy(head.span(head.value(line.id) ?? .none)) == value)
            }
            #expect(
                head.fields.names.contains(.otherForwarding)
                    == wanted.contains {
                        $0.id == .other && text($0.name.span).lowercased().hasPrefix("x-forwarded-")
                    })
        }
    }

    /// What may stand behind an input: what ends lines, begins or goes on with them, and any byte.
    static let paddings: [[UInt8]] =
        ([UInt8.min...UInt8.max].flatMap { $0 }.map { [UInt8](repeating: $0, count: 16) })
        + [
            "\r\n\r\n", "\n\r\n", "\n\n", ": b\r\n\r\n", "b\r\n\r\n", "Host: b\r\n\r\n",
            " HTTP/1.1\r\n\r\n", "TP/1.1\r\n\r\n", "/1.1 200 OK\r\n\r\n", "0\r\n\r\n",
        ]
        .map { bytes($0) + [UInt8](repeating: 0x61, count: 16) }

    /// All that one head says of itself.
    func facts(_ head: borrowing RequestHead) -> String {
        "\(head.method) \(head.methodText) \(head.version) \(head.target) \(head.path) "
            + "\(head.query) \(head.authority) \(head.host) \(String(describing: head.hostPort)) "
            + "\(head.framing) \(head.keepsAlive) \(head.expectsContinue) "
            + "\(head.acceptsTrailers) \(head.upgrade) \(head.writesHost) \(head.namesFields) "
            + "\(String(describing: head.sentFraming)) \(head.isLineCanonical) "
            + "\(head.lineEnd) \(facts(head.fields))"
    }

    func facts(_ head: borrowing ResponseHead) -> String {
        "\(head.status) \(head.reason) \(head.version) \(head.framing) \(head.keepsAlive) "
            + "\(String(describing: head.keepAliveTimeoutSeconds)) \(head.upgrade) "
            + "\(head.namesFields) \(String(describing: head.sentFraming)) "
            + "\(head.isLineCanonical) \(head.lineEnd) \(facts(head.fields))"
    }

    func facts(_ fields: borrowing FieldSection) -> String {
        var result =
            "\(copy(fields.bytes.span)) \(fields.names) \(fields.repeated) "
            + "\(fields.traits)"
        for i in 0..<fields.count {
            let line = fields[i]
            result += " \(line)"
            if !fields.repeated.contains(line.id) {
                result += " \(fields.places[Int(line.id.rawValue)])"
            }
        }
        return result
    }

    /// Parses `input` without and with each padding; a difference is recorded.
    func compareRequest(
        _ bare: inout RequestHead, _ padded: inout RequestHead, _ input: [UInt8],
        _ paddings: some Sequence<[UInt8]>
    ) {
        let wanted = bare.parse(input.span)
        var isComplete = false
        if case .complete = wanted { isComplete = true }
        for padding in paddings {
            let step = padded.parse((input + padding).span, count: input.count)
            if step != wanted || (isComplete && facts(padded) != facts(bare)) {
                Issue.record("\(String(decoding: input, as: UTF8.self)) before \(padding)")
            }
        }
    }

    func compareResponse(
        _ bare: inout ResponseHead, _ padded: inout ResponseHead, _ input: [UInt8],
        _ paddings: some Sequence<[UInt8]>
    ) {
        let wanted = bare.parse(input.span, requestMethod: .get)
        var isComplete = false
        if case .complete = wanted { isComplete = true }
        for padding in paddings {
            let step = padded.parse(
                (input + padding).span, count: input.count, requestMethod: .get)
            if step != wanted || (isComplete && facts(padded) != facts(bare)) {
                Issue.record("\(String(decoding: input, as: UTF8.self)) before \(padding)")
            }
            let inPlace = padded.parseInPlace(
                (input + padding).span, count: input.count, requestMethod: .get)
            if case .complete(let end) = inPlace { padded.keepBytes(of: input.span, upTo: end) }
            if inPlace != wanted || (isComplete && facts(padded) != facts(bare)) {
                Issue.record("\(String(decoding: input, as: UTF8.self)) in place")
            }
        }
    }

    @Test func `a usual head parsed in place has no bytes until they are kept`() {
        var head = ResponseHead()
        let usual = bytes(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n")
        let padding = [UInt8](repeating: 0, count: 48)
        let step = head.parseInPlace(
            (usual + padding).span, count: usual.count, requestMethod: .get)
        #expect(step == .complete(consumed: usual.count))
        check(head.bytes.isEmpty)
        check(head.removeConnectionFields())
        #expect(
            HeadWriter.usualEnd(of: head, to: .http11, framing: .length(3), closes: false)
                == bytes("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n").count)
        head.keepBytes(of: usual.span, upTo: usual.count)
        #expect(copy(head.bytes) == usual)
        // What is here already is not taken again: it may have been edited.
        head.keepBytes(of: padding.span, upTo: 1)
        #expect(copy(head.bytes) == usual)
        for unusual in [
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ].map({ bytes($0) }) {
            _ = head.parseInPlace(
                (unusual + padding).span, count: unusual.count, requestMethod: .get)
            #expect(copy(head.bytes) == unusual)
        }
    }

    @Test func `a path with any byte anywhere is read as with a method that has no fast way`() {
        var fast = RequestHead()
        var slow = RequestHead()
        for count in [1, 2, 15, 16, 17, 31, 32, 33, 34, 50] {
            let path = bytes("/" + String(repeating: "p", count: count) + "?q HTTP/1.1\r\n")
            for place in 0...count {
                for byte in UInt8.min...UInt8.max where byte != 0x0A && byte != 0x0D {
                    var changed = path
                    changed[place] = byte
                    let rest = changed + bytes("Host: a\r\n\r\n")
                    let padding = [UInt8](repeating: 0, count: 48)
                    let quick = bytes("GET ") + rest
                    let other = bytes("PUT ") + rest
                    let step = fast.parse((quick + padding).span, count: quick.count)
                    #expect(step == slow.parse(other.span))
                    guard case .complete = step else { continue }
                    let isSame =
                        copy(fast.span(fast.path)) == copy(slow.span(slow.path))
                        && copy(fast.span(fast.target)) == copy(slow.span(slow.target))
                        && copy(fast.span(fast.query)) == copy(slow.span(slow.query))
                    if !isSame { Issue.record("\(byte) at \(place) of \(count)") }
                }
            }
        }
    }

    @Test func `what lies behind an input changes nothing`() {
        var random = Seeded(64)
        var bare = RequestHead()
        var padded = RequestHead()
        var answer = ResponseHead()
        var paddedAnswer = ResponseHead()
        for round in 0..<3_000 {
            let fields = section(&random)
            let path = String(repeating: "p", count: round % 37)
            let query = ["", "?", "?a=b", "?\(path)"][random.below(4)]
            let host = ["a", "127.0.0.1:8080", "a.example", "A", "a..b", "a:99999", path][
                random.below(7)]
            let start = bytes("GET /\(path)\(query) HTTP/1.1\r\nHost: \(host)\r\n")
            let some = (0..<3).map { _ in Self.paddings[random.below(Self.paddings.count)] }
            var input = start + fields + bytes("\r\n")
            if random.below(3) == 0 { input[random.below(input.count)] = UInt8(random.below(256)) }
            compareRequest(&bare, &padded, input, some)
            compareRequest(
                &bare, &padded, Array(input[..<random.below(input.count + 1)]), some)
            let length = ["", "Content-Length: \(round)\r\n", "Content-Length: 0\(round)\r\n"]
            let kept = ["", "Connection: keep-alive\r\n", "Connection: close\r\n"]
            input =
                bytes("HTTP/1.1 \(random.below(700)) \(path.prefix(20))\r\n")
                + bytes(length[random.below(3)]) + fields + bytes(kept[random.below(3)] + "\r\n")
            if random.below(3) == 0 { input[random.below(input.count)] = UInt8(random.below(256)) }
            compareResponse(&answer, &paddedAnswer, input, some)
            compareResponse(
                &answer, &paddedAnswer, Array(input[..<random.below(input.count + 1)]), some)
        }
    }

    @Test func `a usual head cut anywhere is incomplete before any bytes`() {
        var bare = RequestHead()
        var padded = RequestHead()
        var answer = ResponseHead()
        var paddedAnswer = ResponseHead()
        let request = bytes(
            "POST /v1/chat?a=b HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 12\r\n"
                + "Accept: */*\r\n\r\n")
        let response = bytes(
            "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 200\r\n"
                + "Connection: keep-alive\r\n\r\n")
        for end in 0...request.count {
            compareRequest(&bare, &padded, Array(request[..<end]), Self.paddings)
        }
        for end in 0...response.count {
            compareResponse(&answer, &paddedAnswer, Array(response[..<end]), Self.paddings)
        }
    }

    @Test func `a name with one byte changed is another name`() {
        // A bound of 33 bytes a line keeps the other head from the vector path.
        var fast = RequestHead()
        var slow = RequestHead(limits: HeadLimits(fieldBytes: 33))
        for name in FieldName.allCases where name.rawValue > FieldName.expect.rawValue {
            let line = bytes("\(name.text): x")
            if line.count > 33 { continue }
            for place in 0..<line.count {
                for change in [UInt8(0), 0x01, 0x04, 0x10, 0x20, 0x40, 0x60, 0x80] {
                    var changed = line
                    changed[place] ^= change
                    let input =
                        bytes("GET / HTTP/1.1\r\nHost: a\r\n") + changed + bytes("\r\n\r\n")
                    let padding = [UInt8](repeating: 0, count: 16)
                    let wanted = slow.parse(input.span)
                    #expect(fast.parse((input + padding).span, count: input.count) == wanted)
                    guard case .complete = wanted else { continue }
                    if facts(fast) != facts(slow) { Issue.record("\(changed)") }
                }
            }
        }
    }

    @Test func `the more usual names are in the table`() {
        let table = NameTable()
        for name in FieldName.allCases where (3...14).contains("\(name.text)".count) {
            let isThere = (0..<128).contains { table.rows[$0].id == name }
            let isUsual = [
                FieldName.host, .userAgent, .accept, .contentType, .contentLength, .connection,
                .server, .date, .authorization, .cookie, .setCookie, .cacheControl, .eTag, .vary,
                .xRequestID, .traceparent,
            ].contains(name)
            #expect(isThere || !isUsual, "\(name)")
        }
    }

    @Test func `one byte changed in a usual line is judged as in a line of its own`() {
        // The same line is read in the middle of a span, at its end, and by the slow way, which a
        // name of a rare byte in it brings about.
        var head = RequestHead()
        let line = bytes("Accept: text/html")
        for place in 0..<line.count {
            for byte in UInt8.min...UInt8.max where byte != 0x0A && byte != 0x0D {
                var changed = line
                changed[place] = byte
                var verdicts: [HeadStep] = []
                for tail in [0, 1, 15, 16, 17, 64] {
                    let input =
                        bytes("GET / HTTP/1.1\r\nHost: a\r\n") + changed + bytes("\r\n\r\n")
                        + [UInt8](repeating: 0x78, count: tail)
                    verdicts.append(head.parse(input.span))
                }
                #expect(Set(verdicts.map { "\($0)" }).count == 1)
                let isNamed = place < 6
                let isGood =
                    place == 6
                    ? byte == 0x3A
                    : isNamed
                        ? (Token.isTokenByte(byte) || (byte == 0x3A && place > 0))
                        : !ByteScan.isControl(byte)
                var isComplete = false
                if case .complete = verdicts[0] { isComplete = true }
                #expect(isComplete == isGood, "\(byte) at \(place)")
            }
        }
    }

    @Test func `every name has a bit and a place`() {
        #expect(FieldName.allCases.allSatisfy { $0.rawValue < 63 })
    }

    @Test func `lane words name the first lane from any lane on`() {
        var random = Seeded(61)
        for _ in 0..<20_000 {
            let input = (0..<16).map { _ in UInt8(random.below(3) == 0 ? 1 : 0) }
            let v = ByteScan.load16(input.span, 0)
            let ones: SIMD16<UInt8> = SIMD16<UInt8>(repeating: 1)
            #expect(ByteScan.firstLane(v .== ones) == input.firstIndex(of: 1) ?? 16)
            let least = random.below(16)
            #expect(
                ByteScan.firstLane(v .== ones, atLeast: least)
                    == input[least...].firstIndex(of: 1) ?? 16)
        }
    }

    @Test func `short decimals are read as by the loop`() {
        var random = Seeded(62)
        for _ in 0..<50_000 {
            let count = 1 + random.below(10)
            let digits = (0..<count).map { _ in
                random.below(30) == 0 ? UInt8(random.below(256)) : UInt8(0x30 + random.below(10))
            }
            let before = (0..<random.below(12)).map { _ in UInt8(random.below(256)) }
            let input = before + digits
            #expect(
                FieldValue.decimal(input.span, before.count..<input.count)
                    == FieldValue.decimal(digits.span))
        }
    }

    @Test func `the usual authority is read as any other`() {
        var random = Seeded(63)
        let letters = bytes("ab09-..:A_[")
        for _ in 0..<50_000 {
            let count = 1 + random.below(24)
            var input = (0..<count).map { _ in
                letters[random.below(random.below(4) == 0 ? letters.count : 5)]
            }
            if random.below(2) == 0 { input += bytes(":\(random.below(70_000))") }
            let padded = input + [UInt8](repeating: 0x0D, count: random.below(40))
            let before = bytes("Host: ") + padded
            guard let usual = Authority.parseUsual(before.span, 6, count: input.count) else {
                continue
            }
            let parts = Authority.parse(input.span)
            #expect(parts?.host == 0..<(usual.end - 6))
            #expect(parts?.port == usual.port)
            #expect(parts?.hasCapitals == false)
        }
    }

    @Test func `a head of any length is kept whole`() {
        var head = ResponseHead()
        for count in Array(0...80) + Array(440...540) {
            let reason = String(repeating: "r", count: count)
            let input = bytes("HTTP/1.1 200 \(reason)\r\nContent-Length: 0\r\n\r\n")
            check(head.parse(input.span, requestMethod: .get) == .complete(consumed: input.count))
            check(copy(head.bytes) == input && text(head.span(head.reason)) == reason)
        }
        let bare = bytes("HTTP/1.1 200\n\n")
        check(head.parse(bare.span, requestMethod: .get) == .complete(consumed: bare.count))
        check(copy(head.bytes) == bare)
    }
}
