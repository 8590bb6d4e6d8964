/// Listeners that cannot be told apart: inside one Gateway all of them lose, between Gateways
/// that share an address the later one does.
struct ListenerConflicts {
    let placement: Placement

    /// Who has a hostname of a port already.
    private struct Claim {
        let listener: Int
        let isTLS: Bool
        let hostname: String?
        let port: UInt16
    }

    private struct Spot: Hashable {
        let address: String?
        let port: UInt16
    }

    private var claims: [Spot: [Claim]] = [:]

    init(placement: Placement) {
        self.placement = placement
    }

    /// Marks listeners that are in conflict or overlap.
    mutating func apply(to listeners: inout [ResolvedListener], of gateways: [ResolvedGateway]) {
        for gateway in gateways {
            markConflicts(in: gateway.listeners, &listeners)
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
        for ports in Dictionary(grouping: served, by: { listeners[$0].port }).values {
            for number in ports {
                let listener = listeners[number]
                let others = ports.filter { $0 != number }
                if let other = others.first(where: { listeners[$0].isTLS != listener.isTLS }) {
                    listeners[number].conflict = Finding(
                        "ProtocolConflict", at: listener.path,
                        "port \(listener.port) is \(listener.protocol) here and "
                            + "\(listeners[other].protocol) on listener "
                            + "\"\(listeners[other].name)\"")
                } else if let other = others.first(where: {
                    listeners[$0].hostname == listener.hostname
                }) {
                    let name = listener.hostname.map { "hostname \($0)" } ?? "every hostname"
                    listeners[number].conflict = Finding(
                        "HostnameConflict", at: listener.path,
                        "listener \"\(listeners[other].name)\" takes \(name) of port "
                            + "\(listener.port) too")
                }
            }
        }
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
                    "its certificate and that of listener \"\(listeners[other].name)\" are good "
                        + "for some of the same names")
            } else if let other = byName {
                listeners[number].overlap = Finding(
                    "OverlappingHostnames", at: listener.path,
                    "listener \"\(listeners[other].name)\" takes some of the same names")
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
        let spots = gateways[listener.gateway].addresses.map { Spot(address: $0, port: bound) }
        for spot in spots {
            guard let claim = claims[spot]?.first(where: { conflict(listener, $0) }) else {
                continue
            }
            let other = listeners[claim.listener]
            let owner = gateways[other.gateway].name
            let place = spot.address ?? "all addresses"
            listeners[number].rejected.append(
                Finding(
                    "PortUnavailable", at: listener.path,
                    refusal(listener, claim, "listener \"\(other.name)\" of Gateway \(owner)")
                        + " on \(place)"))
            return
        }
        let claim = Claim(
            listener: number, isTLS: listener.isTLS, hostname: listener.hostname,
            port: listener.port)
        for spot in spots { claims[spot, default: []].append(claim) }
    }

    private func conflict(_ listener: ResolvedListener, _ claim: Claim) -> Bool {
        claim.port != listener.port || claim.isTLS != listener.isTLS
            || claim.hostname == listener.hostname
    }

    private func refusal(
        _ listener: ResolvedListener, _ claim: Claim, _ owner: String
    ) -> String {
        if claim.port != listener.port {
            let bound = placement.boundPort(of: listener.port)
            return "--bind-port gives ports \(listener.port) and \(claim.port) both \(bound), "
                + "which \(owner) has"
        }
        if claim.isTLS != listener.isTLS {
            return "port \(listener.port) is \(claim.isTLS ? "HTTPS" : "HTTP") on \(owner)"
        }
        let name = listener.hostname.map { "hostname \($0)" } ?? "every hostname"
        return "\(owner) has \(name) of port \(listener.port)"
    }
}
