// The admin port's token: the first line of a file, compared in one time, followed when it changes.
import Testing

@testable import Control

struct AdminTokenTests {
    @Test(arguments: ["secret", "secret\n", "  secret \t\r\nsecond line\n"])
    func `the first line is the token`(text: String) throws {
        #expect(try AdminToken.token(text, "file") == Array("secret".utf8))
    }

    @Test(arguments: ["", "\n", "   \nsecret", "two words", "sécret", "a\u{7f}b"])
    func `a line that no field can carry is refused`(text: String) {
        #expect(throws: AdminToken.Refused.self) { try AdminToken.token(text, "file") }
    }

    @Test func `a file that is not there is refused by its name`() {
        let refused = #expect(throws: AdminToken.Refused.self) {
            try AdminToken(path: "/nonexistent/token")
        }
        #expect(refused?.description.contains("/nonexistent/token") == true)
    }

    @Test func `a new file is followed, a bad one is not`() throws {
        let folder = try TemporaryFolder()
        try folder.write("token", "first\n")
        var token = try AdminToken(path: folder.path("token"))
        try folder.write("token", "second one is no token\n")
        token.refresh()
        #expect(token.bytes == Array("first".utf8))
        try folder.remove("token")
        token.refresh()
        #expect(token.bytes == Array("first".utf8))
        try folder.write("token", "third\n")
        token.refresh()
        #expect(token.bytes == Array("third".utf8))
    }

    @Test(arguments: [
        ("abc", "abc", true), ("abc", "abd", false), ("abc", "ab", false), ("ab", "abc", false),
        ("", "abc", false), ("abcabc", "abc", false), ("xbc", "abc", false),
    ])
    func `tokens are equal byte for byte`(given: String, token: String, isEqual: Bool) {
        #expect(AdminToken.isEqual(Array(given.utf8), Array(token.utf8)) == isEqual)
    }
}
