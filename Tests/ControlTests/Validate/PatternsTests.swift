// Proves which texts have the forms that the API demands.
import Testing

@testable import Control

@Suite struct PatternsTests {
    @Test(arguments: ["a", "a1", "1a", "a-b", "a--b", String(repeating: "a", count: 63)])
    func `labels are taken`(text: String) {
        #expect(Patterns.isLabel(text))
        #expect(Patterns.isSubdomain(text))
    }

    @Test(arguments: ["", "-a", "a-", "A", "a_b", "a.b", "ä", String(repeating: "a", count: 64)])
    func `what is no label is refused`(text: String) {
        #expect(!Patterns.isLabel(text))
    }

    @Test(arguments: [
        ("a.b", true), ("a.b-c.d", true), ("a..b", false), (".a", false), ("a.", false),
        ("a.-b", false), ("a-.b", false), ("*.a", false), ("a b", false),
    ])
    func `subdomains are labels between dots`(text: String, isOne: Bool) {
        #expect(Patterns.isSubdomain(text) == isOne)
    }

    @Test(arguments: [
        ("_http._tcp.lan", true), ("_ollama._tcp.gpu.example.org", true), ("_http._tcp", false),
        ("_http.tcp.lan", false), ("http._tcp.lan", false), ("__a._tcp.lan", false),
        ("_http._tcp.", false), ("_http._tcp.a b", false),
    ])
    func `names of SRV records have two labels with underscores`(text: String, isOne: Bool) {
        #expect(Patterns.isServiceName(text) == isOne)
    }

    @Test(arguments: [
        ("example.com", true), ("*.example.com", true), ("*.com", true), ("*", false),
        ("*.", false), ("a.*.com", false), ("*a.com", false), ("example.com:80", false),
        ("Example.com", false), (String(repeating: "a", count: 254), false),
    ])
    func `a hostname may begin with a wildcard label`(text: String, isOne: Bool) {
        #expect(Patterns.isHostname(text) == isOne)
    }

    @Test(arguments: [
        ("a", true), ("A_b.c-1", true), ("example.com/a", true), ("Example.com/a", false),
        ("", false),
        ("/a", false), ("a/", false), ("a/b/c", false), ("-a", false), ("a.", false),
        ("a b", false),
        (String(repeating: "a", count: 63), true), (String(repeating: "a", count: 64), false),
    ])
    func `keys of labels may begin with a subdomain`(text: String, isOne: Bool) {
        #expect(Patterns.isLabelKey(text) == isOne)
    }

    @Test(arguments: [("", true), ("a", true), ("1.0_rc-2", true), ("a/b", false), ("a-", false)])
    func `values of labels are names or empty`(text: String, isOne: Bool) {
        #expect(Patterns.isLabelValue(text) == isOne)
    }

    @Test(arguments: [
        ("HTTPRoute", true), ("a", true), ("A-b1", true), ("1a", false), ("a-", false),
        ("a/b", false), ("", false),
    ])
    func `kinds begin with a letter`(text: String, isOne: Bool) {
        #expect(Patterns.isKind(text) == isOne)
    }

    @Test(arguments: [
        ("X-Model", true), ("a!#$%&'*+-.^_`|~1", true), ("", false), ("a:", false), ("a b", false),
        (":method", false), ("ä", false), (String(repeating: "a", count: 257), false),
    ])
    func `field names are tokens`(text: String, isOne: Bool) {
        #expect(Patterns.isHeaderName(text) == isOne)
    }

    @Test(arguments: [
        ("a", true), ("a b\tc", true), ("a,b", true), ("", false), (" a", false), ("a ", false),
        ("a\nb", false), ("a\u{7F}", false), ("ä", true),
    ])
    func `field values have no control characters`(text: String, isOne: Bool) {
        #expect(Patterns.isHeaderValue(text) == isOne)
    }

    @Test(arguments: [
        ("HTTP", true), ("example.com/bar", true), ("example.com", false), ("example.com/", false),
        ("a/b/c", false), ("-a", false),
    ])
    func `protocols are words or belong to a domain`(text: String, isOne: Bool) {
        #expect(Patterns.isProtocol(text) == isOne)
    }

    @Test(arguments: [
        ("example.com/a/b", true), (GatewayClass.ownController, true), ("example.com", false),
        ("example.com/", false), ("/a", false), ("example.com/a b", false),
    ])
    func `controllers are a domain and a path`(text: String, isOne: Bool) {
        #expect(Patterns.isDomainPath(text) == isOne)
    }

    @Test(arguments: [
        ("/", true), ("/a-b_c~d.e!$&'()*+,;=:@", true), ("/%20%aF", true), ("/%2", false),
        ("/%zz", false), ("/a b", false), ("/ä", false), ("/a?b", false), ("", false),
    ])
    func `paths have the characters of a path`(text: String, isOne: Bool) {
        #expect(Patterns.hasPathCharacters(text) == isOne)
    }
}
