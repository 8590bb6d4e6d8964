import BasicContainers
import Kernel

/// The streams of a session, by slot and by number, with the two rows that they stand in.
///
/// A slot is reused only when it is in neither, so that a row never leads to a stranger.
struct StreamTable: ~Copyable {
    private(set) var slots = UniqueArray<Stream>()
    /// The number of the stream in each slot, for searching; 0 in a free one.
    private var numbers = UniqueArray<Int32>()
    private var free = UniqueArray<UInt32>()
    /// Streams with events.
    private var ready = SlotQueue()
    /// Streams with something for the library.
    private var dirty = SlotQueue()
    /// Where the number that was searched last was found.
    private var hint = 0
    private var generation: UInt32 = 0
    /// Streams, those included that the caller has left.
    private(set) var count = 0
    /// Streams that the library has not closed.
    private(set) var openCount = 0

    /// Slots that stay when all streams have gone.
    private static var keptSlots: Int { 4 }

    // MARK: - Lives

    /// Begins a stream; the caller has checked that there may be one more.
    mutating func insert(number: Int32, window: Int32) -> Int {
        // Zero is skipped: with it an id could name nobody.
        generation = max(generation &+ 1, 1)
        count += 1
        openCount += 1
        if let slot = free.popLast() {
            slots[Int(slot)].begin(number: number, generation: generation, window: window)
            numbers[Int(slot)] = number
            return Int(slot)
        }
        slots.append(Stream(number: number, generation: generation, window: window))
        numbers.append(number)
        return slots.count - 1
    }

    /// Ends a stream whose buffers were given back.
    mutating func remove(_ slot: Int) {
        markClosed(slot)
        count -= 1
        numbers[slot] = 0
        slots[slot].generation = 0
        slots[slot].number = 0
        slots[slot].flags.insert(.isFree)
        reuse(slot)
        if count == 0 { shrink() }
    }

    /// Notes that the library has closed the stream.
    mutating func markClosed(_ slot: Int) {
        if slots[slot].flags.contains(.isClosed) { return }
        slots[slot].flags.insert(.isClosed)
        openCount -= 1
    }

    /// Gives a request its number.
    mutating func setNumber(_ slot: Int, _ number: Int32) {
        slots[slot].number = number
        numbers[slot] = number
    }

    private mutating func reuse(_ slot: Int) {
        let isFree = slots[slot].flags.contains(.isFree)
        if isFree && !ready.contains(slot) && !dirty.contains(slot) { free.append(UInt32(slot)) }
    }

    /// Forgets slots that a burst has left behind.
    private mutating func shrink() {
        if slots.count <= Self.keptSlots || !ready.isEmpty || !dirty.isEmpty { return }
        slots = UniqueArray()
        numbers = UniqueArray()
        free = UniqueArray()
        ready = SlotQueue()
        dirty = SlotQueue()
    }

    // MARK: - Finding

    /// The slot of a life that has not ended.
    func find(_ id: StreamID) -> Int? {
        let slot = Int(id.slot)
        guard slot < slots.count, slots[slot].generation == id.generation, id.generation != 0
        else { return nil }
        return slot
    }

    /// The slot of the stream with this number.
    mutating func find(number: Int32) -> Int? {
        if number <= 0 { return nil }
        if hint < numbers.count, numbers[hint] == number { return hint }
        for slot in 0..<numbers.count where numbers[slot] == number {
            hint = slot
            return slot
        }
        return nil
    }

    func id(_ slot: Int) -> StreamID {
        StreamID(slot: UInt32(slot), generation: slots[slot].generation)
    }

    subscript(slot: Int) -> Stream {
        @inline(always) _read { yield slots[slot] }
        @inline(always) _modify { yield &slots[slot] }
    }

    // MARK: - Rows

    var hasDirty: Bool { !dirty.isEmpty }

    /// Notes events, which `firstReady` will lead to.
    mutating func tell(_ slot: Int, _ news: Stream.News) {
        if slots[slot].flags.contains(.isLeft) { return }
        slots[slot].news.formUnion(news)
        ready.append(slot)
    }

    /// The first stream with events; it stays first until all of them were told.
    mutating func firstReady() -> Int? {
        while let slot = ready.first {
            if !slots[slot].flags.contains(.isFree) && !slots[slot].news.isEmpty { return slot }
            _ = ready.popFirst()
            reuse(slot)
        }
        return nil
    }

    /// Notes that there is something for the library.
    mutating func markDirty(_ slot: Int) { dirty.append(slot) }

    /// Takes the first stream with something for the library.
    mutating func takeDirty() -> Int? {
        while let slot = dirty.popFirst() {
            if !slots[slot].flags.contains(.isFree) { return slot }
            reuse(slot)
        }
        return nil
    }
}
