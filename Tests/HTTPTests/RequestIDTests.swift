// Proves which identities of clients are kept, and what a new one looks like.
import Testing

@testable import HTTP

@Suite struct RequestIDTests {
    @Test(arguments: ["a", "A-z.0_9", String(repeating: "x", count: 128)])
    func `a valid identity is kept`(_ id: String) {
        check(RequestID.isValid(bytes(id).span))
    }

    @Test(arguments: [
        "", String(repeating: "x", count: 129), "a b", "a\"b", "a/b", "\u{E9}", "a\0", "a,b",
    ])
    func `an invalid identity is not`(_ id: String) {
        check(!RequestID.isValid(bytes(id).span))
    }

    @Test func `a new identity is a UUID of version 7 that sorts by time`() {
        func id(_ milliseconds: UInt64, _ random: (UInt64, UInt64)) -> String {
            text(
                written { RequestID.write(milliseconds: milliseconds, random: random, into: &$0) }
                    ?? [])
        }
        // The example of RFC 9562 §A.6.
        #expect(
            id(0x017F_22E2_79B0, (0xCC3, 0x18C4_DC0C_0C07_398F))
                == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
        #expect(id(0, (0, 0)) == "00000000-0000-7000-8000-000000000000")
        #expect(id(.max, (.max, .max)) == "ffffffff-ffff-7fff-bfff-ffffffffffff")
        #expect(id(1, (.max, .max)) < id(2, (0, 0)))
        check(RequestID.isValid(bytes(id(5, (6, 7))).span))
    }

    /// The digits one by one, with hyphens after 8, 12, 16 and 20.
    private func reference(_ milliseconds: UInt64, _ random: (UInt64, UInt64)) -> String {
        let words = [
            milliseconds << 16 | 7 << 12 | random.0 & 0xFFF, 2 << 62 | random.1 & (1 << 62 - 1),
        ]
        var digits = ""
        for word in words {
            for shift in stride(from: UInt64(60), through: 0, by: -4) {
                digits += String(word >> shift & 15, radix: 16)
                if [8, 13, 18, 23].contains(digits.count) { digits += "-" }
            }
        }
        return digits
    }

    @Test func `a new identity has the digits of its bits`() {
        var random = Seeded(30)
        for _ in 0..<10_000 {
            let milliseconds = random.next()
            let bits = (random.next(), random.next())
            let id = written {
                RequestID.write(milliseconds: milliseconds, random: bits, into: &$0)
            }
            #expect(text(id ?? []) == reference(milliseconds, bits))
            var additions = RequestAdditions(via: "a")
            additions.makeRequestID(milliseconds: milliseconds, random: bits)
            check(text(additions.requestID) == reference(milliseconds, bits))
        }
    }

    @Test func `nothing is written where 36 bytes do not fit`() {
        #expect(
            written(capacity: 35) { RequestID.write(milliseconds: 1, random: (2, 3), into: &$0) }
                == nil)
    }
}
