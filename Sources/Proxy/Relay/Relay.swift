import HTTP
import Kernel

/// How one direction's content is moved; chosen per message by what both ends speak.
///
/// Where both sides share a framing the bytes go on exactly as they came, chunk headers checked. Otherwise the
/// content is decoded and framed anew. Content that goes on as it came and that nobody looks at need not be seen at all:
/// between plain connections a pipe moves it (`Link.splice`), as long as so much is coming that it is worth the calls.
enum Relay {
    /// What is left of a tick's bytes and not worth the calls of another move.
    static let restBytesMax = 16 * 1024
    /// So much of a content's length must be left.
    static let spliceBytesMin = 64 * 1024
    /// A read that brought so many bytes says that many more are likely to come.
    static let bulkBytesMin = 32 * 1024
    /// Moves that brought less until there was nothing more cost more than a copy would have.
    static let trickleBytesMax = 16 * 1024

    /// How many bytes may be moved for so many of a tick: what is not seen takes about a quarter of the time.
    static func movable(_ left: Int) -> Int { 4 * left }

    /// How many bytes of a tick it takes to move so many; the calls of a small move cost something, too.
    static func cost(moved count: Int) -> Int { max((count + 3) / 4, 1024) }

    /// Whether what was moved before the source had nothing more is too little to be moved so again.
    static func isTrickle(_ count: Int) -> Bool { count > 0 && count < trickleBytesMax }

    /// What of some bytes may be sent as it stands.
    struct Part {
        /// Offset after the last byte that may go.
        var upTo: Int
        /// The content ends there.
        var finished = false
        /// What follows carries an extension or trailers: from here on the content is framed anew.
        var needsDecoding = false
        var malformed: Malformed?
    }

    /// The part of `bytes` from `start` on that may be sent as it stands.
    @inline(always)
    static func part(
        _ reader: inout ContentReader, _ bytes: Span<UInt8>, from start: Int
    ) -> Part {
        let (upTo, state) = reader.relay(bytes, from: start)
        switch state {
        case .more: return Part(upTo: upTo)
        case .finished: return Part(upTo: upTo, finished: true)
        case .needsDecoding: return Part(upTo: upTo, needsDecoding: true)
        case .malformed(let problem): return Part(upTo: upTo, malformed: problem)
        }
    }

    /// What framing anew did.
    struct Reframed {
        /// Bytes used of the input; what is left must be given again with more.
        var used: Int
        var finished = false
        var malformed: Malformed?
    }

    /// Decodes `bytes` and appends their content to `output`, chunked or bare.
    ///
    /// `output` has room for twice the input: a chunk's frame is never longer than the one it came in, but content
    /// that came without frames gets one a slice. `inTrailers` remembers between calls that the last chunk is
    /// written and trailer lines follow.
    static func reframe(
        _ reader: inout ContentReader, _ inTrailers: inout Bool, _ bytes: Span<UInt8>,
        into output: inout Buffer, chunked: Bool, trailers: Bool
    ) -> Reframed {
        var from = 0
        while true {
            switch reader.next(bytes, from: &from) {
            case .content(let range):
                append(bytes.extracting(range), to: &output, chunked: chunked)
            case .trailer(let range):
                guard chunked, trailers else { continue }
                output.withFree { out in
                    if !inTrailers { _ = HeadWriter.appendLastChunk(into: &out) }
                    _ = HeadWriter.append(trailer: bytes.extracting(range), into: &out)
                }
                inTrailers = true
            case .end:
                if chunked { end(&output, inTrailers: inTrailers) }
                return Reframed(used: from, finished: true)
            case .incomplete:
                return Reframed(used: from, finished: reader.isFinished)
            case .malformed(let problem):
                return Reframed(used: from, malformed: problem)
            }
        }
    }

    /// How much of `count` bytes may be framed anew into a buffer with so much room.
    ///
    /// A chunk is never longer than it came; content cut by the end of a read, or that came bare, gets a frame more, and a
    /// trailer a space.
    static func framable(_ count: Int, room: Int) -> Int {
        max(0, min(count, room - 64 - ChunkLimits.trailerCount))
    }

    /// Appends one slice of content.
    static func append(
        _ content: Span<UInt8>, to output: inout Buffer, chunked: Bool
    ) {
        if content.isEmpty { return }
        output.withFree { out in
            let isWritten =
                chunked
                ? HeadWriter.append(chunk: content, into: &out)
                : HeadWriter.append(content, into: &out)
            precondition(isWritten, "Callers give no more than is framable.")
        }
    }

    /// Appends the end of chunked content.
    static func end(_ output: inout Buffer, inTrailers: Bool) {
        output.withFree { out in
            if !inTrailers { _ = HeadWriter.appendLastChunk(into: &out) }
            _ = HeadWriter.append("\r\n", into: &out)
        }
    }
}
