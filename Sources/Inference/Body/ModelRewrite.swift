import HTTP

/// Another model's name in the place of the one that content has: a splice, never content written anew
/// (`ai-features.md` §0).
public struct ModelRewrite: Sendable {
    /// How names are written where the name lies.
    public enum Place: Sendable {
        /// As a JSON string, quotes included.
        case json
        /// As it is, in a part of a form.
        case form
    }

    /// What is replaced, in the content as it came.
    public let range: Range<Int>

    /// How many bytes take its place.
    public let count: Int

    private let name: ModelName
    private let place: Place

    /// A splice at the range that a scanner found.
    public init(_ range: Range<Int>, by name: ModelName, in place: Place) {
        self.range = range
        self.name = name
        self.place = place
        switch place {
        case .json: count = JSONText.count(quoted: name)
        case .form: count = name.count
        }
    }

    /// The length of the content afterwards; nil when the range does not lie in content of this length.
    public func contentLength(from length: UInt64) -> UInt64? {
        guard range.lowerBound >= 0, UInt64(range.upperBound) <= length else { return nil }
        return length - UInt64(range.count) + UInt64(count)
    }

    /// Appends what takes the range's place; false, and nothing appended, when it does not fit.
    public func write(into output: inout OutputSpan<UInt8>) -> Bool {
        if output.freeCapacity < count { return false }
        switch place {
        case .json:
            return JSONText.append(quoted: name, from: 0, to: &output) == count
        case .form: return ByteScan.append(name.span, to: &output)
        }
    }
}
