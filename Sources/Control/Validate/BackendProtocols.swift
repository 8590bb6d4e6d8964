import Routing
import Runtime

/// What passes to a backend.
enum BackendUse: Hashable, Sendable {
    case requests
    case calls
    /// All bytes of a connection; `isSealed` where they are the client's own TLS.
    case bytes(isSealed: Bool)
    case datagrams

    /// Whether it is known what the bytes mean.
    var isHTTP: Bool { self == .requests || self == .calls }

    /// Whether the gateway may put TLS of its own around it.
    var takesTLS: Bool { isHTTP || self == .bytes(isSealed: false) }

    /// Of a route on a listener.
    init(_ kind: RouteKind, isPassthrough: Bool = false) {
        switch kind {
        case .http: self = .requests
        case .grpc: self = .calls
        case .tls, .tcp: self = .bytes(isSealed: isPassthrough)
        case .udp: self = .datagrams
        }
    }
}

/// What is spoken with a backend, by what passes to it and by what the backend says of itself
/// (GEP-1911; `Backend.spec.protocol`).
enum BackendProtocols {
    /// Of a Service's port, over TLS where a policy says so; `place` names it.
    static func ofService(
        _ port: ServicePort, for use: BackendUse, isSecured: Bool, place: String
    ) -> Result<ClusterProtocol, FindingError> {
        let http1 = isSecured ? ClusterProtocol.https : .http
        let http2 = isSecured ? ClusterProtocol.http2 : .h2c
        // Bytes and datagrams are passed on whatever they mean.
        guard use.isHTTP else { return .success(http1) }
        let name = (port.appProtocol ?? "").lowercased()
        switch name {
        case "", "tcp": return .success(use == .calls ? http2 : http1)
        case "kubernetes.io/h2c", "h2c", "grpc": return .success(http2)
        case "http", "ws", "kubernetes.io/ws":
            if use == .requests { return .success(http1) }
            return refuse("\(place) has appProtocol \(name), and calls of gRPC need HTTP/2")
        case "https", "wss", "kubernetes.io/wss":
            if !isSecured {
                return refuse(
                    "\(place) has appProtocol \(name), which needs TLS; say in a BackendTLSPolicy "
                        + "whom to trust")
            }
            if use == .requests { return .success(http1) }
            if name == "https" { return .success(http2) }
            return refuse("\(place) has appProtocol \(name), and calls of gRPC need HTTP/2")
        default:
            return refuse(
                "\(place) has appProtocol \(name), which is not supported; leave it out for HTTP")
        }
    }

    /// Of a Backend that has passed `BackendResolver.rejection`; `place` names it.
    static func ofBackend(
        _ spec: BackendSpec, for use: BackendUse, place: String
    ) -> Result<ClusterProtocol, FindingError> {
        let proto = spec.protocol ?? .http
        switch use {
        case .requests: return .success(requests[proto] ?? .http)
        case .calls:
            if proto == .h2c || spec.protocol == nil { return .success(.h2c) }
            if proto == .http2 { return .success(.http2) }
            return refuse("\(place) has protocol \(proto), and calls of gRPC need H2C or HTTP2")
        case .bytes(let isSealed): return .success(proto.isTLS && !isSealed ? .https : .http)
        case .datagrams:
            if proto.isTLS {
                return refuse("\(place) has protocol \(proto), which no datagrams can have")
            }
            if spec.proxyProtocol ?? .none != .none {
                return refuse("\(place) has a proxyProtocol, which no datagrams can have")
            }
            return .success(.http)
        }
    }

    /// Of an InferencePool; `place` names it.
    static func ofPool(
        _ spec: InferencePoolSpec, for use: BackendUse, place: String
    ) -> Result<ClusterProtocol, FindingError> {
        switch spec.appProtocol {
        case nil: return .success(use == .calls ? .h2c : .http)
        case "kubernetes.io/h2c": return .success(.h2c)
        default:
            if use == .requests { return .success(.http) }
            return refuse("\(place) has appProtocol http, and calls of gRPC need kubernetes.io/h2c")
        }
    }

    /// What is offered by ALPN where TLS is spoken.
    static func offered(_ proto: ClusterProtocol, for use: BackendUse) -> [String] {
        guard use.isHTTP else { return [] }
        return proto == .http2 ? ["h2", "http/1.1"] : ["http/1.1"]
    }

    private static let requests: [BackendProtocol: ClusterProtocol] = [
        .http: .http, .h2c: .h2c, .https: .https, .http2: .http2,
    ]

    private static func refuse(_ message: String) -> Result<ClusterProtocol, FindingError> {
        .failure(FindingError(Finding("UnsupportedProtocol", message)))
    }
}

extension ServicePort {
    func takes(_ transport: Transport) -> Bool {
        self.protocol ?? "TCP" == transport.name
    }

    /// As people name it.
    func place(of service: Entry<Service>) -> String {
        "port \(port) of Service \(service.name)"
    }
}

extension Transport {
    /// As Services name it.
    var name: String { self == .udp ? "UDP" : "TCP" }
}

extension ProxyProtocol {
    /// What connections begin with.
    var header: Runtime.ProxyProtocol {
        switch self {
        case .v1: .v1
        case .v2: .v2
        default: .none
        }
    }
}
