/// The numbers that a client's streams have had, as far as it takes to know one that was passed over.
///
/// Such a number must not begin a stream later (RFC 9113 §5.1.1), which the library does not see to;
/// one that was used may still come in HEADERS, as the trailers of a stream that is gone. Of many
/// gaps the last few are remembered: honest clients leave none.
struct StreamNumbers: BitwiseCopyable, Sendable {
    private static var gapsMax: Int { 4 }

    private(set) var highest: UInt32 = 0
    private var firsts = InlineArray<4, UInt32>(repeating: 0)
    private var lasts = InlineArray<4, UInt32>(repeating: 0)
    private var nextGap = 0

    /// Takes the number of a HEADERS frame; false when it was passed over before.
    mutating func take(_ number: UInt32) -> Bool {
        if number <= highest { return !wasPassedOver(number) }
        // Numbers have 31 bits, so that two more is no overflow.
        let expected = highest == 0 ? 1 : highest + 2
        if number > expected {
            firsts[nextGap] = expected
            lasts[nextGap] = number - 1
            nextGap = (nextGap + 1) % Self.gapsMax
        }
        highest = number
        return true
    }

    private func wasPassedOver(_ number: UInt32) -> Bool {
        for gap in 0..<Self.gapsMax
        where firsts[gap] != 0 && number >= firsts[gap] && number <= lasts[gap] {
            return true
        }
        return false
    }
}
