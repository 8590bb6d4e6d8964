import BasicContainers

extension FieldName {
    /// Whether the field may decide framing, routing, reuse or expectations of a head.
    ///
    /// These come first in the enumeration, after `other`.
    @inline(__always)
    var isDeciding: Bool { rawValue &- 1 < FieldName.expect.rawValue }
}

/// Reads HTTP/1.x heads: start line, field lines, empty line (RFC 9112 §2 to §5).
///
/// One pass over the input, no allocation, no state kept between calls. The answer depends on the
/// bytes only and not on how they were cut: a line is judged when it is complete, when it holds a
/// control byte, or when it is longer than its bound, whichever comes first.
enum HeadParser {
    /// What a part of a head turned out to be.
    enum Part {
        /// Good; the next part begins at this offset.
        case ended(Int)
        /// The input ends inside of it.
        case incomplete
        case malformed(Malformed.Reason)
    }

    /// Where the fields lie that decide framing, routing and reuse.
    struct Facts {
        var host = -1
        var hosts = 0
        var length = -1
        var lengths = 0
        var coding = -1
        var codings = 0
        var connection = -1
        var connections = 0
        var upgrade = -1
        var expect = -1
        var te = -1
        var keepAlive = -1
    }

    // MARK: - Resuming

    /// Whether a parse of `input` could end otherwise than the one that left `resumeAt`.
    ///
    /// Without a new control byte no line has ended; a bound can be passed only above the least
    /// one. The byte before `resumeAt` counts as new: a CR may wait there for its LF.
    static func isWorthParsing(
        _ input: Span<UInt8>, _ resumeAt: Int, _ limits: HeadLimits
    ) -> Bool {
        if resumeAt <= 0 || resumeAt > input.count { return true }
        let bound = min(limits.requestLineBytes, limits.fieldBytes, limits.fieldsBytes)
        if input.count > bound { return true }
        return ByteScan.firstControl(input, from: resumeAt - 1, to: input.count) < input.count
    }

    // MARK: - Lines

    /// The verdict on a broken line: refused once it is complete, holds a control byte or is too
    /// long.
    @inline(never)
    static func refuse(
        _ text: Span<UInt8>, _ reason: Malformed.Reason, at: Int, bound: Int,
        _ overBound: Malformed.Reason
    ) -> Part {
        let control = ByteScan.firstControl(text, from: at, to: text.count)
        if control > bound { return .malformed(overBound) }
        return control == text.count ? .incomplete : .malformed(reason)
    }

    /// The end of a line whose first control byte is at `control`, which is inside of `text`.
    @inline(__always)
    static func lineEnd(_ text: Span<UInt8>, _ control: Int) -> Part {
        if text[control] == 0x0D {
            if control &+ 1 == text.count { return .incomplete }
            return text[control &+ 1] == 0x0A ? .ended(control &+ 2) : .malformed(.bareCR)
        }
        // A bare LF may be read as a line end (RFC 9112 §2.2); it is never written.
        return text[control] == 0x0A ? .ended(control &+ 1) : .malformed(.fieldControl)
    }

    /// Reads field lines from `start` to the empty line after them, whose end is the result.
    static func parseFields(
        _ fields: inout FieldSection, _ text: Span<UInt8>, from start: Int,
        _ limits: borrowing HeadLimits, _ facts: inout Facts
    ) -> Part {
        let sectionBound = start + limits.fieldsBytes - 2
        let countMax = limits.fieldCount
        let lineMax = limits.fieldBytes
        let end = text.count
        var at = start
        while at < end {
            let colon = ByteScan.plainNameEnd(text, from: at, to: end)
            if colon < end, text[colon] == 0x3A, colon > at {
                let control = ByteScan.firstSuspect(text, from: colon &+ 1, to: end)
                // The usual line: one space, a value without white space at its ends, CRLF.
                if ByteScan.isUsualLine(text, colon: colon, control: control),
                    control &- at <= lineMax, control <= sectionBound,
                    fields.lines.count < countMax
                {
                    let id = FieldName.recognise(text, at: at, count: colon &- at)
                    if id.isDeciding { note(&facts, id, fields.lines.count) }
                    let line = FieldLine(
                        name: ByteRange(from: at, to: colon),
                        value: ByteRange(from: colon &+ 2, to: control),
                        lineEnd: control &+ 2, id: id, isDropped: false, isCanonical: true)
                    let isForwarding =
                        id == .other && Forwarded.isForwardingName(text, line.name.range)
                    fields.take(line, isForwarding: isForwarding)
                    at = control &+ 2
                    continue
                }
            } else if colon == at, text[at] == 0x0D || text[at] == 0x0A {
                return lineEnd(text, at)
            }
            switch unusualLine(&fields, text, at, sectionBound, limits, &facts) {
            case .ended(let next): at = next
            case let other: return other
            }
        }
        return .incomplete
    }

    /// Reads the field line at `at`, which is not the usual one, or is broken or incomplete.
    @inline(never)
    private static func unusualLine(
        _ fields: inout FieldSection, _ text: Span<UInt8>, _ at: Int, _ sectionBound: Int,
        _ limits: borrowing HeadLimits, _ facts: inout Facts
    ) -> Part {
        let bound = min(at + limits.fieldBytes, sectionBound)
        var colon = at
        var isDropped = false
        switch name(text, &colon, limits) {
        case .plain: break
        case .dropped: isDropped = true
        case .malformed(let reason):
            return refuse(text, reason, at: colon, bound: bound, overlong(at, limits, bound))
        }
        let control = ByteScan.firstControl(text, from: colon + 1, to: text.count)
        if control > bound { return .malformed(overlong(at, limits, bound)) }
        if control == text.count { return .incomplete }
        guard case .ended(let next) = lineEnd(text, control) else { return lineEnd(text, control) }
        if fields.lines.count == limits.fieldCount { return .malformed(.fieldsTooMany) }
        let value = FieldValue.trim(text, (colon + 1)..<control)
        let id = FieldName.recognise(text, at: at, count: colon - at)
        if id.isDeciding { note(&facts, id, fields.lines.count) }
        let isCanonical =
            text[colon + 1] == 0x20 && value == (colon + 2)..<control && !value.isEmpty
            && next == control + 2
        let line = FieldLine(
            name: ByteRange(at..<colon), value: ByteRange(value),
            lineEnd: next, id: id, isDropped: isDropped, isCanonical: isCanonical)
        fields.take(
            line, isForwarding: id == .other && Forwarded.isForwardingName(text, line.name.range))
        return .ended(next)
    }

    /// Which bound a line from `at` on passes first.
    @inline(never)
    private static func overlong(
        _ at: Int, _ limits: borrowing HeadLimits, _ bound: Int
    ) -> Malformed.Reason {
        bound == at + limits.fieldBytes ? .fieldTooLong : .fieldsTooLong
    }

    private enum Name {
        case plain
        case dropped
        case malformed(Malformed.Reason)
    }

    /// Reads a name of any token bytes; `at` becomes its colon, or where reading stopped.
    private static func name(
        _ text: Span<UInt8>, _ at: inout Int, _ limits: borrowing HeadLimits
    ) -> Name {
        let start = at
        var hasUnderscore = false
        while at < text.count, Token.isTokenByte(text[at]) {
            if text[at] == 0x5F { hasUnderscore = true }
            at += 1
        }
        if at == text.count { return .malformed(.fieldNameInvalid) }
        if text[at] == 0x20 || text[at] == 0x09 {
            return .malformed(at == start ? .fieldFolded : .fieldNameSpace)
        }
        if text[at] != 0x3A || at == start { return .malformed(.fieldNameInvalid) }
        if limits.keepsUnderscoreNames { return .plain }
        return hasUnderscore ? .dropped : .plain
    }

    /// Remembers the first line of each name that decides something.
    private static func note(_ facts: inout Facts, _ id: FieldName, _ index: Int) {
        switch id {
        case .host:
            facts.hosts += 1
            facts.host = index
        case .contentLength:
            facts.lengths += 1
            if facts.length < 0 { facts.length = index }
        case .transferEncoding:
            facts.codings += 1
            if facts.coding < 0 { facts.coding = index }
        case .connection:
            facts.connections += 1
            if facts.connection < 0 { facts.connection = index }
        case .upgrade: if facts.upgrade < 0 { facts.upgrade = index }
        case .expect: if facts.expect < 0 { facts.expect = index }
        case .te: if facts.te < 0 { facts.te = index }
        case .keepAlive: if facts.keepAlive < 0 { facts.keepAlive = index }
        default: break
        }
    }

    // MARK: - Start lines

    /// The version in the 8 bytes from `at` on; nil when they are no `HTTP/d.d`.
    @inline(__always)
    static func version(_ text: Span<UInt8>, _ at: Int) -> Result<Version, Malformed.Reason> {
        let word = ByteScan.load8(text, at)
        if word == 0x312E_312F_5054_5448 { return .success(.http11) }
        if word == 0x302E_312F_5054_5448 { return .success(.http10) }
        return unusualVersion(word)
    }

    /// Whether the 8 bytes from `at` on are exactly `HTTP/1.1`.
    @inline(__always)
    static func isHTTP11(_ text: Span<UInt8>, _ at: Int) -> Bool {
        ByteScan.load8(text, at) == 0x312E_312F_5054_5448
    }

    @inline(never)
    private static func unusualVersion(_ word: UInt64) -> Result<Version, Malformed.Reason> {
        let major = UInt8(truncatingIfNeeded: word &>> 40) &- 0x30
        let minor = UInt8(truncatingIfNeeded: word &>> 56) &- 0x30
        // "HTTP/", any digit, ".", any digit.
        if word & 0x00FF_00FF_FFFF_FFFF != 0x002E_002F_5054_5448 || major > 9 || minor > 9 {
            return .failure(.versionInvalid)
        }
        // A later minor version is answered as the highest one known (RFC 9110 §2.5).
        return major == 1 ? .success(.http11) : .failure(.versionUnsupported)
    }
}
