import HTTP

/// A chain of hashes over the beginning of a prompt: prompts that begin alike have chains that begin
/// alike (`inference-extension.md` §7).
///
/// `h0 = H(model + salt)` and `hi = H(block i, then h(i-1) as eight bytes, the lowest first)` with
/// xxHash64. Bytes come in pieces, one prompt range behind the other; the hashes are h1 and those that
/// follow. A last block that is not whole counts.
public struct PrefixBlocks: Sendable {
    /// Bytes of a block unless set otherwise: 16 tokens of 4 characters.
    public static let blockBytesDefault = 64

    /// Blocks of a prompt unless set otherwise.
    public static let countDefault = 256

    /// Blocks of a prompt at most.
    public static let countMax = 1_024

    /// Blocks that are complete.
    public private(set) var count = 0

    private let blockBytes: Int
    private let limit: Int
    private var previous: UInt64
    private var hash = XXHash64()
    /// Bytes of the block that is not complete.
    private var filled = 0

    /// A chain without a block.
    ///
    /// - Parameters:
    ///   - model: the model's name, as the server has it.
    ///   - salt: what keeps callers apart that must not share a cache.
    ///   - blockBytes: bytes of a block, 1 or more.
    ///   - limit: blocks that are hashed, at most `countMax`.
    public init(
        model: ModelName, salt: Span<UInt8> = Span(), blockBytes: Int = blockBytesDefault,
        limit: Int = countDefault
    ) {
        precondition(blockBytes > 0, "a block has no bytes")
        self.blockBytes = blockBytes
        self.limit = min(max(limit, 0), Self.countMax)
        var first = XXHash64()
        first.update(model.span)
        first.update(salt)
        previous = first.digest
    }

    /// Whether more bytes change nothing.
    public var isFull: Bool { count == limit }

    /// Takes the next bytes of the prompt; appends a hash for each block that they complete.
    ///
    /// Stops for good when the output is full.
    public mutating func update(_ bytes: Span<UInt8>, into hashes: inout OutputSpan<UInt64>) {
        var at = 0
        while at < bytes.count, count < limit {
            let end = min(bytes.count, at + blockBytes - filled)
            hash.update(ByteScan.part(bytes, at, end))
            filled += end - at
            at = end
            if filled == blockBytes { endBlock(into: &hashes) }
        }
    }

    /// Tells that the prompt ends here: appends a hash for a block that is not whole.
    public mutating func finish(into hashes: inout OutputSpan<UInt64>) {
        if filled > 0, count < limit { endBlock(into: &hashes) }
    }

    private mutating func endBlock(into hashes: inout OutputSpan<UInt64>) {
        if hashes.freeCapacity == 0 {
            count = limit
            return
        }
        hash.update(littleEndian: previous)
        previous = hash.digest
        hashes.append(previous)
        hash = XXHash64()
        filled = 0
        count += 1
    }
}
