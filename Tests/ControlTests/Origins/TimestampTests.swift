// Proves that times compare by moment, whatever their offset and fraction.
import Testing

@testable import Control

@Suite struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0, 0), ("2000-02-29T12:00:00Z", 951_825_600, 0),
        ("2026-05-04T03:02:01Z", 1_777_863_721, 0),
        ("2026-05-04T05:02:01.5+02:00", 1_777_863_721, 500_000_000),
        ("2026-05-03T22:02:01.123456789123-05:00", 1_777_863_721, 123_456_789),
        ("1969-12-31t23:59:59z", -1, 0), ("2100-03-01T00:00:00Z", 4_107_542_400, 0),
    ])
    func `a time is its seconds and nanoseconds`(_ text: String, _ seconds: Int, _ nano: Int) {
        let time = Timestamp(text)
        #expect(time?.seconds == Int64(seconds))
        #expect(time?.nanoseconds == Int32(nano))
        #expect(time?.description == text)
    }

    @Test(arguments: [
        "", "2026", "2026-05-04", "2026-05-04T03:02:01", "2026-13-04T03:02:01Z",
        "2026-00-04T03:02:01Z", "2026-05-04T24:02:01Z", "2026-05-04T03:02:01.Z",
        "2026-05-04T03:02:01Zx", "2026-05-04 03:02:01Z", "2026-05-04T03:02:01+2:00",
    ])
    func `what is no date-time of RFC 3339 is refused`(_ text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test func `equal moments are equal, later ones greater`() throws {
        let a = try #require(Timestamp("2026-05-04T03:02:01Z"))
        let b = try #require(Timestamp("2026-05-04T05:02:01+02:00"))
        let c = try #require(Timestamp("2026-05-04T03:02:01.1Z"))
        #expect(a == b)
        #expect(Set([a, b]).count == 1)
        #expect(a < c)
        #expect(!(a < b))
    }
}
