/// The kinds of routes; the raw value is the document's kind.
enum RouteKind: String, Sendable, CaseIterable {
    case http = "HTTPRoute"
    case grpc = "GRPCRoute"
    case tls = "TLSRoute"
    case tcp = "TCPRoute"
    case udp = "UDPRoute"

    /// As `allowedRoutes.kinds` and `supportedKinds` have it.
    var groupKind: RouteGroupKind { RouteGroupKind(group: Groups.gateway, kind: rawValue) }

    /// Whether requests are routed one by one.
    var routesRequests: Bool { self == .http || self == .grpc }

    /// What a listener may take (`Listener.allowedRoutes.kinds`); none for an unknown protocol.
    static func fitting(_ protocol: ProtocolType) -> [RouteKind] {
        switch `protocol` {
        case .http, .https: [.http, .grpc]
        case .tls: [.tls]
        case .tcp: [.tcp]
        case .udp: [.udp]
        default: []
        }
    }
}

/// A rule of any kind of route, in the words of HTTPRoute, which has the most of them.
struct RouteRule: Sendable {
    var http: HTTPRouteRule
    /// Of a GRPCRoute, in place of `http.matches`.
    var grpcMatches: [GRPCRouteMatch]?
}

/// A route of any kind, as attaching, following references and compiling look at it.
struct RouteEntry: Sendable {
    let object: LocatedObject
    let kind: RouteKind
    let parentRefs: [ParentReference]
    /// In small letters; none for kinds that have no names.
    let hostnames: [String]
    let rules: [RouteRule]

    var name: NamespacedName { NamespacedName(object) }

    /// Nil when the object is no route.
    init?(_ object: LocatedObject) {
        self.object = object
        let names: [String]?
        let parents: [ParentReference]?
        switch object.resource {
        case let route as HTTPRoute:
            (kind, names, parents) = (.http, route.spec.hostnames, route.spec.parentRefs)
            rules = route.spec.effectiveRules.map { RouteRule(http: $0) }
        case let route as GRPCRoute:
            (kind, names, parents) = (.grpc, route.spec.hostnames, route.spec.parentRefs)
            rules = (route.spec.rules ?? []).map(RouteRule.init)
        case let route as TLSRoute:
            (kind, names, parents) = (.tls, route.spec.hostnames, route.spec.parentRefs)
            rules = route.spec.rules.map(RouteRule.init)
        case let route as TCPRoute:
            (kind, names, parents) = (.tcp, nil, route.spec.parentRefs)
            rules = route.spec.rules.map(RouteRule.init)
        case let route as UDPRoute:
            (kind, names, parents) = (.udp, nil, route.spec.parentRefs)
            rules = route.spec.rules.map(RouteRule.init)
        default: return nil
        }
        parentRefs = parents ?? []
        hostnames = (names ?? []).map { $0.lowercased() }
    }
}

extension RouteRule {
    /// One without matches, which takes everything.
    init(_ rule: StreamRouteRule) {
        http = HTTPRouteRule(
            name: rule.name,
            backendRefs: (rule.backendRefs ?? []).map {
                HTTPBackendRef(
                    group: $0.group, kind: $0.kind, name: $0.name, namespace: $0.namespace,
                    port: $0.port, weight: $0.weight)
            })
    }

    init(_ rule: GRPCRouteRule) {
        http = HTTPRouteRule(
            name: rule.name, filters: rule.filters?.map(\.http),
            backendRefs: (rule.backendRefs ?? []).map {
                HTTPBackendRef(
                    group: $0.group, kind: $0.kind, name: $0.name, namespace: $0.namespace,
                    port: $0.port, weight: $0.weight, filters: $0.filters?.map(\.http))
            },
            sessionPersistence: rule.sessionPersistence)
        let matches = rule.matches ?? []
        grpcMatches = matches.isEmpty ? [GRPCRouteMatch()] : matches
    }
}

extension GRPCRouteFilter {
    /// The same filter of an HTTPRoute: the fields have the same names.
    var http: HTTPRouteFilter {
        HTTPRouteFilter(
            type: type, requestHeaderModifier: requestHeaderModifier,
            responseHeaderModifier: responseHeaderModifier, requestMirror: requestMirror,
            extensionRef: extensionRef)
    }
}
