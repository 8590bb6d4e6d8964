import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// What of a decision its exchange takes with it.
struct KeptDecision: BitwiseCopyable {
    var rule: Int32 = -1
    var backend: Int32 = -1
    var listenerID = UInt32.max
    var backendSeries = Series.none
    var clusterID = UInt32.max
    var series = Series.none
    var parameters: Int32 = 0
    /// `timeouts.backendRequest` of the rule; 0: none.
    var attemptMilliseconds: UInt32 = 0
    /// What filters of the rule and of the backend ask for.
    var flags: RowFlags = []
}

/// What a request's head and the documents say together, before anything is sent: rows and what is read off them.
struct Decision: BitwiseCopyable {
    var kept = KeptDecision()
    /// The gateway answers itself.
    var reply: LocalReply?
    var listener: Int32 = -1
    var match = RouteMatch.none
    /// The row of the backend's cluster in the worker's `ClusterSet`.
    var cluster: Int32 = -1
    var firstEndpoint: Int32 = 0
    var endpointCount: Int32 = 0
    var isModelServer = false
    /// The cluster is a pool: its endpoints are picked by more than how busy they are.
    var isPooled = false
    /// Which Host the endpoint sees.
    var hostHeader = HostHeaderKind.preserve
    /// The authority that the request came with, in its head.
    var authority = ByteRange.none
    /// `timeouts.request` of the rule; 0: none.
    var requestMilliseconds: UInt32 = 0
    /// When the session began that the request brings a token of, seconds since 1970; 0: none.
    var sessionBegan: UInt32 = 0
    /// The row of the endpoint that it is with; -1: none.
    var sessionEndpoint: Int32 = -1
    /// Its token was made with a key that signs no more.
    var sessionKeyIsOld = false

    @inline(always)
    var backend: Int32 {
        get { kept.backend }
        set { kept.backend = newValue }
    }

    @inline(always)
    var parameters: Int32 {
        get { kept.parameters }
        set { kept.parameters = newValue }
    }

    @inline(always)
    var listenerID: UInt32 {
        get { kept.listenerID }
        set { kept.listenerID = newValue }
    }

    @inline(always)
    var series: UInt32 {
        get { kept.series }
        set { kept.series = newValue }
    }

    @inline(always)
    var backendSeries: UInt32 {
        get { kept.backendSeries }
        set { kept.backendSeries = newValue }
    }

    @inline(always)
    var clusterID: UInt32 {
        get { kept.clusterID }
        set { kept.clusterID = newValue }
    }

    @inline(always)
    var flags: RowFlags {
        get { kept.flags }
        set { kept.flags = newValue }
    }

    @inline(always)
    mutating func note(_ cluster: borrowing ClusterRow) {
        firstEndpoint = cluster.firstEndpoint
        endpointCount = cluster.endpointCount
        isModelServer = cluster.isModelServer
        isPooled = cluster.isPicked
        // A host that a filter named wins over what the cluster says.
        hostHeader = flags.contains(.rewritesHost) ? .preserve : cluster.hostHeaderKind
    }

}

/// What of the parameters each exchange takes with it.
struct ExchangeSettings: BitwiseCopyable {
    /// Most content that a request may have.
    let contentBytesMax: UInt64
    /// Timeouts with a backend that is a model server, and with any other.
    let modelServer: ExchangeTimes
    let other: ExchangeTimes
    let allowsHalfClose: Bool

    init(_ parameters: Parameters) {
        contentBytesMax = UInt64(parameters.limits.requestContentBytesMax)
        modelServer = ExchangeTimes(parameters.timeouts, isModelServer: true)
        other = ExchangeTimes(parameters.timeouts, isModelServer: false)
        allowsHalfClose = parameters.allowsHalfClose
    }
}

/// One generation of the documents and how many exchanges still need it.
struct Generation: ~Copyable {
    let snapshot: Snapshot
    /// By the rows of `snapshot.parameters`.
    let settings: RigidArray<ExchangeSettings>
    /// Exchanges that need it, once a newer one has come; the newest's are `Worker.currentUsers`.
    var users = 0

    init(_ snapshot: consuming Snapshot) {
        var settings = RigidArray<ExchangeSettings>(capacity: snapshot.parameters.count)
        for row in 0..<snapshot.parameters.count {
            settings.append(ExchangeSettings(snapshot.parameters[row]))
        }
        self.settings = settings
        self.snapshot = snapshot
    }
}

/// Where a request came in.
struct RequestOrigin: BitwiseCopyable {
    let portID: UInt32
    let isTLS: Bool
    /// Id of the listener whose certificate was shown; `.max` on a plain port.
    let tlsListenerID: UInt32
    /// What that listener's terms were then.
    let tlsTerms: UInt32
}

extension Generation {
    /// Listener, rule, backend and cluster of a request, or the answer that the gateway makes itself.
    @inline(always)
    borrowing func decide(
        _ decision: inout Decision, _ head: borrowing RequestHead, from origin: RequestOrigin,
        _ clusters: borrowing ClusterSet, _ random: inout RandomSource
    ) {
        decision = Decision()
        decision.authority = head.authority
        let port = snapshot.table.portIndex(id: origin.portID)
        let listener =
            port < 0
            ? -1
            : snapshot.table.listener(port: port, head: head, isTLS: origin.isTLS)
        guard listener >= 0 else {
            decision.reply = .noListener
            return
        }
        decision.listener = listener
        let row = snapshot.table.listeners[Int(listener)]
        decision.listenerID = row.id
        decision.parameters = row.parameters
        if row.service != .http {
            // The port has become another's since this connection was made.
            decision.reply = .noListener
            return
        }
        if origin.isTLS, decision.listenerID != origin.tlsListenerID {
            decision.reply = .misdirected
        } else if origin.isTLS, row.terms != origin.tlsTerms {
            decision.reply = .outdatedConnection
        } else if let reply = refusal(head, decision.parameters) {
            decision.reply = reply
        } else {
            decision.match = snapshot.table.match(listener: listener, head: head)
            if decision.match.rule >= 0 {
                chooseBackend(&decision, clusters, &random)
            } else {
                decision.reply = .noRoute
            }
        }
    }

    /// Rule, backend and cluster of a connection whose bytes all go to one backend, or why there are none.
    borrowing func decide(
        _ decision: inout Decision, listener: Int32, serverName: Span<UInt8>,
        _ clusters: borrowing ClusterSet, _ random: inout RandomSource
    ) {
        decision = Decision()
        decision.listener = listener
        decision.listenerID = snapshot.table.listeners[Int(listener)].id
        decision.parameters = snapshot.table.listeners[Int(listener)].parameters
        let rule = snapshot.table.streamRule(listener: listener, host: serverName)
        if rule < 0 {
            decision.reply = .noRoute
            return
        }
        decision.match = RouteMatch(rule: rule, prefixCount: 0, match: -1)
        chooseBackend(&decision, clusters, &random)
    }

    /// The refusal of a head that is over the limits of its listener.
    @inline(always)
    private borrowing func refusal(
        _ head: borrowing RequestHead, _ parameters: Int32
    ) -> LocalReply? {
        if case .length(let count) = head.framing,
            count > settings[Int(parameters)].contentBytesMax
        {
            return .contentTooLarge
        }
        // The parser has the limits of the only Gateway; with several, each listener has its own.
        return settings.count == 1 ? nil : overLimit(head, parameters)
    }

    private borrowing func overLimit(
        _ head: borrowing RequestHead, _ parameters: Int32
    ) -> LocalReply? {
        let limits = snapshot.parameters[Int(parameters)].limits
        let line = Int(head.methodText.count) + Int(head.target.count) + 10
        if line > limits.requestLineBytesMax { return .malformed(Malformed(.requestLineTooLong)) }
        if head.fields.count > limits.fieldCountMax { return .malformed(Malformed(.fieldsTooMany)) }
        return nil
    }

    @inline(always)
    borrowing func chooseBackend(
        _ decision: inout Decision, _ clusters: borrowing ClusterSet,
        _ random: inout RandomSource
    ) {
        decision.kept.rule = decision.match.rule
        let rule = snapshot.table.rules[Int(decision.match.rule)]
        decision.series = rule.series
        decision.requestMilliseconds = rule.requestTimeoutMilliseconds
        decision.kept.attemptMilliseconds = rule.backendTimeoutMilliseconds
        decision.flags = rule.flags
        if rule.flags.contains(.failedFilter) {
            decision.reply = .failedFilter
            return
        }
        decision.backend = rule.onlyBackend
        if decision.backend < 0 {
            decision.backend = snapshot.table.backend(
                rule: decision.match.rule, random: UInt32(truncatingIfNeeded: random.next()))
        }
        guard decision.backend >= 0 else {
            if !rule.flags.contains(.redirect) { decision.reply = .noBackend }
            return
        }
        takeBackend(&decision, clusters)
    }

    /// Notes what there is to know of the backend that was chosen.
    @inline(always)
    private borrowing func takeBackend(
        _ decision: inout Decision, _ clusters: borrowing ClusterSet
    ) {
        let backend = snapshot.table.backends[Int(decision.backend)]
        decision.backendSeries = backend.series
        decision.flags.formUnion(backend.flags)
        if backend.kind == .status {
            if !decision.flags.contains(.redirect) {
                decision.reply = backend.value == 503 ? .noEndpoint : .noBackend
            }
            return
        }
        decision.clusterID = backend.value
        decision.cluster = clusters.row(ofCluster: backend.value)
        if decision.cluster >= 0 { decision.note(clusters.clusters[Int(decision.cluster)]) }
        if decision.endpointCount == 0, !decision.flags.contains(.redirect) {
            decision.reply = .noEndpoint
        }
    }

    /// Takes the endpoint that the request brings a token for, over all weights, in place of the backend that was chosen; a
    /// token that holds no more changes nothing.
    borrowing func resumeSession(
        _ decision: inout Decision, _ head: borrowing RequestHead,
        _ clusters: borrowing ClusterSet, now: UInt32
    ) {
        guard let row = snapshot.table.session(rule: decision.kept.rule),
            let token = snapshot.table.sessionToken(row, in: head), row.isValid(token, now: now)
        else { return }
        for at in snapshot.table.rules[Int(decision.kept.rule)].backendRange {
            let backend = snapshot.table.backends[at]
            guard backend.kind == .cluster else { continue }
            let cluster = clusters.row(ofCluster: backend.value)
            if cluster < 0 { continue }
            let first = Int(clusters.clusters[Int(cluster)].firstEndpoint)
            let count = Int(clusters.clusters[Int(cluster)].endpointCount)
            for endpoint in first..<(first + count) {
                let key = snapshot.table.key(
                    of: token, row, endpoint: clusters.endpoints[endpoint].key)
                guard let key else { continue }
                decision.reply = nil
                decision.backend = Int32(at)
                decision.flags = snapshot.table.rules[Int(decision.kept.rule)].flags
                takeBackend(&decision, clusters)
                decision.sessionBegan = token.began
                decision.sessionEndpoint = Int32(endpoint)
                decision.sessionKeyIsOld = key != 0
                return
            }
        }
    }
}
