import BasicContainers
import HTTP

/// A set of path prefixes with a bucket each: one of many that share the arrays of a `PrefixIndexes`.
///
/// The root is the prefix of no bytes. The first three bytes of a path choose a set of the lengths that prefixes with these bytes have.
/// Of those only the ones before a slash or at the path's end are looked up, longest first. What
/// else is a prefix of the path is then known: each prefix names the next shorter one within it.
struct PrefixIndex: BitwiseCopyable, Sendable {
    /// First set of lengths.
    var sets: UInt32
    /// Number of sets less one; their number is a power of two.
    var setMask: UInt32
    /// First slot of the hashed ones.
    var base: UInt32
    /// Number of hashed slots less one; their number is a power of two.
    var slotMask: UInt32
    /// The slot of the root; -1 when it is not in the set.
    var root: Int32
    /// Bytes of the longest prefix; 0 when there is none but the root.
    var longest: UInt32

    static var empty: PrefixIndex {
        PrefixIndex(sets: 0, setMask: 0, base: 0, slotMask: 0, root: -1, longest: 0)
    }

    @inline(__always) var isEmpty: Bool { longest == 0 && root < 0 }

    /// The place of a path's set of lengths among the others.
    @inline(__always)
    func set(of first: UInt64) -> Int {
        let hash = (UInt32(truncatingIfNeeded: first) &<< 8) &* 0x9E37_79B1
        return Int(sets &+ (hash &>> 20) & setMask)
    }
}

/// One prefix, or an empty slot.
struct PrefixSlot: BitwiseCopyable, Sendable {
    /// Its words, by which it is found.
    var words: PrefixWords
    /// Where it lies in the arena.
    var text: ArenaRange
    /// First row of its bucket in `Table.matches`; -1 in an empty slot.
    var bucket: Int32
    /// The slot of the next shorter prefix within this one; -1 when there is none.
    var next: Int32
    /// The rule and the match of the bucket's first row, if that takes every request; else -1.
    var rule: Int32
    var match: Int32

    /// What takes every request with this prefix; nil when there are conditions.
    @inline(__always) var quick: RouteMatch? {
        rule < 0 ? nil : RouteMatch(rule: rule, prefixCount: text.count, match: match)
    }

    static var empty: PrefixSlot {
        // A count that no path has.
        let text = ArenaRange(start: 0, count: .max)
        return PrefixSlot(
            words: .none, text: text, bucket: -1, next: -1, rule: -1, match: -1)
    }
}

/// The bytes of a prefix, whole where these are at most `countMax`: words from its start and its
/// end, which overlap, and one between.
struct PrefixWords: BitwiseCopyable, Sendable, Equatable {
    /// The first eight bytes; zeros above those of a shorter prefix.
    var first: UInt64
    /// The last eight bytes; those of `first` in a shorter prefix.
    var last: UInt64
    /// The bytes from the eighth on of a prefix with more than 16 bytes; else zero.
    var middle: UInt64

    /// Bytes up to which the words hold a prefix whole.
    static var countMax: Int { 24 }

    static var none: PrefixWords { PrefixWords(first: 0, last: 0, middle: 0) }

    @inline(__always)
    init(first: UInt64, last: UInt64, middle: UInt64) {
        self.first = first
        self.last = last
        self.middle = middle
    }

    /// The words of the first `count` bytes from `start`, which lie in `bytes`.
    ///
    /// `first` is what lies there from `start` on.
    @inline(__always)
    init(_ bytes: Span<UInt8>, _ start: Int, count: Int, first word: UInt64) {
        middle = 0
        if count < 8 {
            first = Self.short(word, count: count)
            last = first
        } else {
            first = word
            last = ByteScan.load8(bytes, start &+ count &- 8)
            if count > 16 { middle = ByteScan.load8(bytes, start &+ 8) }
        }
    }

    /// The first bytes of a word, less than eight, with zeros above.
    @inline(__always)
    static func short(_ word: UInt64, count: Int) -> UInt64 {
        word & ~(UInt64.max &<< UInt64(truncatingIfNeeded: count &* 8))
    }

    /// A hash of the words of eight bytes or more, of which the upper bits are good.
    ///
    /// Tables hold only configured texts, so a client cannot choose what collides.
    @inline(__always)
    var hash: UInt64 { Self.hash(((last &<< 29 | last &>> 35) ^ first) &+ middle) }

    /// A hash of less than eight bytes.
    @inline(__always)
    static func hash(_ word: UInt64) -> UInt64 { word &* 0x9E37_79B9_7F4A_7C15 }
}

/// The sets and slots of all indexes of prefixes of a table.
struct PrefixIndexes: ~Copyable, Sendable {
    /// Lengths of prefixes: bit n of a set stands for n bytes; longer ones than 63 are in none.
    let sets: RigidArray<UInt64>
    let slots: RigidArray<PrefixSlot>

    func clone() -> PrefixIndexes {
        PrefixIndexes(sets: sets.clone(), slots: slots.clone())
    }

    /// What takes every request with the longest prefix of a path; nil if that is not easily told.
    ///
    /// Without loops that need much at once, so that all of it stays in registers. It is not told
    /// where prefixes are long, have conditions, or are many with the same first bytes.
    @inline(__always)
    func quick(
        _ index: PrefixIndex, _ bytes: Span<UInt8>, _ start: Int, count: Int
    ) -> RouteMatch? {
        if index.longest &- 1 >= 63 || start &+ 8 > bytes.count { return nil }
        let path = bytes.extracting(start..<bytes.count)
        let first = ByteScan.load8(path, 0)
        var lengths = sets[index.set(of: first)] & Self.lengths(upTo: count)
        var length: Int
        var tries = Self.triesMax
        while true {
            // The root is among the lengths too, but does not come before a slash in `*`.
            if lengths == 0 { return path[0] == UInt8(ascii: "*") ? nil : RouteMatch.none }
            length = 63 &- lengths.leadingZeroBitCount
            if length == count || path[length] == UInt8(ascii: "/") { break }
            lengths ^= 1 &<< UInt64(truncatingIfNeeded: length)
            tries &-= 1
            if tries == 0 { return nil }
        }
        if length < 8 { return short(index, PrefixWords.short(first, count: length), length) }
        if length > PrefixWords.countMax { return nil }
        return other(index, PrefixWords(path, 0, count: length, first: first), length)
    }

    /// What takes every request with a prefix of less than eight bytes; nil if that is not told.
    @inline(__always)
    private func short(_ index: PrefixIndex, _ word: UInt64, _ count: Int) -> RouteMatch? {
        var at = UInt32(truncatingIfNeeded: PrefixWords.hash(word) &>> 32) & index.slotMask
        while true {
            let slot = slots[Int(index.base &+ at)]
            if slot.words.first == word && Int(slot.text.count) == count { return slot.quick }
            if slot.bucket < 0 { return nil }
            at = (at &+ 1) & index.slotMask
        }
    }

    /// The same for a prefix of eight bytes or more, which its words hold whole.
    @inline(__always)
    private func other(_ index: PrefixIndex, _ words: PrefixWords, _ count: Int) -> RouteMatch? {
        var at = UInt32(truncatingIfNeeded: words.hash &>> 32) & index.slotMask
        while true {
            let slot = slots[Int(index.base &+ at)]
            if slot.words == words && Int(slot.text.count) == count { return slot.quick }
            if slot.bucket < 0 { return nil }
            at = (at &+ 1) & index.slotMask
        }
    }

    /// Lengths that are tried before the ends of elements are looked for.
    private static var triesMax: Int { 8 }

    /// All lengths up to a path's, of those below 64.
    @inline(__always)
    private static func lengths(upTo count: Int) -> UInt64 {
        UInt64.max &>> UInt64(truncatingIfNeeded: 63 &- min(count, 63))
    }

    /// The slot of the longest prefix of the path of `count` bytes from `start`; -1 for none.
    func longest(
        _ index: PrefixIndex, _ bytes: Span<UInt8>, _ start: Int, count: Int,
        _ arena: borrowing RigidArray<UInt8>
    ) -> Int32 {
        if index.longest == 0 { return index.root }
        if count > 63 && index.longest > 63 {
            let found = longestAbove63(index, bytes, start, count: count, arena)
            if found >= 0 { return found }
        }
        let first =
            start &+ 8 <= bytes.count ? ByteScan.load8(bytes, start) : Self.rest(bytes, start)
        var lengths = sets[index.set(of: first)] & Self.lengths(upTo: count)
        var isNarrowed = false
        while lengths != 0 {
            let length = 63 &- lengths.leadingZeroBitCount
            if length == count || bytes[start &+ length] == UInt8(ascii: "/") {
                let words = PrefixWords(bytes, start, count: length, first: first)
                let found = find(index, words, bytes, start, count: length, arena)
                if found >= 0 { return found }
            }
            lengths ^= 1 &<< UInt64(truncatingIfNeeded: length)
            if !isNarrowed && lengths & (lengths &- 1) != 0 {
                lengths &= Self.elementEnds(bytes, start, count: count)
                isNarrowed = true
            }
        }
        return index.root
    }

    /// The slot of a prefix, whose words are given and which lies in `bytes`; -1 for none.
    @inline(__always)
    private func find(
        _ index: PrefixIndex, _ words: PrefixWords, _ bytes: Span<UInt8>, _ start: Int, count: Int,
        _ arena: borrowing RigidArray<UInt8>
    ) -> Int32 {
        var hash = count < 8 ? PrefixWords.hash(words.first) : words.hash
        if count > PrefixWords.countMax { hash = Self.hash(hash, bytes, start, count: count) }
        var at = UInt32(truncatingIfNeeded: hash &>> 32) & index.slotMask
        // Ends at an empty slot: at most half of the slots are taken.
        while true {
            let place = index.base &+ at
            let slot = slots[Int(place)]
            if slot.words == words && Int(slot.text.count) == count
                && (count <= PrefixWords.countMax
                    || Bytes.equal(bytes, start, arena.span, slot.text.offset, count: count))
            {
                return Int32(bitPattern: place)
            }
            if slot.bucket < 0 { return -1 }
            at = (at &+ 1) & index.slotMask
        }
    }

    /// The slot of the longest prefix of 64 bytes or more, which no set has.
    @inline(never)
    private func longestAbove63(
        _ index: PrefixIndex, _ bytes: Span<UInt8>, _ start: Int, count: Int,
        _ arena: borrowing RigidArray<UInt8>
    ) -> Int32 {
        let first = ByteScan.load8(bytes, start)
        var length = min(count, Int(index.longest))
        while length > 63 {
            if length == count || bytes[start &+ length] == UInt8(ascii: "/") {
                let words = PrefixWords(bytes, start, count: length, first: first)
                let found = find(index, words, bytes, start, count: length, arena)
                if found >= 0 { return found }
            }
            length &-= 1
        }
        return -1
    }

    /// The hash of words and of what is between them.
    @inline(never)
    static func hash(_ hash: UInt64, _ bytes: Span<UInt8>, _ start: Int, count: Int) -> UInt64 {
        UInt64(Bytes.hash(bytes, start, count: count)) &<< 32 ^ hash
    }

    /// What is left of `bytes` from `start` on, less than eight bytes.
    @inline(never)
    private static func rest(_ bytes: Span<UInt8>, _ start: Int) -> UInt64 {
        Bytes.word(bytes, start, count: bytes.count &- start)
    }

    /// The lengths up to 63 at which an element of the path ends: bit n stands for n bytes.
    @inline(never)
    static func elementEnds(_ bytes: Span<UInt8>, _ start: Int, count: Int) -> UInt64 {
        var ends: UInt64 = count > 63 ? 0 : 1 &<< UInt64(truncatingIfNeeded: count)
        var at = 0
        while at < min(count, 64) {
            let left = min(count &- at, 8)
            let word =
                left == 8
                ? ByteScan.load8(bytes, start &+ at)
                : Bytes.word(bytes, start &+ at, count: left)
            ends |= Bytes.lanes(of: UInt8(ascii: "/"), word) &<< UInt64(truncatingIfNeeded: at)
            at &+= 8
        }
        return ends
    }
}

/// The indexes of prefixes of a table while it is built.
struct PrefixIndexesBuilder {
    private(set) var sets: [UInt64] = []
    private(set) var slots: [PrefixSlot] = []

    /// A prefix and its bucket; rule and match are -1 when the bucket does not take every request.
    struct Entry {
        var text: ArenaRange
        var bucket: Int32
        var rule: Int32 = -1
        var match: Int32 = -1
    }

    /// Adds an index of distinct prefixes, which do not end with a slash.
    mutating func add(_ entries: [Entry], _ arena: ArenaBuilder) -> PrefixIndex {
        if entries.isEmpty { return .empty }
        var size = 1
        while size < entries.count * 2 { size *= 2 }
        // More sets than slots: one that serves two beginnings costs tries.
        var index = PrefixIndex(
            sets: UInt32(sets.count), setMask: UInt32(min(size * 4, 4096) - 1),
            base: UInt32(slots.count), slotMask: UInt32(size - 1), root: -1, longest: 0)
        sets.append(contentsOf: repeatElement(0, count: Int(index.setMask) + 1))
        slots.append(contentsOf: repeatElement(.empty, count: size))
        var places: [[UInt8]: Int32] = [:]
        for entry in entries.sorted(by: { $0.text.count < $1.text.count }) {
            let text = Array(arena.bytes[entry.text.range])
            let place = add(entry, text, &index)
            slots[Int(place)].next = next(text, places)
            places[text] = place
        }
        return index
    }

    /// The slot of the longest prefix within a longer one.
    private func next(_ text: [UInt8], _ places: [[UInt8]: Int32]) -> Int32 {
        for end in text.indices.reversed() where end == 0 || text[end] == UInt8(ascii: "/") {
            if let place = places[Array(text[..<end])] { return place }
        }
        return -1
    }

    /// Adds one prefix; its slot.
    private mutating func add(
        _ entry: Entry, _ text: [UInt8], _ index: inout PrefixIndex
    ) -> Int32 {
        var slot = PrefixSlot(
            words: .none, text: entry.text, bucket: entry.bucket, next: -1, rule: entry.rule,
            match: entry.match)
        let first =
            text.count < 8
            ? Bytes.word(text.span, 0, count: text.count) : ByteScan.load8(text.span, 0)
        slot.words = PrefixWords(text.span, 0, count: text.count, first: first)
        var hash = text.count < 8 ? PrefixWords.hash(first) : slot.words.hash
        if text.count > PrefixWords.countMax {
            hash = PrefixIndexes.hash(hash, text.span, 0, count: text.count)
        }
        var at = UInt32(truncatingIfNeeded: hash >> 32) & index.slotMask
        while slots[Int(index.base + at)].bucket >= 0 { at = (at + 1) & index.slotMask }
        slots[Int(index.base + at)] = slot
        if text.isEmpty { index.root = Int32(index.base + at) }
        index.longest = max(index.longest, entry.text.count)
        addLength(text.count, first, index)
        return Int32(index.base + at)
    }

    /// Adds the length of a prefix to the set of its first bytes; to all where these are too few.
    private mutating func addLength(_ count: Int, _ first: UInt64, _ index: PrefixIndex) {
        if count > 63 { return }
        if count >= 3 {
            sets[index.set(of: first)] |= 1 << UInt64(count)
        } else {
            for i in 0...Int(index.setMask) { sets[Int(index.sets) + i] |= 1 << UInt64(count) }
        }
    }

    func build() -> PrefixIndexes {
        PrefixIndexes(
            sets: RigidArray(capacity: sets.count, copying: sets),
            slots: RigidArray(capacity: slots.count, copying: slots))
    }
}
