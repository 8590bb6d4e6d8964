import HTTP

/// Puts the name that a client gave back into an answer that has the served one, as the answer passes.
///
/// Looks at `model` at the top of each JSON object of the answer, and in `message` and `response` in it
/// (the first events of Anthropic's Messages and those of OpenAI's Responses). Bytes pass as they come;
/// only the one value that is looked at waits for its end, and no longer than 256 bytes. What is not
/// understood passes unchanged. Any cut gives the same bytes.
public struct ModelNameRestore: Sendable {
    /// What the answer is made of.
    public enum Format: Sendable {
        /// One JSON value, or one a line.
        case json
        /// Server-sent events with JSON in their data.
        case events

        /// By an answer's Content-Type; nil for what no name is looked for in.
        public init?(contentType: Span<UInt8>) {
            var end = ByteScan.first(0x3B, contentType, from: 0, to: contentType.count)
            end = ByteScan.first(0x20, contentType, from: 0, to: end)
            let type = contentType.extracting(0..<end)
            if ByteScan.equalFolding(type, ByteScan.bytes("text/event-stream")) {
                self = .events
                return
            }
            let names = Self.jsonTypes
            for at in names.indices
            where ByteScan.equalFolding(type, ByteScan.bytes(names[at])) {
                self = .json
                return
            }
            return nil
        }

        private static var jsonTypes: InlineArray<4, StaticString> {
            [
                "application/json", "application/x-ndjson", "application/ndjson",
                "application/jsonl",
            ]
        }
    }

    /// Bytes of a value that wait for its end.
    public static let heldMax = 256

    private let served: ModelName
    private let client: ModelName
    private let format: Format

    private var state: State
    /// Bytes of `data:` that the line's beginning matches.
    private var matched = 0
    private var depth = 0
    /// The innermost object or array whose members are looked at is an object.
    private var isObject = false
    /// Behind a `{` or `,` of it, and before the colon.
    private var isKeyNext = false
    /// The last key at this place.
    private var key = Key.other
    /// Levels whose members are looked at: 1, or 2 inside of `message` and `response`.
    private var lookedAt = 1
    private var word = InlineArray<16, UInt8>(repeating: 0)
    private var wordCount = 0

    /// The value that waits, its first quote included.
    private var held = InlineArray<256, UInt8>(repeating: 0)
    private var heldCount = 0
    /// What is written before anything else passes, and how much of it was.
    private var emitting = Emission.nothing
    private var emitted = 0

    private enum State {
        /// In a line of an event stream that is no data.
        case lineStart, otherLine
        /// Outside of strings, in them, and behind a backslash.
        case outside, string, escape
        /// In the value that waits.
        case holding, holdingEscape
    }

    private enum Key { case other, model, container }

    private enum Emission { case nothing, held, client }

    /// A filter at the start of an answer.
    public init(served: ModelName, client: ModelName, format: Format) {
        self.served = served
        self.client = client
        self.format = format
        state = format == .events ? .lineStart : .outside
    }

    /// Takes bytes from `from` on and writes what may pass, until one of the two is used up.
    public mutating func filter(
        _ bytes: Span<UInt8>, from: inout Int, into output: inout OutputSpan<UInt8>
    ) {
        while emit(into: &output), from < bytes.count, output.freeCapacity > 0 {
            if state == .holding || state == .holdingEscape {
                hold(bytes, from: &from)
            } else {
                let end = min(bytes.count, from + output.freeCapacity)
                let passed = pass(bytes, from, end)
                _ = ByteScan.append(ByteScan.part(bytes, from, passed), to: &output)
                from = passed
            }
        }
    }

    /// Writes what still waits when the answer ends; false when there is more than fits.
    public mutating func finish(into output: inout OutputSpan<UInt8>) -> Bool {
        if state == .holding || state == .holdingEscape { letGo() }
        return emit(into: &output)
    }

    // MARK: - Walking

    /// Passes over bytes up to `end`, or up to a value that has to wait; returns where it stopped.
    private mutating func pass(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int {
        var at = start
        while at < end {
            let byte = bytes[at]
            switch state {
            case .lineStart:
                let prefix = ByteScan.bytes("data:")
                if byte == prefix[matched] {
                    matched += 1
                    if matched == prefix.count { beginValue() }
                } else {
                    matched = 0
                    state = byte == 0x0A || byte == 0x0D ? .lineStart : .otherLine
                }
                at += 1
            case .otherLine:
                at = ByteScan.first(0x0A, bytes, from: at, to: end)
                if at == end { return end }
                beginLine()
                at += 1
            case .string:
                if isKeyNext {
                    note(byte)
                    at += 1
                } else {
                    at = ByteScan.firstOfString(bytes, from: at, to: end)
                    if at == end { return end }
                    note(bytes[at])
                    at += 1
                }
            case .escape:
                // No key that is looked for needs an escape.
                wordCount = word.count + 1
                state = .string
                at += 1
            case .outside:
                if byte == 0x22, key == .model, isObject, !isKeyNext, depth == lookedAt {
                    state = .holding
                    heldCount = 0
                    return at
                }
                noteOutside(byte)
                at += 1
            case .holding, .holdingEscape: return at
            }
        }
        return at
    }

    private mutating func beginLine() {
        state = .lineStart
        matched = 0
    }

    /// Data of an event begins: a JSON value of its own.
    private mutating func beginValue() {
        state = .outside
        depth = 0
        lookedAt = 1
        isObject = false
        isKeyNext = false
        key = .other
    }

    /// A byte outside of strings.
    private mutating func noteOutside(_ byte: UInt8) {
        switch byte {
        case 0x22:
            state = .string
            wordCount = 0
        case 0x7B, 0x5B:
            let isLookedAt = depth == 0 || (depth == 1 && isObject && key == .container)
            depth += 1
            if isLookedAt {
                lookedAt = depth
                isObject = byte == 0x7B
                isKeyNext = isObject
            } else if depth == lookedAt + 1 {
                // What is deeper has no keys that are looked at.
                isKeyNext = false
            }
            key = .other
        case 0x7D, 0x5D:
            depth = max(0, depth - 1)
            if depth == 1, lookedAt == 2 { (lookedAt, isObject) = (1, true) }
            if depth == 0 { (lookedAt, isObject) = (1, false) }
            isKeyNext = false
            key = .other
        case 0x2C:
            if depth == lookedAt, isObject {
                isKeyNext = true
                key = .other
            }
        case 0x0A, 0x0D:
            if format == .events { beginLine() }
        default: break
        }
    }

    /// A byte in a string: part of a key that is looked at, or one that ends a run.
    private mutating func note(_ byte: UInt8) {
        switch byte {
        case 0x22:
            state = .outside
            if isKeyNext, depth == lookedAt {
                key = keyOfWord
                isKeyNext = false
            }
        case 0x5C: state = .escape
        case 0x0A, 0x0D:
            // No JSON string has a line end: this is something else.
            if format == .events { beginLine() }
        default:
            if wordCount < word.count { word[wordCount] = byte }
            wordCount = min(wordCount + 1, word.count + 1)
        }
    }

    private var keyOfWord: Key {
        if wordCount > word.count { return .other }
        let word = self.word
        let text = word.span.extracting(0..<wordCount)
        if ByteScan.equal(text, ByteScan.bytes("model")) { return .model }
        if depth == 1,
            ByteScan.equal(text, ByteScan.bytes("message"))
                || ByteScan.equal(text, ByteScan.bytes("response"))
        {
            return .container
        }
        return .other
    }

    // MARK: - The value that waits

    /// Takes bytes of the value, which begins with its quote.
    private mutating func hold(_ bytes: Span<UInt8>, from: inout Int) {
        while from < bytes.count {
            let byte = bytes[from]
            if heldCount == Self.heldMax {
                // Longer than any that is looked for, with its escapes: it passes like other text.
                letGo()
                return
            }
            held[heldCount] = byte
            heldCount += 1
            from += 1
            if state == .holdingEscape {
                state = .holding
            } else if byte == 0x5C {
                state = .holdingEscape
            } else if byte < 0x20 {
                letGo()
                if format == .events, byte == 0x0A || byte == 0x0D { beginLine() }
                return
            } else if byte == 0x22, heldCount > 1 {
                state = .outside
                key = .other
                emitting = isServed ? .client : .held
                emitted = 0
                return
            }
        }
    }

    /// Gives up looking at the value: it is written as it came.
    private mutating func letGo() {
        state = state == .holdingEscape ? .escape : .string
        key = .other
        wordCount = 0
        emitting = .held
        emitted = 0
    }

    /// Whether the value is the served name, its escapes resolved.
    private var isServed: Bool {
        let value = held
        var peek = BodyPeek()
        do throws(BodyRefusal) {
            try peek.scan(ByteScan.bytes("{\"model\":"))
            try peek.scan(value.span.extracting(0..<heldCount))
        } catch { return false }
        return peek.facts.model == served
    }

    /// Writes what goes before anything else; false when not all of it fits.
    private mutating func emit(into output: inout OutputSpan<UInt8>) -> Bool {
        switch emitting {
        case .nothing: return true
        case .held:
            while emitted < heldCount, output.freeCapacity > 0 {
                output.append(held[emitted])
                emitted += 1
            }
            if emitted < heldCount { return false }
        case .client:
            emitted = JSONText.append(quoted: client, from: emitted, to: &output)
            if emitted < JSONText.count(quoted: client) { return false }
        }
        emitting = .nothing
        return true
    }
}
