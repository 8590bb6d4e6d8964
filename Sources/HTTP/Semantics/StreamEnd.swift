/// Recognises that an answer stream said it is complete, from its slices.
///
/// Known ends: `data: [DONE]`, the events `message_stop` and `response.completed` of server-sent
/// events, data whose object has `"type":"message_stop"`, and a line of NDJSON with `"done":true`.
/// The last line that is not empty decides. Words inside of JSON strings never match: their quotes
/// are escaped there.
public struct StreamEndScanner: BitwiseCopyable, Sendable {
    /// Bytes of a line's beginning that are kept, more than the longest whole line that is an end.
    private static var prefixMax: Int { 32 }

    private var prefix = InlineArray<32, UInt8>(repeating: 0)
    /// Bytes of the current line so far, saturating.
    private var lineCount: UInt32 = 0
    /// Bytes of the word in quotes that the line's last bytes match.
    private var matched: UInt8 = 0
    /// The current line holds the word.
    private var lineHasWord = false
    /// The last line that is not empty was an end.
    private var lastWasEnd = false

    /// Makes a scanner at the start of a stream.
    public init() {}

    /// Takes the next slice of content.
    public mutating func scan(_ bytes: Span<UInt8>) {
        var at = 0
        while at < bytes.count {
            let lineFeed = ByteScan.first(0x0A, bytes, from: at, to: bytes.count)
            take(bytes, at..<lineFeed)
            if lineFeed == bytes.count { return }
            endLine()
            at = lineFeed + 1
        }
    }

    /// Whether the last line that is not empty, complete or not, is a known end.
    public var hasEnded: Bool {
        isLineEmpty ? lastWasEnd : isLineEnd
    }

    // MARK: - Lines

    private var isLineEmpty: Bool { lineCount == 0 || (lineCount == 1 && prefix[0] == 0x0D) }

    private mutating func endLine() {
        if !isLineEmpty { lastWasEnd = isLineEnd }
        lineCount = 0
        matched = 0
        lineHasWord = false
    }

    /// Takes a part of a line.
    private mutating func take(_ bytes: Span<UInt8>, _ part: Range<Int>) {
        var at = part.lowerBound
        while at < part.upperBound, lineCount < Self.prefixMax {
            prefix[Int(lineCount)] = bytes[at]
            lineCount += 1
            at += 1
        }
        lineCount = UInt32(clamping: UInt64(lineCount) + UInt64(part.upperBound - at))
        if lineHasWord || lineCount == 0 { return }
        if prefix[0] == 0x7B {
            matchWord(bytes, part, ByteScan.bytes("\"done\":true"))
        } else if prefix[0] == 0x64 {
            matchWord(bytes, part, ByteScan.bytes("\"type\":\"message_stop\""))
        }
    }

    /// Looks for `word`, whose first byte is a quote, from what earlier parts matched of it.
    ///
    /// A space after the colon is passed over.
    private mutating func matchWord(
        _ bytes: Span<UInt8>, _ part: Range<Int>, _ word: Span<UInt8>
    ) {
        var at = part.lowerBound
        while at < part.upperBound {
            if matched == 0 {
                at = ByteScan.first(0x22, bytes, from: at, to: part.upperBound)
                if at == part.upperBound { return }
                matched = 1
                at += 1
                continue
            }
            let byte = bytes[at]
            if byte == word[Int(matched)] {
                matched += 1
                if Int(matched) == word.count {
                    lineHasWord = true
                    return
                }
            } else if byte == 0x20 && word[Int(matched) - 1] == 0x3A {
                // White space after the colon.
            } else {
                matched = byte == 0x22 ? 1 : 0
            }
            at += 1
        }
    }

    /// Whether the current line, as far as it came, is a known end.
    private var isLineEnd: Bool {
        if lineHasWord { return true }
        var count = Int(lineCount)
        if count > Self.prefixMax { return false }
        if prefix[count - 1] == 0x0D { count -= 1 }
        return isLine("data: [DONE]", count) || isLine("data:[DONE]", count)
            || isLine("event: message_stop", count) || isLine("event:message_stop", count)
            || isLine("event: response.completed", count)
            || isLine("event:response.completed", count)
    }

    private func isLine(_ text: StaticString, _ count: Int) -> Bool {
        let wanted = ByteScan.bytes(text)
        if wanted.count != count { return false }
        for i in 0..<count where prefix[i] != wanted[i] { return false }
        return true
    }
}
