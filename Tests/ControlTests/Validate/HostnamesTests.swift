// Proves how hostnames of listeners and routes meet (`HTTPRoute.spec.hostnames`).
import Testing

@testable import Control

@Suite struct HostnamesTests {
    struct Pair: Sendable, CustomTestStringConvertible {
        let a: String
        let b: String
        let both: String?
        var testDescription: String { "\(a) and \(b)" }

        init(_ a: String, _ b: String, _ both: String?) {
            self.a = a
            self.b = b
            self.both = both
        }
    }

    static let pairs = [
        Pair("a.example.com", "a.example.com", "a.example.com"),
        Pair("a.example.com", "b.example.com", nil),
        Pair("*.example.com", "a.example.com", "a.example.com"),
        Pair("*.example.com", "a.b.example.com", "a.b.example.com"),
        Pair("*.example.com", "example.com", nil),
        Pair("*.example.com", "aexample.com", nil),
        Pair("*.example.com", "*.foo.example.com", "*.foo.example.com"),
        Pair("*.example.com", "*.example.com", "*.example.com"),
        Pair("*.example.com", "*.example.org", nil),
        Pair("*.com", "*.fooexample.com", "*.fooexample.com"),
        Pair("*.example.com", "*.fooexample.com", nil),
    ]

    @Test(arguments: pairs)
    func `of two names the more specific one stands for both`(pair: Pair) {
        #expect(Hostnames.intersection(pair.a, pair.b) == pair.both)
        #expect(Hostnames.intersection(pair.b, pair.a) == pair.both)
        #expect(Hostnames.overlap(pair.a, pair.b) == (pair.both != nil))
    }

    @Test func `a side without names takes the other's`() {
        #expect(Hostnames.effective(route: [], listener: nil) == [])
        #expect(Hostnames.effective(route: ["a.com"], listener: nil) == ["a.com"])
        #expect(Hostnames.effective(route: [], listener: "*.com") == ["*.com"])
        #expect(Hostnames.overlap(nil, "a.com"))
    }

    @Test func `names without overlap are left out, and equal ones count once`() {
        let route = ["bar.com", "*.example.com", "*.foo.example.com", "abc.foo.example.com"]
        #expect(
            Hostnames.effective(route: route, listener: "*.example.com")
                == ["*.example.com", "*.foo.example.com", "abc.foo.example.com"])
        #expect(
            Hostnames.effective(route: route, listener: "abc.foo.example.com")
                == ["abc.foo.example.com"])
        #expect(Hostnames.effective(route: ["bar.com"], listener: "*.example.com") == nil)
    }
}
