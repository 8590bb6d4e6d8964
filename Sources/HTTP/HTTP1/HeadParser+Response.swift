extension HeadParser {
    /// Reads the response head at the start of the first `count` bytes of `input` into `head`; see
    /// `ResponseHead.parseInPlace`.
    static func parseResponse(
        _ head: inout ResponseHead, _ input: Span<UInt8>, _ count: Int, _ resumeAt: Int,
        _ method: Method
    ) -> HeadStep {
        precondition(count <= input.count, "a head outside of the span")
        if resumeAt > 0, !isWorthParsing(input.extracting(0..<count), resumeAt, head.limits) {
            return .incomplete(scanned: count)
        }
        switch parse(&head, input, count, method) {
        case .ended(let end): return .complete(consumed: end)
        case .incomplete: return .incomplete(scanned: count)
        case .malformed(let reason): return .malformed(Malformed(reason))
        }
    }

    @inline(__always)
    private static func parse(
        _ head: inout ResponseHead, _ input: Span<UInt8>, _ count: Int, _ method: Method
    ) -> Part {
        head.fields.removeAllLines()
        head.fields.bytes.removeAll()
        let fieldsStart: Int
        switch statusLine(&head, input, count) {
        case .ended(let end): fieldsStart = end
        case let other: return other
        }
        let end: Int
        switch parseFields(&head.fields, input, count, from: fieldsStart) {
        case .ended(let offset): end = offset
        case let other: return other
        }
        let text = input.extracting(0..<count)
        if let reason = decide(&head, text, end, method) { return .malformed(reason) }
        return .ended(end)
    }

    /// Reads the status line.
    @inline(__always)
    private static func statusLine(
        _ head: inout ResponseHead, _ input: Span<UInt8>, _ count: Int
    ) -> Part {
        let line = ByteScan.usualStatusLine(input, limit: min(count, input.count &- 16))
        // A usual line has fewer than 29 bytes before its CR.
        if line.status == 0 || head.limits.requestLineBytes < 29 {
            return anyStatusLine(&head, input.extracting(0..<count))
        }
        head.version = .http11
        head.status = line.status
        head.reason = ByteRange(from: 13, to: line.control)
        head.isLineCanonical = true
        head.lineEnd = UInt32(truncatingIfNeeded: line.control &+ 2)
        return .ended(line.control &+ 2)
    }

    /// Reads `version SP status [SP reason]` and its line end (RFC 9112 §4).
    @inline(never)
    private static func anyStatusLine(_ head: inout ResponseHead, _ text: Span<UInt8>) -> Part {
        let bound = head.limits.requestLineBytes
        let control = ByteScan.firstControl(text, from: 0, to: text.count)
        if control > bound { return .malformed(.statusLineTooLong) }
        if control == text.count { return .incomplete }
        // "HTTP/1.1 200" has 12 bytes; the space before an empty reason may be missing.
        if control < 12 || text[8] != 0x20 || (control > 12 && text[12] != 0x20) {
            return .malformed(.statusLineBroken)
        }
        switch version(text, 0) {
        case .success(let version): head.version = version
        case .failure: return .malformed(.statusLineBroken)
        }
        var status = 0
        for i in 9..<12 {
            let digit = text[i] &- 0x30
            if digit > 9 { return .malformed(.statusInvalid) }
            status = status &* 10 &+ Int(digit)
        }
        if status < 100 || status > 599 { return .malformed(.statusInvalid) }
        head.status = status
        head.reason = ByteRange(min(13, control)..<control)
        guard case .ended(let next) = lineEnd(text, control) else { return lineEnd(text, control) }
        head.isLineCanonical = next == control &+ 2 && control >= 13 && isHTTP11(text, 0)
        head.lineEnd = UInt32(truncatingIfNeeded: next)
        return .ended(next)
    }

    /// Framing and persistence of a complete head, which ends at `end`.
    @inline(__always)
    private static func decide(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ end: Int, _ method: Method
    ) -> Malformed.Reason? {
        let names = head.fields.names
        // The usual answer: a length that counts, and no more of Connection than keep-alive.
        if head.version != .http11 || !names.contains(.contentLength)
            || !names.isDisjoint(with: FieldNames(.transferEncoding, .keepAlive))
            || !head.fields.repeated.isDisjoint(with: FieldNames(.contentLength, .connection))
            || method == .head || Status.hasNoContent(head.status)
        {
            return decideAny(&head, text, end, method)
        }
        if names.contains(.connection), !ConnectionOptions.isKeepAlive(head.fields, text) {
            return decideAny(&head, text, end, method)
        }
        guard let length = BodyFraming.usualLength(head.fields, text) else {
            return decideAny(&head, text, end, method)
        }
        head.keepsAlive = true
        head.namesFields = false
        head.upgrade = .none
        head.keepAliveTimeoutSeconds = nil
        head.framing = .length(length)
        head.sentFraming = .length(length)
        return nil
    }

    /// Framing and persistence of any complete head, whose bytes are kept.
    @inline(never)
    private static func decideAny(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ end: Int, _ method: Method
    ) -> Malformed.Reason? {
        head.keepBytes(of: text, upTo: end)
        head.keepsAlive = head.version == .http11
        head.namesFields = false
        head.upgrade = .none
        head.keepAliveTimeoutSeconds = nil
        let names = head.fields.names
        if names.contains(.connection) { connection(&head, text) }
        if names.contains(.keepAlive) {
            head.keepAliveTimeoutSeconds = ConnectionOptions.timeoutSeconds(
                text, head.fields.firstLine(.keepAlive).value.range)
        }
        return BodyFraming.decide(&head, text, method)
    }

    /// Reads Connection: persistence, an upgrade, and whether it names other fields.
    private static func connection(_ head: inout ResponseHead, _ text: Span<UInt8>) {
        let options = ConnectionOptions(head.fields, text)
        if options.contains(.keepAlive) { head.keepsAlive = true }
        if options.contains(.close) { head.keepsAlive = false }
        head.namesFields = options.contains(.otherName)
        if head.fields.names.contains(.upgrade), options.contains(.upgrade) {
            let isWebSocket = lists(head.fields, text, .upgrade, "websocket")
            head.upgrade = isWebSocket ? .websocket : .other
        }
    }
}
