// Proves conditions on the method (HTTPRouteMatch.method): exact, case-sensitive.

import HTTP
import Testing

@testable import Routing

@Suite struct MethodMatchTests {
    static let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PURGE", "PURGES",
    ]

    @Test(arguments: methods)
    func `a method matches itself only`(method: String) throws {
        let table = try table(TableDescription([match(method: method)]))
        for other in Self.methods {
            #expect((table.rule(Request(method: other)) == 0) == (method == other))
        }
    }

    @Test func `no method takes every method`() throws {
        let table = try table(TableDescription([match()]))
        for method in Self.methods { #expect(table.rule(Request(method: method)) == 0) }
    }

    @Test func `methods are told apart by case`() throws {
        let table = try table(TableDescription([match(method: "GET")]))
        #expect(table.rule(Request(method: "get")) == -1)
    }
}
