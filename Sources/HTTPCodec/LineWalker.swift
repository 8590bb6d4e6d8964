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
        var colon = start
        while colon < text.count, Token.isTokenByte(text[colon]) { colon += 1 }
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
