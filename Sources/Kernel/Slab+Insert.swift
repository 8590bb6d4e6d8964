extension Slab where Element: ~Copyable {
    /// Puts an element into a free slot, made where it will stand; nil, and nothing is made, when all are occupied.
    @inlinable @inline(__always)
    public mutating func insert(making make: () -> Element) -> SlotID? {
        let slot: UInt32
        if firstFree != .max {
            slot = firstFree
            // Sound: slots on the free list are below `firstUnused`.
            firstFree = unsafe header(slot).pointee.nextFree
        } else {
            guard firstUnused < slotCount else { return nil }
            slot = firstUnused
            firstUnused += 1
            // Sound: the slot is inside the mapping; its first life has generation 1.
            unsafe header(slot).pointee = Header(state: 1, nextFree: .max)
        }
        // Sound: the slot is free, so its memory is not initialised and is nobody else's.
        unsafe element(slot).initialize(to: make())
        // Sound: as above; marks the slot as the owner of the element.
        let state = unsafe header(slot).pointee.state | Self.occupied
        // Sound: as above.
        unsafe header(slot).pointee.state = state
        occupiedCount += 1
        return SlotID(slot: slot, generation: state & 0xFF_FFFF)
    }
}
