// Proves that durations are read and written as GEP-2257 has them.
import Testing

@testable import Control

@Suite struct GatewayDurationTests {
    @Test(
        arguments: [
            ("0s", 0), ("1h", 3_600_000), ("30m", 1_800_000), ("10s", 10_000), ("500ms", 500),
            ("1h2m3s4ms", 3_723_004), ("10s30m1h", 5_410_000), ("99999h", 359_996_400_000),
            ("1s1s", 2_000),
        ] as [(String, UInt64)])
    func `a duration is the sum of its parts`(text: String, milliseconds: UInt64) {
        #expect(GatewayDuration(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "1", "s", "1x", "1.5s", "-1s", "1 s", "100000s", "1h1m1s1ms1h", "1sm", "1m s",
    ])
    func `another form is refused`(text: String) {
        #expect(GatewayDuration(text) == nil)
    }

    @Test(
        arguments: [
            (0, "0s"), (500, "500ms"), (90_000, "1m30s"), (3_723_004, "1h2m3s4ms"),
            (86_400_000, "24h"),
        ] as [(UInt64, String)])
    func `a number of milliseconds is written the shortest way`(
        milliseconds: UInt64, text: String
    ) {
        #expect(GatewayDuration.text(milliseconds: milliseconds) == text)
        #expect(GatewayDuration(text)?.milliseconds == milliseconds)
    }

    @Test func `what is too long for a table is cut`() {
        #expect(GatewayDuration("99999h")?.clampedMilliseconds == .max)
    }
}
