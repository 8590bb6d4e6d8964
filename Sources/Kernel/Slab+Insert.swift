extension Slab where Element: ~Copyable {
    /// Puts an element into a free slot, made where it will stand; nil, and nothing is made, when
    /// all are occupied.
    @inlinable
    @inline(always)
    public mutating func insert(making make: () -> Element) -> SlotID? {
        guard let id = takeFree() else { return nil }
        // Sound: the slot is free, so its memory is not initialised and is nobody else's.
        unsafe element(id.slot).initialize(to: make())
        occupy(id)
        return id
    }
}
