/// Hashes of a prompt's blocks.
enum PromptHash {
    /// Bytes that stand for one token.
    static var tokenBytes: Int { 4 }

    /// How many tokens so many bytes are.
    static func tokens(bytes: Int) -> Int { max(1, (bytes + tokenBytes - 1) / tokenBytes) }

    /// Mixes a value in (the finaliser of SplitMix64, so that every bit counts).
    static func mix(_ hash: UInt64, _ value: UInt64) -> UInt64 {
        var mixed = hash ^ value &* 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// A text's blocks, and what is needed to go on with it.
    struct Chain {
        /// One for each whole block, of it and all before it.
        var blocks: [UInt64] = []
        /// Of the last whole block; of what stands before the text where there is none.
        var last: UInt64
        /// Of the whole text.
        var whole: UInt64
        /// Bytes in whole blocks.
        var wholeBytes = 0
    }

    /// The chain of a text's blocks of so many tokens; a last, shorter block counts for `whole` only.
    static func chain(_ bytes: Span<UInt8>, from start: UInt64, blockTokens: Int) -> Chain {
        let blockBytes = blockTokens * tokenBytes
        var chain = Chain(last: start, whole: start)
        chain.blocks.reserveCapacity(bytes.count / blockBytes)
        var at = 0
        while at + blockBytes <= bytes.count {
            chain.last = mix(chain.last, of: bytes, at..<(at + blockBytes))
            chain.blocks.append(chain.last)
            at += blockBytes
        }
        chain.wholeBytes = at
        chain.whole = at == bytes.count ? chain.last : mix(chain.last, of: bytes, at..<bytes.count)
        return chain
    }

    /// How many leading blocks two chains share: one that is equal says that all before it are.
    static func shared(_ one: [UInt64], _ other: [UInt64]) -> Int {
        var low = 0
        var high = min(one.count, other.count)
        while low < high {
            let middle = (low + high + 1) / 2
            if one[middle - 1] == other[middle - 1] { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// Mixes bytes in, eight at a time; the last group carries its length.
    static func mix(_ hash: UInt64, of bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        var hash = hash
        var at = range.lowerBound
        while at + 8 <= range.upperBound {
            var word: UInt64 = 0
            for offset in 0..<8 { word = word << 8 | UInt64(bytes[at + offset]) }
            hash = mix(hash, word)
            at += 8
        }
        var rest = UInt64(range.upperBound - at)
        while at < range.upperBound {
            rest = rest << 8 | UInt64(bytes[at])
            at += 1
        }
        return mix(hash, rest)
    }
}
