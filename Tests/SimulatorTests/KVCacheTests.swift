// Proves that equal beginnings share blocks, that nothing is lost, and what gives way first; and that slots
// find the prompt that is most like what they hold.

import Testing

@testable import Simulator

@Suite struct KVCacheTests {
    /// A lease that must be possible, of a prompt that is computed at once.
    func lease(
        _ cache: inout KVCache, _ hashes: [UInt64], _ tokens: Int
    ) throws -> KVCache.Lease {
        let taken = cache.lease(hashes, tokens: tokens)
        var lease = try #require(taken)
        cache.publish(&lease, hashes, upTo: hashes.count)
        return lease
    }

    @Test func `an equal beginning is shared, and counted once`() throws {
        var cache = KVCache(blocks: 10, blockTokens: 16)
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

    @Test func `what is not computed yet is not found`() throws {
        var cache = KVCache(blocks: 10, blockTokens: 16)
        let taken = cache.lease([1, 2, 3], tokens: 48)
        var first = try #require(taken)
        cache.publish(&first, [1, 2, 3], upTo: 1)
        #expect(cache.usedCount == 3)
        let second = try lease(&cache, [1, 2, 3], 48)
        #expect(second.matched == 1, "The second block is still being computed.")
        #expect(cache.usedCount == 5)
        cache.publish(&first, [1, 2, 3], upTo: 3)
        cache.end(&first)
        #expect(cache.usedCount == 3 && cache.filledCount == 3, "The copies are gone.")
    }

    @Test func `an answer joins its prompt, as far as there is room`() throws {
        var cache = KVCache(blocks: 6, blockTokens: 16)
        var turn = try lease(&cache, [1, 2], 64)
        #expect(cache.usedCount == 4)
        cache.end(&turn, answer: [3, 4])
        #expect(cache.usedCount == 0 && cache.filledCount == 4)
        var next = try lease(&cache, [1, 2, 3, 4, 5], 80)
        #expect(next.matched == 4)
        cache.end(&next, answer: [6, 7, 8, 9, 10])
        #expect(cache.filledCount == 6)
        let last = try lease(&cache, [1, 2, 3, 4, 5], 80)
        #expect(last.matched == 5, "An answer never puts its own prompt out.")
    }

    @Test func `a slot keeps its last prompt, and the likest one is chosen`() throws {
        var slots = SlotCache(slots: 2, savedMax: 0)
        let one = Array<UInt64>(1...20)
        let two = Array<UInt64>(101...120)
        for (prompt, now) in [(one, 1), (two, 2)] {
            let place = slots.take(prompt)
            let taken = try #require(place)
            #expect(taken.matched == 0)
            slots.give(taken.slot, prompt, now: UInt64(now))
        }
        let place = slots.take(Array(one.prefix(15)) + [7, 7])
        let taken = try #require(place)
        #expect(taken.matched == 15)
        let other = slots.take(one)
        #expect(other?.matched == 0 && other?.slot != taken.slot, "The likest one is busy.")
        let none = slots.take(one)
        #expect(none == nil)
    }

    @Test(arguments: [(0, 0), (20, 20), (19, 0)])
    func `a prompt that its slot let go is kept in main memory`(
        _ savedMax: Int, _ matched: Int
    ) throws {
        var slots = SlotCache(slots: 1, savedMax: savedMax)
        let one = Array<UInt64>(1...20)
        let two = Array<UInt64>(101...110)
        for prompt in [one, two] {
            let place = slots.take(prompt)
            slots.give(try #require(place).slot, prompt, now: 1)
        }
        let place = slots.take(one)
        #expect(place?.matched == matched)
    }

    @Test func `a full cache takes no more, and changes nothing`() throws {
        var cache = KVCache(blocks: 4, blockTokens: 16)
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
        var cache = KVCache(blocks: 4, blockTokens: 16)
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
        var cache = KVCache(blocks: 50, blockTokens: 16)
        var open: [KVCache.Lease] = []
        var state: UInt64 = 7
        for step in 0..<5_000 {
            state = PromptHash.mix(state, UInt64(step))
            if state % 3 == 0, !open.isEmpty {
                var lease = open.remove(at: Int(state >> 8) % open.count)
                cache.end(&lease, answer: state % 2 == 0 ? [state, state &+ 1] : [])
            } else {
                let length = Int(state >> 16 % 6) % 6
                let start = state >> 32 % 8
                let hashes = (0..<length).map { start * 100 + UInt64($0) }
                if var lease = cache.lease(hashes, tokens: length * 16 + 8) {
                    cache.publish(&lease, hashes, upTo: Int(state >> 40) % (length + 1))
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
        let whole = PromptHash.chain(text.span, from: 0, blockTokens: 16)
        #expect(whole.blocks.count == 2 && Set(whole.blocks).count == 2)
        #expect(whole.wholeBytes == 128 && whole.last == whole.blocks[1])
        let shorter = PromptHash.chain(text.span.extracting(0..<130), from: 0, blockTokens: 16)
        #expect(shorter.blocks == whole.blocks && shorter.whole != whole.whole)
        var other = text
        other[3] = 0
        #expect(
            PromptHash.chain(other.span, from: 0, blockTokens: 16).blocks[1] != whole.blocks[1])
        #expect(PromptHash.chain(text.span, from: 1, blockTokens: 16).blocks != whole.blocks)
        // What goes on from the last whole block comes to the same as the whole text.
        let rest = PromptHash.chain(
            text.span.extracting(64..<160), from: whole.blocks[0], blockTokens: 16)
        #expect(rest.blocks == [whole.blocks[1]] && rest.whole == whole.whole)
        let tokens = PromptHash.chain(text.span, from: 0, blockTokens: 1)
        #expect(tokens.blocks.count == 40)
        #expect(PromptHash.shared(tokens.blocks, Array(tokens.blocks.prefix(7)) + [1, 2]) == 7)
        #expect(PromptHash.shared(tokens.blocks, []) == 0)
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
