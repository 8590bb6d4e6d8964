// Proves that every known name is recognised in any case, and nothing else is.
import Testing

@testable import HTTP

@Suite struct FieldNameTests {
    private static func name(_ id: FieldName) -> String { id.text.description }

    @Test(arguments: FieldName.allCases.filter { $0 != .other })
    func `a known name is recognised in any case and place`(_ id: FieldName) {
        let name = Self.name(id)
        for spelled in [name, name.uppercased(), name.prefix(1).uppercased() + name.dropFirst()] {
            #expect(FieldName.recognise(bytes(spelled).span) == id)
            let within = bytes("xx" + spelled + ": value\r\n")
            #expect(FieldName.recognise(within.span, at: 2, count: name.utf8.count) == id)
        }
    }

    @Test(arguments: FieldName.allCases.filter { $0 != .other })
    func `a name that differs in one byte is another`(_ id: FieldName) {
        let name = bytes(Self.name(id))
        for i in name.indices {
            for byte in bytes("qz_~0-") where byte != name[i] {
                var changed = name
                changed[i] = byte
                let found = FieldName.recognise(changed.span)
                #expect(found == .other || bytes(Self.name(found)) == changed)
            }
        }
        #expect(FieldName.recognise((name + bytes("x")).span) == .other)
        #expect(FieldName.recognise(Array(name.dropLast()).span) == .other)
    }

    @Test func `an empty or a long name is another`() {
        #expect(FieldName.recognise([UInt8]().span) == .other)
        for count in 1...80 {
            #expect(FieldName.recognise([UInt8](repeating: 0x71, count: count).span) == .other)
        }
    }

    @Test func `names are distinct, small, and of at most 32 bytes`() {
        var seen: Set<String> = []
        for id in FieldName.allCases where id != .other {
            let name = Self.name(id)
            #expect(seen.insert(name).inserted && name.utf8.count <= 32)
            #expect(name == name.lowercased() && Token.isToken(bytes(name).span))
        }
    }
}
