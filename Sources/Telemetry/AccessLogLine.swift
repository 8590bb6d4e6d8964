/// Access records as lines of JSON (RFC 8259), one object a line; not for the hot path.
public enum AccessLogLine {
    /// Appends the line of a record with its end; false, and nothing, when the bytes are none.
    ///
    /// Members that have no value are left out: nothing of a request where there was none, no
    /// endpoint when no backend was reached, no `connect_ms` when a connection was reused. Times
    /// are milliseconds with microseconds behind the point.
    public static func write(
        _ bytes: Span<UInt8>, names: SeriesNames, into output: inout [UInt8]
    ) -> Bool {
        guard let reader = AccessRecordReader(bytes) else { return false }
        let record = reader.record
        let texts = reader.texts
        var line = JSONLine()
        line.member("time", RFC3339.text(nanoseconds: record.time))
        let isStream =
            record.version == AccessRecord.streamVersion
            || record.version == AccessRecord.datagramVersion
        if !isStream { line.member("request_id", bytes, texts.requestID) }
        if let client = record.client {
            line.member("client", client.port == 0 ? client.hostDescription : client.description)
        }
        write(record, names, &line)
        if let endpoint = record.endpoint { line.member("endpoint", endpoint.description) }
        if !isStream {
            line.member("method", bytes, texts.method)
            line.member("authority", bytes, texts.authority)
            line.member("path", bytes, texts.path)
        } else if !texts.authority.isEmpty {
            line.member("server_name", bytes, texts.authority)
        }
        line.member("protocol", protocolName(record.version))
        line.member("tls", raw: record.isTLS ? "true" : "false")
        if !isStream { line.member("status", record.status) }
        line.member("ended", record.ended.text)
        if !texts.reason.isEmpty { line.member("reason", bytes, texts.reason) }
        line.member("bytes_received", record.bytesReceived)
        line.member("bytes_sent", record.bytesSent)
        line.member("duration_ms", milliseconds: record.duration)
        if record.timeToFirstByte > 0 {
            line.member("ttfb_ms", milliseconds: record.timeToFirstByte)
        }
        line.member("processing_ms", milliseconds: record.processing)
        if record.connect > 0 { line.member("connect_ms", milliseconds: record.connect) }
        line.member("retries", record.retries)
        if !texts.userAgent.isEmpty { line.member("user_agent", bytes, texts.userAgent) }
        line.end()
        output += line.bytes
        return true
    }

    /// What was matched; a backend's series knows its rule too.
    private static func write(
        _ record: AccessRecord, _ names: SeriesNames, _ line: inout JSONLine
    ) {
        let hasBackend = record.backendSeries != Series.none
        let labels = names[hasBackend ? record.backendSeries : record.series]
        // Known also of a request that no rule matched.
        let place = names.listener(record.listener) ?? labels
        if !place.gateway.isEmpty { line.member("gateway", place.gateway) }
        if !place.listener.isEmpty { line.member("listener", place.listener) }
        if !labels.route.isEmpty { line.member("route", labels.route) }
        if !labels.rule.isEmpty { line.member("rule", labels.rule) }
        if hasBackend && !labels.backend.isEmpty { line.member("backend", labels.backend) }
    }

    private static func protocolName(_ version: UInt8) -> String {
        switch version {
        case 0: "HTTP/1.0"
        case 1: "HTTP/1.1"
        case AccessRecord.streamVersion: "TCP"
        case AccessRecord.datagramVersion: "UDP"
        default: "HTTP/2"
        }
    }
}

/// One object on one line, as it grows.
private struct JSONLine {
    private(set) var bytes: [UInt8] = [UInt8(ascii: "{")]

    mutating func member(_ name: String, _ value: String) {
        begin(name)
        quoted(Array(value.utf8).span)
    }

    mutating func member(_ name: String, _ source: Span<UInt8>, _ range: Range<Int>) {
        begin(name)
        quoted(source.extracting(range))
    }

    mutating func member(_ name: String, _ value: some FixedWidthInteger) {
        member(name, raw: String(value))
    }

    mutating func member(_ name: String, milliseconds nanoseconds: UInt64) {
        member(name, raw: Decimal.text(nanoseconds / 1_000, digits: 3))
    }

    mutating func member(_ name: String, raw: String) {
        begin(name)
        bytes += raw.utf8
    }

    mutating func end() {
        bytes += [UInt8(ascii: "}"), UInt8(ascii: "\n")]
    }

    private mutating func begin(_ name: String) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        bytes.append(UInt8(ascii: "\""))
        bytes += name.utf8
        bytes += [UInt8(ascii: "\""), UInt8(ascii: ":")]
    }

    /// A string: quotes, backslashes, controls and DEL escaped; what is not UTF-8 as U+FFFD.
    private mutating func quoted(_ text: Span<UInt8>) {
        bytes.append(UInt8(ascii: "\""))
        var at = 0
        while at < text.count {
            let byte = text[at]
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes += [UInt8(ascii: "\\"), byte]
                at += 1
            case 0x20..<0x7F:
                bytes.append(byte)
                at += 1
            case 0x80...:
                let count = UTF8Sequence.count(text, at)
                if count == 0 {
                    bytes += "\\ufffd".utf8
                    at += 1
                } else {
                    for i in at..<(at + count) { bytes.append(text[i]) }
                    at += count
                }
            default:
                let digits = Array("0123456789abcdef".utf8)
                bytes += "\\u00".utf8
                bytes += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
                at += 1
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

/// Sequences of UTF-8 (RFC 3629 §4).
enum UTF8Sequence {
    /// Bytes of the well-formed sequence of more than one byte at `at`; 0 when there is none.
    static func count(_ text: Span<UInt8>, _ at: Int) -> Int {
        let count: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch text[at] {
        case 0xC2...0xDF: count = 2
        case 0xE0: (count, second) = (3, 0xA0...0xBF)
        case 0xED: (count, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: count = 3
        case 0xF0: (count, second) = (4, 0x90...0xBF)
        case 0xF4: (count, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: count = 4
        default: return 0
        }
        if at + count > text.count || !second.contains(text[at + 1]) { return 0 }
        for i in (at + 2)..<(at + max(count, 2)) where !(0x80...0xBF).contains(text[i]) {
            return 0
        }
        return count
    }
}

/// Numbers with a point.
enum Decimal {
    /// `value` divided by ten to the `digits`, with exactly that many digits behind the point.
    static func text(_ value: UInt64, digits: Int) -> String {
        var power: UInt64 = 1
        for _ in 0..<digits { power *= 10 }
        let fraction = String(value % power)
        return "\(value / power)." + String(repeating: "0", count: digits - fraction.count)
            + fraction
    }

    /// Nanoseconds as seconds, without zeroes at the end.
    static func seconds(nanoseconds: UInt64) -> String {
        var text = Substring(text(nanoseconds, digits: 9))
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return String(text)
    }
}

/// Times of the wall clock (RFC 3339), in UTC with microseconds.
enum RFC3339 {
    static func text(nanoseconds: UInt64) -> String {
        let seconds = nanoseconds / 1_000_000_000
        let days = Int(seconds / 86_400)
        let (year, month, day) = date(days: days)
        let clock = seconds % 86_400
        let fraction = padded(nanoseconds / 1_000 % 1_000_000, 6)
        return "\(padded(UInt64(year), 4))-\(padded(UInt64(month), 2))-\(padded(UInt64(day), 2))"
            + "T\(padded(clock / 3_600, 2)):\(padded(clock / 60 % 60, 2)):\(padded(clock % 60, 2))"
            + ".\(fraction)Z"
    }

    /// The date of a day counted from 1970-01-01, in the Gregorian calendar.
    private static func date(days: Int) -> (year: Int, month: Int, day: Int) {
        // Years begin in March here, so that the day of a leap year is the last.
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let isAfterNewYear = month >= 10
        return (
            yearOfEra + era * 400 + (isAfterNewYear ? 1 : 0),
            isAfterNewYear ? month - 9 : month + 3, day
        )
    }

    private static func padded(_ value: UInt64, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
