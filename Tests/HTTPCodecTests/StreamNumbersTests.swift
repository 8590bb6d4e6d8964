import Testing

@testable import HTTPCodec

/// Which numbers may stand in a client's HEADERS.
@Suite struct StreamNumbersTests {
    private func verdicts(_ numbers: [UInt32]) -> [Bool] {
        var known = StreamNumbers()
        return numbers.map { known.take($0) }
    }

    @Test func `numbers that follow each other are taken, and again for trailers`() {
        #expect(verdicts([1, 3, 5, 3, 1, 5, 7]).allSatisfy { $0 })
    }

    @Test func `a number that was passed over is refused, one that was used is not`() {
        #expect(verdicts([5, 101, 51]) == [true, true, false])
        #expect(verdicts([5, 1]) == [true, false])
        #expect(verdicts([1, 5, 3]) == [true, true, false])
        #expect(verdicts([1, 5, 1, 5]) == [true, true, true, true])
    }

    @Test func `the largest number is no overflow`() {
        #expect(verdicts([1, 0x7FFF_FFFF, 0x7FFF_FFFF, 3]) == [true, true, true, false])
    }

    @Test func `the last gaps are remembered`() {
        #expect(
            verdicts([3, 7, 11, 15, 19, 17, 13, 9, 5]).suffix(4) == [false, false, false, false])
    }
}
