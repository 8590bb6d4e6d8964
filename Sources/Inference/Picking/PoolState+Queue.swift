import BasicContainers
import Kernel

extension PoolState {
    /// Waiters that are looked at before a model's queue is left for now.
    private static var lookLimit: Int { 256 }

    /// Puts a request into the queue and gives what there is to whose turn it is, who may be the same.
    mutating func wait(
        _ request: PickRequest, _ prefix: Span<UInt64>, _ model: Int, _ now: UInt64
    ) -> PickOutcome {
        if queue.isFull {
            let other = queue.last(below: request.priority)
            if other == .max || queue.waiters.isFull { return rejected(.queueFull, model) }
            queue.reject(other, .evicted)
        }
        let id = queue.enter(
            request, prefix, model: model, now: now,
            deadline: now &+ configuration.queueDeadlineMilliseconds &* 1_000_000)
        grant(model, now)
        if queue.waiters[id].phase == .granted, let lease = queue.end(id) {
            return .chosen(lease)
        }
        return .waiting(Ticket(slot: id))
    }

    /// Takes the lease that a grant told of; nil when it has ended or was never given.
    public mutating func claim(_ ticket: Ticket, now: UInt64) -> Lease? {
        guard queue.waiters.contains(ticket.slot), queue.waiters[ticket.slot].phase == .granted
        else { return nil }
        guard let lease = queue.end(ticket.slot), leases.contains(lease.id.slot) else { return nil }
        return lease
    }

    /// The asker wants nothing more; a lease that was granted meanwhile goes back.
    public mutating func cancel(_ ticket: Ticket, now: UInt64) {
        guard queue.waiters.contains(ticket.slot) else { return }
        if let lease = queue.end(ticket.slot), leases.contains(lease.id.slot) {
            release(lease.id.slot, .cancelled, now)
        }
    }

    /// The next asker that has to be told of a grant, or of a no; nil when all are.
    public mutating func nextGrant() -> Grant? {
        let slot = queue.news.first
        if slot == .max { return nil }
        let model = queue.waiters[slot].model
        return queue.nextNews(retryAfter: retryAfter(.deadline, model))
    }

    /// Ends what has waited too long, grants that nobody claims and leases that nobody renews, and looks for room.
    ///
    /// To be called a few times a second: what becomes possible by time alone is seen here.
    public mutating func sweep(now: UInt64) {
        while !queue.byClaim.isEmpty {
            let slot = queue.byClaim.first
            if queue.waiters[slot].deadline > now { break }
            cancel(Ticket(slot: queue.waiters.id(of: slot)), now: now)
        }
        while !leaseTimes.isEmpty {
            let slot = leaseTimes.first
            if leases[slot].deadline > now { break }
            release(leases.id(of: slot), .cancelled, now)
        }
        while !queue.byDeadline.isEmpty {
            let slot = queue.byDeadline.first
            if queue.waiters[slot].deadline > now { break }
            queue.reject(slot, .deadline)
        }
        grantAll(now)
    }

    /// How many requests wait.
    public var waitingCount: Int { queue.count }

    /// How many leases there are.
    public var leaseCount: Int { leases.count }

    // MARK: - Granting

    /// Gives what there is to those who wait for a model.
    mutating func grant(_ model: Int, _ now: UInt64) {
        while queue.models[model].count > 0 && grantOne(model, now) {}
    }

    /// Gives what there is to all who wait, the highest priority first.
    mutating func grantAll(_ now: UInt64) {
        if queue.count == 0 { return }
        for i in 0..<queue.active.count { exhausted[Int(queue.active[i])] = false }
        while queue.active.count > 0 {
            let count = queue.active.count
            let start = Int(random.next(below: UInt32(count)))
            var best = -1
            var priority = Int32.min
            for i in 0..<count {
                let model = Int(queue.active[(start + i) % count])
                if exhausted[model] { continue }
                let own = queue.highestPriority(model)
                if best < 0 || own > priority {
                    best = model
                    priority = own
                }
            }
            if best < 0 { return }
            if !grantOne(best, now) { exhausted[best] = true }
        }
    }

    /// Gives one lease to the first in turn whom some endpoint can take; false when there is none.
    private mutating func grantOne(_ model: Int, _ now: UInt64) -> Bool {
        var slot = queue.first(model)
        var looked = 0
        // Options for which no endpoint has room: who has the same need not be tried.
        var full = EndpointList<8>()
        while slot != .max && looked < Self.lookLimit {
            looked += 1
            let options = queue.waiters[slot].request.options
            let isRestricted = queue.waiters[slot].request.isRestricted
            if isRestricted || !full.contains(options) {
                if grant(to: slot, model, now) { return true }
                if queue.models[model].specialCount == 0 { return false }
                if !isRestricted { full.append(options) }
            }
            slot = queue.next(after: slot)
        }
        return false
    }

    private mutating func grant(to slot: UInt32, _ model: Int, _ now: UInt64) -> Bool {
        var blocks = RigidArray<UInt64>(capacity: 0)
        swap(&blocks, &waiterBlocks)
        defer { swap(&blocks, &waiterBlocks) }
        queue.copyBlocks(of: slot, to: &blocks)
        let request = queue.waiters[slot].request
        let placement = place(request, blocks.span, model, now)
        guard placement.verdict == .chosen else { return false }
        let waited = now &- queue.waiters[slot].enteredAt
        let lease = makeLease(placement, request, blocks.span, model, now, waited: waited)
        queue.grant(
            slot, lease, claimBy: now &+ configuration.claimMilliseconds &* 1_000_000)
        return true
    }
}
