/// A fixed number of slots at stable addresses, with generations that make stale ids harmless.
///
/// One reserved mapping: memory is used from the first insertion into a page on, so that a capacity
/// of 100,000 costs nothing until it is needed. The slot freed last is taken next (the warmest).
/// Looking at a free slot, or through an id of an earlier life, traps: ask `contains` first.
public struct Slab<Element: ~Copyable>: ~Copyable {
    /// What stands in front of an element, in the same cache line.
    ///
    /// The raw id of the life in the slot; in a free slot `free`, the generation of the next life
    /// and, in place of the slot, the next free one.
    @usableFromInline typealias Header = UInt64

    @usableFromInline let mapping: Mapping
    @usableFromInline let slotCount: UInt32
    @usableFromInline var occupiedCount = 0
    @usableFromInline var firstUnused: UInt32 = 0
    @usableFromInline var firstFree: UInt32 = .max

    /// Reserves `capacity` slots; traps when the address space refuses.
    @inlinable
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity < Int(UInt32.max), "A slab has 1 ... 2^32 - 2 slots.")
        precondition(MemoryLayout<Element>.alignment <= 4096, "Elements are aligned within a page.")
        let bytes = capacity.multipliedReportingOverflow(by: Self.stride)
        precondition(!bytes.overflow, "The slots fit into the address space.")
        slotCount = UInt32(capacity)
        mapping = Mapping(byteCount: bytes.partialValue)
    }

    deinit {
        for slot in 0..<firstUnused where isOccupied(slot) {
            // Sound: an occupied slot holds an initialised element, destroyed once.
            unsafe element(slot).deinitialize(count: 1)
        }
    }
}

// MARK: - Insertion and removal

extension Slab where Element: ~Copyable {
    /// Puts an element into a free slot; nil, and the element is destroyed, when all are occupied.
    @inlinable
    public mutating func insert(_ new: consuming Element) -> SlotID? {
        guard let id = takeFree() else { return nil }
        // Sound: the slot is free, so its memory is not initialised and is nobody else's.
        unsafe element(id.slot).initialize(to: new)
        occupy(id)
        return id
    }

    /// Takes the element out and ends this life of the slot; nil when it has already ended.
    @inlinable
    public mutating func remove(_ id: SlotID) -> Element? {
        guard contains(id) else { return nil }
        return take(id.slot)
    }

    /// Ends this life of the slot and destroys its element where it stands; nothing when it has ended.
    @inlinable @inline(always)
    public mutating func destroy(_ id: SlotID) {
        guard contains(id) else { return }
        // Sound: the slot is occupied, so its element is initialised; afterwards it is free.
        unsafe element(id.slot).deinitialize(count: 1)
        release(id.slot, generation: id.generation)
    }

    /// Takes the element of an occupied slot out.
    @inlinable
    public mutating func remove(slot: UInt32) -> Element {
        precondition(isOccupied(slot), "Only an occupied slot can be emptied.")
        return take(slot)
    }

    @inlinable
    mutating func take(_ slot: UInt32) -> Element {
        // Sound: the callers checked that the slot is occupied.
        let state = unsafe header(slot).pointee
        release(slot, generation: UInt32(truncatingIfNeeded: state >> 32))
        // Sound: the element was initialised and is moved out exactly once.
        return unsafe element(slot).move()
    }

    /// Takes the slot freed last, or the first that was never used, and names its next life; nil
    /// when all are occupied.
    @inlinable
    @inline(always)
    mutating func takeFree() -> SlotID? {
        if firstFree != .max {
            let slot = firstFree
            // Sound: slots on the free list are below `firstUnused`.
            let state = unsafe header(slot).pointee
            firstFree = UInt32(truncatingIfNeeded: state)
            return SlotID(slot: slot, generation: UInt32(truncatingIfNeeded: state >> 32))
        }
        guard firstUnused < slotCount else { return nil }
        firstUnused &+= 1
        return SlotID(slot: firstUnused &- 1, generation: 1)
    }

    /// Begins the life in a slot that `takeFree` gave and whose element stands there now.
    @inlinable
    @inline(always)
    mutating func occupy(_ id: SlotID) {
        // Sound: the slot is inside the mapping; this marks it as the owner of the element.
        unsafe header(id.slot).pointee = id.raw
        // No more than slots, so no overflow.
        occupiedCount &+= 1
    }

    /// Puts a slot, whose element goes, on the free list with its next generation.
    @inlinable @inline(always)
    mutating func release(_ slot: UInt32, generation: UInt32) {
        // Zero is skipped: with it an id could name a slot that was never used.
        let next = max((generation &+ 1) & 0xFF_FFFF, 1)
        // Sound: the slot is below `firstUnused`, for somebody lived in it.
        unsafe header(slot).pointee = Self.free | UInt64(next) << 32 | UInt64(firstFree)
        firstFree = slot
        // Somebody lived here, so the count was above zero.
        occupiedCount &-= 1
    }
}

// MARK: - Access

extension Slab where Element: ~Copyable {
    /// The element of an occupied slot, in place.
    @inlinable
    public subscript(slot: UInt32) -> Element {
        @inline(always) unsafeAddress {
            precondition(isOccupied(slot), "Only an occupied slot can be read.")
            // Sound: occupied, so initialised; the borrow of the slab keeps it so.
            return unsafe UnsafePointer(element(slot))
        }
        @inline(always) unsafeMutableAddress {
            precondition(isOccupied(slot), "Only an occupied slot can be changed.")
            // Sound: occupied, so initialised; the access to the slab is exclusive.
            return unsafe element(slot)
        }
    }

    /// The element of a life that has not ended, in place.
    @inlinable
    public subscript(id: SlotID) -> Element {
        @inline(always) unsafeAddress {
            precondition(contains(id), "Only a living slot can be read.")
            // Sound: occupied, so initialised; the borrow of the slab keeps it so.
            return unsafe UnsafePointer(element(id.slot))
        }
        @inline(always) unsafeMutableAddress {
            precondition(contains(id), "Only a living slot can be changed.")
            // Sound: occupied, so initialised; the access to the slab is exclusive.
            return unsafe element(id.slot)
        }
    }

    /// Whether this life of the slot has not ended.
    @inlinable
    @inline(always)
    public func contains(_ id: SlotID) -> Bool {
        guard id.slot < firstUnused else { return false }
        // Sound: the slot is inside the mapping and was used, so that its header is no zero.
        return unsafe header(id.slot).pointee == id.raw
    }

    /// Whether somebody lives in the slot.
    @inlinable
    @inline(always)
    public func isOccupied(_ slot: UInt32) -> Bool {
        guard slot < firstUnused else { return false }
        // Sound: the slot is inside the mapping and was used.
        return unsafe header(slot).pointee & Self.free == 0
    }

    /// The generation of the life in the slot, or of the next one; zero if it was never used.
    @inlinable
    public func generation(of slot: UInt32) -> UInt32 {
        precondition(slot < slotCount, "The slot is one of this slab's.")
        // Sound: the slot is inside the mapping, whose untouched parts read as zero.
        return UInt32(truncatingIfNeeded: unsafe header(slot).pointee >> 32) & 0xFF_FFFF
    }

    /// The id of the life in an occupied slot.
    @inlinable
    @inline(always)
    public func id(of slot: UInt32) -> SlotID {
        precondition(isOccupied(slot), "Only an occupied slot has an id.")
        // Sound: an occupied slot is inside the mapping, and its header is the id.
        return SlotID(raw: unsafe header(slot).pointee)
    }

    /// How many slots are occupied.
    @inlinable
    public var count: Int { occupiedCount }

    @inlinable
    public var isFull: Bool { occupiedCount == Int(slotCount) }

    /// How many slots there are.
    @inlinable
    public var capacity: Int { Int(slotCount) }

    /// Slots from here on have never been used; the bound for a walk with `isOccupied`.
    @inlinable
    public var highWater: UInt32 { firstUnused }
}

// MARK: - Layout

extension Slab where Element: ~Copyable {
    @inlinable
    static var free: UInt64 { 1 << 63 }

    /// Bytes from the header to the element.
    @inlinable
    static var elementOffset: Int {
        max(MemoryLayout<Header>.stride, MemoryLayout<Element>.alignment)
    }

    @inlinable
    static var stride: Int {
        let alignment = max(MemoryLayout<Header>.stride, MemoryLayout<Element>.alignment)
        return (elementOffset + MemoryLayout<Element>.size + alignment - 1) & ~(alignment - 1)
    }

    /// The header of a slot below the capacity.
    @inlinable
    @inline(always)
    func header(_ slot: UInt32) -> UnsafeMutablePointer<Header> {
        // Sound: the mapping has room for `slotCount` strides, and callers pass slots below it.
        unsafe (mapping.base + Int(slot) &* Self.stride).assumingMemoryBound(to: Header.self)
    }

    /// The memory of a slot's element.
    @inlinable
    @inline(always)
    func element(_ slot: UInt32) -> UnsafeMutablePointer<Element> {
        // Sound: as `header`; offset and stride respect the element's alignment.
        unsafe (mapping.base + (Int(slot) &* Self.stride &+ Self.elementOffset))
            .assumingMemoryBound(to: Element.self)
    }
}
