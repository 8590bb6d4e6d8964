// Proves the index of prefixes against plain search: what is found first, and what follows from it.

import BasicContainers
import HTTP
import Testing

@testable import Routing

@Suite struct PrefixIndexTests {
    /// An index over these prefixes; rules, matches and buckets are their places.
    private struct Built: ~Copyable {
        let indexes: PrefixIndexes
        let index: PrefixIndex
        let arena: RigidArray<UInt8>

        init(_ texts: [String]) {
            var arena = ArenaBuilder()
            var builder = PrefixIndexesBuilder()
            // Another index before it, so that nothing begins at 0.
            _ = builder.add([.init(text: arena.keep("/other"), bucket: 0)], arena)
            let entries = texts.enumerated().map { i, text in
                PrefixIndexesBuilder.Entry(
                    text: arena.keep(text), bucket: Int32(i), rule: Int32(i), match: Int32(i))
            }
            index = builder.add(entries, arena)
            indexes = builder.build()
            self.arena = arena.build()
        }

        /// All prefixes of a path that stands between other bytes, longest first.
        func all(_ path: String, before: String, behind: String) -> [Int32] {
            let bytes = Array((before + path + behind).utf8)
            var found: [Int32] = []
            var slot = indexes.longest(
                index, bytes.span, before.utf8.count, count: path.utf8.count, arena)
            while slot >= 0 {
                found.append(indexes.slots[Int(slot)].bucket)
                slot = indexes.slots[Int(slot)].next
            }
            return found
        }

        /// What is found at once.
        func quick(_ path: String, before: String, behind: String) -> RouteMatch? {
            let bytes = Array((before + path + behind).utf8)
            return indexes.quick(
                index, bytes.span, before.utf8.count, count: path.utf8.count)
        }
    }

    private func expected(_ texts: [String], _ path: String) -> [Int32] {
        let hits = texts.indices.filter { i in
            texts[i].isEmpty || path == texts[i] || path.hasPrefix(texts[i] + "/")
        }
        return hits.sorted { texts[$0].utf8.count > texts[$1].utf8.count }.map(Int32.init)
    }

    /// Compares both ways of looking up with plain search; how many were found at once.
    private func check(_ texts: [String], _ paths: [String]) -> Int {
        let built = Built(texts)
        var quickCount = 0
        for path in paths {
            let wanted = expected(texts, path)
            for (before, behind) in [
                ("", ""), ("GET ", " HTTP/1.1"), ("/", "////////"), ("", "/"),
            ] {
                #expect(
                    built.all(path, before: before, behind: behind) == wanted,
                    "\(path)\(behind) in \(texts)")
                guard let quick = built.quick(path, before: before, behind: behind) else {
                    continue
                }
                #expect(quick.rule == wanted.first ?? -1, "\(path)\(behind) in \(texts)")
                #expect(quick.match == quick.rule)
                if quick.rule < 0 { continue }
                quickCount += 1
                #expect(Int(quick.prefixCount) == texts[Int(quick.rule)].utf8.count)
            }
        }
        return quickCount
    }

    private static func path(_ random: inout SeededRandom, depth: ClosedRange<Int>) -> String {
        let elements = [
            "a", "b", "ab", "v1", "a-longer-element", "x1234567", "a-longer-elemenu", "",
        ]
        return (0..<Int.random(in: depth, using: &random))
            .map { _ in "/" + (elements.randomElement(using: &random) ?? "") }.joined()
    }

    @Test(arguments: [0, 1, 2, 3, 7, 20, 60, 400])
    func `random prefixes are found`(count: Int) {
        var random = SeededRandom(seed: UInt64(count) + 1)
        var texts: Set<String> = []
        while texts.count < count {
            let text = Self.path(&random, depth: 0...(count < 100 ? 4 : 6))
            if !text.hasSuffix("/") { texts.insert(text) }
        }
        let paths =
            (0..<1_000).map { _ in Self.path(&random, depth: 1...7) } + ["*", "/"]
        let quick = check(texts.sorted(), paths)
        if count == 3 || count == 7 { #expect(quick > 50) }
    }

    @Test func `prefixes of every length are found, and none that differs in a byte`() {
        func text(_ count: Int) -> String {
            "/" + String(repeating: "abcdefghij", count: 8).prefix(count - 1)
        }
        for count in 1...75 where count != 1 {
            let prefix = text(count)
            var paths = [prefix, prefix + "/", prefix + "/x", prefix + "x", text(count + 1)]
            for i in prefix.utf8.indices {
                var other = Array(prefix.utf8)
                other[prefix.utf8.distance(from: prefix.startIndex, to: i)] ^= 0x03
                paths.append(String(decoding: other, as: UTF8.self))
            }
            let quick = check([prefix], paths)
            #expect(count > 24 || quick > 0)
        }
        // All of them at once, of which only one is before a slash.
        let all = (2...75).map(text)
        _ = check(all, all + all.map { $0 + "/y" } + [""])
    }

    @Test func `prefixes that differ only between their ends are told apart`() {
        let tenants = (0..<500).map { "/tenants-\($0 + 1_000)/chat/completions" }
        let short = (0..<500).map { "/tenants\($0 + 1_000)/chatting" }
        for texts in [tenants, short] {
            _ = check(texts, texts + texts.map { $0 + "/x" } + texts.map { $0 + "x" })
        }
    }

    @Test func `a table of usual prefixes finds most at once`() {
        let texts = [
            "", "/v1", "/v1/models", "/v1/chat", "/v1/chat/completions", "/v1/embeddings",
            "/v1/images/generations", "/assets", "/assets/css", "/docs", "/api", "/api/chat",
            "/api/generate", "/api/tags", "/health", "/admin", "/admin/users",
            "/admin/users/list", "/a", "/status", "/service-a", "/service-b",
        ]
        let built = Built(texts)
        var slow = 0
        for path in texts.dropFirst().map({ $0 + "/and/more" }) + texts.dropFirst() {
            if built.quick(path, before: "", behind: " HTTP/1.1") == nil { slow += 1 }
        }
        // Such as have an element's end where others of the same first bytes have theirs.
        #expect(slow <= 8)
        _ = check(texts, texts.map { $0 + "/and/more" } + texts)
    }

    @Test func `ends of elements are told for every place`() {
        for count in 1...80 {
            var bytes = [UInt8](repeating: UInt8(ascii: "."), count: count)
            // Bytes that differ from a slash by one bit, or by the one that carries.
            for i in bytes.indices where i % 5 == 1 { bytes[i] = 0x2E ^ UInt8(i & 1) << 7 }
            for place in 0..<count {
                let kept = bytes[place]
                bytes[place] = UInt8(ascii: "/")
                var wanted: UInt64 = count > 63 ? 0 : 1 << UInt64(count)
                if place < 64 { wanted |= 1 << UInt64(place) }
                for start in [0, 3] {
                    let all = [UInt8](repeating: UInt8(ascii: "/"), count: start) + bytes
                    let ends = PrefixIndexes.elementEnds(all.span, start, count: count)
                    #expect(ends == wanted, "\(count) \(place) \(start)")
                }
                bytes[place] = kept
            }
        }
    }

    @Test func `lanes of a word are told`() {
        var random = SeededRandom(seed: 5)
        for _ in 0..<5_000 {
            var word: UInt64 = 0
            var wanted: UInt64 = 0
            for i in 0..<8 as Range<UInt64> {
                let byte = ([0x2F, 0x2E, 0xAF, 0x00, 0x30] as [UInt8]).randomElement(using: &random)
                word |= UInt64(byte ?? 0) << (i * 8)
                if byte == 0x2F { wanted |= 1 << i }
            }
            #expect(Bytes.lanes(of: 0x2F, word) == wanted)
        }
    }
}
