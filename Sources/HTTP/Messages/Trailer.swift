/// Judges trailer lines (RFC 9110 §6.5.1).
enum Trailer {
    enum Verdict {
        case invalid
        case dropped
        case kept
    }

    /// Judges the line at `line`, which holds no control byte but TAB.
    ///
    /// Dropped are names that frame, route, authorise, describe the content or belong to one
    /// connection: a backend that merged them into the head would be told lies.
    static func judge(_ bytes: Span<UInt8>, _ line: Range<Int>) -> Verdict {
        var colon = line.lowerBound
        var hasUnderscore = false
        while colon < line.upperBound, Token.isTokenByte(bytes[colon]) {
            if bytes[colon] == 0x5F { hasUnderscore = true }
            colon += 1
        }
        if colon == line.lowerBound || colon == line.upperBound || bytes[colon] != 0x3A {
            return .invalid
        }
        if hasUnderscore { return .dropped }
        let name = line.lowerBound..<colon
        switch FieldName.recognise(bytes, at: name.lowerBound, count: name.count) {
        case .eTag, .server, .traceparent, .tracestate, .baggage: return .kept
        case .other: return isForbidden(bytes, name) ? .dropped : .kept
        default: return .dropped
        }
    }

    /// Whether a name that the gateway does not know otherwise is forbidden in trailers.
    private static func isForbidden(_ bytes: Span<UInt8>, _ name: Range<Int>) -> Bool {
        if Forwarded.isForwardingName(bytes, name) || beginsWith("x-gateway-", bytes, name) {
            return true
        }
        return switch name.count {
        case 6: isName("pragma", bytes, name)
        case 7: isName("expires", bytes, name) || isName("warning", bytes, name)
        case 8: isName("if-match", bytes, name) || isName("if-range", bytes, name)
        case 12: isName("max-forwards", bytes, name)
        case 19: isName("if-unmodified-since", bytes, name)
        default: false
        }
    }

    private static func isName(
        _ text: StaticString, _ bytes: Span<UInt8>, _ name: Range<Int>
    ) -> Bool {
        ByteScan.equalFolding(bytes.extracting(name), ByteScan.bytes(text))
    }

    private static func beginsWith(
        _ text: StaticString, _ bytes: Span<UInt8>, _ name: Range<Int>
    ) -> Bool {
        let prefix = ByteScan.bytes(text)
        if name.count < prefix.count { return false }
        let start = name.lowerBound
        return ByteScan.equalFolding(bytes.extracting(start..<(start + prefix.count)), prefix)
    }
}
