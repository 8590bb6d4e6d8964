/// What a readiness event or a timer belongs to: a kind, a slot and the slot's generation.
///
/// A slot that was freed and taken again has another generation, so a late event finds nobody.
@frozen
public struct Token: BitwiseCopyable, Hashable, Sendable {
    /// Kind in the upper 8 bits, generation in the next 24, slot in the lower 32.
    public let raw: UInt64

    @inlinable
    public init(raw: UInt64) { self.raw = raw }

    /// Packs the parts; only the lower 24 bits of the generation are kept.
    @inlinable
    public init(kind: UInt8, slot: UInt32, generation: UInt32) {
        raw = UInt64(kind) << 56 | UInt64(generation & 0xFF_FFFF) << 32 | UInt64(slot)
    }

    @inlinable
    public init(kind: UInt8, _ id: SlotID) { raw = UInt64(kind) << 56 | id.raw }

    @inlinable
    public var kind: UInt8 { UInt8(truncatingIfNeeded: raw >> 56) }

    @inlinable
    public var generation: UInt32 { UInt32(truncatingIfNeeded: raw >> 32) & 0xFF_FFFF }

    @inlinable
    public var slot: UInt32 { UInt32(truncatingIfNeeded: raw) }

    /// Slot and generation without the kind.
    @inlinable
    public var id: SlotID { SlotID(raw: raw & 0xFF_FFFF_FFFF_FFFF) }
}
