import BasicContainers

extension HeadParser {
    /// Reads a response head into `head`; see `ResponseHead.parse`.
    static func parseResponse(
        _ head: inout ResponseHead, _ input: Span<UInt8>, _ resumeAt: Int, _ method: Method
    ) -> HeadStep {
        if resumeAt > 0, !isWorthParsing(input, resumeAt, head.limits) {
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
        let end: Int
        let bounds = FieldBounds(head.limits, start: fieldsStart)
        switch parseFields(&head.fields, text, from: fieldsStart, bounds) {
        case .ended(let offset): end = offset
        case let other: return other
        }
        ByteScan.replace(&head.fields.bytes, by: text, upTo: end)
        if let reason = decide(&head, text, method) { return .malformed(reason) }
        return .ended(end)
    }

    /// Reads the status line.
    @inline(__always)
    private static func statusLine(_ head: inout ResponseHead, _ text: Span<UInt8>) -> Part {
        // 29: "HTTP/1.1 200 " and sixteen bytes, within which a usual line ends.
        if text.count >= 31, head.limits.requestLineBytes >= 29, isHTTP11(text, 0) {
            let status = usualStatus(text)
            let control = ByteScan.firstSuspectOf16(text, from: 13)
            if status > 0, text[control] == 0x0D, text[control &+ 1] == 0x0A {
                head.version = .http11
                head.status = status
                head.reason = ByteRange(from: 13, to: control)
                head.isLineCanonical = true
                head.lineEnd = UInt32(truncatingIfNeeded: control &+ 2)
                return .ended(control &+ 2)
            }
        }
        return anyStatusLine(&head, text)
    }

    /// The status 100...599 that lies between spaces at 8 and 12; 0 when there is none.
    @inline(__always)
    private static func usualStatus(_ text: Span<UInt8>) -> Int {
        let word = ByteScan.load8(text, 8)
        // A space, three digits of which the first is 1...5, a space.
        let digits = word ^ 0x20_3030_3020
        if digits & 0xFF_F0F0_F0FF != 0 { return 0 }
        let hundreds = Int(truncatingIfNeeded: digits &>> 8 & 0x0F)
        let tens = Int(truncatingIfNeeded: digits &>> 16 & 0x0F)
        let ones = Int(truncatingIfNeeded: digits &>> 24 & 0x0F)
        if hundreds &- 1 >= 5 || hundreds == 0 || tens > 9 || ones > 9 { return 0 }
        return hundreds &* 100 &+ tens &* 10 &+ ones
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

    /// Framing and persistence of a complete head.
    @inline(__always)
    private static func decide(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ method: Method
    ) -> Malformed.Reason? {
        head.keepsAlive = head.version == .http11
        head.namesFields = false
        head.upgrade = .none
        head.keepAliveTimeoutSeconds = nil
        let names = head.fields.names
        if names.contains(.connection) {
            if ConnectionOptions.isKeepAlive(head.fields, text) {
                head.keepsAlive = true
            } else {
                connection(&head, text)
            }
        }
        if names.contains(.keepAlive) {
            head.keepAliveTimeoutSeconds = ConnectionOptions.timeoutSeconds(
                text, head.fields.firstLine(.keepAlive).value.range)
        }
        return BodyFraming.decide(&head, text, method)
    }

    /// Reads Connection: persistence, an upgrade, and whether it names other fields.
    @inline(never)
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
