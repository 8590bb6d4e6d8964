import Kernel

/// A list through slots of a slab: its ends.
struct IndexList: BitwiseCopyable {
    var first: UInt32 = .max
    var last: UInt32 = .max

    var isEmpty: Bool { first == .max }
}

/// A slot's neighbours in one list.
struct Links: BitwiseCopyable {
    var previous: UInt32 = .max
    var next: UInt32 = .max
}

/// What can stand in several lists at once.
protocol Linked: BitwiseCopyable {
    associatedtype Place: RawRepresentable where Place.RawValue == Int
    subscript(place: Place) -> Links { get set }
}

extension IndexList {
    /// Puts a slot at the end.
    mutating func append<Node: Linked>(
        _ slot: UInt32, _ place: Node.Place, _ slab: inout Slab<Node>
    ) {
        slab[slot][place] = Links(previous: last, next: .max)
        if last == .max { first = slot } else { slab[last][place].next = slot }
        last = slot
    }

    /// Takes a slot out.
    mutating func remove<Node: Linked>(
        _ slot: UInt32, _ place: Node.Place, _ slab: inout Slab<Node>
    ) {
        let links = slab[slot][place]
        if links.previous == .max {
            precondition(first == slot, "Who has nobody before it is the first of its list.")
            first = links.next
        } else {
            slab[links.previous][place].next = links.next
        }
        if links.next == .max {
            last = links.previous
        } else {
            slab[links.next][place].previous = links.previous
        }
        slab[slot][place] = Links()
    }
}

extension IndexList {
    /// Puts a slot in front of another one.
    mutating func insert<Node: Linked>(
        _ slot: UInt32, before next: UInt32, _ place: Node.Place, _ slab: inout Slab<Node>
    ) {
        let previous = slab[next][place].previous
        slab[slot][place] = Links(previous: previous, next: next)
        slab[next][place].previous = slot
        if previous == .max { first = slot } else { slab[previous][place].next = slot }
    }
}
