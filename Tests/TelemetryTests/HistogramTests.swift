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

    @Test(arguments: Histogram.Kind.allCases)
    func `the bucket is the one that a search finds`(kind: Histogram.Kind) {
        let buckets = Buckets()
        let bounds = Histogram.bounds(kind)
        var values: [UInt64] = [0, .max, .max - 1]
        for bound in bounds { values += [bound - 1, bound, bound + 1] }
        for shift in 0..<64 as Range<UInt64> {
            let power: UInt64 = 1 << shift
            values += [power - 1, power, power + 1, power + power / 2, power | power >> 2]
        }
        for value in values {
            let expected = bounds.firstIndex { value <= $0 } ?? bounds.count
            #expect(buckets.bucket(kind, value) == expected, "\(value)")
        }
    }

    @Test func `an exchange adds to three histograms, of what is known`() {
        var shard = Shard(worker: 0)
        var plain = Shard(worker: 0)
        for i in 0..<300 as Range<UInt64> {
            let series = UInt32(i % 3) * 40_000
            let times = (i * 7_001_001, i % 5 == 0 ? 0 : i * 1_013, i % 7 == 0 ? 0 : i * 950_003)
            shard.observe(
                series: series, requestDuration: times.0, processing: times.1,
                timeToFirstByte: times.2)
            plain.observe(.requestDuration, series: series, nanoseconds: times.0)
            if times.1 != 0 { plain.observe(.processing, series: series, nanoseconds: times.1) }
            if times.2 != 0 {
                plain.observe(.timeToFirstByte, series: series, nanoseconds: times.2)
            }
        }
        var sums: [Column: [UInt64]] = [:]
        var expected: [Column: [UInt64]] = [:]
        shard.reader.add(to: &sums)
        plain.reader.add(to: &expected)
        #expect(sums == expected)
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
