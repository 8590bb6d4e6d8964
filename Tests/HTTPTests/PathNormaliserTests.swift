// Proves the one form of every path, which paths are refused, and that the form is stable.
import BasicContainers
import Testing

@testable import HTTP

private func normalised(_ path: [UInt8]) -> (path: String, reason: Malformed.Reason?) {
    var output = RigidArray<UInt8>(capacity: path.count + 3)
    output.append(0x23)
    let reason = PathNormaliser.append(path.span, to: &output)
    var normal: [UInt8] = []
    for i in 1..<output.count { normal.append(output[i]) }
    return (text(normal), reason)
}

@Suite struct PathNormaliserTests {
    static let paths: [Row<String>] = [
        Row("root", "/", "/"), Row("plain", "/a/b", "/a/b"),
        Row("a slash at the end", "/a/", "/a/"),
        Row("unreserved escapes", "/%61%2D%2e%5F%7E%39%5a", "/a-._~9Z"),
        Row(
            "reserved escapes stay", "/%3A%3f%23%5B%40%21%24%26%3d%25",
            "/%3A%3f%23%5B%40%21%24%26%3d%25"),
        Row("a space stays escaped", "/a%20b", "/a%20b"),
        Row("UTF-8 stays escaped", "/%C3%A9%e2%82%ac", "/%C3%A9%e2%82%ac"),
        Row("Latin-1 stays escaped", "/%E9%FF", "/%E9%FF"),
        Row("%E0 alone stays", "/%E0", "/%E0"), Row("%E0%A0 stays", "/%E0%A0%80", "/%E0%A0%80"),
        Row("%F0%90 stays", "/%F0%90%80%80", "/%F0%90%80%80"),
        Row("twice escaped stays", "/%252e%252e/%2561", "/%252e%252e/%2561"),
        Row("dot", "/./a", "/a"), Row("dots", "/a/./b/.", "/a/b/"),
        Row("dot dot", "/a/../b", "/b"), Row("dot dot at the end", "/a/b/..", "/a/"),
        Row("above the root", "/../../a", "/a"), Row("all removed", "/a/..", "/"),
        Row("root and dots", "/..", "/"), Row("root and dot", "/.", "/"),
        Row("many", "/a/b/c/./../../g", "/a/g"),
        Row("the RFC's other", "/mid/content=5/../6", "/mid/6"),
        Row("three dots are a name", "/.../a", "/.../a"),
        Row("dots in names", "/..a/b../.c", "/..a/b../.c"),
        Row("escaped dots", "/a/%2e%2E/b", "/b"), Row("an escaped dot", "/%2e/a", "/a"),
        Row("half escaped dots", "/a/.%2e/b", "/b"),
        Row("slashes", "//a///b//", "/a/b/"), Row("only slashes", "////", "/"),
        Row("dots between slashes", "/a//./b", "/a/b"),
        Row("dot dot takes an empty segment", "/a//../b", "/a/b"),
        Row("dots make slashes", "/a/..//b", "/b"),
        Row("%2F stays", "/models/meta%2Fllama", "/models/meta%2Fllama"),
        Row("%2f stays small", "/a%2fb", "/a%2fb"), Row("%5C stays", "/a%5Cb%5cc", "/a%5Cb%5cc"),
        Row("%2F and a dot segment elsewhere", "/x/../a%2Fb/./c", "/a%2Fb/c"),
        Row("%2F beside dots in a name", "/a%2F..b", "/a%2F..b"),
        Row("%2F and another segment removed", "/x%2Fy/z/../w", "/x%2Fy/w"),
        Row("parameters", "/a;b=c/d;..", "/a;b=c/d;.."),
        Row("sub-delimiters", "/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        Row("what URIs do not allow but sockets carry", "/a\"<>^`{|}b", "/a\"<>^`{|}b"),
    ]

    @Test(arguments: paths) func `a path has one form`(_ row: Row<String>) {
        let (path, reason) = normalised(bytes(row.input))
        #expect(reason == nil && path == row.wanted)
    }

    @Test(arguments: paths) func `the form is stable`(_ row: Row<String>) {
        #expect(normalised(bytes(row.wanted)).path == row.wanted)
    }

    static let refused: [Row<Malformed.Reason>] = [
        Row("%", "/%", .targetEscape), Row("%4", "/%4", .targetEscape),
        Row("%4g", "/%4g", .targetEscape),
        Row("%g4", "/%g4", .targetEscape), Row("%%34%31", "/%%34%31", .targetEscape),
        Row("%u0041", "/%u0041", .targetEscape), Row("% 41", "/%+41", .targetEscape),
        Row("%00", "/%00", .targetNUL), Row("%00 in the middle", "/a%00.html", .targetNUL),
        Row("a backslash", "/\\", .targetBackslash),
        Row("a backslash and dots", "/..\\a", .targetBackslash),
        Row("%C0%AF", "/%C0%AF", .targetOverlong), Row("%c1%9c", "/%c1%9c", .targetOverlong),
        Row("%c0 alone", "/%c0", .targetOverlong), Row("%C1.", "/%C1.", .targetOverlong),
        Row("%E0%80%AF", "/%E0%80%AF", .targetOverlong),
        Row("%E0%9F%BF", "/%E0%9F%BF", .targetOverlong),
        Row("%F0%80%80%AF", "/%F0%80%80%AF", .targetOverlong),
        Row("%F0%8F%BF%BF", "/%F0%8F%BF%BF", .targetOverlong),
        Row("%F8", "/%F8%80%80%80%AF", .targetOverlong),
        Row("%FC", "/%FC%80%80%80%80%AF", .targetOverlong),
        Row("..%2F", "/..%2Fa", .targetSeparator), Row("%2F..", "/a%2F..", .targetSeparator),
        Row(".%2F", "/.%2Fa", .targetSeparator), Row("%2F.", "/a%2F.", .targetSeparator),
        Row("%2F..%2F", "/a%2F..%2Fb", .targetSeparator), Row("..%5C", "/..%5Ca", .targetSeparator),
        Row("%5c%2e%2e", "/a%5c%2e%2e", .targetSeparator),
        Row("%2F%2F..", "/%2F%2F..", .targetSeparator),
        Row("a removed %2F", "/a%2Fb/..", .targetSeparator),
        Row("a removed %5C", "/a%5Cb/../c", .targetSeparator),
        Row("a removed bare %2F", "/a/%2F/../b", .targetSeparator),
    ]

    @Test(arguments: refused) func `a path that two readers read differently is refused`(
        _ row: Row<Malformed.Reason>
    ) {
        #expect(normalised(bytes(row.input)).reason == row.wanted)
    }

    @Test func `random paths give a stable form without dot segments`() {
        var random = Seeded(6)
        let pieces = [
            "/", "/", "/", ".", "..", "a", "b", "%2e", "%2E", "%2f", "%5C", "%61", "%25", "%", "//",
            "%c3%a9", "%00", "\\", "%c0", ";",
        ]
        var accepted = 0
        for _ in 0..<20_000 {
            var path = "/"
            for _ in 0..<random.below(9) { path += pieces[random.below(pieces.count)] }
            let (normal, reason) = normalised(bytes(path))
            if reason != nil { continue }
            accepted += 1
            #expect(normal.count <= path.count && normal.hasPrefix("/"))
            #expect(!normal.contains("//"))
            let segments = normal.split(separator: "/", omittingEmptySubsequences: false)
            #expect(!segments.contains(".") && !segments.contains(".."))
            let again = normalised(bytes(normal))
            #expect(again.reason == nil && again.path == normal, "\(path)")
        }
        #expect(accepted > 1_000)
    }
}
