import Runtime

/// What is spoken with a backend, by the kind of route that leads to it and by what the backend
/// says of itself (GEP-1911; `Backend.spec.protocol`).
enum BackendProtocols {
    /// Of a Service's port; `place` names it.
    static func ofService(
        _ port: ServicePort, for kind: RouteKind, place: String
    ) -> Result<ClusterProtocol, FindingError> {
        // Bytes and datagrams are passed on whatever they mean.
        guard kind.routesRequests else { return .success(.http) }
        let name = (port.appProtocol ?? "").lowercased()
        switch name {
        case "", "tcp": return .success(kind == .grpc ? .h2c : .http)
        case "kubernetes.io/h2c", "h2c", "grpc": return .success(.h2c)
        case "http", "ws", "kubernetes.io/ws":
            if kind == .http { return .success(.http) }
            return refuse("\(place) has appProtocol \(name), and calls of gRPC need HTTP/2")
        case "https", "wss", "kubernetes.io/wss":
            return refuse(
                "\(place) has appProtocol \(name), which needs TLS; name the servers in a Backend "
                    + "with protocol HTTPS")
        default:
            return refuse(
                "\(place) has appProtocol \(name), which is not supported; leave it out for HTTP")
        }
    }

    /// Of a Backend that has passed `BackendResolver.rejection`; `place` names it.
    static func ofBackend(
        _ spec: BackendSpec, for kind: RouteKind, place: String
    ) -> Result<ClusterProtocol, FindingError> {
        let proto = spec.protocol ?? .http
        switch kind {
        case .http: return .success(requests[proto] ?? .http)
        case .grpc:
            if proto == .h2c || spec.protocol == nil { return .success(.h2c) }
            if proto == .http2 { return .success(.http2) }
            return refuse("\(place) has protocol \(proto), and calls of gRPC need H2C or HTTP2")
        case .tls, .tcp: return .success(proto == .https || proto == .http2 ? .https : .http)
        case .udp:
            if proto == .https || proto == .http2 {
                return refuse("\(place) has protocol \(proto), which no datagrams can have")
            }
            if spec.proxyProtocol ?? .none != .none {
                return refuse("\(place) has a proxyProtocol, which no datagrams can have")
            }
            return .success(.http)
        }
    }

    /// What is offered by ALPN where TLS is spoken.
    static func offered(_ proto: ClusterProtocol, for kind: RouteKind) -> [String] {
        guard kind.routesRequests else { return [] }
        return proto == .http2 ? ["h2", "http/1.1"] : ["http/1.1"]
    }

    private static let requests: [BackendProtocol: ClusterProtocol] = [
        .http: .http, .h2c: .h2c, .https: .https, .http2: .http2,
    ]

    private static func refuse(_ message: String) -> Result<ClusterProtocol, FindingError> {
        .failure(FindingError(Finding("UnsupportedProtocol", message)))
    }
}
