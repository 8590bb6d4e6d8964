import Foundation
import Kernel
import Logging
import Routing
import Runtime
import TLS
import Telemetry

/// Why `run` does not start.
public struct StartRefused: Error {
    /// What is wrong, each with its place.
    public let problems: [ConfigProblem]
}

/// The slow thread that must be right: reads documents, compiles them, opens sockets, publishes.
///
/// A reading that cannot be taken changes nothing: the workers keep the last table, and the problems say why.
public struct ControlPlane: ~Copyable {
    /// How long a port that could not be had rests before it is tried again.
    private static let listenRetryMilliseconds: UInt64 = 5_000
    /// How long workers still know a cluster that no document names any more: as long as a connection may take to be made.
    private static let leavingMilliseconds: UInt64 = 5_000

    private let options: RunOptions
    private let publisher: Publisher
    private let published: PublishedState
    private let mailbox: Mailbox<ControlMessage>
    private let observer: Mailbox<ObserverMessage>?
    private let log: Logger

    private var origin: ManifestFolder
    private var identities = Identities()
    private var sockets: ListenerSockets
    private var serverTLS: TLSServerCache
    private var clientTLS = TLSClientCache()
    private let ticketKeys: TLSTicketKeys
    private var certificates: [NamespacedName: CertificateObservation] = [:]
    private var authorities: [AuthorityHolder: CertificateObservation] = [:]
    private var addresses: [String: [SocketAddress]] = [:]
    private var names: [String] = []
    private var watched: [WatchedPool] = []
    /// By `PoolDescription.id`; one that is gone goes with its last lease.
    private var ledgers: [UInt32: PoolLedger] = [:]

    private var documents = DocumentSet()
    private var compiled: Compiled?
    /// Why there is no pool to pick for, where that is what the documents are read for.
    private var choice: ConfigProblem?
    private var lastTable: TableDescription?
    private var lastParameters: [Parameters] = []
    private var lastCertificates: [TLSCertificateSet] = []
    private var generation: UInt64 = 0
    private var nextListenTry: UInt64 = 0
    /// What the documents name; sent to workers with those that leave.
    private var clusters: [ClusterDescription] = []
    /// Clusters whose requests were decided by a table that is no more, until when workers know them; in the order of their time.
    private var leaving: [(cluster: ClusterDescription, until: UInt64)] = []
    /// The workers have the table of the documents that were read last.
    private var isTableTaken = true

    /// A control plane that publishes to workers and shows what it did in `published`.
    public init(
        options: RunOptions, publisher: Publisher, published: PublishedState,
        mailbox: Mailbox<ControlMessage>, observer: Mailbox<ObserverMessage>?, log: Logger
    ) {
        self.options = options
        self.publisher = publisher
        self.published = published
        self.mailbox = mailbox
        self.observer = observer
        self.log = log
        origin = ManifestFolder(paths: options.paths, kinds: KindRegistry.all)
        sockets = ListenerSockets(publisher.mailboxes, takesOver: options.takesOver)
        ticketKeys = TLSTicketKeys(now: UInt64(Date().timeIntervalSince1970))
        serverTLS = TLSServerCache(ticketKeys: ticketKeys)
    }

    /// The first reading: throws where a file cannot be read at all, since there is no last good state.
    public mutating func start() throws(StartRefused) {
        let first = origin.poll() ?? DocumentSet()
        if !first.unreadPaths.isEmpty { throw StartRefused(problems: first.problems) }
        take(first)
        if let choice { throw StartRefused(problems: [choice]) }
    }

    /// Follows the documents until it is told to stop.
    public mutating func run() {
        guard var loop = try? Loop(capacity: 8) else { return }
        let descriptors = [mailbox.descriptor, origin.descriptor]
        for (slot, descriptor) in descriptors.enumerated() where descriptor >= 0 {
            let token = Token(kind: 1, slot: UInt32(slot), generation: 1)
            try? loop.register(descriptor, token, edgeTriggered: false)
        }
        while true {
            _ = loop.wait(timeoutMilliseconds: delay())
            mailbox.acknowledge()
            while let message = mailbox.take() {
                if !carryOut(message) { return }
            }
            if let changed = origin.poll() { take(changed) }
            let now = Clock.monotonicMilliseconds()
            if nextListenTry != 0, now >= nextListenTry { take(documents) }
            if let compiled, isTableTaken, let first = leaving.first, now >= first.until {
                publishClusters(compiled)
            }
            _ = ticketKeys.rotate(now: UInt64(Date().timeIntervalSince1970))
        }
    }

    private func delay() -> Int32 {
        var delay = origin.delayMilliseconds()
        let now = Clock.monotonicMilliseconds()
        var next = nextListenTry
        if isTableTaken, let first = leaving.first {
            next = next == 0 ? first.until : min(next, first.until)
        }
        if next != 0 { delay = min(delay, Int32(clamping: next > now ? next - now : 0)) }
        return max(min(delay, 60_000), 0)
    }

    private mutating func carryOut(_ message: ControlMessage) -> Bool {
        switch message {
        case .reread: origin.requestScan()
        case .resolved(let name, let found):
            addresses[name] = found
            if let compiled { publishClusters(compiled) }
        case .stop: return false
        }
        return true
    }

    // MARK: - From documents to tables

    /// Compiles what was read and publishes what changed by it.
    private mutating func take(_ read: DocumentSet) {
        let previous = documents
        documents = Admission.admit(read, keeping: previous)
        let known = certificates
        certificates = CertificateObservation.read(documents, keeping: known)
        keepUsablePairs(previous, before: known)
        authorities = CertificateObservation.readAuthorities(documents, keeping: authorities)
        let resolution = Resolution(
            documents, placement: options.placement, observations: observations())
        let compiled = compile(resolution)
        let opened = sockets.follow(compiled.sockets, log)
        nextListenTry =
            sockets.isComplete
            ? 0 : Clock.monotonicMilliseconds() + Self.listenRetryMilliseconds
        let isGood = publish(compiled)
        sockets.handOver(opened)
        follow(compiled.dnsNames.map(\.name))
        // Told after it is in force; what the sockets came to is known by then.
        show(
            status(documents, resolved: resolution, observations: observations()), isGood: isGood)
        self.compiled = compiled
    }

    private mutating func compile(_ resolution: Resolution) -> Compiled {
        switch options.purpose {
        case .gateway: return Control.compile(resolution, &identities)
        case .picker(let pool):
            let result = Control.compile(resolution, pool: pool, &identities)
            choice = result.problem
            return result.compiled
        }
    }

    /// A pair that cannot be used does not replace one that can: that Secret's last good version stays.
    private mutating func keepUsablePairs(
        _ previous: DocumentSet, before known: [NamespacedName: CertificateObservation]
    ) {
        for index in documents.objects.indices where documents.objects[index].kind == "Secret" {
            let object = documents.objects[index]
            let name = NamespacedName(object)
            guard case .unusable(let words)? = certificates[name]?.outcome,
                let last = known[name], case .usable = last.outcome,
                let earlier = previous.objects.first(where: {
                    $0.kind == "Secret" && NamespacedName($0) == name
                })
            else { continue }
            documents.objects[index] = earlier
            certificates[name] = last
            documents.problems.append(
                object.problem(
                    .error, at: "data", reason: "InvalidCertificate",
                    "\(words); the last good pair stays in use"))
        }
    }

    private func observations() -> Observations {
        Observations(
            now: Int64(Date().timeIntervalSince1970), listening: sockets.outcomes,
            localAddresses: Machine.localAddresses(), certificates: certificates,
            authorities: authorities, previous: published.withLock { $0.objects })
    }

    /// Clusters first, so that no table names one that a worker does not know; those that the table before names stay for a while.
    private mutating func publish(_ compiled: Compiled) -> Bool {
        isTableTaken = publishTable(compiled)
        return isTableTaken
    }

    private mutating func publishTable(_ compiled: Compiled) -> Bool {
        publishClusters(compiled)
        if compiled.table == lastTable, compiled.parameters == lastParameters,
            compiled.certificates == lastCertificates
        {
            return true
        }
        do {
            let tls = try serverTLS.configurations(for: compiled.certificates)
            let table = try TableBuilder(compiled.table).build()
            generation += 1
            let snapshot = Snapshot(
                generation: generation, table: table, tls: tls, parameters: compiled.parameters)
            if !publisher.publish(snapshot) { return false }
        } catch {
            log.error(
                "the documents were not taken; the last good ones stay",
                metadata: ["cause": "\(error)"])
            return false
        }
        lastTable = compiled.table
        lastParameters = compiled.parameters
        lastCertificates = compiled.certificates
        return true
    }

    private mutating func publishClusters(_ compiled: Compiled) {
        let known = addresses
        var result = compiled.clusters(&identities, clients: &clientTLS) { known[$0] ?? [] }
        for problem in result.problems {
            log.error("a backend is not used", metadata: ["cause": "\(problem.message)"])
        }
        follow(result.pools)
        for row in result.clusters.indices {
            guard let id = result.clusters[row].pool?.id else { continue }
            result.clusters[row].pool?.ledger = ledgers[id]
        }
        keepLeaving(result.clusters)
        if !publisher.publish(ClusterSet(clusters + leaving.map(\.cluster))) {
            log.error(
                "a worker does not take new addresses; they are tried again at the next change")
        }
    }

    /// Takes note of the clusters that are named now, and of those that no longer are.
    ///
    /// A worker may still decide by the old table when it has these clusters, and requests that were decided before may have
    /// to connect or to be tried again: to them nothing must be missing.
    private mutating func keepLeaving(_ present: [ClusterDescription]) {
        let now = Clock.monotonicMilliseconds()
        let ids = Set(present.map(\.id))
        leaving.removeAll { ids.contains($0.cluster.id) || (isTableTaken && $0.until <= now) }
        for cluster in clusters where !ids.contains(cluster.id) {
            leaving.append((cluster, now + Self.leavingMilliseconds))
        }
        clusters = present
    }

    /// Each pool that is picked here has a ledger, which knows its endpoints before workers ask it.
    private mutating func follow(_ pools: [PoolPlan]) {
        let now = Clock.monotonicNanoseconds()
        var present: [UInt32: PoolLedger] = [:]
        for pool in pools {
            guard let configuration = pool.configuration else { continue }
            let ledger =
                ledgers[pool.id]
                ?? PoolLedger(configuration, seed: Random.next64(), publisher: publisher)
            ledger.setEndpoints(pool.endpoints, now: now)
            present[pool.id] = ledger
        }
        ledgers = present
        let wanted = pools.map {
            WatchedPool(
                id: $0.id, name: $0.name, endpoints: $0.watched, ledger: present[$0.id])
        }
        if watched != wanted, observer?.post(.pools(wanted)) ?? false { watched = wanted }
    }

    private mutating func follow(_ wanted: [String]) {
        let unique = Array(Set(wanted)).sorted()
        if unique == names { return }
        names = unique
        _ = observer?.post(.names(unique))
    }

    private func show(_ report: StatusReport, isGood: Bool) {
        let problems = documents.problems + report.problems + (choice.map { [$0] } ?? [])
        let isWhole =
            isGood && documents.unreadPaths.isEmpty
            && !documents.problems.contains { $0.severity == .error }
        let old = published.withLock { Set($0.problems) }
        for problem in problems where !old.contains(problem) { tell(problem) }
        let names = identities.seriesNames
        let isServing = sockets.isServing && choice == nil
        let current = documents
        let generation = generation
        published.withLock { state in
            state.documents = current
            state.objects = report.objects
            state.problems = problems
            state.names = names
            state.isLastReloadGood = isWhole
            state.generation = generation
            state.isReady = isServing && !state.isDraining
        }
    }

    private func tell(_ problem: ConfigProblem) {
        switch problem.severity {
        case .error: log.error("\(problem)")
        case .warning: log.warning("\(problem)")
        case .notice: log.notice("\(problem)")
        }
    }
}
