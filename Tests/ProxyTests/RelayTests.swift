import HTTP
import Kernel
import Testing

@testable import Proxy

/// Content that cannot go on as it came is framed anew, whatever way its bytes are cut.
@Suite struct RelayTests {
    private func reframe(
        _ text: String, _ framing: BodyFraming, chunked: Bool, trailers: Bool, cut: Int
    ) -> (output: String, finished: Bool) {
        var reader = ContentReader(framing)
        var inTrailers = false
        var output = Buffer(capacity: 4096)
        var waiting = Array(text.utf8.prefix(cut))
        var rest = Array(text.utf8.dropFirst(cut))
        var finished = false
        for _ in 0..<2 {
            let step = Relay.reframe(
                &reader, &inTrailers, waiting.span, into: &output, chunked: chunked,
                trailers: trailers)
            if step.malformed != nil { return ("malformed", false) }
            finished = step.finished
            if finished { break }
            waiting = Array(waiting.dropFirst(step.used)) + rest
            rest = []
        }
        var bytes: [UInt8] = []
        for at in 0..<output.count { bytes.append(output.span[at]) }
        return (String(decoding: bytes, as: UTF8.self), finished)
    }

    @Test func `extensions are dropped and trailers go to those who take them`() {
        let text = "3;x=1\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"
        for cut in 0...text.utf8.count {
            let with = reframe(text, .chunked, chunked: true, trailers: true, cut: cut)
            #expect(with.finished)
            #expect(with.output.hasSuffix("0\r\nx-sum: 1\r\n\r\n"), "cut at \(cut): \(with.output)")
            let without = reframe(text, .chunked, chunked: true, trailers: false, cut: cut)
            #expect(without.output.hasSuffix("\r\n0\r\n\r\n"), "cut at \(cut): \(without.output)")
            #expect(!without.output.contains("x-sum"))
        }
    }

    @Test func `chunked content for an old client is bare`() {
        let text = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        for cut in 0...text.utf8.count {
            let result = reframe(text, .chunked, chunked: false, trailers: false, cut: cut)
            #expect(result.output == "abcde", "cut at \(cut)")
            #expect(result.finished)
        }
    }

    @Test func `content until the close is chunked and is not ended by silence`() {
        let result = reframe("hello", .untilClose, chunked: true, trailers: false, cut: 2)
        #expect(result.output == "2\r\nhe\r\n3\r\nllo\r\n")
        #expect(!result.finished)
    }

    @Test(arguments: ["g\r\nabc\r\n", "3\nabc\r\n", "-1\r\n", " 3\r\nabc\r\n"])
    func `a broken chunk is malformed and never repaired`(text: String) {
        #expect(
            reframe(text, .chunked, chunked: true, trailers: false, cut: 0).output == "malformed")
    }
}
