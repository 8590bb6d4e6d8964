// Proves which name is offered for a mistyped one, and that none is when none is near.
import Testing

@testable import Control

@Suite struct NearestNameTests {
    static let fields = [
        "backendRefs", "filters", "hostnames", "matches", "name", "parentRefs", "rules",
        "timeouts", "PathPrefix", "Exact", "RegularExpression", "port",
    ]

    @Test(
        arguments: [
            ("mathces", "matches"), ("Matches", "matches"), ("matche", "matches"),
            ("backendrefs", "backendRefs"), ("backendRef", "backendRefs"),
            ("hostname", "hostnames"),
            ("Prefx", "PathPrefix"), ("Prefix", "PathPrefix"), ("exact", "Exact"),
            ("Regex", nil), ("nmae", "name"), ("prot", "port"), ("colour", nil), ("x", nil),
            ("", nil), ("timeout", "timeouts"),
        ] as [(String, String?)])
    func `the nearest name is offered`(_ name: String, _ expected: String?) {
        #expect(NearestName.suggestion(for: name, among: Self.fields) == expected)
    }

    @Test func `of equally near names the first is offered`() {
        #expect(NearestName.suggestion(for: "aboc", among: ["abxc", "abyc"]) == "abxc")
        #expect(NearestName.suggestion(for: "aboc", among: ["abyc", "abxc"]) == "abyc")
    }

    @Test func `very long names are not compared`() {
        let name = String(repeating: "a", count: 65)
        #expect(NearestName.suggestion(for: name, among: [name + "b"]) == nil)
    }

    @Test(arguments: [
        ([], ""), (["A"], "A"), (["A", "B"], "A or B"), (["A", "B", "C"], "A, B or C"),
    ])
    func `a list reads as a sentence`(_ names: [String], _ expected: String) {
        #expect(sentenceList(names, "or") == expected)
    }
}
