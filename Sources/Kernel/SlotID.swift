/// Name of one life of a slot in a `Slab`.
@frozen
public struct SlotID: BitwiseCopyable, Hashable, Sendable {
    /// The generation in bits 32 to 55, the slot in the lower 32; the upper 8 are zero.
    @usableFromInline let raw: UInt64

    @inlinable
    init(raw: UInt64) { self.raw = raw }

    /// Only the lower 24 bits of the generation are kept.
    @inlinable
    public init(slot: UInt32, generation: UInt32) {
        raw = UInt64(generation & 0xFF_FFFF) << 32 | UInt64(slot)
    }

    @inlinable
    public var slot: UInt32 { UInt32(truncatingIfNeeded: raw) }

    /// From 1 to 2^24 - 1; it changes each time the slot is freed.
    @inlinable
    public var generation: UInt32 { UInt32(truncatingIfNeeded: raw >> 32) }

    /// No slot at all.
    @inlinable
    public static var none: SlotID { SlotID(slot: .max, generation: 0) }

    @inlinable
    public var isNone: Bool { slot == .max }
}
