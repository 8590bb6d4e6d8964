import HTTP

/// What becomes of a head by somebody's leave: lines of an edit, a name in small letters, a colon and a value, each
/// ended by CRLF.
///
/// A name stands on its line whatever the edit; only a removal has no value.
public struct HeadEdits: Sendable {
    /// What is done with a field.
    public enum Edit: UInt8, BitwiseCopyable, Sendable {
        /// Its lines are dropped.
        case remove = 0x2D
        /// Its lines are replaced by one.
        case set = 0x3D
        /// A line is added.
        case add = 0x2B
        /// A line is added where there is none.
        case complete = 0x3F
        /// Its lines are replaced by one, if there are any.
        case replace = 0x7E
    }

    /// One edit, as places in the bytes.
    public struct Line: Sendable {
        public let edit: Edit
        public let name: Range<Int>
        public let value: Range<Int>
    }

    private var at = 0

    public init() {}

    /// The next edit of those that `append` wrote; nil at the end.
    public mutating func next(_ bytes: Span<UInt8>) -> Line? {
        guard at < bytes.count, let edit = Edit(rawValue: bytes[at]) else { return nil }
        let end = ByteScan.first(0x0D, bytes, from: at, to: bytes.count)
        let colon = ByteScan.first(0x3A, bytes, from: at, to: end)
        let line = Line(edit: edit, name: (at + 1)..<colon, value: min(colon + 1, end)..<end)
        at = min(end + 2, bytes.count)
        return line
    }

    /// Appends what an edit begins with; the name, a colon and the value follow.
    public static func begin(_ edit: Edit, into output: inout OutputSpan<UInt8>) -> Bool {
        if output.freeCapacity == 0 { return false }
        output.append(edit.rawValue)
        return true
    }

    /// Appends an edit of a field that is a field's name and value; false when it does not fit.
    public static func append(
        _ edit: Edit, _ name: Span<UInt8>, _ value: Span<UInt8>,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard output.freeCapacity >= name.count + value.count + 4 else { return false }
        output.append(edit.rawValue)
        for at in 0..<name.count { output.append(ByteScan.lowered(name[at])) }
        output.append(0x3A)
        return ByteScan.append(value, "\r\n", to: &output)
    }
}
