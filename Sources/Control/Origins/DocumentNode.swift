/// A place in a document's text; both count from 1, columns in Unicode scalars.
struct TextMark: Hashable, Sendable, BitwiseCopyable {
    var line: UInt32
    var column: UInt32

    init(line: Int, column: Int) {
        self.line = UInt32(clamping: line)
        self.column = UInt32(clamping: column)
    }
}

/// A document as the tree that YAML and JSON have in common, with the place of everything.
struct DocumentNode: Sendable {
    enum Content: Sendable {
        case scalar(Scalar)
        case sequence([DocumentNode])
        case mapping([Member])
    }

    struct Member: Sendable {
        var key: String
        var keyMark: TextMark
        var value: DocumentNode

        /// Where a reader looks for this member: a scalar's value, else the key.
        var mark: TextMark {
            if case .scalar = value.content { return value.mark }
            return keyMark
        }
    }

    var content: Content
    var mark: TextMark

    init(_ content: Content, at mark: TextMark) {
        self.content = content
        self.mark = mark
    }

    /// The value of a mapping's member; nil for other nodes and absent keys.
    subscript(key: String) -> DocumentNode? {
        member(key)?.value
    }

    func member(_ key: String) -> Member? {
        guard case .mapping(let members) = content else { return nil }
        return members.first { $0.key == key }
    }

    /// The text of a scalar, whatever type it would have.
    var text: String? {
        guard case .scalar(let scalar) = content else { return nil }
        return scalar.text
    }

    var isNull: Bool {
        guard case .scalar(let scalar) = content else { return false }
        return scalar.type == .null
    }
}

// MARK: - Digests

/// A 64-bit digest of content: quick, the same in each run, not for secrets.
struct Digest: Sendable {
    private var state: UInt64 = 0x9E37_79B9_7F4A_7C15

    mutating func combine(_ word: UInt64) {
        let product = (state ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        state = (product.high ^ product.low) &+ 0x2545_F491_4F6C_DD1D
    }

    mutating func combine(_ text: String) {
        var word: UInt64 = 0
        var count: UInt64 = 0
        for byte in text.utf8 {
            word = word << 8 | UInt64(byte)
            count += 1
            if count & 7 == 0 {
                combine(word)
                word = 0
            }
        }
        combine(word)
        combine(count)
    }

    var value: UInt64 {
        var value = state
        value ^= value >> 32
        value = value &* 0xD6E8_FEB8_6659_FD93
        return value ^ value >> 29
    }

    /// A digest of a file's bytes.
    static func of(_ bytes: [UInt8]) -> UInt64 { of(bytes[...]) }

    /// A digest of some of them.
    static func of(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        var digest = Digest()
        var word: UInt64 = 0
        for index in bytes.indices {
            word = word << 8 | UInt64(bytes[index])
            if (index - bytes.startIndex) & 7 == 7 {
                digest.combine(word)
                word = 0
            }
        }
        digest.combine(word)
        digest.combine(UInt64(bytes.count))
        return digest.value
    }
}

extension DocumentNode {
    /// A digest of what the node says: layout and the order of fields do not count.
    var digest: UInt64 {
        var digest = Digest()
        switch content {
        case .scalar(let scalar):
            digest.combine(UInt64(scalar.type.rawValue))
            digest.combine(scalar.type == .null ? "" : scalar.text)
        case .sequence(let items):
            digest.combine(10)
            for item in items { digest.combine(item.digest) }
            digest.combine(UInt64(items.count))
        case .mapping(let members):
            digest.combine(11)
            digest.combine(Self.digest(of: members))
        }
        return digest.value
    }

    /// The digest of a mapping without some of its members.
    func digest(without keys: [String]) -> UInt64 {
        guard case .mapping(let members) = content else { return digest }
        return Self.digest(of: members.filter { !keys.contains($0.key) })
    }

    /// A sum, so that the order of members does not count.
    private static func digest(of members: [Member]) -> UInt64 {
        var sum: UInt64 = 0
        for member in members {
            var digest = Digest()
            digest.combine(member.key)
            digest.combine(member.value.digest)
            sum &+= digest.value
        }
        return sum
    }
}
