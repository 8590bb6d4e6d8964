// Proves that every number counted is read back once, in its own row, also while others read.

import Kernel
import Testing

@testable import Telemetry

@Suite struct ShardTests {
    private func sums(_ reader: ShardReader) -> [Column: [UInt64]] {
        var sums: [Column: [UInt64]] = [:]
        reader.add(to: &sums)
        return sums
    }

    @Test func `counters and gauges have cells of their own`() {
        var shard = Shard(worker: 3)
        for counter in Counter.allCases { shard.add(counter, UInt64(counter.rawValue) + 1) }
        for gauge in Gauge.allCases { shard.set(gauge, UInt64(gauge.rawValue) + 1_000) }
        shard.add(.retries)
        shard.set(.activeExchanges, 7)
        let reader = shard.reader
        #expect(shard.worker == 3)
        for counter in Counter.allCases {
            let extra: UInt64 = counter == .retries ? 1 : 0
            #expect(reader.value(counter) == UInt64(counter.rawValue) + 1 + extra)
        }
        for gauge in Gauge.allCases {
            let value = gauge == .activeExchanges ? 7 : UInt64(gauge.rawValue) + 1_000
            #expect(reader.value(gauge) == value)
        }
    }

    @Test func `turns of the loop are counted in a row of their own`() {
        var shard = Shard(worker: 0)
        shard.observeTick(nanoseconds: 9_000)
        shard.observeTick(nanoseconds: 10_001)
        let row = sums(shard.reader)[.histogram(.workerTick, series: Series.none)]
        #expect(row?[0] == 1)
        #expect(row?[1] == 1)
        #expect(row?[Histogram.sumOffset] == 19_001)
    }

    @Test func `requests are counted by series, method and status`() {
        var shard = Shard(worker: 0)
        for _ in 0..<3 { shard.countRequest(series: 5, method: 0, status: 200) }
        shard.countRequest(series: 5, method: 2, status: 200)
        shard.countRequest(series: 5, method: 0, status: 404)
        shard.countRequest(series: 6, method: 0, status: 200)
        shard.countRequest(series: Series.none, method: 9, status: 400)
        let rows = sums(shard.reader)
        #expect(rows[.request(series: 5, method: 0, status: 200)] == [3])
        #expect(rows[.request(series: 5, method: 2, status: 200)] == [1])
        #expect(rows[.request(series: 5, method: 0, status: 404)] == [1])
        #expect(rows[.request(series: 6, method: 0, status: 200)] == [1])
        #expect(rows[.request(series: Series.none, method: 9, status: 400)] == [1])
        #expect(shard.reader.requests(series: 5) == 5)
    }

    @Test func `failures are counted by series and reason`() {
        var shard = Shard(worker: 0)
        for reason in UpstreamFailure.allCases {
            for _ in 0...reason.rawValue { shard.countUpstreamFailure(series: 9, reason: reason) }
        }
        let rows = sums(shard.reader)
        for reason in UpstreamFailure.allCases {
            #expect(rows[.failure(series: 9, reason: reason)] == [UInt64(reason.rawValue) + 1])
        }
    }

    @Test func `rows beyond the capacity go to the row of others and none is lost`() {
        var shard = Shard(worker: 0, capacity: Shard.Capacity(numbers: 10, histograms: 2))
        for series in 1...1_000 {
            shard.countRequest(series: UInt32(series), method: 0, status: 200)
            shard.countUpstreamFailure(series: UInt32(series), reason: .tls)
            shard.observe(.processing, series: UInt32(series), nanoseconds: 1)
        }
        let rows = sums(shard.reader)
        var requests: UInt64 = 0
        var failures: UInt64 = 0
        var durations: UInt64 = 0
        for (column, values) in rows {
            switch column.kind {
            case .request: requests += values[0]
            case .failure: failures += values[0]
            case .histogram: durations += values[0]
            case nil: Issue.record("a row of no kind")
            }
        }
        #expect(requests == 1_000)
        #expect(failures == 1_000)
        #expect(durations == 1_000)
        let others = rows[.request(series: Series.other, method: .max, status: 0)]
        #expect((others?[0] ?? 0) > 900)
        #expect((rows[.failure(series: Series.other, reason: .tls)]?[0] ?? 0) > 900)
        #expect((rows[.histogram(.processing, series: Series.other)]?[0] ?? 0) > 900)
    }

    @Test func `rows keep their numbers while the index grows`() {
        var shard = Shard(worker: 0)
        for round in 1...3 {
            for series in 1...5_000 {
                shard.countRequest(series: UInt32(series), method: 1, status: 200)
            }
            let rows = sums(shard.reader)
            for series in 1...5_000 {
                let row = rows[.request(series: UInt32(series), method: 1, status: 200)]
                #expect(row == [UInt64(round)])
            }
        }
    }

    @Test func `a retired series vanishes and its rows are used again`() {
        var shard = Shard(worker: 0, capacity: Shard.Capacity(numbers: 4, histograms: 1))
        for round in 0..<100 {
            let series = UInt32(round + 1)
            shard.countRequest(series: series, method: 0, status: 200)
            shard.countRequest(series: series, method: 0, status: 500)
            shard.observe(.requestDuration, series: series, nanoseconds: 5)
            var rows = sums(shard.reader)
            #expect(rows[.request(series: series, method: 0, status: 200)] == [1])
            #expect(rows[.request(series: series, method: 0, status: 500)] == [1])
            #expect(rows[.histogram(.requestDuration, series: series)]?[0] == 1)
            shard.retire(series: series)
            rows = sums(shard.reader)
            #expect(rows.keys.allSatisfy { Column.reserved.contains($0) })
        }
        let others = sums(shard.reader).values.map { $0[0] }
        #expect(others.allSatisfy { $0 == 0 }, "nothing overflowed")
    }

    @Test func `a series that had to share the overflow has its own rows after a retirement`() {
        var shard = Shard(worker: 0, capacity: Shard.Capacity(numbers: 1, histograms: 3))
        func count(_ series: UInt32, _ shard: inout Shard) {
            shard.countRequest(series: series, method: 0, status: 200)
            shard.observe(
                series: series, requestDuration: 9, processing: 9, timeToFirstByte: 9)
        }
        for _ in 0..<3 {
            count(1, &shard)
            count(2, &shard)
        }
        shard.retire(series: 1)
        for _ in 0..<2 { count(2, &shard) }
        count(1, &shard)
        let rows = sums(shard.reader)
        let other = Series.other
        #expect(rows[.request(series: 1, method: 0, status: 200)] == nil)
        #expect(rows[.request(series: 2, method: 0, status: 200)] == [2])
        #expect(rows[.request(series: other, method: .max, status: 0)] == [4])
        for kind in [Histogram.Kind.requestDuration, .processing, .timeToFirstByte] {
            #expect(rows[.histogram(kind, series: 2)]?[0] == 2)
            #expect(rows[.histogram(kind, series: other)]?[0] == 4)
        }
    }

    @Test(arguments: [0, 1, 65_535, 65_536, 1 << 31, .max - 1] as [UInt32])
    func `requests of one series are told apart, whatever its id`(series: UInt32) {
        var shard = Shard(worker: 0)
        for i in 0..<60 {
            shard.countRequest(
                series: series, method: UInt8(i % 2), status: i % 3 == 0 ? 200 : 503)
            shard.observe(
                series: series, requestDuration: 2, processing: 3, timeToFirstByte: 4)
        }
        let rows = sums(shard.reader)
        #expect(rows[.request(series: series, method: 0, status: 200)] == [10])
        #expect(rows[.request(series: series, method: 1, status: 200)] == [10])
        #expect(rows[.request(series: series, method: 0, status: 503)] == [20])
        #expect(rows[.request(series: series, method: 1, status: 503)] == [20])
        #expect(rows[.histogram(.processing, series: series)]?[Histogram.sumOffset] == 180)
    }

    @Test func `retiring one series leaves the others`() {
        var shard = Shard(worker: 0)
        for series in 1...300 { shard.countRequest(series: UInt32(series), method: 0, status: 200) }
        for series in stride(from: 1, through: 300, by: 2) { shard.retire(series: UInt32(series)) }
        for series in 1...300 {
            #expect(shard.reader.requests(series: UInt32(series)) == (series % 2 == 0 ? 1 : 0))
        }
        for series in 1...300 { shard.countRequest(series: UInt32(series), method: 0, status: 200) }
        for series in 1...300 {
            #expect(shard.reader.requests(series: UInt32(series)) == (series % 2 == 0 ? 2 : 1))
        }
    }

    @Test func `readers see numbers that only grow while a writer counts`() throws {
        let seriesCount: UInt32 = 50
        let rounds: UInt64 = 4_000
        let readers = Shared()
        let writer = try Thread.start(name: "writer") {
            var shard = Shard(worker: 0)
            readers.publish(shard.reader)
            for _ in 0..<rounds {
                for series in 1...seriesCount {
                    shard.countRequest(series: series, method: 0, status: 200)
                    shard.observe(.processing, series: series, nanoseconds: 1_000)
                }
            }
            readers.finish()
        }
        let watchers = try (0..<2).map { _ in
            try Thread.start(name: "reader") {
                var last: [Column: [UInt64]] = [:]
                while !readers.isFinished {
                    guard let reader = readers.reader else { continue }
                    var now: [Column: [UInt64]] = [:]
                    reader.add(to: &now)
                    for (column, values) in now {
                        for (old, new) in zip(last[column] ?? [], values) where new < old {
                            readers.fail()
                        }
                    }
                    last = now
                }
            }
        }
        writer.join()
        for watcher in watchers { watcher.join() }
        let reader = try #require(readers.reader)
        #expect(!readers.hasFailed)
        for series in 1...seriesCount { #expect(reader.requests(series: series) == rounds) }
        let row = sums(reader)[.histogram(.processing, series: 1)]
        #expect(row?[Histogram.sumOffset] == rounds * 1_000)
    }
}

/// What the threads of a test share.
private final class Shared: Sendable {
    private struct State: Sendable {
        var reader: ShardReader?
        var isFinished = false
        var hasFailed = false
    }

    private let state = Lock(State())

    var reader: ShardReader? { state.withLock { $0.reader } }
    var isFinished: Bool { state.withLock { $0.isFinished } }
    var hasFailed: Bool { state.withLock { $0.hasFailed } }
    func publish(_ reader: ShardReader) { state.withLock { $0.reader = reader } }
    func finish() { state.withLock { $0.isFinished = true } }
    func fail() { state.withLock { $0.hasFailed = true } }
}
