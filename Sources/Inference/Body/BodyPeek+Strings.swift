import HTTP

/// Strings: passed over, or unescaped where they are names of members or the model's.
extension BodyPeek {
    // MARK: - Beginnings

    /// Begins the name of a member, whose quote is at `at`.
    @inline(__always)
    mutating func beginKey(_ bytes: Span<UInt8>, _ at: Int) throws(BodyRefusal) -> Int {
        let isLookedAt = depth == 1 || (depth == 2 && field == .options)
        let stop = ByteScan.firstOfText(bytes, from: at &+ 1, to: bytes.count)
        let isPlain = stop < bytes.count && bytes[stop] == 0x22
        if isLookedAt {
            try countKey()
            if isPlain {
                try takeKey(ByteScan.part(bytes, at &+ 1, stop))
                state = .colon
                return stop &+ 1
            }
            keyCount = 0
            highSurrogate = 0
            (role, state) = (.key, .collected)
            return at &+ 1
        }
        if isPlain {
            state = .colon
            return stop &+ 1
        }
        (role, state) = (.skippedKey, .text)
        return stop
    }

    /// Passes over members at which nobody looks and that are plain texts, as messages have them.
    ///
    /// The quote of the first one's name is at `start`. Spaces may stand where Python's `json` puts them. Stops behind the last one of them, in the text that is not plain, or at the quote of a member that is none.
    @inline(__always)
    mutating func passMembers(_ bytes: Span<UInt8>, _ start: Int) -> Int {
        var at = start
        while true {
            let name = ByteScan.firstOfText(bytes, from: at &+ 1, to: bytes.count)
            guard name < bytes.count, bytes[name] == 0x22,
                let value = Self.quote(bytes, behind: 0x3A, at: name &+ 1)
            else { return at }
            let end = ByteScan.firstOfText(bytes, from: value &+ 1, to: bytes.count)
            if end == bytes.count || bytes[end] != 0x22 {
                (role, state) = (.skippedValue, .text)
                return end
            }
            guard let next = Self.quote(bytes, behind: 0x2C, at: end &+ 1) else {
                state = .afterValue
                return end &+ 1
            }
            state = .nextKey
            at = next
        }
    }

    /// Where a quote is behind a mark at `at`, with at most a space between them.
    @inline(__always)
    private static func quote(_ bytes: Span<UInt8>, behind mark: UInt8, at: Int) -> Int? {
        if at &+ 3 > bytes.count || bytes[at] != mark { return nil }
        let quote = bytes[at &+ 1] == 0x20 ? at &+ 2 : at &+ 1
        return bytes[quote] == 0x22 ? quote : nil
    }

    /// Begins a string that is a value, whose quote is at `at`.
    @inline(__always)
    mutating func beginString(_ bytes: Span<UInt8>, _ at: Int) throws(BodyRefusal) -> Int {
        if depth == 1, field == .model { return try beginModel(bytes, at) }
        let stop = ByteScan.firstOfText(bytes, from: at &+ 1, to: bytes.count)
        if stop < bytes.count, bytes[stop] == 0x22 {
            endValue(at: stop &+ 1)
            return stop &+ 1
        }
        (role, state) = (.skippedValue, .text)
        return stop
    }

    /// Begins the model's name, whose quote is at `at`; takes all of it where it is whole and plain.
    private mutating func beginModel(_ bytes: Span<UInt8>, _ at: Int) throws(BodyRefusal) -> Int {
        highSurrogate = 0
        lastByte = 0
        (role, state) = (.model, .collected)
        let stop = ByteScan.firstOfText(bytes, from: at &+ 1, to: bytes.count)
        let isWhole = stop < bytes.count && bytes[stop] == 0x22
        if !isWhole || stop &- at > ModelName.capacity { return at &+ 1 }
        try keepModel(plain: ByteScan.part(bytes, at &+ 1, stop))
        return try endString(at: stop)
    }

    /// Ends a string with the quote at `at`.
    private mutating func endString(at: Int) throws(BodyRefusal) -> Int {
        if highSurrogate != 0 { throw .loneSurrogate }
        switch role {
        case .skippedKey: state = .colon
        case .skippedValue: endValue(at: at &+ 1)
        case .key:
            // A longer name than there is room for is none that is looked for.
            let name = key
            try takeKey(name.span.extracting(0..<(keyCount > 32 ? 0 : keyCount)))
            state = .colon
        case .model:
            try endModel(at: offset + at + 1)
            endValue(at: at &+ 1)
        }
        return at &+ 1
    }

    // MARK: - Text that is passed over

    /// Passes over text, simple escapes and whole characters.
    mutating func passText(_ bytes: Span<UInt8>, _ start: Int) throws(BodyRefusal) -> Int {
        var at = start
        let end = bytes.count
        while true {
            at = ByteScan.firstOfText(bytes, from: at, to: end)
            if at >= end { return end }
            let byte = bytes[at]
            if byte == 0x5C {
                var passed = at
                if at &+ 1 == end || bytes[at &+ 1] != 0x75 {
                    passed = ByteScan.passEscapedText(bytes, from: at)
                }
                if passed == at { passed = Self.passEscapes(bytes, at) }
                if passed == at {
                    state = .escape
                    return at &+ 1
                }
                at = passed
            } else if byte == 0x22 {
                return try endString(at: at)
            } else if byte < 0x20 {
                throw .notJSON
            } else {
                at = try Self.passCharacters(bytes, at)
                if at < end, bytes[at] >= 0x80 {
                    try beginTrail(bytes[at])
                    return at &+ 1
                }
            }
        }
    }

    /// Passes over escapes that are whole and valid; stops at the first that is not.
    @inline(always)
    private static func passEscapes(_ bytes: Span<UInt8>, _ start: Int) -> Int {
        var at = start
        while at &+ 1 < bytes.count, bytes[at] == 0x5C {
            let next = bytes[at &+ 1]
            if next == 0x75 {
                if at &+ 8 > bytes.count || !areDigits(ByteScan.load8(bytes, at) &>> 16) {
                    return at
                }
                at &+= 6
            } else if isSimpleEscape(next) {
                at &+= 2
            } else {
                return at
            }
        }
        return at
    }

    /// Whether the four lowest bytes of a word are hexadecimal digits.
    @inline(always)
    private static func areDigits(_ word: UInt64) -> Bool {
        var word = word
        for _ in 0..<4 {
            if hexDigit(UInt8(truncatingIfNeeded: word)) == nil { return false }
            word &>>= 8
        }
        return true
    }

    /// Passes over characters of more than one byte, and single spaces and the like between them.
    ///
    /// Stops where a run of others begins, or at a character that may not be whole.
    @inline(__always)
    private static func passCharacters(
        _ bytes: Span<UInt8>, _ start: Int
    ) throws(BodyRefusal) -> Int {
        var at = start
        // The first byte of a character is the lowest of the word.
        while at &+ 8 <= bytes.count {
            let word = ByteScan.load8(bytes, at)
            if word & 0xC0C0_F0C0_C0F0 == 0x8080_E080_80E0 {
                // Two of three bytes.
                let (mark, next) = (word & 0x200F, word &>> 24 & 0x200F)
                let isWrong = mark == 0 || mark == 0x200D || next == 0 || next == 0x200D
                if isWrong { throw .notUTF8 }
                at &+= 6
            } else if word & 0xC0E0_C0E0_C0E0_C0E0 == 0x80C0_80C0_80C0_80C0 {
                // Four of two bytes; a sum below 0x80 is a byte C0 or C1.
                let marks = (word & 0x001E_001E_001E_001E) &+ 0x007E_007E_007E_007E
                if marks & 0x0080_0080_0080_0080 != 0x0080_0080_0080_0080 { throw .notUTF8 }
                at &+= 8
            } else if word & 0xC0_C0F0 == 0x80_80E0 {
                // E0 takes A0...BF next, ED 80...9F: else it is too long or a surrogate.
                let mark = word & 0x200F
                if mark == 0 || mark == 0x200D { throw .notUTF8 }
                at &+= 3
            } else if word & 0xC0E0 == 0x80C0 {
                if word & 0x1E == 0 { throw .notUTF8 }
                at &+= 2
            } else if word & 0xC0C0_C0F8 == 0x8080_80F0 {
                let scalar = (word & 7) &<< 2 | (word &>> 12) & 3
                if scalar == 0 || scalar > 16 { throw .notUTF8 }
                at &+= 4
            } else if word & 0x80 != 0 {
                throw .notUTF8
            } else {
                let byte = UInt8(truncatingIfNeeded: word)
                if byte < 0x20 || byte == 0x22 || byte == 0x5C || word & 0x8000 == 0 { return at }
                at &+= 1
            }
        }
        return at
    }

    // MARK: - Text that is kept

    /// Unescapes a name, byte by byte.
    mutating func passCollected(_ bytes: Span<UInt8>, _ start: Int) throws(BodyRefusal) -> Int {
        var at = start
        while at < bytes.count {
            let byte = bytes[at]
            if byte == 0x22 { return try endString(at: at) }
            if byte == 0x5C {
                state = .escape
                return at + 1
            }
            if byte < 0x20 { throw .notJSON }
            if byte >= 0x80 {
                try beginTrail(byte)
                return at + 1
            }
            try keep(byte)
            at += 1
        }
        return at
    }

    private var isKept: Bool { role == .key || role == .model }

    /// Adds a byte to the name that is read.
    private mutating func keep(_ byte: UInt8) throws(BodyRefusal) {
        if highSurrogate != 0 { throw .loneSurrogate }
        if role == .key {
            if keyCount < 32 { key[keyCount] = byte }
            keyCount = min(keyCount + 1, 33)
        } else {
            try keepModel(byte)
        }
    }

    /// The byte behind a backslash.
    mutating func passEscape(_ byte: UInt8, _ at: Int) throws(BodyRefusal) -> Int {
        if byte == 0x75 {
            state = .unicode
            digitsLeft = 4
            codeUnit = 0
            return at + 1
        }
        if !Self.isSimpleEscape(byte) { throw .notJSON }
        state = isKept ? .collected : .text
        if isKept {
            switch byte {
            case 0x62: try keep(0x08)
            case 0x66: try keep(0x0C)
            case 0x6E: try keep(0x0A)
            case 0x72: try keep(0x0D)
            case 0x74: try keep(0x09)
            default: try keep(byte)
            }
        }
        return at + 1
    }

    /// A digit of a `\u` escape.
    mutating func passDigit(_ byte: UInt8, _ at: Int) throws(BodyRefusal) -> Int {
        guard let digit = Self.hexDigit(byte) else { throw .notJSON }
        codeUnit = codeUnit &<< 4 | UInt16(digit)
        digitsLeft -= 1
        if digitsLeft > 0 { return at + 1 }
        state = isKept ? .collected : .text
        if isKept { try keepUnit() }
        return at + 1
    }

    /// Adds the character of a `\u` escape, or of two.
    private mutating func keepUnit() throws(BodyRefusal) {
        var scalar = UInt32(codeUnit)
        switch codeUnit {
        case 0xD800...0xDBFF:
            if highSurrogate != 0 { throw .loneSurrogate }
            highSurrogate = codeUnit
            return
        case 0xDC00...0xDFFF:
            if highSurrogate == 0 { throw .loneSurrogate }
            scalar = 0x1_0000 + (UInt32(highSurrogate) - 0xD800) << 10 + (scalar - 0xDC00)
            highSurrogate = 0
        default: if highSurrogate != 0 { throw .loneSurrogate }
        }
        switch scalar {
        case ..<0x80: try keep(UInt8(scalar))
        case ..<0x800:
            try keep(0xC0 | UInt8(scalar >> 6))
            try keep(0x80 | UInt8(scalar & 0x3F))
        case ..<0x1_0000:
            try keep(0xE0 | UInt8(scalar >> 12))
            try keep(0x80 | UInt8(scalar >> 6 & 0x3F))
            try keep(0x80 | UInt8(scalar & 0x3F))
        default:
            try keep(0xF0 | UInt8(scalar >> 18))
            try keep(0x80 | UInt8(scalar >> 12 & 0x3F))
            try keep(0x80 | UInt8(scalar >> 6 & 0x3F))
            try keep(0x80 | UInt8(scalar & 0x3F))
        }
    }

    // MARK: - Characters of more than one byte

    /// The first byte of a character.
    private mutating func beginTrail(_ byte: UInt8) throws(BodyRefusal) {
        if !character.take(byte) { throw .notUTF8 }
        state = .trail
        if isKept { try keep(byte) }
    }

    /// Another byte of a character.
    mutating func passTrail(_ byte: UInt8, _ at: Int) throws(BodyRefusal) -> Int {
        if !character.take(byte) { throw .notUTF8 }
        if character.isWhole { state = isKept ? .collected : .text }
        if isKept { try keep(byte) }
        return at + 1
    }

    // MARK: - Bytes

    @inline(__always)
    private static func isSimpleEscape(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x22, 0x2F, 0x5C, 0x62, 0x66, 0x6E, 0x72, 0x74: true
        default: false
        }
    }

    @inline(__always)
    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte &- 0x30
        case 0x41...0x46, 0x61...0x66: (byte | 0x20) &- 0x57
        default: nil
        }
    }
}
