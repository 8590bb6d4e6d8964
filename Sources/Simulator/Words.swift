/// The text of simulated answers: a plain statement of what it is, then words.
///
/// The words of an answer follow from its seed alone, so any part can be written at any time, and
/// nothing of it is stored.
struct Words {
    private let opening: [[UInt8]]
    private let words: [[UInt8]]
    private let starts: [[UInt8]]
    private let stop: [UInt8]

    /// The statement with which every answer begins.
    static var statement: String { "This answer is simulated by model-simulator:" }

    init() {
        opening = [
            "This", " answer", " is", " simulated", " by", " model", "-simulator", ":",
        ].map { Array($0.utf8) }
        let list = """
            a bird carries the morning over quiet water and small boats wait beside green hills \
            where old stones keep warm while rain comes slowly from far islands to gardens of plain \
            people who read letters by lamps until winter turns light into long soft roads again
            """
        let texts = list.split(separator: " ")
        words = texts.map { Array(" \($0)".utf8) }
        starts = texts.map { Array(" \($0.prefix(1).uppercased())\($0.dropFirst())".utf8) }
        stop = Array(".".utf8)
    }

    /// Appends the token of this index.
    func add(_ index: Int, seed: UInt64, to text: inout Text) {
        if index < opening.count { return text.add(escaped: opening[index]) }
        let place = index - opening.count
        // Sentences of ten words and a full stop.
        let inSentence = place % 11
        if inSentence == 10 { return text.add(stop) }
        let choice = Int(PromptHash.mix(seed, UInt64(place)) % UInt64(words.count))
        text.add(inSentence == 0 ? starts[choice] : words[choice])
    }

    /// Appends the tokens of a range, as what stands between the quotes of a JSON string.
    func add(_ range: Range<Int>, seed: UInt64, to text: inout Text) {
        for index in range { add(index, seed: seed, to: &text) }
    }

    /// Appends an embedding of length one, as a JSON array or as base 64 of 32-bit floats.
    static func addEmbedding(
        seed: UInt64, dimensions: Int, isBase64: Bool, to text: inout Text
    ) {
        var values: [Double] = []
        values.reserveCapacity(dimensions)
        var sum = 0.0
        for index in 0..<dimensions {
            let bits = PromptHash.mix(seed, UInt64(index)) >> 11
            let value = Double(bits) / Double(1 << 52) - 1
            values.append(value)
            sum += value * value
        }
        let scale = sum > 0 ? 1 / sum.squareRoot() : 0
        if isBase64 {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(dimensions * 4)
            for value in values {
                let bits = Float(value * scale).bitPattern
                for shift in [0, 8, 16, 24] as [UInt32] {
                    bytes.append(UInt8(truncatingIfNeeded: bits >> shift))
                }
            }
            text.add("\"")
            text.add(base64: bytes.span)
            return text.add("\"")
        }
        text.add("[")
        for index in values.indices {
            if index > 0 { text.add(",") }
            text.add(fixed: values[index] * scale, places: 8)
        }
        text.add("]")
    }
}
