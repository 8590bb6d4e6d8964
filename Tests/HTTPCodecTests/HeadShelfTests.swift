// A head that is given by its lines leaves as the same head does that is given as text.
import HTTP
import HTTPCodec
import Testing

@Suite struct HeadShelfTests {
    /// Sends an answer to `method` both ways and gives what the client reads of each.
    private func both(
        _ text: String, content: String, method: String, _ framing: BodyFraming,
        edit: (inout ResponseHead) -> Void = { _ in }
    ) throws -> (lines: String, text: String) {
        var head = ResponseHead()
        let bytes = Array(text.utf8)
        let asked: Method = method == "HEAD" ? .head : .get
        guard case .complete(let consumed) = head.parse(bytes.span, requestMethod: asked) else {
            throw Failure()
        }
        _ = head.removeConnectionFields()
        edit(&head)
        let byLines = Wire()
        let first = try #require(byLines.request("\(method) / HTTP/1.1\r\nhost: a\r\n\r\n"))
        let sent = byLines.server.session.sendHead(
            first.server, head, head.bytes, headBytes: consumed, framing: framing,
            &byLines.server.pool)
        #expect(sent > 0)
        #expect(content.isEmpty || byLines.server.send(first.server, content))
        let written = [UInt8](capacity: 256 << 10) { output in
            _ = HeadWriter.write(
                response: head, to: .http11, framing: framing, closes: false, into: &output)
        }
        let byText = Wire()
        let second = try #require(byText.request("\(method) / HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(byText.server.send(second.server, bytes: written))
        #expect(content.isEmpty || byText.server.send(second.server, content))
        if framing == .untilClose {
            byLines.server.sendEnd(first.server)
            byText.server.sendEnd(second.server)
        }
        byLines.run()
        byText.run()
        byLines.server.close(first.server, .finished)
        #expect(byLines.server.bytesInUse == 0)
        let got = byLines.client.read(first.client)
        #expect(got.last == .end)
        return (got.text, byText.client.read(second.client).text)
    }

    private struct Failure: Error {}

    @Test(arguments: 0..<70)
    func `names and values of any length`(length: Int) throws {
        let name = "X-A.z~" + String(repeating: "B", count: length)
        let value = String(repeating: "v", count: length)
        let text =
            "HTTP/1.1 200 OK\r\n\(name): \(value)\r\nSet-Cookie: \(value)\r\nConnection: close\r\n"
            + "keep-alive: timeout=5\r\nContent-Length: 3\r\nE:\r\n\r\n"
        let got = try both(text, content: "abc", method: "GET", .length(3))
        #expect(got.lines == got.text)
        #expect(got.lines.contains("\r\n\(name.lowercased()): \(value)\r\n"))
        #expect(!got.lines.contains("keep-alive"))
    }

    @Test func `heads of every framing`() throws {
        let rows: [(String, String, String, BodyFraming)] = [
            ("200 OK\r\ncontent-length: 3\r\n", "abc", "GET", .length(3)),
            ("200 OK\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n", "GET", .chunked),
            ("200 OK\r\n", "abc", "GET", .untilClose),
            ("200 OK\r\n", "3\r\nabc\r\n0\r\n\r\n", "GET", .chunked),
            ("200 OK\r\ntransfer-encoding: chunked\r\n", "abcde", "GET", .length(5)),
            ("200 OK\r\ncontent-length: 3\r\n", "", "HEAD", .none),
            ("204 No Content\r\netag: a\r\n", "", "GET", .none),
            ("304 Not Modified\r\ncontent-length: 3\r\n", "", "GET", .none),
            ("200 OK\r\nContent-Length: 03\r\n", "abc", "GET", .length(3)),
            ("599 \r\nA: \t b \r\nx_y!: c\r\n", "", "GET", .length(0)),
        ]
        for (index, row) in rows.enumerated() {
            let got = try both("HTTP/1.1 \(row.0)\r\n", content: row.1, method: row.2, row.3)
            #expect(got.lines == got.text, "row \(index)")
        }
    }

    @Test func `lines that were dropped or added`() throws {
        let text = "HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\ncontent-length: 1\r\n\r\n"
        let got = try both(text, content: "x", method: "GET", .length(1)) { head in
            head.remove(named: ByteScan.bytes("b"))
            _ = head.append(name: "X-New", value: ByteScan.bytes("Value"))
            head.setStatus(418)
        }
        #expect(got.lines == got.text)
        #expect(got.lines.hasPrefix("HTTP/1.1 418 ") && got.lines.contains("x-new: Value\r\n"))
    }

    @Test func `heads of many streams that do not fit at once`() throws {
        let wire = Wire()
        wire.run()
        var streams: [StreamID] = []
        for _ in 0..<40 {
            let stream = try #require(wire.client.open())
            #expect(wire.client.send(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
            streams.append(stream)
        }
        wire.run()
        let value = String(repeating: "v", count: 2_000)
        let bytes = Array("HTTP/1.1 200 OK\r\na: \(value)\r\ncontent-length: 0\r\n\r\n".utf8)
        var head = ResponseHead()
        guard case .complete(let count) = head.parse(bytes.span, requestMethod: .get) else {
            throw Failure()
        }
        let opened = wire.server.opened()
        for (index, stream) in opened.enumerated() {
            let sent = wire.server.session.sendHead(
                stream, head, head.bytes, headBytes: count, framing: .length(0), &wire.server.pool)
            #expect(sent > value.utf8.count)
            // Frames begin to leave while there are heads to come, in pieces that hold few.
            guard index % 7 == 6 else { continue }
            let piece = [UInt8](capacity: 3_000) { output in
                _ = wire.server.session.produce(
                    into: &output, &wire.server.pool, now: wire.server.now)
            }
            wire.client.receive(piece)
        }
        wire.run()
        for stream in streams {
            let got = wire.client.read(stream)
            #expect(got.text == "HTTP/1.1 200 OK\r\na: \(value)\r\ncontent-length: 0\r\n\r\n")
            #expect(got.last == .end)
        }
        for stream in opened { wire.server.close(stream, .finished) }
        #expect(wire.server.bytesInUse == 0)
    }

    @Test func `heads leave the shelf though content waits`() throws {
        var wide = HTTP2Limits()
        (wide.streamWindow, wide.connectionWindow) = (8 << 20, 8 << 20)
        let wire = Wire(clientLimits: wide)
        let content = String(repeating: "c", count: 4 << 20)
        let large = try #require(wire.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        let said = "HTTP/1.1 200 OK\r\ncontent-length: \(content.utf8.count)\r\n\r\n"
        #expect(wire.server.send(large.server, said) && wire.server.send(large.server, content))
        let before = wire.server.bytesInUse
        let value = String(repeating: "v", count: 2_000)
        let bytes = Array("HTTP/1.1 200 OK\r\na: \(value)\r\ncontent-length: 0\r\n\r\n".utf8)
        var head = ResponseHead()
        guard case .complete(let count) = head.parse(bytes.span, requestMethod: .get) else {
            throw Failure()
        }
        _ = wire.server.takeEvents()
        for _ in 0..<1_000 {
            let stream = try #require(wire.client.open())
            #expect(wire.client.send(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
            wire.server.receive(wire.client.output())
            let small = try #require(wire.server.opened().first)
            let sent = wire.server.session.sendHead(
                small, head, head.bytes, headBytes: count, framing: .length(0), &wire.server.pool)
            #expect(sent > value.utf8.count)
            // What leaves is the head and a little of the content, of which there is more all the time.
            let piece = [UInt8](capacity: 2_500) { output in
                _ = wire.server.session.produce(
                    into: &output, &wire.server.pool, now: wire.server.now)
            }
            wire.server.collect()
            wire.client.receive(piece)
            #expect(wire.client.read(stream).last == .end)
            wire.server.close(small, .finished)
        }
        let wantsOutput = wire.server.session.wantsOutput
        #expect(wantsOutput)
        #expect(wire.server.bytesInUse <= before + 64 << 10)
    }
}
