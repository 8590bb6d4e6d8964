// Proves that a row's key keeps what it was made of, and that no two rows share one.

import Testing

@testable import Telemetry

@Suite struct ColumnTests {
    @Test func `keys differ and are never zero`() {
        var seen: Set<UInt64> = []
        for series: UInt32 in [0, 1, 2, .max - 1, .max] {
            for code: UInt16 in [0, 1, 200, 599, .max] {
                for method: UInt8 in [0, 1, 9, .max] {
                    let column = Column.request(series: series, method: method, status: code)
                    #expect(column.key != 0)
                    #expect(seen.insert(column.key).inserted)
                    #expect(column.kind == .request)
                    #expect(column.series == series)
                    #expect(column.method == method)
                    #expect(column.code == code)
                }
            }
            for reason in UpstreamFailure.allCases {
                let column = Column.failure(series: series, reason: reason)
                #expect(seen.insert(column.key).inserted)
                #expect(column.kind == .failure)
                #expect(column.overflow == .failure(series: Series.other, reason: reason))
            }
            for kind in Histogram.Kind.allCases {
                let column = Column.histogram(kind, series: series)
                #expect(seen.insert(column.key).inserted)
                #expect(column.width == Histogram.cells)
                #expect(column.overflow == .histogram(kind, series: Series.other))
            }
        }
    }

    @Test func `every overflow is reserved`() {
        let reserved = Set(Column.reserved)
        #expect(reserved.contains(Column.request(series: 1, method: 0, status: 200).overflow))
        for reason in UpstreamFailure.allCases {
            #expect(reserved.contains(Column.failure(series: 1, reason: reason).overflow))
        }
        for kind in Histogram.Kind.allCases {
            #expect(reserved.contains(Column.histogram(kind, series: 1).overflow))
        }
    }

    @Test func `words of reasons and endings are distinct and plain`() {
        let words = UpstreamFailure.allCases.map(\.text) + Ended.allCases.map(\.text)
        #expect(Set(UpstreamFailure.allCases.map(\.text)).count == UpstreamFailure.allCases.count)
        #expect(Set(Ended.allCases.map(\.text)).count == Ended.allCases.count)
        for word in words {
            #expect(word.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == 0x5F })
        }
    }
}
