import BasicContainers
import HTTP

/// A set of texts with a number each: one of many that share the arrays of a `TextIndexes`.
///
/// Up to `linearMax` texts lie in a row, longest first, and are compared one by one; more are
/// hashed, and the distinct lengths are kept, longest first, so that parents of a name are probed
/// only where there can be one.
struct TextIndex: BitwiseCopyable, Sendable {
    /// First slot.
    var base: UInt32
    /// Number of slots: the texts themselves, or a power of two when hashed.
    var slotCount: UInt32
    /// First of the distinct lengths; unused when not hashed.
    var lengths: UInt32
    /// Number of distinct lengths; 0 when not hashed.
    var lengthCount: UInt32

    static var empty: TextIndex { TextIndex(base: 0, slotCount: 0, lengths: 0, lengthCount: 0) }
    /// Texts up to which a look-up compares instead of hashing.
    static var linearMax: Int { 6 }

    @inline(__always) var isEmpty: Bool { slotCount == 0 }
    @inline(__always) var isHashed: Bool { lengthCount != 0 }
}

/// One text of an index, or an empty slot.
struct TextSlot: BitwiseCopyable, Sendable {
    /// Where the text lies in the arena.
    var text: ArenaRange
    /// Its hash; unused when the index is not hashed.
    var hash: UInt32
    /// Its number; -1 in an empty slot.
    var value: Int32
}

/// The slots of all indexes of a table.
struct TextIndexes: ~Copyable, Sendable {
    var slots: RigidArray<TextSlot>
    var lengths: RigidArray<UInt32>

    func clone() -> TextIndexes {
        TextIndexes(slots: slots.clone(), lengths: lengths.clone())
    }

    /// The number of the text that equals `count` bytes from `start`; -1 when there is none.
    @inline(__always)
    func find(
        _ index: TextIndex, _ bytes: Span<UInt8>, _ start: Int, count: Int, _ arena: Span<UInt8>
    ) -> Int32 {
        if index.isEmpty { return -1 }
        if index.isHashed {
            return probe(index, bytes, start, count: count, arena)
        }
        var at = Int(index.base)
        let end = at &+ Int(index.slotCount)
        while at < end {
            let slot = slots[at]
            if Int(slot.text.count) == count
                && Bytes.equal(bytes, start, arena, slot.text.offset, count: count)
            {
                return slot.value
            }
            at &+= 1
        }
        return -1
    }

    /// The number of the next longest text that ends a range of `bytes`, behind a dot that is not
    /// its first byte: of the parents of a host name; -1 when there is none.
    ///
    /// `cursor` is 0 at first; the call moves it behind what it found.
    @inline(__always)
    func next(
        _ index: TextIndex, _ bytes: Span<UInt8>, _ range: Range<Int>,
        _ arena: Span<UInt8>, _ cursor: inout Int
    ) -> Int32 {
        if index.isHashed {
            while cursor < Int(index.lengthCount) {
                let count = Int(lengths[Int(index.lengths) &+ cursor])
                cursor &+= 1
                guard let start = place(bytes, range, count) else { continue }
                let value = probe(index, bytes, start, count: count, arena)
                if value >= 0 { return value }
            }
            return -1
        }
        while cursor < Int(index.slotCount) {
            let slot = slots[Int(index.base) &+ cursor]
            cursor &+= 1
            let count = Int(slot.text.count)
            guard let start = place(bytes, range, count) else { continue }
            if Bytes.equal(bytes, start, arena, slot.text.offset, count: count) {
                return slot.value
            }
        }
        return -1
    }

    /// Where a parent of `count` bytes would have to start; nil when it cannot be there.
    @inline(__always)
    private func place(_ bytes: Span<UInt8>, _ range: Range<Int>, _ count: Int) -> Int? {
        // A label and the dot come before it.
        if count &+ 2 > range.count { return nil }
        let start = range.upperBound &- count
        return bytes[start &- 1] == UInt8(ascii: ".") ? start : nil
    }

    /// Looks a text up in a hashed index.
    private func probe(
        _ index: TextIndex, _ bytes: Span<UInt8>, _ start: Int, count: Int, _ arena: Span<UInt8>
    ) -> Int32 {
        let hash = Bytes.hash(bytes, start, count: count)
        let mask = index.slotCount &- 1
        var at = hash & mask
        // Ends at an empty slot: at most half of the slots are taken.
        while true {
            let slot = slots[Int(index.base &+ at)]
            if slot.value < 0 { return -1 }
            if slot.hash == hash && Int(slot.text.count) == count
                && Bytes.equal(bytes, start, arena, slot.text.offset, count: count)
            {
                return slot.value
            }
            at = (at &+ 1) & mask
        }
    }
}

/// The indexes of a table while it is built.
struct TextIndexesBuilder {
    var slots: [TextSlot] = []
    var lengths: [UInt32] = []

    /// Adds an index of distinct texts.
    mutating func add(
        _ entries: [(text: ArenaRange, value: Int32)], _ arena: ArenaBuilder
    ) -> TextIndex {
        if entries.isEmpty { return .empty }
        if entries.count <= TextIndex.linearMax { return addRow(entries) }
        let base = slots.count
        var size = 1
        while size < entries.count * 2 { size *= 2 }
        slots.append(
            contentsOf: repeatElement(TextSlot(text: .empty, hash: 0, value: -1), count: size))
        for entry in entries {
            let hash = Bytes.hash(
                arena.bytes.span, entry.text.offset, count: Int(entry.text.count))
            var at = Int(hash) & (size - 1)
            while slots[base + at].value >= 0 { at = (at + 1) & (size - 1) }
            slots[base + at] = TextSlot(text: entry.text, hash: hash, value: entry.value)
        }
        let distinct = Set(entries.map(\.text.count)).sorted(by: >)
        let first = lengths.count
        lengths.append(contentsOf: distinct)
        return TextIndex(
            base: UInt32(base), slotCount: UInt32(size), lengths: UInt32(first),
            lengthCount: UInt32(distinct.count))
    }

    /// Adds an index that is compared one by one, longest first; equal lengths keep their order.
    private mutating func addRow(_ entries: [(text: ArenaRange, value: Int32)]) -> TextIndex {
        let base = slots.count
        let order = entries.indices.sorted {
            let (a, b) = (entries[$0].text.count, entries[$1].text.count)
            return a != b ? a > b : $0 < $1
        }
        for i in order {
            slots.append(TextSlot(text: entries[i].text, hash: 0, value: entries[i].value))
        }
        return TextIndex(
            base: UInt32(base), slotCount: UInt32(entries.count), lengths: 0, lengthCount: 0)
    }

    func build() -> TextIndexes {
        TextIndexes(
            slots: RigidArray(capacity: slots.count, copying: slots),
            lengths: RigidArray(capacity: lengths.count, copying: lengths))
    }
}
