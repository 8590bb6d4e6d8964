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
    private let head: OutgoingHead?
    private var step = 0
    private var walker: LineWalker
    /// At most so many fields come.
    let countMax: Int

    init(_ kind: Kind, _ head: OutgoingHead) {
        self.kind = kind
        self.head = head
        walker = LineWalker(at: head.linesStart)
        countMax = head.lineCount + 5
    }

    /// Trailer lines from the beginning of the text on.
    init(trailers count: Int) {
        kind = .trailers
        head = nil
        walker = LineWalker(at: 0)
        countMax = count
    }

    /// The next field; ranges are of `text`.
    mutating func next(_ text: Span<UInt8>) -> Field? {
        if let head, let field = nextPseudo(text, head) { return field }
        while let line = walker.next(text) {
            if isDropped(line, text) { continue }
            return Field(
                name: .text(line.name), value: .text(line.value),
                isSensitive: OutgoingFields.isSensitive(line.id))
        }
        return nil
    }

    private mutating func nextPseudo(_ text: Span<UInt8>, _ head: OutgoingHead) -> Field? {
        step += 1
        switch kind {
        case .answer:
            if step > 1 { return nil }
            return Field(
                name: .literal(":status"), value: .text(ByteRange(start: 9, count: 3)))
        case .answerInstead(let status):
            return step > 1 ? nil : Field(name: .literal(":status"), value: .literal(status))
        case .trailers: return nil
        case .request(let isSecure):
            return requestPseudo(head, isSecure, .text(head.method), hasProtocol: false)
        case .connect(let isSecure):
            return requestPseudo(head, isSecure, .literal("CONNECT"), hasProtocol: true)
        }
    }

    private mutating func requestPseudo(
        _ head: OutgoingHead, _ isSecure: Bool, _ method: Part, hasProtocol: Bool
    ) -> Field? {
        if step == 4 && (head.host.isNone || head.host.isEmpty) { step = 5 }
        return switch step {
        case 1: Field(name: .literal(":method"), value: method)
        case 2: Field(name: .literal(":scheme"), value: .literal(isSecure ? "https" : "http"))
        case 3: Field(name: .literal(":path"), value: .text(head.target))
        case 4: Field(name: .literal(":authority"), value: .text(head.host))
        case 5 where hasProtocol:
            Field(name: .literal(":protocol"), value: .literal("websocket"))
        default: nil
        }
    }

    /// Whether the line belongs to HTTP/1.1's connection or was said as a pseudo-field.
    private func isDropped(_ line: LineWalker.Line, _ text: Span<UInt8>) -> Bool {
        switch line.id {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade,
            .http2Settings:
            return true
        case .te:
            let value = text.extracting(line.value.range)
            return !isRequest || !ByteScan.equalFolding(value, ByteScan.bytes("trailers"))
        case .host: return isRequest
        case .secWebSocketKey: return isTunnel
        case .secWebSocketAccept: return isTunnel
        // RFC 9110 §8.6: neither interim answers nor 204 have one.
        case .contentLength: return isTunnel || isWithoutLength
        default: return false
        }
    }

    private var isRequest: Bool {
        switch kind {
        case .request, .connect: true
        case .answer, .answerInstead, .trailers: false
        }
    }

    private var isTunnel: Bool {
        switch kind {
        case .connect: true
        case .answerInstead: head?.status == 101
        case .request, .answer, .trailers: false
        }
    }

    private var isWithoutLength: Bool {
        guard case .answer = kind, let head else { return false }
        return head.status < 200 || head.status == 204
    }

    private static func isSensitive(_ id: FieldName) -> Bool {
        switch id {
        case .authorization, .proxyAuthorization, .cookie, .setCookie, .xAPIKey: true
        default: false
        }
    }
}
