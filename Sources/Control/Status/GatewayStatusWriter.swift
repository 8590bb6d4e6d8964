import Kernel

/// Writes the status of one Gateway and of its listeners.
struct GatewayStatusWriter {
    private let resolution: Resolution
    private let gateway: ResolvedGateway
    private let observations: Observations?
    private let writer: (String) -> ConditionWriter
    /// What does not work, each at its place.
    private(set) var faults: [Finding] = []
    /// What may surprise.
    private(set) var warnings: [Finding] = []

    init(
        _ resolution: Resolution, gateway number: Int, observations: Observations?,
        writer: @escaping (String) -> ConditionWriter
    ) {
        self.resolution = resolution
        self.gateway = resolution.gateways[number]
        self.observations = observations
        self.writer = writer
    }

    mutating func write() -> StatusFields {
        faults += gateway.rejected + gateway.unresolved + gateway.unusable
        let states = gateway.listeners.map { state(of: $0) }
        if gateway.unusable.isEmpty { faults += placeFindings(states) }
        let listeners = zip(gateway.listeners, states).map { number, state in
            listenerStatus(number, state)
        }
        return StatusFields(
            conditions: conditions(states), addresses: boundAddresses(), listeners: listeners,
            attachedListenerSets: 0)
    }

    // MARK: - Places

    /// What came of a listener's sockets.
    private struct Binding {
        /// At least one socket is open.
        var isBound = false
        /// What went wrong on the other addresses.
        var findings: [Finding] = []
    }

    private struct ListenerState {
        var rejected: [Finding]
        var binding = Binding()
    }

    private func state(of number: Int) -> ListenerState {
        let listener = resolution.listeners[number]
        var state = ListenerState(rejected: listener.rejected)
        if let conflict = listener.conflict { state.rejected.append(conflict) }
        guard gateway.rejected.isEmpty, listener.isServable else { return state }
        state.binding = binding(of: listener)
        state.rejected += state.binding.findings.filter { $0.reason == "PortUnavailable" }
        return state
    }

    private func binding(of listener: ResolvedListener) -> Binding {
        var binding = Binding()
        for address in gateway.addresses {
            let place = listener.place(on: address)
            guard let outcome = observations?.listening?[place] else { continue }
            if outcome == .listening {
                binding.isBound = true
            } else {
                binding.findings.append(failure(outcome, place, listener))
            }
        }
        return binding
    }

    private func failure(
        _ outcome: ListenOutcome, _ place: ListenPlace, _ listener: ResolvedListener
    ) -> Finding {
        let bound = resolution.placement.boundPort(of: place.port)
        let spot = ListenPlace(
            address: place.address, port: bound, transport: place.transport)
        let path = listener.path + ".port"
        switch outcome {
        case .listening: preconditionFailure("A place that listens has not failed.")
        case .inUse:
            return Finding(
                "PortUnavailable", at: path,
                "\(spot) is in use by another process; end it, or move the port with "
                    + "--bind-port \(place.port)=PORT")
        case .denied:
            return Finding(
                "PortUnavailable", at: path,
                "this process may not open \(spot); use --bind-port \(place.port)=PORT, give it "
                    + "CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start")
        case .notLocal:
            return Finding(
                "AddressNotUsable", at: "spec.addresses",
                "\(place.address ?? "*") is not an address of this machine")
        case .failed(let message):
            return Finding("PortUnavailable", at: path, "\(spot) cannot be opened: \(message)")
        }
    }

    /// Addresses on which at least one listener is open.
    private func boundAddresses() -> [GatewayStatusAddress]? {
        guard let observations, let listening = observations.listening else { return nil }
        var values: [String] = []
        for address in gateway.addresses {
            let isOpen = gateway.listeners.contains { number in
                let listener = resolution.listeners[number]
                guard listener.isServable, gateway.rejected.isEmpty else { return false }
                let place = listener.place(on: address)
                return listening[place] == .listening
            }
            guard isOpen else { continue }
            values += address.map { [$0] } ?? reachable(observations.localAddresses ?? [])
        }
        var seen: Set<String> = []
        return values.filter { seen.insert($0).inserted }.prefix(16).map {
            GatewayStatusAddress(type: "IPAddress", value: $0)
        }
    }

    /// The machine's addresses that others can use; loopback where there is nothing else.
    private func reachable(_ addresses: [String]) -> [String] {
        let outward = addresses.filter { text in
            guard let address = SocketAddress(text, port: 0) else { return false }
            return !address.isLoopback && !text.hasPrefix("fe80:")
        }
        return outward.isEmpty ? addresses : outward
    }

    // MARK: - The Gateway's conditions

    private mutating func conditions(_ states: [ListenerState]) -> [Condition] {
        let writer = writer("")
        return [
            accepted(states, writer), programmed(states, writer), resolvedRefs(writer),
        ]
    }

    private func accepted(_ states: [ListenerState], _ writer: ConditionWriter) -> Condition {
        if !gateway.rejected.isEmpty {
            return writer.positive(
                "Accepted", gateway.rejected, reason: "Accepted", message: "")
        }
        let bad = zip(gateway.listeners, states).filter { !$1.rejected.isEmpty }
        guard !bad.isEmpty else {
            return writer.condition("Accepted", .isTrue, "Accepted", "the Gateway is served")
        }
        let names = bad.map { "\"\(resolution.listeners[$0.0].name)\"" }
        let list = "listener\(names.count == 1 ? "" : "s") \(sentenceList(names, "and"))"
        if bad.count == states.count {
            return writer.condition(
                "Accepted", .isFalse, "ListenersNotValid",
                "no listener can be served; see \(list)")
        }
        return writer.condition(
            "Accepted", .isTrue, "ListenersNotValid", "not served: \(list)")
    }

    private func programmed(_ states: [ListenerState], _ writer: ConditionWriter) -> Condition {
        func say(
            _ status: Condition.Status, _ reason: String, _ message: String
        ) -> Condition {
            writer.condition("Programmed", status, reason, message)
        }
        if !gateway.rejected.isEmpty || states.allSatisfy({ !$0.rejected.isEmpty }) {
            let places = placeFindings(states)
            if gateway.rejected.isEmpty, let first = places.first {
                return say(.isFalse, first.reason, Finding.text(places))
            }
            return say(.isFalse, "Invalid", "the Gateway is not accepted")
        }
        if !gateway.unusable.isEmpty {
            return say(.isFalse, "AddressNotUsable", Finding.text(gateway.unusable))
        }
        let servable = gateway.listeners.filter { resolution.listeners[$0].isServable }
        if servable.isEmpty {
            return say(.isFalse, "Invalid", "no listener can be served; see their conditions")
        }
        let places = placeFindings(states)
        if let first = places.first { return say(.isFalse, first.reason, Finding.text(places)) }
        if states.contains(where: \.binding.isBound) {
            return say(.isTrue, "Programmed", "requests are served")
        }
        if observations?.listening == nil {
            return say(.unknown, "Pending", "not tried: no port is opened by a check")
        }
        return say(.unknown, "Pending", "its ports are not open yet")
    }

    /// Addresses that the machine turned out not to have.
    private func placeFindings(_ states: [ListenerState]) -> [Finding] {
        var seen: Set<Finding> = []
        return states.flatMap(\.binding.findings).filter {
            $0.reason == "AddressNotUsable" && seen.insert($0).inserted
        }
    }

    private func resolvedRefs(_ writer: ConditionWriter) -> Condition {
        if !gateway.unresolved.isEmpty {
            return writer.positive(
                "ResolvedRefs", gateway.unresolved, reason: "ResolvedRefs", message: "")
        }
        let bad = gateway.listeners.filter { !resolution.listeners[$0].unresolved.isEmpty }
        if bad.isEmpty {
            return writer.condition(
                "ResolvedRefs", .isTrue, "ResolvedRefs", "all references resolve")
        }
        let names = bad.map { "\"\(resolution.listeners[$0].name)\"" }
        return writer.condition(
            "ResolvedRefs", .isFalse, "ListenersNotResolved",
            "see listener\(names.count == 1 ? "" : "s") \(sentenceList(names, "and"))")
    }

    // MARK: - Listeners

    private mutating func listenerStatus(
        _ number: Int, _ state: ListenerState
    ) -> ListenerStatus {
        let listener = resolution.listeners[number]
        let writer = writer("listener \(listener.name)")
        faults += state.rejected + listener.unresolved
        if let overlap = listener.overlap { warnings.append(overlap) }
        warnings += listener.notes.map { Finding("CertificateValidity", at: listener.path, $0) }
        var conditions = [
            writer.positive(
                "Accepted", state.rejected, reason: "Accepted",
                message: "the listener is valid"),
            writer.positive(
                "ResolvedRefs", listener.unresolved, reason: "ResolvedRefs",
                message: (["all references resolve"] + listener.notes).joined(separator: "; ")),
            programmed(listener, state, writer),
        ]
        if let conflict = listener.conflict {
            conditions.append(
                writer.condition("Conflicted", .isTrue, conflict.reason, conflict.text))
        } else {
            conditions.append(
                writer.condition(
                    "Conflicted", .isFalse, "NoConflicts", "it can be told from the others"))
        }
        if let overlap = listener.overlap {
            conditions.append(
                writer.condition("OverlappingTLSConfig", .isTrue, overlap.reason, overlap.text))
        }
        return ListenerStatus(
            name: listener.name, supportedKinds: listener.supportedKinds,
            attachedRoutes: resolution.attachedRoutes[number], conditions: conditions)
    }

    private func programmed(
        _ listener: ResolvedListener, _ state: ListenerState, _ writer: ConditionWriter
    ) -> Condition {
        func say(
            _ status: Condition.Status, _ reason: String, _ message: String
        ) -> Condition {
            writer.condition("Programmed", status, reason, message)
        }
        if !state.rejected.isEmpty {
            return say(.isFalse, "Invalid", "the listener is not accepted")
        }
        if !listener.isServable {
            return say(.isFalse, "Invalid", "it has no certificate that can be used")
        }
        if !gateway.rejected.isEmpty {
            return say(.isFalse, "Invalid", "the Gateway is not accepted")
        }
        if state.binding.isBound { return say(.isTrue, "Programmed", "requests are served") }
        if !state.binding.findings.isEmpty {
            return say(.isFalse, "Invalid", Finding.text(state.binding.findings))
        }
        if observations?.listening == nil {
            return say(.unknown, "Pending", "not tried: no port is opened by a check")
        }
        return say(.unknown, "Pending", "its port is not open yet")
    }
}
