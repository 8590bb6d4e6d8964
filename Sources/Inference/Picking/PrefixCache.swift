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
/// longest run is found by halving, eight look-ups instead of 256.
struct PrefixCache: ~Copyable {
    static var ways: Int { 8 }
    /// Holders in place.
    static var inPlace: Int { 7 }
    static var wordsPerEntry: Int { 8 }
    /// Ages that count.
    static var ages: UInt16 { 8 }
    private static var wide: UInt32 { 1 << 31 }

    private let bucketCount: Int
    private let slotCapacity: Int
    /// Part of the hash; 0 for none.
    private var tags: ZeroedArray<UInt32>
    /// When an entry was touched last, in recorded prompts.
    private var stamps: ZeroedArray<UInt32>
    /// Word 0: how many holders, or `wide` and a row; then slot << 16 | age.
    private var words: ZeroedArray<UInt32>
    /// Rows of ages, 0 for none.
    private var rows: ZeroedArray<UInt16>
    private let rowCount: Int
    private var rowsUsed = 0
    private var freeRows: RigidArray<UInt32>
    private var clock: UInt32 = 0
    /// By slot.
    private var age: RigidArray<UInt16>
    private var touchesInAge: RigidArray<UInt32>
    private var touchesPerAge: RigidArray<UInt32>
    /// Of the last `match`: by slot, its slots, and entries by block (-1 none, -2 not looked up).
    private(set) var runs: RigidArray<UInt16>
    private var holders: RigidArray<UInt16>
    private var entryOfBlock: RigidArray<Int32>

    /// For so many endpoints of so many blocks each, within so many bytes.
    init(slotCapacity: Int, blocksPerSlot: Int, bytesMax: Int) {
        let bytesPerEntry = 8 + 4 * Self.wordsPerEntry
        let wanted = slotCapacity * max(8, blocksPerSlot) * 3 / 2
        let entries = max(64, min(wanted, bytesMax * 3 / 4 / bytesPerEntry))
        bucketCount = entries / Self.ways
        self.slotCapacity = slotCapacity
        tags = ZeroedArray(count: bucketCount * Self.ways)
        stamps = ZeroedArray(count: bucketCount * Self.ways)
        words = ZeroedArray(count: bucketCount * Self.ways * Self.wordsPerEntry)
        rowCount = slotCapacity <= Self.inPlace
            ? 0 : max(1, min(entries, bytesMax / 4 / (2 * slotCapacity + 4)))
        rows = ZeroedArray(count: rowCount * slotCapacity)
        freeRows = RigidArray(capacity: rowCount)
        age = RigidArray(repeating: 1, count: slotCapacity)
        touchesInAge = RigidArray(repeating: 0, count: slotCapacity)
        touchesPerAge = RigidArray(
            repeating: UInt32(max(1, blocksPerSlot / Int(Self.ages))), count: slotCapacity)
        runs = RigidArray(repeating: 0, count: slotCapacity)
        holders = RigidArray(capacity: slotCapacity)
        entryOfBlock = RigidArray(repeating: -2, count: PrefixHasher.blockLimit)
    }

    /// Blocks that an endpoint holds at the most from now on.
    mutating func setBound(_ blocks: Int, of slot: Int) {
        touchesPerAge[slot] = UInt32(clamping: max(1, blocks / Int(Self.ages)))
    }

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
        let count = min(blocks.count, entryOfBlock.count)
        if count == 0 { return 0 }
        let first = find(blocks[0])
        if first < 0 { return 0 }
        for i in 1..<max(1, count) { entryOfBlock[i] = -2 }
        entryOfBlock[0] = Int32(first)
        collectHolders(first)
        var guess = count
        for i in 0..<holders.count {
            let slot = Int(holders[i])
            guess = run(of: slot, blocks, count, guess)
            runs[slot] = UInt16(guess)
        }
        return holders.count
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

    /// Blocks that an endpoint holds, knowing that it holds the first; `guess` is the last one's answer.
    private mutating func run(
        of slot: Int, _ blocks: Span<UInt64>, _ count: Int, _ guess: Int
    ) -> Int {
        var low = 1
        var high = count
        if low < high {
            if has(high - 1, slot, blocks) { return high }
            high -= 1
        }
        if guess > low && guess <= high {
            if has(guess - 1, slot, blocks) {
                low = guess
                if guess < high {
                    if !has(guess, slot, blocks) { return guess }
                    low = guess + 1
                }
            } else {
                high = guess - 1
            }
        }
        while low < high {
            let middle = (low + high + 1) >> 1
            if has(middle - 1, slot, blocks) { low = middle } else { high = middle - 1 }
        }
        return low
    }

    @inline(__always)
    private mutating func has(_ block: Int, _ slot: Int, _ blocks: Span<UInt64>) -> Bool {
        var entry = Int(entryOfBlock[block])
        if entry == -2 {
            entry = find(blocks[block])
            entryOfBlock[block] = Int32(entry)
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
        let base = bucket(hash)
        let tag = Self.tag(hash)
        for i in base..<base + Self.ways where tags[i] == tag { return i }
        return -1
    }

    @inline(__always)
    private func bucket(_ hash: UInt64) -> Int {
        Int(hash.multipliedFullWidth(by: UInt64(bucketCount)).high) &* Self.ways
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
        let count = min(blocks.count, entryOfBlock.count)
        clock &+= 1
        var start = 0
        if matched > 0 {
            // Blocks before one of the current age are of it too.
            let last = find(blocks[matched - 1])
            if last >= 0 && ageHeld(last, slot) == age[slot] {
                start = matched
                stamps[last] = clock
            }
        }
        // From the last on, so that no block is ever younger than one before it.
        var i = count
        while i > start {
            i -= 1
            touch(blocks[i], slot)
        }
    }

    private mutating func touch(_ hash: UInt64, _ slot: Int) {
        let base = bucket(hash)
        let tag = Self.tag(hash)
        var entry = base
        var oldest: UInt32 = 0
        var isFound = false
        for i in base..<base + Self.ways {
            let other = tags[i]
            if other == tag {
                entry = i
                isFound = true
                break
            }
            let since = other == 0 ? UInt32.max : clock &- stamps[i]
            if since > oldest {
                oldest = since
                entry = i
            }
        }
        if !isFound {
            clear(entry)
            tags[entry] = tag
        }
        stamps[entry] = clock
        hold(entry, slot)
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
    private mutating func hold(_ entry: Int, _ slot: Int) {
        let base = entry * Self.wordsPerEntry
        let head = words[base]
        let current = age[slot]
        let pair = UInt32(slot) << 16 | UInt32(current)
        if head & Self.wide != 0 {
            let at = Int(head & ~Self.wide) * slotCapacity + slot
            if rows[at] != current {
                rows[at] = current
                count(slot)
            }
            return
        }
        var free = -1
        for i in 0..<Int(head) {
            let other = words[base + 1 + i]
            if Int(other >> 16) == slot {
                if other != pair {
                    words[base + 1 + i] = pair
                    count(slot)
                }
                return
            }
            if !isValid(UInt16(truncatingIfNeeded: other), Int(other >> 16)) { free = i }
        }
        count(slot)
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

    private mutating func count(_ slot: Int) {
        touchesInAge[slot] += 1
        if touchesInAge[slot] >= touchesPerAge[slot] {
            touchesInAge[slot] = 0
            age[slot] = Self.later(age[slot], by: 1)
        }
    }
}
