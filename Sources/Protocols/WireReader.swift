/// One field of a protobuf message, as it stands on the wire.
public struct WireField: Sendable {
    /// How its value is written.
    public enum Kind: UInt8, BitwiseCopyable, Sendable {
        case number, fixed64, bytes, fixed32
    }

    public let number: UInt64
    public let kind: Kind
    /// The value of `.number`.
    public let value: UInt64
    /// Where the value of `.bytes` stands: a message, a text or bytes.
    public let range: Range<Int>

    /// Whether it is the field of this number, with a value of bytes.
    @inlinable
    public func isBytes(_ wanted: UInt64) -> Bool { kind == .bytes && number == wanted }

    /// Whether it is the field of this number, with a value that is a number.
    @inlinable
    public func isNumber(_ wanted: UInt64) -> Bool { kind == .number && number == wanted }

    init(_ number: UInt64, _ kind: Kind, value: UInt64 = 0, range: Range<Int> = 0..<0) {
        self.number = number
        self.kind = kind
        self.value = value
        self.range = range
    }
}

/// The fields of a message, one after the other: bounded by the range it stands in, without a copy.
///
/// Whoever reads skips what it does not know. Where the bytes are no message the fields end and `isMalformed` says so.
public struct WireFields: Sendable {
    private var at: Int
    private let end: Int
    public private(set) var isMalformed = false

    /// The fields of the message at this range of the bytes that `next` is given.
    public init(_ range: Range<Int>) {
        at = range.lowerBound
        end = range.upperBound
    }

    /// The next field; nil at the end and from the first malformed one on.
    public mutating func next(_ bytes: Span<UInt8>) -> WireField? {
        guard at < end else { return nil }
        guard end <= bytes.count, let tag = number(bytes), tag >> 3 > 0, tag >> 3 < 1 << 29 else {
            return broken()
        }
        switch tag & 7 {
        case 0:
            guard let value = number(bytes) else { return broken() }
            return WireField(tag >> 3, .number, value: value)
        case 1: return skip(8) ? WireField(tag >> 3, .fixed64) : broken()
        case 2:
            guard let count = number(bytes), count <= UInt64(end - at) else { return broken() }
            let start = at
            at += Int(count)
            return WireField(tag >> 3, .bytes, range: start..<at)
        case 5: return skip(4) ? WireField(tag >> 3, .fixed32) : broken()
        default: return broken()
        }
    }

    private mutating func broken() -> WireField? {
        isMalformed = true
        at = end
        return nil
    }

    private mutating func skip(_ count: Int) -> Bool {
        if end - at < count { return false }
        at += count
        return true
    }

    /// A number of up to ten bytes, seven bits in each.
    private mutating func number(_ bytes: Span<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < end, shift < 64 {
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
