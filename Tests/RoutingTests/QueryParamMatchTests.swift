// Proves conditions on query parameters (HTTPQueryParamMatch): exact, by case, first value counts.

import HTTP
import Testing

@testable import Routing

@Suite struct QueryParamMatchTests {
    @Test(
        arguments: [
            ([("a", "1")], "/?a=1", true), ([("a", "1")], "/?b=2&a=1", true),
            ([("a", "1")], "/?a=1&b=2", true), ([("a", "1")], "/?a=2", false),
            ([("a", "1")], "/?A=1", false), ([("a", "x")], "/?a=X", false),
            ([("a", "1")], "/?aa=1", false), ([("a", "1")], "/?a=11", false),
            ([("a", "1")], "/", false), ([("a", "1")], "/?", false), ([("a", "1")], "/?a", false),
            ([("a", "1")], "/?a=1&a=2", true), ([("a", "2")], "/?a=1&a=2", false),
            ([("a", "1"), ("b", "2")], "/?b=2&a=1", true),
            ([("a", "1"), ("b", "2")], "/?a=1", false),
            // Of equal names only the first condition counts; names are told apart by case.
            ([("a", "1"), ("a", "2")], "/?a=1", true), ([("a", "1"), ("a", "2")], "/?a=2", false),
            ([("a", "1"), ("A", "2")], "/?a=1", false),
            ([("a", "1"), ("A", "2")], "/?a=1&A=2", true),
            ([("a", "")], "/?a=", true), ([("a", "")], "/?a", true), ([("a", "")], "/?b", false),
            ([("a", "1")], "/?&&a=1&", true), ([("a", "b=c")], "/?a=b=c", true),
            ([("model", "llama3:8b")], "/?model=llama3%3A8b", true),
            ([("model", "llama3:8b")], "/?model=llama3%3a8b", true),
            ([("model", "llama3:8b")], "/?model=llama3:8b", true),
            ([("mo del", "x y")], "/?mo+del=x%20y", true), ([("a", "+")], "/?a=%2B", true),
            ([("a", "%")], "/?a=%25", true), ([("a", "1")], "/?a=1%00", false),
        ] as [([(String, String)], String, Bool)])
    func `all conditions must hold`(
        conditions: [(String, String)], target: String, isMatch: Bool
    ) throws {
        let table = try table(TableDescription([match(query: conditions)]))
        #expect((table.rule(Request(target)) == 0) == isMatch)
    }

    @Test(arguments: [
        ("v[0-9]", "/?a=v1", true), ("v[0-9]", "/?a=v12", false), ("v[0-9]", "/?a=%761", true),
        ("v 1", "/?a=v+1", true), (".*", "/?b=1", false), ("", "/?a", true),
    ])
    func `a pattern matches the whole decoded value`(
        pattern: String, target: String, isMatch: Bool
    ) throws {
        var condition = match()
        condition.query = [ValueMatch(name: "a", value: pattern, isRegularExpression: true)]
        let table = try table(TableDescription([condition]))
        #expect((table.rule(Request(target)) == 0) == isMatch)
    }

    /// A query that is not valid never arrives, so these go past the parser of heads.
    @Test(arguments: [
        ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%4g", "%4g"), ("%41%", "A%"), ("a%2", "a%2"),
        ("%%41", "%A"),
    ])
    func `a broken escape stands for itself`(text: String, decoded: String) {
        let bytes = Array(text.utf8)
        let wanted = Array(decoded.utf8)
        let range = ArenaRange(start: 0, count: UInt32(wanted.count))
        #expect(equals(bytes, wanted, range))
        for count in 0..<wanted.count {
            #expect(!equals(bytes, wanted, ArenaRange(start: 0, count: UInt32(count))))
        }
    }

    private func equals(_ bytes: [UInt8], _ wanted: [UInt8], _ range: ArenaRange) -> Bool {
        QueryParam.equals(bytes.span, 0..<bytes.count, wanted.span, range)
    }
}
