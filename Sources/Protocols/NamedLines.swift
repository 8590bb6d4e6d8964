import HTTP

/// The lines of a head, those of one name one behind another; made in time proportional to the head.
struct NamedLines: Sendable {
    /// One line.
    struct Line: Sendable {
        let text: HeadText.Line
        /// No line before it has its name.
        fileprivate(set) var isFirst = true
        /// The next one of its name; -1: there is none.
        fileprivate(set) var next = -1
        /// Of the first of a name: the last one so far.
        fileprivate var last: Int

        fileprivate init(_ text: HeadText.Line, at: Int) {
            self.text = text
            last = at
        }
    }

    private(set) var lines: [Line] = []

    init(_ head: Span<UInt8>) {
        var text = HeadText(head)
        while let line = text.next(head) { lines.append(Line(line, at: lines.count)) }
        join(head)
    }

    private mutating func join(_ head: Span<UInt8>) {
        var size = 16
        while size < 2 * lines.count { size *= 2 }
        // Places of first lines, by a hash that nobody outside can foretell; at least half of them are free.
        var firsts = [Int](repeating: -1, count: size)
        for at in lines.indices {
            let name = head.extracting(lines[at].text.name)
            var place = Self.hash(name) & (size - 1)
            while firsts[place] >= 0,
                !Self.isSame(head.extracting(lines[firsts[place]].text.name), name)
            {
                place = (place + 1) & (size - 1)
            }
            let first = firsts[place]
            if first < 0 {
                firsts[place] = at
            } else {
                lines[at].isFirst = false
                lines[lines[first].last].next = at
                lines[first].last = at
            }
        }
    }

    private static func isSame(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        if a.count != b.count { return false }
        for at in 0..<a.count where ByteScan.lowered(a[at]) != ByteScan.lowered(b[at]) {
            return false
        }
        return true
    }

    private static func hash(_ name: Span<UInt8>) -> Int {
        var hasher = Hasher()
        var word: UInt64 = 0
        for at in 0..<name.count {
            word = word << 8 | UInt64(ByteScan.lowered(name[at]))
            if at & 7 == 7 { hasher.combine(word) }
        }
        hasher.combine(word)
        return hasher.finalize()
    }
}
