// Proves that a listener's terms change when somebody who was let in no longer is, and only then.
import Testing

@testable import Control

@Suite struct ClientValidationTests {
    private static func pem(_ names: String) -> [UInt8] {
        names.flatMap { name in
            let content = Documents.base64("\u{30}\(name)")
            return Array(
                "-----BEGIN CERTIFICATE-----\n\(content)\n-----END CERTIFICATE-----\n".utf8)
        }
    }

    private static func required(_ names: String) -> ClientValidation {
        ClientValidation(sources: [], authorities: pem(names), isRequired: true)
    }

    private static func requested(_ names: String) -> ClientValidation {
        ClientValidation(sources: [], authorities: pem(names), isRequired: false)
    }

    static let changes: [(ClientValidation?, ClientValidation?, isStricter: Bool)] = [
        (nil, nil, false), (nil, requested("a"), false), (nil, required("a"), true),
        (requested("a"), nil, false), (requested("a"), requested("b"), false),
        (requested("a"), required("a"), true),
        (required("a"), nil, false), (required("a"), requested("b"), false),
        (required("a"), required("a"), false), (required("a"), required("ab"), false),
        (required("ab"), required("ba"), false), (required("ab"), required("a"), true),
        (required("a"), required("b"), true), (required("ab"), required("bc"), true),
    ]

    @Test(arguments: changes.indices) func `terms change when less is let in`(row: Int) {
        let (old, new, isStricter) = Self.changes[row]
        var identities = Identities()
        let first = identities.terms(old, of: 7)
        #expect(first == identities.terms(old, of: 7))
        let second = identities.terms(new, of: 7)
        #expect((second != first) == isStricter)
        #expect(second == identities.terms(new, of: 7))
        #expect(identities.terms(nil, of: 8) == 0)
    }

    @Test func `terms of before never come again`() {
        var identities = Identities()
        var seen: Set<UInt32> = []
        for _ in 0..<3 {
            #expect(seen.insert(identities.terms(Self.required("a"), of: 1)).inserted)
            #expect(seen.insert(identities.terms(Self.required("b"), of: 1)).inserted)
        }
    }
}
