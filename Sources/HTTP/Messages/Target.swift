/// Request targets: their four forms (RFC 9112 §3.2), and what is forwarded of them.
enum Target {
    /// Judges the target of a complete head and records target, path, query and authority.
    ///
    /// A normal path is used where it lies; another one is written anew after the head's bytes.
    static func take(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ line: HeadParser.RequestLine
    ) -> Malformed.Reason? {
        head.authority = .none
        head.writesHost = false
        let target = line.target
        if text[target.lowerBound] != 0x2F { return takeOther(&head, text, target) }
        if head.method == .connect { return .methodConnect }
        return takeOrigin(&head, text, target, line.stop, base: 0)
    }

    /// Judges origin-form, which is plain up to `stop`; `text` lies at `base` in the head's bytes.
    @inline(__always)
    static func takeOrigin(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ target: Range<Int>, _ stop: Int,
        base: Int
    ) -> Malformed.Reason? {
        if stop == target.upperBound {
            head.target = ByteRange(start: UInt32(base), target)
            head.path = head.target
            head.query = .none
            return nil
        }
        return takePath(&head, text, target, stop, base)
    }

    /// Judges `*`, absolute-form and what is neither.
    @inline(never)
    private static func takeOther(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ target: Range<Int>
    ) -> Malformed.Reason? {
        if head.method == .connect { return .methodConnect }
        if target.count == 1, text[target.lowerBound] == 0x2A {
            if head.method != .options { return .targetAsterisk }
            takeAsterisk(&head, target)
            return nil
        }
        let colon = ByteScan.first(0x3A, text, from: target.lowerBound, to: target.upperBound)
        let start = colon + 3
        if start > target.upperBound || text[colon + 1] != 0x2F || text[colon + 2] != 0x2F {
            return .targetForm
        }
        let scheme = text.extracting(target.lowerBound..<colon)
        if !ByteScan.equalFolding(scheme, ByteScan.bytes("http"))
            && !ByteScan.equalFolding(scheme, ByteScan.bytes("https"))
        {
            return .targetScheme
        }
        return takeAbsolute(&head, text, target, start)
    }

    /// Judges absolute-form, whose authority begins at `start`; it replaces Host (RFC 9112 §3.2.2).
    private static func takeAbsolute(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ target: Range<Int>, _ start: Int
    ) -> Malformed.Reason? {
        var end = start
        while end < target.upperBound, text[end] != 0x2F, text[end] != 0x3F, text[end] != 0x23 {
            if text[end] == 0x40 { return .targetUserinfo }
            end += 1
        }
        head.authority = ByteRange(start..<end)
        head.writesHost = true
        if end < target.upperBound, text[end] == 0x2F {
            let path = end..<target.upperBound
            let stop = ByteScan.plainPathEnd(text, from: end, to: target.upperBound)
            return takePath(&head, text, path, stop, 0)
        }
        if end < target.upperBound, text[end] == 0x23 { return .targetFragment }
        // An empty path is `/`, but `*` with OPTIONS and no query (RFC 9112 §3.2.4).
        let pathStart = head.fields.bytes.count
        let isAsterisk = head.method == .options && end == target.upperBound
        head.fields.bytes.append(isAsterisk ? 0x2A : 0x2F)
        if isAsterisk {
            takeAsterisk(&head, pathStart..<(pathStart + 1))
            return nil
        }
        head.path = ByteRange(pathStart..<(pathStart + 1))
        return takeQuery(&head, text, end..<target.upperBound)
    }

    private static func takeAsterisk(_ head: inout RequestHead, _ range: Range<Int>) {
        head.target = ByteRange(range)
        head.path = head.target
        head.query = .none
    }

    /// Judges a path that is not plain up to the target's end, or is followed by a query.
    @inline(never)
    private static func takePath(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ target: Range<Int>, _ stop: Int,
        _ base: Int
    ) -> Malformed.Reason? {
        let mark =
            stop < target.upperBound && text[stop] == 0x3F
            ? stop : ByteScan.first(0x3F, text, from: stop, to: target.upperBound)
        if ByteScan.first(0x23, text, from: stop, to: target.upperBound) < target.upperBound {
            return .targetFragment
        }
        if mark == stop {
            let start = UInt32(base)
            head.target = ByteRange(start: start, target)
            head.path = ByteRange(start: start, target.lowerBound..<mark)
            head.query =
                mark == target.upperBound
                ? .none : ByteRange(start: start, (mark + 1)..<target.upperBound)
            return nil
        }
        let start = head.fields.bytes.count
        let path = text.extracting(target.lowerBound..<mark)
        if let reason = head.fields.bytes.edit({ PathNormaliser.append(path, to: &$0) }) {
            return reason
        }
        head.path = ByteRange(start..<head.fields.bytes.count)
        return takeQuery(&head, text, mark..<target.upperBound)
    }

    /// Writes `?` and the query, if there is one, after a path that was written anew.
    private static func takeQuery(
        _ head: inout RequestHead, _ text: Span<UInt8>, _ query: Range<Int>
    ) -> Malformed.Reason? {
        if ByteScan.first(0x23, text, from: query.lowerBound, to: query.upperBound)
            < query.upperBound
        {
            return .targetFragment
        }
        let start = head.fields.bytes.count
        head.fields.bytes.append(copying: text.extracting(query))
        head.query = query.isEmpty ? .none : ByteRange((start + 1)..<(start + query.count))
        head.target = ByteRange(Int(head.path.start)..<(start + query.count))
        return nil
    }

    /// Writes a new path and the old query after the head's bytes; false when they do not fit.
    static func replacePath(_ head: inout RequestHead, _ path: Span<UInt8>) -> Bool {
        if path.isEmpty || path[0] != 0x2F { return false }
        for i in path.indices {
            let byte = path[i]
            if byte &- 0x21 >= 0x5E || byte == 0x3F || byte == 0x23 || byte == 0x5C { return false }
        }
        let query = head.query
        if head.fields.bytes.freeCapacity < path.count + Int(query.count) + 1 { return false }
        let start = head.fields.bytes.count
        head.fields.bytes.append(copying: path)
        head.path = ByteRange(start..<head.fields.bytes.count)
        if !query.isNone {
            head.fields.bytes.append(0x3F)
            let queryStart = head.fields.bytes.count
            head.fields.appendOwn(query)
            head.query = ByteRange(queryStart..<head.fields.bytes.count)
        }
        head.target = ByteRange(start..<head.fields.bytes.count)
        return true
    }
}
