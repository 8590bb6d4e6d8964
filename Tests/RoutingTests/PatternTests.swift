// Proves regular expressions: the whole value, every bound is met quickly, counted, and no match.

import HTTP
import Testing

@testable import Routing

@Suite struct PatternTests {
    private func outcome(_ pattern: String, _ value: [UInt8]) throws -> Pattern.Outcome {
        let memory = PatternMemory()
        return try Pattern(pattern).match(value.span, memory)
    }

    @Test(arguments: [
        ("a", "a", true), ("a", "ab", false), ("a", "ba", false), ("a|ab", "ab", true),
        ("a*", "", true), ("", "", true), ("", "a", false), ("/v[12]/.*", "/v1/models", true),
        ("/v[12]/.*", "/v3/models", false), ("a$", "a\n", false), (".", "\n", false),
        ("(?i)abc", "ABC", true), ("(?P<n>a)b", "ab", true), ("\\d+", "12", true),
        ("(a)\\1", "aa", true), ("a{2,3}", "aaaa", false), ("^a$", "a", true),
    ])
    func `the whole value must match`(pattern: String, value: String, isMatch: Bool) throws {
        #expect(try outcome(pattern, Array(value.utf8)) == (isMatch ? .match : .noMatch))
    }

    @Test func `bytes that are not UTF-8 are plain bytes`() throws {
        #expect(try outcome("a.b", [0x61, 0xFF, 0x62]) == .match)
        #expect(try outcome("..", Array("é".utf8)) == .match)
        #expect(try outcome("é", Array("é".utf8)) == .match)
        #expect(try outcome("a\\x00b", [0x61, 0, 0x62]) == .match)
    }

    @Test(arguments: ["(", "[", "a{2,1}", "*", "(?<n", "\\", "(*UTF)a", "(*UCP)a", "\\C"])
    func `a pattern that is none is refused with its place`(pattern: String) throws {
        #expect(throws: PatternError.self) { try Pattern.check(pattern) }
        do throws(PatternError) {
            try Pattern.check(pattern)
        } catch {
            #expect(error.pattern == pattern)
            #expect(!error.message.isEmpty)
            #expect(error.offset <= pattern.utf8.count)
            #expect(error.description.contains(pattern))
        }
    }

    @Test func `a pattern over its length is refused`() throws {
        let longest = String(repeating: "a", count: Pattern.patternBytesMax)
        try Pattern.check(longest)
        #expect(throws: PatternError.self) { try Pattern.check(longest + "a") }
        #expect(throws: PatternError.self) { try Pattern.check("((((a{999}){999}){999}){999})") }
        let nested = String(repeating: "(", count: 2_000) + String(repeating: ")", count: 2_000)
        #expect(throws: PatternError.self) { try Pattern.check(nested) }
    }

    @Test(arguments: [
        ("(a+)+", 40), ("(a|a)*", 40), ("(a|aa)+", 60), ("(.*)*x", 200), ("(.*?,){11}P", 4_000),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", 60), ("(x+x+)+y", 60), ("(?:a?){64}a{64}", 64),
    ])
    func `a catastrophic pattern ends quickly and is no match`(
        pattern: String, count: Int
    ) throws {
        let compiled = try Pattern(pattern)
        let memory = PatternMemory()
        let letter: UInt8 = pattern.contains("x") ? UInt8(ascii: "x") : UInt8(ascii: "a")
        let value = [UInt8](repeating: letter, count: count) + [UInt8(ascii: "!")]
        let clock = ContinuousClock()
        let start = clock.now
        for _ in 0..<10 { #expect(compiled.match(value.span, memory) != .match) }
        // Ten bounded matches take milliseconds; unbounded ones would take years.
        #expect(clock.now - start < .seconds(5))
    }

    @Test func `a bound that is met is counted`() throws {
        let table = try table(TableDescription([match(.regularExpression("/(a|aa)+[bc]"))]))
        #expect(table.patternLimitCount == 0)
        let path = "/" + String(repeating: "a", count: 200)
        for _ in 0..<3 { #expect(table.rule(Request(path)) == -1) }
        #expect(table.patternLimitCount == 3)
        #expect(table.rule(Request("/aab")) == 0)
        #expect(table.patternLimitCount == 3)
        #expect(table.clone().patternLimitCount == 0)
    }

    @Test(arguments: [(8, Pattern.Outcome.noMatch), (30, .limit), (1_000, .limit)])
    func `steps are bounded, not the length of a value`(
        count: Int, outcome expected: Pattern.Outcome
    ) throws {
        // As many steps as the Fibonacci number of the length: millions for 30.
        let value = [UInt8](repeating: 0x61, count: count)
        #expect(try outcome("(a|aa)+[bc]", value) == expected)
        let long = [UInt8](repeating: 0x61, count: 60_000)
        #expect(try outcome("[a-z]+", long) == .match)
    }

    @Test func `a pattern cannot raise its own bounds`() throws {
        let value = [UInt8](repeating: 0x61, count: 200)
        #expect(try outcome("(*LIMIT_MATCH=4000000000)(a|aa)+[bc]", value) == .limit)
    }

    @Test func `recursion is bounded`() throws {
        let value = [UInt8](repeating: UInt8(ascii: "("), count: 60_000)
        #expect(try outcome("(\\((?1)*\\))", value) != .match)
    }

    @Test func `a pattern is compiled once however often it is used`() throws {
        var matches = (0..<10).map { _ in match(.regularExpression("/a.*")) }
        matches[0].headers = [ValueMatch(name: "x", value: "/a.*", isRegularExpression: true)]
        let table = try table(TableDescription(matches))
        #expect(table.patterns.count == 1)
    }

    @Test func `one table serves many threads at once`() async throws {
        let shared = Shared(
            try table(TableDescription([match(.regularExpression("/([a-z]+/)*[0-9]+"))])))
        await withTaskGroup(of: Int.self) { group in
            for task in 0..<4 {
                group.addTask {
                    let head = Request("/abc/def/\(task)").head()
                    let other = Request("/abc/def/\(task)x").head()
                    var wrong = 0
                    for _ in 0..<2_000 {
                        if shared.table.match(listener: 0, head: head).rule != 0 { wrong += 1 }
                        if shared.table.match(listener: 0, head: other).rule != -1 { wrong += 1 }
                    }
                    return wrong
                }
            }
            for await wrong in group { #expect(wrong == 0) }
        }
    }

    private final class Shared: Sendable {
        let table: Table
        init(_ table: consuming Table) { self.table = table }
    }
}
