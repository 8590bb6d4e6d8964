import HTTP

/// The ports that the process has for its operators, by the tag of their listeners.
enum AdminPort: UInt32, Sendable {
    case admin = 0
    case metrics = 1
}

/// What is there, by path.
enum AdminRoute: String, CaseIterable, Sendable {
    case page = "/"
    case livez = "/livez"
    case readyz = "/readyz"
    case metrics = "/metrics"
    case status = "/status"
    case config = "/config"
    case endpoints = "/endpoints"
    case decisions = "/decisions"
    case explain = "/explain"
    case connections = "/connections"
    case drain = "/drain"
    case logLevel = "/log-level"

    /// Whether it changes something, and so is asked for by POST.
    var isAction: Bool { self == .drain || self == .logLevel }

    /// Whether the metrics port has it too.
    var isOnMetricsPort: Bool { self == .livez || self == .readyz || self == .metrics }

    static func list(of port: AdminPort) -> String {
        let routes = allCases.filter { port == .admin || $0.isOnMetricsPort }
        return routes.map { "\($0.isAction ? "POST" : "GET") \($0.rawValue)" }
            .joined(separator: ", ")
    }
}

/// A request as far as these ports look at it; texts as they were sent.
struct AdminRequest: Sendable {
    var method = Method.get
    var path: String
    /// Without `?`; nil when there is none.
    var query: String?
    /// Host with its port, in small letters; empty without one.
    var authority = "127.0.0.1"
    var origin: String?
    var authorization: String?
    var contentType: String?
}

extension AdminRequest {
    init(_ head: borrowing RequestHead) {
        func text(_ range: ByteRange) -> String {
            let span = head.span(range)
            return String(decoding: span.indices.map { span[$0] }, as: UTF8.self)
        }
        func value(_ name: FieldName) -> String? {
            guard let range = head.value(name) else { return nil }
            // Two lines of a name contradict each other: they count as a value that is never right.
            return head.fields.occurrences(name) == 1 ? text(range) : "\n"
        }
        method = head.method
        path = text(head.path)
        query = head.query == .none ? nil : text(head.query)
        authority = text(head.authority).lowercased()
        origin = value(.origin)
        authorization = value(.authorization)
        contentType = value(.contentType)
    }
}

/// What is answered.
struct AdminReply: Equatable, Sendable {
    /// What kind of content it has.
    enum Form: Equatable, Sendable {
        case text, json, html, metrics

        var contentType: StaticString {
            switch self {
            case .text: "text/plain; charset=utf-8"
            case .json: "application/json"
            case .html: "text/html; charset=utf-8"
            case .metrics: "text/plain; version=0.0.4; charset=utf-8"
            }
        }
    }

    var status: Int
    var form: Form
    var content: [UInt8]
    /// Methods for an `allow` field.
    var allowsPost: Bool?

    init(_ status: Int, _ form: Form, _ content: [UInt8], allowsPost: Bool? = nil) {
        self.status = status
        self.form = form
        self.content = content
        self.allowsPost = allowsPost
    }

    /// One sentence, with a line break for people at a terminal.
    static func sentence(_ status: Int, _ words: String, allowsPost: Bool? = nil) -> AdminReply {
        AdminReply(status, .text, Array((words + "\n").utf8), allowsPost: allowsPost)
    }
}
