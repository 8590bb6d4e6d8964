import Routing

/// Listeners that cannot be told apart: of those in the Gateway itself all lose, of a ListenerSet's
/// the one that comes later in the Gateway's order does, and so does the later one of two Gateways
/// that share an address.
struct ListenerConflicts {
    let placement: Placement

    /// Who has a hostname of a port already.
    private struct Claim {
        let listener: Int
        let family: ListenerFamily
        let hostname: String?
        let port: UInt16
        let acceptsProxyProtocol: Bool
    }

    private struct Spot: Hashable {
        let address: String?
        let port: UInt16
        let transport: Transport
    }

    private var claims: [Spot: [Claim]] = [:]

    init(placement: Placement) {
        self.placement = placement
    }

    /// Marks listeners that are in conflict or overlap.
    mutating func apply(to listeners: inout [ResolvedListener], of gateways: [ResolvedGateway]) {
        for gateway in gateways {
            markConflicts(in: gateway.ownListeners, &listeners)
            markLater(in: gateway, &listeners)
            markOverlaps(in: gateway.listeners, &listeners)
        }
        let byAge = gateways.indices.sorted {
            gateways[$0].entry.object.isOlder(than: gateways[$1].entry.object)
        }
        for number in byAge where gateways[number].rejected.isEmpty {
            for listener in gateways[number].listeners where listeners[listener].isDistinct {
                claim(listener, &listeners, gateways)
            }
        }
    }

    // MARK: - One Gateway

    private func markConflicts(in range: Range<Int>, _ listeners: inout [ResolvedListener]) {
        let served = range.filter { listeners[$0].rejected.isEmpty }
        let places = Dictionary(grouping: served) { listeners[$0].place(on: nil) }
        for numbers in places.values where numbers.count > 1 {
            for number in numbers {
                listeners[number].conflict = conflict(
                    of: number, with: numbers.filter { $0 != number }, listeners)
            }
        }
    }

    /// The listeners of ListenerSets: each against those before it that have kept their place.
    private func markLater(in gateway: ResolvedGateway, _ listeners: inout [ResolvedListener]) {
        var earlier = Dictionary(
            grouping: gateway.ownListeners.filter { listeners[$0].rejected.isEmpty }
        ) { listeners[$0].place(on: nil) }
        for number in gateway.ownListeners.upperBound..<gateway.listeners.upperBound
        where listeners[number].rejected.isEmpty {
            let place = listeners[number].place(on: nil)
            if let others = earlier[place] {
                listeners[number].conflict = conflict(of: number, with: others, listeners)
            }
            if listeners[number].conflict == nil { earlier[place, default: []].append(number) }
        }
    }

    private func conflict(
        of number: Int, with others: [Int], _ listeners: [ResolvedListener]
    ) -> Finding? {
        let listener = listeners[number]
        if let other = others.first(where: { listeners[$0].family != listener.family }) {
            return Finding(
                "ProtocolConflict", at: listener.path,
                "port \(listener.port) is \(listener.protocol) here and "
                    + "\(listeners[other].protocol) on listener \(listeners[other].nameWithSet)")
        }
        if !listener.hasHostname {
            return Finding(
                "ProtocolConflict", at: listener.path,
                "listener \(listeners[others[0]].nameWithSet) has \(listener.protocol) port "
                    + "\(listener.port) too")
        }
        guard let other = others.first(where: { listeners[$0].hostname == listener.hostname })
        else { return nil }
        let name = listener.hostname.map { "hostname \($0)" } ?? "every hostname"
        return Finding(
            "HostnameConflict", at: listener.path,
            "listener \(listeners[other].nameWithSet) takes \(name) of port \(listener.port) too")
    }

    private func markOverlaps(in range: Range<Int>, _ listeners: inout [ResolvedListener]) {
        for number in range where listeners[number].isTLS {
            let listener = listeners[number]
            var byName: Int?
            var byCertificate: Int?
            for other in range where other != number && listeners[other].isTLS {
                guard listeners[other].port == listener.port else { continue }
                if byName == nil,
                    Hostnames.overlap(listener.hostname, listeners[other].hostname)
                {
                    byName = other
                }
                if byCertificate == nil, certificatesOverlap(listener, listeners[other]) {
                    byCertificate = other
                }
            }
            if let other = byCertificate {
                listeners[number].overlap = Finding(
                    "OverlappingCertificates", at: listener.path,
                    "its certificate and that of listener \(listeners[other].nameWithSet) are good "
                        + "for some of the same names")
            } else if let other = byName {
                listeners[number].overlap = Finding(
                    "OverlappingHostnames", at: listener.path,
                    "listener \(listeners[other].nameWithSet) takes some of the same names")
            }
        }
    }

    private func certificatesOverlap(_ a: ResolvedListener, _ b: ResolvedListener) -> Bool {
        let theirs = b.certificates.flatMap(\.names)
        return a.certificates.flatMap(\.names).contains { name in
            theirs.contains { Hostnames.intersection(name, $0) != nil }
        }
    }

    // MARK: - Gateways that share an address

    private mutating func claim(
        _ number: Int, _ listeners: inout [ResolvedListener], _ gateways: [ResolvedGateway]
    ) {
        let listener = listeners[number]
        let bound = placement.boundPort(of: listener.port)
        let spots = gateways[listener.gateway].addresses.map {
            Spot(address: $0, port: bound, transport: listener.transport)
        }
        let mine = Claim(
            listener: number, family: listener.family, hostname: listener.hostname,
            port: listener.port,
            acceptsProxyProtocol: gateways[listener.gateway].parameters.acceptsProxyProtocol)
        for spot in spots {
            guard let claim = claims[spot]?.first(where: { conflict(mine, $0) }) else {
                continue
            }
            let other = listeners[claim.listener]
            let owner = gateways[other.gateway].name
            let place = spot.address ?? "all addresses"
            let who = "listener \(other.nameWithSet) of Gateway \(owner)"
            listeners[number].rejected.append(
                Finding(
                    "PortUnavailable", at: listener.path,
                    refusal(mine, claim, listeners, who) + " on \(place)"))
            return
        }
        for spot in spots { claims[spot, default: []].append(mine) }
    }

    private func conflict(_ a: Claim, _ b: Claim) -> Bool {
        a.port != b.port || a.family != b.family || a.hostname == b.hostname
            || a.acceptsProxyProtocol != b.acceptsProxyProtocol
    }

    private func refusal(
        _ mine: Claim, _ claim: Claim, _ listeners: [ResolvedListener], _ owner: String
    ) -> String {
        if claim.port != mine.port {
            let bound = placement.boundPort(of: mine.port)
            return "--bind-port gives ports \(mine.port) and \(claim.port) both \(bound), "
                + "which \(owner) has"
        }
        if claim.family != mine.family || !listeners[mine.listener].hasHostname {
            return "port \(mine.port) is \(listeners[claim.listener].protocol) on \(owner)"
        }
        if claim.hostname == mine.hostname {
            let name = mine.hostname.map { "hostname \($0)" } ?? "every hostname"
            return "\(owner) has \(name) of port \(mine.port)"
        }
        return "connections to port \(mine.port) "
            + (claim.acceptsProxyProtocol ? "begin" : "do not begin")
            + " with a header of the PROXY protocol for \(owner)"
    }
}

/// Listeners that can share a port, each with hostnames of its own.
enum ListenerFamily: Hashable {
    case http
    /// HTTPS, and TLS in both modes.
    case tls
    case tcp
    case udp
}

extension ResolvedListener {
    var family: ListenerFamily {
        switch self.protocol {
        case .https, .tls: .tls
        case .tcp: .tcp
        case .udp: .udp
        default: .http
        }
    }
}
