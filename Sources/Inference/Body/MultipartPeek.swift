import BasicContainers
import HTTP

/// Reads `model` and `stream` out of a form as it comes (RFC 7578), before or behind its files.
///
/// What servers read in more than one way is refused: text before the first delimiter, lines that do not
/// end in CRLF, the delimiter anywhere but behind a CRLF, a second `model`. Any cut gives the same result.
public struct MultipartPeek: ~Copyable {
    /// Parts that are read.
    public static let partsMax = 1_000

    /// Bytes that a line of a part's head may have.
    static let lineMax = 1_024

    /// Lines that a part's head may have.
    static let linesMax = 16

    /// What was read so far; complete after `finish`.
    public private(set) var facts = BodyFacts()

    private let boundary: MultipartBoundary
    private var state = State.opening
    /// Bytes of the delimiter that are matched.
    private var matched = 0
    /// Content before the bytes that are scanned now.
    private var offset = 0
    /// Where the line begins whose beginning may be a delimiter; -1 when there is none.
    private var lineStart = 0
    /// The two bytes before those that are scanned now.
    private var last: (UInt8, UInt8) = (0, 0)
    /// A line of a part's head, or the content of a part that is looked at.
    private var line: RigidArray<UInt8>
    private var contentStart = 0
    private var part = Part()
    private var parts = 0
    private var hasModel = false
    private var refusal: BodyRefusal?

    private enum State {
        /// At the start, where one CRLF may come first.
        case opening, openingLineFeed
        /// Behind a delimiter: CRLF, or the two hyphens of the last one.
        case delimited, delimitedLineFeed, closing
        /// In a part's head, and behind a CR in it.
        case head, headLineFeed
        case content
        /// Behind the last delimiter.
        case done
    }

    /// What a part's head says.
    private struct Part {
        enum Name { case none, model, stream, other }
        var name = Name.none
        var lines = 0
        var isFile = false
        var isEncoded = false
    }

    /// A scanner at the start of content of this type; throws when the type is no form.
    public init(contentType: Span<UInt8>) throws(BodyRefusal) {
        guard let boundary = MultipartBoundary(contentType: contentType) else { throw .noBoundary }
        self.boundary = boundary
        line = RigidArray(capacity: Self.lineMax)
    }

    /// Takes the next bytes of content; throws at the first that is refused, and from then on.
    public mutating func scan(_ bytes: Span<UInt8>) throws(BodyRefusal) {
        if let refusal { throw refusal }
        do throws(BodyRefusal) {
            var at = 0
            while at < bytes.count {
                at = state == .content ? try passContent(bytes, at) : try step(bytes[at], at)
            }
        } catch {
            refusal = error
            throw error
        }
        switch bytes.count {
        case 0: return
        case 1: last = (last.1, bytes[0])
        default: last = (bytes[bytes.count - 2], bytes[bytes.count - 1])
        }
        offset += bytes.count
    }

    /// Tells that the content ends here.
    public mutating func finish() throws(BodyRefusal) {
        if let refusal { throw refusal }
        if state == .done { return }
        refusal = .truncated
        throw .truncated
    }

    /// Takes one byte outside of contents.
    private mutating func step(_ byte: UInt8, _ at: Int) throws(BodyRefusal) -> Int {
        switch state {
        case .opening:
            if matched == 0, byte == 0x0D, offset + at == 0 {
                state = .openingLineFeed
            } else if byte == boundary.bytes[matched] {
                matched += 1
                if matched == boundary.count { state = .delimited }
            } else {
                throw .notMultipart
            }
        case .openingLineFeed:
            if byte != 0x0A { throw .notMultipart }
            state = .opening
        case .delimited:
            if byte == 0x0D {
                state = .delimitedLineFeed
            } else if byte == 0x2D {
                state = .closing
            } else {
                throw .notMultipart
            }
        case .delimitedLineFeed:
            if byte != 0x0A { throw .notMultipart }
            parts += 1
            if parts > Self.partsMax { throw .tooManyKeys }
            part = Part()
            line.removeAll()
            state = .head
        case .closing:
            if byte != 0x2D || parts == 0 { throw .notMultipart }
            state = .done
        case .head:
            if byte == 0x0D {
                state = .headLineFeed
            } else if byte == 0x0A || byte == 0 || line.count == Self.lineMax {
                throw .notMultipart
            } else {
                line.append(byte)
            }
        case .headLineFeed:
            if byte != 0x0A { throw .notMultipart }
            try endLine(at: offset + at + 1)
        case .done:
            // Line ends, and nothing that a lenient server could take for a part.
            if byte != 0x0D, byte != 0x0A { throw .trailingBytes }
        case .content: break
        }
        return at + 1
    }

    // MARK: - Heads

    /// A line of a part's head ends, the last one when it is empty; content would begin at `start`.
    private mutating func endLine(at start: Int) throws(BodyRefusal) {
        defer { line.removeAll() }
        if !line.isEmpty {
            part.lines += 1
            if part.lines > Self.linesMax { throw .notMultipart }
            var changed = part
            try Self.read(line.span, &changed)
            part = changed
            state = .head
            return
        }
        switch part.name {
        case .none: throw .notMultipart
        case .model:
            if hasModel { throw .duplicateModel }
            if part.isFile || part.isEncoded { throw .modelNotString }
            hasModel = true
        case .stream: if part.isFile || part.isEncoded { part.name = .other }
        case .other: break
        }
        if part.name == .other { facts.hasPrompt = true }
        contentStart = start
        lineStart = -1
        matched = 0
        state = .content
    }

    /// Reads a line of a part's head.
    private static func read(_ line: Span<UInt8>, _ part: inout Part) throws(BodyRefusal) {
        let colon = ByteScan.first(0x3A, line, from: 0, to: line.count)
        if colon == line.count || colon == 0 { throw .notMultipart }
        // A folded line, or a name with a space behind it.
        for i in 0..<colon where line[i] <= 0x20 || line[i] >= 0x7F { throw .notMultipart }
        let name = line.extracting(0..<colon)
        let value = line.extracting((colon + 1)..<line.count)
        if ByteScan.equalFolding(name, ByteScan.bytes("content-disposition")) {
            if part.name != .none { throw .notMultipart }
            try readDisposition(value, &part)
        } else if ByteScan.equalFolding(name, ByteScan.bytes("content-transfer-encoding")) {
            part.isEncoded = true
        }
    }

    /// Reads `form-data; name="…"; filename="…"`.
    private static func readDisposition(
        _ value: Span<UInt8>, _ part: inout Part
    ) throws(BodyRefusal) {
        var parameters = ParameterScanner()
        let type = parameters.head(value)
        if !ByteScan.equalFolding(value.extracting(type), ByteScan.bytes("form-data")) {
            throw .notMultipart
        }
        while let parameter = parameters.next(value) {
            let name = value.extracting(parameter.name)
            if ByteScan.equalFolding(name, ByteScan.bytes("name*")) { throw .notMultipart }
            if ByteScan.equalFolding(name, ByteScan.bytes("name")) {
                if part.name != .none { throw .notMultipart }
                let text = value.extracting(parameter.value)
                if parameter.isEscaped {
                    // Servers do not agree on what an escape means: only one that cannot matter passes.
                    if couldBeModel(text) { throw .modelSpelling }
                    part.name = .other
                } else if ByteScan.equal(text, ByteScan.bytes("model")) {
                    part.name = .model
                } else if ByteScan.equal(text, ByteScan.bytes("stream")) {
                    part.name = .stream
                } else {
                    part.name = .other
                }
            } else if ByteScan.equalFolding(name, ByteScan.bytes("filename"))
                || ByteScan.equalFolding(name, ByteScan.bytes("filename*"))
            {
                part.isFile = true
            }
        }
        if parameters.isBroken || part.name == .none { throw .notMultipart }
    }

    /// Whether the text is `model` once its backslashes are gone.
    private static func couldBeModel(_ text: Span<UInt8>) -> Bool {
        let model = ByteScan.bytes("model")
        var count = 0
        for i in text.indices where text[i] != 0x5C {
            if count == model.count || text[i] != model[count] { return false }
            count += 1
        }
        return count == model.count
    }

    // MARK: - Contents

    /// Passes over a part's content, up to the delimiter behind it.
    private mutating func passContent(
        _ bytes: Span<UInt8>, _ start: Int
    ) throws(BodyRefusal) -> Int {
        let isKept = part.name == .model || part.name == .stream
        var at = start
        while at < bytes.count {
            if matched == 0 {
                let hyphen = ByteScan.first(0x2D, bytes, from: at, to: bytes.count)
                if isKept { try keep(bytes, at..<hyphen) }
                at = hyphen
                if at == bytes.count { return at }
                let before = (
                    at > 1 ? bytes[at - 2] : at == 1 ? last.1 : last.0,
                    at > 0 ? bytes[at - 1] : last.1
                )
                if before == (0x0D, 0x0A) { lineStart = offset + at }
            }
            matched = boundary.matched(matched, with: bytes[at])
            if isKept { try keep(bytes, at..<(at + 1)) }
            at += 1
            if matched == boundary.count {
                // Anywhere else lenient servers see a delimiter, and strict ones do not.
                let start = offset + at - boundary.count
                if start != lineStart || start < contentStart + 2 { throw .notMultipart }
                try endContent()
                state = .delimited
                return at
            }
        }
        return at
    }

    private mutating func keep(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(BodyRefusal) {
        if line.count + range.count > Self.lineMax {
            if part.name == .model { throw .modelTooLong }
            part.name = .other
            return
        }
        for i in range { line.append(bytes[i]) }
    }

    /// The part's content is complete: what was kept less CRLF and delimiter.
    private mutating func endContent() throws(BodyRefusal) {
        defer { line.removeAll() }
        // A `stream` that was too long is no longer kept.
        let count = max(0, line.count - boundary.count - 2)
        switch part.name {
        case .model:
            try Self.check(line.span.extracting(0..<count))
            guard let name = ModelName(line.span.extracting(0..<count)) else {
                throw count == 0 ? .modelEmpty : .modelTooLong
            }
            facts.name = name
            facts.modelRange = contentStart..<(contentStart + count)
        case .stream:
            facts.stream = Self.boolean(line.span.extracting(0..<count))
        case .none, .other: break
        }
    }

    private static func boolean(_ text: Span<UInt8>) -> Bool? {
        if ByteScan.equalFolding(text, ByteScan.bytes("true")) { return true }
        return ByteScan.equalFolding(text, ByteScan.bytes("false")) ? false : nil
    }

    /// Refuses what a name in JSON would be refused for.
    private static func check(_ name: Span<UInt8>) throws(BodyRefusal) {
        var decoder = UTF8Check()
        for i in name.indices {
            let byte = name[i]
            if byte < 0x20 || byte == 0x7F { throw .modelControl }
            if byte >= 0x80, byte < 0xA0, i > 0, name[i - 1] == 0xC2 { throw .modelControl }
            if !decoder.take(byte) { throw .notUTF8 }
        }
        if !decoder.isWhole { throw .notUTF8 }
    }
}
