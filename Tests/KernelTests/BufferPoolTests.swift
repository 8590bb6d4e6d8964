// Pooled buffers have three sizes, stay warm in bounds, and are paid for.
import Kernel
import Testing

struct BufferPoolTests {
    @Test(arguments: [
        (0, 4096), (1, 4096), (4096, 4096), (4097, 16_384), (16_384, 16_384), (16_385, 65_536),
        (65_536, 65_536), (65_537, 69_632), (1_000_000, 1_003_520),
    ])
    func `a buffer has the next size`(wanted: Int, given: Int) throws {
        var pool = BufferPool(budget: nil)
        guard let buffer = pool.take(capacity: wanted) else { throw Unexpected() }
        #expect(buffer.capacity == given)
        check(buffer.isEmpty)
        #expect(pool.bytesInUse == given)
        pool.give(buffer)
        #expect(pool.bytesInUse == 0)
        #expect(pool.bytesWarm == (given <= 65_536 ? given : 0))
    }

    @Test func `a buffer that came back is empty when it is used again`() throws {
        var pool = BufferPool(budget: nil)
        guard var buffer = pool.take(capacity: 4096) else { throw Unexpected() }
        #expect(buffer.append(pattern(4096).span) == 4096)
        pool.give(buffer)
        guard var again = pool.take(capacity: 10) else { throw Unexpected() }
        #expect(pool.bytesWarm == 0)
        check(again.isEmpty)
        #expect(again.append(pattern(4096).span) == 4096)
        #expect(array(again.span) == pattern(4096))
        pool.give(again)
    }

    @Test func `only so much is kept warm`() throws {
        var pool = BufferPool(budget: nil)
        var taken: [Int] = []
        var buffers = Slab<Buffer>(capacity: 1000)
        for _ in 0..<300 {
            guard let buffer = pool.take(capacity: 4096), let id = buffers.insert(buffer) else {
                throw Unexpected()
            }
            taken.append(Int(id.slot))
        }
        for slot in taken { pool.give(buffers.remove(slot: UInt32(slot))) }
        #expect(pool.bytesWarm == BufferPool.warmBytesMax)
        #expect(pool.bytesInUse == 0)
    }

    @Test func `the budget is charged in pieces and bounds what is taken`() throws {
        let budget = Budget(limit: 300 << 10)
        var pool = BufferPool(budget: budget)
        guard let first = pool.take(capacity: 4096) else { throw Unexpected() }
        #expect(budget.used == BufferPool.leaseBytes)
        guard let second = pool.take(capacity: 250 << 10) else { throw Unexpected() }
        #expect(budget.used == 254 << 10 || budget.used == 256 << 10)
        guard let third = pool.take(capacity: 16 << 10) else { throw Unexpected() }
        #expect(pool.bytesInUse <= budget.used && budget.used <= budget.limit)
        if let more = pool.take(capacity: 32 << 10) {
            Issue.record("The budget was spent.")
            pool.give(more)
        }
        pool.give(first)
        pool.give(second)
        pool.give(third)
        #expect(pool.bytesInUse == 0)
    }

    @Test func `warm buffers make room for other sizes`() throws {
        let budget = Budget(limit: 128 << 10)
        var pool = BufferPool(budget: budget)
        guard let first = pool.take(capacity: 64 << 10) else { throw Unexpected() }
        guard let second = pool.take(capacity: 64 << 10) else { throw Unexpected() }
        pool.give(first)
        pool.give(second)
        #expect(pool.bytesWarm == 128 << 10)
        guard let large = pool.take(capacity: 100 << 10) else { throw Unexpected() }
        #expect(pool.bytesWarm == 0)
        pool.give(large)
    }

    @Test func `what is held has a budget of its own, whatever its size`() throws {
        let budget = Budget(limit: 512 << 10)
        let held = Budget(limit: 300 << 10)
        do {
            var pool = BufferPool(budget: budget, heldBudget: held)
            guard let large = pool.takeHeld(capacity: 150 << 10) else { throw Unexpected() }
            #expect(large.capacity >= 150 << 10)
            #expect(held.used == BufferPool.leaseBytes && budget.used == 0)
            #expect(pool.bytesHeld == 152 << 10 && pool.bytesInUse == 0)
            guard let small = pool.takeHeld(capacity: 4000) else { throw Unexpected() }
            #expect(small.capacity == 4095 && pool.bytesHeld == 156 << 10)
            if let more = pool.takeHeld(capacity: 150 << 10) {
                Issue.record("The budget of what is held was spent.")
                pool.give(more)
            }
            // The others go on, and are not asked for it.
            guard let other = pool.take(capacity: 64 << 10) else { throw Unexpected() }
            #expect(budget.used == BufferPool.leaseBytes && pool.bytesInUse == 64 << 10)
            check(!BufferPool.isHeld(other))
            check(BufferPool.isHeld(small))
            pool.give(large)
            pool.give(small)
            #expect(pool.bytesHeld == 0 && pool.bytesInUse == 64 << 10)
            // Its memory stays warm where it is paid for, and is of use to both.
            #expect(pool.bytesWarm == 4 << 10)
            guard let again = pool.takeHeld(capacity: 4095) else { throw Unexpected() }
            #expect(pool.bytesWarm == 0 && pool.bytesHeld == 4 << 10)
            pool.give(again)
            pool.give(other)
        }
        #expect(budget.used == 0 && held.used == 0)
    }

    @Test func `what is held grows in its place, without a second one beside it`() throws {
        let held = Budget(limit: 48 << 20)
        do {
            var pool = BufferPool(budget: nil, heldBudget: held)
            var buffer = Buffer()
            let piece = (0..<(64 << 10)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            // More than half of the budget, with a part that was read before.
            for number in 0..<(35 << 4) {
                #expect(pool.hold(piece.span, in: &buffer), "piece \(number)")
                if number == 3 { buffer.consume(1000) }
            }
            let count = (35 << 20) - 1000
            #expect(buffer.count == count && pool.bytesHeld <= 45 << 20)
            #expect(
                buffer.span[0] == piece[1000] && buffer.span[count - 1] == piece[(64 << 10) - 1])
            #expect(buffer.span[count / 2] == piece[(count / 2 + 1000) & 0xFFFF])
            // Then it is spent, and what was held stays.
            var taken = 0
            while pool.hold(piece.span, in: &buffer) { taken += piece.count }
            #expect(taken > 5 << 20 && taken <= 13 << 20 && buffer.count == count + taken)
            pool.reclaim(&buffer)
            #expect(pool.bytesHeld == 0)
        }
        #expect(held.used == 0)
    }

    @Test func `room for what is expected is made at once, but not for a promise alone`() throws {
        var pool = BufferPool(budget: nil)
        var buffer = Buffer()
        let piece = (0..<(80 << 10)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(pool.hold(piece.span, in: &buffer, expected: 220_048))
        #expect(buffer.capacity >= 220_048 && pool.bytesHeld < 230_000)
        #expect(buffer.roomBehind == buffer.capacity - piece.count)
        #expect(
            buffer.count == piece.count && buffer.span[piece.count - 1] == piece[piece.count - 1])
        // What was expected is no limit.
        #expect(pool.hold(piece.span, in: &buffer, expected: 220_048))
        #expect(pool.hold(piece.span, in: &buffer, expected: 220_048))
        #expect(buffer.count == 3 * piece.count && buffer.span[2 * piece.count] == piece[0])
        pool.reclaim(&buffer)
        while pool.bytesWarmHeld > 0 { pool.cool() }
        // A few bytes of very many.
        #expect(pool.hold(piece.span.extracting(0..<1000), in: &buffer, expected: 1 << 30))
        #expect(pool.bytesHeld <= 4096)
        #expect(pool.hold(piece.span, in: &buffer, expected: 1 << 30))
        #expect(pool.bytesHeld <= 4 * (piece.count + 1000) + 4096)
        // Much more of them, where it grows in its place.
        for _ in 0..<10 { #expect(pool.hold(piece.span, in: &buffer, expected: 1 << 30)) }
        #expect(buffer.count == 11 * piece.count + 1000)
        #expect(pool.bytesHeld <= 4 * buffer.count + 4096)
        pool.reclaim(&buffer)
        #expect(pool.bytesHeld == 0)
    }

    @Test func `large buffers of what was held stay warm for a while`() throws {
        let held = Budget(limit: 512 << 20)
        do {
            var pool = BufferPool(budget: nil, heldBudget: held)
            guard let first = pool.takeHeld(capacity: 1 << 20) else { throw Unexpected() }
            let size = first.capacity + 1
            pool.give(first)
            #expect(pool.bytesHeld == 0 && pool.bytesWarmHeld == size && held.used >= size)
            // One that is much too large is not used.
            guard let small = pool.takeHeld(capacity: 400 << 10) else { throw Unexpected() }
            #expect(pool.bytesWarmHeld == size)
            guard var again = pool.takeHeld(capacity: 900 << 10) else { throw Unexpected() }
            check(again.isEmpty)
            #expect(again.capacity == size - 1 && pool.bytesWarmHeld == 0)
            #expect(pool.bytesHeld == size + small.capacity + 1)
            #expect(again.append(pattern(4096).span) == 4096)
            pool.give(small)
            pool.give(again)
            #expect(pool.bytesHeld == 0 && pool.bytesWarmHeld > size)
            // Of those that are used the oldest goes, then all that nobody used.
            pool.cool()
            #expect(pool.bytesWarmHeld == size)
            pool.cool()
            #expect(pool.bytesWarmHeld == 0 && held.used <= BufferPool.leaseBytes)
        }
        #expect(held.used == 0)
    }

    @Test func `warm memory is bounded, and makes room for what is held`() throws {
        let held = Budget(limit: 512 << 20)
        do {
            var pool = BufferPool(budget: nil, heldBudget: held)
            var buffers = Slab<Buffer>(capacity: 100)
            for round in 0..<2 {
                for _ in 0..<40 {
                    guard let buffer = pool.takeHeld(capacity: 1_000_000),
                        buffers.insert(buffer) != nil
                    else { throw Unexpected() }
                }
                #expect(pool.bytesWarmHeld == 0 && pool.bytesHeld > 40_000_000, "round \(round)")
                for slot in 0..<40 { pool.give(buffers.remove(slot: UInt32(slot))) }
                #expect(pool.bytesHeld == 0 && pool.bytesWarmHeld > 7_000_000)
                #expect(pool.bytesWarmHeld <= 8 << 20 && held.used <= 9 << 20)
            }
            // All of the budget can be had: what is warm goes for it.
            guard let most = pool.takeHeld(capacity: (511 << 20) + (600 << 10)) else {
                throw Unexpected()
            }
            #expect(pool.bytesWarmHeld == 0)
            pool.give(most)
            #expect(pool.bytesWarmHeld == 0, "Very large ones do not stay.")
        }
        #expect(held.used == 0)
        // Of a small budget nothing is kept.
        var pool = BufferPool(budget: nil, heldBudget: Budget(limit: 8 << 20))
        guard let buffer = pool.takeHeld(capacity: 1 << 20) else { throw Unexpected() }
        pool.give(buffer)
        #expect(pool.bytesWarmHeld == 0)
    }

    @Test func `who is refused has nothing warm left, and pays for nothing`() throws {
        let held = Budget(limit: 256 << 20)
        var first = BufferPool(budget: nil, heldBudget: held)
        var second = BufferPool(budget: nil, heldBudget: held)
        guard let warm = first.takeHeld(capacity: 2_000_000) else { throw Unexpected() }
        first.give(warm)
        #expect(first.bytesWarmHeld > 0)
        guard let most = second.takeHeld(capacity: 250 << 20) else { throw Unexpected() }
        if let more = first.takeHeld(capacity: 20 << 20) {
            Issue.record("The budget was spent.")
            first.give(more)
        }
        #expect(first.bytesWarmHeld == 0 && held.used <= (251 << 20) + 2 * BufferPool.leaseBytes)
        second.give(most)
    }

    @Test(arguments: [0, 1 << 30])
    func `what comes in small pieces is copied a few times only`(expected: Int) throws {
        let held = Budget(limit: 64 << 20)
        var pool = BufferPool(budget: nil, heldBudget: held)
        var buffer = Buffer()
        var (made, capacity) = (0, 0)
        for number in 0..<4096 {
            #expect(pool.hold(pattern(1024).span, in: &buffer, expected: expected), "\(number)")
            if buffer.capacity != capacity { made += 1 }
            capacity = buffer.capacity
        }
        #expect(buffer.count == 4 << 20 && made < 25, "\(made) buffers")
        pool.reclaim(&buffer)
    }

    @Test func `where there is no room for what is expected there is some for what came`() throws {
        let held = Budget(limit: 1 << 20)
        var pool = BufferPool(budget: nil, heldBudget: held)
        var buffer = Buffer()
        let piece = (0..<(300 << 10)).map { UInt8(truncatingIfNeeded: $0) }
        #expect(pool.hold(piece.span, in: &buffer, expected: 1 << 30))
        #expect(pool.hold(piece.span, in: &buffer, expected: 1 << 30))
        #expect(buffer.count == 2 * piece.count)
        pool.reclaim(&buffer)
    }

    @Test func `what is expected has its place at once where one is warm`() throws {
        var pool = BufferPool(budget: nil)
        guard let warm = pool.takeHeld(capacity: 1_000_100) else { throw Unexpected() }
        pool.give(warm)
        var buffer = Buffer()
        #expect(pool.hold(pattern(4096).span, in: &buffer, expected: 1_000_000))
        #expect(buffer.capacity >= 1_000_000 && pool.bytesWarmHeld == 0)
        #expect(array(buffer.span) == pattern(4096))
        pool.reclaim(&buffer)
        #expect(pool.bytesHeld == 0 && pool.bytesWarmHeld > 0)
    }

    @Test func `what is not needed goes back, and all of it at the end`() throws {
        let budget = Budget(limit: 64 << 20)
        do {
            var pool = BufferPool(budget: budget)
            guard let large = pool.take(capacity: 8 << 20) else { throw Unexpected() }
            #expect(budget.used == 8 << 20)
            pool.give(large)
            #expect(budget.used == BufferPool.leaseBytes)
            guard let small = pool.take(capacity: 100) else { throw Unexpected() }
            pool.give(small)
        }
        #expect(budget.used == 0)
    }
}
