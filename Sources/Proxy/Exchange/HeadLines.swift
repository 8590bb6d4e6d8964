import HTTP

/// Where lines stand in a head that `HeadWriter` wrote; for what happens seldom.
enum HeadLines {
    /// Range of the value in `bytes` of the first line that begins with `name`, which is in small letters and ends with
    /// a colon, in the head that begins at `start`; empty at `start` when there is none.
    static func value(
        _ name: StaticString, in bytes: Span<UInt8>, from start: Int
    ) -> Range<Int> {
        let count = name.utf8CodeUnitCount
        var line = start
        while line < bytes.count {
            var end = line
            while end < bytes.count, bytes[end] != 0x0D { end += 1 }
            if end - line >= count,
                ByteScan.equalFolding(
                    bytes.extracting(line..<(line + count)), ByteScan.bytes(name))
            {
                var from = line + count
                while from < end, bytes[from] == 0x20 { from += 1 }
                return from..<end
            }
            if end == line { break }
            line = end + 2
        }
        return start..<start
    }

    /// The request line, of a head that `HeadWriter` wrote.
    @_lifetime(copy head)
    static func requestLine(of head: Span<UInt8>) -> Span<UInt8> {
        head.extracting(0..<ByteScan.first(0x0D, head, from: 0, to: head.count))
    }
}
