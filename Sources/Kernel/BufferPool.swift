import BasicContainers

/// The buffers of one worker: sizes of 4, 16 and 64 KiB, and larger ones as asked.
///
/// Buffers that come back are kept warm, at most `warmBytesMax` of each size. All memory, in use
/// and warm, is charged to the budget in pieces of `leaseBytes`. A buffer that was taken must come
/// back through `give`, or the budget loses its bytes.
///
/// What is held as a whole, as content is until it is known where it goes, has a budget of its own
/// (`robustness.md` §6): its buffers come from `takeHeld`. Such a buffer is a byte shorter than its
/// memory, which is how it is known when it comes back. Large ones that come back while
/// less than half of that budget is used stay warm, until `cool` gives them up.
///
/// Bytes on their way that nobody looks at may be in a pipe instead, out of `pipes`.
public struct BufferPool: ~Copyable {
    /// Bytes of each size that stay allocated while nobody uses them.
    @inlinable
    public static var warmBytesMax: Int { 1 << 20 }
    /// The piece in which the budget is charged.
    public static var leaseBytes: Int { 256 << 10 }

    private var lease: Lease
    private var heldLease: Lease
    /// Free buffers, by size from the smallest.
    @usableFromInline var shelves: InlineArray<3, Shelf> = [
        Shelf(size: leastBytes), Shelf(size: 16 << 10), Shelf(size: 64 << 10),
    ]
    /// Free held buffers that are larger than all of these.
    private var large = LargeShelf()
    /// What `bytesInUse` says.
    @usableFromInline var inUse = 0
    /// What `bytesHeld` says.
    private var held = 0
    /// What holds bytes inside the system.
    public var pipes: PipePool

    /// An empty pool, with at most so many pipes; without a budget it never refuses.
    public init(budget: Budget?, heldBudget: Budget? = nil, pipesMax: Int = 0) {
        lease = Lease(budget)
        heldLease = Lease(heldBudget)
        pipes = PipePool(budget: budget, countMax: pipesMax)
    }

    deinit {
        for index in shelves.indices {
            var shelf = shelves[index]
            while let buffer = shelf.take() { _ = consume buffer }
        }
        var large = large
        while large.count > 0 { large.dropOldest() }
        lease.end()
        heldLease.end()
    }

    /// Bytes of buffers that were taken and did not come back yet, but for those that `takeHeld` gave.
    public var bytesInUse: Int { inUse }

    /// Bytes of buffers that `takeHeld` gave and that did not come back yet.
    public var bytesHeld: Int { held }

    /// Bytes of large buffers that came back from holding and wait to be used again.
    public var bytesWarmHeld: Int { large.byteCount }

    /// Bytes of other buffers that are allocated and wait to be used again.
    public var bytesWarm: Int {
        var sum = 0
        for index in shelves.indices { sum += shelves[index].count * shelves[index].size }
        return sum
    }

    /// An empty buffer of at least this capacity; nil when the budget is spent.
    public mutating func take(capacity: Int) -> Buffer? {
        let index = BufferPool.shelf(for: capacity)
        if index < shelves.count, let buffer = shelves[index].take() {
            // All of them together are in memory, so no overflow.
            inUse &+= shelves[index].size
            return buffer
        }
        return make(capacity: capacity, index)
    }

    /// An empty buffer of at least this capacity for what is held as a whole; nil when the budget for that is spent.
    public mutating func takeHeld(capacity: Int) -> Buffer? {
        precondition(capacity >= 0 && capacity < 1 << 31, "A buffer has at most 2 GiB.")
        let index = BufferPool.shelf(for: capacity + 1)
        if index == shelves.count, let warm = large.take(atLeast: capacity + 1) {
            held += warm.capacity + 1
            return warm
        }
        let size = index < shelves.count ? shelves[index].size : (capacity + 4096) & ~4095
        guard chargeHeld(size) else { return nil }
        held += size
        if index < shelves.count, let warm = shelves[index].take() {
            // Sound: the memory has `size` bytes and belongs to the new buffer from here on.
            return unsafe Buffer(base: warm.releaseMemory(), capacity: size - 1)
        }
        // Sound: the buffer has the memory as its own, and does not use the last byte.
        return unsafe Buffer(base: .allocate(capacity: size), capacity: size - 1)
    }

    /// Makes a large buffer of `takeHeld` larger where it stands, so that no second one is charged beside it; false when
    /// the budget for what is held is spent.
    mutating func growHeld(_ buffer: inout Buffer, to capacity: Int) -> Bool {
        precondition(capacity < 1 << 31, "A buffer has at most 2 GiB.")
        let size = (capacity + 4096) & ~4095
        let more = size - (buffer.capacity + 1)
        guard chargeHeld(more) else { return false }
        held += more
        var grown = Buffer()
        swap(&grown, &buffer)
        buffer = grown.resized(capacity: size - 1)
        return true
    }

    /// Whether a buffer came from `takeHeld`.
    @inlinable
    public static func isHeld(_ buffer: borrowing Buffer) -> Bool {
        buffer.capacity & 4095 == 4095
    }

    /// Bytes of the smallest size: each exchange has a buffer of it.
    @inlinable
    public static var leastBytes: Int { 4 << 10 }

    /// An empty buffer of the smallest size; nil when the budget is spent.
    @inlinable @inline(always)
    public mutating func takeLeast() -> Buffer? {
        guard let buffer = shelves[0].take() else { return take(capacity: Self.leastBytes) }
        // All of them together are in memory, so no overflow.
        inUse &+= Self.leastBytes
        return buffer
    }

    /// The same as `give`, which it calls for a buffer that is not of the smallest size.
    @inlinable @inline(always)
    public mutating func giveLeast(_ buffer: consuming Buffer) {
        if buffer.capacity == Self.leastBytes, inUse >= Self.leastBytes, !shelves[0].isFull {
            inUse &-= Self.leastBytes
            shelves[0].put(buffer)
        } else {
            give(buffer)
        }
    }

    /// A new buffer; `index` is that of its shelf.
    @inline(never)
    private mutating func make(capacity: Int, _ index: Int) -> Buffer? {
        precondition(capacity >= 0 && capacity <= 1 << 31, "A buffer has at most 2 GiB.")
        let size = index < shelves.count ? shelves[index].size : (capacity + 4095) & ~4095
        guard charge(size) else { return nil }
        inUse += size
        return Buffer(capacity: size)
    }

    /// Takes a buffer of this pool back; what was in it is gone.
    ///
    /// One without memory is nothing.
    public mutating func give(_ buffer: consuming Buffer) {
        let size = buffer.capacity
        if size == 0 { return }
        if size & 4095 == 4095 {
            giveHeld(buffer)
            return
        }
        precondition(size <= inUse, "Only buffers of this pool come back to it.")
        inUse &-= size
        let index = BufferPool.shelf(for: size)
        if index < shelves.count, shelves[index].size == size, !shelves[index].isFull {
            shelves[index].put(buffer)
        } else {
            drop(buffer)
        }
    }

    /// Takes back what `takeHeld` gave.
    @inline(never)
    private mutating func giveHeld(_ buffer: consuming Buffer) {
        let size = buffer.capacity + 1
        precondition(size <= held, "Only buffers of this pool come back to it.")
        held -= size
        let index = BufferPool.shelf(for: size)
        let most = index == shelves.count ? heldLease.spareBytes(atMost: LargeShelf.bytesMax) : 0
        if size <= min(most, LargeShelf.sizeMax) {
            large.put(buffer, size: size, bytesMax: most)
            heldLease.settle(held + large.byteCount)
            return
        }
        heldLease.settle(held + large.byteCount)
        // Warm memory is charged to the other budget, and only as far as that is paid for already.
        if index < shelves.count, shelves[index].size == size, !shelves[index].isFull,
            lease.hasOver(inUse + bytesWarm + size)
        {
            // Sound: the memory has `size` bytes, and the buffer gives it away.
            shelves[index].put(unsafe Buffer(base: buffer.releaseMemory(), capacity: size))
        } else {
            _ = consume buffer
        }
    }

    /// Whether a held buffer of so many bytes is there without new memory.
    func hasLarge(_ capacity: Int) -> Bool {
        capacity >= shelves[shelves.count - 1].size && large.has(atLeast: capacity + 1)
    }

    /// Gives up one of the large buffers that wait to be used again, or all where none of them was used since: to be called
    /// now and then.
    public mutating func cool() {
        large.cool()
        heldLease.settle(held + large.byteCount)
    }

    /// Whether there is, or may come to be, memory that `cool` and `PipePool.trim` give back.
    public var needsTending: Bool { pipes.needsTrim || large.count > 0 || held > 0 }

    /// Makes sure that the lease covers so many held bytes more; the warm ones are the reserve.
    private mutating func chargeHeld(_ bytes: Int) -> Bool {
        while !heldLease.covers(held + large.byteCount + bytes) {
            if large.count == 0 {
                heldLease.settle(held)
                return false
            }
            large.dropOldest()
        }
        return true
    }

    /// Frees a buffer for which there is no place.
    @inline(never)
    private mutating func drop(_ buffer: consuming Buffer) {
        _ = consume buffer
        lease.settle(inUse + bytesWarm)
    }

    /// The shelf with the least size that is enough; 3 when none is.
    @inline(__always)
    private static func shelf(for capacity: Int) -> Int {
        // As a word without sign a negative capacity is too large for every shelf.
        let size = UInt(bitPattern: capacity)
        if size <= 4 << 10 { return 0 }
        if size <= 16 << 10 { return 1 }
        return size <= 64 << 10 ? 2 : 3
    }

    /// Makes sure that the lease covers so many bytes more.
    private mutating func charge(_ bytes: Int) -> Bool {
        if lease.covers(inUse + bytesWarm + bytes) { return true }
        // Warm buffers of other sizes are the reserve.
        while bytesWarm > 0 {
            dropWarm()
            if lease.covers(inUse + bytesWarm + bytes) { return true }
        }
        return false
    }

    /// Frees one warm buffer of the largest size that has one.
    private mutating func dropWarm() {
        for index in [2, 1, 0] where shelves[index].count > 0 {
            if let buffer = shelves[index].take() { _ = consume buffer }
            return
        }
    }
}

/// What one pool has of a budget: taken in pieces, so that the threads seldom meet there.
private struct Lease {
    private let budget: Budget?
    /// Bytes charged to the budget.
    private var leased = 0

    init(_ budget: Budget?) { self.budget = budget }

    /// Makes sure that so many bytes in all are charged; false when the budget is spent.
    mutating func covers(_ bytes: Int) -> Bool {
        let missing = bytes - leased
        guard let budget, missing > 0 else { return true }
        let piece = max(missing, BufferPool.leaseBytes)
        if budget.take(piece) {
            leased += piece
            return true
        }
        if piece > missing, budget.take(missing) {
            leased += missing
            return true
        }
        return false
    }

    /// Whether so many bytes in all are charged already.
    func hasOver(_ bytes: Int) -> Bool { budget == nil || bytes <= leased }

    /// How many bytes may be kept unused: a 64th of a budget of which less than half is used.
    func spareBytes(atMost most: Int) -> Int {
        guard let budget else { return most }
        return budget.used <= budget.limit / 2 ? min(most, budget.limit / 64) : 0
    }

    /// Gives back what is over so many bytes, but keeps a piece in hand.
    mutating func settle(_ bytes: Int) {
        guard let budget else { return }
        let over = leased - bytes
        if over >= 2 * BufferPool.leaseBytes {
            let back = over - BufferPool.leaseBytes
            leased -= back
            budget.give(back)
        }
    }

    /// Gives everything back.
    func end() { budget?.give(leased) }
}

/// Free buffers of one size, linked through their own first bytes; the last one in is taken first.
@safe
@usableFromInline
struct Shelf {
    @usableFromInline let size: Int
    @usableFromInline var count = 0
    @usableFromInline var first: UnsafeMutableRawPointer?

    init(size: Int) {
        self.size = size
        // Sound: an empty list.
        unsafe first = nil
    }

    /// Whether one more would be more than what stays warm.
    @inlinable @inline(__always)
    var isFull: Bool { count &* size >= BufferPool.warmBytesMax }

    @inlinable @inline(__always)
    mutating func put(_ buffer: consuming Buffer) {
        // Sound: the memory is at least a page and now belongs to the shelf; the link is stored
        // and loaded without regard to alignment or type.
        let memory = unsafe UnsafeMutableRawPointer(buffer.releaseMemory())
        // Sound: as above.
        unsafe memory.storeBytes(of: first, as: UnsafeMutableRawPointer?.self)
        // Sound: as above.
        unsafe first = memory
        count &+= 1
    }

    @inlinable @inline(__always)
    mutating func take() -> Buffer? {
        // Sound: on the list are only memories of `size` bytes that `put` wrote a link into.
        guard let memory = unsafe first else { return nil }
        // Sound: as above.
        unsafe first = unsafe memory.loadUnaligned(as: UnsafeMutableRawPointer?.self)
        count &-= 1
        // Sound: as above; the buffer takes the memory over.
        return unsafe Buffer(
            base: memory.bindMemory(to: UInt8.self, capacity: size), capacity: size)
    }
}
