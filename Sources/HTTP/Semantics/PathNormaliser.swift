import BasicContainers

/// Brings paths into the one form that is matched and forwarded.
///
/// Escapes of unreserved bytes are decoded, dot segments resolved (RFC 3986 §6.2.2), slashes
/// merged. `%2F` and `%5C` stay: they are ordinary bytes, as in model names. Where decoding them
/// would change what dot segments remove, the path is refused, since a backend might decode.
public enum PathNormaliser {
    /// Appends the normal form of `path`, which begins with a slash, or returns why it is refused.
    ///
    /// The normal form is never longer than `path`; the caller has made room. After a refusal the
    /// output is of no use.
    public static func append(
        _ path: Span<UInt8>, to output: inout RigidArray<UInt8>
    ) -> Malformed.Reason? {
        output.edit { append(path, to: &$0) }
    }

    /// The same for the path of a head.
    static func append(
        _ path: Span<UInt8>, to output: inout OutputSpan<UInt8>
    ) -> Malformed.Reason? {
        precondition(!path.isEmpty && path[0] == 0x2F, "a path begins with a slash")
        precondition(output.freeCapacity >= path.count, "no room for a path")
        let base = output.count
        if let reason = decode(path, &output) { return reason }
        if let reason = resolve(&output, from: base) { return reason }
        mergeSlashes(&output, from: base)
        return nil
    }

    // MARK: - Escapes

    /// Appends `path` with escapes of unreserved bytes decoded and all others as they are.
    private static func decode(
        _ path: Span<UInt8>, _ output: inout OutputSpan<UInt8>
    ) -> Malformed.Reason? {
        var at = 0
        while at < path.count {
            let byte = path[at]
            if byte == 0x5C { return .targetBackslash }
            if byte &- 0x21 >= 0x5E { return .targetByte }
            if byte != 0x25 {
                output.append(byte)
                at += 1
                continue
            }
            guard let value = escape(path, at) else { return .targetEscape }
            if value == 0 { return .targetNUL }
            if isOverlong(value, path, at) { return .targetOverlong }
            if isUnreserved(value) {
                output.append(value)
            } else {
                for i in at..<(at + 3) { output.append(path[i]) }
            }
            at += 3
        }
        return nil
    }

    /// The byte that the escape at `at` stands for; nil when it is broken.
    private static func escape(_ path: Span<UInt8>, _ at: Int) -> UInt8? {
        if at + 2 >= path.count || path[at] != 0x25 { return nil }
        guard let high = Authority.hexValue(path[at + 1]),
            let low = Authority.hexValue(path[at + 2])
        else { return nil }
        return high << 4 | low
    }

    /// Whether an escaped byte begins a UTF-8 form that is longer than its character needs.
    ///
    /// C0 and C1 begin nothing else, nor do the five- and six-byte forms (RFC 3629 §3).
    private static func isOverlong(_ lead: UInt8, _ path: Span<UInt8>, _ at: Int) -> Bool {
        switch lead {
        case 0xC0, 0xC1, 0xF8...0xFD: return true
        case 0xE0:
            guard let next = escape(path, at + 3) else { return false }
            return next & 0xE0 == 0x80
        case 0xF0:
            guard let next = escape(path, at + 3) else { return false }
            return next & 0xF0 == 0x80
        default: return false
        }
    }

    /// Letters, digits, `-`, `.`, `_` and `~` (RFC 3986 §2.3).
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- 0x61 < 26 || byte &- 0x30 < 10 || byte == 0x2D || byte == 0x2E
            || byte == 0x5F || byte == 0x7E
    }

    // MARK: - Segments

    /// Resolves dot segments in place (RFC 3986 §5.2.4).
    private static func resolve(
        _ output: inout OutputSpan<UInt8>, from base: Int
    ) -> Malformed.Reason? {
        var read = base
        var write = base
        let end = output.count
        while read < end {
            // `read` is at the slash before a segment.
            var next = read + 1
            while next < end, output[next] != 0x2F { next += 1 }
            let dots = dotCount(output, (read + 1)..<next)
            if dots == 0 {
                if hidesDots(output, (read + 1)..<next) { return .targetSeparator }
                for i in read..<next {
                    output[write] = output[i]
                    write += 1
                }
            } else {
                if dots == 2, !removeLast(&output, base, &write) { return .targetSeparator }
                if next == end {
                    output[write] = 0x2F
                    write += 1
                }
            }
            read = next
        }
        output.removeLast(end - write)
        return nil
    }

    /// 1 for `.`, 2 for `..`, 0 for any other segment.
    private static func dotCount(
        _ bytes: borrowing OutputSpan<UInt8>, _ segment: Range<Int>
    ) -> Int {
        if segment.isEmpty || segment.count > 2 { return 0 }
        for i in segment where bytes[i] != 0x2E { return 0 }
        return segment.count
    }

    /// Moves `write` back over the last segment; false when that holds an escaped separator.
    private static func removeLast(
        _ output: inout OutputSpan<UInt8>, _ base: Int, _ write: inout Int
    ) -> Bool {
        var at = write
        while at > base {
            at -= 1
            if output[at] == 0x2F { break }
        }
        for i in at..<write where isSeparator(output, i, write) { return false }
        write = at
        return true
    }

    /// Whether the segment would hold a dot segment if `%2F` and `%5C` were slashes.
    private static func hidesDots(
        _ bytes: borrowing OutputSpan<UInt8>, _ segment: Range<Int>
    ) -> Bool {
        var start = segment.lowerBound
        var hasSeparator = false
        var at = start
        while at < segment.upperBound {
            if isSeparator(bytes, at, segment.upperBound) {
                hasSeparator = true
                if dotCount(bytes, start..<at) > 0 { return true }
                at += 3
                start = at
            } else {
                at += 1
            }
        }
        return hasSeparator && dotCount(bytes, start..<segment.upperBound) > 0
    }

    /// Whether `%2F` or `%5C` is at `at`.
    private static func isSeparator(
        _ bytes: borrowing OutputSpan<UInt8>, _ at: Int, _ end: Int
    ) -> Bool {
        if at + 2 >= end || bytes[at] != 0x25 { return false }
        let high = bytes[at + 1]
        let low = bytes[at + 2] | 0x20
        return (high == 0x32 && low == 0x66) || (high == 0x35 && low == 0x63)
    }

    /// Makes one slash of several in place.
    private static func mergeSlashes(_ output: inout OutputSpan<UInt8>, from base: Int) {
        var write = base
        for read in base..<output.count {
            let byte = output[read]
            if byte == 0x2F, write > base, output[write - 1] == 0x2F { continue }
            output[write] = byte
            write += 1
        }
        output.removeLast(output.count - write)
    }
}
