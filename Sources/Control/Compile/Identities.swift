import Kernel
import Routing
import Runtime
import Telemetry

/// Gives ids to ports, listeners, rules, clusters, endpoints, pools and series, by what they are.
///
/// The same thing has the same id for as long as the process runs, and no id is given twice: so
/// counters, pools and ejections survive a reload. Ids are dense; those of series begin at 1.
public struct Identities: Sendable {
    /// Ids of one kind of thing.
    private struct Interner<Key: Hashable & Sendable>: Sendable {
        private var ids: [Key: UInt32] = [:]
        private var next: UInt32

        init(first: UInt32 = 0) {
            next = first
        }

        mutating func id(_ key: Key) -> UInt32 { idAndNews(key).id }

        /// The id, and whether it was given just now.
        mutating func idAndNews(_ key: Key) -> (id: UInt32, isNew: Bool) {
            if let id = ids[key] { return (id, false) }
            let id = next
            // Traps after four billion different things, which no documents can hold.
            next += 1
            ids[key] = id
            return (id, true)
        }
    }

    private struct ListenerKey: Hashable {
        let gateway: NamespacedName
        let name: String
        let port: UInt16
        let isTLS: Bool
        let service: ListenerService
        let transport: Transport
    }

    private struct RuleKey: Hashable {
        let listener: UInt32
        let kind: RouteKind
        let route: NamespacedName
        /// The rule's name, or its position.
        let rule: String
    }

    private struct EndpointKey: Hashable {
        let cluster: UInt32
        let address: SocketAddress
    }

    private var ports = Interner<ListenPlace>()
    private var listeners = Interner<ListenerKey>()
    private var rules = Interner<RuleKey>()
    private var clusters = Interner<String>()
    private var endpoints = Interner<EndpointKey>()
    private var pools = Interner<String>()
    private var series = Interner<SeriesLabels>(first: 1)
    private var retryBudgets: [PoolName: RetryBudget] = [:]
    /// What each listener asks of its clients, and how often it began to ask for more.
    private var terms: [UInt32: (asked: ClientValidation?, number: UInt32)] = [:]
    /// The labels of all series ever given, and the names of all listeners.
    private(set) var labels: [UInt32: SeriesLabels] = [:]
    private(set) var listenerNames: [UInt32: SeriesLabels] = [:]

    public init() {}

    mutating func port(_ place: ListenPlace) -> UInt32 { ports.id(place) }

    mutating func listener(_ listener: ResolvedListener, of gateway: NamespacedName) -> UInt32 {
        let key = ListenerKey(
            gateway: gateway, name: listener.nameInGateway, port: listener.port,
            isTLS: listener.isTLS,
            service: listener.service, transport: listener.transport)
        let (id, isNew) = listeners.idAndNews(key)
        if isNew {
            listenerNames[id] = SeriesLabels(
                gateway: gateway.description, listener: listener.nameInGateway)
        }
        return id
    }

    /// A number that changes whenever a listener no longer admits all clients that it admitted before.
    mutating func terms(_ asked: ClientValidation?, of listener: UInt32) -> UInt32 {
        let known = terms[listener] ?? (asked, 0)
        let isStricter = !ClientValidation.admits(asked, allOf: known.asked)
        let number = known.number + (isStricter ? 1 : 0)
        terms[listener] = (asked, number)
        return number
    }

    mutating func rule(
        _ rule: String, of route: NamespacedName, kind: RouteKind = .http, on listener: UInt32
    ) -> UInt32 {
        rules.id(RuleKey(listener: listener, kind: kind, route: route, rule: rule))
    }

    mutating func cluster(_ identity: String) -> UInt32 { clusters.id(identity) }

    /// Of a cluster whose endpoints are picked, by the cluster's identity.
    mutating func pool(_ identity: String) -> UInt32 { pools.id(identity) }

    mutating func endpoint(_ address: SocketAddress, of cluster: UInt32) -> UInt32 {
        endpoints.id(EndpointKey(cluster: cluster, address: address))
    }

    mutating func series(_ labels: SeriesLabels) -> UInt32 {
        let (id, isNew) = series.idAndNews(labels)
        if isNew { self.labels[id] = labels }
        return id
    }

    /// What the retries of a backend are taken from: as much of it is spent as before, as long as it allows the same.
    mutating func retryBudget(_ retries: ClusterBlueprint.Retries) -> RetryBudget {
        if let known = retryBudgets[retries.backend], known.allowance == retries.allowance {
            return known
        }
        let budget = RetryBudget(retries.allowance)
        retryBudgets[retries.backend] = budget
        return budget
    }

    /// The names for metrics and logs.
    public var seriesNames: SeriesNames { SeriesNames(labels, listeners: listenerNames) }
}
