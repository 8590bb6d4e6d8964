// Proves that a client's calls end exactly once, by the whole answer or by the true reason.

import Glibc
import HTTP
import Kernel
import Testing

@testable import Peer

extension Stage {
    /// Begins a call to the stage's own server, or to another address.
    func call(
        _ target: String, _ method: Method = .get, content: String = "", tag: UInt64 = 1,
        to other: SocketAddress? = nil, _ adjust: (inout CallSettings) -> Void = { _ in }
    ) throws(CallFailure) -> CallID {
        var settings = CallSettings(address: other ?? address, tag: tag)
        adjust(&settings)
        guard client.begin(method, target: target.utf8.span, authority: "a".utf8.span) else {
            throw .invalidRequest
        }
        return try client.send(settings, content: content.utf8.span, on: loop, now: now)
    }

    /// Turns until so many calls have ended.
    func run(calls: Int) -> Bool { run { $0.notes.done == calls } }
}

/// A server that says what the test says.
struct Puppet: ~Copyable {
    let listener: ListenSocket
    var address: SocketAddress { listener.localAddress }

    init() throws {
        listener = try ListenSocket.open(.loopback(v6: false, port: 0), reusePort: false)
    }

    /// The next connection, when one has come.
    func accept() -> Wire? {
        if case .accepted(let fd, _) = listener.accept() { return Wire(Socket(adopting: fd)) }
        return nil
    }

    /// Accepts, waits for a request and answers it with these bytes.
    func answer(_ stage: Stage, _ bytes: String) -> Wire {
        var wire: Wire?
        for _ in 0..<500 {
            stage.turn()
            if wire == nil { wire = accept() }
            wire?.receive()
            if wire?.text.contains("\r\n\r\n") == true { break }
        }
        guard let wire else { preconditionFailure("The client connects.") }
        wire.send(bytes)
        return wire
    }
}

@Suite struct ClientTests {
    @Test func `a call is answered, and the connection is used again`() throws {
        let stage = try Stage()
        for tag in 1...3 as ClosedRange<UInt64> {
            _ = try stage.call("/hello", tag: tag)
            #expect(stage.run(calls: Int(tag)))
        }
        #expect(
            stage.notes.log.filter { $0.hasPrefix("finish") }
                == (1...3).map {
                    "finish \($0) 200 hello"
                })
        #expect(stage.client.connectionCount == 1)
        #expect(stage.connectionCount == 1)
    }

    @Test func `content is sent with its length`() throws {
        let stage = try Stage()
        let content = String(repeating: "z", count: 200_000)
        _ = try stage.call("/echo", .post, content: content)
        #expect(stage.run(calls: 1))
        #expect(stage.notes.log.last == "finish 1 200 \(content)")
        _ = try stage.call("/echo", .post, tag: 2)
        #expect(stage.run(calls: 2))
        #expect(stage.notes.log.last == "finish 2 200 ")
        #expect(stage.script.log.last == "POST /echo 0")
    }

    @Test func `many calls go side by side`() throws {
        let stage = try Stage(connections: 64)
        for tag in 1...50 as ClosedRange<UInt64> { _ = try stage.call("/hello", tag: tag) }
        #expect(stage.run(calls: 50))
        #expect(Set(stage.notes.log.filter { $0.hasPrefix("finish") }).count == 50)
        #expect(stage.client.pool.bytesInUse == 0)
    }

    @Test func `a call without a place is refused at once`() throws {
        let stage = try Stage(connections: 2)
        _ = try stage.call("/later", tag: 1)
        _ = try stage.call("/later", tag: 2)
        #expect(throws: CallFailure.exhausted) { try stage.call("/hello", tag: 3) }
        #expect(throws: CallFailure.invalidRequest) { try stage.call("no slash", tag: 4) }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
            + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ])
    func `an answer cut at any byte is the same`(_ answer: String) throws {
        let puppet = try Puppet()
        let stage = try Stage()
        let bytes = Array(answer.utf8)
        for cut in 1..<bytes.count {
            stage.notes = Notes()
            _ = try stage.call("/", to: puppet.address) { $0.reuses = false }
            let wire = puppet.answer(stage, String(decoding: bytes[..<cut], as: UTF8.self))
            stage.turn()
            wire.send(String(decoding: bytes[cut...], as: UTF8.self))
            #expect(stage.run(calls: 1))
            #expect(stage.notes.log == ["begin 1 200", "finish 1 200 hello"], "cut at \(cut)")
        }
    }

    @Test func `the end of the connection ends an answer without a length`() throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        do {
            let wire = puppet.answer(stage, "HTTP/1.1 200 OK\r\n\r\nall of it")
            stage.settle()
            #expect(stage.notes.done == 0)
            _ = wire.ended
        }
        #expect(stage.run(calls: 1))
        #expect(stage.notes.log.last == "finish 1 200 all of it")
        #expect(stage.client.connectionCount == 0)
    }

    @Test func `an answer without content is complete with its head`() throws {
        let stage = try Stage()
        _ = try stage.call("/hello", .head, tag: 1)
        #expect(stage.run(calls: 1))
        _ = try stage.call("/empty", tag: 2)
        #expect(stage.run(calls: 2))
        _ = try stage.call("/hello", tag: 3) { $0.answerMilliseconds = .max }
        #expect(stage.run(calls: 3))
        #expect(
            stage.notes.log.filter { $0.hasPrefix("finish") } == [
                "finish 1 200 ", "finish 2 204 ", "finish 3 200 hello",
            ])
        #expect(stage.connectionCount == 1)
    }

    @Test func `an idle time beyond all measure is no trap`() throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        let wire = puppet.answer(
            stage,
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9223372036854775807\r\n"
                + "Content-Length: 0\r\n\r\n")
        #expect(stage.run(calls: 1))
        #expect(stage.client.connectionCount == 1)
        _ = wire.ended
    }

    @Test func `pieces come as they arrive`() throws {
        let stage = try Stage()
        _ = try stage.call("/stream") { $0.takesPieces = true }
        #expect(stage.run { $0.notes.log == ["begin 1 200"] })
        let exchange = stage.script.open[0]
        for piece in ["one", "two"] {
            #expect(stage.write(exchange, piece))
            #expect(stage.run { $0.notes.log.last == "piece 1 \(piece)" })
        }
        stage.server.answers.finish(exchange)
        #expect(stage.run(calls: 1))
        #expect(stage.notes.log.last == "finish 1 200 ")
    }

    @Test func `a call that is given up is cancelled at the server`() throws {
        let stage = try Stage()
        let call = try stage.call("/later")
        #expect(stage.run { $0.script.open.count == 1 })
        stage.client.cancel(call)
        #expect(stage.run { $0.script.log.last == "cancel" })
        #expect(stage.notes.log.isEmpty)
        stage.client.cancel(call)
    }
}

@Suite struct ClientFailureTests {
    @Test func `nobody listens`() throws {
        let stage = try Stage()
        let gone = try Puppet().address
        do throws(CallFailure) {
            _ = try stage.call("/", to: gone)
            #expect(stage.run(calls: 1))
            #expect(stage.notes.log == ["fail 1 connect(\(ECONNREFUSED))"])
        } catch {
            #expect(error == .connect(ECONNREFUSED))
        }
        #expect(stage.client.connectionCount == 0)
    }

    @Test func `time runs out while connecting`() throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        // The clock moves before the loop could say that the connection stands.
        stage.now += 5_100
        stage.client.tick(on: stage.loop, now: stage.now, &stage.notes)
        #expect(stage.notes.log == ["fail 1 connectTimeout"])
    }

    @Test func `time runs out before the answer, and within it`() throws {
        let puppet = try Puppet()
        let stage = try Stage()
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
            stage.notes = Notes()
            _ = try stage.call("/", to: puppet.address)
            let wire = puppet.answer(stage, answer + "")
            stage.settle()
            stage.pass(milliseconds: 29_000)
            #expect(stage.notes.done == 0)
            stage.pass(milliseconds: 1_100)
            #expect(stage.notes.log.last == "fail 1 answerTimeout")
            _ = wire.ended
        }
        #expect(stage.client.pool.bytesInUse == 0)
    }

    @Test(arguments: [
        ("", "closed"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "truncated"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "truncated"),
    ])
    func `the connection ends too early`(_ answer: String, _ reason: String) throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        do {
            let wire = puppet.answer(stage, answer)
            _ = wire.ended
        }
        #expect(stage.run(calls: 1))
        #expect(stage.notes.log.last == "fail 1 \(reason)")
    }

    @Test(arguments: [
        "FTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ])
    func `what is no answer is refused`(_ answer: String) throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        let wire = puppet.answer(stage, answer)
        #expect(stage.run(calls: 1))
        #expect(stage.notes.log.last?.hasPrefix("fail 1 malformed") == true)
        _ = wire.ended
    }

    @Test func `an answer over the bound is refused`() throws {
        let stage = try Stage()
        _ = try stage.call("/echo", .post, content: "12345", tag: 1) { $0.contentBytesMax = 5 }
        _ = try stage.call("/echo", .post, content: "123456", tag: 2) { $0.contentBytesMax = 5 }
        #expect(stage.run(calls: 2))
        #expect(stage.notes.log.contains("finish 1 200 12345"))
        #expect(stage.notes.log.contains("fail 2 tooLarge"))
    }

    @Test func `a kept connection that has ended is not used`() throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        do {
            let wire = puppet.answer(stage, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            #expect(stage.run(calls: 1))
            #expect(stage.client.connectionCount == 1)
            _ = wire.ended
        }
        #expect(stage.run { $0.client.connectionCount == 0 })
    }

    @Test func `bytes after an answer are nobody's, and their connection is not used again`() throws
    {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        let wire = puppet.answer(
            stage, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n")
        #expect(stage.run(calls: 1))
        #expect(stage.notes.log.last == "finish 1 200 ok")
        #expect(stage.client.connectionCount == 0)
        _ = wire.ended
    }

    @Test(arguments: [(Method.get, true), (.post, false)])
    func `a request lost with a kept connection is sent again if that is safe`(
        _ method: Method, _ isRepeated: Bool
    ) throws {
        let puppet = try Puppet()
        let stage = try Stage()
        let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        _ = try stage.call("/", to: puppet.address)
        do {
            let wire = puppet.answer(stage, empty)
            #expect(stage.run(calls: 1))
            wire.forget()
            _ = try stage.call("/", method, tag: 2, to: puppet.address)
            for _ in 0..<100 where wire.received.isEmpty {
                stage.turn()
                wire.receive()
            }
            #expect(!wire.received.isEmpty, "The kept connection carries the second call.")
        }
        if isRepeated {
            let wire = puppet.answer(stage, empty)
            #expect(stage.run(calls: 2))
            #expect(stage.notes.log.last == "finish 2 200 ")
            _ = wire.ended
        } else {
            #expect(stage.run(calls: 2))
            #expect(stage.notes.log.last == "fail 2 closed")
        }
    }

    @Test func `the server's own time for idle connections is kept`() throws {
        let puppet = try Puppet()
        let stage = try Stage()
        _ = try stage.call("/", to: puppet.address)
        let wire = puppet.answer(
            stage, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n")
        #expect(stage.run(calls: 1))
        stage.pass(milliseconds: 3_900)
        #expect(stage.client.connectionCount == 1)
        stage.pass(milliseconds: 200)
        #expect(stage.client.connectionCount == 0)
        _ = wire.ended
    }
}
