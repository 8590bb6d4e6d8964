// A model's name holds 1 to 256 bytes, and compares by them.
import Testing

@testable import Inference

@Suite struct ModelNameTests {
    @Test func `a name has 1 to 256 bytes`() {
        #expect(ModelName([UInt8]().span) == nil)
        #expect(ModelName([UInt8](repeating: 0x61, count: 257).span) == nil)
        #expect(ModelName([UInt8](repeating: 0x61, count: 256).span)?.count == 256)
    }

    @Test func `names are equal by their bytes`() {
        var name = ModelName()
        for byte in "llama3".utf8 { #expect(name.append(byte)) }
        #expect(name == ModelName(Array("llama3".utf8).span))
        #expect(name != ModelName(Array("llama".utf8).span))
        #expect(name != ModelName(Array("llama4".utf8).span))
    }

    @Test func `a full name takes no byte more`() {
        var name = ModelName()
        for _ in 0..<256 { #expect(name.append(0x61)) }
        #expect(!name.append(0x61))
        #expect(name.count == 256)
    }
}
