// Proves that a session's token leads to the rule and the endpoint that it was made for, and nowhere else.
import HTTP
import Testing

@testable import Routing

@Suite struct SessionTokenTests {
    private static let key = SessionKey(1, 2)

    private func parsed(_ text: String) -> SessionToken? {
        SessionToken(parsing: Array(text.utf8).span)
    }

    private func text(_ token: SessionToken) -> String {
        let digits = token.text
        return String(decoding: (0..<32).map { digits[$0] }, as: UTF8.self)
    }

    @Test func `the proof is SipHash-2-4 as its authors publish it`() {
        // Key 00 … 0f, message 00 … 07.
        var state = SipState(0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908)
        state.take(0x0706_0504_0302_0100)
        state.take(8 << 56)
        #expect(state.finish() == 0x93F5_F579_9A93_2462)
    }

    @Test func `a token is read as it was written`() throws {
        let token = SessionToken(
            began: 1_700_000_000, used: 1_700_000_123, rule: 7, endpoint: 9, under: Self.key)
        let back = try #require(parsed(text(token)))
        #expect(back == token)
        #expect(back.belongs(toRule: 7, endpoint: 9, under: Self.key))
        #expect(!back.belongs(toRule: 7, endpoint: 8, under: Self.key))
        #expect(!back.belongs(toRule: 8, endpoint: 9, under: Self.key))
    }

    @Test func `keys that sign no more are taken as long as the rule has them`() throws {
        let keys = [SessionKey(1, 2), SessionKey(3, 4)]
        let table = try TableBuilder(
            TableDescription(rules: [
                RuleDescription(id: 0, session: SessionRule(name: "a", key: 7, secrets: keys)),
                RuleDescription(id: 1, session: SessionRule(name: "b", key: 7, secrets: [keys[1]])),
            ])
        ).build()
        let (both, second) = (table.session(rule: 0), table.session(rule: 1))
        let (first, last) = (try #require(both), try #require(second))
        let token = table.token(began: 1, used: 2, first, endpoint: 9)
        let (own, others) = (
            table.key(of: token, first, endpoint: 9), table.key(of: token, last, endpoint: 9)
        )
        #expect(token.belongs(toRule: 7, endpoint: 9, under: keys[0]))
        #expect(own == 0 && others == nil)
        let old = table.token(began: 1, used: 2, last, endpoint: 9)
        let (taken, elsewhere) = (
            table.key(of: old, first, endpoint: 9), table.key(of: old, first, endpoint: 8)
        )
        #expect(taken == 1 && elsewhere == nil)
    }

    @Test func `a token with any other digit leads nowhere`() throws {
        let whole = Array(
            text(SessionToken(began: 1, used: 2, rule: 3, endpoint: 4, under: Self.key)).utf8)
        for at in whole.indices {
            var bytes = whole
            bytes[at] = bytes[at] == 0x30 ? 0x31 : 0x30
            if bytes == whole { continue }
            let made = SessionToken(parsing: bytes.span)
            let token = try #require(made)
            #expect(!token.belongs(toRule: 3, endpoint: 4, under: Self.key))
        }
    }

    @Test(arguments: [
        "", "0", String(repeating: "0", count: 31), String(repeating: "0", count: 33),
        String(repeating: "G", count: 32), String(repeating: "A", count: 32),
    ])
    func `other text is no token`(text: String) { #expect(parsed(text) == nil) }

    @Test func `a session lasts as long as its rule says`() throws {
        let rule = SessionRule(name: "a", absoluteSeconds: 100, idleSeconds: 10, key: 1)
        let table = try TableBuilder(
            TableDescription(rules: [RuleDescription(id: 0, session: rule)])
        ).build()
        let found = table.session(rule: 0)
        let row = try #require(found)
        func isValid(_ began: UInt32, _ used: UInt32, at now: UInt32) -> Bool {
            row.isValid(
                SessionToken(began: began, used: used, rule: 1, endpoint: 2, under: Self.key),
                now: now)
        }
        #expect(isValid(1_000, 1_000, at: 1_000))
        #expect(isValid(1_000, 1_000, at: 1_009))
        #expect(!isValid(1_000, 1_000, at: 1_010))
        #expect(isValid(1_000, 1_095, at: 1_099))
        #expect(!isValid(1_000, 1_095, at: 1_100))
        // From a gateway whose clock is ahead, and from nowhere.
        #expect(isValid(1_030, 1_030, at: 1_000))
        #expect(!isValid(5_000, 5_000, at: 1_000))
        #expect(table.rules[0].flags.isSuperset(of: [.sessions, .responseFilters]))
    }

    @Test(arguments: [
        ("s=TOKEN", true), ("a=1; s=TOKEN; b=2", true), ("a=1;s=TOKEN", true),
        ("xs=TOKEN", false), ("s=TOKENx", false), ("s=TOKE; s=TOKEN", true), ("S=TOKEN", false),
        ("s", false), ("", false), ("; ;;", false), ("s=\"TOKEN\"", false),
    ])
    func `a token is found among cookies`(row: (list: String, isFound: Bool)) {
        let token = SessionToken(began: 1, used: 2, rule: 3, endpoint: 4, under: Self.key)
        let list = row.list.replacing("TOKEN", with: text(token))
        let found = Table.token(Array("s".utf8).span, inCookies: Array(list.utf8).span)
        #expect((found == token) == row.isFound)
    }
}
