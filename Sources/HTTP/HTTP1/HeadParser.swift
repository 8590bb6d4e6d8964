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

    // MARK: - Resuming

    /// Whether a parse of `input` could end otherwise than the one that left `resumeAt`, above 0.
    ///
    /// Without a new control byte no line has ended; a bound can be passed only above the least
    /// one. The byte before `resumeAt` counts as new: a CR may wait there for its LF.
    static func isWorthParsing(
        _ input: Span<UInt8>, _ resumeAt: Int, _ limits: HeadLimits
    ) -> Bool {
        if resumeAt > input.count { return true }
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

    /// Bounds of the field lines of one head, which begin at `start`.
    struct FieldBounds {
        /// Bytes of one line without its line end.
        let line: Int
        /// The last offset at which a line may end.
        let section: Int
        /// Lines.
        let count: Int
        let keepsUnderscoreNames: Bool

        init(_ fields: borrowing FieldSection, start: Int) {
            line = fields.lineBytes
            section = start + fields.sectionBytes - 1
            count = fields.lineCount
            keepsUnderscoreNames = fields.keepsUnderscoreNames
        }
    }

    /// Reads field lines from `start` to the empty line after them, whose end is the result.
    ///
    /// The head is in the first `count` bytes of `input`; what follows them is read and not judged.
    @inline(__always)
    static func parseFields(
        _ fields: inout FieldSection, _ input: Span<UInt8>, _ count: Int, from start: Int
    ) -> Part {
        let usual = ByteScan.appendLines(
            &fields, input, count, from: start, sectionEnd: start &+ fields.sectionBytes)
        if usual.isEnd { return .ended(usual.next) }
        return parseAnyFields(&fields, input, count, from: usual.next, start: start)
    }

    /// The same from a line on that is not usual, in a section that begins at `start`.
    @inline(never)
    private static func parseAnyFields(
        _ fields: inout FieldSection, _ input: Span<UInt8>, _ count: Int, from line: Int,
        start: Int
    ) -> Part {
        let bounds = FieldBounds(fields, start: start)
        var at = line
        while true {
            switch anyLine(&fields, input.extracting(0..<count), at, bounds) {
            case .next(let next): at = next
            case .last(let next): return .ended(next)
            case .incomplete: return .incomplete
            case .malformed(let reason): return .malformed(reason)
            }
            let usual = ByteScan.appendLines(
                &fields, input, count, from: at, sectionEnd: bounds.section &+ 1)
            if usual.isEnd { return .ended(usual.next) }
            at = usual.next
        }
    }

    /// What a line turned out to be.
    private enum LineStep {
        /// A field line; the next one begins at this offset.
        case next(Int)
        /// The empty line, which ends at this offset.
        case last(Int)
        case incomplete
        case malformed(Malformed.Reason)

        init(_ part: Part, isLast: Bool = false) {
            switch part {
            case .ended(let next): self = isLast ? .last(next) : .next(next)
            case .incomplete: self = .incomplete
            case .malformed(let reason): self = .malformed(reason)
            }
        }
    }

    /// Reads the line at `at`, whatever it is.
    private static func anyLine(
        _ fields: inout FieldSection, _ text: Span<UInt8>, _ at: Int, _ bounds: FieldBounds
    ) -> LineStep {
        if at >= text.count { return .incomplete }
        if text[at] == 0x0D || text[at] == 0x0A {
            return LineStep(lineEnd(text, at), isLast: true)
        }
        let end = min(text.count &- 1, bounds.section &+ 1)
        let line = ByteScan.anyLine(text, at: at, end: end, most: bounds.line)
        if line.control == 0 || fields.lines.count >= bounds.count {
            return LineStep(unusualLine(&fields, text, at, bounds))
        }
        fields.take(line, at: at)
        return .next(line.control &+ 2)
    }

    /// Reads the field line at `at`, which is not the usual one, or is broken or incomplete.
    private static func unusualLine(
        _ fields: inout FieldSection, _ text: Span<UInt8>, _ at: Int, _ bounds: FieldBounds
    ) -> Part {
        let bound = min(at + bounds.line, bounds.section)
        let overlong: Malformed.Reason =
            bound == at + bounds.line ? .fieldTooLong : .fieldsTooLong
        var colon = at
        var isDropped = false
        switch name(text, &colon) {
        case .plain: break
        case .underscored: isDropped = !bounds.keepsUnderscoreNames
        case .malformed(let reason):
            return refuse(text, reason, at: colon, bound: bound, overlong)
        }
        let control = ByteScan.firstControl(text, from: colon + 1, to: text.count)
        if control > bound { return .malformed(overlong) }
        if control == text.count { return .incomplete }
        guard case .ended(let next) = lineEnd(text, control) else { return lineEnd(text, control) }
        if fields.lines.count == bounds.count { return .malformed(.fieldsTooMany) }
        let value = FieldValue.trim(text, (colon + 1)..<control)
        let id = FieldName.recognise(text, at: at, count: colon - at)
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

    private enum Name {
        case plain
        case underscored
        case malformed(Malformed.Reason)
    }

    /// Reads a name of any token bytes; `at` becomes its colon, or where reading stopped.
    private static func name(_ text: Span<UInt8>, _ at: inout Int) -> Name {
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
        return hasUnderscore ? .underscored : .plain
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
