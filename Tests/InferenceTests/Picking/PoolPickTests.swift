// Proves what a pool chooses: reservation, residency, limits, failures, sessions, saturation.

import Testing

@testable import Inference

@Suite struct PoolPickTests {
    @Test func `fifty cold requests load one endpoint`() {
        var pool = PoolState.make(.ollama, 5)
        var used = Set<UInt32>()
        var tickets: [Ticket] = []
        var leases: [Lease] = []
        let noBlocks: [UInt64] = []
        for i in 0..<50 {
            switch pool.pick(request(7, flow: UInt64(i)), prefix: noBlocks.span, now: 10) {
            case .chosen(let lease):
                used.insert(lease.endpoint)
                leases.append(lease)
            case .waiting(let ticket): tickets.append(ticket)
            case .rejected: Issue.record("nobody is refused")
            }
        }
        #expect(leases.count == 4 && tickets.count == 46 && used.count == 1)
        #expect(leases.filter(\.isColdLoad).count == 1)
        #expect(leases[1].reason == .loading)
        // They are served there one after the other.
        var now: UInt64 = 20 * second
        for lease in leases { pool.started(lease.id, now: now) }
        while let lease = leases.popLast() {
            now += millisecond
            pool.started(lease.id, now: now)
            pool.finished(lease.id, .done(RequestTimings()), now: now)
            while let grant = pool.nextGrant() {
                let next = pool.claim(grant.ticket, now: now)
                #expect(next?.isColdLoad == false)
                if let next { used.insert(next.endpoint); leases.append(next) }
            }
        }
        #expect(used.count == 1 && pool.isAtRest)
    }

    @Test func `two models are kept apart while another endpoint is empty or has room`() {
        for vram in [0, 12 << 30] as [UInt64] {
            var pool = PoolState.make(.ollama, 2, vram: vram)
            let a = pool.take(request(1), at: 1)
            let b = pool.take(request(2), at: 1)
            #expect(a?.endpoint != b?.endpoint)
            // One that is there too: the one that fits beside it is preferred.
            if let a, let b {
                pool.finished(a.id, .done(RequestTimings()), now: 2)
                pool.finished(b.id, .done(RequestTimings()), now: 2)
            }
            #expect(pool.isAtRest == true)
        }
        var pool = PoolState.make(.ollama, 2, vram: 12 << 30)
        let big = ResidentModel(model: 1, size: 8 << 30, sizeVRAM: 8 << 30)
        let small = ResidentModel(model: 2, size: 4 << 30, sizeVRAM: 4 << 30)
        _ = pool.take(request(3), at: 1).map { pool.finished($0.id, .cancelled, now: 1) }
        pool.models(0, resident: [big], at: 2)
        pool.models(1, resident: [small], at: 2)
        pool.models.rows[pool.row(of: 3, 2)].size = 6 << 30
        for _ in 0..<8 {
            let lease = pool.take(request(3), at: 3)
            #expect(lease?.endpoint == 1 && lease?.reason == .cold)
            if let lease { pool.finished(lease.id, .cancelled, now: 3) }
        }
    }

    @Test func `a reservation counts as used memory until the first byte, and then as a model`() {
        var pool = PoolState.make(.ollama, 2, vram: 10 << 30)
        for model in [1, 2] as [UInt64] {
            pool.models.rows[pool.row(of: model, 0)].size = 4 << 30
        }
        pool.models.rows[pool.row(of: 3, 0)].size = 8 << 30
        let first = pool.take(request(1), at: 1)
        let second = pool.take(request(2), at: 1)
        #expect(first?.endpoint != second?.endpoint)
        guard let first else { return }
        let slot = Int(first.endpoint)
        #expect(pool.rows[slot].reservedBytes == 4 << 30)
        pool.started(first.id, now: 2)
        #expect(pool.rows[slot].reservedBytes == 0 && pool.rows[slot].usedBytes == 4 << 30)
        pool.finished(first.id, .done(RequestTimings()), now: 3)
        #expect(pool.take(request(1), at: 4)?.reason == .resident)
    }

    @Test
    func
        `a model wholly in video memory comes before one that is partly there, and both before a load`()
    {
        var pool = PoolState.make(.ollama, 3)
        pool.models(1, resident: [ResidentModel(model: 5, size: 10, sizeVRAM: 4)], at: 1)
        #expect(pool.take(request(5), at: 1)?.endpoint == 1)
        pool.models(2, resident: [ResidentModel(model: 5, size: 10, sizeVRAM: 10)], at: 1)
        #expect(pool.take(request(5), at: 1)?.endpoint == 2)
    }

    @Test func `other runner options do not reload a model while another endpoint is empty`() {
        var pool = PoolState.make(.ollama, 2)
        var small = request(5)
        small.options = 2_048
        var large = request(5)
        large.options = 32_768
        guard let a = pool.take(small, at: 1) else { return }
        pool.started(a.id, now: 2)
        let b = pool.take(large, at: 3)
        #expect(b?.endpoint != a.endpoint && b?.isColdLoad == true)
        #expect(pool.take(small, at: 4)?.endpoint == a.endpoint)
    }

    @Test func `a cold load that is cancelled leaves nothing closed`() {
        var pool = PoolState.make(.ollama, 2)
        guard let a = pool.take(request(5), at: 1) else { return }
        pool.finished(a.id, .cancelled, now: 2)
        #expect(pool.isAtRest == true)
        #expect(pool.take(request(5), at: 3)?.isColdLoad == true)
    }

    @Test func `a model that takes longer to wait for than to load is loaded elsewhere too, once`()
    {
        var pool = PoolState.make(.ollama, 3)
        guard let a = pool.take(request(5), at: 0) else { return }
        pool.started(a.id, now: 2 * second)
        pool.finished(a.id, .done(RequestTimings()), now: 32 * second)
        let now = 33 * second
        var used: [UInt32: Int] = [:]
        for _ in 0..<12 {
            if let lease = pool.take(request(5), at: now) { used[lease.endpoint, default: 0] += 1 }
        }
        // Loading takes 2 s, waiting for one of four that take 30 s each takes more.
        #expect(used.count == 2 && used.values.allSatisfy { $0 == 4 } && pool.waitingCount == 4)
    }

    @Test func `the queue of a model that is longer than its bound lets another endpoint load it`()
    {
        var pool = PoolState.make(.ollama, 2) { $0.queuePerModelLimit = 3 }
        var used = Set<UInt32>()
        for _ in 0..<12 {
            if let lease = pool.take(request(5), at: 1) { used.insert(lease.endpoint) }
        }
        while let grant = pool.nextGrant() {
            if let lease = pool.claim(grant.ticket, now: 1) { used.insert(lease.endpoint) }
        }
        #expect(used.count == 2)
    }

    @Test func `a 404 sends a model elsewhere for a minute, and one that nobody has is unknown`() {
        var pool = PoolState.make(.ollama, 2)
        for _ in 0..<2 {
            guard let lease = pool.take(request(5), at: 1) else { break }
            pool.finished(lease.id, .modelMissing, now: 2)
        }
        #expect(pool.refusal(request(5), at: 3) == .modelUnknown)
        #expect(pool.take(request(6), at: 3) != nil)
        #expect(pool.take(request(5), at: 61 * second) != nil)
        var listed = PoolState.make(.ollama, 2)
        listed.models(0, disk: [1], at: 1)
        #expect(listed.take(request(5), at: 1)?.endpoint == 1)
        listed.models(1, disk: [2], at: 1)
        #expect(listed.refusal(request(5), at: 1) == .modelUnknown)
        #expect(listed.take(request(2), at: 1)?.endpoint == 1)
        #expect(RejectionReason.modelUnknown.status == 404)
    }

    @Test func `a busy endpoint is left alone for a while, and its requests wait`() {
        var pool = PoolState.make(.ollama, 1)
        guard let lease = pool.take(request(5), at: 0) else { return }
        pool.finished(lease.id, .busy(retryAfterMilliseconds: 0), now: 0)
        let ticket = pool.wait(request(5), at: 1)
        #expect(ticket != nil)
        pool.sweep(now: 1_001 * millisecond)
        #expect(pool.nextGrant()?.ticket == ticket)
    }

    @Test func `failures eject, one tries afterwards, and the last endpoint is never ejected`() {
        var pool = PoolState.make(.vllm, 2)
        var now: UInt64 = 0
        while pool.status(of: 0)?.ejectedUntil == 0 {
            now += 1
            guard let lease = pool.take(request(1), at: now) else { break }
            let isBad = lease.endpoint == 0
            pool.finished(lease.id, isBad ? .connectFailed : .done(RequestTimings()), now: now)
        }
        for _ in 0..<50 {
            let lease = pool.take(request(1), at: now)
            #expect(lease?.endpoint == 1)
        }
        // Half open: exactly one is let through until it says something.
        now += 3 * second
        var probes: [Lease] = []
        for _ in 0..<200 {
            if let lease = pool.take(request(1), at: now), lease.endpoint == 0 {
                probes.append(lease)
            }
        }
        #expect(probes.count == 1)
        pool.finished(probes[0].id, .cancelled, now: now)
        probes = []
        for _ in 0..<200 {
            if let lease = pool.take(request(1), at: now), lease.endpoint == 0 {
                probes.append(lease)
            }
        }
        #expect(probes.count == 1)
        pool.finished(probes[0].id, .connectFailed, now: now)
        #expect(pool.status(of: 0)?.ejectedUntil == now + 6 * second)
        var alone = PoolState.make(.vllm, 1)
        for i in 1..<40 as Range<UInt64> {
            let lease = alone.take(request(1), at: i)
            #expect(lease != nil)
            if let lease { alone.finished(lease.id, .connectFailed, now: i) }
        }
        #expect(alone.take(request(1), at: 50)?.reason == .panic)
    }

    @Test func `one bad model closes itself and not its endpoint`() {
        var pool = PoolState.make(.vllm, 1)
        for i in 0..<20 as Range<UInt64> {
            guard let lease = pool.take(request(1), at: i) else { break }
            pool.finished(lease.id, .serverError, now: i)
        }
        #expect(pool.status(of: 0)?.ejectedUntil == 0)
        #expect(pool.take(request(2), at: 30)?.reason == .only)
        #expect(pool.take(request(1), at: 30)?.reason == .panic)
    }

    @Test func `the tried, the ones outside of the subset and lower priorities are left out`() {
        var pool = PoolState.make(.vllm, 3)
        var retry = request(1)
        retry.tried.append(0)
        retry.tried.append(2)
        for _ in 0..<10 { #expect(pool.take(retry, at: 1)?.endpoint == 1) }
        var only = request(1)
        only.hasSubset = true
        #expect(pool.refusal(only, at: 1) == .noEndpoint)
        only.subset.append(2)
        for _ in 0..<10 { #expect(pool.take(only, at: 1)?.endpoint == 2) }
        pool.setEndpoints(
            [
                PoolEndpoint(id: 0, priority: 1), PoolEndpoint(id: 1),
                PoolEndpoint(id: 2, priority: 1),
            ],
            now: 2)
        for _ in 0..<10 { #expect(pool.take(request(1), at: 2)?.endpoint == 1) }
        var notReady = EndpointObservation(observedAt: 3, isReady: false)
        notReady.known = []
        pool.observe(1, notReady, now: 3)
        #expect(pool.take(request(1), at: 3)?.endpoint != 1)
        pool.setEndpoints([], now: 4)
        #expect(pool.refusal(request(1), at: 4) == .noEndpoint)
    }

    @Test func `the reference profile prefers prefix, queue and cache by their weights`() {
        var pool = PoolState.make(.vllm, 3)
        for id in 0..<3 as Range<UInt32> { pool.load(id, at: 1) }
        let blocks = (1...20).map { UInt64($0) &* 0x9E37_79B9_7F4A_7C15 }
        guard let first = pool.take(request(1), at: 1, blocks) else { return }
        pool.started(first.id, now: 1)
        pool.finished(first.id, .done(RequestTimings()), now: 1)
        for _ in 0..<20 {
            let lease = pool.take(request(1), at: 1, blocks)
            #expect(lease?.endpoint == first.endpoint && lease?.matchedBlocks == 20)
            #expect(lease?.reason == .prefix)
            if let lease { pool.finished(lease.id, .cancelled, now: 1) }
        }
        // Queue 2 and cache 2 together outweigh the prefix's 3.
        pool.load(first.endpoint, waiting: 10, kv: 1, at: 2)
        #expect(pool.take(request(1), at: 2, blocks)?.endpoint != first.endpoint)
    }

    @Test func `requests since the last scrape count, so a burst spreads`() {
        var pool = PoolState.make(.vllm, 4)
        for id in 0..<4 as Range<UInt32> { pool.load(id, at: 1) }
        var used: [UInt32: Int] = [:]
        for _ in 0..<40 {
            if let lease = pool.take(request(1), at: 1) { used[lease.endpoint, default: 0] += 1 }
        }
        #expect(used.values.allSatisfy { $0 == 10 } && used.count == 4)
    }

    @Test func `a conversation stays where it began while every engine takes who comes`() throws {
        let system = (1...20).map { UInt64($0) &* 0x9E37_79B9_7F4A_7C15 }
        let whole = (1...30).map { UInt64($0) &* 0x9E37_79B9_7F4A_7C15 }
        var pool = PoolState.make(.vllm, 4)
        for id in 0..<4 as Range<UInt32> {
            pool.load(id, at: 1)
            // Everybody holds the system prompt, and one the conversation behind it.
            var only = request(1)
            only.hasSubset = true
            only.subset.append(id)
            let lease = pool.take(only, at: 1, id == 2 ? whole : system)
            pool.finished(try #require(lease).id, .done(RequestTimings()), now: 1)
        }
        // A few others have just been sent there, and are being worked on.
        for _ in 0..<3 { #expect(pool.take(request(1), at: 2, whole)?.endpoint == 2) }
        #expect(pool.take(request(1), at: 2, whole)?.endpoint == 2)
        // An engine that had a queue does not take more; who comes stands in it.
        pool.load(2, waiting: 1, running: 8, at: 3)
        #expect(pool.take(request(1), at: 3, whole)?.endpoint != 2)
        for id in 0..<4 as Range<UInt32> { pool.load(id, waiting: id == 1 ? 2 : 3, at: 4) }
        #expect(pool.take(request(1), at: 4)?.endpoint == 1)
        #expect(pool.take(request(1), at: 4)?.endpoint != 1)
    }

    @Test
    func `blocks of prompts have sixteen tokens at least, and as many as a cache has room for`() {
        var pool = PoolState.make(.sglang, 2)
        #expect(pool.prefixBlockBytes == 64)
        func tell(_ id: UInt32, tokens: UInt32, blocks: UInt32, at now: UInt64) {
            var seen = EndpointObservation(observedAt: now)
            seen.known = [.load]
            seen.blockSize = tokens
            seen.blockCount = blocks
            pool.observe(id, seen, now: now)
        }
        // SGLang's page of one token.
        tell(0, tokens: 1, blocks: 1_280, at: 1)
        #expect(pool.prefixBlockBytes == 64 && pool.prefix.bound(of: 0) == 80)
        tell(0, tokens: 32, blocks: 48, at: 2)
        #expect(pool.prefixBlockBytes == 128 && pool.prefix.bound(of: 0) == 48)
        tell(1, tokens: 16, blocks: 80, at: 3)
        #expect(pool.prefixBlockBytes == 64 && pool.prefix.bound(of: 1) == 80)
    }

    @Test
    func `prompts that nobody holds spread by what they take of the caches, between two scrapes`() {
        var pool = PoolState.make(.vllm, 2)
        for (id, kv) in [(0, 0.1), (1, 0.12)] as [(UInt32, Float)] {
            var seen = EndpointObservation(observedAt: 1)
            seen.known = [.load, .kvUsage]
            seen.kvUsage = kv
            seen.blockSize = 16
            seen.blockCount = 1_000
            pool.observe(id, seen, now: 1)
        }
        var large = request(1)
        large.promptBytes = 6_400
        var taken: [UInt32] = []
        var leases: [Lease] = []
        for _ in 0..<4 {
            guard let lease = pool.take(large, at: 2) else { continue }
            pool.started(lease.id, now: 2)
            taken.append(lease.endpoint)
            leases.append(lease)
        }
        #expect(taken == [0, 1, 0, 1])
        // What is given back before the next scrape counts no longer.
        for lease in leases { pool.finished(lease.id, .done(RequestTimings()), now: 3) }
        #expect(pool.take(large, at: 3)?.endpoint == 0)
    }

    @Test func `a session goes where its token says, if the profile asks`() {
        var pool = PoolState.make(.vllm, 4) { $0.profile[.sessionAffinity] = 10 }
        var mine = request(1)
        mine.session = 102
        for _ in 0..<10 {
            let lease = pool.take(mine, at: 1)
            #expect(lease?.endpoint == 2 && lease?.reason == .session)
        }
    }

    @Test func `a LoRA adapter goes where it runs`() {
        var pool = PoolState.make(.vllm, 3) { $0.profile[.loraAffinity] = 5 }
        for id in 0..<3 as Range<UInt32> {
            var new = EndpointObservation(observedAt: 1)
            new.known = [.load, .lora]
            new.loraLimit = 2
            if id == 1 { new.loraRunning.append(77) } else { new.loraRunning.append(5) }
            pool.observe(id, new, now: 1)
        }
        for _ in 0..<6 {
            let lease = pool.take(request(77), at: 1)
            #expect(lease?.endpoint == 1)
            if let lease { pool.finished(lease.id, .cancelled, now: 1) }
        }
    }

    @Test func `an engine that tells nothing of its cache is not full`() {
        var pool = PoolState.make(.llamaCpp, 2)
        for id in 0..<2 as Range<UInt32> {
            var seen = EndpointObservation(observedAt: 1)
            seen.known = [.load]
            pool.observe(id, seen, now: 1)
        }
        #expect(pool.take(request(1, priority: -1), at: 2) != nil)
    }

    @Test func `numbers beyond all reason are counted with`() {
        var pool = PoolState.make(.vllm, 1)
        var seen = EndpointObservation(observedAt: 1)
        seen.known = [.load, .kvUsage]
        (seen.waiting, seen.running) = (.max, .max)
        (seen.blockSize, seen.blockCount, seen.kvUsage) = (.max, .max, .infinity)
        pool.observe(0, seen, now: 1)
        for _ in 0..<3 { #expect(pool.take(request(1), at: 2) != nil) }
        (seen.waiting, seen.running) = (.min, .min)
        (seen.kvUsage, seen.loraLimit) = (-.infinity, .min)
        pool.observe(0, seen, now: 3)
        for _ in 0..<3 { #expect(pool.take(request(1), at: 4) != nil) }
    }

    @Test func `a saturated pool sheds what may be shed, and nothing else`() {
        var pool = PoolState.make(.vllm, 2)
        pool.load(0, waiting: 5, at: 1)
        pool.load(1, waiting: 4, kv: 0.1, at: 1)
        guard let kept = pool.take(request(1, priority: -1), at: 1) else {
            Issue.record("below the threshold nothing is shed")
            return
        }
        pool.finished(kept.id, .cancelled, now: 1)
        pool.load(1, waiting: 1, kv: 0.8, at: 2)
        #expect(pool.refusal(request(1, priority: -1), at: 2) == .saturated)
        #expect(pool.take(request(1), at: 2) != nil)
        let noBlocks: [UInt64] = []
        guard
            case .rejected(let no) = pool.pick(
                request(1, priority: -1), prefix: noBlocks.span, now: 2)
        else { return }
        #expect(no.reason.status == 429 && no.retryAfterMilliseconds >= 1_000)
        #expect("\(no.reason.droppedReason)" == "rejected-saturated")
    }

    @Test func `saturated endpoints are left out while others are not`() {
        var pool = PoolState.make(.vllm, 2) {
            $0.avoidsSaturated = true
            $0.profile = Profile()
        }
        pool.load(0, waiting: 5, at: 1)
        pool.load(1, waiting: 0, at: 1)
        for _ in 0..<4 { #expect(pool.take(request(1), at: 1)?.endpoint == 1) }
        pool.load(1, kv: 0.9, at: 2)
        var used = Set<UInt32>()
        for _ in 0..<40 {
            if let lease = pool.take(request(1), at: 2) { used.insert(lease.endpoint) }
        }
        #expect(used.count == 2)
    }

    @Test func `pickers: equal scores are drawn, and weights are kept to`() {
        for picker in Picker.allCases {
            var pool = PoolState.make(.vllm, 2) {
                $0.profile = Profile()
                $0.profile[.kvCacheUtilization] = 1
                $0.profile.picker = picker
            }
            pool.load(0, kv: 0.25, at: 1)
            pool.load(1, kv: 0.75, at: 1)
            var first = 0
            for _ in 0..<4_000 {
                if let lease = pool.take(request(1), at: 1) {
                    if lease.endpoint == 0 { first += 1 }
                    pool.finished(lease.id, .cancelled, now: 1)
                }
            }
            switch picker {
            case .maxScore: #expect(first == 4_000)
            case .random: #expect(abs(first - 2_000) < 200)
            case .weightedRandom: #expect(abs(first - 3_000) < 200)
            }
        }
    }

    @Test
    func `an explanation names every endpoint, its scores or its reason, and changes nothing`() {
        var pool = PoolState.make(.vllm, 4)
        for id in 0..<4 as Range<UInt32> { pool.load(id, waiting: Int32(id), at: 1) }
        pool.observe(3, EndpointObservation(observedAt: 2, isReady: false), now: 2)
        var wish = request(1)
        wish.tried.append(2)
        var told = Explanation()
        let noBlocks: [UInt64] = []
        pool.explain(wish, prefix: noBlocks.span, now: 2, into: &told)
        #expect(told.endpoints.count == 4 && told.rejection == nil)
        #expect(told.endpoints[0].isChosen && !told.endpoints[1].isChosen)
        #expect(told.endpoints[0].scores[0] == 1 && told.endpoints[1].scores[0] == 0)
        #expect(told.endpoints[2].exclusion == .tried && told.endpoints[3].exclusion == .notReady)
        #expect(pool.isAtRest && pool.decisionsMade == 0)
        for i in 0..<1_500 as Range<UInt64> { _ = pool.take(request(1), at: i) }
        #expect(pool.decisionsMade == 1_500)
        let kept = [1_499, 500, 499, 1_500].map { pool.decision($0)?.decision.at }
        #expect(kept == [1_499, 500, nil, nil])
    }

    @Test func `a decision keeps every endpoint as it was seen, and its lease knows the next best`()
        throws
    {
        var pool = PoolState.make(.vllm, 4)
        for id in 0..<4 as Range<UInt32> { pool.load(id, waiting: Int32(id), at: 1) }
        pool.observe(3, EndpointObservation(observedAt: 2, isReady: false), now: 2)
        let taken = pool.take(request(1), at: 3)
        let lease = try #require(taken)
        let first = pool.decision(0)
        let told = try #require(first)
        #expect(told.endpoints.map(\.endpoint) == [0, 1, 2, 3])
        #expect(told.endpoints.map(\.isChosen) == [true, false, false, false])
        #expect(told.endpoints[3].exclusion == .notReady)
        #expect(told.endpoints[0].scores[0] == 1 && told.endpoints[2].scores[0] == 0)
        #expect(told.endpoints[0].total == told.decision.total)
        let kept = pool.story(of: lease.id)
        let story = try #require(kept)
        #expect(story.chosen.endpoint == 0 && story.runnerUp?.endpoint == 1)
        pool.finished(lease.id, .cancelled, now: 4)
        let gone = pool.story(of: lease.id)
        #expect(gone.map(\.chosen.endpoint) == nil)
        // What there is no more room for is told without its endpoints.
        pool.setEndpoints((0..<100).map { PoolEndpoint(id: $0) }, now: 5)
        for _ in 0..<100 { _ = pool.take(request(1), at: 6) }
        let last = pool.decision(100)
        #expect(last?.endpoints.count == 100)
        let old = pool.decision(0)
        #expect(old?.endpoints.isEmpty == true)
    }

    @Test func `a pool grows and shrinks and keeps what it knows`() {
        var pool = PoolState.make(.ollama, 2)
        guard let lease = pool.take(request(5), at: 1) else { return }
        pool.started(lease.id, now: 2)
        pool.setEndpoints((0..<100).map { PoolEndpoint(id: $0) }, now: 3)
        #expect(pool.take(request(5), at: 4)?.endpoint == lease.endpoint)
        pool.setEndpoints((50..<60).map { PoolEndpoint(id: $0) }, now: 5)
        #expect(pool.slot(of: lease.endpoint) != nil)
        #expect((pool.take(request(5), at: 6)?.endpoint ?? 0) >= 50)
        pool.finished(lease.id, .done(RequestTimings()), now: 7)
        pool.sweep(now: 1_000 * second)
        #expect(pool.slot(of: lease.endpoint) == nil && pool.isAtRest)
    }
}
