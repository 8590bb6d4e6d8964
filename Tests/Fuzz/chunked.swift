// Fuzzes chunked content: cuts never matter, and nothing unchecked is relayed.
//
// First byte: where to cut.
import BasicContainers

@testable import HTTP

private struct Decoded: Equatable {
    var content: [UInt8] = []
    var trailers: [[UInt8]] = []
    var reason: Malformed.Reason?
    var used: Int?
}

private func decode(_ input: [UInt8], _ cuts: [Int]) -> Decoded {
    var reader = ContentReader(.chunked)
    var decoded = Decoded()
    var from = 0
    for end in cuts + [input.count] {
        let piece = input.span.extracting(0..<end)
        reading: while true {
            switch reader.next(piece, from: &from) {
            case .content(let range): decoded.content += input[range]
            case .trailer(let range): decoded.trailers.append(Array(input[range]))
            case .end:
                decoded.used = from
                return decoded
            case .incomplete: break reading
            case .malformed(let malformed):
                decoded.reason = malformed.reason
                return decoded
            }
        }
    }
    return decoded
}

private struct Relayed: Equatable {
    var count = 0
    var reason: Malformed.Reason?
    var isFinished = false
    var needsDecoding = false
}

private func relay(_ input: [UInt8], _ cuts: [Int]) -> Relayed {
    var reader = ContentReader(.chunked)
    var relayed = Relayed()
    for end in cuts + [input.count] {
        let (upTo, state) = reader.relay(input.span.extracting(0..<end), from: relayed.count)
        if upTo < relayed.count || upTo > end { fatalError("relayed out of range") }
        relayed.count = upTo
        switch state {
        case .more: continue
        case .finished: relayed.isFinished = true
        case .needsDecoding: relayed.needsDecoding = true
        case .malformed(let malformed): relayed.reason = malformed.reason
        }
        return relayed
    }
    return relayed
}

/// Frames content anew, as the gateway does after an extension.
private func encode(_ decoded: Decoded) -> [UInt8] {
    var output = RigidArray<UInt8>(capacity: decoded.content.count * 2 + 1_048_576)
    let isWritten = output.edit { output in
        if !decoded.content.isEmpty {
            guard HeadWriter.append(chunkOf: decoded.content.count, into: &output),
                HeadWriter.append(decoded.content.span, into: &output),
                HeadWriter.append("\r\n", into: &output)
            else { return false }
        }
        if !HeadWriter.appendLastChunk(into: &output) { return false }
        for trailer in decoded.trailers {
            if !HeadWriter.append(trailer: trailer.span, into: &output) { return false }
        }
        return HeadWriter.append("\r\n", into: &output)
    }
    if !isWritten { fatalError("content did not fit") }
    var bytes: [UInt8] = []
    for i in 0..<output.count { bytes.append(output[i]) }
    return bytes
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 1, count: size - 1))
    let cut = min(Int(data[0]), input.count)
    let whole = decode(input, [])
    if decode(input, [cut]) != whole || decode(input, [cut / 2, cut]) != whole {
        fatalError("a cut mattered")
    }
    let relayed = relay(input, [])
    if relay(input, [cut]) != relayed || relay(input, [cut / 2, cut]) != relayed {
        fatalError("a cut mattered to relay")
    }
    // What was relayed decodes to the beginning of the content, and ends where decoding ends.
    let passed = decode(Array(input[..<relayed.count]), [])
    if passed.reason != nil { fatalError("broken bytes were relayed") }
    if Array(whole.content.prefix(passed.content.count)) != passed.content {
        fatalError("other content was relayed")
    }
    if relayed.isFinished && (whole.used != relayed.count || !whole.trailers.isEmpty) {
        fatalError("relay ended elsewhere")
    }
    if !relayed.needsDecoding && relayed.reason != whole.reason {
        fatalError("relay judged differently")
    }
    if whole.used != nil {
        let again = decode(encode(whole), [])
        if again.content != whole.content || again.trailers.count != whole.trailers.count {
            fatalError("content framed anew differs")
        }
    }
    return 0
}
