/// Hashes a prompt into the chain of its blocks, as the reference scheduler does, while its bytes come.
///
/// `h0 = H(model + salt)`, `hi = H(block i, h(i-1) as eight bytes, the lowest first)`; a last block that is
/// not full counts, and what is behind the 256th block does not. Run outside of the pool's lock.
public struct PrefixHasher {
    /// The most blocks of one prompt.
    public static var blockLimit: Int { 256 }

    private let blockBytes: Int
    private var hash = XXHash64()
    private var filled = 0
    private var previous: UInt64

    /// Begins a chain; `blockBytes` is 64 in the reference, sixteen tokens of four characters.
    public init(model: Span<UInt8>, salt: Span<UInt8>, blockBytes: Int = 64) {
        precondition(blockBytes > 0, "A block has bytes.")
        self.blockBytes = blockBytes
        var first = XXHash64()
        first.append(model)
        first.append(salt)
        previous = first.finish()
    }

    /// Adds bytes of the prompt; hashes of blocks that are full go to `output` as long as it has room.
    public mutating func append(_ bytes: Span<UInt8>, to output: inout OutputSpan<UInt64>) {
        var at = 0
        while at < bytes.count && output.freeCapacity > 0 {
            let count = min(blockBytes - filled, bytes.count - at)
            hash.append(bytes.extracting(at..<(at + count)))
            at += count
            filled += count
            if filled == blockBytes { endBlock(&output) }
        }
    }

    /// Ends the prompt: its last block, if any, is hashed as it is.
    public mutating func finish(to output: inout OutputSpan<UInt64>) {
        if filled > 0 && output.freeCapacity > 0 { endBlock(&output) }
    }

    private mutating func endBlock(_ output: inout OutputSpan<UInt64>) {
        hash.append(word: previous)
        previous = hash.finish()
        output.append(previous)
        hash = XXHash64()
        filled = 0
    }
}
