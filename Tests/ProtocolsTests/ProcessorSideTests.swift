import HTTP
import Protocols
import Testing

/// The processor's side of ext_proc: what gateways say is read, and what is said is read by the gateway's side.
@Suite struct ProcessorSideTests {
    private static func message(_ bytes: [UInt8], from start: Int = 0) -> ProcessingMessage? {
        ProcessingMessage(bytes.span, start..<bytes.count)
    }

    private static func response(_ bytes: [UInt8], _ range: Range<Int>) -> ProcessingResponse? {
        ProcessingResponse(bytes.span, range)
    }

    private static func mutation(_ bytes: [UInt8], _ range: Range<Int>) -> HeadMutation? {
        HeadMutation(bytes.span, range)
    }

    private func text(_ bytes: [UInt8], _ range: Range<Int>?) -> String? {
        range.map { String(decoding: bytes[$0], as: UTF8.self) }
    }

    /// The one message in a frame, as the gateway's side reads it.
    private func answer(
        _ write: (inout OutputSpan<UInt8>) -> Bool
    ) throws -> (bytes: [UInt8], message: ProcessingResponse) {
        let written = WireTests.written(4096, write)
        let bytes = try #require(written)
        guard case .message(let range) = WireTests.frame(bytes, 4096) else {
            Issue.record("no frame")
            throw CancellationError()
        }
        #expect(range.upperBound == bytes.count)
        return (bytes, try #require(Self.response(bytes, range)))
    }

    @Test func aHeadIsReadAsTheGatewayTellsIt() throws {
        let head = Array("POST /v1/x?y=1 HTTP/1.1\r\nhost: a.example\r\nx-b: c\r\n\r\n".utf8)
        let bytes = try #require(
            WireTests.written {
                ProcessingRequest.append(
                    request: head.span, isSecure: false, ends: false, sendsAnswers: true, into: &$0)
            })
        let message = try #require(Self.message(bytes, from: GRPCFrame.prefixBytes))
        #expect(message.kind == .requestHeaders && !message.ends && message.subset == nil)
        #expect(message.modes?.request == .fullDuplexStreamed)
        #expect(message.modes?.answer == .fullDuplexStreamed)
        #expect(message.modes?.sendsBodyEarly == false)
        let names: [StaticString] = [":method", ":path", ":authority", "x-b", "x-none"]
        let values = names.map { name in
            text(bytes, HeaderMapFields.first(name, message.fields, bytes.span))
        }
        #expect(values == ["POST", "/v1/x?y=1", "a.example", "c", nil])
    }

    @Test func aPieceAndAnEndAreRead() throws {
        var bytes = try #require(
            WireTests.written { ProcessingRequest.begin(.answer, body: 3, ends: true, into: &$0) })
        bytes += Array("abc".utf8)
        let message = try #require(Self.message(bytes, from: GRPCFrame.prefixBytes))
        #expect(message.kind == .answerBody && message.ends && text(bytes, message.body) == "abc")
    }

    @Test func aHintIsRead() throws {
        typealias F = ProcessingTests
        let texts = ["1.2.3.4:5", "[::1]:80"]
        let values = texts.flatMap { F.field(1, F.field(3, $0)) }
        let key = "x-gateway-destination-endpoint-subset"
        let value = F.field(1, F.field(1, key) + F.field(2, F.field(6, values)))
        let others = F.field(1, F.field(1, "envoy.lb") + F.field(2, value))
        let hint = F.field(1, F.field(1, "envoy.lb.subset_hint") + F.field(2, value))
        let bytes = F.field(2, [0x18, 1]) + F.field(8, others + hint)
        let message = try #require(Self.message(bytes))
        #expect(message.kind == .requestHeaders && message.ends)
        var list = ListTexts(try #require(message.subset))
        var found: [String?] = []
        while let range = list.next(bytes.span) { found.append(text(bytes, range)) }
        #expect(found == texts)
        #expect(Self.message(F.field(2, []) + F.field(8, others))?.subset == nil)
    }

    @Test func whoAnsweredIsRead() throws {
        let head = Array("HTTP/1.1 200 OK\r\nx-b: c\r\n\r\n".utf8)
        let place = Array("1.2.3.4:5".utf8)
        let bytes = try #require(
            WireTests.written {
                ProcessingRequest.append(
                    answer: head.span, served: place.span, ends: false, into: &$0)
            })
        let message = try #require(Self.message(bytes, from: GRPCFrame.prefixBytes))
        #expect(message.kind == .answerHeaders && text(bytes, message.served) == "1.2.3.4:5")
        #expect(text(bytes, HeaderMapFields.first(":status", message.fields, bytes.span)) == "200")
    }

    @Test(arguments: [true, false])
    func aChoiceIsToldTwice(isAtHead: Bool) throws {
        let endpoint = Array("10.0.0.1:8000".utf8)
        let length = Array("77".utf8)
        let (bytes, message) = try answer {
            ProcessingAnswer.append(
                endpoint: endpoint.span, length: length.span,
                ProcessingAnswer.Choice(at: isAtHead ? .head : .body), into: &$0)
        }
        #expect(message.kind == (isAtHead ? .requestHeaders : .requestBody))
        #expect(text(bytes, message.destination) == "10.0.0.1:8000" && message.body == .kept)
        let mutation = try #require(Self.mutation(bytes, message.mutation))
        #expect(text(bytes, mutation.destination) == "10.0.0.1:8000")
        #expect(mutation.contentLength == 77)
        let head =
            "POST / HTTP/1.1\r\nx-gateway-inference-objective: o\r\naccept-encoding: br\r\n\r\n"
        let changed = WireTests.written {
            mutation.append(Array(head.utf8).span, bytes.span, framing: .asItIs, into: &$0)
        }
        #expect(
            changed.map { String(decoding: $0, as: UTF8.self) }
                == "POST / HTTP/1.1\r\naccept-encoding: br\r\nx-gateway-destination-endpoint: 10.0.0.1:8000\r\n\r\n"
        )
    }

    @Test func aChoiceBringsOtherContent() throws {
        let endpoint = Array("[::1]:80".utf8)
        let content = [UInt8](repeating: 7, count: 300)
        let (bytes, message) = try answer {
            let choice = ProcessingAnswer.Choice(at: .replacement(300), readsAnswer: true)
            return ProcessingAnswer.append(
                endpoint: endpoint.span, length: [UInt8]().span, choice, into: &$0)
                && ByteScan.append(content.span, to: &$0)
        }
        #expect(message.kind == .requestBody && text(bytes, message.destination) == "[::1]:80")
        guard case .replaced(let range) = message.body else {
            Issue.record("\(message.body)")
            return
        }
        #expect(Array(bytes[range]) == content)
        let mutation = try #require(Self.mutation(bytes, message.mutation))
        #expect(mutation.contentLength == nil)
        let head = Array("GET / HTTP/1.1\r\naccept-encoding: br\r\n\r\n".utf8)
        let changed = WireTests.written {
            mutation.append(head.span, bytes.span, framing: .asItIs, into: &$0)
        }
        #expect(changed.map { String(decoding: $0, as: UTF8.self) }?.contains("br") == false)
    }

    @Test(arguments: [0, 300])
    func contentTakesAnothersPlace(count: Int) throws {
        let content = [UInt8](repeating: 7, count: count)
        let (bytes, message) = try answer {
            ProcessingAnswer.begin(.answer, replacement: count, into: &$0)
                && ByteScan.append(content.span, to: &$0)
        }
        guard case .replaced(let range) = message.body else {
            Issue.record("\(message.body)")
            return
        }
        #expect(message.kind == .answerBody && Array(bytes[range]) == content)
    }

    @Test func anAnswerLosesItsLength() throws {
        let (bytes, message) = try answer {
            ProcessingAnswer.appendUnmeasuredAnswer(into: &$0)
        }
        #expect(message.kind == .answerHeaders && message.body == .kept)
        let mutation = try #require(Self.mutation(bytes, message.mutation))
        let head = Array("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-b: c\r\n\r\n".utf8)
        let changed = WireTests.written {
            mutation.append(head.span, bytes.span, framing: .chunked, into: &$0)
        }
        #expect(
            changed.map { String(decoding: $0, as: UTF8.self) }
                == "HTTP/1.1 200 OK\r\nx-b: c\r\ntransfer-encoding: chunked\r\n\r\n")
    }

    @Test func piecesAreToldAgain() throws {
        let piece = [UInt8](repeating: 7, count: 300)
        let (bytes, message) = try answer {
            ProcessingAnswer.begin(.request, body: piece.count, ends: true, into: &$0)
                && ByteScan.append(piece.span, to: &$0)
        }
        guard case .streamed(let range, ends: true) = message.body else {
            Issue.record("\(message.body)")
            return
        }
        #expect(message.kind == .requestBody && Array(bytes[range]) == piece)
        var kinds: [ProcessingResponse.Kind] = []
        kinds.append(
            try answer { ProcessingAnswer.append(bodyKept: .answer, into: &$0) }.message.kind)
        kinds.append(
            try answer { ProcessingAnswer.append(headKept: .answer, into: &$0) }.message.kind)
        kinds.append(
            try answer { ProcessingAnswer.append(trailersKept: .request, into: &$0) }.message.kind)
        #expect(kinds == [.answerBody, .answerHeaders, .requestTrailers])
    }

    @Test func aRefusalIsTold() throws {
        let reason = Array("rejected-saturated".utf8)
        let seconds = Array("3".utf8)
        let (bytes, message) = try answer {
            ProcessingAnswer.append(
                immediate: 429, reason: reason.span, retryAfter: seconds.span,
                body: ByteScan.bytes("Later."), into: &$0)
        }
        #expect(message.kind == .immediate && message.status == 429)
        #expect(text(bytes, message.content) == "Later.")
        let mutation = try #require(Self.mutation(bytes, message.mutation))
        let lines = WireTests.written { mutation.appendSet([UInt8]().span, bytes.span, into: &$0) }
        #expect(
            lines.map { String(decoding: $0, as: UTF8.self) } == """
                content-type: text/plain; charset=utf-8\r
                x-llm-d-request-dropped-reason: rejected-saturated\r
                retry-after: 3\r

                """)
    }

    @Test func anyBytesAreReadToTheirEnd() {
        typealias F = ProcessingTests
        let hint = F.field(1, F.field(1, "envoy.lb.subset_hint") + F.field(2, F.choice))
        let seed =
            F.field(2, F.field(1, F.field(1, F.field(1, "a") + F.field(3, "b"))) + [0x18, 1])
            + F.field(8, hint) + F.field(11, [0x08, 4, 0x10, 4])
        for round in 0..<20_000 {
            var bytes = round & 1 == 0 ? seed : (0..<40).map { _ in .random(in: 0...255) }
            for _ in 0..<Int.random(in: 0...4) {
                bytes[Int.random(in: 0..<bytes.count)] = .random(in: 0...255)
            }
            if .random() { bytes.removeLast(Int.random(in: 0...bytes.count)) }
            guard let message = Self.message(bytes) else { continue }
            #expect(
                message.fields.upperBound <= bytes.count && message.body.upperBound <= bytes.count)
            var fields = HeaderMapFields(message.fields)
            while let field = fields.next(bytes.span) {
                #expect(
                    field.name.upperBound <= bytes.count && field.value.upperBound <= bytes.count)
            }
            guard let subset = message.subset else { continue }
            var texts = ListTexts(subset)
            while let text = texts.next(bytes.span) { #expect(text.upperBound <= bytes.count) }
        }
    }
}
