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
    /// Decides for a request that has Content-Length or Transfer-Encoding.
    ///
    /// Where two readers could differ the request is refused: both fields, a coding in HTTP/1.0,
    /// any coding but a single `chunked` (RFC 9112 §6.1 and §6.3 items 3 to 5).
    static func ofRequest(
        _ fields: inout FieldSection, _ text: Span<UInt8>, _ version: Version,
        _ facts: HeadParser.Facts
    ) -> Result<BodyFraming, Malformed.Reason> {
        if facts.coding >= 0 {
            if version == .http10 { return .failure(.codingInHTTP10) }
            if facts.length >= 0 { return .failure(.codingWithLength) }
            if let reason = coding(fields, text, facts) { return .failure(reason) }
            return .success(.chunked)
        }
        return length(&fields, text, facts).map { .length($0) }
    }

    /// Decides for an answer of `status` to `method`; `closes` forbids reuse of the connection.
    ///
    /// With both fields the coding counts, Content-Length is dropped and the connection not used
    /// again (RFC 9112 §6.3 item 3).
    static func ofResponse(
        _ fields: inout FieldSection, _ text: Span<UInt8>, _ version: Version,
        _ facts: HeadParser.Facts, _ status: Int, _ method: Method
    ) -> Result<(framing: BodyFraming, closes: Bool), Malformed.Reason> {
        var announced: BodyFraming?
        var closes = false
        if facts.coding >= 0 {
            if version == .http10 { return .failure(.codingInHTTP10) }
            if let reason = coding(fields, text, facts) { return .failure(reason) }
            announced = .chunked
            if facts.length >= 0 {
                fields.remove(.contentLength)
                closes = true
            }
        } else if facts.length >= 0 {
            switch length(&fields, text, facts) {
            case .success(let count): announced = .length(count)
            case .failure(let reason): return .failure(reason)
            }
        }
        if method == .head || Status.hasNoContent(status) {
            // Without content a coding says nothing; a length tells what GET would have got.
            fields.remove(.transferEncoding)
            if status < 200 || status == 204 { fields.remove(.contentLength) }
            return .success((.none, closes))
        }
        return .success((announced ?? .untilClose, closes))
    }

    /// The one value of all Content-Length lines; repeats of the same value are dropped.
    private static func length(
        _ fields: inout FieldSection, _ text: Span<UInt8>, _ facts: HeadParser.Facts
    ) -> Result<UInt64, Malformed.Reason> {
        let first = facts.length
        guard let count = FieldValue.decimal(text.extracting(fields.lines[first].value.range))
        else {
            return .failure(.lengthInvalid)
        }
        if facts.lengths == 1 { return .success(count) }
        for i in (first + 1)..<fields.lines.count where fields.lines[i].id == .contentLength {
            guard let other = FieldValue.decimal(text.extracting(fields.lines[i].value.range))
            else { return .failure(.lengthInvalid) }
            if other != count { return .failure(.lengthRepeated) }
            fields.drop(i)
        }
        return .success(count)
    }

    /// Whether the first framing line says its value as `HeadWriter` would.
    @inline(__always)
    static func isPlain(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>, _ facts: HeadParser.Facts
    ) -> Bool {
        if facts.length >= 0 {
            let value = fields.lines[facts.length].value
            if value.count > 1 && text[Int(value.start)] == 0x30 { return false }
        }
        if facts.coding >= 0 {
            let value = text.extracting(fields.lines[facts.coding].value.range)
            return ByteScan.equal(value, ByteScan.bytes("chunked"))
        }
        return true
    }

    /// The refusal of a Transfer-Encoding that is not exactly one line of `chunked`.
    private static func coding(
        _ fields: borrowing FieldSection, _ text: Span<UInt8>, _ facts: HeadParser.Facts
    ) -> Malformed.Reason? {
        let value = text.extracting(fields.lines[facts.coding].value.range)
        if facts.codings == 1, ByteScan.equalFolding(value, ByteScan.bytes("chunked")) {
            return nil
        }
        return wrongCoding(fields, text, from: facts.coding)
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
