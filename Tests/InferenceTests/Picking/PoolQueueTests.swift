// Proves the queue: turns between flows, priorities, bounds, deadlines, grants and leases that end by themselves.

import Testing

@testable import Inference

@Suite struct PoolQueueTests {
    @Test func `flows take turns, a flow keeps its order, and priorities come first`() {
        var pool = PoolState.make(.ollama, 1) { $0.concurrencyPerModel = 1 }
        guard var running = pool.take(request(5), at: 1) else { return }
        // flow, priority
        let all: [(UInt64, Int32)] = [
            (1, 0), (1, 0), (1, 0), (1, 0), (2, 0), (3, 0), (2, 0), (9, 5), (8, 5), (9, 5),
        ]
        for (i, one) in all.enumerated() {
            #expect(
                pool.wait(
                    request(5, priority: one.1, flow: one.0, exchange: UInt64(i)), at: 2) != nil)
        }
        var order: [UInt64] = []
        for now in 3..<20 as Range<UInt64> {
            pool.finished(running.id, .cancelled, now: now)
            guard let grant = pool.nextGrant() else { break }
            #expect(pool.nextGrant() == nil)
            order.append(grant.asker.exchange)
            guard let next = pool.claim(grant.ticket, now: now) else { break }
            running = next
        }
        #expect(order == [7, 8, 9, 0, 4, 5, 1, 6, 2, 3])
        #expect(pool.isAtRest == true)
    }

    @Test func `a full queue refuses, or drops the last of a lower priority`() {
        var pool = PoolState.make(.ollama, 1) {
            $0.concurrencyPerModel = 1
            $0.queueLimit = 2
        }
        _ = pool.take(request(5), at: 1)
        let first = pool.wait(request(5, exchange: 1), at: 1)
        let second = pool.wait(request(5, exchange: 2), at: 1)
        #expect(pool.refusal(request(5, exchange: 3), at: 1) == .queueFull)
        #expect(pool.wait(request(5, priority: 1, exchange: 4), at: 1) != nil)
        let news = pool.nextGrant()
        #expect(news?.ticket == second && news?.rejection?.reason == .evicted)
        #expect(first != nil && pool.waitingCount == 2)
        #expect(RejectionReason.queueFull.status == 429 && RejectionReason.evicted.status == 429)
        #expect("\(RejectionReason.evicted.droppedReason)" == "evicted-queue-pressure")
        #expect(pool.refusal(request(5, priority: -1), at: 1) == .saturated)
        var hasty = request(5)
        hasty.mayWait = false
        #expect(pool.refusal(hasty, at: 1) == .saturated)
    }

    @Test func `who waits too long is told so`() {
        var pool = PoolState.make(.ollama, 1) {
            $0.concurrencyPerModel = 1
            $0.queueDeadlineMilliseconds = 100
        }
        guard let lease = pool.take(request(5), at: 0) else { return }
        let ticket = pool.wait(request(5), at: 0)
        pool.sweep(now: 99 * millisecond)
        #expect(pool.nextGrant() == nil)
        pool.sweep(now: 100 * millisecond)
        let news = pool.nextGrant()
        #expect(news?.ticket == ticket && news?.rejection?.reason == .deadline)
        #expect(RejectionReason.deadline.status == 503)
        #expect("\(RejectionReason.deadline.droppedReason)" == "rejected-ttl-expired")
        if let ticket {
            #expect(pool.claim(ticket, now: 101 * millisecond) == nil)
            pool.cancel(ticket, now: 101 * millisecond)
        }
        pool.finished(lease.id, .cancelled, now: 102 * millisecond)
        #expect(pool.isAtRest == true)
    }

    @Test func `a grant that is cancelled, or never claimed, goes to the next`() {
        var pool = PoolState.make(.ollama, 1) { $0.concurrencyPerModel = 1 }
        guard let lease = pool.take(request(5), at: 0) else { return }
        let tickets = (0..<3).compactMap { pool.wait(request(5, exchange: $0), at: 0) }
        pool.finished(lease.id, .cancelled, now: 1)
        #expect(pool.nextGrant()?.ticket == tickets[0])
        pool.cancel(tickets[0], now: 2)
        #expect(pool.claim(tickets[0], now: 2) == nil)
        #expect(pool.nextGrant()?.ticket == tickets[1])
        // The message is lost.
        pool.sweep(now: 6 * second)
        #expect(pool.nextGrant()?.ticket == tickets[2])
        #expect(pool.claim(tickets[1], now: 6 * second) == nil)
        guard let last = pool.claim(tickets[2], now: 6 * second) else { return }
        #expect(pool.claim(tickets[2], now: 6 * second) == nil)
        pool.finished(last.id, .cancelled, now: 7 * second)
        pool.finished(last.id, .cancelled, now: 7 * second)
        #expect(pool.isAtRest == true)
    }

    @Test func `a lease ends by itself unless it is renewed`() {
        var pool = PoolState.make(.ollama, 1) {
            $0.concurrencyPerModel = 1
            $0.leaseMilliseconds = 1_000
        }
        guard let lease = pool.take(request(5), at: 0) else { return }
        let ticket = pool.wait(request(5), at: 0)
        pool.renew(lease.id, now: 900 * millisecond)
        pool.sweep(now: 1_800 * millisecond)
        #expect(pool.nextGrant() == nil)
        pool.sweep(now: 1_900 * millisecond)
        #expect(pool.nextGrant()?.ticket == ticket)
        pool.renew(lease.id, now: 2_000 * millisecond)
        pool.started(lease.id, now: 2_000 * millisecond)
        pool.finished(lease.id, .done(RequestTimings()), now: 2_000 * millisecond)
        #expect(pool.leaseCount == 1)
    }

    @Test func `who may not go where there is room does not keep others from it`() {
        var pool = PoolState.make(.ollama, 2) { $0.concurrencyPerModel = 1 }
        guard let a = pool.take(request(5), at: 0) else { return }
        var bound = request(5, priority: 9)
        bound.hasSubset = true
        bound.subset.append(99)
        #expect(pool.refusal(bound, at: 0) == .noEndpoint)
        bound.subset.append(a.endpoint)
        #expect(pool.wait(bound, at: 0) != nil)
        guard let b = pool.take(request(6), at: 0) else {
            Issue.record("another model has room")
            return
        }
        #expect(b.endpoint != a.endpoint)
    }

    @Test
    func
        `with flow control requests wait while the pool is saturated, the highest priority leaves first`()
    {
        var pool = PoolState.make(.vllm, 2) { $0.queuesWhenSaturated = true }
        pool.load(0, waiting: 10, at: 1)
        pool.load(1, waiting: 10, at: 1)
        let low = pool.wait(request(1), at: 1)
        let high = pool.wait(request(2, priority: 3), at: 1)
        #expect(low != nil && high != nil)
        pool.load(0, waiting: 0, at: 2)
        #expect(pool.nextGrant() == nil)
        pool.load(1, waiting: 9, at: 3)
        #expect(pool.nextGrant()?.ticket == high)
        #expect(pool.nextGrant() == nil)
        pool.load(1, waiting: 0, at: 4)
        #expect(pool.nextGrant()?.ticket == low)
    }

    @Test func `who leaves a flow with many lines finds every line again`() {
        var pool = PoolState.make(.ollama, 1) {
            $0.concurrencyPerModel = 1
            $0.queueLimit = 500
        }
        guard let lease = pool.take(request(5), at: 0) else { return }
        var tickets: [Ticket] = []
        for i in 0..<500 as Range<UInt64> {
            if let ticket = pool.wait(request(5, flow: i % 250), at: 0) { tickets.append(ticket) }
        }
        #expect(tickets.count == 500)
        for i in stride(from: 0, to: 500, by: 3) { pool.cancel(tickets[i], now: 1) }
        for ticket in tickets { pool.cancel(ticket, now: 2) }
        pool.finished(lease.id, .cancelled, now: 3)
        #expect(pool.isAtRest == true)
    }
}
