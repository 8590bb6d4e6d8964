/// Names of fields from a document's root: `spec.rules[0].name`, `data[tls.crt]`.
enum FieldPath {
    /// A key follows a dot, or stands in brackets when it is not a plain word.
    static func appending(key: String, to path: String) -> String {
        let isWord = !key.isEmpty && key.utf8.allSatisfy(isWordByte)
        if !isWord { return "\(path)[\(key)]" }
        return path.isEmpty ? key : "\(path).\(key)"
    }

    static func appending(index: Int, to path: String) -> String {
        "\(path)[\(index)]"
    }

    /// The keys and indices of a path, in order.
    static func steps(of path: String) -> [Substring] {
        var steps: [Substring] = []
        var rest = path[...]
        while let first = rest.first {
            if first == "[" {
                rest.removeFirst()
                let step = rest.prefix { $0 != "]" }
                steps.append(step)
                rest = rest.dropFirst(step.count + 1)
            } else {
                if first == "." { rest.removeFirst() }
                let step = rest.prefix { $0 != "." && $0 != "[" }
                steps.append(step)
                rest = rest.dropFirst(step.count)
                if step.isEmpty { break }
            }
        }
        return steps
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"),
            UInt8(ascii: "$"):
            true
        default:
            false
        }
    }
}

/// Where each field of a document stands: 32 bytes a field, in the order of the text.
///
/// A scalar stands at its value, a mapping or list at its key, an entry of a list at its value.
public struct FieldPositions: Sendable {
    private struct Entry: Sendable {
        /// Empty for entries of a list.
        var key: String
        /// This entry and all inside it, so that the next sibling is this far away.
        var size: UInt32
        var mark: TextMark
    }

    private let file: String
    private var entries: [Entry] = []

    init(of root: DocumentNode, file: String) {
        self.file = file
        append(root, key: "", mark: root.mark)
    }

    /// The place of a field, else of the nearest field around it; nil when not even the first
    /// step of the path is in the document.
    public subscript(fieldPath: String) -> SourcePosition? {
        var current = 0
        for step in FieldPath.steps(of: fieldPath) {
            guard let next = child(step, of: current) else { break }
            current = next
        }
        if current == 0, !fieldPath.isEmpty { return nil }
        let mark = entries[current].mark
        return SourcePosition(file: file, line: Int(mark.line), column: Int(mark.column))
    }

    private func child(_ step: Substring, of parent: Int) -> Int? {
        let end = parent + Int(entries[parent].size)
        let wanted = Int(step)
        var ordinal = 0
        var index = parent + 1
        while index < end {
            let key = entries[index].key
            if key.isEmpty ? ordinal == wanted : key == step { return index }
            ordinal += 1
            index += Int(entries[index].size)
        }
        return nil
    }

    private mutating func append(_ node: DocumentNode, key: String, mark: TextMark) {
        let index = entries.count
        entries.append(Entry(key: key, size: 1, mark: mark))
        switch node.content {
        case .scalar: break
        case .sequence(let items):
            for item in items { append(item, key: "", mark: item.mark) }
        case .mapping(let members):
            for member in members { append(member.value, key: member.key, mark: member.mark) }
        }
        entries[index].size = UInt32(entries.count - index)
    }
}
