import BasicContainers

extension HeadParser {
    /// Reads a request head into `head`; see `RequestHead.parse`.
    static func parseRequest(
        _ head: inout RequestHead, _ input: Span<UInt8>, _ resumeAt: Int
    ) -> HeadStep {
        if resumeAt > 0, !isWorthParsing(input, resumeAt, head.limits) {
            return .incomplete(scanned: input.count)
        }
        let skipped: Int
        switch emptyLines(input) {
        case .ended(let count): skipped = count
        case .incomplete: return .incomplete(scanned: input.count)
        case .malformed(let reason): return .malformed(Malformed(reason))
        }
        let text = skipped == 0 ? input : input.extracting(skipped...)
        switch parse(&head, text) {
        case .ended(let count): return .complete(consumed: skipped + count)
        case .incomplete: return .incomplete(scanned: input.count)
        case .malformed(let reason): return .malformed(Malformed(reason))
        }
    }

    /// Skips a few empty lines, which old clients send after content (RFC 9112 §2.2).
    @inline(__always)
    private static func emptyLines(_ input: Span<UInt8>) -> Part {
        if input.isEmpty { return .incomplete }
        if input[0] > 0x20 { return .ended(0) }
        return manyEmptyLines(input)
    }

    @inline(never)
    private static func manyEmptyLines(_ input: Span<UInt8>) -> Part {
        var at = 0
        for _ in 0..<HeadLimits.emptyLinesMax {
            if at == input.count { return .incomplete }
            if input[at] != 0x0D && input[at] != 0x0A { break }
            switch lineEnd(input, at) {
            case .ended(let next): at = next
            case let other: return other
            }
        }
        if at == input.count { return .incomplete }
        if input[at] <= 0x20 { return .malformed(.requestLineBroken) }
        return .ended(at)
    }

    @inline(__always)
    private static func parse(_ head: inout RequestHead, _ text: Span<UInt8>) -> Part {
        head.fields.removeAllLines()
        var line = RequestLine()
        let fieldsStart: Int
        switch requestLine(&head, text, &line) {
        case .ended(let end): fieldsStart = end
        case let other: return other
        }
        let end: Int
        let bounds = FieldBounds(head.limits, start: fieldsStart)
        switch parseFields(&head.fields, text, from: fieldsStart, bounds) {
        case .ended(let offset): end = offset
        case let other: return other
        }
        ByteScan.replace(&head.fields.bytes, by: text, upTo: end)
        if let reason = Target.take(&head, text, line) { return .malformed(reason) }
        if let reason = decide(&head, text) { return .malformed(reason) }
        return .ended(end)
    }

    // MARK: - Request line

    /// Where the parts of a request line lie.
    struct RequestLine {
        /// The whole request target.
        var target = 0..<0
        /// First offset of the path where it is not plain or has a query: `?`, or what needs work.
        var stop = 0
        /// Whether what follows `stop`, if that is `?`, holds no `#`.
        var isPlain = false
    }

    /// Reads `method SP target SP version` and its line end.
    @inline(__always)
    private static func requestLine(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ line: inout RequestLine
    ) -> Part {
        let methodEnd = method(&head, text)
        let start = methodEnd &+ 1
        if methodEnd == 0 || start >= text.count || text[methodEnd] != 0x20 {
            return methodRefused(text, methodEnd, head.limits.requestLineBytes)
        }
        line.stop = ByteScan.plainPathEnd(text, from: start, to: text.count)
        var end = line.stop
        if end < text.count, text[end] == 0x3F {
            end = ByteScan.plainQueryEnd(text, from: end, to: text.count)
            line.isPlain = end == text.count || text[end] != 0x23
        }
        if end < text.count, text[end] != 0x20 {
            end = ByteScan.graphicEnd(text, from: end, to: text.count)
        }
        line.target = start..<end
        if end &+ 11 <= text.count, end > start, end &+ 9 <= head.limits.requestLineBytes,
            isUsualEnd(text, end)
        {
            head.version = .http11
            head.isLineCanonical = true
            head.lineEnd = UInt32(truncatingIfNeeded: end &+ 11)
            return .ended(end &+ 11)
        }
        return requestLineEnd(&head, text, line.target)
    }

    /// The verdict on a request line whose method is not followed by a space and a target.
    @inline(never)
    private static func methodRefused(
        _ text: Span<UInt8>, _ methodEnd: Int, _ bound: Int
    ) -> Part {
        if methodEnd > 0, methodEnd < text.count, text[methodEnd] == 0x20 {
            return refuse(
                text, .requestLineBroken, at: methodEnd + 1, bound: bound, .requestLineTooLong)
        }
        let isEnd = methodEnd < text.count && text[methodEnd] < 0x20
        return refuse(
            text, isEnd ? .requestLineBroken : .methodInvalid, at: methodEnd, bound: bound,
            .requestLineTooLong)
    }

    /// Reads what follows the target of a request line that is not the usual one.
    @inline(never)
    private static func requestLineEnd(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ target: Range<Int>
    ) -> Part {
        let bound = head.limits.requestLineBytes
        let end = target.upperBound
        if end >= text.count || text[end] != 0x20 || target.isEmpty {
            let isByte = end < text.count && text[end] >= 0x7F
            return refuse(
                text, isByte ? .targetByte : .requestLineBroken, at: end, bound: bound,
                .requestLineTooLong)
        }
        let control = ByteScan.firstControl(text, from: end, to: text.count)
        if control > bound { return .malformed(.requestLineTooLong) }
        if control == text.count { return .incomplete }
        if control &- end != 9 {
            let hasSpace = ByteScan.first(0x20, text, from: end + 1, to: control) < control
            return .malformed(hasSpace ? .requestLineBroken : .versionInvalid)
        }
        switch version(text, end &+ 1) {
        case .success(let version): head.version = version
        case .failure(let reason): return .malformed(reason)
        }
        guard case .ended(let next) = lineEnd(text, control) else { return lineEnd(text, control) }
        head.isLineCanonical = next == control &+ 2 && isHTTP11(text, end &+ 1)
        head.lineEnd = UInt32(truncatingIfNeeded: next)
        return .ended(next)
    }

    /// Reads the method; the result is the offset after it.
    @inline(__always)
    private static func method(_ head: inout RequestHead, _ text: Span<UInt8>) -> Int {
        if text.count >= 8 {
            let word = ByteScan.load8(text, 0)
            if word & 0xFFFF_FFFF == 0x2054_4547 {
                head.method = .get
                head.methodText = ByteRange(0..<3)
                return 3
            }
            if word & 0xFF_FFFF_FFFF == 0x20_5453_4F50 {
                head.method = .post
                head.methodText = ByteRange(0..<4)
                return 4
            }
        }
        return anyMethod(&head, text)
    }

    @inline(never)
    private static func anyMethod(_ head: inout RequestHead, _ text: Span<UInt8>) -> Int {
        var end = 0
        while end < text.count, Token.isTokenByte(text[end]) { end += 1 }
        head.method = Method(token: text.extracting(0..<end))
        head.methodText = ByteRange(0..<end)
        return end
    }

    // MARK: - What the fields decide

    /// Host, framing, persistence and expectations of a complete head.
    @inline(__always)
    private static func decide(
        _ head: inout RequestHead, _ text: Span<UInt8>
    ) -> Malformed.Reason? {
        if head.method == .connect { return .methodConnect }
        if let reason = host(&head, text) { return reason }
        head.upgrade = .none
        head.acceptsTrailers = false
        head.keepsAlive = head.version == .http11
        head.namesFields = false
        head.framing = .none
        head.sentFraming = .some(.none)
        head.expectsContinue = false
        let names = head.fields.names
        if names.isDisjoint(
            with: FieldNames(.connection, .te, .contentLength, .transferEncoding, .expect))
        {
            return nil
        }
        if names.contains(.connection) { connection(&head, text) }
        if names.contains(.te) {
            head.acceptsTrailers = lists(head.fields, text, .te, "trailers")
        }
        if let reason = BodyFraming.decide(&head, text) { return reason }
        return names.contains(.expect) ? expectation(&head, text) : nil
    }

    /// Reads Expect; that of HTTP/1.0 is ignored and not forwarded (RFC 9110 §10.1.1).
    @inline(never)
    private static func expectation(
        _ head: inout RequestHead, _ text: Span<UInt8>
    ) -> Malformed.Reason? {
        if head.version == .http10 {
            head.fields.remove(.expect)
            return nil
        }
        guard isOnly(head.fields, text, .expect, "100-continue") else {
            return .expectUnknown
        }
        head.expectsContinue = head.framing != .none
        return nil
    }

    /// Takes the authority from Host unless the target had one, and judges it.
    @inline(__always)
    private static func host(
        _ head: inout RequestHead, _ text: Span<UInt8>
    ) -> Malformed.Reason? {
        if head.fields.repeated.contains(.host) { return .hostRepeated }
        if !head.fields.names.contains(.host) {
            if head.version == .http11 { return .hostMissing }
            if head.authority.isNone {
                head.host = .none
                head.hostPort = nil
                // HTTP/1.1, which is what is written, wants an empty Host then (RFC 9112 §3.2).
                head.writesHost = true
                return nil
            }
        } else {
            let sent = head.fields.firstLine(.host).value
            if head.authority.isNone {
                head.authority = sent
            } else if sent.isEmpty || Authority.parse(text, sent.range) == nil {
                // It is replaced by the target's authority, but must be valid all the same.
                return .hostInvalid
            }
        }
        return takeHost(&head, text)
    }

    /// Writes host and port of an authority that lies in the head as sent.
    ///
    /// `text` lies at `base` in the head's bytes.
    @inline(__always)
    static func takeHost(
        _ head: inout RequestHead, _ text: Span<UInt8>, base: Int = 0
    ) -> Malformed.Reason? {
        let start = Int(head.authority.start)
        let sent = (start &- base)..<(start &- base &+ Int(head.authority.count))
        if let usual = Authority.parseUsual(text, sent) {
            head.hostPort = usual.port
            head.host = ByteRange(from: base &+ sent.lowerBound, to: base &+ usual.end)
            return nil
        }
        return takeUnusualHost(&head, text, sent, base)
    }

    /// Writes host and port of any authority.
    @inline(never)
    private static func takeUnusualHost(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ sent: Range<Int>, _ base: Int
    ) -> Malformed.Reason? {
        guard let parts = Authority.parse(text, sent) else { return .hostInvalid }
        head.hostPort = parts.port
        head.host = ByteRange(
            from: base &+ parts.host.lowerBound, to: base &+ parts.host.upperBound)
        if parts.hasCapitals {
            if head.fields.bytes.freeCapacity < parts.host.count { return .hostInvalid }
            let lowerStart = head.fields.bytes.count
            for i in parts.host { head.fields.bytes.append(ByteScan.lowered(text[i])) }
            head.host = ByteRange(lowerStart..<head.fields.bytes.count)
        }
        return nil
    }

    /// Reads Connection: persistence, an upgrade, and whether it names other fields.
    @inline(never)
    private static func connection(
        _ head: inout RequestHead, _ text: Span<UInt8>
    ) {
        let options = ConnectionOptions(head.fields, text)
        if options.contains(.keepAlive) { head.keepsAlive = true }
        if options.contains(.close) { head.keepsAlive = false }
        head.namesFields = options.contains(.otherName)
        // Upgrade is ignored in HTTP/1.0 (RFC 9110 §7.8).
        if head.fields.names.contains(.upgrade), options.contains(.upgrade),
            head.version == .http11
        {
            let isWebSocket =
                head.method == .get && lists(head.fields, text, .upgrade, "websocket")
            head.upgrade = isWebSocket ? .websocket : .other
        }
    }

    /// Whether some line of this name lists `word`, which must be in small letters.
    @inline(never)
    static func lists(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>, _ id: FieldName,
        _ word: StaticString
    ) -> Bool {
        for i in 0..<fields.lines.count where fields.lines[i].id == id {
            let value = fields.lines[i].value.range
            var at = value.lowerBound
            while let element = FieldValue.nextElement(text, &at, to: value.upperBound) {
                let bytes = text.extracting(element)
                if ByteScan.equalFolding(bytes, ByteScan.bytes(word)) { return true }
            }
        }
        return false
    }

    /// Whether every line of this name is exactly `word`, which must be in small letters.
    private static func isOnly(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>, _ id: FieldName,
        _ word: StaticString
    ) -> Bool {
        for i in 0..<fields.lines.count where fields.lines[i].id == id {
            let value = text.extracting(fields.lines[i].value.range)
            if !ByteScan.equalFolding(value, ByteScan.bytes(word)) { return false }
        }
        return true
    }
}
