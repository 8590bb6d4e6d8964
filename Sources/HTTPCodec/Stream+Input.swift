import HTTP

// The input as HTTP/1.1 text.
extension Stream {
    /// Whether the peer has said all and all was read.
    var isInputOver: Bool { flags.contains(.inputEnded) && input.isEmpty }

    /// Appends what there is to read and says how much content was in it.
    ///
    /// `holdsEnd`: the last byte of content of a known length is held until the peer has ended the
    /// stream, since a message that goes on behind its length must not have been passed on whole.
    mutating func read(into output: inout OutputSpan<UInt8>, holdsEnd: Bool) -> Int {
        headBytes -= move(headBytes, to: &output)
        if headBytes > 0 { return 0 }
        let content = readContent(into: &output, holdsEnd: holdsEnd)
        if contentBytes == 0 { tailBytes -= move(tailBytes, to: &output) }
        return content
    }

    /// Moves up to so many bytes from the front of the input.
    private mutating func move(_ wanted: Int, to output: inout OutputSpan<UInt8>) -> Int {
        let count = min(wanted, output.freeCapacity)
        if count <= 0 { return 0 }
        _ = ByteScan.append(input.span.extracting(0..<count), to: &output)
        input.consume(count)
        return count
    }

    private mutating func readContent(
        into output: inout OutputSpan<UInt8>, holdsEnd: Bool
    ) -> Int {
        if contentBytes == 0 { return 0 }
        switch content {
        case .none: return 0
        // What a client sends early into a tunnel is no second request: it waits for the answer.
        case .tunnel where !flags.contains(.tunnelOpen): return 0
        case .length where holdsEnd && awaited == 0 && !flags.contains(.inputEnded):
            return move(contentBytes - 1, to: &output)
        case .length, .tunnel: return move(contentBytes, to: &output)
        case .chunked: return readChunk(into: &output)
        }
    }

    /// Makes one chunk of as much content as fits (RFC 9112 §7.1).
    private mutating func readChunk(into output: inout OutputSpan<UInt8>) -> Int {
        // Up to eight digits and two line ends.
        let room = output.freeCapacity - 12
        let count = min(contentBytes, room)
        if count <= 0 || output.freeCapacity < HTTP2Limits.readBytesMin { return 0 }
        _ = HeadWriter.append(hex: UInt64(count), into: &output)
        _ = ByteScan.append("\r\n", to: &output)
        let moved = move(count, to: &output)
        _ = ByteScan.append("\r\n", to: &output)
        return moved
    }
}
