/// Name of one life of a slot in a `Slab`.
@frozen
public struct SlotID: BitwiseCopyable, Hashable, Sendable {
    public let slot: UInt32
    /// From 1 to 2^24 - 1; it changes each time the slot is freed.
    public let generation: UInt32

    /// Only the lower 24 bits of the generation are kept.
    @inlinable
    public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation & 0xFF_FFFF
    }

    /// No slot at all.
    @inlinable
    public static var none: SlotID { SlotID(slot: .max, generation: 0) }

    @inlinable
    public var isNone: Bool { slot == .max }
}
