// Proves reading and editing of field lines, and that edits are bounded and checked.
import Testing

@testable import HTTP

@Suite struct FieldSectionTests {
    private func head(_ fields: String, limits: HeadLimits = .request) -> RequestHead {
        var head = RequestHead(limits: limits)
        let input = bytes("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
        guard case .complete = head.parse(input.span) else { preconditionFailure("refused") }
        return head
    }

    private func value(_ head: borrowing RequestHead, _ name: String) -> String? {
        guard let range = head.first(named: bytes(name).span) else { return nil }
        return text(head.span(range))
    }

    @Test func `lines are found by known and unknown names in any case`() {
        let head = head("Accept: x\r\nX-Own: 1\r\nx-own: 2\r\nACCEPT: y\r\n")
        check(value(head, "accept") == "x" && value(head, "x-own") == "1")
        check(value(head, "x-owm") == nil && value(head, "cookie") == nil)
        check(head.fields.occurrences(.accept) == 2 && head.fields.occurrences(.cookie) == 0)
        check(head.value(.accept).map { text(head.span($0)) } == "x")
        let second = head.fields.index(named: bytes("x-own").span, from: 3)
        check(second == 3)
        check(head.fields.index(named: bytes("x-own").span, from: 4) == nil)
    }

    @Test func `names of any number of lines are known, and those that are repeated`() {
        var limits = HeadLimits.request
        limits.fieldCount = 600
        // Past 255 lines, the most that are taken by the fast way, and names that it does not take.
        for count in [1, 2, 3, 60, 254, 255, 256, 257, 300] {
            for name in ["Secure-Last", "Sec-WebSocket-Accept", "x-own"] {
                var fields = ""
                for _ in 0..<count { fields += "Accept: a\r\n" }
                fields += "\(name): 1\r\nAge: 2\r\nAge: 3\r\nVia: 4\r\n"
                let head = head(fields, limits: limits)
                check(head.fields.count == count + 5)
                check(head.fields.occurrences(.accept) == count)
                check(head.fields.repeated.contains(.accept) == (count > 1))
                check(head.fields.repeated.contains(.age))
                check(!head.fields.repeated.contains(.via) && !head.fields.repeated.contains(.host))
                check(head.value(.via).map { text(head.span($0)) } == "4")
                check(head.value(.age).map { text(head.span($0)) } == "2")
                check(value(head, name.lowercased()) == "1")
            }
        }
    }

    @Test func `two lines of one name are seen wherever they stand`() {
        let all = ["Accept: a", "Age: b", "Accept-Encoding: c", "x-own: d", "Cookie: e"]
        for i in 0..<all.count {
            for at in 0...all.count {
                var lines = all
                lines.insert(all[i], at: at)
                let head = head(lines.map { $0 + "\r\n" }.joined())
                let names: [FieldName] = [.accept, .age, .acceptEncoding, .other, .cookie]
                for (j, name) in names.enumerated() {
                    check(head.fields.repeated.contains(name) == (i == j))
                }
            }
        }
    }

    @Test func `removed lines are not found`() {
        var head = head("Accept: x\r\nX-Own: 1\r\nx-own: 2\r\nACCEPT: y\r\n")
        head.remove(.accept)
        head.remove(named: bytes("x-own").span)
        check(head.value(.accept) == nil && value(head, "x-own") == nil)
        check(lines(head.fields).filter { !$0.isDropped }.count == 1)
    }

    @Test func `set replaces all lines by one`() {
        var head = head("Accept: x\r\nX-Own: 1\r\nx-own: 2\r\nACCEPT: y\r\n")
        check(head.set(name: bytes("x-own").span, value: bytes(" 3 ").span))
        check(head.set(.accept, value: bytes("z").span))
        check(value(head, "x-own") == "3" && value(head, "accept") == "z")
        check(head.fields.occurrences(.accept) == 1)
        check(
            text(write(head, .none))
                == "GET / HTTP/1.1\r\nHost: a\r\nx-own: 3\r\naccept: z\r\n\r\n")
    }

    @Test func `an appended line keeps those before it`() {
        var head = head("A: 1\r\n")
        check(head.append(name: "a", value: bytes("2").span))
        check(head.append(.userAgent, value: bytes("").span))
        check(value(head, "a") == "1" && value(head, "user-agent") == "")
        check(
            text(write(head, .none))
                == "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\na: 2\r\nuser-agent: \r\n\r\n")
    }

    @Test(arguments: [
        ("", "x"), ("a b", "x"), ("a:", "x"), ("a\r\nb", "x"), ("\u{E9}", "x"), ("a", "x\r\ny: z"),
        ("a", "\0"),
        ("a", "x\ny"), ("a", "x\ry"), ("a", "\u{7F}"), ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
    ]) func `a line that could break a head is not added`(_ name: String, _ value: String) {
        var head = head("A: 1\r\n")
        let before = text(write(head, .none))
        check(!head.append(name: bytes(name).span, value: bytes(value).span))
        check(!head.set(name: bytes(name).span, value: bytes(value).span))
        check(text(write(head, .none)) == before)
    }

    @Test(arguments: FieldName.allCases)
    func `a line knows what a writer may have to leave out`(_ id: FieldName) {
        let wanted: FieldLine.Traits =
            switch id {
            case .host: .host
            case .contentLength, .transferEncoding: .framing
            case .connection: .connection
            default: []
            }
        let traits = FieldLine.Traits(of: FieldNames(id))
        #expect(wanted.isSuperset(of: traits) && traits.isEmpty == wanted.isEmpty)
    }

    @Test func `framing fields cannot be added by identity`() {
        var head = head("")
        check(!head.append(.contentLength, value: bytes("5").span))
        check(!head.set(.transferEncoding, value: bytes("chunked").span))
        check(!head.append(.other, value: bytes("x").span))
    }

    @Test func `edits stop at the head's capacity and change nothing then`() {
        var limits = HeadLimits.request
        limits.editCount = 2
        var head = head("A: 1\r\n", limits: limits)
        var added = 0
        while head.append(name: "b", value: bytes("2").span) { added += 1 }
        check(added == limits.fieldCount)
        let big = [UInt8](repeating: 0x61, count: 200_000)
        var other = self.head("A: 1\r\n")
        check(!other.append(name: "b", value: big.span))
        check(!other.set(name: bytes("a").span, value: big.span))
        check(value(other, "a") == "1")
        check(
            !other.setTarget(path: (bytes("/") + big).span) && text(other.span(other.path)) == "/")
    }

    @Test(arguments: ["", "a", "/a b", "/a?b", "/a#b", "/a\\b", "/\u{E9}", "/a\r\n", "/\0"])
    func `a path that is not valid is not set`(_ path: String) {
        var head = head("")
        check(!head.setTarget(path: bytes(path).span) && text(head.span(head.target)) == "/")
    }

    @Test(arguments: ["", "a b", "a/b", "u@a", "a\r\nX: y"])
    func `an authority that is not valid is not set`(_ authority: String) {
        var head = head("")
        check(!head.setAuthority(bytes(authority).span))
        check(text(write(head, .none)) == "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    }
}
