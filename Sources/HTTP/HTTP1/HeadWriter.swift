/// Where a writer put the head of a request.
public struct WrittenHead: BitwiseCopyable, Sendable {
    /// Offset of the identity's value; that of `ByteRange.none` when none was added.
    @usableFromInline let requestIDStart: UInt32
    /// Whether all of it was written; what the output holds otherwise is of no use.
    public let fits: Bool

    /// What says that the head did not fit.
    static var nothing: WrittenHead { WrittenHead() }

    private init() {
        requestIDStart = ByteRange.none.start
        fits = false
    }

    /// A head whose additions begin at an offset.
    @inline(__always)
    init(additions: Int, _ parts: RequestAdditions.Parts) {
        let id = additions &+ RequestAdditions.requestIDStart
        requestIDStart =
            parts.contains(.requestID) ? UInt32(truncatingIfNeeded: id) : ByteRange.none.start
        fits = true
    }

    /// The value of the identity that was added, as offsets in the output; `.none` when none was.
    @inlinable public var requestID: ByteRange {
        let isThere = requestIDStart != ByteRange.none.start
        return isThere ? ByteRange(start: requestIDStart, count: UInt32(RequestID.count)) : .none
    }
}

/// Writes heads: the only producer of heads on a wire, and it can only write canonical ones.
///
/// Every function says when its output did not fit; what is in `output` then is of no use.
public enum HeadWriter {
    /// Writes a request head for HTTP/1.1.
    ///
    /// Framing fields are written once, as `framing` says. Host comes first if it was replaced, and
    /// is empty for a request of HTTP/1.0 that had none and was not given one by `setAuthority`.
    /// `.untilClose` is not a framing of requests and traps.
    public static func write(
        request: borrowing RequestHead, framing: BodyFraming, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let end = request.usualEnd(framing, without: [])
        if end > 0 {
            return ByteScan.append(request.fields.bytes, upTo: end, to: &output)
        }
        return writeAny(request, framing, without: [], &output)
            && Self.end(request, framing, &output)
    }

    /// Writes a request head for HTTP/1.1, with the lines that the gateway adds.
    ///
    /// The lines of `parts` come from `additions`, which has been given the client and, for
    /// `.requestID`, a new identity; lines of the client's that they replace are left out.
    /// `.forwarded` is for clients that are not trusted: nothing passes of what they say of earlier
    /// hops, unknown `x-forwarded-` names included. With it comes X-Forwarded-Host with the
    /// authority at `forwardedHost`, which the request came with, unless that is `.none`. For
    /// trusted clients `Forwarded.apply` edits the head before. All else is as in
    /// `write(request:framing:into:)`.
    public static func write(
        request: borrowing RequestHead, framing: BodyFraming,
        adding parts: RequestAdditions.Parts, of additions: borrowing RequestAdditions,
        forwardedHost: ByteRange, into output: inout OutputSpan<UInt8>
    ) -> WrittenHead {
        if parts.contains(.forwarded), !forwardedHost.isNone {
            let end = request.usualEnd(framing, without: parts.replacedNames)
            if end > 0 {
                let start = output.count
                let isWritten = ByteScan.append(
                    request.fields.bytes, upTo: end, additions.bytes, additions.range(parts),
                    "x-forwarded-host: ", forwardedHost, to: &output)
                if !isWritten { return .nothing }
                return WrittenHead(additions: start &+ Int(end), parts)
            }
        }
        return writeAny(
            request, framing, additions.lines(parts), parts, forwardedHost, &output)
    }

    /// Writes any request head with lines that are added.
    @inline(never)
    private static func writeAny(
        _ request: borrowing RequestHead, _ framing: BodyFraming, _ added: Span<UInt8>,
        _ parts: RequestAdditions.Parts, _ forwardedHost: ByteRange,
        _ output: inout OutputSpan<UInt8>
    ) -> WrittenHead {
        guard writeAny(request, framing, without: parts.replacedNames, &output) else {
            return .nothing
        }
        let additions = output.count
        if !append(added, into: &output) { return .nothing }
        if parts.contains(.forwarded), !forwardedHost.isNone {
            guard append("x-forwarded-host: ", into: &output),
                ByteScan.append(request.span(forwardedHost), "\r\n", to: &output)
            else { return .nothing }
        }
        if !end(request, framing, &output) { return .nothing }
        return WrittenHead(additions: additions, parts)
    }

    /// Writes all but additions, framing and empty line.
    @inline(never)
    private static func writeAny(
        _ request: borrowing RequestHead, _ framing: BodyFraming, without names: FieldNames,
        _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        var omitted: FieldLine.Traits = request.says(framing) ? .dropped : [.dropped, .framing]
        var run = Run(0, request.lineEnd)
        if !request.hasUsualLine || request.writesHost {
            if !writeStart(request, &output) { return false }
            run.start = run.end
            if request.writesHost { omitted.insert(.host) }
        }
        return run.join(request.fields, without: omitted, names, &output)
            && append(run.span(request.fields), into: &output)
    }

    /// Writes the framing field, unless it stands in the head, and the empty line.
    private static func end(
        _ request: borrowing RequestHead, _ framing: BodyFraming,
        _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        if request.says(framing) { return append("\r\n", into: &output) }
        precondition(framing != .untilClose, "a request cannot end by closing")
        return append(framing: framing, into: &output) && append("\r\n", into: &output)
    }

    /// Writes a request line and, if it was replaced, Host.
    @inline(never)
    private static func writeStart(
        _ request: borrowing RequestHead, _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        let isWritten = ByteScan.append(
            request.span(request.methodText), ByteScan.bytes(" "), request.span(request.target),
            ByteScan.bytes(" HTTP/1.1\r\n"), to: &output)
        if !request.writesHost || !isWritten { return isWritten }
        return append("host: ", into: &output)
            && ByteScan.append(request.span(request.authority), "\r\n", to: &output)
    }

    /// Writes a response head for a client of `version`, which is HTTP/1.0 or 1.1.
    ///
    /// The status line always says HTTP/1.1, the version spoken here (RFC 9110 §6.2). `closes`,
    /// which `.untilClose` implies, adds `connection: close`; else HTTP/1.0 gets `connection:
    /// keep-alive`. `.none` writes no framing: answers without content but to HEAD, 204 and 304
    /// take `.length(0)`. Content-Length of an answer to HEAD or of a 304 stays as the backend sent
    /// it. Chunked content cannot be sent to HTTP/1.0 and traps.
    public static func write(
        response: borrowing ResponseHead, to version: Version, framing: BodyFraming, closes: Bool,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        precondition(version != .http10 || framing != .chunked, "HTTP/1.0 knows no chunks")
        let end = usualEnd(of: response, to: version, framing: framing, closes: closes)
        if end > 0 {
            return ByteScan.append(
                response.fields.bytes, upTo: UInt32(truncatingIfNeeded: end), to: &output)
        }
        return writeAny(response, to: version, framing, closes: closes, &output)
    }

    /// Offset in a response head after its last line if `write(response:…)` would write start line
    /// and lines up to there as they came, and then the empty line; otherwise 0.
    @inlinable @inline(always)
    public static func usualEnd(
        of response: borrowing ResponseHead, to version: Version, framing: BodyFraming,
        closes: Bool
    ) -> Int {
        guard !closes, version != .http10, response.isLineCanonical,
            framing.isSaid(by: response.sentFraming)
        else { return 0 }
        return Int(response.fields.runEnd(without: []))
    }

    /// Writes any response head.
    @inline(never)
    private static func writeAny(
        _ response: borrowing ResponseHead, to version: Version, _ framing: BodyFraming,
        closes: Bool, _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        let keepsFraming = framing.isSaid(by: response.sentFraming)
        let closes = closes || framing == .untilClose
        let writesConnection = closes || version == .http10
        var omitted: FieldLine.Traits = writesConnection ? [.dropped, .connection] : .dropped
        if !keepsFraming { omitted.insert(.framing) }
        if !response.isLineCanonical, !writeLine(response, &output) { return false }
        var run = Run(response.isLineCanonical ? 0 : response.lineEnd, response.lineEnd)
        guard run.join(response.fields, without: omitted, [], &output),
            append(run.span(response.fields), into: &output),
            keepsFraming || append(framing: framing, into: &output)
        else { return false }
        if !writesConnection { return append("\r\n", into: &output) }
        return closes
            ? append("connection: close\r\n\r\n", into: &output)
            : append("connection: keep-alive\r\n\r\n", into: &output)
    }

    /// Writes a status line that was not sent as it is written.
    @inline(never)
    private static func writeLine(
        _ response: borrowing ResponseHead, _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard append("HTTP/1.1 ", into: &output),
            append(decimal: UInt64(clamping: response.status), into: &output),
            append(" ", into: &output)
        else { return false }
        return response.reason.isNone
            ? ByteScan.append(
                ByteScan.bytes(Status.reason(response.status)), "\r\n", to: &output)
            : ByteScan.append(response.span(response.reason), "\r\n", to: &output)
    }

    /// Writes the one framing field of `framing`, or none.
    @inline(never)
    private static func append(
        framing: BodyFraming, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        switch framing {
        case .none, .untilClose: true
        case .chunked: append("transfer-encoding: chunked\r\n", into: &output)
        case .length(let count):
            append("content-length: ", into: &output) && append(decimal: count, into: &output)
                && append("\r\n", into: &output)
        }
    }

    /// Bytes of a head that lie side by side and are copied at once.
    private struct Run: BitwiseCopyable {
        var start: UInt32
        var end: UInt32

        init(_ start: UInt32, _ end: UInt32) {
            self.start = start
            self.end = end
        }

        /// The bytes, which are still to be copied.
        @inline(__always)
        @_lifetime(borrow fields)
        func span(_ fields: borrowing FieldSection) -> Span<UInt8> {
            ByteScan.part(fields.bytes.span, start, end)
        }

        /// Takes all lines without a trait of `omitted` or one of `names`, and writes them but for
        /// the last run.
        mutating func join(
            _ fields: borrowing FieldSection, without omitted: FieldLine.Traits,
            _ names: FieldNames, _ output: inout OutputSpan<UInt8>
        ) -> Bool {
            if fields.count > 0, fields.isReady(without: omitted, names) {
                if fields.traits.contains(.gap) {
                    end = fields.gap.lowerBound
                    if !append(span(fields), into: &output) { return false }
                    start = fields.gap.upperBound
                }
                end = fields.lines[fields.count - 1].lineEnd
                return true
            }
            if fields.traits.contains(.apart), fields.isReadyInTwo(without: omitted, names) {
                end = fields.sentEnd
                if !append(span(fields), into: &output) { return false }
                (start, end) = (fields.added.lowerBound, fields.added.upperBound)
                return true
            }
            return joinEach(fields, without: omitted, names, &output)
        }

        /// The same where lines are left out or do not lie side by side.
        private mutating func joinEach(
            _ fields: borrowing FieldSection, without omitted: FieldLine.Traits,
            _ names: FieldNames, _ output: inout OutputSpan<UInt8>
        ) -> Bool {
            let present = names.intersection(fields.names)
            let looksAtOthers = present.contains(.otherForwarding)
            for i in 0..<fields.count {
                let line = fields.lines[i]
                if !line.traits.isDisjoint(with: omitted) { continue }
                if fields.isOne(of: present, i, looksAtOthers: looksAtOthers) { continue }
                let lineStart = line.name.start
                if lineStart == end && line.isCanonical {
                    end = line.lineEnd
                    continue
                }
                if !append(span(fields), into: &output) { return false }
                start = lineStart
                end = line.isCanonical ? line.lineEnd : lineStart
                if !line.isCanonical, !HeadWriter.rewrite(fields, line, &output) { return false }
            }
            return true
        }
    }

    /// Writes a line in canonical form that was not sent so.
    @inline(never)
    private static func rewrite(
        _ fields: borrowing FieldSection, _ line: FieldLine, _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        ByteScan.append(
            fields.span(line.name), ByteScan.bytes(": "), fields.span(line.value),
            ByteScan.bytes("\r\n"), to: &output)
    }

    // MARK: - Parts

    /// Appends a literal.
    @inlinable @inline(__always)
    public static func append(
        _ text: StaticString, into output: inout OutputSpan<UInt8>
    ) -> Bool { ByteScan.append(text, to: &output) }

    /// Appends bytes.
    @inlinable @inline(__always)
    public static func append(
        _ bytes: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool { ByteScan.append(bytes, to: &output) }

    /// Appends a number in decimal digits.
    public static func append(decimal: UInt64, into output: inout OutputSpan<UInt8>) -> Bool {
        var scale: UInt64 = 1
        var digits = 1
        while decimal / scale >= 10 {
            scale *= 10
            digits += 1
        }
        if output.freeCapacity < digits { return false }
        while scale > 0 {
            output.append(0x30 &+ UInt8(truncatingIfNeeded: decimal / scale % 10))
            scale /= 10
        }
        return true
    }

    /// Appends a number in hexadecimal digits without leading zeros.
    public static func append(hex: UInt64, into output: inout OutputSpan<UInt8>) -> Bool {
        let digits = ByteScan.hexDigits(hex)
        let count = max(1, (67 - hex.leadingZeroBitCount) / 4)
        if output.freeCapacity < count { return false }
        var low = digits.low
        if count < 8 {
            low >>= UInt64(truncatingIfNeeded: (8 - count) * 8)
        } else {
            let high = digits.high >> UInt64(truncatingIfNeeded: (16 - count) * 8)
            _ = ByteScan.append(word: high, count: count - 8, to: &output)
        }
        return ByteScan.append(word: low, count: min(count, 8), to: &output)
    }

    /// Appends the header of a chunk of `count` bytes, which is not 0; its bytes and CRLF follow.
    public static func append(
        chunkOf count: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        precondition(count > 0, "a chunk of no bytes would end the content")
        return append(hex: UInt64(count), into: &output) && append("\r\n", into: &output)
    }

    /// Appends `content`, which is not empty, as one chunk; false when it does not fit.
    public static func append(
        chunk content: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        append(chunkOf: content.count, into: &output)
            && ByteScan.append(content, "\r\n", to: &output)
    }

    /// Appends the last chunk; trailer lines and an empty line must follow.
    public static func appendLastChunk(into output: inout OutputSpan<UInt8>) -> Bool {
        append("0\r\n", into: &output)
    }

    /// Appends a trailer line that a decoder gave, written canonically.
    public static func append(
        trailer line: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let colon = ByteScan.first(0x3A, line, from: 0, to: line.count)
        if colon == line.count { return false }
        return ByteScan.append(
            line.extracting(0..<colon), ByteScan.bytes(": "),
            FieldValue.trimmed(line.extracting((colon + 1)...)), ByteScan.bytes("\r\n"),
            to: &output)
    }

    /// Appends a date as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), from seconds since
    /// 1970.
    public static func append(
        httpDate seconds: UInt64, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        if output.freeCapacity < 29 { return false }
        // Years past 9999 have no such form.
        let seconds = min(seconds, 253_402_300_799)
        let days = Int(seconds / 86_400)
        let second = Int(seconds % 86_400)
        let date = CivilDate(days: days)
        let names = ByteScan.bytes("ThuFriSatSunMonTueWed")
        let months = ByteScan.bytes("JanFebMarAprMayJunJulAugSepOctNovDec")
        let weekday = days % 7 * 3
        let month = (date.month - 1) * 3
        _ = append(names.extracting(weekday..<(weekday + 3)), into: &output)
        _ = append(", ", into: &output)
        appendTwo(date.day, &output)
        output.append(0x20)
        _ = append(months.extracting(month..<(month + 3)), into: &output)
        output.append(0x20)
        appendTwo(date.year / 100, &output)
        appendTwo(date.year % 100, &output)
        output.append(0x20)
        appendTwo(second / 3_600, &output)
        output.append(0x3A)
        appendTwo(second / 60 % 60, &output)
        output.append(0x3A)
        appendTwo(second % 60, &output)
        return append(" GMT", into: &output)
    }

    private static func appendTwo(_ number: Int, _ output: inout OutputSpan<UInt8>) {
        output.append(0x30 + UInt8(number / 10 % 10))
        output.append(0x30 + UInt8(number % 10))
    }
}

/// A day of the Gregorian calendar.
private struct CivilDate {
    var year: Int
    var month: Int
    var day: Int

    /// The day that is `days` after 1970-01-01.
    ///
    /// Years are counted from March, so that the leap day is the last of a year of 400-year cycles.
    init(days: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}

extension RequestHead {
    /// Whether the kept framing lines say this framing as a writer would.
    @inline(__always)
    fileprivate func says(_ framing: BodyFraming) -> Bool { framing.isSaid(by: sentFraming) }

    /// Whether the request line stands in the head as it is written.
    @inline(__always)
    fileprivate var hasUsualLine: Bool {
        isLineCanonical && target.start == methodText.count &+ 1
    }

    /// Offset after the last line if request line and lines are written with `framing` as they
    /// stand, without any of `names`; 0 when some of them are not.
    @inline(__always)
    fileprivate func usualEnd(_ framing: BodyFraming, without names: FieldNames) -> UInt32 {
        hasUsualLine && !writesHost && says(framing) ? fields.runEnd(without: names) : 0
    }
}

extension BodyFraming {
    /// Whether the lines that say `sent` say this framing, too; none says `.untilClose`.
    @inlinable @inline(__always)
    func isSaid(by sent: BodyFraming?) -> Bool {
        guard let sent else { return false }
        switch self {
        case .none: if case .none = sent { return true }
        case .chunked: if case .chunked = sent { return true }
        case .length(let count): if case .length(let other) = sent { return count == other }
        case .untilClose: break
        }
        return false
    }
}
