// xxHash64 gives the published values, and prompts that begin alike have chains that begin alike.
import BasicContainers
import Testing

@testable import Inference

private func hash(_ text: String, seed: UInt64 = 0, cuts: [Int] = []) -> UInt64 {
    var hash = XXHash64(seed: seed)
    for piece in pieces(Array(text.utf8), cuts) { hash.update(piece.span) }
    return hash.digest
}

private func chain(
    _ prompt: [UInt8], model: String = "m", salt: String = "", blockBytes: Int = 64,
    limit: Int = 256,
    cuts: [Int] = [], room: Int = 1_024
) -> [UInt64] {
    var blocks = PrefixBlocks(
        model: name(model), salt: Array(salt.utf8).span, blockBytes: blockBytes, limit: limit)
    var hashes = RigidArray<UInt64>(capacity: room)
    for piece in pieces(prompt, cuts) { hashes.edit { blocks.update(piece.span, into: &$0) } }
    hashes.edit { blocks.finish(into: &$0) }
    return (0..<hashes.count).map { hashes[$0] }
}

@Suite struct PrefixBlocksTests {
    @Test(
        arguments: [
            ("", 0, 0xEF46_DB37_51D8_E999), ("a", 0, 0xD24E_C4F1_A98C_6E5B),
            ("as", 0, 0x1C33_0FB2_D66B_E179),
            ("asd", 0, 0x631C_37CE_72A9_7393), ("asdf", 0, 0x4158_72F5_99CE_A71E),
            ("abc", 0, 0x44BC_2CF5_AD77_0999),
            (
                "Call me Ishmael. Some years ago--never mind how long precisely-", 0,
                0x02A2_E854_70D6_FD96
            ),
            ("", 1, 0xD5AF_BA13_36A3_BE4B),
            ("Nobody inspects the spammish repetition", 0, 0xFBCE_A83C_8A37_8BF1),
        ] as [(String, UInt64, UInt64)])
    func `published values of xxHash64`(row: (text: String, seed: UInt64, hash: UInt64)) {
        #expect(hash(row.text, seed: row.seed) == row.hash)
        for cut in 0...row.text.utf8.count {
            #expect(hash(row.text, seed: row.seed, cuts: [cut]) == row.hash)
        }
    }

    @Test func `a chain is hashed as the reference does`() {
        let prompt = Array(String(repeating: "0123456789abcdef", count: 9).utf8)
        var previous = hash("msalt")
        var wanted: [UInt64] = []
        for start in stride(from: 0, to: prompt.count, by: 64) {
            var block = Array(prompt[start..<min(start + 64, prompt.count)])
            for i in 0..<8 { block.append(UInt8(truncatingIfNeeded: previous >> UInt64(8 * i))) }
            var one = XXHash64()
            one.update(block.span)
            previous = one.digest
            wanted.append(previous)
        }
        #expect(chain(prompt, salt: "salt") == wanted)
        #expect(wanted.count == 3)
        for cut in 0...prompt.count { #expect(chain(prompt, salt: "salt", cuts: [cut]) == wanted) }
        #expect(chain(prompt, salt: "salt", cuts: Array(0...prompt.count)) == wanted)
    }

    @Test func `what begins alike hashes alike`() {
        var random = Seeded(1)
        let prompt = (0..<2_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        let whole = chain(prompt)
        #expect(whole.count == 32)
        for at in [0, 63, 64, 640, 1_999] {
            var other = prompt
            other[at] ^= 1
            let changed = chain(other)
            #expect(changed.prefix(at / 64) == whole.prefix(at / 64))
            for i in (at / 64)..<32 { #expect(changed[i] != whole[i]) }
        }
        #expect(chain(prompt, model: "n").allSatisfy { !whole.contains($0) })
        #expect(chain(prompt, salt: "s").allSatisfy { !whole.contains($0) })
    }

    @Test func `blocks are as many as are asked for, and fit`() {
        let prompt = [UInt8](repeating: 7, count: 100_000)
        #expect(chain(prompt).count == 256)
        #expect(chain(prompt, limit: 5_000).count == 1_024)
        #expect(chain(prompt, limit: 0).isEmpty)
        #expect(chain(prompt, blockBytes: 1, limit: 9).count == 9)
        #expect(chain(prompt, room: 3) == Array(chain(prompt).prefix(3)))
        #expect(chain([]).isEmpty)
        #expect(chain([1]).count == 1)
        #expect(chain([UInt8](repeating: 1, count: 128)).count == 2)
    }
}
