// Proves the indexes of texts against plain search, in both forms, and the words they compare by.

import BasicContainers
import Testing

@testable import Routing

@Suite struct TextIndexTests {
    /// Indexes over these texts, numbered by their places.
    private struct Built: ~Copyable {
        let indexes: TextIndexes
        let index: TextIndex
        let arena: RigidArray<UInt8>

        init(_ texts: [String]) {
            var arena = ArenaBuilder()
            var builder = TextIndexesBuilder()
            let entries = texts.enumerated().map { i, text in
                (text: arena.keep(text), value: Int32(i))
            }
            index = builder.add(entries, arena)
            indexes = builder.build()
            self.arena = arena.build()
        }

        func find(_ text: String) -> Int32 {
            let bytes = Array(text.utf8)
            return indexes.find(index, bytes.span, 0, count: bytes.count, arena.span)
        }

        /// All that `next` finds in a text that stands in the middle of other bytes.
        func parents(_ text: String) -> [Int32] {
            let bytes = Array("/./.\(text)/./.".utf8)
            let range = 4..<(4 + text.utf8.count)
            var cursor = 0
            var found: [Int32] = []
            while true {
                let value = indexes.next(index, bytes.span, range, arena.span, &cursor)
                if value < 0 { return found }
                found.append(value)
            }
        }
    }

    /// The parents of a name, longest first.
    private func expected(_ texts: [String], _ text: String) -> [Int32] {
        let hits = texts.indices.filter {
            text.hasSuffix("." + texts[$0]) && !text.hasPrefix("." + texts[$0])
        }
        return hits.sorted { texts[$0].utf8.count > texts[$1].utf8.count }.map(Int32.init)
    }

    @Test(arguments: [0, 1, 2, 5, 6, 7, 20, 300])
    func `whole texts are found`(count: Int) {
        var random = SeededRandom(seed: UInt64(count) + 1)
        var texts: Set<String> = []
        while texts.count < count { texts.insert(Self.path(&random)) }
        let list = texts.sorted()
        let built = Built(list)
        for _ in 0..<2_000 {
            let text = Self.path(&random)
            #expect(built.find(text) == Int32(list.firstIndex(of: text) ?? -1))
        }
    }

    @Test(arguments: [0, 1, 2, 5, 6, 7, 20, 300])
    func `parents of names are found`(count: Int) {
        var random = SeededRandom(seed: UInt64(count) + 9)
        func name() -> String {
            String(Self.path(&random).dropFirst()).replacing("/", with: ".")
        }
        var texts: Set<String> = []
        while texts.count < count { texts.insert(name()) }
        let list = texts.sorted()
        let built = Built(list)
        for _ in 0..<2_000 {
            let text = name()
            #expect(built.parents(text) == expected(list, text))
        }
    }

    private static func path(_ random: inout SeededRandom) -> String {
        let elements = ["a", "b", "ab", "a-longer-element", "x1234567"]
        return (0...Int.random(in: 0...4, using: &random))
            .map { _ in "/" + (elements.randomElement(using: &random) ?? "") }.joined()
    }

    @Test func `bytes are compared whole at every length and offset`() {
        func isEqual(_ a: [UInt8], _ aStart: Int, _ b: [UInt8], _ bStart: Int, _ count: Int) -> Bool
        {
            Bytes.equal(a.span, aStart, b.span, bStart, count: count)
        }
        func hash(_ bytes: [UInt8], _ start: Int, _ count: Int) -> UInt32 {
            Bytes.hash(bytes.span, start, count: count)
        }
        let a = (0..<64).map { UInt8($0 * 7 & 0xFF) }
        var wrong = 0
        for count in 0...40 {
            for start in 0...(a.count - count) {
                // The copy ends where its array ends, so that no word may be read behind it.
                var b = Array(a[start..<(start + count)])
                if !isEqual(a, start, b, 0, count) { wrong += 1 }
                if hash(a, start, count) != hash(b, 0, count) { wrong += 1 }
                for i in b.indices {
                    b[i] ^= 0x80
                    if isEqual(a, start, b, 0, count) || isEqual(b, 0, a, start, count) {
                        wrong += 1
                    }
                    b[i] ^= 0x80
                }
            }
        }
        #expect(wrong == 0)
    }

    @Test func `names are compared without case at every length`() {
        func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
            Bytes.equalFolding(a.span, 0, b.span, 0, count: a.count)
        }
        var wrong = 0
        for count in 0...40 {
            let lower = (0..<count).map { UInt8(0x61 + $0 % 26) }
            if !isEqual(lower, lower) { wrong += 1 }
            if !isEqual(lower.map { $0 & 0xDF }, lower) { wrong += 1 }
            for i in 0..<count {
                var other = lower
                other[i] = 0x5F
                if isEqual(other, lower) { wrong += 1 }
                other[i] = lower[i] ^ 0x20
                if !isEqual(other, lower) { wrong += 1 }
            }
        }
        #expect(wrong == 0)
    }

    @Test func `hashes spread`() {
        let hashes = (0..<10_000).map { i in
            let bytes = Array("/service-\(i)/v1".utf8)
            return Bytes.hash(bytes.span, 0, count: bytes.count)
        }
        #expect(Set(hashes).count > 9_995)
        for shift in [0, 8, 16] {
            var buckets = [Int](repeating: 0, count: 64)
            for hash in hashes { buckets[Int(hash >> UInt32(shift)) & 63] += 1 }
            #expect(buckets.allSatisfy { (90...230).contains($0) })
        }
    }

    @Test func `equal texts are kept once`() {
        var arena = ArenaBuilder()
        let first = arena.keep("abc")
        #expect(arena.keep("abc") == first)
        #expect(arena.keep("abcd") != first)
        #expect(arena.keep("") == .empty)
        #expect(arena.bytes.count == 7)
        let built = arena.build()
        #expect(built.count == 7 + Bytes.padding)
    }
}
