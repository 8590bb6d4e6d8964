/// Server names to small numbers: exact names first, then wildcards of one whole label.
struct NameIndex: Sendable {
    private struct Entry {
        let name: [UInt8]
        let value: Int
    }
    private var exact: [Entry] = []
    /// Names without their leading "*.".
    private var wildcard: [Entry] = []

    /// Names as certificates have them, in lower case; each at most once.
    init(_ names: [(name: String, value: Int)]) {
        for (name, value) in names {
            let bytes = Array(name.utf8)
            if bytes.starts(with: [UInt8(ascii: "*"), UInt8(ascii: ".")]) {
                wildcard.append(Entry(name: Array(bytes.dropFirst(2)), value: value))
            } else {
                exact.append(Entry(name: bytes, value: value))
            }
        }
        exact.sort { $0.name.lexicographicallyPrecedes($1.name) }
        wildcard.sort { $0.name.lexicographicallyPrecedes($1.name) }
    }

    /// The number of a name in lower case; O(log n), allocates nothing.
    func find(_ name: Span<UInt8>) -> Int? {
        guard !name.isEmpty else { return nil }
        if let value = NameIndex.search(exact, name) { return value }
        var dot = 0
        while dot < name.count && name[dot] != UInt8(ascii: ".") { dot += 1 }
        guard dot > 0, dot < name.count else { return nil }
        return NameIndex.search(wildcard, name.extracting((dot + 1)..<name.count))
    }

    private static func search(_ entries: [Entry], _ name: Span<UInt8>) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            let entry = entries[middle]
            switch order(entry.name, name) {
            case 0: return entry.value
            case ..<0: low = middle + 1
            default: high = middle
            }
        }
        return nil
    }

    /// Negative, zero or positive, as the first precedes, equals or follows the second.
    private static func order(_ a: [UInt8], _ b: Span<UInt8>) -> Int {
        for index in 0..<min(a.count, b.count) where a[index] != b[index] {
            return Int(a[index]) - Int(b[index])
        }
        return a.count - b.count
    }
}

/// Which certificates serve together: computed once from the list of a listener.
struct CertificatePlan {
    /// Sets of positions in the list; each set goes into one library context.
    let sets: [[Int]]
    let names: NameIndex
    /// The set for clients that name nothing known.
    let fallback: Int

    init(_ certificates: [TLSCertificate]) {
        var sets: [[Int]] = []
        func number(of set: [Int]) -> Int {
            if let known = sets.firstIndex(of: set) { return known }
            sets.append(set)
            return sets.count - 1
        }
        var seen: Set<String> = []
        var values: [(name: String, value: Int)] = []
        for name in certificates.flatMap(\.names) where seen.insert(name).inserted {
            values.append((name, number(of: CertificatePlan.firstOfEachKind(certificates, name))))
        }
        let first = certificates[0].names.first
        fallback =
            first.map { number(of: CertificatePlan.firstOfEachKind(certificates, $0)) }
            ?? number(of: [0])
        self.sets = sets
        names = NameIndex(values)
    }

    /// The first RSA, ECDSA and other certificate that has a name.
    private static func firstOfEachKind(
        _ certificates: [TLSCertificate],
        _ name: String
    ) -> [Int] {
        var kinds: [TLSCertificate.KeyKind] = []
        return certificates.indices.filter { index in
            let certificate = certificates[index]
            guard certificate.names.contains(name), !kinds.contains(certificate.keyKind) else {
                return false
            }
            kinds.append(certificate.keyKind)
            return true
        }
    }
}
