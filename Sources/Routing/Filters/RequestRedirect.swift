import BasicContainers
import HTTP

/// An answer that sends the client elsewhere (`HTTPRequestRedirectFilter`).
public struct RequestRedirect: Sendable, Equatable {
    /// `http` or `https`; nil keeps the request's.
    public var scheme: String?
    /// nil keeps the request's host.
    public var hostname: String?
    /// nil keeps the request's path.
    public var path: PathModifier?
    /// nil takes the port of the given scheme, or else the listener's.
    public var port: UInt16?
    /// 301, 302, 303, 307 or 308.
    public var status: UInt16

    /// Makes a redirect.
    public init(
        scheme: String? = nil, hostname: String? = nil, path: PathModifier? = nil,
        port: UInt16? = nil, status: UInt16 = 302
    ) {
        self.scheme = scheme
        self.hostname = hostname
        self.path = path
        self.port = port
        self.status = status
    }

    /// The redirect as a row; nil when it cannot be made.
    func row(_ arena: inout ArenaBuilder) -> RedirectRow? {
        let isTLS: RedirectRow.Scheme
        switch scheme {
        case nil: isTLS = .kept
        case "http": isTLS = .http
        case "https": isTLS = .https
        default: return nil
        }
        if let hostname, Authority.parse(Array(hostname.utf8).span) == nil { return nil }
        if !(300...399).contains(status) { return nil }
        return RedirectRow(
            scheme: isTLS, status: status, port: port ?? 0,
            hostname: arena.keep(hostname ?? ""), path: PathRewrite(path, &arena))
    }
}

/// A compiled redirect.
struct RedirectRow: BitwiseCopyable, Sendable {
    enum Scheme: UInt8, BitwiseCopyable, Sendable { case kept, http, https }

    var scheme: Scheme
    var status: UInt16
    /// 0 when not given.
    var port: UInt16
    /// Empty when not given.
    var hostname: ArenaRange
    var path: PathRewrite
}

extension Table {
    /// Writes `scheme://host[:port]path[?query]`; false when it does not fit.
    ///
    /// A request without a host, as HTTP/1.0 allows, gets `path[?query]`, which is a valid Location
    /// too (RFC 9110 §10.2.2).
    func writeLocation(
        _ row: RedirectRow, _ match: RouteMatch, _ listener: Int32, _ head: borrowing RequestHead,
        _ scratch: inout RigidArray<UInt8>
    ) -> Bool {
        scratch.removeAll()
        let from = listeners[Int(listener)]
        let isTLS = row.scheme == .kept ? from.isTLS : row.scheme == .https
        if row.hostname.count > 0 || !head.host.isEmpty {
            if !put(isTLS ? "https://" : "http://", &scratch) { return false }
            let isHostGiven = row.hostname.count > 0
            let isHostWritten =
                isHostGiven
                ? put(text(row.hostname), &scratch) : put(head.span(head.host), &scratch)
            if !isHostWritten || !writePort(port(row, from), isTLS, &scratch) { return false }
        }
        if !writePath(row.path, match, head, &scratch) { return false }
        if head.query.isNone { return true }
        return put("?", &scratch) && put(head.span(head.query), &scratch)
    }

    /// The port as given, else of the given scheme, else of the listener.
    private func port(_ row: RedirectRow, _ listener: ListenerRow) -> UInt16 {
        if row.port != 0 { return row.port }
        switch row.scheme {
        case .kept: return listener.number
        case .http: return 80
        case .https: return 443
        }
    }

    /// Writes `:port`, but not the scheme's own.
    private func writePort(
        _ port: UInt16, _ isTLS: Bool, _ scratch: inout RigidArray<UInt8>
    ) -> Bool {
        if port == (isTLS ? 443 : 80) { return true }
        if scratch.freeCapacity < 6 { return false }
        scratch.append(UInt8(ascii: ":"))
        var divisor: UInt16 = 10_000
        while divisor > port && divisor > 1 { divisor /= 10 }
        while divisor > 0 {
            scratch.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: port / divisor % 10))
            divisor /= 10
        }
        return true
    }
}
