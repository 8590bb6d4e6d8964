import HTTP

/// Where Host stands in a head that `HeadWriter` wrote.
enum HostLine {
    /// Range of Host's value in `bytes`, in the head that begins at `start`; empty at `start` when there is none.
    static func value(in bytes: Span<UInt8>, from start: Int) -> Range<Int> {
        var line = start
        while line < bytes.count {
            var end = line
            while end < bytes.count, bytes[end] != 0x0D { end += 1 }
            if end - line >= 5, isHost(bytes, line) {
                var from = line + 5
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

    private static func isHost(_ bytes: Span<UInt8>, _ at: Int) -> Bool {
        bytes[at] | 0x20 == 0x68 && bytes[at + 1] | 0x20 == 0x6F && bytes[at + 2] | 0x20 == 0x73
            && bytes[at + 3] | 0x20 == 0x74 && bytes[at + 4] == 0x3A
    }
}
