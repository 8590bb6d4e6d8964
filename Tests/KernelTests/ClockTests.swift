// The clocks go on and agree with each other.
import Glibc
import Kernel
import Testing

struct ClockTests {
    @Test func `monotonic time does not go back`() {
        var last = Clock.monotonicNanoseconds()
        for _ in 0..<1000 {
            let now = Clock.monotonicNanoseconds()
            #expect(now >= last)
            last = now
        }
    }

    @Test func `milliseconds and nanoseconds are one clock`() {
        let before = Clock.monotonicNanoseconds() / 1_000_000
        let middle = Clock.monotonicMilliseconds()
        let after = Clock.monotonicNanoseconds() / 1_000_000
        #expect(before <= middle && middle <= after)
    }

    @Test func `wall time is the time of day`() {
        let before = UInt64(time(nil))
        let middle = Clock.wallNanoseconds() / 1_000_000_000
        let after = UInt64(time(nil))
        #expect(before <= middle + 1 && middle <= after + 1)
    }
}
