/// Writes the status of one ListenerSet and of its listeners.
struct ListenerSetStatusWriter {
    private let set: ResolvedListenerSet
    private var listeners: ListenerStatusWriter?
    private let writer: (String) -> ConditionWriter
    /// What does not work, each at its place.
    private(set) var faults: [Finding] = []
    /// What may surprise.
    private(set) var warnings: [Finding] = []

    init(
        _ resolution: Resolution, _ set: ResolvedListenerSet, observations: Observations?,
        writer: @escaping (String) -> ConditionWriter
    ) {
        self.set = set
        self.writer = writer
        listeners = set.gateway.map {
            ListenerStatusWriter(resolution, gateway: $0, observations: observations)
        }
    }

    mutating func write() -> StatusFields {
        guard set.rejected == nil, var listeners else {
            let finding = set.rejected.map { [$0] } ?? []
            faults = finding
            return StatusFields(conditions: [
                writer("").positive("Accepted", finding, reason: "Accepted", message: ""),
                writer("").positive("Programmed", finding, reason: "Programmed", message: ""),
            ])
        }
        let states = set.listeners.map { listeners.state(of: $0) }
        let entries = zip(set.listeners, states).map { number, state in
            listeners.status(of: number, state, writer)
        }
        faults = listeners.faults
        warnings = listeners.warnings
        return StatusFields(
            conditions: conditions(entries, states, isAccepted: listeners.takesOne(of: set)),
            listeners: entries)
    }

    private func conditions(
        _ entries: [ListenerStatus], _ states: [ListenerStatusWriter.State], isAccepted: Bool
    ) -> [Condition] {
        let writer = writer("")
        guard isAccepted else {
            let message = "no listener can be served; see their conditions"
            return ["Accepted", "Programmed"].map {
                writer.condition($0, .isFalse, "ListenersNotValid", message)
            }
        }
        let bad = zip(entries, states).filter { !$1.rejected.isEmpty }.map { "\"\($0.0.name)\"" }
        let accepted =
            bad.isEmpty
            ? writer.condition("Accepted", .isTrue, "Accepted", "all listeners are valid")
            : writer.condition(
                "Accepted", .isTrue, "ListenersNotValid",
                "not served: listener\(bad.count == 1 ? "" : "s") \(sentenceList(bad, "and"))")
        return [accepted, programmed(entries, writer)]
    }

    /// As the best of its listeners.
    private func programmed(_ entries: [ListenerStatus], _ writer: ConditionWriter) -> Condition {
        let programmed = entries.flatMap(\.conditions).filter { $0.type == "Programmed" }
        if programmed.contains(where: { $0.status == .isTrue }) {
            return writer.condition("Programmed", .isTrue, "Programmed", "requests are served")
        }
        if let pending = programmed.first(where: { $0.status == .unknown }) {
            return writer.condition("Programmed", .unknown, "Pending", pending.message)
        }
        return writer.condition(
            "Programmed", .isFalse, "ListenersNotValid", "no port is open; see the listeners")
    }
}
