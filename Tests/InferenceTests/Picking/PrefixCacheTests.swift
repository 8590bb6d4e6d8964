// Proves the index of prompts: the longest run, its bound, forgetting, many holders, and its memory.

import BasicContainers
import Kernel
import Testing

@testable import Inference

@Suite struct PrefixCacheTests {
    private func chain(_ seed: UInt64, _ count: Int) -> [UInt64] {
        var random = RandomSource(seed: seed)
        return (0..<count).map { _ in random.next() }
    }

    private func runs(_ cache: inout PrefixCache, _ blocks: [UInt64], _ slots: Int) -> [Int] {
        _ = cache.match(blocks.span)
        return (0..<slots).map { Int(cache.runs[$0]) }
    }

    @Test func `each endpoint has the longest run from the start`() {
        var cache = PrefixCache(slotCapacity: 8, blocksPerSlot: 1_000, bytesMax: 1 << 20)
        let a = chain(1, 20)
        let b = Array(a[0..<7]) + chain(2, 10)
        cache.record(a.span, 0, matched: 0)
        cache.record(b.span, 1, matched: 0)
        cache.record(a.span.extracting(0..<3), 2, matched: 0)
        #expect(runs(&cache, a, 4) == [20, 7, 3, 0])
        #expect(runs(&cache, b, 4) == [7, 17, 3, 0])
        #expect(runs(&cache, chain(3, 5), 4) == [0, 0, 0, 0])
        #expect(runs(&cache, [], 4) == [0, 0, 0, 0])
        #expect(runs(&cache, a + chain(9, 100), 4) == [20, 7, 3, 0])
    }

    @Test
    func
        `behind the 32nd block a run is at most three blocks too short, and a whole prompt is whole`()
    {
        var cache = PrefixCache(slotCapacity: 8, blocksPerSlot: 10_000, bytesMax: 8 << 20)
        let all = chain(4, 300)
        for count in [1, 31, 32, 33, 34, 35, 36, 37, 100, 255, 256, 300] {
            cache.forget(0)
            cache.record(all.span.extracting(0..<count), 0, matched: 0)
            #expect(runs(&cache, Array(all[0..<count]), 1) == [min(256, count)])
            let longer = runs(&cache, Array(all[0..<count]) + chain(5, 60), 1)[0]
            let held = min(count, 256)
            #expect(longer <= held && longer >= (held <= 32 ? held : held - 3))
        }
    }

    @Test func `random prompts are found as a plain search finds them`() {
        var random = RandomSource(seed: 7)
        var cache = PrefixCache(slotCapacity: 16, blocksPerSlot: 100_000, bytesMax: 32 << 20)
        var held = [[Set<UInt64>]](repeating: [], count: 16)
        var prompts: [[UInt64]] = []
        for i in 0..<400 {
            var blocks = chain(UInt64(i) + 100, 1 + Int(random.next(below: 31)))
            if i > 0 && random.next(below: 3) > 0 {
                let other = prompts[Int(random.next(below: UInt32(prompts.count)))]
                let shared = Int(random.next(below: UInt32(other.count + 1)))
                blocks = Array((Array(other[0..<shared]) + blocks).prefix(32))
            }
            prompts.append(blocks)
            let found = runs(&cache, blocks, 16)
            for slot in 0..<16 {
                let wanted = blocks.prefix { block in held[slot].contains { $0.contains(block) } }
                #expect(found[slot] == wanted.count)
            }
            let slot = Int(random.next(below: 16))
            cache.record(blocks.span, slot, matched: found[slot])
            held[slot].append(Set(blocks))
        }
    }

    @Test func `an endpoint forgets what was used the longest time ago, and not before its bound`()
    {
        var cache = PrefixCache(slotCapacity: 8, blocksPerSlot: 160, bytesMax: 1 << 20)
        let first = chain(11, 20)
        cache.record(first.span, 0, matched: 0)
        for i in 0..<6 { cache.record(chain(UInt64(20 + i), 20).span, 0, matched: 0) }
        #expect(runs(&cache, first, 1) == [20])
        for i in 0..<2 { cache.record(chain(UInt64(40 + i), 20).span, 0, matched: 0) }
        #expect(runs(&cache, first, 1) == [0])
        // What is used again and again stays.
        cache.record(first.span, 0, matched: 0)
        for i in 0..<40 {
            cache.record(chain(UInt64(60 + i), 20).span, 0, matched: 0)
            let held = runs(&cache, first, 1)[0]
            #expect(held == 20)
            cache.record(first.span, 0, matched: held)
        }
    }

    @Test func `many endpoints hold the same blocks, and one of them forgets`() {
        var cache = PrefixCache(slotCapacity: 1_024, blocksPerSlot: 1_000, bytesMax: 64 << 20)
        let blocks = chain(3, 40)
        for slot in 0..<1_000 {
            cache.record(blocks.span.extracting(0..<(slot % 32 + 1)), slot, matched: 0)
        }
        cache.forget(500)
        let found = runs(&cache, blocks, 1_000)
        for slot in 0..<1_000 { #expect(found[slot] == (slot == 500 ? 0 : slot % 32 + 1)) }
    }

    @Test(arguments: [1, 8, 64, 1_024, 8_192])
    func `it keeps to its memory`(slots: Int) {
        let cache = PrefixCache(slotCapacity: slots, blocksPerSlot: 31_250, bytesMax: 64 << 20)
        #expect(cache.byteCount <= 64 << 20)
    }

    @Test func `a table that is far too small gives shorter runs and nothing worse`() {
        var cache = PrefixCache(slotCapacity: 32, blocksPerSlot: 31_250, bytesMax: 16 << 10)
        var random = RandomSource(seed: 5)
        for i in 0..<2_000 {
            let blocks = chain(UInt64(random.next(below: 50)), 64)
            let found = runs(&cache, blocks, 32)
            for run in found { #expect(run <= 64) }
            cache.record(blocks.span, i % 32, matched: found[i % 32])
        }
    }
}
