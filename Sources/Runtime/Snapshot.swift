import BasicContainers
import Routing
import TLS

/// Everything a worker needs to decide about requests, as one generation of the documents says it.
///
/// Each worker owns a copy of its own, so that no reference count is shared by two workers on a request's way.
/// A snapshot never changes; a newer one replaces it between two ticks, and exchanges that began under the
/// older one keep it until their answer's head has been sent.
public struct Snapshot: ~Copyable, Sendable {
    /// Counts the publications of this process, from 1.
    public let generation: UInt64
    /// Listeners, rules, backends and filters as flat rows.
    public let table: Table
    /// TLS settings, by `ListenerRow.tls`; touched at handshakes only.
    public let tls: [TLSServerConfiguration]
    /// Limits and timeouts, by `ListenerRow.parameters`; never empty.
    public let parameters: RigidArray<Parameters>

    /// A snapshot over a compiled table; `parameters` must hold at least one element.
    public init(
        generation: UInt64, table: consuming Table, tls: [TLSServerConfiguration],
        parameters: [Parameters]
    ) {
        precondition(!parameters.isEmpty, "A snapshot has the default parameters at least.")
        self.generation = generation
        self.table = table
        self.tls = tls
        var rows = RigidArray<Parameters>(capacity: parameters.count)
        for row in parameters { rows.append(row) }
        self.parameters = rows
    }

    private init(
        generation: UInt64, table: consuming Table, tls: [TLSServerConfiguration],
        rows: consuming RigidArray<Parameters>
    ) {
        self.generation = generation
        self.table = table
        self.tls = tls
        self.parameters = rows
    }

    /// A copy for another worker.
    public func clone() -> Snapshot {
        Snapshot(
            generation: generation, table: table.clone(), tls: tls, rows: parameters.clone())
    }
}
