import BasicContainers
import Kernel

/// Which endpoints probably hold which blocks of prompts, by what was sent to them.
///
/// A set-associative table of blocks, eight to a bucket; a block has the endpoints that hold it, seven in
/// place or a row with one number for each endpoint. It never grows and never allocates: what is pushed
/// out was used the longest time ago.
///
/// Each endpoint forgets by age instead of a list through all of its blocks: it counts what it was given, and
/// every eighth of its bound begins a new *age*; a holding is an age, and counts while it is less than eight
/// old. So an endpoint never holds more than its bound, and what was used last stays, to an eighth.
/// Since a block is never touched without those before it, whoever holds a block holds all before it: the
/// longest run is found by halving, six look-ups instead of 256.
///
/// What is kept of a prompt are *marks*: its first 32 blocks, from there on each fourth, and its last. A run may
/// so be three blocks of up to 256 too short, and a new prompt of 16 KB is noted by 88 stores that miss every
/// cache instead of 256.
struct PrefixCache: ~Copyable {
    /// Blocks of a prompt that are looked at.
    static var blockLimit: Int { PrefixBlocks.countDefault }
    static var ways: Int { 8 }
    /// Holders in place.
    static var inPlace: Int { 7 }
    static var wordsPerEntry: Int { 8 }
    /// Blocks that are all marks.
    static var denseBlocks: Int { 32 }
    /// Of the blocks behind them each one of so many is a mark.
    static var markDistance: Int { 4 }
    /// Ages that count.
    static var ages: UInt16 { 8 }
    private static var wide: UInt32 { 1 << 31 }

    private let bucketCount: Int
    private let slotCapacity: Int
    /// For each bucket a line of memory: parts of hashes, 0 for none, and behind them when each entry was
    /// touched last, in recorded prompts.
    private var heads: ZeroedArray<UInt32>
    /// Word 0: how many holders, or `wide` and a row; then slot << 16 | age.
    private var words: ZeroedArray<UInt32>
    /// Rows of ages, 0 for none.
    private var rows: ZeroedArray<UInt16>
    private let rowCount: Int
    private var rowsUsed = 0
    private var freeRows: RigidArray<UInt32>
    private var clock: UInt32 = 0
    /// Keeps the loads of `fetchHeads` and `fetchWords` from being left out.
    private var fetched: UInt32 = 0
    /// By slot.
    private var age: RigidArray<UInt16>
    private var touchesInAge: RigidArray<UInt32>
    private var touchesPerAge: RigidArray<UInt32>
    /// Of the last `match`: by slot, its slots, and entries by mark (-1 none, -2 not looked up).
    private(set) var runs: RigidArray<UInt16>
    private var holders: RigidArray<UInt16>
    private var entryOfMark: RigidArray<Int32>
    private var marks: RigidArray<UInt64>

    /// For so many endpoints of so many blocks each, within so many bytes.
    init(slotCapacity: Int, blocksPerSlot: Int, bytesMax: Int) {
        let bytesPerEntry = 8 + 4 * Self.wordsPerEntry
        let wanted = slotCapacity * max(8, blocksPerSlot) * 3 / 2
        let entries = max(64, min(wanted, bytesMax * 3 / 4 / bytesPerEntry))
        bucketCount = entries / Self.ways
        self.slotCapacity = slotCapacity
        let isLarge = entries >= 1 << 17
        heads = ZeroedArray(count: bucketCount * Self.ways * 2, hasLargePages: isLarge)
        words = ZeroedArray(
            count: bucketCount * Self.ways * Self.wordsPerEntry, hasLargePages: isLarge)
        rowCount =
            slotCapacity <= Self.inPlace
            ? 0 : max(1, min(entries, bytesMax / 4 / (2 * slotCapacity + 4)))
        rows = ZeroedArray(count: rowCount * slotCapacity)
        freeRows = RigidArray(capacity: rowCount)
        age = RigidArray(repeating: 1, count: slotCapacity)
        touchesInAge = RigidArray(repeating: 0, count: slotCapacity)
        touchesPerAge = RigidArray(
            repeating: UInt32(max(1, blocksPerSlot / Int(Self.ages))), count: slotCapacity)
        runs = RigidArray(repeating: 0, count: slotCapacity)
        holders = RigidArray(capacity: slotCapacity)
        entryOfMark = RigidArray(repeating: -2, count: PrefixCache.blockLimit)
        marks = RigidArray(capacity: PrefixCache.blockLimit)
    }

    /// Blocks that an endpoint holds at the most from now on.
    mutating func setBound(_ blocks: Int, of slot: Int) {
        touchesPerAge[slot] = UInt32(clamping: max(1, blocks / Int(Self.ages)))
    }

    /// Blocks that an endpoint holds at the most, in whole ages.
    func bound(of slot: Int) -> Int { Int(touchesPerAge[slot]) * Int(Self.ages) }

    /// Forgets all that an endpoint holds.
    mutating func forget(_ slot: Int) {
        age[slot] = Self.later(age[slot], by: Self.ages + 1)
        touchesInAge[slot] = 0
    }

    /// How many bytes it uses at the most.
    var byteCount: Int {
        bucketCount * Self.ways * (8 + 4 * Self.wordsPerEntry) + rowCount * (2 * slotCapacity + 4)
    }

    // MARK: - Matching

    /// Finds the longest run from the start for each endpoint, in `runs`; returns how many endpoints have one.
    mutating func match(_ blocks: Span<UInt64>) -> Int {
        for i in 0..<holders.count { runs[Int(holders[i])] = 0 }
        holders.removeAll()
        takeMarks(blocks)
        let count = marks.count
        if count == 0 { return 0 }
        let first = find(marks[0])
        if first < 0 { return 0 }
        for i in 1..<count { entryOfMark[i] = -2 }
        entryOfMark[0] = Int32(first)
        collectHolders(first)
        let blockCount = min(blocks.count, PrefixCache.blockLimit)
        var guess = count
        for i in 0..<holders.count {
            let slot = Int(holders[i])
            guess = run(of: slot, count, guess)
            runs[slot] = UInt16(guess == count ? blockCount : Self.blocks(guess))
        }
        return holders.count
    }

    /// Picks the marks out of a chain.
    private mutating func takeMarks(_ blocks: Span<UInt64>) {
        let count = min(blocks.count, PrefixCache.blockLimit)
        marks.removeAll()
        for i in 0..<min(count, Self.denseBlocks) { marks.append(blocks[i]) }
        var at = Self.denseBlocks + Self.markDistance - 1
        while at < count {
            marks.append(blocks[at])
            at += Self.markDistance
        }
        let rest = count - Self.denseBlocks
        if rest > 0 && rest % Self.markDistance != 0 { marks.append(blocks[count - 1]) }
    }

    /// Blocks up to and with so many marks, the last block aside.
    private static func blocks(_ marks: Int) -> Int {
        marks <= denseBlocks ? marks : denseBlocks + (marks - denseBlocks) * markDistance
    }

    /// Marks among so many first blocks, the last block aside.
    private static func marks(_ blocks: Int) -> Int {
        blocks <= denseBlocks ? blocks : denseBlocks + (blocks - denseBlocks) / markDistance
    }

    private mutating func collectHolders(_ entry: Int) {
        let base = entry * Self.wordsPerEntry
        let head = words[base]
        if head & Self.wide == 0 {
            for i in 0..<Int(head) {
                let pair = words[base + 1 + i]
                let slot = Int(pair >> 16)
                if isValid(UInt16(truncatingIfNeeded: pair), slot) {
                    holders.append(UInt16(slot))
                }
            }
            return
        }
        let row = Int(head & ~Self.wide) * slotCapacity
        for slot in 0..<slotCapacity {
            let stored = rows[row + slot]
            if stored != 0 && isValid(stored, slot) { holders.append(UInt16(slot)) }
        }
    }

    /// Marks that an endpoint holds, knowing that it holds the first; `guess` is the last one's answer.
    private mutating func run(of slot: Int, _ count: Int, _ guess: Int) -> Int {
        var low = 1
        var high = count
        if low < high {
            if has(high - 1, slot) { return high }
            high -= 1
        }
        if guess > low && guess <= high {
            if has(guess - 1, slot) {
                low = guess
                if guess < high {
                    if !has(guess, slot) { return guess }
                    low = guess + 1
                }
            } else {
                high = guess - 1
            }
        }
        while low < high {
            let middle = (low + high + 1) >> 1
            if has(middle - 1, slot) { low = middle } else { high = middle - 1 }
        }
        return low
    }

    @inline(__always)
    private mutating func has(_ mark: Int, _ slot: Int) -> Bool {
        var entry = Int(entryOfMark[mark])
        if entry == -2 {
            entry = find(marks[mark])
            entryOfMark[mark] = Int32(entry)
        }
        return entry >= 0 && ageHeld(entry, slot) != 0
    }

    /// Age of a holding that counts; 0 for none.
    @inline(__always)
    private func ageHeld(_ entry: Int, _ slot: Int) -> UInt16 {
        let base = entry * Self.wordsPerEntry
        let head = words[base]
        if head & Self.wide != 0 {
            let stored = rows[Int(head & ~Self.wide) * slotCapacity + slot]
            return stored != 0 && isValid(stored, slot) ? stored : 0
        }
        for i in 0..<Int(head) {
            let pair = words[base + 1 + i]
            if Int(pair >> 16) == slot {
                let stored = UInt16(truncatingIfNeeded: pair)
                return isValid(stored, slot) ? stored : 0
            }
        }
        return 0
    }

    @inline(__always)
    private func isValid(_ stored: UInt16, _ slot: Int) -> Bool {
        age[slot] &- stored < Self.ages
    }

    @inline(__always)
    private func find(_ hash: UInt64) -> Int {
        let bucket = bucket(hash)
        let tag = Self.tag(hash)
        let head = bucket &* (2 &* Self.ways)
        for way in 0..<Self.ways where heads[head &+ way] == tag {
            return bucket &* Self.ways &+ way
        }
        return -1
    }

    @inline(__always)
    private func bucket(_ hash: UInt64) -> Int {
        Int(hash.multipliedFullWidth(by: UInt64(bucketCount)).high)
    }

    /// Where an entry's stamp is in `heads`.
    @inline(__always)
    private func stampOf(_ entry: Int) -> Int {
        (entry >> 3) &* (2 &* Self.ways) &+ Self.ways &+ (entry & 7)
    }

    @inline(__always)
    private static func tag(_ hash: UInt64) -> UInt32 {
        max(1, UInt32(truncatingIfNeeded: hash))
    }

    private static func later(_ age: UInt16, by count: UInt16) -> UInt16 {
        let next = age &+ count
        // Zero means "none".
        return next < count ? next &+ 1 : next
    }

    // MARK: - Recording

    /// Notes that an endpoint is given a prompt whose first `matched` blocks it holds, as `match` found.
    mutating func record(_ blocks: Span<UInt64>, _ slot: Int, matched: Int) {
        takeMarks(blocks)
        let count = marks.count
        clock &+= 1
        var start = 0
        if matched > 0 {
            let isAll = matched >= min(blocks.count, PrefixCache.blockLimit)
            let held = isAll ? count : Self.marks(matched)
            // Marks before one of the current age are of it too.
            let last = find(marks[held - 1])
            if last >= 0 && ageHeld(last, slot) == age[slot] {
                start = held
                heads[stampOf(last)] = clock
            }
        }
        if start == count { return }
        // In passes: a store to a cold line is waited for, loads that do not depend on each other are not.
        fetchHeads(start, count)
        for i in start..<count { entryOfMark[i] = takeEntry(marks[i]) }
        fetchWords(start, count)
        // From the last on, so that no mark is ever younger than one before it.
        var i = count
        while i > start {
            i -= 1
            let entry = Int(entryOfMark[i] & ~Self.isNew)
            if entryOfMark[i] & Self.isNew != 0 { clear(entry) }
            hold(entry, slot, weight: i < Self.denseBlocks ? 1 : UInt32(Self.markDistance))
        }
    }

    /// In `entryOfMark`: the entry was somebody else's.
    private static var isNew: Int32 { 1 << 30 }

    @inline(never)
    private mutating func fetchHeads(_ start: Int, _ end: Int) {
        var all: UInt32 = 0
        for i in start..<end { all |= heads[bucket(marks[i]) &* (2 &* Self.ways)] }
        fetched = all
    }

    @inline(never)
    private mutating func fetchWords(_ start: Int, _ end: Int) {
        var all: UInt32 = 0
        for i in start..<end {
            all |= words[Int(entryOfMark[i] & ~Self.isNew) &* Self.wordsPerEntry]
        }
        fetched = all
    }

    /// The entry of a hash, taken from what was touched the longest time ago when it has none.
    private mutating func takeEntry(_ hash: UInt64) -> Int32 {
        let bucket = bucket(hash)
        let tag = Self.tag(hash)
        let head = bucket &* (2 &* Self.ways)
        var way = 0
        var oldest: UInt32 = 0
        for i in 0..<Self.ways {
            let other = heads[head &+ i]
            if other == tag {
                heads[head &+ Self.ways &+ i] = clock
                return Int32(bucket &* Self.ways &+ i)
            }
            let since = other == 0 ? UInt32.max : clock &- heads[head &+ Self.ways &+ i]
            if since > oldest {
                oldest = since
                way = i
            }
        }
        heads[head &+ way] = tag
        heads[head &+ Self.ways &+ way] = clock
        return Int32(bucket &* Self.ways &+ way) | Self.isNew
    }

    private mutating func clear(_ entry: Int) {
        let base = entry * Self.wordsPerEntry
        let head = words[base]
        if head & Self.wide != 0 {
            let row = head & ~Self.wide
            for i in 0..<slotCapacity { rows[Int(row) * slotCapacity + i] = 0 }
            freeRows.append(row)
        }
        words[base] = 0
    }

    /// Makes an endpoint a holder, of the current age.
    private mutating func hold(_ entry: Int, _ slot: Int, weight: UInt32) {
        let base = entry * Self.wordsPerEntry
        let head = words[base]
        let current = age[slot]
        let pair = UInt32(slot) << 16 | UInt32(current)
        if head & Self.wide != 0 {
            let at = Int(head & ~Self.wide) * slotCapacity + slot
            if rows[at] != current {
                rows[at] = current
                count(slot, weight)
            }
            return
        }
        var free = -1
        for i in 0..<Int(head) {
            let other = words[base + 1 + i]
            if Int(other >> 16) == slot {
                if other != pair {
                    words[base + 1 + i] = pair
                    count(slot, weight)
                }
                return
            }
            if !isValid(UInt16(truncatingIfNeeded: other), Int(other >> 16)) { free = i }
        }
        count(slot, weight)
        if free >= 0 {
            words[base + 1 + free] = pair
        } else if Int(head) < Self.inPlace {
            words[base + 1 + Int(head)] = pair
            words[base] = head + 1
        } else if let row = takeRow() {
            for i in 0..<Self.inPlace {
                let other = words[base + 1 + i]
                rows[Int(row) * slotCapacity + Int(other >> 16)] = UInt16(truncatingIfNeeded: other)
            }
            rows[Int(row) * slotCapacity + slot] = current
            words[base] = Self.wide | row
        } else {
            words[base + 1 + Int(clock) % Self.inPlace] = pair
        }
    }

    private mutating func takeRow() -> UInt32? {
        if let row = freeRows.popLast() { return row }
        if rowsUsed == rowCount { return nil }
        rowsUsed += 1
        return UInt32(rowsUsed - 1)
    }

    private mutating func count(_ slot: Int, _ weight: UInt32) {
        touchesInAge[slot] += weight
        if touchesInAge[slot] >= touchesPerAge[slot] {
            touchesInAge[slot] = 0
            age[slot] = Self.later(age[slot], by: 1)
        }
    }
}
