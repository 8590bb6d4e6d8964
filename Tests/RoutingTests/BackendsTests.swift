// Proves that backends share requests by their weights (BackendRef.weight), exactly.

import HTTP
import Testing

@testable import Routing

@Suite struct BackendsTests {
    private func table(_ weights: [UInt32]) throws -> Table {
        let backends = weights.enumerated().map { i, weight in
            BackendDescription(weight: weight, target: .cluster(UInt32(100 + i)))
        }
        return try RoutingTests.table(TableDescription(filters: [], backends: backends))
    }

    @Test(arguments: [[], [0], [0, 0, 0]] as [[UInt32]])
    func `without weight there is no backend`(weights: [UInt32]) throws {
        let table = try table(weights)
        for random: UInt32 in [0, 1, .max / 2, .max] {
            #expect(table.backend(rule: 0, random: random) == -1)
        }
    }

    @Test(
        arguments: [
            ([1], 0), ([0, 1], 1), ([1, 0], 0), ([0, 5, 0], 1), ([1_000_000], 0), ([.max], 0),
        ] as [([UInt32], Int32)])
    func `one backend with weight takes everything`(weights: [UInt32], index: Int32) throws {
        let table = try table(weights)
        for random: UInt32 in [0, 1, .max / 2, .max - 1, .max] {
            #expect(table.backend(rule: 0, random: random) == index)
        }
    }

    @Test(
        arguments: [
            [1, 1], [9, 1], [1, 2, 3, 4], [0, 1, 0, 3], [1_000_000, 1], [70, 0, 30],
            [1_000_000, 1_000_000, 1_000_000],
        ] as [[UInt32]])
    func `shares are those of the weights over all random numbers`(weights: [UInt32]) throws {
        let table = try table(weights)
        let sum = weights.reduce(0) { $0 + UInt64($1) }
        // The numbers of a backend lie side by side, so its first and last are found by halving.
        var first: UInt64 = 0
        for (i, weight) in weights.enumerated() where weight > 0 {
            var low = first
            var high: UInt64 = 1 << 32
            while low < high {
                let middle = (low + high) / 2
                let isBefore = table.backend(rule: 0, random: UInt32(middle)) <= Int32(i)
                if isBefore { low = middle + 1 } else { high = middle }
            }
            let share = Double(low - first) / Double(UInt64(1) << 32)
            #expect(abs(share - Double(weight) / Double(sum)) < 1e-9)
            first = low
        }
        #expect(first == 1 << 32)
    }

    @Test func `counts follow the weights`() throws {
        let table = try table([70, 20, 10])
        var random = SeededRandom(seed: 5)
        var counts = [0, 0, 0]
        for _ in 0..<100_000 {
            let number = UInt32(truncatingIfNeeded: random.next())
            counts[Int(table.backend(rule: 0, random: number))] += 1
        }
        #expect(abs(counts[0] - 70_000) < 700)
        #expect(abs(counts[1] - 20_000) < 600)
        #expect(abs(counts[2] - 10_000) < 500)
    }

    @Test func `rows tell where a share goes`() throws {
        let rules = [
            RuleDescription(id: 1, backends: [BackendDescription(target: .cluster(9), series: 4)]),
            RuleDescription(
                id: 2,
                backends: [
                    BackendDescription(weight: 0, target: .cluster(7)),
                    BackendDescription(target: .status(500), series: 5),
                ], requestTimeoutMilliseconds: 3, backendTimeoutMilliseconds: 2, series: 6),
        ]
        let table = try RoutingTests.table(TableDescription([match()], rules: rules))
        #expect(table.backend(rule: 0, random: 0) == 0)
        #expect(table.backend(rule: 1, random: .max) == 2)
        #expect(table.backends[0].kind == .cluster && table.backends[0].value == 9)
        #expect(table.backends[0].series == 4)
        #expect(table.backends[2].kind == .status && table.backends[2].value == 500)
        #expect(table.rules[1].backendRange == 1..<3)
        #expect(table.rules[1].requestTimeoutMilliseconds == 3)
        #expect(table.rules[1].backendTimeoutMilliseconds == 2)
        #expect(table.rules[1].series == 6)
    }
}
