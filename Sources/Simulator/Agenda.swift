/// Times at which something happens, the earliest first (a binary heap).
///
/// Nothing is taken out before its time: an entry names a serial number, and one that its owner has
/// outlived is passed over when it comes out.
struct Agenda<Item> {
    private var entries: [(at: UInt64, order: UInt64, item: Item)] = []
    private var order: UInt64 = 0

    init() {}

    /// The earliest time; nil when there is none.
    var nextAt: UInt64? { entries.first?.at }

    /// Enters an item; those of one time come out in the order of their entering.
    mutating func add(_ item: Item, at time: UInt64) {
        order += 1
        entries.append((time, order, item))
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isEarlier(child, parent) else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    /// The earliest item that is due.
    mutating func popDue(now: UInt64) -> Item? { popTimed(now: now)?.item }

    /// The earliest item that is due, and since when.
    mutating func popTimed(now: UInt64) -> (at: UInt64, item: Item)? {
        guard let first = entries.first, first.at <= now else { return nil }
        let last = entries.count - 1
        if last > 0 { entries.swapAt(0, last) }
        entries.removeLast()
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < entries.count else { break }
            let right = left + 1
            let child = right < entries.count && isEarlier(right, left) ? right : left
            guard isEarlier(child, parent) else { break }
            entries.swapAt(child, parent)
            parent = child
        }
        return (first.at, first.item)
    }

    private func isEarlier(_ left: Int, _ right: Int) -> Bool {
        (entries[left].at, entries[left].order) < (entries[right].at, entries[right].order)
    }
}
