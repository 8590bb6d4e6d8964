/// Request methods that the gateway knows; the text of `other` is in the head.
public enum Method: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case get
    case head
    case post
    case put
    case delete
    case connect
    case options
    case trace
    case patch
    case other

    /// The method of a token; names are case-sensitive (RFC 9110 §9.1).
    public init(token: Span<UInt8>) {
        self = .other
        for method in Self.allCases where method != .other {
            if ByteScan.equal(token, ByteScan.bytes(method.text)) {
                self = method
                return
            }
        }
    }

    /// The method as sent; empty for `other`.
    public var text: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .connect: "CONNECT"
        case .options: "OPTIONS"
        case .trace: "TRACE"
        case .patch: "PATCH"
        case .other: ""
        }
    }

    /// Whether a repeat has the effect of one request (RFC 9110 §9.2.2).
    public var isIdempotent: Bool {
        switch self {
        case .get, .head, .put, .delete, .options, .trace: true
        case .post, .connect, .patch, .other: false
        }
    }
}
