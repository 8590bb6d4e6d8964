// Proves that content of every framing ends where it must, read, relayed or skipped.
import Testing

@testable import HTTP

@Suite struct ContentReaderTests {
    private let input = bytes("hello world")

    @Test func `no content has ended at once`() {
        var reader = ContentReader(.none)
        var from = 0
        check(reader.isFinished && reader.remaining == 0)
        check(reader.next(input.span, from: &from) == .end && from == 0)
        check(reader.relay(input.span, from: 0) == (0, .finished))
        check(ContentReader(.length(0)).isFinished && ContentReader().remaining == 0)
    }

    @Test func `a length ends after its bytes, wherever they are cut`() {
        for cut in 0...input.count {
            var reader = ContentReader(.length(5))
            var from = 0
            var content = ""
            for end in [cut, input.count] {
                let piece = input.span.extracting(0..<end)
                while case .content(let range) = reader.next(piece, from: &from) {
                    content += text(piece.extracting(range))
                }
            }
            check(content == "hello" && reader.isFinished && from == 5)
            check(reader.next(input.span, from: &from) == .end)
        }
    }

    @Test func `a length is relayed to its end and no further`() {
        var reader = ContentReader(.length(5))
        check(reader.relay(input.span.extracting(0..<3), from: 0) == (3, .more))
        check(reader.remaining == 2)
        check(reader.relay(input.span, from: 3) == (5, .finished))
    }

    @Test func `skipped bytes count`() {
        var reader = ContentReader(.length(5))
        reader.skip(3)
        check(reader.remaining == 2 && !reader.isFinished)
        reader.skip(2)
        check(reader.isFinished)
    }

    @Test func `content is counted without its chunks, decoded or relayed`() {
        let input = bytes("5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n")
        var reader = ContentReader(.chunked)
        check(reader.unchunkedBytes == 0)
        let (end, state) = reader.relay(input.span, from: 0)
        check(state == .needsDecoding && reader.unchunkedBytes == 5)
        var from = end
        while !reader.isFinished { _ = reader.next(input.span, from: &from) }
        check(reader.unchunkedBytes == 6)
        check(ContentReader(.length(5)).unchunkedBytes == nil)
    }

    @Test func `content until close ends with the input`() {
        var reader = ContentReader(.untilClose)
        var from = 0
        check(reader.next(input.span, from: &from) == .content(0..<11))
        check(reader.next(input.span, from: &from) == .incomplete)
        check(reader.remaining == nil && !reader.isFinished)
        check(reader.inputEnded() && reader.isFinished)
    }

    @Test func `the end of input cuts a length and chunks`() {
        var counted = ContentReader(.length(5))
        check(!counted.inputEnded())
        var chunked = ContentReader(.chunked)
        check(!chunked.inputEnded())
        var none = ContentReader(.none)
        check(none.inputEnded())
    }

    @Test func `chunks are read and relayed to their end`() {
        let chunks = bytes("5\r\nhello\r\n0\r\n\r\nGET")
        var reader = ContentReader(.chunked)
        check(reader.isChunked && reader.remaining == nil)
        check(reader.relay(chunks.span, from: 0) == (15, .finished))
        check(reader.isFinished && reader.remaining == 0)
        var other = ContentReader(.chunked)
        var from = 0
        check(other.next(chunks.span, from: &from) == .content(3..<8))
        check(other.next(chunks.span, from: &from) == .end)
        check(other.isFinished && from == 15)
    }
}
