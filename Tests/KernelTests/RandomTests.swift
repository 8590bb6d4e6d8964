// Seeds decide numbers, bounds hold, and every byte is filled.
import BasicContainers
import Kernel
import Testing

struct RandomTests {
    @Test func `the generator is xoshiro256** seeded by SplitMix64`() {
        var source = RandomSource(seed: 1_234_567)
        var model = Model(seed: 1_234_567)
        for _ in 0..<1000 { #expect(source.next() == model.next()) }
    }

    @Test func `another seed gives other numbers`() {
        var one = RandomSource(seed: 1)
        var two = RandomSource(seed: 2)
        #expect(one.next() != two.next())
        var system = RandomSource()
        var another = RandomSource()
        #expect(system.next() != another.next())
        #expect(Random.next64() != Random.next64())
    }

    @Test(arguments: [1, 2, 3, 10, 1000] as [UInt32])
    func `numbers below a bound are below it and reach all of it`(bound: UInt32) {
        var source = RandomSource(seed: 9)
        var seen: Set<UInt32> = []
        for _ in 0..<20_000 { seen.insert(source.next(below: bound)) }
        #expect(seen.count == Int(bound))
        #expect(seen.max() == bound - 1)
    }

    @Test(arguments: [0, 1, 7, 8, 9, 1000])
    func `the whole room is filled`(count: Int) {
        var source = RandomSource(seed: 5)
        var own = RigidArray<UInt8>(capacity: count)
        own.edit { source.fill(&$0) }
        var system = RigidArray<UInt8>(capacity: count)
        system.edit { Random.fill(&$0) }
        #expect(own.count == count && system.count == count)
        if count == 1000 {
            #expect(Set(array(own.span)).count > 200)
            #expect(Set(array(system.span)).count > 200)
        }
    }
}

/// The reference algorithm, spelled out again.
private struct Model {
    var state: [UInt64] = []

    init(seed: UInt64) {
        var word = seed
        for _ in 0..<4 {
            word &+= 0x9e37_79b9_7f4a_7c15
            var mixed = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
            state.append(mixed ^ (mixed >> 31))
        }
    }

    mutating func next() -> UInt64 {
        func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
            value << count | value >> (64 - count)
        }
        let result = rotate(state[1] &* 5, 7) &* 9
        let shifted = state[1] << 17
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotate(state[3], 45)
        return result
    }
}
