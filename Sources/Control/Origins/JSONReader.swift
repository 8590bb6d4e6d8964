/// Reads JSON text into document trees.
///
/// JSON has its own reader although most of it is YAML: YAML refuses escaped surrogate pairs and
/// keys of more than 1,024 characters, and takes three times as long. Several values one after
/// another are several documents.
struct JSONReader {
    private let bytes: [UInt8]
    private var index = 0
    private var line: Int
    /// Up to where columns are counted, and the column there: minified JSON is one long line.
    private var columnIndex = 0
    private var column: Int
    private var nodeCount = 0

    /// - Parameters:
    ///   - bytes: UTF-8, already checked.
    ///   - firstLine: the line of the file on which the text begins, from 1.
    ///   - firstColumn: the column of that line, from 1.
    init(_ bytes: [UInt8], firstLine: Int = 1, firstColumn: Int = 1) {
        self.bytes = bytes
        self.line = firstLine
        self.column = firstColumn
    }

    /// The values of the text, in order.
    mutating func documents() throws(SyntaxFailure) -> [DocumentNode] {
        var documents: [DocumentNode] = []
        skipSpace()
        while index < bytes.count {
            nodeCount = 0
            documents.append(try value(depth: 0))
            skipSpace()
        }
        return documents
    }

    // MARK: - Values

    private mutating func value(depth: Int) throws(SyntaxFailure) -> DocumentNode {
        let mark = self.mark
        nodeCount += 1
        if nodeCount > DocumentLimits.documentNodesMax {
            throw SyntaxFailure(
                mark: mark,
                message: "the document has more than \(DocumentLimits.documentNodesMax) values; "
                    + "split it",
                reason: ConfigProblem.Reason.tooLarge)
        }
        if depth > DocumentLimits.depthMax { throw .tooDeep(at: mark) }
        switch current {
        case UInt8(ascii: "{"):
            return DocumentNode(.mapping(try members(depth: depth)), at: mark)
        case UInt8(ascii: "["):
            return DocumentNode(.sequence(try items(depth: depth)), at: mark)
        case UInt8(ascii: "\""):
            return DocumentNode(.scalar(Scalar(text: try string(), isPlain: false)), at: mark)
        case nil:
            throw failure("the text ends where a value is expected")
        default:
            return DocumentNode(.scalar(Scalar(text: try word(), isPlain: true)), at: mark)
        }
    }

    private mutating func members(depth: Int) throws(SyntaxFailure) -> [DocumentNode.Member] {
        var members: [DocumentNode.Member] = []
        var places: [String: TextMark] = [:]
        index += 1
        skipSpace()
        if skip("}") { return members }
        repeat {
            skipSpace()
            let keyMark = mark
            guard current == UInt8(ascii: "\"") else {
                throw failure("a field's name in quotes is expected here")
            }
            let key = try string()
            if let first = places.updateValue(keyMark, forKey: key) {
                throw SyntaxFailure(
                    mark: keyMark, message: "\"\(key)\" is already given on line \(first.line)")
            }
            skipSpace()
            guard skip(":") else { throw failure("a \":\" is expected after a field's name") }
            skipSpace()
            let value = try value(depth: depth + 1)
            members.append(DocumentNode.Member(key: key, keyMark: keyMark, value: value))
            skipSpace()
        } while skip(",")
        guard skip("}") else { throw failure("a \",\" or \"}\" is expected here") }
        return members
    }

    private mutating func items(depth: Int) throws(SyntaxFailure) -> [DocumentNode] {
        var items: [DocumentNode] = []
        index += 1
        skipSpace()
        if skip("]") { return items }
        repeat {
            skipSpace()
            items.append(try value(depth: depth + 1))
            skipSpace()
        } while skip(",")
        guard skip("]") else { throw failure("a \",\" or \"]\" is expected here") }
        return items
    }

    /// `true`, `false`, `null` or a number.
    private mutating func word() throws(SyntaxFailure) -> String {
        let start = index
        let startMark = mark
        while let byte = current, Self.isWordByte(byte) { index += 1 }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        guard ["true", "false", "null"].contains(text) || Self.isNumber(bytes[start..<index]) else {
            throw SyntaxFailure(mark: startMark, message: "not JSON: a value is expected here")
        }
        return text
    }

    /// RFC 8259 §6: no plus, no needless zero, digits on both sides of the point.
    private static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        func skipDigits() -> Int {
            let count = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        let isZero = rest.first == UInt8(ascii: "0")
        let whole = skipDigits()
        if whole == 0 || (isZero && whole > 1) { return false }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            if skipDigits() == 0 { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest.removeFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") {
                rest.removeFirst()
            }
            if skipDigits() == 0 { return false }
        }
        return rest.isEmpty
    }

    // MARK: - Strings

    private mutating func string() throws(SyntaxFailure) -> String {
        index += 1
        let start = index
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"),
            byte >= 0x20
        {
            index += 1
        }
        if current == UInt8(ascii: "\"") {
            index += 1
            return String(decoding: bytes[start..<index - 1], as: UTF8.self)
        }
        var text = Array(bytes[start..<index])
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                try escape(into: &text)
            case 0x20...:
                text.append(byte)
                index += 1
            default:
                throw failure("a line break or control character inside quotes; write it as \\n")
            }
        }
        throw failure("the text ends inside quotes")
    }

    private mutating func escape(into text: inout [UInt8]) throws(SyntaxFailure) {
        index += 1
        guard let byte = current else { throw failure("the text ends inside quotes") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: String(try unicodeScalar()).utf8)
        default:
            index -= 2
            throw failure("not an escape of JSON; a \"\\\" itself is written \\\\")
        }
    }

    /// The scalar of `\uXXXX`, or of two such that are a surrogate pair.
    private mutating func unicodeScalar() throws(SyntaxFailure) -> Unicode.Scalar {
        let start = index - 2
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        if first < 0xDC00, current == UInt8(ascii: "\\"), index + 1 < bytes.count,
            bytes[index + 1] == UInt8(ascii: "u")
        {
            index += 2
            let second = try hexadecimal()
            if (0xDC00...0xDFFF).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + second - 0xDC00)
            {
                return scalar
            }
        }
        index = start
        throw failure("half of a surrogate pair")
    }

    private mutating func hexadecimal() throws(SyntaxFailure) -> UInt32 {
        let digits = bytes[index..<min(index + 4, bytes.count)]
        guard digits.count == 4, digits.allSatisfy(Self.isHexDigit),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw failure("four hexadecimal digits are expected after \\u") }
        index += 4
        return value
    }

    // MARK: - Bytes

    private var current: UInt8? {
        index < bytes.count ? bytes[index] : nil
    }

    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard current == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\n"):
                index += 1
                line += 1
                columnIndex = index
                column = 1
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
                index += 1
            default:
                return
            }
        }
    }

    /// The present place.
    ///
    /// Text before it on the line is counted once, so `index` may only be set back where a
    /// failure ends the reading.
    private var mark: TextMark {
        mutating get {
            if index < columnIndex { return TextMark(line: line, column: column) }
            for byte in bytes[columnIndex..<index] where byte & 0xC0 != 0x80 { column += 1 }
            columnIndex = index
            return TextMark(line: line, column: column)
        }
    }

    private mutating func failure(_ message: String) -> SyntaxFailure {
        SyntaxFailure(mark: mark, message: "not JSON: \(message)")
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "."):
            true
        default:
            false
        }
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        Unicode.Scalar(byte).properties.isASCIIHexDigit
    }
}
