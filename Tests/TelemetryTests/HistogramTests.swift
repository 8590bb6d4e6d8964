// Proves that a duration falls into the one bucket whose bound it does not exceed.

import Testing

@testable import Telemetry

@Suite struct HistogramTests {
    private func row(_ shard: borrowing Shard, _ kind: Histogram.Kind) -> [UInt64] {
        var sums: [Column: [UInt64]] = [:]
        shard.reader.add(to: &sums)
        return sums[.histogram(kind, series: 1)] ?? []
    }

    @Test(arguments: Histogram.Kind.allCases)
    func `bounds ascend and are as many as the cells`(kind: Histogram.Kind) {
        let bounds = Histogram.bounds(kind)
        #expect(bounds.count == Histogram.bucketCount)
        for (a, b) in zip(bounds, bounds.dropFirst()) { #expect(a < b) }
    }

    @Test(arguments: Histogram.Kind.allCases)
    func `bounds are inclusive`(kind: Histogram.Kind) {
        for (i, bound) in Histogram.bounds(kind).enumerated() {
            var shard = Shard(worker: 0)
            shard.observe(kind, series: 1, nanoseconds: bound)
            shard.observe(kind, series: 1, nanoseconds: bound + 1)
            var expected = [UInt64](repeating: 0, count: Histogram.cells)
            expected[i] = 1
            expected[i + 1] += 1
            expected[Histogram.sumOffset] = bound * 2 + 1
            #expect(row(shard, kind) == expected)
        }
    }

    @Test(arguments: Histogram.Kind.allCases)
    func `nothing and very much are counted`(kind: Histogram.Kind) {
        var shard = Shard(worker: 0)
        shard.observe(kind, series: 1, nanoseconds: 0)
        shard.observe(kind, series: 1, nanoseconds: .max / 2)
        let values = row(shard, kind)
        #expect(values[0] == 1)
        #expect(values[Histogram.bucketCount] == 1)
        #expect(values[Histogram.sumOffset] == UInt64.max / 2)
    }

    @Test func `kinds and series do not mix`() {
        var shard = Shard(worker: 0)
        shard.observe(.processing, series: 1, nanoseconds: 1)
        shard.observe(.requestDuration, series: 1, nanoseconds: 1)
        shard.observe(.requestDuration, series: 2, nanoseconds: 1)
        #expect(row(shard, .processing)[0] == 1)
        #expect(row(shard, .requestDuration)[0] == 1)
        #expect(row(shard, .upstreamConnect).isEmpty)
    }
}
