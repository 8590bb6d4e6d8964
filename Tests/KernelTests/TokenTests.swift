// A token gives back the parts that it was made of.
import Kernel
import Testing

struct TokenTests {
    @Test(
        arguments: [
            (0, 0, 0), (255, .max, 0xFF_FFFF), (1, 2, 3), (0x80, 0x8000_0000, 0x80_0000),
        ] as [(UInt8, UInt32, UInt32)])
    func `the parts come out as they went in`(kind: UInt8, slot: UInt32, generation: UInt32) {
        let token = Token(kind: kind, slot: slot, generation: generation)
        #expect(token.kind == kind)
        #expect(token.slot == slot)
        #expect(token.generation == generation)
        #expect(token.id == SlotID(slot: slot, generation: generation))
        #expect(Token(raw: token.raw) == token)
        #expect(Token(kind: kind, SlotID(slot: slot, generation: generation)) == token)
    }

    @Test func `only 24 bits of the generation are kept`() {
        #expect(Token(kind: 1, slot: 2, generation: 0xAB12_3456).generation == 0x12_3456)
        #expect(Token(kind: 1, slot: 2, generation: 0xAB12_3456).kind == 1)
    }

    @Test func `no slot is none`() {
        #expect(SlotID.none.isNone)
        #expect(!SlotID(slot: 0, generation: 0).isNone)
    }
}
