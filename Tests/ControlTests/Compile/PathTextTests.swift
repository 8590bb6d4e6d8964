// Proves that paths of documents meet the normal form of requests' paths.
import Testing

@testable import Control

@Suite struct PathTextTests {
    @Test(arguments: [
        ("/", "/"), ("/a/b", "/a/b"), ("/%61%7e%2D%5f%31", "/a~-_1"), ("/%2F%5C%20", "/%2F%5C%20"),
        ("/a%c3%a4", "/a%c3%a4"), ("/100%", "/100%"), ("/a%4", "/a%4"), ("/%41%", "/A%"),
    ])
    func `escapes of unreserved characters are decoded and others stay`(
        path: String, matched: String
    ) {
        #expect(PathText.matched(path) == matched)
    }
}
