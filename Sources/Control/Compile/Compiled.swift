import Kernel
import Routing
import Runtime
import Telemetry

/// The sockets of one place, which share an id in the table.
public struct ListenSocketWanted: Hashable, Sendable {
    /// `PortDescription.id`.
    public let id: UInt32
    /// The place, with the listener's own port.
    public let place: ListenPlace
    /// The port to bind.
    public let boundPort: UInt16
    /// Connections begin with TLS.
    public let isTLS: Bool
    /// Which kind of socket it takes.
    public var transport: Transport { place.transport }
    /// Who asked for it, for messages: `ai/gateway/http`.
    public let listeners: [String]

    /// The addresses to open: both families where the place is all addresses.
    public var addresses: [SocketAddress] {
        guard let address = place.address else {
            return [.any(v6: false, port: boundPort), .any(v6: true, port: boundPort)]
        }
        return SocketAddress(address, port: boundPort).map { [$0] } ?? []
    }
}

/// The certificates of a TLS listener.
public struct TLSCertificateSet: Hashable, Sendable {
    /// Chosen among by server name; never empty.
    public let certificates: [CertificateMaterial]
    /// Keeps the session tickets of one listener from another's.
    public let sessionContext: [UInt8]
    /// What ALPN may agree on; none where the bytes are a TLSRoute's, which speak anything.
    public let applicationProtocols: [String]
    /// `ai/gateway/https`, for messages.
    public let listener: String
}

/// A DNS name that an endpoint has.
public struct DNSNameWanted: Hashable, Sendable, Comparable {
    public let name: String
    public let port: UInt16

    public static func < (a: DNSNameWanted, b: DNSNameWanted) -> Bool {
        (a.name, a.port) < (b.name, b.port)
    }
}

/// What the documents come to: all that workers, listeners and resolvers need.
public struct Compiled: Sendable {
    public var table: TableDescription
    /// By `ListenerDescription.parameters`; never empty.
    public var parameters: [Parameters]
    /// By `ListenerDescription.tls`.
    public var certificates: [TLSCertificateSet]
    /// Sorted by place.
    public var sockets: [ListenSocketWanted]
    /// Sorted by name; each once.
    public var dnsNames: [DNSNameWanted]
    /// What clusters are before their names are resolved; sorted by id.
    let blueprints: [(id: UInt32, blueprint: ClusterBlueprint)]
}

extension Compiled {
    /// The clusters with the addresses that are known now.
    ///
    /// - Parameters:
    ///   - identities: gives ids to addresses that are new.
    ///   - clients: keeps TLS settings from one call to the next.
    ///   - addresses: the present addresses of a DNS name, none while it is not resolved; with
    ///     port 0, which becomes that of the endpoint, but where SRV records say a port.
    /// - Returns: the clusters, and what is wrong with those whose TLS cannot be set up: they
    ///   have no endpoints.
    public func clusters(
        _ identities: inout Identities, clients: inout TLSClientCache,
        addresses: (String) -> [SocketAddress]
    ) -> (clusters: [ClusterDescription], problems: [ConfigProblem]) {
        var problems: [ConfigProblem] = []
        var clusters: [ClusterDescription] = []
        for (id, blueprint) in blueprints {
            var cluster = ClusterDescription(
                id: id, name: blueprint.name, protocol: blueprint.protocol,
                serverName: blueprint.tls?.serverName ?? "", hostHeader: blueprint.hostHeader,
                isModelServer: blueprint.isModelServer, proxyProtocol: blueprint.proxyProtocol)
            var isUsable = true
            if let tls = blueprint.tls {
                switch clients.configuration(tls) {
                case .success(let configuration): cluster.tls = configuration
                case .failure(let error):
                    isUsable = false
                    problems.append(
                        ConfigProblem(
                            reason: "InvalidCACertificateRef",
                            message: "\(blueprint.key): its TLS cannot be set up: \(error)"))
                }
            }
            if isUsable {
                cluster.endpoints = endpoints(of: blueprint, id, &identities, addresses)
            }
            cluster.pool = pool(of: blueprint, cluster.endpoints.count, &identities)
            clusters.append(cluster)
        }
        return (clusters, problems)
    }

    /// How the endpoints of a cluster are picked; nil where they are not model servers.
    private func pool(
        of blueprint: ClusterBlueprint, _ endpointCount: Int, _ identities: inout Identities
    ) -> PoolDescription? {
        guard let pool = blueprint.pool else { return nil }
        let picker: PoolPicker
        switch pool.picker {
        case .builtIn: picker = .builtIn
        case .external(let cluster, let opensOnFailure):
            picker = .external(
                cluster: identities.cluster(cluster), opensOnFailure: opensOnFailure)
        }
        return PoolDescription(
            id: identities.pool(blueprint.identity), name: pool.name, picker: picker,
            needsContent: picker != .builtIn || endpointCount > 1 || !pool.rewrites.isEmpty,
            objectives: pool.objectives, rewrites: pool.rewrites)
    }

    private func endpoints(
        of blueprint: ClusterBlueprint, _ cluster: UInt32, _ identities: inout Identities,
        _ addresses: (String) -> [SocketAddress]
    ) -> [EndpointDescription] {
        var seen: Set<SocketAddress> = []
        var endpoints: [EndpointDescription] = []
        for endpoint in blueprint.endpoints {
            for (address, authority) in located(endpoint, addresses)
            where seen.insert(address).inserted {
                endpoints.append(
                    EndpointDescription(
                        id: identities.endpoint(address, of: cluster), address: address,
                        authority: authority, priority: endpoint.priority))
            }
        }
        return endpoints
    }

    /// The addresses of an endpoint, each with the Host that it sees.
    private func located(
        _ endpoint: ClusterBlueprint.Endpoint, _ addresses: (String) -> [SocketAddress]
    ) -> [(SocketAddress, String)] {
        switch endpoint.host {
        case .address(let address): [(address, endpoint.authority)]
        case .name(let name, let port):
            addresses(name).map { address in
                // SRV records say a port, and their owner's name is no name of a host.
                if address.port != 0 { return (address, address.description) }
                var address = address
                address.port = port
                return (address, endpoint.authority)
            }
        }
    }
}
