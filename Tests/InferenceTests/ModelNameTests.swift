// A model's name holds 1 to 256 bytes, and compares by them.
import Testing

@testable import Inference

@Suite struct ModelNameTests {
    @Test func `a name has 1 to 256 bytes`() {
        #expect(ModelName([UInt8]().span) == nil)
        #expect(ModelName([UInt8](repeating: 0x61, count: 257).span) == nil)
        #expect(ModelName([UInt8](repeating: 0x61, count: 256).span)?.count == 256)
    }

    /// A name made of the bytes one by one, and whether each was taken.
    private func appended(_ bytes: [UInt8]) -> (name: ModelName, taken: [Bool]) {
        var name = ModelName()
        let taken = bytes.map { name.append($0) }
        return (name, taken)
    }

    @Test func `names are equal by their bytes`() {
        let (name, taken) = appended(Array("llama3".utf8))
        #expect(!taken.contains(false))
        #expect(name == ModelName(Array("llama3".utf8).span))
        #expect(name != ModelName(Array("llama".utf8).span))
        #expect(name != ModelName(Array("llama4".utf8).span))
    }

    @Test func `a full name takes no byte more`() {
        let (name, taken) = appended([UInt8](repeating: 0x61, count: 257))
        #expect(taken == [Bool](repeating: true, count: 256) + [false])
        #expect(name.count == 256)
    }
}
