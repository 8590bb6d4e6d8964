// A window grows by doubling, to what its path's round trip is worth, and only for whoever is fast.
import Testing

@testable import HTTPCodec

/// A path that an expectation can ask.
private final class Held {
    private var path = PathWindow()
    var isWanted: Bool { path.isWanted }
    func measured(microseconds: UInt32?, now: UInt64) {
        path.measured(microseconds: microseconds, now: now)
    }
    func grown(_ window: Int32, since: UInt64, now: UInt64, windowMax: UInt32) -> Int32? {
        path.grown(window, since: since, now: now, windowMax: windowMax)
    }
}

@Suite struct PathWindowTests {
    /// What a window of 64 KiB becomes when it is read at once again and again.
    private func last(_ roundTrip: UInt32, windowMax: UInt32 = 16 << 20) -> (Int32, steps: Int) {
        let path = Held()
        path.measured(microseconds: roundTrip, now: 10)
        var window: Int32 = 65_536
        var steps = 0
        while let larger = path.grown(window, since: 10, now: 10, windowMax: windowMax) {
            if larger <= window || larger > 2 * window { return (-1, steps) }
            window = larger
            steps += 1
        }
        return (window, steps)
    }

    /// Round trips in microseconds, and what 10 Gbit/s make of them and a millisecond.
    static let paths: [(UInt32, Int32)] = [
        (0, 1_250_000), (50, 1_312_500), (1_000, 2_500_000), (10_000, 13_750_000),
        (12_421, 16_776_250), (12_422, 16 << 20), (500_000, 16 << 20), (.max, 16 << 20),
    ]

    @Test(arguments: PathWindowTests.paths)
    func `a window grows as far as its path is long`(roundTrip: UInt32, bound: Int32) {
        let (window, steps) = last(roundTrip)
        #expect(window == bound)
        #expect(steps <= 8)
        // 10 Gbit/s for 10 ms fit into it (robustness.md, section 6).
        if roundTrip == 10_000 { #expect(window >= 12_500_000) }
    }

    @Test func `the limit holds on any path`() {
        #expect(last(10_000, windowMax: 1 << 20).0 == 1 << 20)
        #expect(last(10_000, windowMax: 65_536).steps == 0)
        #expect(last(10_000, windowMax: .max).0 == 13_750_000)
    }

    @Test(arguments: [(UInt32(0), UInt64(1)), (10_000, 21), (10_400, 21)])
    func `no window grows that takes longer than about a round trip`(
        roundTrip: UInt32, longest: UInt64
    ) {
        let path = Held()
        path.measured(microseconds: roundTrip, now: 100)
        #expect(path.grown(65_536, since: 100, now: 100 + longest, windowMax: 1 << 20) == 131_072)
        #expect(path.grown(65_536, since: 100, now: 101 + longest, windowMax: 1 << 20) == nil)
        #expect(path.grown(65_536, since: 0, now: 100, windowMax: 1 << 20) == nil, "none came")
        #expect(path.grown(65_536, since: 101, now: 100, windowMax: 1 << 20) == nil)
    }

    @Test func `the round trip is wanted before the first growth, and when it is old`() {
        let path = Held()
        #expect(!path.isWanted)
        #expect(path.grown(65_536, since: 5, now: 5, windowMax: 65_536) == nil)
        #expect(!path.isWanted, "it may not grow in any case")
        #expect(path.grown(65_536, since: 5, now: 5, windowMax: 1 << 20) == nil)
        #expect(path.isWanted)
        path.measured(microseconds: nil, now: 5)
        #expect(!path.isWanted && path.grown(65_536, since: 5, now: 5, windowMax: 1 << 20) == nil)
        path.measured(microseconds: 7, now: 10)
        #expect(path.grown(65_536, since: 10, now: 1_009, windowMax: 1 << 20) == nil)
        #expect(!path.isWanted)
        _ = path.grown(65_536, since: 1_010, now: 1_010, windowMax: 1 << 20)
        #expect(path.isWanted)
    }
}
