/// Routes of one listener that cannot all have their way.
///
/// Of HTTPRoutes and GRPCRoutes with hostnames in common only the kind of the oldest is taken
/// (`GRPCRoute.spec.hostnames`). Of TCPRoutes, and of UDPRoutes, all are taken and the oldest has
/// the traffic; of several rules of one, the first.
struct RouteConflicts {
    private let routes: [RouteEntry]
    private let listeners: [ResolvedListener]

    /// Over all routes and listeners.
    init(_ routes: [RouteEntry], _ listeners: [ResolvedListener]) {
        self.routes = routes
        self.listeners = listeners
    }

    /// A route that has names of a listener.
    private struct Claim {
        let route: Int
        let hostnames: [String]
    }

    /// Takes routes from listeners where an older one of the other kind has their names, and says
    /// of others that they have no traffic.
    func apply(to resolved: inout [ResolvedRoute]) {
        separateKinds(&resolved)
        noteIdle(&resolved)
    }

    // MARK: - Streams and datagrams

    private func noteIdle(_ resolved: inout [ResolvedRoute]) {
        let byAge = routes.indices.filter { routes[$0].kind == .tcp || routes[$0].kind == .udp }
            .sorted { routes[$0].object.isOlder(than: routes[$1].object) }
        var owners: [Int: Int] = [:]
        for number in byAge {
            for parent in resolved[number].parents.indices
            where resolved[number].parents[parent].rejected == nil {
                if routes[number].rules.count > 1 {
                    resolved[number].parents[parent].notes.append(
                        Finding(
                            "Idle", at: "spec.rules[1]",
                            "has no traffic, since rules of a \(routes[number].kind.rawValue) have no "
                                + "matches and the first takes all; give its backends as "
                                + "backendRefs of one rule, with weights"))
                }
                for attachment in resolved[number].parents[parent].attachments {
                    let owner = owners[attachment.listener] ?? number
                    owners[attachment.listener] = owner
                    guard owner != number else { continue }
                    resolved[number].parents[parent].notes.append(
                        Finding(
                            "Idle", at: resolved[number].parents[parent].path,
                            "\(routes[owner].kind.rawValue) \(routes[owner].name) is older and has "
                                + "all that comes to listener "
                                + listeners[attachment.listener].description))
                }
            }
        }
    }

    // MARK: - Requests

    private func separateKinds(_ resolved: inout [ResolvedRoute]) {
        guard routes.contains(where: { $0.kind == .grpc }) else { return }
        let byAge = routes.indices.filter { routes[$0].kind.routesRequests }
            .sorted { routes[$0].object.isOlder(than: routes[$1].object) }
        var claims: [Int: [RouteKind: [Claim]]] = [:]
        for number in byAge {
            for parent in resolved[number].parents.indices
            where resolved[number].parents[parent].rejected == nil {
                reject(&resolved[number].parents[parent], of: number, claims)
            }
            for parent in resolved[number].parents where parent.rejected == nil {
                for attachment in parent.attachments {
                    claims[attachment.listener, default: [:]][routes[number].kind, default: []]
                        .append(Claim(route: number, hostnames: attachment.hostnames))
                }
            }
        }
    }

    private func reject(
        _ parent: inout ResolvedParent, of number: Int, _ claims: [Int: [RouteKind: [Claim]]]
    ) {
        let other: RouteKind = routes[number].kind == .http ? .grpc : .http
        var finding: Finding?
        parent.attachments.removeAll { attachment in
            let theirs = claims[attachment.listener]?[other] ?? []
            guard let claim = theirs.first(where: { overlap($0.hostnames, attachment.hostnames) })
            else { return false }
            finding = Finding(
                "HostnameConflict", at: "spec.hostnames",
                "\(other.rawValue) \(routes[claim.route].name) is older and has some of the same "
                    + "names on listener \(listeners[attachment.listener].description), which "
                    + "takes one kind of route for a name")
            return true
        }
        if parent.attachments.isEmpty { parent.rejected = finding }
    }

    /// Whether a request could belong to both; without names a route takes every host.
    private func overlap(_ a: [String], _ b: [String]) -> Bool {
        if a.isEmpty || b.isEmpty { return true }
        return a.contains { name in b.contains { Hostnames.intersection(name, $0) != nil } }
    }
}
