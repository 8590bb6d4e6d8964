// Proves what a rule has asked, which fields are told and taken, and how paths are put together.
import Testing

@testable import Routing

@Suite struct ExternalAuthorizationTests {
    @Test(arguments: [
        ("", ""), ("/", ""), ("//", ""), ("a", "/a"), ("/a/", "/a"), ("/a//b/", "/a/b"),
        ("/a/../b", "/b"), ("../../b", "/b"), ("/a/%2e%2e/b", "/b"), ("/a/./", "/a"),
    ])
    func `a prefix is normal, with one slash before it and none behind`(
        row: (given: String, kept: String)
    ) {
        #expect(ExternalAuthorization.prefix(row.given) == row.kept)
    }

    private func table(_ asked: ExternalAuthorization) throws -> Table {
        let description = TableDescription(rules: [
            RuleDescription(id: 0), RuleDescription(id: 1, filters: [.externalAuth(asked)]),
        ])
        return try TableBuilder(description).build().clone()
    }

    private func answers(
        _ asked: ExternalAuthorization, _ name: String
    ) throws -> (tells: Bool, takes: Bool) {
        let table = try table(asked)
        let found = table.authorization(rule: 1)
        let row = try #require(found)
        let bytes = Array(name.utf8)
        return (table.tells(row, bytes.span), table.takes(row, bytes.span))
    }

    @Test func `a table says of each rule who is asked`() throws {
        let asked = ExternalAuthorization(cluster: 7, dialect: .grpc, contentBytesMax: 9, series: 3)
        let table = try table(asked)
        #expect(table.authorizes && table.authorization(rule: 0) == nil)
        #expect(table.authorization(rule: -1) == nil)
        let found = table.authorization(rule: 1)
        let row = try #require(found)
        #expect(
            row.cluster == 7 && row.dialect == .grpc && row.contentBytesMax == 9 && row.series == 3)
        #expect(table.rules[1].flags.isSuperset(of: [.authorizes, .responseFilters]))
        #expect(!table.rules[0].flags.contains(.authorizes))
    }

    @Test func `without a list a call is told all and a request next to nothing`() throws {
        for (name, isTold) in [
            ("X-Any", true), ("authorization", true), ("Host", false), ("te", false),
        ] {
            #expect(
                try answers(ExternalAuthorization(cluster: 0, dialect: .grpc), name).tells == isTold
            )
        }
        for (name, isTold) in [
            ("X-Any", false), ("AUTHORIZATION", true), ("Content-Length", false),
        ] {
            #expect(try answers(ExternalAuthorization(cluster: 0), name).tells == isTold)
        }
    }

    @Test func `with a list its fields are told and taken, but for those of the connection`() throws
    {
        let list = ["X-Any", "Host", "content-length", "Connection", "Expect"]
        let asked = ExternalAuthorization(cluster: 0, requestFields: list, answerFields: list)
        for (name, isIt) in [
            ("x-any", true), ("X-ANY", true), ("host", false), ("content-length", false),
            ("connection", false), ("expect", false), ("x-an", false),
        ] {
            let both = try answers(asked, name)
            #expect(both.tells == isIt && both.takes == isIt)
        }
    }

    @Test func `without a list all of an answer is taken but what tells of itself`() throws {
        for (name, isTaken) in [
            ("x-user", true), ("Content-Type", false), ("content-encoding", false), ("Host", false),
            ("transfer-encoding", false), ("set-cookie", true), ("content", true),
        ] {
            #expect(try answers(ExternalAuthorization(cluster: 0), name).takes == isTaken)
        }
    }

    private func key(of asked: ExternalAuthorization) throws -> UInt64? {
        try table(asked).authorization(rule: 1)?.key
    }

    @Test func `equal questions have one key, and others have others`() throws {
        let asked = ExternalAuthorization(cluster: 1, path: "/a", series: 1, name: "x")
        var other = asked
        other.series = 2
        other.name = "y"
        let key = try self.key(of: asked)
        #expect(key != nil)
        #expect(try self.key(of: other) == key)
        for change: (inout ExternalAuthorization) -> Void in [
            { $0.cluster = 2 }, { $0.path = "/b" }, { $0.dialect = .grpc },
            { $0.contentBytesMax = 1 },
            { $0.requestFields = ["a"] }, { $0.answerFields = ["a"] },
        ] {
            var changed = asked
            change(&changed)
            #expect(try self.key(of: changed) != key)
        }
    }
}
