extension HeadParser {
    /// Reads the request head at the start of the first `count` bytes of `input` into `head`; see
    /// `RequestHead.parse`.
    static func parseRequest(
        _ head: inout RequestHead, _ input: Span<UInt8>, _ count: Int, _ resumeAt: Int
    ) -> HeadStep {
        precondition(count <= input.count, "a head outside of the span")
        if resumeAt > 0, !isWorthParsing(input.extracting(0..<count), resumeAt, head.limits) {
            return .incomplete(scanned: count)
        }
        if count == 0 { return .incomplete(scanned: 0) }
        if input[0] <= 0x20 { return parseBehindEmptyLines(&head, input, count) }
        switch parse(&head, input, count) {
        case .ended(let end): return .complete(consumed: end)
        case .incomplete: return .incomplete(scanned: count)
        case .malformed(let reason): return .malformed(Malformed(reason))
        }
    }

    /// Skips a few empty lines, which old clients send after content (RFC 9112 §2.2).
    @inline(never)
    private static func parseBehindEmptyLines(
        _ head: inout RequestHead, _ input: Span<UInt8>, _ count: Int
    ) -> HeadStep {
        let skipped: Int
        switch manyEmptyLines(input.extracting(0..<count)) {
        case .ended(let count): skipped = count
        case .incomplete: return .incomplete(scanned: count)
        case .malformed(let reason): return .malformed(Malformed(reason))
        }
        switch parseRequest(&head, input.extracting(skipped...), count &- skipped, 0) {
        case .complete(let consumed): return .complete(consumed: skipped &+ consumed)
        case .incomplete: return .incomplete(scanned: count)
        case .malformed(let reason): return .malformed(reason)
        }
    }

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
    private static func parse(
        _ head: inout RequestHead, _ input: Span<UInt8>, _ count: Int
    ) -> Part {
        let line = ByteScan.usualRequestLine(input, limit: min(count, input.count &- 16))
        if line.end == 0 || line.end &+ 9 > head.limits.requestLineBytes {
            return parseAny(&head, input, count)
        }
        take(&head, line)
        let end: Int
        switch parseFields(&head.fields, input, count, from: line.end &+ 11) {
        case .ended(let offset): end = offset
        case let other: return other
        }
        ByteScan.replace(&head.fields.bytes, by: input, upTo: end)
        if let reason = decide(&head, input.extracting(0..<count)) { return .malformed(reason) }
        return .ended(end)
    }

    /// Records what the usual request line says.
    @inline(__always)
    private static func take(_ head: inout RequestHead, _ line: ByteScan.RequestLine) {
        head.fields.removeAllLines()
        head.method = line.start == 4 ? .get : .post
        head.methodText = ByteRange(from: 0, to: line.start &- 1)
        head.version = .http11
        head.isLineCanonical = true
        head.lineEnd = UInt32(truncatingIfNeeded: line.end &+ 11)
        head.target = ByteRange(from: line.start, to: line.end)
        head.path = ByteRange(from: line.start, to: line.stop)
        head.query =
            line.stop == line.end ? .none : ByteRange(from: line.stop &+ 1, to: line.end)
        head.authority = .none
        head.writesHost = false
        head.upgrade = .none
        head.acceptsTrailers = false
        head.keepsAlive = true
        head.namesFields = false
        head.expectsContinue = false
    }

    /// Reads any request head that does not begin with an empty line.
    @inline(never)
    private static func parseAny(
        _ head: inout RequestHead, _ input: Span<UInt8>, _ count: Int
    ) -> Part {
        head.fields.removeAllLines()
        let text = input.extracting(0..<count)
        var line = RequestLine()
        let fieldsStart: Int
        switch requestLine(&head, text, &line) {
        case .ended(let end): fieldsStart = end
        case let other: return other
        }
        let end: Int
        switch parseFields(&head.fields, input, count, from: fieldsStart) {
        case .ended(let offset): end = offset
        case let other: return other
        }
        ByteScan.replace(&head.fields.bytes, by: text, upTo: end)
        if let reason = Target.take(&head, text, line) { return .malformed(reason) }
        if let reason = decideAny(&head, text) { return .malformed(reason) }
        return .ended(end)
    }

    // MARK: - Request line

    /// Where the parts of a request line lie.
    struct RequestLine {
        /// The whole request target.
        var target = 0..<0
        /// First offset of the path where it is not plain or has a query: `?`, or what needs work.
        var stop = 0
    }

    /// Reads `method SP target SP version` and its line end.
    private static func requestLine(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ line: inout RequestLine
    ) -> Part {
        let methodEnd = method(&head, text)
        let start = methodEnd &+ 1
        if methodEnd == 0 || start >= text.count || text[methodEnd] != 0x20 {
            return methodRefused(text, methodEnd, head.limits.requestLineBytes)
        }
        line.stop = ByteScan.plainPathEnd(text, from: start, to: text.count)
        let end = ByteScan.graphicEnd(text, from: line.stop, to: text.count)
        line.target = start..<end
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
    private static func method(_ head: inout RequestHead, _ text: Span<UInt8>) -> Int {
        var end = 0
        while end < text.count, Token.isTokenByte(text[end]) { end += 1 }
        head.method = Method(token: text.extracting(0..<end))
        head.methodText = ByteRange(0..<end)
        return end
    }

    // MARK: - What the fields decide

    /// Host, framing, persistence and expectations of a complete head with the usual request line.
    @inline(always)
    private static func decide(
        _ head: inout RequestHead, _ text: Span<UInt8>
    ) -> Malformed.Reason? {
        let names = head.fields.names
        // The usual request: one Host, at most a length, no more of Connection than keep-alive.
        let unusual = FieldNames(.te, .transferEncoding, .expect)
        let single = FieldNames(.host, .contentLength, .connection)
        if !names.contains(.host) || !names.isDisjoint(with: unusual)
            || !head.fields.repeated.isDisjoint(with: single)
        {
            return decideAny(&head, text)
        }
        if names.contains(.connection), !ConnectionOptions.isKeepAlive(head.fields, text) {
            return decideAny(&head, text)
        }
        var framing = BodyFraming.none
        if names.contains(.contentLength) {
            guard let length = BodyFraming.usualLength(head.fields, text) else {
                return decideAny(&head, text)
            }
            framing = .length(length)
        }
        head.framing = framing
        head.sentFraming = framing
        head.authority = head.fields.onlyLine(.host).value
        return takeHost(&head, text)
    }

    /// Host, framing, persistence and expectations of any complete head.
    @inline(never)
    private static func decideAny(
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
        if names.contains(.connection) { connection(&head, text) }
        if names.contains(.te) {
            head.acceptsTrailers = lists(head.fields, text, .te, "trailers")
        }
        if let reason = BodyFraming.decide(&head, text) { return reason }
        return names.contains(.expect) ? expectation(&head, text) : nil
    }

    /// Reads Expect; that of HTTP/1.0 is ignored and not forwarded (RFC 9110 §10.1.1).
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
        let start = Int(head.authority.start) &- base
        let count = Int(head.authority.count)
        if let usual = Authority.parseUsual(text, start, count: count) {
            head.hostPort = usual.port
            head.host = ByteRange(from: base &+ start, to: base &+ usual.end)
            return nil
        }
        return takeUnusualHost(&head, text, start..<(start &+ count), base)
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
