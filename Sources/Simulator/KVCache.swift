/// The key-value cache of one engine, in blocks: what running requests hold, and what is kept of
/// earlier prompts.
///
/// A block of a prompt is known by the hash of everything up to its end, so equal beginnings share
/// blocks. Blocks that nobody holds stay until the room is needed, the least recently used first.
struct KVCache {
    /// What one request holds.
    struct Lease {
        /// Known blocks: those that were there, and those that the request has computed since.
        fileprivate(set) var shared: [Int32] = []
        /// Blocks that nobody else can find.
        fileprivate(set) var own = 0
        /// Leading blocks of the prompt that were there already.
        fileprivate(set) var matched = 0
        /// Leading blocks of the prompt that are computed.
        fileprivate(set) var computed = 0

        var blocks: Int { shared.count + own }
    }

    private struct Block {
        var hash: UInt64
        var holders: Int32 = 0
        var previous: Int32 = -1
        var next: Int32 = -1
    }

    let blockCount: Int
    /// Tokens in a block.
    let blockTokens: Int
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

    /// A cache of so many blocks, at least one.
    init(blocks: Int, blockTokens: Int) {
        blockCount = max(1, blocks)
        self.blockTokens = max(1, blockTokens)
    }

    /// The part of the cache that running requests hold, from 0 to 1.
    var usage: Double { Double(usedCount) / Double(blockCount) }

    /// Blocks that running requests or earlier prompts fill.
    var filledCount: Int { usedCount + idleCount }

    /// Blocks that a running request could get.
    var freeCount: Int { blockCount - usedCount }

    func blocks(forTokens tokens: Int) -> Int { (tokens + blockTokens - 1) / blockTokens }

    /// Takes the blocks for a request of `tokens` tokens, the first of which have these hashes.
    ///
    /// What of them is known is shared. Nil when there is not enough room; nothing is changed then.
    mutating func lease(_ hashes: [UInt64], tokens: Int) -> Lease? {
        var matched = 0
        var matchedIdle = 0
        while matched < hashes.count, let index = byHash[hashes[matched]] {
            if blocks[Int(index)].holders == 0 { matchedIdle += 1 }
            matched += 1
        }
        let total = max(blocks(forTokens: tokens), hashes.count)
        guard total - matched + matchedIdle <= blockCount - usedCount else { return nil }
        var lease = Lease()
        lease.matched = matched
        lease.computed = matched
        for hash in hashes.prefix(matched) {
            if let index = byHash[hash] { hold(index, &lease) }
        }
        grow(&lease, by: total - matched)
        return lease
    }

    /// Makes the blocks of a lease known that are computed by now, the first `count` of the prompt's.
    mutating func publish(_ lease: inout Lease, _ hashes: [UInt64], upTo count: Int) {
        let end = min(count, hashes.count)
        while lease.computed < end {
            let hash = hashes[lease.computed]
            lease.computed += 1
            // Another one has computed it meanwhile: both keep their copy.
            if byHash[hash] != nil || lease.own == 0 { continue }
            lease.own -= 1
            usedCount -= 1
            hold(insert(hash), &lease)
        }
    }

    /// Extends a lease to so many tokens; false, and no change, when there is no room.
    mutating func extend(_ lease: inout Lease, tokens: Int) -> Bool {
        let more = blocks(forTokens: tokens) - lease.blocks
        if more <= 0 { return true }
        if usedCount + more > blockCount { return false }
        grow(&lease, by: more)
        return true
    }

    /// Gives everything back; what is known stays so, and with it the blocks that the answer filled.
    mutating func end(_ lease: inout Lease, answer: [UInt64] = []) {
        usedCount -= lease.own
        lease.own = 0
        // The end of a prompt is forgotten first: its beginning is what others share.
        let room = blockCount - usedCount
        for hash in answer.prefix(room).reversed() where byHash[hash] == nil { _ = insert(hash) }
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
