import BasicContainers

/// The bytes of all texts of a table while it is built; equal texts are kept once.
struct ArenaBuilder {
    private(set) var bytes: [UInt8] = []
    private var known: [[UInt8]: ArenaRange] = [:]

    /// Keeps a text.
    mutating func keep(_ text: String) -> ArenaRange { keep(Array(text.utf8)) }

    /// Keeps bytes.
    mutating func keep(_ text: [UInt8]) -> ArenaRange {
        if text.isEmpty { return .empty }
        if let range = known[text] { return range }
        let range = ArenaRange(start: UInt32(bytes.count), count: UInt32(text.count))
        bytes.append(contentsOf: text)
        known[text] = range
        return range
    }

    /// The arena, with room behind the last text so that words can be read there.
    func build() -> RigidArray<UInt8> {
        var arena = RigidArray<UInt8>(capacity: bytes.count + Bytes.padding)
        arena.append(copying: bytes.span)
        for _ in 0..<Bytes.padding { arena.append(0) }
        return arena
    }
}
