// Proves that equal beginnings share blocks, that nothing is lost, and what gives way first.

import Testing

@testable import Simulator

@Suite struct KVCacheTests {
    /// A lease that must be possible.
    func lease(
        _ cache: inout KVCache, _ hashes: [UInt64], _ tokens: Int
    ) throws -> KVCache.Lease {
        let lease = cache.lease(hashes, tokens: tokens)
        return try #require(lease)
    }

    @Test func `an equal beginning is shared, and counted once`() throws {
        var cache = KVCache(tokens: 160)
        var first = try lease(&cache, [1, 2, 3], 50)
        #expect(first.matched == 0 && first.blocks == 4 && cache.usedCount == 4)
        var second = try lease(&cache, [1, 2, 9], 48)
        #expect(second.matched == 2 && cache.usedCount == 5)
        cache.end(&first)
        #expect(cache.usedCount == 3)
        cache.end(&second)
        #expect(cache.usedCount == 0)
        #expect(cache.filledCount == 4, "Four known blocks stay.")
        let third = try lease(&cache, [1, 2, 3], 48)
        #expect(third.matched == 3)
    }

    @Test func `a full cache takes no more, and changes nothing`() throws {
        var cache = KVCache(tokens: 64)
        var held = try lease(&cache, [1, 2], 48)
        let refused = cache.lease([1, 3], tokens: 48)
        #expect(refused == nil)
        #expect(cache.usedCount == 3)
        let fits = cache.extend(&held, tokens: 64)
        #expect(fits)
        let fitsMore = cache.extend(&held, tokens: 65)
        #expect(!fitsMore)
        #expect(cache.usage == 1)
        cache.end(&held)
        #expect(cache.usage == 0)
    }

    @Test func `the least recently used gives way, the end of a prompt first`() throws {
        var cache = KVCache(tokens: 64)
        var old = try lease(&cache, [1, 2], 32)
        cache.end(&old)
        var new = try lease(&cache, [7, 8], 32)
        cache.end(&new)
        #expect(cache.filledCount == 4)
        var third = try lease(&cache, [9], 16)
        cache.end(&third)
        var again = try lease(&cache, [1, 2], 32)
        #expect(again.matched == 1, "The second block of the oldest prompt went.")
        cache.end(&again)
    }

    @Test func `a thousand leases leave nothing behind`() throws {
        var cache = KVCache(tokens: 16 * 50)
        var open: [KVCache.Lease] = []
        var state: UInt64 = 7
        for step in 0..<5_000 {
            state = PromptHash.mix(state, UInt64(step))
            if state % 3 == 0, !open.isEmpty {
                var lease = open.remove(at: Int(state >> 8) % open.count)
                cache.end(&lease)
            } else {
                let length = Int(state >> 16 % 6) % 6
                let start = state >> 32 % 8
                let hashes = (0..<length).map { start * 100 + UInt64($0) }
                if var lease = cache.lease(hashes, tokens: length * 16 + 8) {
                    _ = cache.extend(&lease, tokens: length * 16 + 40)
                    open.append(lease)
                }
            }
            #expect(cache.filledCount <= cache.blockCount)
        }
        for var lease in open { cache.end(&lease) }
        #expect(cache.usedCount == 0)
    }

    @Test func `hashes name a block with all before it`() {
        let text = Array(String(repeating: "abcdefgh", count: 20).utf8)
        let whole = PromptHash.blocks(text.span, from: 0, withTail: false)
        #expect(whole.blocks.count == 2 && Set(whole.blocks).count == 2)
        let shorter = PromptHash.blocks(text.span.extracting(0..<130), from: 0, withTail: true)
        #expect(shorter.blocks.count == 3)
        #expect(Array(shorter.blocks.prefix(2)) == whole.blocks)
        var other = text
        other[3] = 0
        #expect(
            PromptHash.blocks(other.span, from: 0, withTail: false).blocks[1] != whole.blocks[1])
        #expect(PromptHash.blocks(text.span, from: 1, withTail: false).blocks != whole.blocks)
    }

    @Test func `an agenda gives what is due, the earliest first`() {
        var agenda = Agenda<Int>()
        let times = (0..<200).map { UInt64($0 * 7_919 % 101) }
        for (index, time) in times.enumerated() { agenda.add(index, at: time) }
        var last = (time: UInt64(0), index: -1)
        for now in 0..<101 as Range<UInt64> {
            while let index = agenda.popDue(now: now) {
                #expect(times[index] <= now)
                #expect((last.time, last.index) < (times[index], index))
                last = (times[index], index)
            }
        }
        #expect(agenda.nextAt == nil)
    }
}
