// Proves each scorer by numbers worked out from its formula.

import BasicContainers
import Testing

@testable import Inference

@Suite struct ScorerTests {
    private func candidate(_ change: (inout Candidate) -> Void = { _ in }) -> Candidate {
        var new = Candidate(
            slot: 0, hasRoom: true, isWarm: true, lora: .none, isSession: false,
            residency: .unknown, waiting: 0, running: 0, kvUsage: 0, inFlight: 0,
            modelInFlight: 0, tokensInFlight: 0, matched: 0, idleRank: 0, residentCount: 0, ttft: 0)
        change(&new)
        return new
    }

    private func scores(_ scorer: Scorer, _ all: [Candidate], blocks: Float = 4) -> [Float] {
        var candidates = RigidArray<Candidate>(capacity: all.count)
        for one in all { candidates.append(one) }
        var column = RigidArray<Float>(repeating: -1, count: all.count)
        scorer.score(candidates, ScoredRequest(blocks: blocks), &column)
        return all.indices.map { column[$0] }
    }

    @Test func `queue and running requests go by the range`() {
        let some = ([0, 5, 10] as [Float]).map { x in
            candidate {
                $0.waiting = x; $0.running = 10 - x
            }
        }
        #expect(scores(.queue, some) == [1, 0.5, 0])
        #expect(scores(.runningRequests, some) == [0, 0.5, 1])
        #expect(scores(.queue, [some[1], some[1]]) == [1, 1])
    }

    @Test func `the KV cache counts by what is free, and is in the middle when unknown`() {
        let some: [Float] = [0, 0.25, 1, 2, .nan]
        #expect(
            scores(.kvCacheUtilization, some.map { x in candidate { $0.kvUsage = x } })
                == [1, 0.75, 0, 0, 0.5])
    }

    @Test func `a prefix counts by its share of the prompt`() {
        let some = ([0, 1, 4] as [Float]).map { x in candidate { $0.matched = x } }
        #expect(scores(.prefixCache, some) == [0, 0.25, 1])
        #expect(scores(.prefixCache, [candidate()], blocks: 0) == [0])
    }

    @Test func `a LoRA adapter counts by where it is`() {
        let some = [LoRAPlace.running, .room, .waiting, .none].map { x in
            candidate { $0.lora = x }
        }
        #expect(scores(.loraAffinity, some) == [1, 0.8, 0.6, 0])
    }

    @Test func `load counts from half down to none at 128`() {
        let some = ([0, 32, 128, 500] as [Float]).map { x in candidate { $0.waiting = x } }
        #expect(scores(.loadAware, some) == [0.5, 0.375, 0, 0])
    }

    @Test func `active requests count by the share of the busiest`() {
        let some = ([0, 1, 4] as [Float]).map { x in
            candidate {
                $0.inFlight = x; $0.modelInFlight = 4 - x
            }
        }
        #expect(scores(.activeRequest, some) == [1, 0.75, 0])
        #expect(scores(.modelRequests, some) == [0, 0.25, 1])
    }

    @Test func `tokens, sessions and what was not hit`() {
        let tokens = ([0, 2_097_152, 9e9] as [Float]).map { x in candidate { $0.tokensInFlight = x }
        }
        #expect(scores(.tokenLoad, tokens) == [1, 0.5, 0])
        #expect(
            scores(.sessionAffinity, [candidate { $0.isSession = true }, candidate()]) == [1, 0])
        let idle = ([1, 0.5, 0] as [Float]).map { x in candidate { $0.idleRank = x } }
        #expect(scores(.noHitLRU, idle) == [1, 0.5, 0])
        #expect(scores(.noHitLRU, idle + [candidate { $0.matched = 1 }]) == [0.5, 0.5, 0.5, 0.5])
    }

    @Test func `residency counts by class, then by how few models are there`() {
        var some = [ResidencyClass.inVRAM, .resident, .fits].map { x in
            candidate { $0.residency = x }
        }
        some.append(candidate { $0.residentCount = 1 })
        some.append(candidate { $0.residentCount = 3 })
        let found = scores(.residency, some)
        #expect(found[0..<3] == [1, 0.8, 0.6])
        #expect(found[3] > found[4] && found[3] < 0.6 && found[4] > 0)
    }

    @Test func `the time to the first token is comparable between any two`() {
        let some = ([0, 1_000, 3_000] as [Float]).map { x in candidate { $0.ttft = x } }
        #expect(scores(.estimatedTTFT, some) == [1, 0.5, 0.25])
    }

    @Test func `every name leads back to its scorer and picker`() {
        #expect(Scorer.allCases.count == Int(Scorer.count))
        for scorer in Scorer.allCases { #expect(Scorer(name: scorer.name) == scorer) }
        for picker in Picker.allCases { #expect(Picker(name: picker.name) == picker) }
        #expect(Scorer(name: "queue") == nil)
        let profile = Profile(engine: .vllm)
        #expect(profile[.queue] == 2 && profile[.kvCacheUtilization] == 2)
        #expect(profile[.prefixCache] == 3 && profile.picker == .maxScore)
    }
}
