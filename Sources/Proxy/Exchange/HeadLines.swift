import HTTP
import Kernel

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

    /// Copies a head that `HeadWriter` wrote, without the lines of fields that `isLeftOut` says; what frames the
    /// message and Host stay.
    ///
    /// False when it does not fit.
    static func copy(
        _ head: Span<UInt8>, into output: inout Buffer, leavingOut isLeftOut: (Span<UInt8>) -> Bool
    ) -> Bool {
        var line = 0
        while line < head.count {
            let end = min(head.count, ByteScan.first(0x0D, head, from: line, to: head.count) + 2)
            let colon = ByteScan.first(0x3A, head, from: line, to: end)
            let name = head.extracting(line..<min(colon, end))
            // The request line and the empty line are no fields.
            let isField = line > 0 && colon < end
            if !isField || isNeeded(name) || !isLeftOut(name) {
                let bytes = head.extracting(line..<end)
                if output.append(bytes) != bytes.count { return false }
            }
            line = end
        }
        return true
    }

    private static func isNeeded(_ name: Span<UInt8>) -> Bool {
        ByteScan.equalFolding(name, ByteScan.bytes("host"))
            || ByteScan.equalFolding(name, ByteScan.bytes("content-length"))
            || ByteScan.equalFolding(name, ByteScan.bytes("transfer-encoding"))
    }

    /// The request line, of a head that `HeadWriter` wrote.
    @_lifetime(copy head)
    static func requestLine(of head: Span<UInt8>) -> Span<UInt8> {
        head.extracting(0..<ByteScan.first(0x0D, head, from: 0, to: head.count))
    }
}
