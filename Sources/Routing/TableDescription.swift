/// What a table is built from: plain values, made off the hot path by whoever reads the documents.
public struct TableDescription: Sendable, Equatable {
    /// The sockets that requests arrive at.
    public var ports: [PortDescription]
    /// The rules that matches refer to by index.
    public var rules: [RuleDescription]

    /// Makes a description; an empty one answers every request with "no route".
    public init(ports: [PortDescription] = [], rules: [RuleDescription] = []) {
        self.ports = ports
        self.rules = rules
    }
}

/// One address and port, with the listeners that share it.
public struct PortDescription: Sendable, Equatable {
    /// A stable id of the socket set, never reused while a worker holds it.
    public var id: UInt32
    /// What arrives there.
    public var transport: Transport
    /// The listeners of this port; at most one of each hostname and kind (TLS or not).
    public var listeners: [ListenerDescription]

    /// Makes a port.
    public init(
        id: UInt32, transport: Transport = .tcp, listeners: [ListenerDescription]
    ) {
        self.id = id
        self.transport = transport
        self.listeners = listeners
    }
}

/// What a port takes.
public enum Transport: UInt8, Sendable, BitwiseCopyable {
    case tcp
    /// Datagrams; such a port has one listener, whose service is `.stream`.
    case udp
}

/// What a listener does with what arrives.
public enum ListenerService: UInt8, Sendable, BitwiseCopyable {
    /// Requests are routed one by one (`HTTPRoute`, `GRPCRoute`).
    case http
    /// All bytes of a connection, or all datagrams of a client, go to one backend, without TLS where the listener
    /// terminates it (`TCPRoute`, `UDPRoute`, `TLSRoute` with mode Terminate).
    case stream
    /// The same, chosen by the server name of a ClientHello that goes on with the rest (`TLSRoute` with mode
    /// Passthrough).
    case passthrough
}

/// A Gateway listener and what is attached to it (`Gateway.spec.listeners[]`).
public struct ListenerDescription: Sendable, Equatable {
    /// A stable id, never reused while a worker holds it.
    public var id: UInt32
    /// An exact name or `*.name`, in small letters; nil takes every host.
    public var hostname: String?
    /// Whether connections begin with TLS, terminated or not; only listeners of one kind compete for a request.
    public var isTLS: Bool
    /// What happens to what arrives; only hostnames and rules of the matches count unless it is `.http`.
    public var service: ListenerService
    /// The port number of the listener's own specification, which redirects use.
    public var number: UInt16
    /// Index of the TLS configuration; -1 when there is none.
    public var tls: Int32
    /// Another number than before: clients whose connections were made before were not asked for enough.
    public var terms: UInt32
    /// Index of the parameters.
    public var parameters: Int32
    /// The matches of all rules of all routes that are attached here, in any order.
    public var matches: [MatchDescription]

    /// Makes a listener.
    public init(
        id: UInt32, hostname: String? = nil, isTLS: Bool = false,
        service: ListenerService = .http, number: UInt16 = 80, tls: Int32 = -1, terms: UInt32 = 0,
        parameters: Int32 = 0, matches: [MatchDescription] = []
    ) {
        self.id = id
        self.hostname = hostname
        self.isTLS = isTLS
        self.service = service
        self.number = number
        self.tls = tls
        self.terms = terms
        self.parameters = parameters
        self.matches = matches
    }
}

/// One match of one rule (`HTTPRoute.spec.rules[].matches[]`): all of its conditions must hold.
public struct MatchDescription: Sendable, Equatable {
    /// Hostnames after intersection with the listener, in small letters; none means the listener's.
    public var hostnames: [String]
    /// What the path must be.
    public var path: PathMatch
    /// The method, in capital letters; nil takes every method.
    public var method: String?
    /// Conditions on header fields; of equal names only the first counts.
    public var headers: [ValueMatch]
    /// Conditions on query parameters; of equal names only the first counts.
    public var query: [ValueMatch]
    /// More comes first among matches of one host and one form of path, which by itself says how
    /// long a prefix is and nothing of patterns (`GRPCRoute`).
    public var specificity: UInt32
    /// Index of the rule in `TableDescription.rules`.
    public var rule: Int
    /// Seconds of the route's `creationTimestamp`; `.max` when it has none.
    public var age: UInt64
    /// `namespace/name` of the route.
    public var route: String
    /// Position of the rule in its route.
    public var ruleIndex: Int
    /// Position of this match in its rule.
    public var matchIndex: Int

    /// Makes a match; without arguments it takes every request.
    public init(
        hostnames: [String] = [], path: PathMatch = .prefix("/"), method: String? = nil,
        headers: [ValueMatch] = [], query: [ValueMatch] = [], specificity: UInt32 = 0, rule: Int,
        age: UInt64 = .max, route: String = "", ruleIndex: Int = 0, matchIndex: Int = 0
    ) {
        self.hostnames = hostnames
        self.path = path
        self.method = method
        self.headers = headers
        self.query = query
        self.specificity = specificity
        self.rule = rule
        self.age = age
        self.route = route
        self.ruleIndex = ruleIndex
        self.matchIndex = matchIndex
    }
}

/// What happens to a matched request (`HTTPRoute.spec.rules[]`).
public struct RuleDescription: Sendable, Equatable {
    /// A stable id, never reused while a worker holds it.
    public var id: UInt32
    /// Filters of the rule, in their order.
    public var filters: [FilterDescription]
    /// Where requests go, in shares by weight.
    public var backends: [BackendDescription]
    /// Bound of the whole exchange; 0 for none.
    public var requestTimeoutMilliseconds: UInt32
    /// Bound of one attempt; 0 for none.
    public var backendTimeoutMilliseconds: UInt32
    /// When requests are tried again; nil: when that is safe for any.
    public var retry: RetryRule?
    /// How requests stay with one endpoint; nil: each goes by itself.
    public var session: SessionRule?
    /// Whether a filter cannot be processed: such requests are answered 500, never passed on.
    public var hasFailedFilter: Bool
    /// Whether answers are edited, whatever the filters are.
    public var editsAnswers: Bool
    /// The metric series of exchanges that did not reach a backend.
    public var series: UInt32

    /// Makes a rule.
    public init(
        id: UInt32, filters: [FilterDescription] = [], backends: [BackendDescription] = [],
        requestTimeoutMilliseconds: UInt32 = 0, backendTimeoutMilliseconds: UInt32 = 0,
        retry: RetryRule? = nil, session: SessionRule? = nil, hasFailedFilter: Bool = false,
        editsAnswers: Bool = false, series: UInt32 = 0
    ) {
        self.editsAnswers = editsAnswers
        self.id = id
        self.filters = filters
        self.backends = backends
        self.requestTimeoutMilliseconds = requestTimeoutMilliseconds
        self.backendTimeoutMilliseconds = backendTimeoutMilliseconds
        self.retry = retry
        self.session = session
        self.hasFailedFilter = hasFailedFilter
        self.series = series
    }
}

/// A share of a rule's requests (`HTTPRoute.spec.rules[].backendRefs[]`).
public struct BackendDescription: Sendable, Equatable {
    /// The share is this over the sum of the rule's weights; 0 takes nothing.
    public var weight: UInt32
    /// Where the share goes.
    public var target: BackendTarget
    /// Filters of this backend, run after those of the rule.
    public var filters: [FilterDescription]
    /// Whether a filter cannot be processed: the share is answered 500.
    public var hasFailedFilter: Bool
    /// Whether its requests are counted, because its retries are to be a share of them.
    public var hasRetryBudget: Bool
    /// The metric series of exchanges with this backend.
    public var series: UInt32

    /// Makes a backend.
    public init(
        weight: UInt32 = 1, target: BackendTarget, filters: [FilterDescription] = [],
        hasFailedFilter: Bool = false, hasRetryBudget: Bool = false, series: UInt32 = 0
    ) {
        self.hasRetryBudget = hasRetryBudget
        self.weight = weight
        self.target = target
        self.filters = filters
        self.hasFailedFilter = hasFailedFilter
        self.series = series
    }
}

/// Where a share of requests goes.
public enum BackendTarget: Sendable, Equatable {
    /// The cluster of this stable id.
    case cluster(UInt32)
    /// This answer: 500 for a reference that does not resolve, 503 when there are no endpoints.
    case status(UInt16)
}

/// One filter (`HTTPRoute.spec.rules[].filters[]`).
public enum FilterDescription: Sendable, Equatable {
    case requestHeaders(HeaderModifier)
    case responseHeaders(HeaderModifier)
    case urlRewrite(URLRewrite)
    case requestRedirect(RequestRedirect)
    case cors(CORSPolicy)
    case requestMirror(RequestMirror)
    /// Of a rule only.
    case externalAuth(ExternalAuthorization)
}
