// Fuzzes what reads content of inference requests: cuts never matter, and what is accepted reads the
// same to Foundation.
//
// First byte: which of them. Second byte: where to cut.
import BasicContainers
import Foundation
import HTTP
import Inference

private struct Reading: Equatable {
    var refusal: BodyRefusal?
    var model: [UInt8]?
    var range: Range<Int>?
    var stream: Bool?
    var hasPrompt = false
    var maxTokens: UInt64?
    var contextLength: UInt64?
    var prompts: [Range<Int>] = []

    init(_ refusal: BodyRefusal) { self.refusal = refusal }

    init(_ facts: BodyFacts) {
        if let name = facts.model {
            var bytes: [UInt8] = []
            for i in 0..<name.count { bytes.append(name.span[i]) }
            model = bytes
        }
        range = facts.modelRange
        stream = facts.stream
        hasPrompt = !facts.isEmptyPrompt
        maxTokens = facts.maxTokens
        contextLength = facts.contextLength
        for index in 0..<facts.prompts.count { prompts.append(facts.prompts[index]) }
    }
}

private func read(_ input: [UInt8], _ type: String, _ coding: String, _ cuts: [Int]) -> Reading {
    do throws(BodyRefusal) {
        var peek = try RequestPeek(
            contentType: Array(type.utf8).span, contentEncoding: Array(coding.utf8).span,
            acceptsName: false, decodedMax: 4 << 20)
        var from = 0
        for end in cuts + [input.count] {
            try peek.scan(input.span.extracting(from..<end))
            from = end
        }
        try peek.finish()
        return Reading(peek.facts)
    } catch { return Reading(error) }
}

/// Whether the input may hold what the grammar has and Foundation refuses: a number that no Double
/// holds, or half of a surrogate pair.
private func isBeyondFoundation(_ input: [UInt8]) -> Bool {
    var (digits, isExponent) = (0, false)
    for (index, byte) in input.enumerated() {
        if byte | 0x20 == 0x65 {
            (digits, isExponent) = (0, true)
        } else if byte >= 0x30, byte <= 0x39 {
            digits += 1
            if digits > (isExponent ? 2 : 300) { return true }
        } else if byte != 0x2B, byte != 0x2D {
            (digits, isExponent) = (0, false)
        }
        if byte == 0x5C, index + 2 < input.count, input[index + 1] == 0x75,
            input[index + 2] | 0x20 == 0x64
        {
            return true
        }
    }
    return false
}

/// Whether the input may be what Foundation takes and the grammar has not: a comma behind the last
/// value, or another encoding, which it guesses from zeros.
private func isOnlyFoundation(_ input: [UInt8]) -> Bool {
    var isBehindComma = false
    for byte in input {
        if byte == 0 || (isBehindComma && (byte == 0x5D || byte == 0x7D)) { return true }
        if byte > 0x20 { isBehindComma = byte == 0x2C }
    }
    return false
}

private func fuzzJSON(_ input: [UInt8], _ whole: Reading) {
    let data = Data(input)
    let object = try? JSONSerialization.jsonObject(with: data, options: .fragmentsAllowed)
    switch whole.refusal {
    case nil:
        if object == nil, !isBeyondFoundation(input) { fatalError("what was accepted is no JSON") }
        let theirs = (object as? [String: Any])?["model"] as? String
        if object != nil, theirs.map({ Array($0.utf8) }) != whole.model {
            fatalError("another model is read")
        }
        if let range = whole.range {
            guard range.upperBound <= input.count,
                let text = try? JSONDecoder().decode(String.self, from: Data(input[range])),
                Array(text.utf8) == whole.model
            else { fatalError("the model lies elsewhere") }
            fuzzRewrite(input, range)
        }
        for range in whole.prompts
        where object != nil
            && (try? JSONSerialization.jsonObject(
                with: Data(input[range]), options: .fragmentsAllowed)) == nil
        {
            fatalError("a prompt lies elsewhere")
        }
    case .notJSON, .truncated, .trailingBytes, .notUTF8:
        if object != nil, !isOnlyFoundation(input) { fatalError("JSON was refused") }
    default: break
    }
}

private func fuzzRewrite(_ input: [UInt8], _ range: Range<Int>) {
    guard let name = ModelName(Array("other \"name\"".utf8).span) else { return }
    let rewrite = ModelRewrite(range, by: name, in: .json)
    var output = RigidArray<UInt8>(capacity: 2_048)
    if !output.edit({ rewrite.write(into: &$0) }) { fatalError("no room") }
    var spliced = Array(input[..<range.lowerBound])
    for i in 0..<output.count { spliced.append(output[i]) }
    spliced += input[range.upperBound...]
    let again = read(spliced, "application/json", "", [])
    if again.model != Array("other \"name\"".utf8) { fatalError("the name was not written") }
    if rewrite.contentLength(from: UInt64(input.count)) != UInt64(spliced.count) {
        fatalError("another length")
    }
}

private func restored(
    _ input: [UInt8], _ format: ModelNameRestore.Format, _ cuts: [Int], room: Int
) -> [UInt8] {
    guard let served = ModelName(Array("m".utf8).span),
        let client = ModelName(Array("client".utf8).span)
    else { return [] }
    var filter = ModelNameRestore(served: served, client: client, format: format)
    var output = RigidArray<UInt8>(capacity: room)
    var all: [UInt8] = []
    var start = 0
    for end in cuts + [input.count] {
        let piece = Array(input[start..<end])
        var from = 0
        while from < piece.count {
            output.edit { filter.filter(piece.span, from: &from, into: &$0) }
            for i in 0..<output.count { all.append(output[i]) }
            output.removeAll()
        }
        start = end
    }
    var isDone = false
    while !isDone {
        isDone = output.edit { filter.finish(into: &$0) }
        for i in 0..<output.count { all.append(output[i]) }
        output.removeAll()
    }
    return all
}

private func fuzzRestore(_ input: [UInt8], _ cut: Int) {
    for format in [ModelNameRestore.Format.json, .events] {
        let whole = restored(input, format, [], room: 65_536)
        if restored(input, format, [cut / 2, cut], room: 7) != whole {
            fatalError("a cut mattered")
        }
        // By bytes: in a String a mark behind the quote would belong to it.
        let isNamed = Data(input).range(of: Data("\"m\"".utf8)) != nil
        if !isNamed, !input.contains(UInt8(ascii: "\\")), whole != input {
            fatalError("bytes were changed without the name")
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 2 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 2, count: size - 2))
    let cut = min(Int(data[1]), input.count)
    var (type, coding) = ("application/json", "")
    switch data[0] & 7 {
    case 0, 1, 2: break
    case 3: type = "multipart/form-data; boundary=XbX"
    case 4: coding = "gzip"
    case 5: coding = "zstd"
    default:
        fuzzRestore(input, cut)
        return 0
    }
    let whole = read(input, type, coding, [])
    let middle = cut / 2
    if read(input, type, coding, [cut]) != whole
        || read(input, type, coding, [middle, cut]) != whole
    {
        fatalError("a cut mattered")
    }
    if data[0] & 7 <= 2 { fuzzJSON(input, whole) }
    return 0
}
