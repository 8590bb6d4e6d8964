import HTTP

/// Reads one JSON text token by token (RFC 8259), without building a tree.
///
/// The bytes are given again at each call, so nothing of them is kept; a copy of the reader is a
/// bookmark to which one can go back. Strict: no comments, no trailing commas, no bare words.
/// Invalid UTF-8 is not refused, as Go's decoder does not refuse it.
struct JSONReader: BitwiseCopyable {
    /// One token; ranges leave out the quotes.
    enum Token: Equatable {
        case objectStart, objectEnd, arrayStart, arrayEnd
        case key(Range<Int>)
        case string(Range<Int>)
        case number(Range<Int>)
        case bool(Bool)
        case null
        /// The text is over, and only white space followed.
        case end
    }

    /// Objects and arrays that may be open at once; one bit of `kinds` each.
    static var depthMax: Int { 64 }

    private enum Expects: UInt8 {
        case value, firstElement, firstKey, key, commaInArray, commaInObject, nothing
    }

    /// Offset of the next byte to look at.
    private(set) var position = 0
    /// How many objects and arrays are open.
    private(set) var depth = 0
    /// A set bit is an object, the lowest is the innermost.
    private var kinds: UInt64 = 0
    private var expects = Expects.value

    init() {}

    /// The next token; after `end` always `end`.
    mutating func next(_ bytes: Span<UInt8>) throws(JSONFault) -> Token {
        while true {
            guard let byte = skipSpace(bytes) else {
                if expects == .nothing { return .end }
                throw JSONFault(.ended, at: position)
            }
            switch expects {
            case .nothing:
                throw JSONFault(.unexpected(byte, .afterTopLevelValue), at: position)
            case .commaInArray:
                position += 1
                if byte == UInt8(ascii: "]") { return close(.arrayEnd) }
                if byte != UInt8(ascii: ",") {
                    throw JSONFault(.unexpected(byte, .afterElement), at: position - 1)
                }
                expects = .value
            case .commaInObject:
                position += 1
                if byte == UInt8(ascii: "}") { return close(.objectEnd) }
                if byte != UInt8(ascii: ",") {
                    throw JSONFault(.unexpected(byte, .afterPair), at: position - 1)
                }
                expects = .key
            case .firstKey where byte == UInt8(ascii: "}"):
                position += 1
                return close(.objectEnd)
            case .firstKey, .key:
                return try key(bytes, byte)
            case .firstElement where byte == UInt8(ascii: "]"):
                position += 1
                return close(.arrayEnd)
            case .firstElement, .value:
                return try value(bytes, byte)
            }
        }
    }

    /// Reads over what is left of the value that `token` began; checks it all the same.
    mutating func skip(_ token: Token, _ bytes: Span<UInt8>) throws(JSONFault) {
        guard token == .objectStart || token == .arrayStart else { return }
        let outside = depth - 1
        while depth > outside { _ = try next(bytes) }
    }

    // MARK: - Parts

    private mutating func skipSpace(_ bytes: Span<UInt8>) -> UInt8? {
        while position < bytes.count {
            let byte = bytes[position]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return byte }
            position += 1
        }
        return nil
    }

    private mutating func key(
        _ bytes: Span<UInt8>, _ byte: UInt8
    ) throws(JSONFault) -> Token {
        if byte != UInt8(ascii: "\"") {
            throw JSONFault(.unexpected(byte, .beginningOfKey), at: position)
        }
        let range = try string(bytes)
        guard let colon = skipSpace(bytes) else { throw JSONFault(.ended, at: position) }
        if colon != UInt8(ascii: ":") {
            throw JSONFault(.unexpected(colon, .afterKey), at: position)
        }
        position += 1
        expects = .value
        return .key(range)
    }

    private mutating func value(
        _ bytes: Span<UInt8>, _ byte: UInt8
    ) throws(JSONFault) -> Token {
        switch byte {
        case UInt8(ascii: "{"):
            try open(isObject: true)
            return .objectStart
        case UInt8(ascii: "["):
            try open(isObject: false)
            return .arrayStart
        case UInt8(ascii: "\""):
            let range = try string(bytes)
            settle()
            return .string(range)
        case UInt8(ascii: "t"):
            try word(bytes, "true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try word(bytes, "false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try word(bytes, "null")
            return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            let range = try number(bytes)
            settle()
            return .number(range)
        default:
            throw JSONFault(.unexpected(byte, .beginningOfValue), at: position)
        }
    }

    private mutating func open(isObject: Bool) throws(JSONFault) {
        if depth == Self.depthMax { throw JSONFault(.tooDeep, at: position) }
        position += 1
        depth += 1
        kinds = kinds << 1 | (isObject ? 1 : 0)
        expects = isObject ? .firstKey : .firstElement
    }

    private mutating func close(_ token: Token) -> Token {
        depth -= 1
        kinds >>= 1
        settle()
        return token
    }

    /// A value is complete: what may follow it depends on what it is in.
    private mutating func settle() {
        if depth == 0 {
            expects = .nothing
        } else {
            expects = kinds & 1 == 1 ? .commaInObject : .commaInArray
        }
    }

    private mutating func word(_ bytes: Span<UInt8>, _ word: StaticString) throws(JSONFault) {
        let letters = ByteScan.bytes(word)
        for index in letters.indices {
            if position == bytes.count { throw JSONFault(.ended, at: position) }
            if bytes[position] != letters[index] {
                let place = JSONFault.Place.inWord(word, expecting: letters[index])
                throw JSONFault(.unexpected(bytes[position], place), at: position)
            }
            position += 1
        }
        settle()
    }

    /// Reads a string from its opening quote on; the range is what stands between the quotes.
    private mutating func string(_ bytes: Span<UInt8>) throws(JSONFault) -> Range<Int> {
        let start = position + 1
        var at = start
        while true {
            at = ByteScan.firstOfString(bytes, from: at, to: bytes.count)
            if at >= bytes.count { throw JSONFault(.ended, at: at) }
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                position = at + 1
                return start..<at
            }
            if byte != UInt8(ascii: "\\") { throw JSONFault(.unexpected(byte, .inString), at: at) }
            at = try escape(bytes, at: at + 1)
        }
    }

    /// Checks the escape whose letter is at `at`; the offset behind it.
    private func escape(_ bytes: Span<UInt8>, at: Int) throws(JSONFault) -> Int {
        if at >= bytes.count { throw JSONFault(.ended, at: at) }
        switch bytes[at] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return at + 1
        case UInt8(ascii: "u"):
            for offset in 1...4 {
                if at + offset >= bytes.count { throw JSONFault(.ended, at: at + offset) }
                let byte = bytes[at + offset]
                if JSONText.hexadecimal(byte) == nil {
                    throw JSONFault(.unexpected(byte, .inHexadecimalEscape), at: at + offset)
                }
            }
            return at + 5
        default:
            throw JSONFault(.unexpected(bytes[at], .inEscape), at: at)
        }
    }

    private mutating func number(_ bytes: Span<UInt8>) throws(JSONFault) -> Range<Int> {
        let start = position
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        let first = try digit(bytes, .inNumber)
        if first != UInt8(ascii: "0") { skipDigits(bytes) }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            _ = try digit(bytes, .afterPoint)
            skipDigits(bytes)
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count,
                bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-")
            {
                position += 1
            }
            _ = try digit(bytes, .inExponent)
            skipDigits(bytes)
        }
        return start..<position
    }

    private mutating func digit(
        _ bytes: Span<UInt8>, _ place: JSONFault.Place
    ) throws(JSONFault) -> UInt8 {
        if position == bytes.count { throw JSONFault(.ended, at: position) }
        let byte = bytes[position]
        guard byte &- 0x30 < 10 else { throw JSONFault(.unexpected(byte, place), at: position) }
        position += 1
        return byte
    }

    private mutating func skipDigits(_ bytes: Span<UInt8>) {
        while position < bytes.count, bytes[position] &- 0x30 < 10 { position += 1 }
    }
}

/// Why a JSON text was refused.
struct JSONFault: Error {
    enum Cause {
        /// The text ends too early.
        case ended
        case unexpected(UInt8, Place)
        case tooDeep
    }

    /// Where an unexpected byte stood.
    enum Place {
        case beginningOfValue, beginningOfKey, afterKey, afterPair, afterElement, afterTopLevelValue
        case inString, inEscape, inHexadecimalEscape, inNumber, afterPoint, inExponent
        case inWord(StaticString, expecting: UInt8)
    }

    let cause: Cause
    /// Offset of the byte at fault.
    let offset: Int

    init(_ cause: Cause, at offset: Int) {
        self.cause = cause
        self.offset = offset
    }

    /// The fault in the words of Go's `encoding/json`, which Ollama passes on.
    var description: String {
        switch cause {
        case .ended: "unexpected EOF"
        case .tooDeep: "exceeded max depth"
        case .unexpected(let byte, let place): "invalid character \(quoted(byte)) \(words(place))"
        }
    }

    private func quoted(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "'"): "'\\''"
        case 0x0A: "'\\n'"
        case 0x0D: "'\\r'"
        case 0x09: "'\\t'"
        case 0x20..<0x7F: "'\(Character(Unicode.Scalar(byte)))'"
        default: "'\\x\(String(byte >> 4, radix: 16))\(String(byte & 15, radix: 16))'"
        }
    }

    private func words(_ place: Place) -> String {
        switch place {
        case .beginningOfValue: "looking for beginning of value"
        case .beginningOfKey: "looking for beginning of object key string"
        case .afterKey: "after object key"
        case .afterPair: "after object key:value pair"
        case .afterElement: "after array element"
        case .afterTopLevelValue: "after top-level value"
        case .inString: "in string literal"
        case .inEscape: "in string escape code"
        case .inHexadecimalEscape: "in \\u hexadecimal character escape"
        case .inNumber: "in numeric literal"
        case .afterPoint: "after decimal point in numeric literal"
        case .inExponent: "in exponent of numeric literal"
        case .inWord(let word, let letter):
            "in literal \(word) (expecting '\(Character(Unicode.Scalar(letter)))')"
        }
    }
}
