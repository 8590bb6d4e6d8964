/// The text between two `---` lines.
///
/// Such a line ends a document wherever it stands (YAML 1.2.2 §9.1), in a block of text too, so
/// files can be cut at them before they are parsed.
struct DocumentPart {
    let bytes: ArraySlice<UInt8>
    /// The line of the file on which the part begins, from 1.
    let firstLine: Int

    static func parts(of bytes: ArraySlice<UInt8>) -> [DocumentPart] {
        var parts: [DocumentPart] = []
        var start = bytes.startIndex
        var startLine = 1
        var line = 1
        var index = bytes.startIndex
        // A part of directives (`%YAML 1.2`) and comments belongs to the document after it.
        var hasContent = false
        while index < bytes.endIndex {
            if index > start, hasContent, isMarker(bytes[index...]) {
                parts.append(DocumentPart(bytes: bytes[start..<index], firstLine: startLine))
                start = index
                startLine = line
                hasContent = false
            }
            switch bytes[index] {
            case UInt8(ascii: "%"), UInt8(ascii: "#"), UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                break
            default:
                hasContent = true
            }
            index =
                bytes[index...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
                ?? bytes.endIndex
            line += 1
        }
        if start < bytes.endIndex {
            parts.append(DocumentPart(bytes: bytes[start...], firstLine: startLine))
        }
        return parts
    }

    func documents() throws(SyntaxFailure) -> [DocumentNode] {
        var jsonFailure: SyntaxFailure?
        // YAML's own braces are tried as JSON too, and fail at the first field.
        if let json = jsonPart {
            do throws(SyntaxFailure) {
                var reader = JSONReader(
                    Array(json.bytes), firstLine: json.line, firstColumn: json.column)
                return try reader.documents()
            } catch {
                jsonFailure = error
            }
        }
        do throws(SyntaxFailure) {
            var reader = YAMLReader(firstLine: firstLine)
            return try reader.documents(of: String(decoding: bytes, as: UTF8.self))
        } catch {
            guard let json = jsonPart, let jsonFailure else { throw error }
            throw Self.isMeantAsJSON(json.bytes) ? jsonFailure : error
        }
    }

    /// Whether the first field's name is in quotes, as JSON's must be and YAML's seldom are.
    private static func isMeantAsJSON(_ bytes: ArraySlice<UInt8>) -> Bool {
        let rest = bytes.dropFirst().drop { $0 <= UInt8(ascii: " ") }
        return rest.first == UInt8(ascii: "\"")
    }

    /// What follows the `---` line, and where, when it may be JSON.
    private var jsonPart: (bytes: ArraySlice<UInt8>, line: Int, column: Int)? {
        var rest = bytes
        var line = firstLine
        var column = 1
        if Self.isMarker(rest) {
            rest = rest.dropFirst(3)
            column += 3
        }
        while let byte = rest.first {
            column += 1
            switch byte {
            case UInt8(ascii: "{"): return (rest, line, column - 1)
            case UInt8(ascii: "\n"):
                line += 1
                column = 1
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): break
            default: return nil
            }
            rest = rest.dropFirst()
        }
        return nil
    }

    /// Whether a text begins with `---` that is no part of a longer word.
    private static func isMarker(_ text: ArraySlice<UInt8>) -> Bool {
        let dash = UInt8(ascii: "-")
        let start = text.startIndex
        guard text.count >= 3, text[start] == dash, text[start + 1] == dash,
            text[start + 2] == dash
        else { return false }
        if text.count == 3 { return true }
        switch text[start + 3] {
        case UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: " "), UInt8(ascii: "\t"):
            return true
        default:
            return false
        }
    }
}
