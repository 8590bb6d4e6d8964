import Kernel

/// Writes the status of one Gateway and of the listeners that stand in it.
struct GatewayStatusWriter {
    private let resolution: Resolution
    private let number: Int
    private let gateway: ResolvedGateway
    private var listeners: ListenerStatusWriter
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
        self.number = number
        self.gateway = resolution.gateways[number]
        listeners = ListenerStatusWriter(resolution, gateway: number, observations: observations)
        self.observations = observations
        self.writer = writer
    }

    mutating func write() -> StatusFields {
        faults += gateway.rejected + gateway.unresolved + gateway.unusable
        let states = gateway.ownListeners.map { listeners.state(of: $0) }
        if gateway.unusable.isEmpty { faults += placeFindings(states) }
        let own = zip(gateway.ownListeners, states).map { number, state in
            listeners.status(of: number, state, writer)
        }
        faults += listeners.faults
        // What is wrong with the Gateway's own fields is a fault of each listener that needs them.
        var seen: Set<Finding> = []
        faults = faults.filter { seen.insert($0).inserted }
        warnings += gateway.warnings + listeners.warnings
        return StatusFields(
            conditions: conditions(states), addresses: boundAddresses(), listeners: own,
            attachedListenerSets: resolution.sets.count { set in
                set.gateway == number && listeners.takesOne(of: set)
            })
    }

    // MARK: - Places

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

    private mutating func conditions(_ states: [ListenerStatusWriter.State]) -> [Condition] {
        let writer = writer("")
        var conditions = [
            accepted(states, writer), programmed(states, writer), resolvedRefs(writer),
        ]
        if !gateway.insecureModes.isEmpty {
            conditions.append(
                writer.condition(
                    "InsecureFrontendValidationMode", .isTrue, "ConfigurationChanged",
                    Finding.text(gateway.insecureModes)))
        }
        return conditions
    }

    private func accepted(_ states: [ListenerStatusWriter.State], _ writer: ConditionWriter)
        -> Condition
    {
        if !gateway.rejected.isEmpty {
            return writer.positive(
                "Accepted", gateway.rejected, reason: "Accepted", message: "")
        }
        let bad = zip(gateway.ownListeners, states).filter { !$1.rejected.isEmpty }
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

    private func programmed(_ states: [ListenerStatusWriter.State], _ writer: ConditionWriter)
        -> Condition
    {
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
        let servable = gateway.ownListeners.filter { resolution.listeners[$0].isServable }
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
    private func placeFindings(_ states: [ListenerStatusWriter.State]) -> [Finding] {
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
        let bad = gateway.ownListeners.filter { !resolution.listeners[$0].unresolved.isEmpty }
        if bad.isEmpty {
            return writer.condition(
                "ResolvedRefs", .isTrue, "ResolvedRefs", "all references resolve")
        }
        let names = bad.map { "\"\(resolution.listeners[$0].name)\"" }
        return writer.condition(
            "ResolvedRefs", .isFalse, "ListenersNotResolved",
            "see listener\(names.count == 1 ? "" : "s") \(sentenceList(names, "and"))")
    }
}
