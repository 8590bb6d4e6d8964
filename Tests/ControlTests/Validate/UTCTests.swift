// Proves that moments are written as the API reads them.
import Testing

@testable import Control

@Suite struct UTCTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"), (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] as [(Int64, String)])
    func `seconds are written as a date and time`(seconds: Int64, text: String) {
        #expect(UTC.text(seconds) == text)
        #expect(Timestamp(text)?.seconds == seconds)
    }
}
