import Kernel

/// Writes the statuses of a Gateway's listeners, its own and those of its ListenerSets.
struct ListenerStatusWriter {
    private let resolution: Resolution
    private let gateway: ResolvedGateway
    private let observations: Observations?
    /// What does not work, each at its place.
    private(set) var faults: [Finding] = []
    /// What may surprise.
    private(set) var warnings: [Finding] = []

    init(_ resolution: Resolution, gateway number: Int, observations: Observations?) {
        self.resolution = resolution
        self.gateway = resolution.gateways[number]
        self.observations = observations
    }

    /// Whether at least one listener of a set is valid, which makes the set accepted.
    func takesOne(of set: ResolvedListenerSet) -> Bool {
        set.listeners.contains { number in
            resolution.listeners[number].isServable && state(of: number).rejected.isEmpty
        }
    }

    // MARK: - Sockets

    /// What came of a listener's sockets.
    struct Binding {
        /// At least one socket is open.
        var isBound = false
        /// What went wrong on the other addresses.
        var findings: [Finding] = []
    }

    /// What is known of a listener.
    struct State {
        /// Why it is not accepted; empty when it is.
        var rejected: [Finding]
        var binding = Binding()
    }

    /// What stands against a listener, and what came of its sockets.
    func state(of number: Int) -> State {
        let listener = resolution.listeners[number]
        var state = State(rejected: listener.rejected)
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

    // MARK: - Conditions

    /// The status of a listener; what does not work is noted.
    mutating func status(
        of number: Int, _ state: State, _ writer: (String) -> ConditionWriter
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
        _ listener: ResolvedListener, _ state: State, _ writer: ConditionWriter
    ) -> Condition {
        func say(
            _ status: Condition.Status, _ reason: String, _ message: String
        ) -> Condition {
            writer.condition("Programmed", status, reason, message)
        }
        if !state.rejected.isEmpty {
            // Of a set's listener the API wants the conflict named here too.
            let reason = listener.listenerSet == nil ? nil : listener.conflict?.reason
            return say(.isFalse, reason ?? "Invalid", "the listener is not accepted")
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
