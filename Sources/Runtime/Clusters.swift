import BasicContainers
import HTTP
import Inference
import Kernel
import TLS

/// What is spoken to the endpoints of a cluster.
public enum ClusterProtocol: UInt8, Sendable, BitwiseCopyable {
    /// HTTP/1.1 over TCP.
    case http
    /// HTTP/1.1 over TLS.
    case https
    /// HTTP/2 over TCP, by prior knowledge.
    case h2c
    /// HTTP/2 over TLS where ALPN says so, else HTTP/1.1.
    case http2

    /// Whether connections are TLS.
    public var isTLS: Bool { self == .https || self == .http2 }
}

/// Which header of the PROXY protocol a backend's connections begin with (`Backend.spec.proxyProtocol`).
public enum ProxyProtocol: UInt8, Sendable, BitwiseCopyable {
    case none, v1, v2
}

/// Which Host an endpoint sees (`Backend.spec.hostHeader`).
public enum HostHeader: Sendable, Equatable {
    /// As the client sent it, or as a URLRewrite filter made it.
    case preserve
    /// The endpoint's own address or DNS name, unless a URLRewrite filter names another.
    case endpoint
    /// A fixed name, unless a URLRewrite filter names another.
    case name(String)
}

/// One address that serves a cluster.
public struct EndpointDescription: Sendable, Equatable {
    /// Stable for as long as the process runs, dense from 0: pools and ejections are found by it.
    public var id: UInt32
    public var address: SocketAddress
    /// Host for `HostHeader.endpoint`: the DNS name or the address, with the port where it is not the default.
    public var authority: String
    /// 0 is used first; a higher group only while no lower one has a usable endpoint.
    public var priority: UInt8
    /// The session token that names it, which answers bring where the pool looks at it; empty for none.
    public var session: String

    public init(
        id: UInt32, address: SocketAddress, authority: String, priority: UInt8 = 0,
        session: String = ""
    ) {
        self.session = session
        self.id = id
        self.address = address
        self.authority = authority
        self.priority = priority
    }
}

/// One backend's endpoints and how to speak to them: a Service port or a `Backend`.
public struct ClusterDescription: Sendable {
    /// Stable for as long as the process runs, dense from 0.
    public var id: UInt32
    /// `namespace/name:port`, for logs and metrics.
    public var name: String
    public var `protocol`: ClusterProtocol
    public var endpoints: [EndpointDescription]
    /// With TLS: whom to trust.
    public var tls: TLSClientConfiguration?
    /// With TLS: the server name to ask for and to verify.
    public var serverName: String
    public var hostHeader: HostHeader
    /// Inference paths of this cluster are free of side effects and may move to another endpoint.
    public var isModelServer: Bool
    /// What each connection begins with, before TLS.
    public var proxyProtocol: ProxyProtocol
    /// How its endpoints are picked, where they are model servers; nil: the less busy of two.
    public var pool: PoolDescription?
    /// What its retries are taken from; nil: what the Gateway's limits say of all.
    public var retryBudget: RetryBudget?

    public init(
        id: UInt32, name: String, protocol: ClusterProtocol = .http,
        endpoints: [EndpointDescription] = [], tls: TLSClientConfiguration? = nil,
        serverName: String = "", hostHeader: HostHeader = .preserve, isModelServer: Bool = false,
        proxyProtocol: ProxyProtocol = .none, pool: PoolDescription? = nil
    ) {
        self.id = id
        self.name = name
        self.protocol = `protocol`
        self.endpoints = endpoints
        self.tls = tls
        self.serverName = serverName
        self.hostHeader = hostHeader
        self.isModelServer = isModelServer
        self.proxyProtocol = proxyProtocol
        self.pool = pool
    }
}

/// How a row says which Host the endpoint sees.
public enum HostHeaderKind: UInt8, Sendable, BitwiseCopyable {
    case preserve, endpoint, name
}

/// A cluster as the worker reads it.
public struct ClusterRow: BitwiseCopyable, Sendable {
    public let id: UInt32
    /// First row of this cluster in `ClusterSet.endpoints`; they are sorted by priority.
    public let firstEndpoint: Int32
    public let endpointCount: Int32
    public let `protocol`: ClusterProtocol
    public let isModelServer: Bool
    public let proxyProtocol: ProxyProtocol
    public let hostHeaderKind: HostHeaderKind
    /// Into `ClusterSet.arena`, with `HostHeaderKind.name`.
    public let hostHeader: ByteRange
    /// Into `ClusterSet.tls`, or -1.
    public let tls: Int32
    /// Into `ClusterSet.pools`, or -1.
    public let pool: Int32
    /// Into `ClusterSet.retryBudgets`, or -1.
    public let retryBudget: Int32
    /// More is asked for the choice of an endpoint than which is less busy.
    public let isPicked: Bool
}

/// An endpoint as the worker reads it.
public struct EndpointRow: BitwiseCopyable, Sendable {
    public let id: UInt32
    public let address: SocketAddress
    /// Into `ClusterSet.arena`.
    public let authority: ByteRange
    /// Into `ClusterSet.arena`, `.none` where answers bring no token.
    public let session: ByteRange
    /// What it is called inside, as a number, that tokens of rules' sessions are made with (`SessionToken`).
    public let key: UInt64
    public let priority: UInt8
}

/// The endpoints of all clusters, one worker's copy; replaced as a whole when any address changes.
///
/// It is apart from `Snapshot` because addresses change with DNS and EndpointSlices, far more often than routes.
public struct ClusterSet: ~Copyable, Sendable {
    public let clusters: RigidArray<ClusterRow>
    public let endpoints: RigidArray<EndpointRow>
    public let arena: RigidArray<UInt8>
    public let tls: [TLSClientConfiguration]
    /// Server names, by `ClusterRow.tls`; touched at handshakes only.
    public let serverNames: [String]
    /// How endpoints are picked, by `ClusterRow.pool`.
    public let pools: [PoolDescription]
    /// What retries are taken from, by `ClusterRow.retryBudget`.
    public let retryBudgets: [RetryBudget]
    private let byAddress = ByAddress()
    /// Row of a cluster by its id, -1 for none.
    private let rowByID: RigidArray<Int32>
    /// One more than the largest endpoint id.
    public let endpointIDLimit: Int

    /// Lays the descriptions out as rows; endpoints of one cluster in the order of their priority.
    public init(_ descriptions: [ClusterDescription]) {
        let endpointCount = descriptions.reduce(0) { $0 + $1.endpoints.count }
        var clusters = RigidArray<ClusterRow>(capacity: descriptions.count)
        var endpoints = RigidArray<EndpointRow>(capacity: endpointCount)
        var text: [UInt8] = []
        var tls: [TLSClientConfiguration] = []
        var serverNames: [String] = []
        var pools: [PoolDescription] = []
        var retryBudgets: [RetryBudget] = []
        var limit = 0
        let idLimit = (descriptions.map { Int($0.id) }.max() ?? -1) + 1
        var rows = RigidArray<Int32>(repeating: -1, count: idLimit)
        func store(_ string: String) -> ByteRange {
            let start = text.count
            text.append(contentsOf: string.utf8)
            return ByteRange(start: UInt32(start), count: UInt32(text.count - start))
        }
        for description in descriptions {
            let first = Int32(endpoints.count)
            for endpoint in description.endpoints.sorted(by: { $0.priority < $1.priority }) {
                limit = max(limit, Int(endpoint.id) + 1)
                endpoints.append(
                    EndpointRow(
                        id: endpoint.id, address: endpoint.address,
                        authority: store(endpoint.authority),
                        session: endpoint.session.isEmpty ? .none : store(endpoint.session),
                        key: PickingHash.of("\(description.name) \(endpoint.address)".utf8.span),
                        priority: endpoint.priority))
            }
            var tlsRow: Int32 = -1
            if let configuration = description.tls, description.protocol.isTLS {
                tlsRow = Int32(tls.count)
                tls.append(configuration)
                serverNames.append(description.serverName)
            }
            if let pool = description.pool { pools.append(pool) }
            if let budget = description.retryBudget { retryBudgets.append(budget) }
            var kind = HostHeaderKind.preserve
            var name = ByteRange.none
            switch description.hostHeader {
            case .preserve: break
            case .endpoint: kind = .endpoint
            case .name(let host):
                kind = .name
                name = store(host)
            }
            rows[Int(description.id)] = Int32(clusters.count)
            clusters.append(
                ClusterRow(
                    id: description.id, firstEndpoint: first,
                    endpointCount: Int32(description.endpoints.count),
                    protocol: description.protocol, isModelServer: description.isModelServer,
                    proxyProtocol: description.proxyProtocol,
                    hostHeaderKind: kind, hostHeader: name, tls: tlsRow,
                    pool: description.pool == nil ? -1 : Int32(pools.count - 1),
                    retryBudget: description.retryBudget == nil
                        ? -1 : Int32(retryBudgets.count - 1),
                    isPicked: description.pool.map { $0.needsContent || $0.picker != .builtIn }
                        ?? false))
        }
        self.clusters = clusters
        self.endpoints = endpoints
        var arena = RigidArray<UInt8>(capacity: text.count)
        for byte in text { arena.append(byte) }
        self.arena = arena
        self.tls = tls
        self.serverNames = serverNames
        self.pools = pools
        self.retryBudgets = retryBudgets
        rowByID = rows
        endpointIDLimit = limit
    }

    private init(
        clusters: consuming RigidArray<ClusterRow>, endpoints: consuming RigidArray<EndpointRow>,
        arena: consuming RigidArray<UInt8>, tls: [TLSClientConfiguration], serverNames: [String],
        pools: [PoolDescription], retryBudgets: [RetryBudget], rowByID: consuming RigidArray<Int32>,
        endpointIDLimit: Int
    ) {
        self.clusters = clusters
        self.endpoints = endpoints
        self.arena = arena
        self.tls = tls
        self.serverNames = serverNames
        self.pools = pools
        self.retryBudgets = retryBudgets
        self.rowByID = rowByID
        self.endpointIDLimit = endpointIDLimit
    }

    /// A copy for another worker.
    public func clone() -> ClusterSet {
        ClusterSet(
            clusters: clusters.clone(), endpoints: endpoints.clone(), arena: arena.clone(),
            tls: tls, serverNames: serverNames, pools: pools, retryBudgets: retryBudgets,
            rowByID: rowByID.clone(), endpointIDLimit: endpointIDLimit)
    }

    /// One more than the largest cluster id.
    public var clusterIDLimit: Int { rowByID.count }

    /// Whether any cluster has the endpoint; linear, for the moment when a set is replaced.
    public func hasEndpoint(_ id: UInt32) -> Bool {
        for row in 0..<endpoints.count where endpoints[row].id == id { return true }
        return false
    }

    /// Row of an endpoint of a cluster, or -1 when it is gone; linear.
    public func row(ofEndpoint id: UInt32, cluster: UInt32) -> Int32 {
        let row = row(ofCluster: cluster)
        if row < 0 { return -1 }
        let first = clusters[Int(row)].firstEndpoint
        for at in first..<(first + clusters[Int(row)].endpointCount)
        where endpoints[Int(at)].id == id { return at }
        return -1
    }

    /// Row of a cluster in `clusters`, or -1 when the set does not have it.
    @inline(__always)
    public func row(ofCluster id: UInt32) -> Int32 {
        Int(id) < rowByID.count ? rowByID[Int(id)] : -1
    }
}
