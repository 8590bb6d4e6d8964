import HTTP

/// The last bytes of an answer of Ollama's, where it says how long it took (`ai-features.md` §1.2).
///
/// What a model says cannot be mistaken for it: inside of a text a quotation mark has a backslash in front.
public struct AnswerTail: Sendable {
    /// More than all numbers of the last object have together.
    public static var capacity: Int { 512 }

    private var storage = InlineArray<512, UInt8>(repeating: 0)
    private var count = 0

    /// Nothing yet.
    public init() {}

    /// Takes the next bytes of content, with or without their framing.
    public mutating func append(_ bytes: Span<UInt8>) {
        let new = bytes.extracting(max(0, bytes.count - Self.capacity)..<bytes.count)
        let excess = max(0, count + new.count - Self.capacity)
        if excess > 0 {
            for at in 0..<(count - excess) { storage[at] = storage[at + excess] }
            count -= excess
        }
        for at in new.indices { storage[count + at] = new[at] }
        count += new.count
    }

    /// What the bytes say; zeroes are left out by the server and stand for themselves.
    public var timings: RequestTimings {
        var timings = RequestTimings()
        guard number("\"total_duration\":") != nil else { return timings }
        timings.load = number("\"load_duration\":") ?? 0
        timings.isLoadKnown = true
        timings.prompt = number("\"prompt_eval_duration\":") ?? 0
        return timings
    }

    /// The whole number behind the last occurrence of a name.
    private func number(_ name: StaticString) -> UInt64? {
        let length = name.utf8CodeUnitCount
        if count < length { return nil }
        var at = count - length
        while at >= 0 {
            if isName(name, at) { return decimal(at + length) }
            at -= 1
        }
        return nil
    }

    private func isName(_ name: StaticString, _ at: Int) -> Bool {
        // A name in a text has the backslash that is not there before a member's.
        if at > 0 && storage[at - 1] == UInt8(ascii: "\\") { return false }
        return ByteScan.equal(
            storage.span.extracting(at..<(at + name.utf8CodeUnitCount)), ByteScan.bytes(name))
    }

    private func decimal(_ start: Int) -> UInt64? {
        var at = start
        while at < count && storage[at] == UInt8(ascii: " ") { at += 1 }
        var value: UInt64 = 0
        let first = at
        while at < count, storage[at] >= 0x30, storage[at] <= 0x39, value < 1 << 58 {
            value = value * 10 + UInt64(storage[at] - 0x30)
            at += 1
        }
        return at == first ? nil : value
    }
}
