// What tests of this module share: bytes, cuts, and what a scanner says about content.
import Testing

@testable import Inference

/// What was read of content, in a form that compares.
struct Reading: Equatable, CustomStringConvertible {
    var refusal: BodyRefusal?
    var model: String?
    var modelRange: Range<Int>?
    var stream: Bool?
    var hasKeepAlive = false
    var hasPrompt = false
    var maxTokens: UInt64?
    var contextLength: UInt64?
    var prompts: [Range<Int>] = []

    init(_ facts: BodyFacts) {
        model = facts.model.map { text($0) }
        modelRange = facts.modelRange
        stream = facts.stream
        hasKeepAlive = facts.hasKeepAlive
        hasPrompt = facts.hasPrompt
        maxTokens = facts.maxTokens
        contextLength = facts.contextLength
        for index in 0..<facts.prompts.count { prompts.append(facts.prompts[index]) }
    }

    init(_ refusal: BodyRefusal) { self.refusal = refusal }

    var description: String {
        if let refusal { return "refused: \(refusal)" }
        return "model \(model ?? "–"), \(modelRange.map { "\($0)" } ?? "–"), prompts \(prompts)"
    }
}

func text(_ name: ModelName) -> String {
    var bytes: [UInt8] = []
    for i in 0..<name.count { bytes.append(name.span[i]) }
    return String(decoding: bytes, as: UTF8.self)
}

func name(_ text: String) -> ModelName {
    guard let name = ModelName(Array(text.utf8).span) else { fatalError("no name: \(text)") }
    return name
}

/// The bytes between cuts, which count from the beginning and are in order.
func pieces(_ bytes: [UInt8], _ cuts: [Int]) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var from = 0
    for cut in cuts + [bytes.count] {
        pieces.append(Array(bytes[from..<cut]))
        from = cut
    }
    return pieces
}

/// Reads JSON content that comes in pieces.
func peek(_ bytes: [UInt8], cuts: [Int] = [], acceptsName: Bool = false) -> Reading {
    var peek = BodyPeek(acceptsName: acceptsName)
    do throws(BodyRefusal) {
        for piece in pieces(bytes, cuts) { try peek.scan(piece.span) }
        try peek.finish()
    } catch { return Reading(error) }
    return Reading(peek.facts)
}

func peek(_ json: String, acceptsName: Bool = false) -> Reading {
    peek(Array(json.utf8), acceptsName: acceptsName)
}

/// Random numbers that come again with the same seed.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z &>> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z &>> 31)
    }
}
