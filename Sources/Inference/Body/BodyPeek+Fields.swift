import HTTP

/// What the members of the top-level object mean.
extension BodyPeek {
    // MARK: - Names

    /// Counts a member; `options` have members of their own, which do not count.
    mutating func countKey() throws(BodyRefusal) {
        if depth != 1 { return }
        keys += 1
        if keys > Self.keysMax { throw .tooManyKeys }
    }

    /// Takes the name of a member, at the top or in `options`; `name` is unescaped.
    mutating func takeKey(_ name: Span<UInt8>) throws(BodyRefusal) {
        if depth == 2 {
            isContextLength = ByteScan.equal(name, ByteScan.bytes("num_ctx"))
            return
        }
        field = .none
        switch name.count {
        case 4: if acceptsName { try takeName(name) }
        case 5:
            let isSpelt = ByteScan.equal(name, ByteScan.bytes("model"))
            if isSpelt || ByteScan.equalFolding(name, ByteScan.bytes("model")) {
                try takeModel(isSpelt: isSpelt)
            } else if ByteScan.equal(name, ByteScan.bytes("input")) {
                field = .prompt
            }
        case 6:
            if ByteScan.equal(name, ByteScan.bytes("prompt")) {
                field = .prompt
            } else if ByteScan.equal(name, ByteScan.bytes("stream")) {
                field = .stream
            } else if ByteScan.equal(name, ByteScan.bytes("system")) {
                field = .system
            }
        case 7: if ByteScan.equal(name, ByteScan.bytes("options")) { field = .options }
        case 8:
            if ByteScan.equal(name, ByteScan.bytes("messages"))
                || ByteScan.equal(name, ByteScan.bytes("contents"))
            {
                field = .prompt
            }
        case 10:
            if ByteScan.equal(name, ByteScan.bytes("max_tokens")) {
                field = .maxTokens
            } else if ByteScan.equal(name, ByteScan.bytes("keep_alive")) {
                field = .keepAlive
            }
        case 17:
            if ByteScan.equal(name, ByteScan.bytes("max_output_tokens")) { field = .maxTokens }
        case 21:
            if ByteScan.equal(name, ByteScan.bytes("max_completion_tokens")) { field = .maxTokens }
        default: break
        }
    }

    /// A member that is `model` to every server, or only to those that do not tell capitals apart.
    private mutating func takeModel(isSpelt: Bool) throws(BodyRefusal) {
        if hasModel { throw .duplicateModel }
        if !isSpelt { throw .modelSpelling }
        hasModel = true
        field = .model
        isAliasKept = facts.name.count > 0
    }

    /// A member that is perhaps `name`, which counts as long as `model` says nothing.
    private mutating func takeName(_ name: Span<UInt8>) throws(BodyRefusal) {
        if !ByteScan.equalFolding(name, ByteScan.bytes("name")) { return }
        if hasName { throw .duplicateModel }
        if !ByteScan.equal(name, ByteScan.bytes("name")) { throw .modelSpelling }
        hasName = true
        if facts.name.count == 0 { field = .model }
    }

    // MARK: - Values

    /// Notes that a value begins with `byte`, no deeper than in a member of a member.
    @inline(__always)
    mutating func noteValue(_ byte: UInt8, _ at: Int) throws(BodyRefusal) {
        if depth == 2 {
            hasElement = true
        } else if depth == 1, field != .none {
            try beginField(byte, at)
        }
    }

    private mutating func beginField(_ byte: UInt8, _ at: Int) throws(BodyRefusal) {
        valueStart = offset + at
        hasElement = false
        switch field {
        case .model:
            switch byte {
            case 0x7B, 0x5B, 0x74, 0x66, 0x6E, 0x2D, 0x30...0x39: throw .modelNotString
            default: break
            }
        case .stream: facts.stream = nil
        case .keepAlive: facts.hasKeepAlive = true
        case .prompt, .system:
            // A text, a number or the like is something; `endField` looks at what is empty.
            hasElement = byte != 0x7B && byte != 0x5B && byte != 0x6E
        case .options: isContextLength = false
        case .maxTokens, .none: break
        }
    }

    /// The value of a member ends before `end`.
    mutating func endField(at end: Int) {
        switch field {
        case .prompt:
            // Two bytes are `""`, `[]` or a number.
            if hasElement, end - valueStart > 2 { facts.hasPrompt = true }
            facts.prompts.append(valueStart..<end)
        case .system: facts.prompts.append(valueStart..<end)
        default: break
        }
    }

    // MARK: - The model's name

    /// Adds a byte to the model's name.
    mutating func keepModel(_ byte: UInt8) throws(BodyRefusal) {
        if isAliasKept {
            facts.name = ModelName()
            isAliasKept = false
        }
        let isControl =
            byte < 0x20 || byte == 0x7F || (lastByte == 0xC2 && byte < 0xA0 && byte >= 0x80)
        if isControl { throw .modelControl }
        lastByte = byte
        if !facts.name.append(byte) { throw .modelTooLong }
    }

    /// Adds text to the model's name that fits and has no escapes, no controls below 0x20 and nothing
    /// above 0x7F.
    mutating func keepModel(plain text: Span<UInt8>) throws(BodyRefusal) {
        if text.isEmpty { return }
        if isAliasKept {
            facts.name = ModelName()
            isAliasKept = false
        }
        for place in text.indices where text[place] == 0x7F { throw .modelControl }
        if !facts.name.append(text) { throw .modelTooLong }
    }

    /// The value of `model` or its alias ends before `end`.
    mutating func endModel(at end: Int) throws(BodyRefusal) {
        let isAbsent = facts.name.count == 0 || isAliasKept
        if !isAbsent {
            facts.modelRange = valueStart..<end
        } else if !acceptsName {
            throw .modelEmpty
        }
        isAliasKept = false
    }
}
