import HTTP

/// The lines of a head of HTTP/1.1 as `HeadWriter` writes it: canonical, ended by an empty line.
public struct HeadText: Sendable {
    /// One field line.
    public struct Line: Sendable {
        public let name: Range<Int>
        public let value: Range<Int>
        /// With its CRLF.
        public let all: Range<Int>
    }

    /// The start line, without its CRLF.
    public let start: Range<Int>
    private var at: Int
    private let end: Int

    public init(_ head: Span<UInt8>) {
        let first = ByteScan.first(0x0D, head, from: 0, to: head.count)
        start = 0..<first
        at = min(first + 2, head.count)
        end = head.count
    }

    /// The next field line; nil at the empty line.
    public mutating func next(_ head: Span<UInt8>) -> Line? {
        let close = ByteScan.first(0x0D, head, from: at, to: end)
        if close == at || close >= end { return nil }
        let colon = ByteScan.first(0x3A, head, from: at, to: close)
        var value = min(colon + 1, close)
        while value < close, head[value] == 0x20 { value += 1 }
        let line = Line(name: at..<colon, value: value..<close, all: at..<min(close + 2, end))
        at = line.all.upperBound
        return line
    }
}
