/// Writes heads: the only producer of heads on a wire, and it can only write canonical ones.
///
/// Every function returns false when its output did not fit; what is in `output` then is of no use.
public enum HeadWriter {
    /// Writes a request head for HTTP/1.1.
    ///
    /// Framing fields are written once, as `framing` says. Host comes first if it was replaced, and
    /// is empty for a request of HTTP/1.0 that had none and was not given one by `setAuthority`.
    /// `.untilClose` is not a framing of requests and traps.
    public static func write(
        request: borrowing RequestHead, framing: BodyFraming, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        precondition(framing != .untilClose, "a request cannot end by closing")
        var run = Run()
        if request.isLineCanonical, request.target.start == request.methodText.count &+ 1 {
            run.end = request.lineEnd
        } else if !writeLine(request, &output) {
            return false
        }
        if request.writesHost {
            guard run.flush(request.fields, &output),
                append("host: ", into: &output),
                append(request.span(request.authority), into: &output),
                append("\r\n", into: &output)
            else { return false }
        }
        let keepsFraming = request.sentFraming == framing
        var omitted = FieldLine.Traits.dropped
        if request.writesHost { omitted.insert(.host) }
        if !keepsFraming { omitted.insert(.framing) }
        guard run.writeLines(request.fields, without: omitted, &output),
            keepsFraming || write(framing: framing, into: &output)
        else { return false }
        return append("\r\n", into: &output)
    }

    /// Writes a request line whose parts do not lie side by side.
    @inline(never)
    private static func writeLine(
        _ request: borrowing RequestHead, _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        append(request.span(request.methodText), into: &output)
            && append(" ", into: &output)
            && append(request.span(request.target), into: &output)
            && append(" HTTP/1.1\r\n", into: &output)
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
        var run = Run()
        if response.isLineCanonical {
            run.end = response.lineEnd
        } else if !writeLine(response, &output) {
            return false
        }
        let keepsFraming = response.sentFraming == framing
        let closes = closes || framing == .untilClose
        let writesConnection = closes || version == .http10
        var omitted = FieldLine.Traits.dropped
        if writesConnection { omitted.insert(.connection) }
        if !keepsFraming { omitted.insert(.framing) }
        guard run.writeLines(response.fields, without: omitted, &output),
            keepsFraming || write(framing: framing, into: &output)
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
        let isReasonWritten =
            response.reason.isNone
            ? append(Status.reason(response.status), into: &output)
            : append(response.span(response.reason), into: &output)
        return isReasonWritten && append("\r\n", into: &output)
    }

    /// Writes the one framing field of `framing`, or none.
    private static func write(
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

    /// Bytes that lie side by side and are copied at once.
    private struct Run: BitwiseCopyable {
        var start: UInt32 = 0
        var end: UInt32 = 0

        /// Writes all lines without a trait of `omitted`, joining those that lie side by side.
        @inline(__always)
        mutating func writeLines(
            _ fields: borrowing FieldSection, without omitted: FieldLine.Traits,
            _ output: inout OutputSpan<UInt8>
        ) -> Bool {
            for i in 0..<fields.lines.count {
                let line = fields.lines[i]
                if !line.traits.isDisjoint(with: omitted) { continue }
                if line.isCanonical {
                    if line.name.start != end || start == end {
                        if !flush(fields, &output) { return false }
                        start = line.name.start
                    }
                    end = line.lineEnd
                } else {
                    if !flush(fields, &output) || !HeadWriter.rewrite(fields, line, &output) {
                        return false
                    }
                }
            }
            return flush(fields, &output)
        }

        /// Copies the run and begins an empty one.
        @inline(__always)
        mutating func flush(
            _ fields: borrowing FieldSection, _ output: inout OutputSpan<UInt8>
        ) -> Bool {
            if start == end { return true }
            let run = ByteRange(start: start, count: end &- start)
            start = end
            return append(fields.span(run), into: &output)
        }
    }

    /// Writes a line in canonical form that was not sent so.
    @inline(never)
    private static func rewrite(
        _ fields: borrowing FieldSection, _ line: FieldLine, _ output: inout OutputSpan<UInt8>
    ) -> Bool {
        append(fields.span(line.name), into: &output)
            && append(": ", into: &output)
            && append(fields.span(line.value), into: &output)
            && append("\r\n", into: &output)
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
        let digits = max(1, (67 - hex.leadingZeroBitCount) / 4)
        if output.freeCapacity < digits { return false }
        var shift = digits * 4
        while shift > 0 {
            shift -= 4
            let digit = UInt8(truncatingIfNeeded: hex >> UInt64(shift)) & 0x0F
            output.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
        return true
    }

    /// Appends the header of a chunk of `count` bytes, which is not 0; its bytes and CRLF follow.
    public static func append(
        chunkOf count: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        precondition(count > 0, "a chunk of no bytes would end the content")
        return append(hex: UInt64(count), into: &output) && append("\r\n", into: &output)
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
        return append(line.extracting(0..<colon), into: &output)
            && append(": ", into: &output)
            && append(FieldValue.trimmed(line.extracting((colon + 1)...)), into: &output)
            && append("\r\n", into: &output)
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
