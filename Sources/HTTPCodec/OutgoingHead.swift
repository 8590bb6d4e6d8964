import HTTP

/// What the text of an HTTP/1.1 head says that is about to leave in HTTP/2.
///
/// The text comes from the gateway's own serializer, but is checked all the same: what is no head
/// is not sent.
struct OutgoingHead: BitwiseCopyable {
    /// An answer's; 0 in a request.
    var status = 0
    /// A request's.
    var method = ByteRange.none
    var target = ByteRange.none
    var host = ByteRange.none
    var key = ByteRange.none
    /// The request wants, or the answer opens, a WebSocket.
    var isWebSocket = false
    var isHEAD = false
    /// How the content's text is framed.
    var framing = BodyFraming.none
    /// Where the first line begins.
    var linesStart = 0
    /// Lines, dropped ones included.
    var lineCount = 0
    /// Those of a usual head.
    var lines = LineTable()

    init() {}

    /// Offset behind the head that begins at `start`; nil while it is incomplete.
    static func end(_ text: Span<UInt8>, from start: Int) -> Int? {
        var at = start
        while at < text.count {
            let lineFeed = ByteScan.first(0x0A, text, from: at, to: text.count)
            if lineFeed == text.count { return nil }
            // The empty line: LF, CR, LF.
            if lineFeed + 2 < text.count, text[lineFeed + 1] == 0x0D, text[lineFeed + 2] == 0x0A {
                return lineFeed + 3
            }
            at = lineFeed + 1
        }
        return nil
    }

    /// Reads the head that is the whole of `text`; nil when it is none.
    init?(_ text: Span<UInt8>, from role: Role) {
        let lineEnd = ByteScan.firstControl(text, from: 0, to: text.count)
        if lineEnd + 1 >= text.count || text[lineEnd] != 0x0D || text[lineEnd + 1] != 0x0A {
            return nil
        }
        linesStart = lineEnd + 2
        switch role {
        case .server: if !takeStatusLine(text, lineEnd) { return nil }
        case .client: if !takeRequestLine(text, lineEnd) { return nil }
        }
        if !takeLines(text, role) { return nil }
    }

    private mutating func takeStatusLine(_ text: Span<UInt8>, _ end: Int) -> Bool {
        if end < 12 || (end > 12 && text[12] != 0x20) { return false }
        if !ByteScan.equal(text.extracting(0..<9), ByteScan.bytes("HTTP/1.1 ")) { return false }
        guard let number = FieldValue.decimal(text.extracting(9..<12)), number >= 100 else {
            return false
        }
        status = Int(truncatingIfNeeded: number)
        return status <= 599
    }

    private mutating func takeRequestLine(_ text: Span<UInt8>, _ end: Int) -> Bool {
        let methodEnd = ByteScan.first(0x20, text, from: 0, to: end)
        let targetEnd = ByteScan.first(0x20, text, from: min(methodEnd + 1, end), to: end)
        if methodEnd == 0 || targetEnd <= methodEnd + 1 || targetEnd == end { return false }
        method = ByteRange(0..<methodEnd)
        target = ByteRange((methodEnd + 1)..<targetEnd)
        if !Token.isToken(text.extracting(method.range)) { return false }
        for index in target.range where text[index] &- 0x21 >= 0x5E { return false }
        if text[methodEnd + 1] != 0x2F && text[methodEnd + 1] != 0x2A { return false }
        isHEAD = ByteScan.equal(text.extracting(method.range), ByteScan.bytes("HEAD"))
        return ByteScan.equal(
            text.extracting((targetEnd + 1)..<end), ByteScan.bytes("HTTP/1.1"))
    }

    private mutating func takeLines(_ text: Span<UInt8>, _ role: Role) -> Bool {
        var walker = LineWalker(at: linesStart)
        var length: UInt64?
        var isChunked = false
        while let line = walker.next(text) {
            lineCount += 1
            lines.append(line)
            let value = text.extracting(line.value.range)
            switch line.id {
            case .transferEncoding:
                if !ByteScan.equalFolding(value, ByteScan.bytes("chunked")) { return false }
                isChunked = true
            case .contentLength:
                guard length == nil, let number = FieldValue.decimal(value) else { return false }
                length = number
            case .host:
                if !host.isNone { return false }
                host = line.value
            case .upgrade:
                isWebSocket = ByteScan.equalFolding(value, ByteScan.bytes("websocket"))
            case .secWebSocketKey: key = line.value
            default: break
            }
        }
        if walker.isBroken || walker.at + 2 != text.count { return false }
        if isChunked {
            framing = .chunked
        } else if let length {
            framing = .length(length)
        } else {
            framing = role == .server ? .untilClose : .none
        }
        return true
    }
}

/// The fields of one head or trailer section for the library, pseudo-fields first.
struct OutgoingFields: BitwiseCopyable {
    enum Part: BitwiseCopyable {
        case literal(StaticString)
        case text(ByteRange)
    }

    struct Field: BitwiseCopyable {
        var name: Part
        var value: Part
        /// Never to be put into a table, where it could be guessed (RFC 7541 §7.1).
        var isSensitive = false
    }

    enum Kind: BitwiseCopyable {
        case request(isSecure: Bool)
        /// A request that opens a WebSocket (RFC 8441 §4).
        case connect(isSecure: Bool)
        case answer
        /// An answer whose status is another than the text says.
        case answerInstead(StaticString)
        case trailers
    }

    private let kind: Kind
    private var step = 0
    private var walker: LineWalker
    /// The next line of the head's table, where that has all of them.
    private var index = 0
    private let hasTable: Bool
    /// At most so many fields come.
    let countMax: Int

    init(_ kind: Kind, _ head: borrowing OutgoingHead) {
        self.kind = kind
        walker = LineWalker(at: head.linesStart)
        hasTable = head.lines.isWhole
        countMax = head.lineCount + 5
    }

    /// Trailer lines from the beginning of the text on.
    init(trailers count: Int) {
        kind = .trailers
        walker = LineWalker(at: 0)
        hasTable = false
        countMax = count
    }

    /// The next field; ranges are of `text`, whose head it is, if it has one.
    mutating func next(_ text: Span<UInt8>, of head: borrowing OutgoingHead) -> Field? {
        if step < Self.stepMax, let field = nextPseudo(head) { return field }
        while true {
            let line: LineWalker.Line
            if hasTable {
                if index == head.lines.count { return nil }
                line = head.lines[index]
                index &+= 1
            } else {
                guard let walked = walker.next(text) else { return nil }
                line = walked
            }
            if isDropped(line, text, head.status) { continue }
            return Field(
                name: .text(line.name), value: .text(line.value),
                isSensitive: OutgoingFields.isSensitive(line.id))
        }
    }

    /// After so many steps there are no more pseudo-fields.
    private static var stepMax: Int { 6 }

    private mutating func nextPseudo(_ head: borrowing OutgoingHead) -> Field? {
        step += 1
        switch kind {
        case .answer:
            if step > 1 { break }
            return Field(
                name: .literal(":status"), value: .text(ByteRange(start: 9, count: 3)))
        case .answerInstead(let status):
            if step > 1 { break }
            return Field(name: .literal(":status"), value: .literal(status))
        case .trailers: break
        case .request(let isSecure):
            return requestPseudo(head, isSecure, .text(head.method), hasProtocol: false)
        case .connect(let isSecure):
            return requestPseudo(head, isSecure, .literal("CONNECT"), hasProtocol: true)
        }
        step = Self.stepMax
        return nil
    }

    private mutating func requestPseudo(
        _ head: borrowing OutgoingHead, _ isSecure: Bool, _ method: Part, hasProtocol: Bool
    ) -> Field? {
        let host = head.host
        if step == 4 && (host.isNone || host.isEmpty) { step = 5 }
        switch step {
        case 1: return Field(name: .literal(":method"), value: method)
        case 2:
            return Field(name: .literal(":scheme"), value: .literal(isSecure ? "https" : "http"))
        case 3: return Field(name: .literal(":path"), value: .text(head.target))
        case 4: return Field(name: .literal(":authority"), value: .text(host))
        case 5 where hasProtocol:
            return Field(name: .literal(":protocol"), value: .literal("websocket"))
        default:
            step = Self.stepMax
            return nil
        }
    }

    /// Whether the line belongs to HTTP/1.1's connection or was said as a pseudo-field.
    private func isDropped(
        _ line: LineWalker.Line, _ text: Span<UInt8>, _ status: Int
    ) -> Bool {
        switch line.id {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade,
            .http2Settings:
            return true
        case .te:
            let value = text.extracting(line.value.range)
            return !isRequest || !ByteScan.equalFolding(value, ByteScan.bytes("trailers"))
        case .host: return isRequest
        case .secWebSocketKey, .secWebSocketAccept: return isTunnel(status)
        // RFC 9110 §8.6: neither interim answers nor 204 have one.
        case .contentLength: return isTunnel(status) || isWithoutLength(status)
        default: return false
        }
    }

    private var isRequest: Bool {
        switch kind {
        case .request, .connect: true
        case .answer, .answerInstead, .trailers: false
        }
    }

    private func isTunnel(_ status: Int) -> Bool {
        switch kind {
        case .connect: true
        case .answerInstead: status == 101
        case .request, .answer, .trailers: false
        }
    }

    private func isWithoutLength(_ status: Int) -> Bool {
        guard case .answer = kind else { return false }
        return status < 200 || status == 204
    }

    private static func isSensitive(_ id: FieldName) -> Bool {
        HeadShelf.sensitiveNames.contains(id)
    }
}
