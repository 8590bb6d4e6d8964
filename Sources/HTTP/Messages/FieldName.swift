/// Names that the gateway looks at, as one byte; all other names are `other`.
public enum FieldName: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case other
    case host
    case contentLength
    case transferEncoding
    case connection
    case keepAlive
    case proxyConnection
    case te
    case trailer
    case upgrade
    case http2Settings
    case expect
    case authorization
    case proxyAuthorization
    case proxyAuthenticate
    case wwwAuthenticate
    case cookie
    case setCookie
    case xAPIKey
    case xForwardedFor
    case xForwardedProto
    case xForwardedHost
    case xForwardedPort
    case forwarded
    case via
    case xRealIP
    case xRequestID
    case contentType
    case contentEncoding
    case contentRange
    case accept
    case acceptEncoding
    case userAgent
    case traceparent
    case tracestate
    case baggage
    case server
    case date
    case location
    case retryAfter
    case origin
    case referer
    case range
    case age
    case allow
    case eTag
    case vary
    case cacheControl
    case lastModified
    case ifNoneMatch
    case ifModifiedSince
    case accessControlRequestMethod
    case accessControlRequestHeaders
    case secWebSocketKey
    case secWebSocketVersion
    case secWebSocketProtocol
    case secWebSocketAccept

    /// The name in small letters; empty for `other`.
    public var text: StaticString {
        switch self {
        case .other: ""
        case .host: "host"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .connection: "connection"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .te: "te"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .http2Settings: "http2-settings"
        case .expect: "expect"
        case .authorization: "authorization"
        case .proxyAuthorization: "proxy-authorization"
        case .proxyAuthenticate: "proxy-authenticate"
        case .wwwAuthenticate: "www-authenticate"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .xAPIKey: "x-api-key"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedHost: "x-forwarded-host"
        case .xForwardedPort: "x-forwarded-port"
        case .forwarded: "forwarded"
        case .via: "via"
        case .xRealIP: "x-real-ip"
        case .xRequestID: "x-request-id"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .contentRange: "content-range"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .userAgent: "user-agent"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        case .baggage: "baggage"
        case .server: "server"
        case .date: "date"
        case .location: "location"
        case .retryAfter: "retry-after"
        case .origin: "origin"
        case .referer: "referer"
        case .range: "range"
        case .age: "age"
        case .allow: "allow"
        case .eTag: "etag"
        case .vary: "vary"
        case .cacheControl: "cache-control"
        case .lastModified: "last-modified"
        case .ifNoneMatch: "if-none-match"
        case .ifModifiedSince: "if-modified-since"
        case .accessControlRequestMethod: "access-control-request-method"
        case .accessControlRequestHeaders: "access-control-request-headers"
        case .secWebSocketKey: "sec-websocket-key"
        case .secWebSocketVersion: "sec-websocket-version"
        case .secWebSocketProtocol: "sec-websocket-protocol"
        case .secWebSocketAccept: "sec-websocket-accept"
        }
    }

    /// The known name that equals `name` without regard to case, else `other`.
    ///
    /// `name` must be a token (RFC 9110 §5.6.2); for other bytes the answer has no meaning.
    public static func recognise(_ name: Span<UInt8>) -> FieldName {
        recognise(name, at: 0, count: name.count)
    }

    /// The same for the name at an offset of a larger span.
    @inline(__always)
    static func recognise(_ bytes: Span<UInt8>, at start: Int, count: Int) -> FieldName {
        recognise(FoldedName(bytes, at: start, count: count))
    }

    /// By length first, then by words of eight bytes with the bit of small letters set.
    @inline(never)
    private static func recognise(_ name: FoldedName) -> FieldName {
        switch name.count {
        case 2:
            if name.matches("te") { return .te }
        case 3:
            if name.matches("via") { return .via }
            if name.matches("age") { return .age }
        case 4:
            if name.matches("host") { return .host }
            if name.matches("date") { return .date }
            if name.matches("etag") { return .eTag }
            if name.matches("vary") { return .vary }
        case 5:
            if name.matches("range") { return .range }
            if name.matches("allow") { return .allow }
        case 6:
            if name.matches("expect") { return .expect }
            if name.matches("cookie") { return .cookie }
            if name.matches("accept") { return .accept }
            if name.matches("server") { return .server }
            if name.matches("origin") { return .origin }
        case 7:
            if name.matches("trailer") { return .trailer }
            if name.matches("upgrade") { return .upgrade }
            if name.matches("baggage") { return .baggage }
            if name.matches("referer") { return .referer }
        case 8:
            if name.matches("location") { return .location }
        case 9:
            if name.matches("x-api-key") { return .xAPIKey }
            if name.matches("forwarded") { return .forwarded }
            if name.matches("x-real-ip") { return .xRealIP }
        case 10:
            if name.matches("connection") { return .connection }
            if name.matches("keep-alive") { return .keepAlive }
            if name.matches("set-cookie") { return .setCookie }
            if name.matches("user-agent") { return .userAgent }
            if name.matches("tracestate") { return .tracestate }
        case 11:
            if name.matches("traceparent") { return .traceparent }
            if name.matches("retry-after") { return .retryAfter }
        case 12:
            if name.matches("x-request-id") { return .xRequestID }
            if name.matches("content-type") { return .contentType }
        case 13:
            if name.matches("authorization") { return .authorization }
            if name.matches("content-range") { return .contentRange }
            if name.matches("cache-control") { return .cacheControl }
            if name.matches("last-modified") { return .lastModified }
            if name.matches("if-none-match") { return .ifNoneMatch }
        case 14:
            if name.matches("content-length") { return .contentLength }
            if name.matches("http2-settings") { return .http2Settings }
        case 15:
            if name.matches("x-forwarded-for") { return .xForwardedFor }
            if name.matches("accept-encoding") { return .acceptEncoding }
        case 16:
            if name.matches("proxy-connection") { return .proxyConnection }
            if name.matches("www-authenticate") { return .wwwAuthenticate }
            if name.matches("x-forwarded-host") { return .xForwardedHost }
            if name.matches("x-forwarded-port") { return .xForwardedPort }
            if name.matches("content-encoding") { return .contentEncoding }
        case 17:
            if name.matches("transfer-encoding") { return .transferEncoding }
            if name.matches("x-forwarded-proto") { return .xForwardedProto }
            if name.matches("if-modified-since") { return .ifModifiedSince }
            if name.matches("sec-websocket-key") { return .secWebSocketKey }
        case 18:
            if name.matches("proxy-authenticate") { return .proxyAuthenticate }
        case 19:
            if name.matches("proxy-authorization") { return .proxyAuthorization }
        case 20:
            if name.matches("sec-websocket-accept") { return .secWebSocketAccept }
        case 21:
            if name.matches("sec-websocket-version") { return .secWebSocketVersion }
        case 22:
            if name.matches("sec-websocket-protocol") { return .secWebSocketProtocol }
        case 29:
            if name.matches("access-control-request-method") { return .accessControlRequestMethod }
        case 30:
            if name.matches("access-control-request-headers") {
                return .accessControlRequestHeaders
            }
        default: break
        }
        return .other
    }
}
