// Proves that no order of events leaves a pool in a wrong state: workers whose messages come late, twice or never,
// clients that leave, endpoints that fail, come and go, from a seed that replays a failure.

import BasicContainers
import Kernel
import Testing

@testable import Inference

/// Workers around one pool, with events in random order.
private struct Simulation: ~Copyable {
    var pool: PoolState
    var random: RandomSource
    var now: UInt64 = 1
    let workerCount: UInt32
    /// Messages that are under way.
    var messages: [Grant] = []
    /// Askers that wait, and leases that run, as their workers see them.
    var waiting: [Ticket] = []
    var running: [(id: LeaseID, endpoint: UInt32, isStarted: Bool)] = []
    var nextExchange: UInt64 = 0
    var endpointCount: UInt32
    var granted = 0

    init(_ engine: EngineKind, seed: UInt64, workers: UInt32, endpoints: Int) {
        workerCount = workers
        endpointCount = UInt32(endpoints)
        random = RandomSource(seed: seed)
        pool = PoolState.make(engine, endpoints, seed: seed) {
            $0.queueLimit = 40
            $0.queueDeadlineMilliseconds = 20_000
            $0.leaseMilliseconds = 30_000
            $0.failureLimit = 2
            $0.ejectionMillisecondsMax = 10_000
            if engine == .ollama {
                $0.concurrencyPerModel = 2
                $0.queuePerModelLimit = 3
            } else {
                $0.concurrencyPerEndpoint = 3
                $0.queuesWhenSaturated = true
            }
        }
    }

    mutating func chance(_ percent: UInt32) -> Bool { random.next(below: 100) < percent }
    mutating func below(_ count: Int) -> Int { Int(random.next(below: UInt32(count))) }

    /// What a worker does after each call of the pool: messages go out, and some are lost or doubled.
    mutating func drain() {
        while let grant = pool.nextGrant() {
            if chance(10) { continue }
            messages.append(grant)
            if chance(10) { messages.append(grant) }
        }
    }

    mutating func arrive() {
        nextExchange += 1
        var new = PickRequest(
            model: UInt64(below(4)),
            asker: Asker(worker: UInt32(nextExchange) % workerCount, exchange: nextExchange))
        new.priority = Int32(below(4)) - 1
        new.flow = UInt64(below(3))
        new.options = chance(20) ? 8_192 : 0
        new.promptBytes = 2_000
        if chance(20) { new.tried.append(UInt32(below(Int(endpointCount)))) }
        if chance(10) {
            new.hasSubset = true
            new.subset.append(UInt32(below(Int(endpointCount))))
        }
        let blocks = (0..<below(40)).map { UInt64($0 + 1) &* 0x9E37_79B9_7F4A_7C15 }
        switch pool.pick(new, prefix: blocks.span, now: now) {
        case .chosen(let lease): running.append((lease.id, lease.endpoint, false))
        case .waiting(let ticket): waiting.append(ticket)
        case .rejected: break
        }
    }

    mutating func receive() {
        if messages.isEmpty { return }
        let message = messages.remove(at: below(messages.count))
        // Some messages are for who has left meanwhile, or come twice.
        waiting.removeAll { $0 == message.ticket }
        if message.rejection != nil { return }
        if let lease = pool.claim(message.ticket, now: now) {
            granted += 1
            running.append((lease.id, lease.endpoint, false))
        }
    }

    mutating func end() {
        if running.isEmpty { return }
        let at = below(running.count)
        let lease = running[at]
        switch below(12) {
        case 0...3:
            pool.started(lease.id, now: now)
            running[at].isStarted = true
            return
        case 4...6: pool.finished(lease.id, .done(RequestTimings()), now: now)
        case 7: pool.finished(lease.id, .cancelled, now: now)
        case 8: pool.finished(lease.id, .connectFailed, now: now)
        case 9: pool.finished(lease.id, .serverError, now: now)
        case 10: pool.finished(lease.id, .busy(retryAfterMilliseconds: 0), now: now)
        default:
            pool.finished(lease.id, chance(20) ? .modelMissing : .refused, now: now)
            // Told twice.
            pool.finished(lease.id, .cancelled, now: now)
        }
        running.remove(at: at)
    }

    mutating func step() {
        now += UInt64(below(400)) * millisecond
        switch below(20) {
        case 0...7: arrive()
        case 8...10: receive()
        case 11...15: end()
        case 16:
            if !waiting.isEmpty { pool.cancel(waiting.remove(at: below(waiting.count)), now: now) }
        case 17:
            var new = EndpointObservation(observedAt: now, isReady: chance(90))
            new.known = [.load, .kvUsage]
            new.waiting = Int32(below(9))
            new.kvUsage = Float(below(100)) / 100
            if chance(50) {
                new.known.insert(.resident)
                new.append(ResidentModel(model: UInt64(1 + below(3)), size: 9, sizeVRAM: 9))
            }
            pool.observe(UInt32(below(Int(endpointCount))), new, now: now)
        case 18:
            // A worker forgets a lease; it ends by itself.
            if chance(20) && !running.isEmpty { running.remove(at: below(running.count)) }
            if chance(20) {
                let from = UInt32(below(2))
                pool.setEndpoints(
                    (from..<endpointCount).map { PoolEndpoint(id: $0) }, now: now)
            }
        default: pool.sweep(now: now)
        }
        drain()
    }

    /// Counts agree with the leases there are.
    func countsAgree() -> Bool {
        var inFlight = [Int32](repeating: 0, count: pool.slotCount)
        var unstarted = inFlight
        for slot in 0..<pool.leases.highWater where pool.leases.isOccupied(slot) {
            inFlight[pool.leases[slot].slot] += 1
            if !pool.leases[slot].isStarted { unstarted[pool.leases[slot].slot] += 1 }
        }
        for slot in 0..<pool.slotCount {
            if pool.rows[slot].inFlight != inFlight[slot] { return false }
            if pool.rows[slot].unstarted != unstarted[slot] { return false }
            if pool.rows[slot].freshWaiting < 0 || pool.rows[slot].freshRunning < 0 { return false }
        }
        return true
    }

    /// Whether somebody waits although an endpoint would take the request.
    mutating func isAnybodyHeldUp() -> Bool {
        pool.sweep(now: now)
        drain()
        var found = false
        for slot in 0..<pool.queue.waiters.highWater
        where pool.queue.waiters.isOccupied(slot) && pool.queue.waiters[slot].phase == .waiting {
            let waiter = pool.queue.waiters[slot].request
            let model = pool.queue.waiters[slot].model
            let none: [UInt64] = []
            if pool.place(waiter, none.span, model, now).verdict == .chosen { found = true }
        }
        return found
    }

    /// Everybody goes, all messages are lost; then time does the rest.
    mutating func abandon() {
        now += 60 * second
        for _ in 0..<6 {
            pool.sweep(now: now)
            while pool.nextGrant() != nil {}
            now += 60 * second
        }
    }
}

@Suite struct PoolSimulationTests {
    @Test(arguments: [EngineKind.ollama, .vllm], [1, 8] as [UInt32])
    func `no order of events loses a lease, holds anybody up or leaves an endpoint closed`(
        engine: EngineKind, workers: UInt32
    ) {
        for seed in 0..<30 as Range<UInt64> {
            var simulation = Simulation(
                engine, seed: seed, workers: workers, endpoints: 1 + Int(seed % 5))
            for step in 0..<600 {
                simulation.step()
                let agree = simulation.countsAgree()
                #expect(agree, "seed \(seed), step \(step): counts")
                if step % 5 == 0 {
                    let isHeldUp = simulation.isAnybodyHeldUp()
                    #expect(!isHeldUp, "seed \(seed), step \(step): held up")
                    if isHeldUp { return }
                }
                if !agree { return }
            }
            #expect(simulation.granted > 0 || engine == .vllm, "seed \(seed): nobody was granted")
            simulation.abandon()
            let isAtRest = simulation.pool.isAtRest
            #expect(isAtRest, "seed \(seed): at rest")
            // Every endpoint takes requests again.
            let count = simulation.endpointCount
            var pool = PoolState.make(engine, 1)
            swap(&pool, &simulation.pool)
            let now = simulation.now + 100 * second
            pool.setEndpoints((0..<count).map { PoolEndpoint(id: $0) }, now: now)
            for id in 0..<count {
                pool.load(id, at: now)
                var only = request(9)
                only.hasSubset = true
                only.subset.append(id)
                let lease = pool.take(only, at: now)
                #expect(lease?.endpoint == id, "seed \(seed): endpoint \(id)")
            }
        }
    }

    /// Serves a stream of requests whose workers hear of their grants so much later.
    private func serve(
        workers: UInt32, delay: UInt64
    ) -> (cold: Int, warm: Int, meanWaitMilliseconds: Double) {
        var pool = PoolState.make(.ollama, 4, seed: 3)
        var random = RandomSource(seed: 11)
        // When, what, which.
        var events: [(at: UInt64, kind: Int, lease: LeaseID?, grant: Grant?)] = []
        var time: UInt64 = 0
        for _ in 0..<1_500 {
            time += UInt64(random.next(below: 150)) * millisecond
            events.append((time, 0, nil, nil))
        }
        var cold = 0
        var warm = 0
        var wait: UInt64 = 0
        var exchange: UInt64 = 0
        func begin(_ lease: Lease, _ now: UInt64) -> [(UInt64, Int, LeaseID?, Grant?)] {
            if lease.isColdLoad { cold += 1 } else { warm += 1 }
            wait += UInt64(lease.waitedMilliseconds)
            let first = now + (lease.isColdLoad ? 4_000 : 60) * millisecond
            return [(first, 1, lease.id, nil), (first + 700 * millisecond, 2, lease.id, nil)]
        }
        while !events.isEmpty {
            var least = 0
            for i in events.indices where events[i].at < events[least].at { least = i }
            let event = events.remove(at: least)
            let now = event.at
            switch event.kind {
            case 0:
                exchange += 1
                var new = request(UInt64(1 + random.next(below: 6)), flow: exchange % 7)
                new.asker = Asker(worker: UInt32(exchange) % workers, exchange: exchange)
                if let lease = pool.take(new, at: now) { events += begin(lease, now) }
            case 1: if let lease = event.lease { pool.started(lease, now: now) }
            case 2:
                if let lease = event.lease {
                    pool.finished(lease, .done(RequestTimings()), now: now)
                }
            default:
                if let grant = event.grant, let lease = pool.claim(grant.ticket, now: now) {
                    events += begin(lease, now)
                }
            }
            pool.sweep(now: now)
            while let grant = pool.nextGrant() {
                let isOwn = workers == 1
                events.append((isOwn ? now : now + delay, 3, nil, grant))
            }
        }
        return (cold, warm, Double(wait) / Double(cold + warm))
    }

    @Test func `eight workers choose as well as one`() {
        let one = serve(workers: 1, delay: 0)
        let eight = serve(workers: 8, delay: millisecond)
        #expect(one.cold + one.warm == 1_500 && eight.cold + eight.warm == 1_500)
        // Six models on four endpoints.
        #expect(one.cold >= 6 && one.cold < 60)
        #expect(abs(one.cold - eight.cold) <= 3, "\(one) \(eight)")
        #expect(
            abs(one.meanWaitMilliseconds - eight.meanWaitMilliseconds)
                <= 0.1 * one.meanWaitMilliseconds + 20, "\(one) \(eight)")
    }
}
