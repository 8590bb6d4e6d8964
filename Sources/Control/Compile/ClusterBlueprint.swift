import Inference
import Kernel
import Routing
import Runtime
import TLS

/// What a backend is made of before names are resolved to addresses.
struct ClusterBlueprint: Sendable {
    /// One server.
    struct Endpoint: Hashable, Sendable {
        enum Host: Hashable, Sendable {
            case address(SocketAddress)
            /// A DNS name with a port; its addresses come and go.
            case name(String, port: UInt16)
        }

        let host: Host
        /// Host and port as a Host field would have them.
        let authority: String
        let priority: UInt8
        /// What serves there; `.none` where it does not matter.
        var engine = EngineKind.none
        /// Memory for models in bytes; 0 unknown.
        var vramBytes: UInt64 = 0
        /// What a session token names it by: a Pod's `namespace/name`; the authority when empty.
        var session = ""

        /// An endpoint by what a document says: an IP address or a DNS name.
        init(host text: String, port: UInt16, defaultPort: UInt16 = 80, priority: UInt8 = 0) {
            let name = text.hasSuffix(".") ? String(text.dropLast()) : text
            var shown = name.lowercased()
            if let address = SocketAddress(name, port: port) {
                host = .address(address)
                let digits = address.hostDescription
                shown = address.isIPv6 ? "[\(digits)]" : digits
            } else {
                host = .name(shown, port: port)
            }
            authority = port == defaultPort ? shown : "\(shown):\(port)"
            self.priority = priority
        }

        /// An endpoint by its address.
        init(_ address: SocketAddress) {
            host = .address(address)
            authority = "\(address)"
            priority = 0
        }
    }

    /// How the endpoints are spoken to with TLS.
    struct TLS: Hashable, Sendable {
        /// The name to ask for and to verify.
        let serverName: String
        /// CA certificates in PEM form; empty for the system's.
        let authorities: [UInt8]
        /// Offered by ALPN in this order; none where bytes are passed on whatever they say.
        var applicationProtocols: [String]
        /// Any certificate is taken, whatever its name and date: for endpoint pickers only.
        var isUnverified = false
        /// Where not empty, these names authenticate the server in place of `serverName`.
        var subjectNames: [TLSSubjectName] = []
        /// Shown to servers that ask for one: the Gateway's own.
        var clientCertificate: CertificateMaterial?
    }

    /// How endpoints are picked that are model servers.
    struct Pool: Sendable {
        enum Picker: Sendable, Equatable {
            case builtIn
            /// By the `identity` of its cluster.
            case external(cluster: String, opensOnFailure: Bool)
        }

        let pool: PoolName
        let picker: Picker
        let objectives: [ObjectiveDescription]
        let rewrites: [RewriteDescription]
        /// What a Backend says itself, over what its Gateways say.
        var own: PickerSpec?

        /// `namespace/name`.
        var name: String { pool.name.description }

        /// Whether this process ever picks: always, or when the external picker fails.
        var isPickedHere: Bool {
            switch picker {
            case .builtIn: true
            case .external(_, let opensOnFailure): opensOnFailure
            }
        }

        /// What most of the endpoints are: one configuration holds for the pool.
        func engine(of endpoints: [Endpoint]) -> EngineKind {
            var counts: [EngineKind: Int] = [:]
            for endpoint in endpoints { counts[endpoint.engine, default: 0] += 1 }
            return counts.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }?.key
                ?? .none
        }
    }

    /// How many retries its backend gets, over all its ports.
    struct Retries: Hashable, Sendable {
        let allowance: RetryAllowance
        /// The XBackendTrafficPolicy that says so.
        let policy: NamespacedName
        let backend: PoolName
    }

    /// `Service ai/ollama:80` or `Backend ai/ollama`: what references lead to.
    let key: String
    /// `ai/ollama:80` or `ai/ollama`, for logs.
    let name: String
    let endpoints: [Endpoint]
    let `protocol`: ClusterProtocol
    let transport: Transport
    let proxyProtocol: Runtime.ProxyProtocol
    var tls: TLS?
    let hostHeader: HostHeader
    let isModelServer: Bool
    /// Nil: the less busy of two.
    var pool: Pool?
    /// The BackendTLSPolicy that `tls` comes from.
    var policy: NamespacedName?
    /// Nil: as many as the Gateway's own limits say.
    var retries: Retries?

    /// The key with what tells this cluster's connections from another's to the same place.
    var identity: String {
        var words = [key]
        if self.protocol.isHTTP2 { words.append("h2") }
        if transport == .udp { words.append("udp") }
        if proxyProtocol != .none { words.append("proxy \(proxyProtocol)") }
        // Bytes of a TCPRoute go to the same servers without being picked.
        if pool != nil { words.append("picked") }
        if let tls {
            words.append("tls \(tls.serverName) \(StableDigest.hex(tls.authorities))")
            if tls.isUnverified { words.append("unverified") }
            words += tls.applicationProtocols
            words += tls.subjectNames.map { "\($0)" }
            if let certificate = tls.clientCertificate {
                words.append("as \(certificate.secret) \(certificate.digest)")
            }
        }
        return words.joined(separator: " ")
    }
}

extension ClusterBlueprint {
    /// How TLS is spoken to the endpoints, for people; nil: it is not.
    var sealing: String? {
        guard let tls else { return nil }
        var words = ["server name \(tls.serverName)"]
        if tls.isUnverified {
            words.append("any certificate")
        } else {
            let names = tls.subjectNames.map { name in
                switch name {
                case .host(let host): host
                case .uri(let uri): uri
                }
            }
            let whose =
                names.isEmpty ? "its certificate" : "a certificate for \(sentenceList(names, "or"))"
            words.append(
                "\(whose) by \(tls.authorities.isEmpty ? "the system's CAs" : "CAs of the documents")"
            )
        }
        if let certificate = tls.clientCertificate {
            words.append("shows the certificate of Secret \(certificate.secret)")
        }
        let text = words.joined(separator: ", ")
        return policy.map { "\(text); BackendTLSPolicy \($0)" } ?? text
    }
}

extension ClusterProtocol {
    var isHTTP2: Bool { self == .h2c || self == .http2 }
}

/// A digest that is the same in every run, for ids and contexts; not for secrets.
enum StableDigest {
    /// FNV-1a of 64 bits, as 16 hex digits.
    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
