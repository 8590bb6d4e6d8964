import COpenSSL
import Kernel

/// What the callbacks of one library context may know: its protocols and its ticket keys.
///
/// Owned by the context itself (not by the configuration), because sessions keep their context
/// alive after a reload has dropped the configuration.
@safe final class ContextFacts: Sendable {
    /// The protocols as RFC 7301 §3.1 has them (length, name, …), at an address that stays.
    // Sound: written once in `init`, read only afterwards, freed in `deinit`.
    nonisolated(unsafe) let applicationProtocols: UnsafeMutableBufferPointer<UInt8>
    private let ticketKeys: TLSTicketKeys?
    /// What tells this context's tickets from all others': enters the derivation of its keys.
    private let binding: [UInt8]
    private let derived = Lock(Derived())

    private struct Derived {
        var generation: UInt64 = 0
        var keys: [TicketKey] = []
    }

    init(
        applicationProtocols: [String],
        ticketKeys: TLSTicketKeys?,
        binding: [UInt8]
    ) throws(TLSError) {
        let wire = try ContextFacts.wireForm(applicationProtocols)
        // Sound: initialized completely here.
        unsafe self.applicationProtocols = .allocate(capacity: wire.count)
        _ = unsafe self.applicationProtocols.initialize(fromContentsOf: wire)
        self.ticketKeys = ticketKeys
        self.binding = binding
    }

    deinit {
        // Sound: nothing can call back any more; bytes need no deinitialization.
        unsafe applicationProtocols.deallocate()
    }

    // Sound: only the count is read.
    var hasApplicationProtocols: Bool { unsafe !applicationProtocols.isEmpty }
    var hasTickets: Bool { ticketKeys != nil }

    /// The key that seals new tickets; nil when there are no tickets.
    func currentTicketKey() -> TicketKey? {
        withDerived { $0.first }
    }

    /// The key that sealed a ticket, unless it was rotated out or belongs to another context.
    func ticketKey(named name: InlineArray<16, UInt8>) -> (key: TicketKey, isCurrent: Bool)? {
        withDerived { keys in
            for index in keys.indices where keys[index].hasName(name) {
                return (keys[index], index == 0)
            }
            return nil
        }
    }

    /// Derives again only where the shared keys have been rotated since.
    private func withDerived<Result>(_ body: ([TicketKey]) -> Result?) -> Result? {
        guard let ticketKeys else { return nil }
        let known = derived.withLock { $0.generation }
        if let (generation, secrets) = ticketKeys.secrets(unlessGeneration: known) {
            let keys = secrets.map { TicketKey(secret: $0, binding: binding) }
            derived.withLock { derived in
                // Another thread may have been faster, and may have seen a later rotation.
                guard derived.generation < generation else { return }
                derived.generation = generation
                derived.keys = keys
            }
        }
        return derived.withLock { body($0.keys) }
    }

    /// The list in the form that both ends send it.
    private static func wireForm(_ protocols: [String]) throws(TLSError) -> [UInt8] {
        var wire: [UInt8] = []
        for name in protocols {
            guard let count = UInt8(exactly: name.utf8.count), count > 0 else {
                throw TLSError(.applicationProtocolInvalid)
            }
            wire.append(count)
            wire.append(contentsOf: name.utf8)
        }
        return wire
    }
}
