// Proves that requests of our own are valid before they are written.
import Testing

@testable import HTTP

@Suite struct RequestHeadBuildingTests {
    @Test(arguments: ["", "a", "/a b", "*x", "/\r\n"])
    func `a request of our own needs a valid target`(_ target: String) {
        var head = RequestHead()
        check(!head.begin(method: .get, target: bytes(target).span, authority: bytes("a").span))
    }

    @Test func `a request of our own needs a valid authority and a known method`() {
        var head = RequestHead()
        check(!head.begin(method: .get, target: bytes("/").span, authority: bytes("a b").span))
        check(!head.begin(method: .other, target: bytes("/").span, authority: bytes("a").span))
        check(head.begin(method: .options, target: bytes("*").span, authority: [UInt8]().span))
        check(text(write(head, .none)) == "OPTIONS * HTTP/1.1\r\n\r\n")
    }
}
