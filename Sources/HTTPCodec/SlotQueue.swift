import BasicContainers

/// Slots in a row, each at most once.
struct SlotQueue: ~Copyable {
    /// Marks a slot that is not in the row.
    private static var absent: UInt32 { .max }
    /// Marks the end of the row.
    private static var end: UInt32 { .max - 1 }

    /// What follows each slot.
    private var next = UniqueArray<UInt32>()
    private var front = SlotQueue.end
    private var back = SlotQueue.end

    var isEmpty: Bool { front == Self.end }

    /// The slot that is first in the row.
    var first: Int? { isEmpty ? nil : Int(front) }

    func contains(_ slot: Int) -> Bool { slot < next.count && next[slot] != Self.absent }

    /// Puts a slot at the end of the row, if it is not in it.
    mutating func append(_ slot: Int) {
        if contains(slot) { return }
        while next.count <= slot { next.append(Self.absent) }
        next[slot] = Self.end
        if isEmpty {
            front = UInt32(slot)
        } else {
            next[Int(back)] = UInt32(slot)
        }
        back = UInt32(slot)
    }

    /// Takes the first slot out of the row.
    mutating func popFirst() -> Int? {
        guard let slot = first else { return nil }
        front = next[slot]
        next[slot] = Self.absent
        return slot
    }
}
