import HTTP

/// Writes protobuf's wire format; lengths are known before, so nothing is written twice.
///
/// Every function says when its output did not fit; what is in `output` then is of no use.
public enum WireWriter {
    /// Bytes of a number.
    public static func count(_ number: UInt64) -> Int {
        max(1, (70 - number.leadingZeroBitCount) / 7)
    }

    /// Bytes of a field that has a value of so many bytes and a number below 16.
    public static func count(ofField value: Int) -> Int { 1 + count(UInt64(value)) + value }

    /// Appends a number.
    public static func append(_ number: UInt64, into output: inout OutputSpan<UInt8>) -> Bool {
        if output.freeCapacity < count(number) { return false }
        var rest = number
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(truncatingIfNeeded: rest))
        return true
    }

    /// Appends what stands before a value of `count` bytes.
    public static func begin(
        _ field: UInt64, _ count: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        append(field << 3 | 2, into: &output) && append(UInt64(count), into: &output)
    }

    /// Appends a field whose value is bytes.
    public static func append(
        _ field: UInt64, _ bytes: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        begin(field, bytes.count, into: &output) && ByteScan.append(bytes, to: &output)
    }

    /// Appends a field whose value is a small number or a truth.
    public static func append(
        _ field: UInt64, number: UInt64, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        append(field << 3, into: &output) && append(number, into: &output)
    }
}

/// How gRPC frames messages: a byte that says whether it is compressed, and four of length.
public enum GRPCFrame {
    public static let prefixBytes = 5

    /// Appends the prefix of a message that is not compressed.
    public static func begin(_ count: Int, into output: inout OutputSpan<UInt8>) -> Bool {
        if output.freeCapacity < prefixBytes { return false }
        output.append(0)
        for at in 0..<4 { output.append(UInt8(truncatingIfNeeded: count >> (24 - 8 * at))) }
        return true
    }

    /// What the bytes begin with.
    public enum Step: Equatable, Sendable {
        /// A message that stands at this range.
        case message(Range<Int>)
        case incomplete
        /// It is compressed, which nobody asked for, or longer than it may be.
        case refused
    }

    /// Reads the frame at the start of `bytes`.
    public static func read(_ bytes: Span<UInt8>, messageBytesMax: Int) -> Step {
        guard bytes.count >= prefixBytes else { return .incomplete }
        var count = 0
        for at in 1..<prefixBytes { count = count << 8 | Int(bytes[at]) }
        if bytes[0] != 0 || count > messageBytesMax { return .refused }
        if bytes.count - prefixBytes < count { return .incomplete }
        return .message(prefixBytes..<(prefixBytes + count))
    }
}
