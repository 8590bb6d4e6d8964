import HTTP

/// Reads `model` and a few other members out of JSON content as it comes, without keeping any of it.
///
/// The whole grammar of RFC 8259 is checked, so that no server can read another value than this does:
/// one value, valid UTF-8, nothing behind it, at most 64 levels and 1,000 members at the top. Only
/// the top level is looked at, and `options.num_ctx`. Content may be cut at any byte; every cut gives the
/// same result. Costs one pass; text inside of strings is passed over 16 bytes at a time.
public struct BodyPeek: Sendable {
    /// Levels of nesting that are read.
    public static let depthMax = 64

    /// Members of the top-level object that are read.
    public static let keysMax = 1_000

    /// What was read so far; complete after `finish`.
    public internal(set) var facts = BodyFacts()

    /// The model's name, where it stands; empty when the content names none.
    public var modelName: Span<UInt8> {
        @_lifetime(borrow self)
        borrowing get { facts.name.span }
    }

    /// What comes next.
    var state = State.start
    /// What a string is read for.
    var role = Role.skippedValue
    /// The member of the top-level object whose value is read.
    var field = Field.none
    /// The value that is read is `options.num_ctx`.
    var isContextLength = false
    /// Open objects and arrays.
    var depth = 0
    /// Which of them are objects, a bit each; the innermost is the lowest.
    var kinds: UInt64 = 0
    /// Content before the bytes that are scanned now.
    var offset = 0
    /// Where the value of `field` begins.
    var valueStart = 0
    /// The value of `field` holds a value or a member.
    var hasElement = false
    /// Members at the top so far.
    var keys = 0

    /// The name of a member, unescaped; one byte more than fits stands for any longer name.
    var key = InlineArray<32, UInt8>(repeating: 0)
    var keyCount = 0
    /// Digits of a `\u` escape that are still to come, and what came.
    var digitsLeft = 0
    var codeUnit: UInt16 = 0
    /// The first half of a surrogate pair, when the second has to follow.
    var highSurrogate: UInt16 = 0
    /// The character of more than one byte that is read.
    var character = UTF8Check()
    /// The byte before in the model's name.
    var lastByte: UInt8 = 0
    /// The bytes of a literal that are still to come.
    var literal = Literal.null
    var literalCount = 0
    /// A number's integer part, saturating, and whether it is all of the number.
    var number: UInt64 = 0
    var isWhole = true

    let acceptsName: Bool
    var hasModel = false
    var hasName = false
    /// The name that stands there is the alias's; `model` goes before it once it has a byte.
    var isAliasKept = false
    var refusal: BodyRefusal?

    enum State: UInt8 {
        case start, value, firstElement, firstKey, nextKey, colon, afterValue, done
        case text, collected, escape, unicode, trail
        case literal
        case minus, zero, integer, point, fraction, exponent, exponentSign, exponentDigits
    }

    enum Role: UInt8 { case skippedKey, skippedValue, key, model }

    enum Field: UInt8 {
        case none, model, stream, keepAlive, prompt, system, maxTokens, options
    }

    enum Literal: UInt8 { case `true`, `false`, null }

    /// A scanner at the start of content; with `acceptsName`, `name` stands for a missing `model`, as
    /// in Ollama's `/api/show`, `pull`, `push` and `delete`.
    public init(acceptsName: Bool = false) {
        self.acceptsName = acceptsName
    }

    /// Takes the next bytes of content; throws at the first that is refused, and from then on.
    public mutating func scan(_ bytes: Span<UInt8>) throws(BodyRefusal) {
        if let refusal { throw refusal }
        do throws(BodyRefusal) {
            var at = 0
            while at < bytes.count { at = try step(bytes, at) }
        } catch {
            refusal = error
            throw error
        }
        offset += bytes.count
    }

    /// Tells that the content ends here.
    public mutating func finish() throws(BodyRefusal) {
        if let refusal { throw refusal }
        switch state {
        case .done: return
        case .zero, .integer, .fraction, .exponentDigits:
            if depth == 0 {
                state = .done
                return
            }
        default: break
        }
        refusal = .truncated
        throw .truncated
    }

    /// Takes at least one byte from `at` on; returns where to go on.
    @inline(__always)
    private mutating func step(_ bytes: Span<UInt8>, _ at: Int) throws(BodyRefusal) -> Int {
        switch state {
        case .start:
            try checkStart(bytes[at])
            state = .value
            return at
        case .value, .firstElement, .firstKey, .nextKey, .colon, .afterValue, .done:
            return try passStructure(bytes, at)
        case .text: return try passText(bytes, at)
        case .collected: return try passCollected(bytes, at)
        case .escape: return try passEscape(bytes[at], at)
        case .unicode: return try passDigit(bytes[at], at)
        case .trail: return try passTrail(bytes[at], at)
        case .literal: return try passLiteral(bytes, at)
        case .minus, .zero, .integer, .point, .fraction, .exponent, .exponentSign, .exponentDigits:
            return try passNumber(bytes, at)
        }
    }

    /// Refuses what begins like UTF-16 or with a byte order mark.
    private func checkStart(_ byte: UInt8) throws(BodyRefusal) {
        switch byte {
        case 0x00, 0xEF, 0xFE, 0xFF: throw .byteOrderMark
        default: return
        }
    }

    // MARK: - Structure

    /// Passes over everything between strings, and over strings that need no second look.
    private mutating func passStructure(
        _ bytes: Span<UInt8>, _ start: Int
    ) throws(BodyRefusal) -> Int {
        var at = start
        while at < bytes.count {
            let byte = bytes[at]
            if byte <= 0x20 {
                if byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
                    at &+= 1
                    continue
                }
                // The second byte of `{` or `[` in UTF-16.
                throw byte == 0 && offset + at == 1 ? .byteOrderMark : .notJSON
            }
            switch state {
            case .afterValue:
                if byte == 0x2C {
                    state = kinds & 1 == 1 ? .nextKey : .value
                } else if byte == (kinds & 1 == 1 ? 0x7D : 0x5D) {
                    close(at: at)
                } else {
                    throw .notJSON
                }
                at &+= 1
            case .colon:
                if byte != 0x3A { throw .notJSON }
                state = .value
                at &+= 1
            case .firstKey, .nextKey:
                if byte == 0x22 {
                    at = try beginKey(bytes, at)
                    if state != .colon { return at }
                } else if byte == 0x7D, state == .firstKey {
                    close(at: at)
                    at &+= 1
                } else {
                    throw .notJSON
                }
            case .firstElement where byte == 0x5D:
                close(at: at)
                at &+= 1
            case .value, .firstElement:
                at = try beginValue(bytes, at, byte)
                if state.rawValue > State.done.rawValue { return at }
            case .done: throw .trailingBytes
            default: return at
            }
        }
        return at
    }

    /// Begins a value with its first byte.
    @inline(__always)
    private mutating func beginValue(
        _ bytes: Span<UInt8>, _ at: Int, _ byte: UInt8
    ) throws(BodyRefusal) -> Int {
        if depth <= 2 { try noteValue(byte, at) }
        switch byte {
        case 0x22: return try beginString(bytes, at)
        case 0x7B:
            try open(isObject: true)
            state = .firstKey
        case 0x5B:
            try open(isObject: false)
            state = .firstElement
        case 0x74: begin(.true)
        case 0x66: begin(.false)
        case 0x6E: begin(.null)
        case 0x2D:
            state = .minus
            number = 0
            isWhole = false
        case 0x30...0x39:
            state = byte == 0x30 ? .zero : .integer
            number = UInt64(byte - 0x30)
            isWhole = true
        default: throw .notJSON
        }
        return at &+ 1
    }

    private mutating func begin(_ what: Literal) {
        state = .literal
        literal = what
        literalCount = 1
    }

    @inline(__always)
    private mutating func open(isObject: Bool) throws(BodyRefusal) {
        if depth == Self.depthMax { throw .tooDeep }
        depth &+= 1
        kinds = kinds &<< 1 | (isObject ? 1 : 0)
    }

    /// Ends an object or array with the byte at `at`.
    @inline(__always)
    private mutating func close(at: Int) {
        depth &-= 1
        kinds = kinds &>> 1
        endValue(at: at &+ 1)
    }

    /// A value ends before `at`.
    @inline(__always)
    mutating func endValue(at: Int) {
        state = .afterValue
        if depth > 1 { return }
        if depth == 0 {
            state = .done
        } else if field != .none {
            endField(at: offset + at)
        }
    }

    // MARK: - Literals and numbers

    /// Passes over `true`, `false` or `null`, or as much of it as there is.
    private mutating func passLiteral(
        _ bytes: Span<UInt8>, _ start: Int
    ) throws(BodyRefusal) -> Int {
        var at = start
        let wanted =
            switch literal {
            case .true: ByteScan.bytes("true")
            case .false: ByteScan.bytes("false")
            case .null: ByteScan.bytes("null")
            }
        while at < bytes.count, literalCount < wanted.count {
            if bytes[at] != wanted[literalCount] { throw .notJSON }
            literalCount += 1
            at += 1
        }
        if literalCount == wanted.count {
            if depth == 1, field == .stream, literal != .null { facts.stream = literal == .true }
            endValue(at: at)
        }
        return at
    }

    /// Passes over a number, or as much of it as there is.
    private mutating func passNumber(
        _ bytes: Span<UInt8>, _ start: Int
    ) throws(BodyRefusal) -> Int {
        var at = start
        while at < bytes.count {
            let byte = bytes[at]
            let isDigit = byte &- 0x30 < 10
            switch state {
            case .minus:
                if !isDigit { throw .notJSON }
                state = byte == 0x30 ? .zero : .integer
            case .integer where isDigit:
                let (most, digit) = (UInt64.max / 10 - 1, UInt64(byte &- 0x30))
                number = number > most ? .max : number &* 10 &+ digit
            case .zero where byte == 0x2E, .integer where byte == 0x2E: state = .point
            case .zero where byte | 0x20 == 0x65, .integer where byte | 0x20 == 0x65,
                .fraction where byte | 0x20 == 0x65:
                state = .exponent
                isWhole = false
            case .point:
                if !isDigit { throw .notJSON }
                state = .fraction
            case .fraction where isDigit, .exponentDigits where isDigit: break
            case .exponent where byte == 0x2B || byte == 0x2D: state = .exponentSign
            case .exponent, .exponentSign:
                if !isDigit { throw .notJSON }
                state = .exponentDigits
            default:
                endNumber()
                endValue(at: at)
                return at
            }
            at &+= 1
        }
        return at
    }

    /// Keeps a number that was asked for; fractions are cut off.
    private mutating func endNumber() {
        if !isWhole { return }
        if depth == 1, field == .maxTokens {
            facts.maxTokens = max(facts.maxTokens ?? 0, number)
        } else if depth == 2, field == .options, isContextLength {
            facts.contextLength = number
        }
    }
}
