import BasicContainers

extension HeadParser {
    /// Reads a response head into `head`; see `ResponseHead.parse`.
    static func parseResponse(
        _ head: inout ResponseHead, _ input: Span<UInt8>, _ resumeAt: Int, _ method: Method
    ) -> HeadStep {
        if !isWorthParsing(input, resumeAt, head.limits) {
            return .incomplete(scanned: input.count)
        }
        switch parse(&head, input, method) {
        case .ended(let count): return .complete(consumed: count)
        case .incomplete: return .incomplete(scanned: input.count)
        case .malformed(let reason): return .malformed(Malformed(reason))
        }
    }

    @inline(__always)
    private static func parse(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ method: Method
    ) -> Part {
        head.fields.removeAllLines()
        let fieldsStart: Int
        switch statusLine(&head, text) {
        case .ended(let end): fieldsStart = end
        case let other: return other
        }
        var facts = Facts()
        let limits = head.limits
        let end: Int
        switch parseFields(&head.fields, text, from: fieldsStart, limits, &facts) {
        case .ended(let offset): end = offset
        case let other: return other
        }
        head.fields.bytes.removeAll()
        head.fields.bytes.append(copying: text.extracting(0..<end))
        if let reason = decide(&head, text, facts, method) { return .malformed(reason) }
        return .ended(end)
    }

    /// Reads `version SP status [SP reason]` and its line end (RFC 9112 §4).
    @inline(__always)
    private static func statusLine(_ head: inout ResponseHead, _ text: Span<UInt8>) -> Part {
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

    /// Framing and persistence of a complete head.
    @inline(__always)
    private static func decide(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ facts: Facts, _ method: Method
    ) -> Malformed.Reason? {
        head.keepsAlive = head.version == .http11
        head.namesFields = false
        head.upgrade = .none
        if facts.connection >= 0 {
            let options = ConnectionOptions(head.fields, text, facts)
            if options.contains(.keepAlive) { head.keepsAlive = true }
            if options.contains(.close) { head.keepsAlive = false }
            head.namesFields = options.contains(.otherName)
            if facts.upgrade >= 0, options.contains(.upgrade) {
                let isWebSocket = lists(
                    head.fields, text, .upgrade, from: facts.upgrade, "websocket")
                head.upgrade = isWebSocket ? .websocket : .other
            }
        }
        head.keepAliveTimeoutSeconds = nil
        if facts.keepAlive >= 0 {
            head.keepAliveTimeoutSeconds = ConnectionOptions.timeoutSeconds(
                text, head.fields.lines[facts.keepAlive].value.range)
        }
        switch BodyFraming.ofResponse(&head.fields, text, head.version, facts, head.status, method)
        {
        case .failure(let reason): return reason
        case .success(let decision):
            head.framing = decision.framing
            if decision.closes || decision.framing == .untilClose { head.keepsAlive = false }
        }
        head.sentFraming = BodyFraming.isPlain(head.fields, text, facts) ? head.framing : nil
        return nil
    }
}
