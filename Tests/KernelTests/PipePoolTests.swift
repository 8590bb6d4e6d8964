// Pipes are lent, used again only when empty, and freed when nobody needs them.
import BasicContainers
import Kernel
import Testing

/// A pipe that must be there.
private func lend(_ pool: inout PipePool) throws -> UInt32 {
    guard let slot = pool.take() else { throw Unexpected() }
    return slot
}

struct PipePoolTests {
    @Test func `a pipe that comes back empty is lent again, one with bytes is not`() throws {
        let source = try Connection.open()
        var pool = PipePool(budget: nil, countMax: 4)
        let first = try lend(&pool)
        pool.give(first)
        check(pool.take() == first && pool.count == 1)
        let bytes = pattern(100)
        check(source.client.write(bytes.span) == .bytes(100))
        waitUntil(source.server.raw, [.readable])
        check(pool.fill(first, from: source.server, atMost: 60) == .bytes(60))
        check(pool.count(first) == 60 && !pool.isEmpty(first))
        pool.give(first)
        check(pool.count == 0 && pool.bytesInUse == 0)
        // What stood in it is gone with it.
        let second = try lend(&pool)
        check(pool.isEmpty(second))
        check(pool.fill(second, from: source.server, atMost: 100) == .bytes(40))
        pool.give(second)
    }

    @Test func `there are no more than it may have`() throws {
        var pool = PipePool(budget: nil, countMax: 2)
        let first = try lend(&pool)
        let second = try lend(&pool)
        check(pool.take() == nil && pool.count == 2)
        pool.give(first)
        check(pool.take() == first)
        pool.give(first)
        pool.give(second)
        var none = PipePool(budget: nil, countMax: 0)
        check(none.take() == nil)
    }

    @Test func `what they can hold comes out of the budget and goes back`() throws {
        let budget = Budget(limit: PipePool.pipeBytes * 3 / 2)
        do {
            var pool = PipePool(budget: budget, countMax: 4)
            let first = try lend(&pool)
            check(budget.used == pool.bytesInUse && budget.used > 0)
            if budget.used == PipePool.pipeBytes { check(pool.take() == nil) }
            pool.give(first)
            check(budget.used > 0 && pool.bytesInUse == 0)
            // The pool was refused one: it does not ask again before it is trimmed.
            pool.trim()
            check(pool.take() == first)
            pool.give(first)
        }
        check(budget.used == 0)
    }

    @Test func `only those that were not needed for a while are freed`() throws {
        var pool = PipePool(budget: nil, countMax: 4)
        let lent = [try lend(&pool), try lend(&pool), try lend(&pool)]
        for slot in lent { pool.give(slot) }
        pool.trim()
        check(pool.count == 3)
        let again = try lend(&pool)
        pool.give(again)
        pool.trim()
        check(pool.count == 1)
        pool.trim()
        check(pool.count == 0 && !pool.needsTrim)
    }

    @Test func `descriptors that others need are given up, but for pipes in use`() throws {
        var pool = PipePool(budget: nil, countMax: 4)
        let lent = try lend(&pool)
        let idle = try lend(&pool)
        pool.give(idle)
        pool.yieldDescriptors()
        check(pool.count == 1 && pool.take() == nil && pool.needsTrim)
        pool.trim()
        check(pool.take() != nil)
        pool.give(lent)
    }

    @Test func `what is in a pipe goes behind a buffer's bytes`() throws {
        let source = try Connection.open()
        var pool = BufferPool(budget: nil, pipesMax: 1)
        let pipe = try lend(&pool.pipes)
        let bytes = pattern(100_000)
        var sent = 0
        var filled = 0
        while filled < bytes.count {
            if sent < bytes.count,
                case .bytes(let more) = source.client.write(bytes.span.extracting(sent...))
            {
                sent += more
            }
            waitUntil(source.server.raw, [.readable])
            let result = pool.pipes.fill(
                pipe, from: source.server, atMost: bytes.count - filled)
            if case .bytes(let more) = result { filled += more }
        }
        var buffer = Buffer()
        check(pool.append([1, 2, 3].span, to: &buffer))
        check(pool.pour(pipe: pipe, into: &buffer))
        var got: [UInt8] = []
        for at in 0..<buffer.count { got.append(buffer.span[at]) }
        check(got == [1, 2, 3] + bytes)
        check(pool.pipes.count == 1 && pool.pipes.bytesInUse == 0)
        pool.reclaim(&buffer)
    }
}
