/// The key-value cache of one engine, in blocks: what running requests hold, and what is kept of
/// earlier prompts.
///
/// A block of a prompt is known by the hash of everything up to its end, so equal beginnings share
/// blocks. Blocks that nobody holds stay until the room is needed, the least recently used first.
struct KVCache {
    /// Tokens in a block.
    static var blockTokens: Int { 16 }

    /// What one request holds.
    struct Lease {
        fileprivate(set) var shared: [Int32] = []
        fileprivate(set) var own = 0
        /// Leading blocks of the prompt that were there already.
        fileprivate(set) var matched = 0

        var blocks: Int { shared.count + own }
    }

    private struct Block {
        var hash: UInt64
        var holders: Int32 = 0
        var previous: Int32 = -1
        var next: Int32 = -1
    }

    let blockCount: Int
    private var blocks: [Block] = []
    private var byHash: [UInt64: Int32] = [:]
    /// Places in `blocks` that hold nothing.
    private var vacant: [Int32] = []
    /// Known blocks that nobody holds: least recently used first.
    private var oldest: Int32 = -1
    private var newest: Int32 = -1
    private var idleCount = 0
    /// Blocks held by running requests.
    private(set) var usedCount = 0

    /// A cache for so many tokens, rounded up to whole blocks, at least one.
    init(tokens: Int) { self.init(blocks: Self.blocks(forTokens: tokens)) }

    init(blocks: Int) { blockCount = max(1, blocks) }

    /// The part of the cache that running requests hold, from 0 to 1.
    var usage: Double { Double(usedCount) / Double(blockCount) }

    /// Blocks that running requests or earlier prompts fill.
    var filledCount: Int { usedCount + idleCount }

    static func blocks(forTokens tokens: Int) -> Int { (tokens + blockTokens - 1) / blockTokens }

    /// Takes the blocks for a request of `tokens` tokens, the first of which have these hashes.
    ///
    /// Nil when there is not enough room; nothing is changed then.
    mutating func lease(_ hashes: [UInt64], tokens: Int) -> Lease? {
        var matched = 0
        var matchedIdle = 0
        while matched < hashes.count, let index = byHash[hashes[matched]] {
            if blocks[Int(index)].holders == 0 { matchedIdle += 1 }
            matched += 1
        }
        let total = max(Self.blocks(forTokens: tokens), hashes.count)
        guard total - matched + matchedIdle <= blockCount - usedCount else { return nil }
        var lease = Lease()
        lease.matched = matched
        for hash in hashes.prefix(matched) {
            if let index = byHash[hash] { hold(index, &lease) }
        }
        for hash in hashes.dropFirst(matched) {
            // A later block can be known although an earlier one is not: it is held all the same.
            hold(byHash[hash] ?? insert(hash), &lease)
        }
        grow(&lease, by: total - hashes.count)
        return lease
    }

    /// Extends a lease to so many tokens; false, and no change, when there is no room.
    mutating func extend(_ lease: inout Lease, tokens: Int) -> Bool {
        let more = Self.blocks(forTokens: tokens) - lease.blocks
        if more <= 0 { return true }
        if usedCount + more > blockCount { return false }
        grow(&lease, by: more)
        return true
    }

    /// Gives everything back; the prompt's blocks stay known.
    mutating func end(_ lease: inout Lease) {
        usedCount -= lease.own
        lease.own = 0
        // The end of a prompt is forgotten first: its beginning is what others share.
        for index in lease.shared.reversed() {
            blocks[Int(index)].holders -= 1
            if blocks[Int(index)].holders == 0 {
                usedCount -= 1
                appendIdle(index)
            }
        }
        lease.shared.removeAll()
    }

    // MARK: - Blocks

    private mutating func hold(_ index: Int32, _ lease: inout Lease) {
        if blocks[Int(index)].holders == 0 {
            removeIdle(index)
            usedCount += 1
        }
        blocks[Int(index)].holders += 1
        lease.shared.append(index)
    }

    private mutating func grow(_ lease: inout Lease, by count: Int) {
        lease.own += count
        usedCount += count
        while usedCount + idleCount > blockCount, oldest >= 0 { forget(oldest) }
    }

    /// A new block, known and idle; the oldest idle one makes room for it.
    private mutating func insert(_ hash: UInt64) -> Int32 {
        while usedCount + idleCount + 1 > blockCount, oldest >= 0 { forget(oldest) }
        let index: Int32
        if let place = vacant.popLast() {
            blocks[Int(place)] = Block(hash: hash)
            index = place
        } else {
            index = Int32(blocks.count)
            blocks.append(Block(hash: hash))
        }
        byHash[hash] = index
        appendIdle(index)
        return index
    }

    private mutating func forget(_ index: Int32) {
        removeIdle(index)
        byHash[blocks[Int(index)].hash] = nil
        vacant.append(index)
    }

    private mutating func appendIdle(_ index: Int32) {
        blocks[Int(index)].previous = newest
        blocks[Int(index)].next = -1
        if newest >= 0 { blocks[Int(newest)].next = index } else { oldest = index }
        newest = index
        idleCount += 1
    }

    private mutating func removeIdle(_ index: Int32) {
        let block = blocks[Int(index)]
        if block.previous >= 0 {
            blocks[Int(block.previous)].next = block.next
        } else {
            oldest = block.next
        }
        if block.next >= 0 {
            blocks[Int(block.next)].previous = block.previous
        } else {
            newest = block.previous
        }
        idleCount -= 1
    }
}

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

    /// The hash of each whole block with all before it, and of the whole text.
    ///
    /// With `withTail` the last, shorter block is in the list as well.
    static func blocks(
        _ bytes: Span<UInt8>, from start: UInt64, withTail: Bool
    ) -> (blocks: [UInt64], whole: UInt64) {
        let blockBytes = KVCache.blockTokens * tokenBytes
        var hashes: [UInt64] = []
        hashes.reserveCapacity(bytes.count / blockBytes + 1)
        var hash = start
        var at = 0
        while at < bytes.count {
            let end = min(at + blockBytes, bytes.count)
            hash = mix(hash, of: bytes, at..<end)
            if end - at == blockBytes || withTail { hashes.append(hash) }
            at = end
        }
        return (hashes, hash)
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
