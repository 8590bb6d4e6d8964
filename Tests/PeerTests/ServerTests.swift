// Proves that a server answers in order, whatever the cuts, and stays within its bounds and times.

import HTTP
import Kernel
import Testing

@testable import Peer

let get = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

@Suite struct ServerTests {
    @Test func `a request is answered and the connection stays`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        for _ in 0..<3 {
            wire.forget()
            wire.send(get)
            #expect(stage.run(wire) { $0.hasSuffix("\r\n\r\nhello") })
            #expect(wire.text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(wire.text.contains("content-type: text/plain\r\n"))
            #expect(wire.text.contains("content-length: 5\r\n"))
            #expect(wire.text.contains("date: "))
            #expect(!wire.text.contains("connection"))
        }
        #expect(stage.connectionCount == 1)
    }

    @Test(arguments: [
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nx: y\r\n\r\n",
    ])
    func `a request cut at any byte gets the same answer`(_ request: String) throws {
        let stage = try Stage()
        let bytes = Array(request.utf8)
        for cut in 1..<bytes.count {
            let wire = try Wire(to: stage.address)
            wire.send(String(decoding: bytes[..<cut], as: UTF8.self))
            stage.turn()
            stage.turn()
            wire.send(String(decoding: bytes[cut...], as: UTF8.self))
            let isAnswered = stage.run(wire) { $0.hasSuffix("\r\n\r\nhello") }
            #expect(isAnswered, "cut at \(cut): \(wire.text)")
        }
        #expect(stage.script.log.count == bytes.count - 1)
    }

    @Test func `one byte at a time is as good as all at once`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        for byte in "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\(get)".utf8 {
            wire.send(String(Unicode.Scalar(byte)))
            stage.turn()
        }
        #expect(stage.run(wire) { answers($0) == 2 && $0.hasSuffix("hello") })
    }

    @Test func `pipelined requests are answered in order, also when one is late`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send(
            "\(get)GET /later HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\n"
                + "Content-Length: 3\r\n\r\nend")
        #expect(stage.run { $0.script.open.count == 1 })
        #expect(stage.run(wire) { $0.hasSuffix("hello") })
        stage.settle()
        #expect(stage.script.log == ["GET /hello 0", "GET /later 0"])
        let late = stage.script.open[0]
        #expect(stage.server.answers.listener(late) == 7)
        stage.send(late, "late")
        #expect(stage.run(wire) { $0.hasSuffix("end") })
        #expect(answers(wire.text) == 3)
        let contents = wire.text.split(separator: "\r\n").filter { !$0.contains(":") }
        #expect(contents.map { $0.prefix(4) } == ["HTTP", "hell", "late", "end"])
    }

    @Test func `a thousand pipelined requests get a thousand answers`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send(String(repeating: get, count: 1_000))
        #expect(stage.run(wire) { answers($0) == 1_000 && $0.hasSuffix("hello") })
    }

    @Test func `the head of an answer is all that HEAD gets`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run(wire) { $0.hasSuffix("\r\n\r\n") })
        #expect(wire.text.contains("content-length: 5\r\n"))
        wire.forget()
        wire.send("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run(wire) { $0.hasSuffix("\r\n\r\n") })
        #expect(!wire.text.contains("content-length"))
    }

    @Test func `a client that asks for the end gets it`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        #expect(stage.runToEnd(wire))
        #expect(wire.ended == true)
        #expect(wire.text.contains("connection: close\r\n"))
        #expect(wire.text.hasSuffix("hello"))
        #expect(stage.connectionCount == 0)
    }

    @Test func `HTTP 1_0 gets no chunks, and the end of the connection`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /stream HTTP/1.0\r\n\r\n")
        #expect(stage.run { $0.script.open.count == 1 })
        let exchange = stage.script.open[0]
        #expect(stage.write(exchange, "one"))
        stage.server.answers.finish(exchange)
        #expect(stage.runToEnd(wire))
        #expect(wire.text.hasSuffix("\r\n\r\none"))
        #expect(!wire.text.contains("transfer-encoding"))
    }

    @Test func `a field that is added stands in the next head only`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /field HTTP/1.1\r\nHost: a\r\n\r\n\(get)")
        #expect(stage.run(wire) { $0.hasSuffix("hello") })
        #expect(wire.text.split(separator: "x-one: 1").count == 2)
    }

    @Test func `habits of the server show in every answer`() throws {
        let settings = ServerSettings(
            exchangesPerConnection: 2, name: "test", keepAlive: "timeout=5, max=2")
        let stage = try Stage(settings)
        let wire = try Wire(to: stage.address)
        wire.send(get + get)
        #expect(stage.runToEnd(wire))
        #expect(wire.text.split(separator: "server: test").count == 3)
        #expect(wire.text.split(separator: "keep-alive: timeout=5, max=2").count == 3)
        #expect(wire.text.split(separator: "connection: close").count == 2)
    }

    @Test func `a silent end is not announced`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.runToEnd(wire))
        #expect(wire.text.hasSuffix("last"))
        #expect(!wire.text.contains("connection"))
    }
}

@Suite struct ServerContentTests {
    @Test func `a client that waits is told to go on`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        #expect(stage.run(wire) { $0 == "HTTP/1.1 100 Continue\r\n\r\n" })
        wire.send("ok")
        #expect(stage.run(wire) { $0.hasSuffix("\r\n\r\nok") })
    }

    @Test(arguments: [
        "Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n64\r\n",
    ])
    func `content over the bound is refused, and the answer is not lost`(_ head: String) throws {
        let stage = try Stage()
        stage.script.limit = 99
        let wire = try Wire(to: stage.address)
        // More than the client is allowed to have unread when the connection closes.
        let content = String(repeating: "x", count: 100 + 60_000)
        wire.send("POST /echo HTTP/1.1\r\nHost: a\r\n\(head)\(content)")
        #expect(stage.run(wire) { answers($0, 413) == 1 && $0.hasSuffix("send less.\n") })
        #expect(wire.text.contains("connection: close"))
        #expect(stage.script.log.isEmpty)
        // The server waits for the client's end before it closes for good.
        stage.settle()
        #expect(stage.connectionCount == 1)
        wire.socket.shutdownWrite()
        #expect(stage.run { $0.connectionCount == 0 })
    }

    @Test func `content in pieces comes as it arrives`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("POST /pieces HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(stage.run { $0.script.log.count == 1 })
        wire.send("3\r\none\r\n")
        #expect(stage.run { $0.script.log.count == 2 })
        wire.send("3\r\ntwo\r\n0\r\n\r\n")
        #expect(stage.run(wire) { $0.hasSuffix("done") })
        #expect(stage.script.log == ["POST /pieces 0", "piece one", "piece two", "finish"])
        wire.forget()
        wire.send(get)
        #expect(stage.run(wire) { $0.hasSuffix("hello") })
    }

    @Test func `large content is gathered whole`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        let piece = String(repeating: "y", count: 50_000)
        wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
        for _ in 0..<10 {
            wire.send(piece)
            stage.turn()
        }
        #expect(stage.run(wire) { $0.count > 500_000 })
        #expect(wire.text.hasSuffix(String(repeating: piece, count: 10)))
        #expect(stage.bytesInUse == 0)
    }

    @Test func `an answer before the content ends the connection`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfour")
        #expect(stage.run(wire) { answers($0, 403) == 1 && $0.hasSuffix("no") })
        #expect(wire.text.contains("connection: close"))
        // What is left of the content is no request, and does not reset the answer away.
        wire.send("12345\(get)")
        stage.settle()
        wire.receive()
        #expect(answers(wire.text) == 0 && wire.ended == true)
        #expect(stage.script.log == ["POST /early 0"])
    }

    @Test(arguments: [
        ("BAD\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/3.0\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        ("GET /LONG HTTP/1.1\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: LONG\r\n\r\n", 431),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        ("POST /pieces HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ])
    func `what is no request is refused and ends the connection`(
        _ request: String, _ status: Int
    ) throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        let parts = request.split(separator: "LONG", omittingEmptySubsequences: false)
        wire.send(parts.joined(separator: String(repeating: "a", count: 20_000)))
        #expect(stage.run(wire) { answers($0, status) == 1 && $0.hasSuffix("\n") }, "\(wire.text)")
        #expect(wire.text.contains("connection: close"))
        wire.socket.shutdownWrite()
        #expect(stage.run { $0.connectionCount == 0 })
        #expect(stage.bytesInUse == 0)
    }
}

@Suite struct ServerStreamTests {
    @Test func `a stream reaches the client piece by piece`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run(wire) { $0.hasSuffix("\r\n\r\n") })
        #expect(wire.text.contains("transfer-encoding: chunked\r\n"))
        let exchange = stage.script.open[0]
        for piece in ["one", "two two", String(repeating: "3", count: 300)] {
            wire.forget()
            #expect(stage.write(exchange, piece))
            let chunk = "\(String(piece.utf8.count, radix: 16))\r\n\(piece)\r\n"
            #expect(stage.run(wire) { $0 == chunk })
        }
        #expect(stage.write(exchange, ""))
        wire.forget()
        stage.server.answers.finish(exchange)
        #expect(stage.run(wire) { $0 == "0\r\n\r\n" })
        wire.forget()
        wire.send(get)
        #expect(stage.run(wire) { $0.hasSuffix("hello") })
    }

    @Test(arguments: [3_000_000, 40_000_000])
    func `a slow reader stops the writer, and gets every byte`(_ count: Int) throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /flood/\(count) HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in 0..<50 { stage.turn(wait: 1) }
        let left = stage.script.flood.values.first ?? 0
        if count > 10_000_000 { #expect(left > 10_000_000, "The writer is held back.") }
        #expect(stage.bytesInUse <= 256 << 10)
        wire.receive(atMost: 4_096)
        let head = wire.text.split(separator: "\r\n\r\n", maxSplits: 1)[0].utf8.count + 4
        var total = wire.received.count - head
        for _ in 0..<200_000 where total < count {
            stage.turn(wait: 1)
            total += wire.drop(atMost: 1 << 20)
        }
        #expect(total == count)
        #expect(stage.script.log.contains("resume"))
        #expect(stage.bytesInUse == 0)
    }

    @Test func `one that takes much leaves the others their turn`() throws {
        let stage = try Stage()
        let large = try Wire(to: stage.address)
        let small = try Wire(to: stage.address)
        large.send("GET /flood/30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        small.send(get)
        var turns = 0
        while answers(small.text) == 0, turns < 100 {
            stage.turn()
            _ = large.drop(atMost: 1 << 20)
            small.receive()
            turns += 1
        }
        #expect(turns < 20)
        #expect(!stage.script.flood.isEmpty)
    }

    @Test func `a whole answer is kept for a slow reader, whatever its size`() throws {
        let stage = try Stage()
        stage.script.limit = 8 << 20
        let wire = try Wire(to: stage.address)
        let count = 6_000_000
        wire.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run { $0.script.open.count == 1 })
        let content = [UInt8](repeating: 0x7A, count: count)
        stage.server.answers.send(
            stage.script.open[0], status: 200, type: "", content: content.span)
        wire.send(get)
        #expect(stage.run(wire) { $0.utf8.count > count && $0.hasSuffix("hello") })
        #expect(stage.bytesInUse == 0)
    }

    @Test func `a client that leaves cancels, and a late answer is ignored`() throws {
        let stage = try Stage()
        for path in ["/later", "/stream"] {
            stage.script = Script()
            var wire: Wire? = try Wire(to: stage.address)
            wire?.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(stage.run { $0.script.open.count == 1 })
            wire = nil
            #expect(stage.run { $0.script.log.last == "cancel" })
            #expect(stage.connectionCount == 0)
            let exchange = stage.script.open[0]
            #expect(!stage.isOpen(exchange))
            stage.send(exchange, "")
            #expect(!stage.write(exchange, "x"))
            stage.server.answers.finish(exchange)
        }
    }

    @Test func `a client that only ends its side has left as well`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run { $0.script.open.count == 1 })
        wire.socket.shutdownWrite()
        #expect(stage.run { $0.script.log.last == "cancel" })
    }

    @Test func `requests sent before the end are all answered`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n\(get)")
        wire.socket.shutdownWrite()
        #expect(stage.run { $0.script.open.count == 1 })
        stage.settle()
        stage.send(stage.script.open[0], "late")
        #expect(stage.runToEnd(wire))
        #expect(answers(wire.text) == 2 && wire.text.hasSuffix("hello"))
    }

    @Test func `a client that leaves in the middle of a large answer cancels it`() throws {
        for resets in [false, true] {
            let stage = try Stage()
            var wire: Wire? = try Wire(to: stage.address)
            wire?.send("GET /flood/40000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in 0..<30 { stage.turn(wait: 1) }
            #expect(!stage.script.flood.isEmpty)
            if resets {
                wire = nil
            } else {
                wire?.socket.shutdownWrite()
            }
            #expect(stage.run { $0.script.log.last == "cancel" })
            #expect(stage.connectionCount == 0 && stage.bytesInUse == 0)
        }
    }

    @Test func `a request sent before the end is answered, also behind a late answer`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run { $0.script.open.count == 1 })
        wire.send(get)
        wire.socket.shutdownWrite()
        stage.settle()
        #expect(stage.isOpen(stage.script.open[0]))
        stage.send(stage.script.open[0], "late")
        #expect(stage.runToEnd(wire))
        #expect(answers(wire.text) == 2 && wire.text.hasSuffix("hello"))
        #expect(!stage.script.log.contains("cancel"))
    }

    @Test func `an upload that stops in the middle is cancelled`() throws {
        let stage = try Stage()
        var wire: Wire? = try Wire(to: stage.address)
        wire?.send("POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfour")
        #expect(stage.run { $0.script.log.last == "piece four" })
        wire = nil
        #expect(stage.run { $0.script.log.last == "cancel" })
    }

    @Test func `an answer that breaks off has no clean end`() throws {
        let stage = try Stage()
        for path in ["/stream", "/sized"] {
            stage.script = Script()
            let wire = try Wire(to: stage.address)
            wire.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(stage.run { $0.script.open.count == 1 })
            let exchange = stage.script.open[0]
            #expect(stage.write(exchange, "part"))
            if path == "/sized" {
                stage.server.answers.finish(exchange)
            } else {
                stage.server.answers.abort(exchange)
            }
            #expect(stage.runToEnd(wire))
            #expect(wire.text.contains("part") && !wire.text.hasSuffix("0\r\n\r\n"))
            #expect(stage.script.log.count == 1, "Who breaks off is not told so.")
        }
    }
}

@Suite struct ServerTimeTests {
    @Test func `a silent connection is closed without a word`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        #expect(stage.run { $0.connectionCount == 1 })
        stage.pass(milliseconds: 74_000)
        #expect(stage.connectionCount == 1)
        stage.pass(milliseconds: 1_100)
        #expect(stage.runToEnd(wire))
        #expect(wire.received.isEmpty && wire.ended == true)
    }

    @Test func `an answer begins the silence anew`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send(get)
        #expect(stage.run(wire) { $0.hasSuffix("hello") })
        stage.pass(milliseconds: 70_000)
        wire.send(get)
        #expect(stage.run(wire) { answers($0) == 2 })
        stage.pass(milliseconds: 70_000)
        #expect(stage.connectionCount == 1)
        stage.pass(milliseconds: 6_000)
        #expect(stage.connectionCount == 0)
    }

    @Test func `a head that drips is refused in time, however it drips`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        for byte in "GET /hello".utf8 {
            wire.send(String(Unicode.Scalar(byte)))
            stage.settle()
            stage.pass(milliseconds: 1_100)
        }
        #expect(stage.run(wire) { answers($0, 408) == 1 })
        wire.socket.shutdownWrite()
        #expect(stage.runToEnd(wire))
    }

    @Test func `content that stalls is refused, and slow content is not`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        for byte in "slow".utf8 {
            wire.send(String(Unicode.Scalar(byte)))
            stage.settle()
            stage.pass(milliseconds: 20_000)
        }
        wire.receive()
        #expect(wire.text.isEmpty)
        stage.pass(milliseconds: 11_000)
        #expect(stage.run(wire) { answers($0, 408) == 1 })
    }

    @Test func `an answer may take any time`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run { $0.script.open.count == 1 })
        for _ in 0..<20 { stage.pass(milliseconds: 100_000) }
        stage.send(stage.script.open[0], "late")
        #expect(stage.run(wire) { $0.hasSuffix("late") })
    }

    @Test func `a reader that takes nothing is cut off`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("GET /flood/40000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in 0..<50 { stage.turn(wait: 1) }
        stage.pass(milliseconds: 59_000)
        #expect(stage.connectionCount == 1)
        stage.pass(milliseconds: 2_000)
        #expect(stage.connectionCount == 0)
        #expect(stage.script.log.last == "cancel")
        #expect(stage.bytesInUse == 0)
        _ = wire.ended
    }

    @Test func `a refused client that does not close is closed in the end`() throws {
        let stage = try Stage()
        let wire = try Wire(to: stage.address)
        wire.send("BAD\r\n\r\n")
        #expect(stage.run(wire) { answers($0, 400) == 1 })
        stage.settle()
        #expect(stage.connectionCount == 1)
        stage.pass(milliseconds: 2_100)
        #expect(stage.connectionCount == 0)
    }

    @Test func `connections over the bound wait for a place`() throws {
        let stage = try Stage(ServerSettings(connections: 2))
        var first: Wire? = try Wire(to: stage.address)
        let second = try Wire(to: stage.address)
        #expect(stage.run { $0.connectionCount == 2 })
        let third = try Wire(to: stage.address)
        third.send(get)
        stage.settle()
        third.receive()
        #expect(third.received.isEmpty)
        first = nil
        #expect(first == nil)
        stage.settle()
        stage.pass(milliseconds: 150)
        #expect(stage.run(third) { $0.hasSuffix("hello") })
        _ = second.ended
    }

    @Test func `who owes a request for the longest makes room, if it is wanted`() throws {
        let stage = try Stage(ServerSettings(connections: 2, makesRoom: true))
        let first = try Wire(to: stage.address)
        first.send("GET /hel")
        let second = try Wire(to: stage.address)
        second.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(stage.run { $0.connectionCount == 2 && $0.script.open.count == 1 })
        let third = try Wire(to: stage.address)
        third.send(get)
        #expect(stage.run(third) { $0.hasSuffix("hello") })
        #expect(stage.connectionCount == 2)
        first.receive()
        #expect(first.ended != nil && second.ended == nil)
    }

    @Test func `hundreds of connections are served side by side`() throws {
        let stage = try Stage()
        let wires = try (0..<300).map { _ in try Wire(to: stage.address) }
        for wire in wires { wire.send(get) }
        #expect(stage.run { $0.script.log.count == 300 })
        stage.settle()
        for wire in wires { wire.receive() }
        #expect(wires.count { $0.text.hasSuffix("hello") } == 300)
        #expect(stage.connectionCount == 300)
    }
}
