/// Finds the name that somebody probably meant.
enum NearestName {
    /// The nearest of the candidates, or nil when none is near.
    ///
    /// Near is: the same but for case; at most a third of the letters mistyped, missing, surplus
    /// or swapped; or a shortened form ("Prefx" for "PathPrefix"). Of equals the first wins.
    /// Takes time in proportion to the product of the lengths; names over 64 letters are not
    /// compared.
    static func suggestion(for name: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(name.lowercased().utf8)
        guard (1...64).contains(wanted.count) else { return nil }
        var best: (name: String, score: Int)?
        for candidate in candidates where candidate != name {
            let letters = Array(candidate.lowercased().utf8)
            guard (1...64).contains(letters.count) else { continue }
            guard let score = score(wanted, letters) else { continue }
            if best.map({ score < $0.score }) ?? true { best = (candidate, score) }
        }
        return best?.name
    }

    /// How far apart two names are, in halves of a letter; nil when they are not near.
    private static func score(_ a: [UInt8], _ b: [UInt8]) -> Int? {
        let distance = distance(a, b, freeEnds: false)
        if distance <= max(1, min(a.count, b.count) / 3) { return distance * 2 }
        guard a.count >= 4, a.count < b.count else { return nil }
        let inside = Self.distance(a, b, freeEnds: true)
        return inside <= a.count / 5 ? inside * 2 + 3 : nil
    }

    /// The edit distance with swaps of neighbours counted as one; with free ends, of `a` to the
    /// nearest part of `b`.
    private static func distance(_ a: [UInt8], _ b: [UInt8], freeEnds: Bool) -> Int {
        var before: [Int] = []
        var above = freeEnds ? Array(repeating: 0, count: b.count + 1) : Array(0...b.count)
        for i in 1...a.count {
            var row = [i]
            row.reserveCapacity(b.count + 1)
            for j in 1...b.count {
                let change = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                var least = min(change, above[j] + 1, row[j - 1] + 1)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    least = min(least, before[j - 2] + 1)
                }
                row.append(least)
            }
            before = above
            above = row
        }
        return freeEnds ? above.min() ?? a.count : above[b.count]
    }
}

/// Lists names as a sentence does: `A, B or C`.
func sentenceList(_ names: [String], _ conjunction: String) -> String {
    guard let last = names.last else { return "" }
    if names.count == 1 { return last }
    return names.dropLast().joined(separator: ", ") + " \(conjunction) " + last
}
