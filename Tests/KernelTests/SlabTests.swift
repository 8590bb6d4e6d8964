// Slots stay where they are, ids of ended lives find nobody, and every element is destroyed once.
import Testing

@testable import Kernel

struct SlabTests {
    @Test func `an element is found by its id until it is removed`() throws {
        var slab = Slab<Int>(capacity: 3)
        let id = try insert(41, into: &slab)
        slab[id] += 1
        #expect(slab[id] == 42)
        #expect(slab[id.slot] == 42)
        check(slab.contains(id))
        #expect(slab.id(of: id.slot) == id)
        #expect(slab.remove(id) == 42)
        check(!slab.contains(id))
        #expect(slab.remove(id) == nil)
        check(!slab.isOccupied(id.slot))
    }

    @Test func `a full slab takes no more until one is freed`() throws {
        var slab = Slab<Int>(capacity: 2)
        let first = try insert(1, into: &slab)
        _ = try insert(2, into: &slab)
        check(slab.isFull)
        #expect(slab.insert(3) == nil)
        #expect(slab.count == 2)
        #expect(slab.remove(first) == 1)
        #expect(try insert(4, into: &slab).slot == first.slot)
    }

    @Test func `the slot freed last is taken first, with another generation`() throws {
        var slab = Slab<Int>(capacity: 8)
        var ids: [SlotID] = []
        for value in 0..<4 { ids.append(try insert(value, into: &slab)) }
        #expect(ids.map(\.slot) == [0, 1, 2, 3])
        #expect(ids.allSatisfy { $0.generation == 1 })
        #expect(slab.remove(slot: 1) == 1)
        #expect(slab.remove(slot: 3) == 3)
        let third = try insert(30, into: &slab)
        let second = try insert(10, into: &slab)
        let fifth = try insert(40, into: &slab)
        #expect(third == SlotID(slot: 3, generation: 2))
        #expect(second == SlotID(slot: 1, generation: 2))
        #expect(fifth == SlotID(slot: 4, generation: 1))
        check(!slab.contains(ids[1]))
        #expect(slab.highWater == 5)
        let occupied = (0..<slab.highWater).filter { slab.isOccupied($0) }
        #expect(occupied == [0, 1, 2, 3, 4])
    }

    @Test func `generations go around without zero`() throws {
        var slab = Slab<Int>(capacity: 1)
        _ = slab.remove(try insert(1, into: &slab))
        // Sound: slot 0 was used; as if it had been used nearly 2^24 times.
        unsafe slab.header(0).pointee = Slab<Int>.free | 0xFF_FFFE << 32 | UInt64(UInt32.max)
        var generations: [UInt32] = []
        for value in 0..<4 {
            let id = try insert(value, into: &slab)
            generations.append(id.generation)
            #expect(slab.remove(id) == value)
        }
        #expect(generations == [0xFF_FFFE, 0xFF_FFFF, 1, 2])
    }

    @Test func `ids of another slab's slots are not contained`() {
        var slab = Slab<Int>(capacity: 2)
        _ = slab.insert(1)
        check(!slab.contains(.none))
        check(!slab.contains(SlotID(slot: 2, generation: 1)))
        check(!slab.contains(SlotID(slot: 1, generation: 0)))
        check(!slab.contains(SlotID(slot: 0, generation: 0)))
        check(!slab.contains(SlotID(slot: 0, generation: 2)))
        check(!slab.isOccupied(1))
        check(!slab.isOccupied(.max))
    }

    @Test func `an element can be made where it will stand`() throws {
        var slab = Slab<Int>(capacity: 2)
        let first = slab.insert(making: { 7 })
        let second = slab.insert(making: { 8 })
        #expect(first == SlotID(slot: 0, generation: 1))
        #expect(second == SlotID(slot: 1, generation: 1))
        var isMade = false
        let third = slab.insert(making: {
            isMade = true
            return 9
        })
        #expect(third == nil && !isMade)
        #expect(slab.remove(try #require(first)) == 7)
        #expect(slab.insert(making: { 10 }) == SlotID(slot: 0, generation: 2))
        #expect(slab[0 as UInt32] == 10 && slab[1 as UInt32] == 8)
        #expect(slab.count == 2)
    }

    @Test func `no id made by hand finds a free slot or one that was never used`() throws {
        var slab = Slab<Int>(capacity: 4)
        let first = try insert(1, into: &slab)
        let second = try insert(2, into: &slab)
        slab.destroy(first)
        slab.destroy(second)
        slab.destroy(second)
        #expect(slab.count == 0)
        // Links of the free list, and zeroes where nothing ever was, look like no id.
        for slot: UInt32 in [0, 1, 2, 3, 4, .max] {
            for generation: UInt32 in [0, 1, 2, 3, 0xFF_FFFF, .max] {
                check(!slab.contains(SlotID(slot: slot, generation: generation)))
            }
            check(!slab.isOccupied(slot))
        }
        #expect(slab.generation(of: 0) == 2)
        #expect(slab.generation(of: 3) == 0)
        #expect(try insert(3, into: &slab) == SlotID(slot: 1, generation: 2))
        #expect(try insert(4, into: &slab) == SlotID(slot: 0, generation: 2))
        #expect(try insert(5, into: &slab) == SlotID(slot: 2, generation: 1))
    }

    @Test func `elements that cannot be copied are moved in, changed and moved out`() throws {
        let counter = Counter()
        do {
            var slab = Slab<Owner>(capacity: 4)
            let first = try insert(Owner(counter, 1), into: &slab)
            let second = try insert(Owner(counter, 2), into: &slab)
            _ = slab.insert(Owner(counter, 3))
            slab[second].value = 20
            #expect(slab[second].value == 20)
            if let owner = slab.remove(first) { #expect(owner.value == 1) }
            #expect(counter.ended == [1])
            _ = slab.insert(Owner(counter, 4))
            _ = slab.insert(Owner(counter, 5))
            #expect(slab.insert(Owner(counter, 6)) == nil)
            #expect(counter.ended == [1, 6])
        }
        #expect(counter.ended.sorted() == [1, 3, 4, 5, 6, 20])
    }

    @Test func `a large slab costs nothing until it is used`() throws {
        var slab = Slab<Wide>(capacity: 100_000)
        let id = try insert(Wide(), into: &slab)
        slab[id].rows[15] = 7
        #expect(slab[id].rows[15] == 7)
        #expect(slab.capacity == 100_000)
    }

    @Test func `elements of any size and alignment keep to their own slots`() throws {
        var bytes = Slab<UInt8>(capacity: 5000)
        var wide = Slab<SIMD16<UInt32>>(capacity: 300)
        for value in 0..<5000 { _ = bytes.insert(UInt8(truncatingIfNeeded: value)) }
        for value in 0..<300 { _ = wide.insert(SIMD16(repeating: UInt32(value))) }
        #expect((0..<5000).allSatisfy { bytes[UInt32($0)] == UInt8(truncatingIfNeeded: $0) })
        #expect((0..<300).allSatisfy { wide[UInt32($0)] == SIMD16(repeating: UInt32($0)) })
    }

    @Test func `a removed slot cannot be looked at`() async {
        await #expect(processExitsWith: .failure) {
            var slab = Slab<Int>(capacity: 2)
            let id = slab.insert(1)!
            _ = slab.remove(id)
            _ = slab.insert(2)
            slab[id] += 1
        }
    }
}

/// Inserts where there must be room.
private func insert<Element: ~Copyable>(
    _ element: consuming Element, into slab: inout Slab<Element>
) throws -> SlotID {
    guard let id = slab.insert(element) else { throw Unexpected() }
    return id
}

private final class Counter {
    var ended: [Int] = []
}

private struct Owner: ~Copyable {
    let counter: Counter
    var value: Int

    init(_ counter: Counter, _ value: Int) {
        self.counter = counter
        self.value = value
    }

    deinit { counter.ended.append(value) }
}

private struct Wide {
    var rows: InlineArray<16, UInt64> = .init(repeating: 0)
}
