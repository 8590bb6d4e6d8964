import HTTP
import Kernel

/// Who may ask what of the admin and metrics ports (`interface.md` §3).
///
/// A page in somebody's browser must not reach the admin port: neither by a name that leads here
/// (Host), nor across origins (Origin), nor by a form (a POST's content type).
struct AdminAccess: Sendable {
    /// What the admin port asks for, if anything.
    var token: [UInt8]?

    /// What comes of a request before it is carried out.
    enum Verdict: Equatable {
        case serve(AdminRoute)
        case refuse(AdminReply)
    }

    func verdict(_ request: AdminRequest, on port: AdminPort) -> Verdict {
        if port == .admin, let refusal = refusal(request) { return .refuse(refusal) }
        guard let route = AdminRoute(rawValue: request.path),
            port == .admin || route.isOnMetricsPort
        else { return .refuse(Self.notFound(on: port)) }
        let isRightMethod =
            route.isAction
            ? request.method == .post : request.method == .get || request.method == .head
        if !isRightMethod {
            return .refuse(
                .sentence(
                    405, "\(route.rawValue) takes \(route.isAction ? "POST" : "GET") only.",
                    allowsPost: route.isAction))
        }
        if route.isAction, !Self.isJSON(request.contentType) {
            return .refuse(
                .sentence(
                    415,
                    """
                    A POST needs content-type: application/json here, which no form of a web page \
                    can send.
                    """
                ))
        }
        return .serve(route)
    }

    // MARK: - Who asks

    private func refusal(_ request: AdminRequest) -> AdminReply? {
        if let origin = request.origin, !Self.isOwn(origin, request.authority) {
            return .sentence(
                403, "Requests by pages of other origins are refused; open this port's own page.")
        }
        if let token {
            guard Self.isBearer(request.authorization, of: token) else {
                return .sentence(
                    401,
                    """
                    This port needs its token, the first line of the file of --admin-token-file: \
                    send authorization: Bearer TOKEN.
                    """
                )
            }
            // A page that came here by a name of its own does not know the token.
            return nil
        }
        if !Self.isLocal(request.authority) {
            return .sentence(
                403,
                """
                This host name is refused; use an IP address or localhost, or give the port a \
                token by --admin-token-file.
                """
            )
        }
        return nil
    }

    /// Whether a host is an IP address or `localhost`: no name that somebody's DNS could lead here.
    ///
    /// No Host at all is as good: browsers always send one.
    private static func isLocal(_ authority: String) -> Bool {
        if authority.isEmpty { return true }
        let bytes = Array(authority.utf8)
        guard let parts = Authority.parse(bytes.span) else { return false }
        let host = String(decoding: bytes[parts.host], as: UTF8.self)
        let digits = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        return digits == "localhost" || SocketAddress(digits, port: 0) != nil
    }

    /// Whether the origin is this port itself, as the client reached it (RFC 6454 §6.1).
    private static func isOwn(_ origin: String, _ authority: String) -> Bool {
        let origin = origin.lowercased()
        for scheme in ["http://", "https://"] where origin.hasPrefix(scheme) {
            return !authority.isEmpty && origin.dropFirst(scheme.count) == authority
        }
        return false
    }

    /// Whether the field has the token; takes as long for a wrong one whatever is wrong with it.
    private static func isBearer(_ field: String?, of token: [UInt8]) -> Bool {
        guard let field else { return false }
        let parts = field.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return false }
        return AdminToken.isEqual(Array(parts[1].drop { $0 == " " }.utf8), token)
    }

    private static func isJSON(_ field: String?) -> Bool {
        guard let field else { return false }
        let type = field.prefix { $0 != ";" }
        return type.trimmingSuffix().lowercased() == "application/json"
    }

    private static func notFound(on port: AdminPort) -> AdminReply {
        .sentence(404, "Nothing is here; there are \(AdminRoute.list(of: port)).")
    }
}

extension Substring {
    /// Without spaces and tabs at the end.
    fileprivate func trimmingSuffix() -> Substring {
        var text = self
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
