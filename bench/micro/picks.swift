// What a pick costs, with its first byte and its end: at 10 and 1,000 endpoints, with 0 and 256 blocks of prompt.
//
// Prints nanoseconds: the least tenth, the median and the largest tenth of batches. `--rounds N` does N picks of each
// kind and prints nothing, for whoever counts allocations.
import BasicContainers
import Inference
import Kernel

private func makePool(_ count: Int, _ engine: EngineKind) -> PoolState {
    var pool = PoolState(PoolConfiguration(engine: engine), seed: 1)
    pool.setEndpoints((0..<count).map { PoolEndpoint(id: UInt32($0)) }, now: 1)
    for id in 0..<count {
        var seen = EndpointObservation(observedAt: 1)
        seen.known = [.load, .kvUsage]
        seen.waiting = Int32(id % 7)
        seen.running = Int32(id % 11)
        seen.kvUsage = Float(id % 13) / 20
        pool.observe(UInt32(id), seen, now: 1)
    }
    return pool
}

/// One kind of request: how many blocks its prompt has, and how many prompts there are.
private struct Kind {
    let name: String
    let engine: EngineKind
    let blocks: Int
    let prompts: Int
    /// Whether every endpoint holds the prompt.
    var isEverywhere = false

    static let all = [
        Kind(name: "no prompt", engine: .vllm, blocks: 0, prompts: 1),
        Kind(name: "one prompt", engine: .vllm, blocks: 256, prompts: 1),
        Kind(
            name: "one prompt, held by all", engine: .vllm, blocks: 256, prompts: 1,
            isEverywhere: true),
        Kind(name: "100 prompts in turn", engine: .vllm, blocks: 256, prompts: 100),
        Kind(name: "always a new prompt", engine: .vllm, blocks: 256, prompts: 20_000),
        Kind(name: "Ollama, no prompt", engine: .ollama, blocks: 0, prompts: 1),
        Kind(name: "Ollama, 100 prompts in turn", engine: .ollama, blocks: 256, prompts: 100),
    ]
}

private struct Bench: ~Copyable {
    let kind: Kind
    var pool: PoolState
    var hashes: RigidArray<UInt64>
    var request = PickRequest(model: 77, asker: Asker(worker: 0, exchange: 0))
    var count = 0

    init(_ kind: Kind, endpoints: Int) {
        self.kind = kind
        pool = makePool(endpoints, kind.engine)
        var random = RandomSource(seed: 5)
        hashes = RigidArray(capacity: kind.prompts * kind.blocks)
        for _ in 0..<kind.prompts * kind.blocks { hashes.append(random.next()) }
        request.promptBytes = UInt32(kind.blocks * 64)
        for id in 0..<endpoints where kind.isEverywhere {
            var only = request
            only.hasSubset = true
            only.subset.append(UInt32(id))
            Bench.run(&pool, hashes, only, kind, &count)
        }
    }

    static func run(
        _ pool: inout PoolState, _ hashes: borrowing RigidArray<UInt64>, _ request: PickRequest,
        _ kind: Kind, _ count: inout Int
    ) {
        count += 1
        let now = UInt64(1_000 + count)
        let start = count % kind.prompts * kind.blocks
        let prefix = hashes.span.extracting(start..<start + kind.blocks)
        guard case .chosen(let lease) = pool.pick(request, prefix: prefix, now: now) else {
            fatalError("a pool with room")
        }
        pool.started(lease.id, now: now)
        pool.finished(lease.id, .done(RequestTimings()), now: now)
    }

    mutating func batch(_ rounds: Int) {
        for _ in 0..<rounds { Bench.run(&pool, hashes, request, kind, &count) }
    }
}

@main enum Picks {
    static func main() {
        let arguments = CommandLine.arguments
        let rounds = arguments.count == 3 && arguments[1] == "--rounds" ? Int(arguments[2]) : nil
        for endpoints in [10, 1_000] {
            for kind in Kind.all {
                var bench = Bench(kind, endpoints: endpoints)
                if let rounds {
                    bench.batch(rounds)
                    continue
                }
                let size = endpoints == 10 ? 200 : 20
                bench.batch(size * 10)
                let batches = kind.prompts > 1_000 ? 300 : 200
                var times: [UInt64] = []
                for _ in 0..<batches {
                    let begin = Clock.monotonicNanoseconds()
                    bench.batch(size)
                    times.append((Clock.monotonicNanoseconds() - begin) / UInt64(size))
                }
                times.sort()
                let shown = [times[batches / 10], times[batches / 2], times[batches * 9 / 10]]
                let padding = String(repeating: " ", count: 30 - kind.name.count)
                print("\(endpoints)\t\(kind.name)\(padding)\(shown[0])\t\(shown[1])\t\(shown[2])")
            }
        }
    }
}
