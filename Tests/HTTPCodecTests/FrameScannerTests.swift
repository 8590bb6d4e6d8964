// Frame headers are found in any cut of the bytes, and payloads are not taken for them.
import Testing

@testable import HTTPCodec

@Suite struct FrameScannerTests {
    @Test(arguments: [1, 2, 8, 9, 10, 1_000])
    func `headers are found however the bytes are cut`(step: Int) {
        let frames = [
            Frame.settings([(3, 100)]), Frame.headers(1, Frame.get),
            Frame.data(1, "PRI * HTTP/2.0"),
            Frame(type: 0xFA, flags: 0xFF, stream: 0x7FFF_FFFF, payload: []), Frame.ping(),
        ]
        let bytes = Frame.preface + frames.flatMap(\.bytes)
        var scanner = FrameScanner(hasPreface: true)
        var found: [FrameScanner.Header] = []
        var at = 0
        while at < bytes.count {
            let end = min(at + step, bytes.count)
            let piece = bytes.span.extracting(at..<end)
            var from = 0
            while let header = scanner.next(piece, from: &from) { found.append(header) }
            #expect(from == piece.count)
            at = end
        }
        #expect(found.map(\.type) == frames.map(\.type))
        #expect(found.map(\.length) == frames.map { UInt32($0.payload.count) })
        #expect(found.map(\.stream) == frames.map(\.stream))
        #expect(found.map(\.flags) == frames.map(\.flags))
        #expect(!scanner.isReceivingBlock)
    }

    @Test func `a block is open from its first header to the last byte of its last frame`() {
        let bytes =
            Frame(type: 1, flags: 1, stream: 1, payload: [1, 2]).bytes
            + Frame(type: 9, flags: 4, stream: 1, payload: [3]).bytes
        var scanner = FrameScanner(hasPreface: false)
        for index in bytes.indices {
            var from = 0
            _ = scanner.next(bytes.span.extracting(index..<(index + 1)), from: &from)
            let isOpen = index >= 8 && index < bytes.count - 1
            #expect(scanner.isReceivingBlock == isOpen, "byte \(index)")
        }
    }
}
