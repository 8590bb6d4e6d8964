// Who may ask what of the admin and metrics ports: hosts, origins, tokens, methods, paths.
import HTTP
import Testing

@testable import Control

private let secret = "0123456789abcdef"

private func status(
    _ request: AdminRequest, token: String? = nil, port: AdminPort = .admin
) -> Int {
    let access = AdminAccess(token: token.map { Array($0.utf8) })
    return switch access.verdict(request, on: port) {
    case .serve: 200
    case .refuse(let reply): reply.status
    }
}

struct AdminAccessTests {
    @Test(arguments: [
        ("127.0.0.1", 200), ("127.0.0.1:15000", 200), ("[::1]:15000", 200), ("[::1]", 200),
        ("10.1.2.3:15000", 200), ("localhost", 200), ("localhost:15000", 200), ("", 200),
        ("evil.example", 403), ("evil.example:15000", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("127.1", 403), ("0x7f000001", 403), ("2130706433", 403),
        ("my-laptop", 403),
    ])
    func `without a token only addresses and localhost are hosts`(host: String, expected: Int) {
        #expect(status(AdminRequest(path: "/config", authority: host)) == expected)
    }

    @Test(arguments: ["evil.example", "127.0.0.1:15000", "gateway.lan:15000"])
    func `with the token any host is`(host: String) {
        var request = AdminRequest(path: "/config", authority: host)
        #expect(status(request, token: secret) == 401)
        request.authorization = "Bearer \(secret)"
        #expect(status(request, token: secret) == 200)
    }

    @Test(
        arguments: [
            (nil, 200), ("http://127.0.0.1:15000", 200), ("https://127.0.0.1:15000", 200),
            ("HTTP://127.0.0.1:15000", 200), ("https://evil.example", 403), ("null", 403),
            ("", 403),
            ("http://127.0.0.1", 403), ("http://127.0.0.1:3000", 403),
            ("http://localhost:15000", 403),
            ("http://127.0.0.1:15000.evil.example", 403), ("127.0.0.1:15000", 403),
            ("file://127.0.0.1:15000", 403), ("\n", 403),
        ] as [(String?, Int)])
    func `only this port's own pages are an origin`(origin: String?, expected: Int) {
        var request = AdminRequest(path: "/config", authority: "127.0.0.1:15000", origin: origin)
        #expect(status(request) == expected)
        request.authorization = "Bearer \(secret)"
        #expect(status(request, token: secret) == expected)
        request.method = .post
        request.path = "/drain"
        request.contentType = "application/json"
        #expect(status(request) == expected)
    }

    @Test(
        arguments: [
            ("Bearer \(secret)", 200), ("bearer \(secret)", 200), ("Bearer  \(secret)", 200),
            (nil, 401), ("", 401), ("Bearer", 401), ("Bearer ", 401), (secret, 401),
            ("Basic \(secret)", 401), ("Bearer \(secret)x", 401), ("Bearer x\(secret)", 401),
            ("Bearer 0123456789abcde", 401), ("Bearer 0123456789abcdeF", 401),
            ("Bearer \(secret)\(secret)", 401), ("\n", 401),
        ] as [(String?, Int)])
    func `every path of a port with a token needs it`(field: String?, expected: Int) {
        for route in AdminRoute.allCases where !route.isAction {
            let request = AdminRequest(path: route.rawValue, authorization: field)
            #expect(status(request, token: secret) == expected)
        }
        // What is not there is not told to strangers either.
        let nothing = AdminRequest(path: "/nothing", authorization: field)
        #expect(status(nothing, token: secret) == (expected == 200 ? 404 : 401))
    }

    @Test(arguments: AdminRoute.allCases)
    func `each path has its methods`(route: AdminRoute) {
        let methods: [Method] = [.get, .head, .post, .put, .delete, .options, .patch, .other]
        for method in methods {
            var request = AdminRequest(path: route.rawValue)
            request.method = method
            request.contentType = "application/json"
            let isRight = route.isAction ? method == .post : method == .get || method == .head
            #expect(status(request) == (isRight ? 200 : 405))
            guard !isRight,
                case .refuse(let reply) = AdminAccess().verdict(request, on: .admin)
            else { continue }
            #expect(reply.allowsPost == route.isAction)
        }
    }

    @Test(
        arguments: [
            ("application/json", 200), ("Application/JSON; charset=utf-8", 200),
            ("application/json ;charset=utf-8", 200), (nil, 415), ("", 415), ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415), ("application/jsonp", 415),
            ("text/plain; application/json", 415), ("\n", 415),
        ] as [(String?, Int)])
    func `an action needs the content type that no form has`(type: String?, expected: Int) {
        var request = AdminRequest(path: "/drain", contentType: type)
        request.method = .post
        #expect(status(request) == expected)
    }

    @Test(arguments: AdminRoute.allCases)
    func `the metrics port has health and metrics only, for every host`(route: AdminRoute) {
        var request = AdminRequest(path: route.rawValue, authority: "gateway.ai.svc:15020")
        request.origin = "https://elsewhere.example"
        let isThere = ["/livez", "/readyz", "/metrics"].contains(route.rawValue)
        #expect(status(request, token: secret, port: .metrics) == (isThere ? 200 : 404))
    }

    @Test func `what is not there says what is`() {
        func words(_ path: String, _ port: AdminPort) -> String {
            guard
                case .refuse(let reply) = AdminAccess().verdict(AdminRequest(path: path), on: port)
            else { return "" }
            #expect(reply.status == 404)
            return String(decoding: reply.content, as: UTF8.self)
        }
        for route in AdminRoute.allCases {
            #expect(words("/x", .admin).contains(" \(route.rawValue)"))
        }
        #expect(
            words("/config", .metrics)
                == "Nothing is here; there are GET /livez, GET /readyz, GET /metrics.\n")
        #expect(words("/connections", .metrics).hasPrefix("Nothing is here"))
        #expect(words("/config/", .admin).hasPrefix("Nothing is here"))
    }

    @Test func `a head is read as it was sent, and two lines of a name are never right`() {
        var head = RequestHead()
        let text = Array(
            """
            POST /log-level?level=debug HTTP/1.1\r
            Host: LocalHost:15000\r
            Origin: http://a\r
            Origin: http://localhost:15000\r
            Content-Type: application/json\r
            Authorization: Bearer x\r
            \r

            """.utf8)
        guard case .complete = head.parse(text.span) else {
            Issue.record("The head is valid.")
            return
        }
        let request = AdminRequest(head)
        #expect(request.method == .post)
        #expect(request.path == "/log-level")
        #expect(request.query == "level=debug")
        #expect(request.authority == "localhost:15000")
        #expect(request.origin == "\n")
        #expect(request.contentType == "application/json")
        #expect(request.authorization == "Bearer x")
        #expect(status(request) == 403)
    }
}
