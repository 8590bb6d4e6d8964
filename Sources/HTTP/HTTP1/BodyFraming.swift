/// How the end of a message's content is found (RFC 9112 §6.3).
public enum BodyFraming: Equatable, Sendable, BitwiseCopyable {
    /// No content follows the head.
    case none
    /// Exactly this many bytes follow, fewer than 2^63.
    case length(UInt64)
    /// The chunked coding follows.
    case chunked
    /// Bytes until the sender closes; answers only.
    case untilClose
}

extension BodyFraming {
    /// Decides for a request that has its fields.
    ///
    /// Where two readers could differ the request is refused: both fields, a coding in HTTP/1.0,
    /// any coding but a single `chunked` (RFC 9112 §6.1 and §6.3 items 3 to 5).
    static func decide(_ head: inout RequestHead, _ text: Span<UInt8>) -> Malformed.Reason? {
        let names = head.fields.names
        if names.contains(.transferEncoding) {
            if head.version == .http10 { return .codingInHTTP10 }
            if names.contains(.contentLength) { return .codingWithLength }
            if let reason = coding(head.fields, text) { return reason }
            head.framing = .chunked
            head.sentFraming = isCodingPlain(head.fields, text) ? .chunked : nil
        } else if names.contains(.contentLength) {
            let length = length(&head.fields, text)
            if let reason = length.refusal { return reason }
            head.framing = .length(length.count)
            head.sentFraming = length.isPlain ? .length(length.count) : nil
        }
        return nil
    }

    /// Decides for an answer to `method` that has its status, fields and persistence; takes the
    /// persistence away where the framing forbids it.
    ///
    /// With both fields the coding counts, Content-Length is dropped and the connection not used
    /// again (RFC 9112 §6.3 item 3).
    static func decide(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ method: Method
    ) -> Malformed.Reason? {
        let names = head.fields.names
        head.framing = .untilClose
        var isPlain = true
        if names.contains(.transferEncoding) {
            if let reason = takeCoding(&head, text, &isPlain) { return reason }
        } else if names.contains(.contentLength) {
            let length = length(&head.fields, text)
            if let reason = length.refusal { return reason }
            head.framing = .length(length.count)
            isPlain = length.isPlain
        }
        if method == .head || Status.hasNoContent(head.status) {
            dropContent(&head)
        } else if head.framing == .untilClose {
            head.keepsAlive = false
        }
        head.sentFraming = isPlain ? head.framing : nil
        return nil
    }

    /// Decides for an answer that has Transfer-Encoding.
    private static func takeCoding(
        _ head: inout ResponseHead, _ text: Span<UInt8>, _ isPlain: inout Bool
    ) -> Malformed.Reason? {
        if head.version == .http10 { return .codingInHTTP10 }
        if let reason = coding(head.fields, text) { return reason }
        head.framing = .chunked
        isPlain = isCodingPlain(head.fields, text)
        if head.fields.names.contains(.contentLength) {
            let length = head.fields.firstLine(.contentLength).value
            if !isLengthPlain(text, length) { isPlain = false }
            head.fields.remove(.contentLength)
            head.keepsAlive = false
        }
        return nil
    }

    /// Takes the framing from an answer that has no content whatever its fields say.
    private static func dropContent(_ head: inout ResponseHead) {
        // Without content a coding says nothing; a length tells what GET would have got.
        head.fields.remove(.transferEncoding)
        if head.status < 200 || head.status == 204 { head.fields.remove(.contentLength) }
        head.framing = .none
    }

    /// The value of the only Content-Length line if it is short and has no zeros before it.
    @inline(__always)
    static func usualLength(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>
    ) -> UInt64? {
        let value = fields.onlyLine(.contentLength).value
        let count = Int(value.count)
        // A line of this name has 16 bytes before its value.
        if count &- 1 >= 8 || count == 0 { return nil }
        guard
            let length = ByteScan.shortDecimal(text, count: count, to: Int(value.start) &+ count)
        else { return nil }
        return count == 1 || text[Int(value.start)] != 0x30 ? length : nil
    }

    /// What the Content-Length lines say.
    private struct Length {
        var count: UInt64 = 0
        var refusal: Malformed.Reason?
        /// Whether the first line says its value as `HeadWriter` would.
        var isPlain = true
    }

    /// The one value of all Content-Length lines; repeats of the same value are dropped.
    private static func length(_ fields: inout FieldSection, _ text: Span<UInt8>) -> Length {
        let value = fields.firstLine(.contentLength).value
        guard let count = FieldValue.decimal(text, value.range) else {
            return Length(refusal: .lengthInvalid)
        }
        var refusal: Malformed.Reason?
        if fields.repeated.contains(.contentLength) {
            refusal = dropRepeats(of: count, &fields, text)
        }
        return Length(count: count, refusal: refusal, isPlain: isLengthPlain(text, value))
    }

    /// Drops all Content-Length lines but the first; the refusal when one says another length.
    private static func dropRepeats(
        of count: UInt64, _ fields: inout FieldSection, _ text: Span<UInt8>
    ) -> Malformed.Reason? {
        let first = fields.firstIndex(.contentLength)
        for i in (first + 1)..<fields.lines.count where fields.lines[i].id == .contentLength {
            guard let other = FieldValue.decimal(text, fields.lines[i].value.range)
            else { return .lengthInvalid }
            if other != count { return .lengthRepeated }
            fields.drop(i)
        }
        return nil
    }

    /// Whether a length has no zeros before it.
    private static func isLengthPlain(_ text: Span<UInt8>, _ value: ByteRange) -> Bool {
        value.count <= 1 || text[Int(value.start)] != 0x30
    }

    /// Whether the first Transfer-Encoding line says its value as `HeadWriter` would.
    private static func isCodingPlain(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>
    ) -> Bool {
        let value = fields.firstLine(.transferEncoding).value.range
        return ByteScan.equal(text.extracting(value), ByteScan.bytes("chunked"))
    }

    /// The refusal of a Transfer-Encoding that is not exactly one line of `chunked`.
    private static func coding(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>
    ) -> Malformed.Reason? {
        let first = fields.firstIndex(.transferEncoding)
        let value = text.extracting(fields.lines[first].value.range)
        if !fields.repeated.contains(.transferEncoding),
            ByteScan.equalFolding(value, ByteScan.bytes("chunked"))
        {
            return nil
        }
        return wrongCoding(fields, text, from: first)
    }

    /// Why the codings of all lines together are refused.
    private static func wrongCoding(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>, from first: Int
    ) -> Malformed.Reason {
        var chunked = 0
        var others = 0
        var isLast = false
        for i in first..<fields.lines.count where fields.lines[i].id == .transferEncoding {
            let value = fields.lines[i].value.range
            var at = value.lowerBound
            while let element = FieldValue.nextElement(text, &at, to: value.upperBound) {
                isLast = ByteScan.equalFolding(
                    text.extracting(element), ByteScan.bytes("chunked"))
                if isLast { chunked += 1 } else { others += 1 }
            }
        }
        if chunked > 1 { return .codingRepeated }
        if chunked == 1 && !isLast { return .codingNotLast }
        // Only `chunked` with stray commas, or no coding at all.
        return others > 0 ? .codingUnknown : .codingNotLast
    }
}
