import Foundation
import Inference
import Kernel
import Peer
import Routing
import Runtime
import TLS
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
    /// What is asked of clients' certificates; nil for nothing.
    public let clientValidation: ClientValidation?
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

/// How the endpoints of a pool are picked and asked how they are, at one moment.
public struct PoolPlan: Sendable {
    /// `PoolDescription.id`.
    public let id: UInt32
    /// `namespace/name`.
    public let name: String
    /// Nil where an external picker alone decides.
    public let configuration: PoolConfiguration?
    public let endpoints: [PoolEndpoint]
    let watched: [WatchedEndpoint]
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
    /// What documents say of picking, by pool.
    let settings: [PoolName: PickerSettings]
}

extension Compiled {
    /// The clusters with the addresses that are known now.
    ///
    /// - Parameters:
    ///   - identities: gives ids to addresses that are new.
    ///   - clients: keeps TLS settings from one call to the next.
    ///   - addresses: the present addresses of a DNS name, none while it is not resolved; with
    ///     port 0, which becomes that of the endpoint, but where SRV records say a port.
    /// - Returns: the clusters, whose pools have no ledgers yet; how each pool is to be picked and
    ///   asked; and what is wrong with clusters whose TLS cannot be set up: they have no endpoints.
    public func clusters(
        _ identities: inout Identities, clients: inout TLSClientCache,
        addresses: (String) -> [SocketAddress]
    ) -> (clusters: [ClusterDescription], pools: [PoolPlan], problems: [ConfigProblem]) {
        var problems: [ConfigProblem] = []
        var pools: [PoolPlan] = []
        var clusters: [ClusterDescription] = []
        for (id, blueprint) in blueprints {
            var cluster = ClusterDescription(
                id: id, name: blueprint.name, protocol: blueprint.protocol,
                serverName: blueprint.tls?.serverName ?? "", hostHeader: blueprint.hostHeader,
                isModelServer: blueprint.isModelServer, proxyProtocol: blueprint.proxyProtocol)
            cluster.retryBudget = blueprint.retries.map { identities.retryBudget($0) }
            var isUsable = true
            if let tls = blueprint.tls {
                switch clients.configuration(tls) {
                case .success(let configuration): cluster.tls = configuration
                case .failure(let error):
                    isUsable = false
                    problems.append(
                        ConfigProblem(
                            reason: error.reason == .trustUnusable
                                ? "InvalidCACertificateRef" : "InvalidClientCertificateRef",
                            message: "\(blueprint.key): its TLS cannot be set up: \(error)"))
                }
            }
            if isUsable {
                let located = endpoints(of: blueprint, id, &identities, addresses)
                cluster.endpoints = located.map(\.description)
                if let pool = blueprint.pool {
                    let transport = CallTransport(
                        tls: cluster.tls, serverName: cluster.serverName,
                        isHTTP2: cluster.protocol == .h2c)
                    let plan = plan(of: pool, blueprint, located, transport, &identities)
                    if let profile = plan.configuration?.profile, profile[.sessionAffinity] > 0 {
                        for at in located.indices {
                            cluster.endpoints[at].session = located[at].token
                        }
                    }
                    cluster.pool = description(of: pool, plan, &identities)
                    pools.append(plan)
                }
            }
            clusters.append(cluster)
        }
        clients.keep(blueprints.compactMap(\.blueprint.tls))
        return (clusters, pools, problems)
    }

    /// An endpoint's address with what its document says of it.
    fileprivate struct Located {
        let description: EndpointDescription
        let endpoint: ClusterBlueprint.Endpoint
    }

    /// How the endpoints of a pool are picked and asked.
    private func plan(
        of pool: ClusterBlueprint.Pool, _ blueprint: ClusterBlueprint, _ located: [Located],
        _ transport: CallTransport, _ identities: inout Identities
    ) -> PoolPlan {
        let settings = settings[pool.pool] ?? PickerSettings()
        let engine = pool.engine(of: blueprint.endpoints)
        // A pool that is picked otherwise is another one: its state begins anew.
        let id = identities.pool("\(blueprint.identity) \(engine) \(settings.key)")
        return PoolPlan(
            id: id, name: pool.name,
            configuration: pool.isPickedHere ? settings.configuration(engine) : nil,
            endpoints: located.map { each in
                PoolEndpoint(
                    id: each.description.id, session: each.session,
                    vramBytes: each.endpoint.vramBytes, priority: each.endpoint.priority)
            },
            watched: located.map { each in
                let host: String
                switch blueprint.hostHeader {
                case .name(let name): host = name
                case .preserve, .endpoint: host = each.description.authority
                }
                return WatchedEndpoint(
                    id: each.description.id, address: each.description.address, host: host,
                    engine: each.endpoint.engine,
                    transport: blueprint.proxyProtocol == .none ? transport : nil)
            })
    }

    /// A pool as workers know it, without its ledger.
    private func description(
        of pool: ClusterBlueprint.Pool, _ plan: PoolPlan, _ identities: inout Identities
    ) -> PoolDescription {
        let picker: PoolPicker
        switch pool.picker {
        case .builtIn: picker = .builtIn
        case .external(let cluster, let opensOnFailure):
            picker = .external(
                cluster: identities.cluster(cluster), opensOnFailure: opensOnFailure)
        }
        let settings = settings[pool.pool] ?? PickerSettings()
        return PoolDescription(
            id: plan.id, name: plan.name, picker: picker,
            needsContent: picker != .builtIn || plan.endpoints.count > 1
                || !pool.rewrites.isEmpty || settings.limitsModels,
            sendsAnswers: settings.sendsAnswers ?? true,
            objectives: pool.objectives, rewrites: pool.rewrites)
    }

    private func endpoints(
        of blueprint: ClusterBlueprint, _ cluster: UInt32, _ identities: inout Identities,
        _ addresses: (String) -> [SocketAddress]
    ) -> [Located] {
        var seen: Set<SocketAddress> = []
        var endpoints: [Located] = []
        for endpoint in blueprint.endpoints {
            for (address, authority) in located(endpoint, addresses)
            where seen.insert(address).inserted {
                endpoints.append(
                    Located(
                        description: EndpointDescription(
                            id: identities.endpoint(address, of: cluster), address: address,
                            authority: authority, priority: endpoint.priority),
                        endpoint: endpoint))
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

extension Compiled.Located {
    /// The session token that names it: its name in base64, as the reference scheduler has it.
    fileprivate var token: String {
        let name = endpoint.session.isEmpty ? description.authority : endpoint.session
        return Data(name.utf8).base64EncodedString()
    }

    fileprivate var session: UInt64 { PickingHash.of(token.utf8.span) }
}
