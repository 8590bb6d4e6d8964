import HTTP

/// Walks the field lines of a head's text, each `name: value CRLF`, up to an empty line.
struct LineWalker: BitwiseCopyable {
    struct Line: BitwiseCopyable {
        var name: ByteRange
        /// Without white space around it.
        var value: ByteRange
        var id: FieldName
    }

    /// Where the next line begins.
    private(set) var at: Int
    /// Whether a line was none; the walk has ended there.
    private(set) var isBroken = false

    init(at: Int) { self.at = at }

    /// The next line; nil at the empty line, at the end of the text, and where a line is broken.
    mutating func next(_ text: Span<UInt8>) -> Line? {
        if isBroken || at >= text.count { return nil }
        let start = at
        if text[start] == 0x0D {
            isBroken = start + 1 >= text.count || text[start + 1] != 0x0A
            return nil
        }
        let colon = Token.end(text, from: start)
        let end = ByteScan.firstControl(text, from: colon, to: text.count)
        let isLine =
            colon > start && colon < end && text[colon] == 0x3A && end + 1 < text.count
            && text[end] == 0x0D && text[end + 1] == 0x0A
        if !isLine {
            isBroken = true
            return nil
        }
        at = end + 2
        let value = FieldValue.trim(text, (colon + 1)..<end)
        return Line(
            name: ByteRange(start..<colon), value: ByteRange(value),
            id: FieldName.recognise(text.extracting(start..<colon)))
    }
}

/// The first lines of a head, packed, so that they are walked once; offsets are those of the head's text.
struct LineTable: BitwiseCopyable {
    /// Lines that have a place.
    static var countMax: Int { 16 }

    private var words = InlineArray<16, UInt64>(repeating: 0)
    private(set) var count = 0
    /// Whether every line that was given has a place.
    private(set) var isWhole = true

    /// Adds a line; where it does not fit, the table is not whole any more.
    mutating func append(_ line: LineWalker.Line) {
        let start = UInt64(line.name.start)
        let gap = UInt64(line.value.start &- line.name.start)
        guard isWhole, count < Self.countMax, start < 1 << 16, line.name.count < 1 << 8,
            gap < 1 << 16, line.value.count < 1 << 16
        else {
            isWhole = false
            return
        }
        words[count] =
            start | UInt64(line.name.count) &<< 16 | UInt64(line.id.rawValue) &<< 24
            | gap &<< 32 | UInt64(line.value.count) &<< 48
        count &+= 1
    }

    /// A line by its number, below `count`.
    subscript(_ index: Int) -> LineWalker.Line {
        let word = words[index]
        let start = UInt32(word & 0xFFFF)
        guard let id = FieldName(rawValue: UInt8(truncatingIfNeeded: word &>> 24)) else {
            preconditionFailure("A line has the name that it was given.")
        }
        return LineWalker.Line(
            name: ByteRange(start: start, count: UInt32(word &>> 16 & 0xFF)),
            value: ByteRange(
                start: start &+ UInt32(word &>> 32 & 0xFFFF), count: UInt32(word &>> 48)), id: id)
    }
}
