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
    @inline(never)
    public static func recognise(
        _ bytes: Span<UInt8>, at start: Int, count: Int
    ) -> FieldName {
        let first = ByteScan.firstWord(bytes, at: start, count: count)
        return recognise(bytes, at: start, count: count, first: first)
    }

    /// By length first, then by words of eight bytes with the bit of small letters set.
    ///
    /// `first` is the `firstWord` of the name, which the caller has checked to lie in the span.
    @inline(__always)
    static func recognise(
        _ bytes: Span<UInt8>, at start: Int, count: Int, first: UInt64
    ) -> FieldName {
        @inline(__always) func isName(_ text: StaticString) -> Bool {
            ByteScan.isName(bytes, at: start, first: first, text)
        }
        switch count {
        case 2:
            if isName("te") { return .te }
        case 3:
            if isName("via") { return .via }
            if isName("age") { return .age }
        case 4:
            if isName("host") { return .host }
            if isName("date") { return .date }
            if isName("etag") { return .eTag }
            if isName("vary") { return .vary }
        case 5:
            if isName("range") { return .range }
            if isName("allow") { return .allow }
        case 6:
            if isName("expect") { return .expect }
            if isName("cookie") { return .cookie }
            if isName("accept") { return .accept }
            if isName("server") { return .server }
            if isName("origin") { return .origin }
        case 7:
            if isName("trailer") { return .trailer }
            if isName("upgrade") { return .upgrade }
            if isName("baggage") { return .baggage }
            if isName("referer") { return .referer }
        case 8:
            if isName("location") { return .location }
        case 9:
            if isName("x-api-key") { return .xAPIKey }
            if isName("forwarded") { return .forwarded }
            if isName("x-real-ip") { return .xRealIP }
        case 10:
            if isName("connection") { return .connection }
            if isName("keep-alive") { return .keepAlive }
            if isName("set-cookie") { return .setCookie }
            if isName("user-agent") { return .userAgent }
            if isName("tracestate") { return .tracestate }
        case 11:
            if isName("traceparent") { return .traceparent }
            if isName("retry-after") { return .retryAfter }
        case 12:
            if isName("x-request-id") { return .xRequestID }
            if isName("content-type") { return .contentType }
        case 13:
            if isName("authorization") { return .authorization }
            if isName("content-range") { return .contentRange }
            if isName("cache-control") { return .cacheControl }
            if isName("last-modified") { return .lastModified }
            if isName("if-none-match") { return .ifNoneMatch }
        case 14:
            if isName("content-length") { return .contentLength }
            if isName("http2-settings") { return .http2Settings }
        case 15:
            if isName("x-forwarded-for") { return .xForwardedFor }
            if isName("accept-encoding") { return .acceptEncoding }
        case 16:
            if isName("proxy-connection") { return .proxyConnection }
            if isName("www-authenticate") { return .wwwAuthenticate }
            if isName("x-forwarded-host") { return .xForwardedHost }
            if isName("x-forwarded-port") { return .xForwardedPort }
            if isName("content-encoding") { return .contentEncoding }
        case 17:
            if isName("transfer-encoding") { return .transferEncoding }
            if isName("x-forwarded-proto") { return .xForwardedProto }
            if isName("if-modified-since") { return .ifModifiedSince }
            if isName("sec-websocket-key") { return .secWebSocketKey }
        case 18:
            if isName("proxy-authenticate") { return .proxyAuthenticate }
        case 19:
            if isName("proxy-authorization") { return .proxyAuthorization }
        case 20:
            if isName("sec-websocket-accept") { return .secWebSocketAccept }
        case 21:
            if isName("sec-websocket-version") { return .secWebSocketVersion }
        case 22:
            if isName("sec-websocket-protocol") { return .secWebSocketProtocol }
        case 29:
            if isName("access-control-request-method") { return .accessControlRequestMethod }
        case 30:
            if isName("access-control-request-headers") {
                return .accessControlRequestHeaders
            }
        default: break
        }
        return .other
    }
}

/// The known names of 3 to 14 bytes, to be found by their first bytes and proved by two compares.
///
/// It is part of what is parsed into, so that no lookup goes through a lazily made global.
struct NameTable: ~Copyable, Sendable {
    /// One name, with the colon and the space behind it.
    struct Row: BitwiseCopyable, Sendable {
        /// The first eight bytes, and their bits that are compared.
        var first: UInt64 = 1
        var firstMask: UInt64 = 0
        /// The last six bytes of the name with colon and space, and their bits that are compared.
        var last: UInt64 = 0
        var lastMask: UInt64 = 0
        /// Bytes of the name; 0 in a row without a name, which equals nothing.
        var count = 0
        /// The set of the name alone.
        var name = FieldNames(.other)
        var id = FieldName.other
        /// The traits of its lines.
        var traits: FieldLine.Traits = []
        /// Bytes from here to the row of the name which followed this one last: a guess.
        ///
        /// With it a row has 64 bytes, so that it is found by a shift.
        var next = 0

        init() {}

        /// Makes the row of a name of 3 to 14 bytes.
        init(_ name: FieldName) {
            let text = ByteScan.bytes(name.text)
            id = name
            self.name = FieldNames(name)
            traits = FieldLine.Traits(of: self.name)
            count = text.count
            first = 0
            for i in 0..<(text.count + 2) {
                let byte: UInt8 =
                    i < text.count ? text[i] : i == text.count ? 0x3A : 0x20
                // The bit of small letters counts where there is no letter: CR is no hyphen.
                let mask: UInt8 = byte &- 0x61 < 26 ? 0xDF : 0xFF
                if i < 8 { Self.set(&first, &firstMask, i, byte, mask) }
                let place = i - text.count + 6
                if place >= 0 { Self.set(&last, &lastMask, place, byte, mask) }
            }
        }

        private static func set(
            _ word: inout UInt64, _ wordMask: inout UInt64, _ place: Int, _ byte: UInt8,
            _ mask: UInt8
        ) {
            word |= UInt64(byte & mask) &<< UInt64(place * 8)
            wordMask |= UInt64(mask) &<< UInt64(place * 8)
        }
    }

    /// The row of a slot, and 64 behind it that of another name of this slot: 128 rows; then `start`.
    private(set) var rows = HeadStorage<Row>(capacity: 129)

    /// The row that stands for the start line, only to say which name followed it.
    static var start: Int { 128 }

    /// These come first where names share a slot; a name that finds no row is found without one.
    private static var mostUsual: [FieldName] {
        [.host, .accept, .contentType, .contentLength, .userAgent, .connection, .server, .date]
    }

    init() {
        for _ in 0..<rows.capacity { rows.append(Row()) }
        for name in Self.mostUsual + FieldName.allCases { add(name) }
    }

    private mutating func add(_ name: FieldName) {
        let text = ByteScan.bytes(name.text)
        if text.count < 3 || text.count > 14 { return }
        let row = Row(name)
        var first = UInt32(truncatingIfNeeded: row.first)
        // The mask took the bit of small letters away; a name of three bytes has its colon here.
        first |= 0x2020_2020
        let slot = ByteScan.slot(first)
        for place in [slot, slot + 64] {
            if rows[place].id == name { return }
            if rows[place].count == 0 {
                rows[place] = row
                return
            }
        }
    }
}
