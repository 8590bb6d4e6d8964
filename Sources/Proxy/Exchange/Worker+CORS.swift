import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime

/// Requests from pages of other origins, where a CORS filter says who may call.
extension Worker {
    /// Looks at where the request in `requestHead` comes from: `decision.reply` says that it is a preflight, or its origin
    /// is remembered for the answer.
    @inline(never)
    mutating func meetOrigin(_ slot: SlotID) {
        if Table.isPreflight(requestHead) {
            decision.reply = .preflight
        } else if let origin = allowedOrigin(decision) {
            exchanges[slot].record.origin = Self.keepWhole(
                origin, requestHead, &exchanges[slot].buffer)
        }
    }

    /// Half an origin is another's: it is kept whole or not at all.
    private static func keepWhole(
        _ range: ByteRange, _ head: borrowing RequestHead, _ buffer: inout Buffer
    ) -> ByteRange {
        if buffer.freeCapacity < Int(range.count) { return .none }
        let start = buffer.count
        return ByteRange(start..<(start &+ buffer.append(head.span(range))))
    }

    /// The origin of the request in `requestHead` where it is let in.
    private func allowedOrigin(_ decision: Decision) -> ByteRange? {
        generations[current].snapshot.table.allowedOrigin(
            rule: decision.match.rule, backend: decision.backend, head: requestHead)
    }

    /// Whether the request in `requestHead`, which is to be answered with `reply`, is a preflight: whether there is a
    /// backend is not what it asks.
    func isPreflight(answered reply: LocalReply) -> Bool {
        if reply == .preflight { return true }
        return decision.flags.contains(.cors) && (reply == .noBackend || reply == .noEndpoint)
            && Table.isPreflight(requestHead)
    }

    /// Answers the preflight in `requestHead`.
    @inline(never)
    mutating func answerPreflight(_ id: SlotID) {
        tellOrigin(decision)
        if corsFields.isEmpty {
            answerLocally(id, .originRefused, decision)
        } else if Self.appendPreflight(generations, current, decision, requestHead, &corsFields) {
            answerWithoutContent(id, .preflight, status: LocalReply.preflight.row.status, decision)
        } else {
            corsFields.removeAll()
            answerLocally(id, .headTooLargeAfterFilters, decision)
        }
    }

    private static func appendPreflight(
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, _ decision: Decision,
        _ head: borrowing RequestHead, _ fields: inout RigidArray<UInt8>
    ) -> Bool {
        fields.edit { out in
            generations[generation].snapshot.table.appendPreflight(
                rule: decision.match.rule, backend: decision.backend, head: head, into: &out)
        }
    }

    /// Puts into `corsFields` what an answer of the gateway's own to the request in `requestHead` says to its origin:
    /// nothing where that is not let in.
    mutating func tellOrigin(_ decision: Decision) {
        corsFields.removeAll()
        guard decision.flags.contains(.cors), let origin = allowedOrigin(decision) else { return }
        makeRoomForFields()
        Self.append(
            generations, current, rule: decision.match.rule, backend: decision.backend,
            requestHead, origin, &corsFields)
    }

    /// Puts into `corsFields` that the answer is one origin's only.
    mutating func tellVariation() {
        makeRoomForFields()
        corsFields.edit { _ = HeadWriter.append("vary: origin\r\n", into: &$0) }
    }

    /// The same for the request of an exchange.
    mutating func tellOrigin(of id: SlotID) {
        corsFields.removeAll()
        let origin = exchanges[id].record.origin
        guard !origin.isNone, exchanges[id].generation >= 0 else { return }
        makeRoomForFields()
        var buffer = Buffer()
        swap(&buffer, &exchanges[id].buffer)
        Self.append(
            generations, UInt32(exchanges[id].generation), rule: exchanges[id].decision.rule,
            backend: exchanges[id].decision.backend, buffer.span.extracting(origin.range),
            &corsFields)
        swap(&buffer, &exchanges[id].buffer)
    }

    /// Only who has such a filter has the memory.
    private mutating func makeRoomForFields() {
        if corsFields.capacity == 0 { corsFields = RigidArray(capacity: 32 * 1024) }
    }

    private static func append(
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, rule: Int32,
        backend: Int32, _ head: borrowing RequestHead, _ origin: ByteRange,
        _ fields: inout RigidArray<UInt8>
    ) {
        append(
            generations, generation, rule: rule, backend: backend, head.span(origin), &fields)
    }

    private static func append(
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, rule: Int32,
        backend: Int32, _ origin: Span<UInt8>, _ fields: inout RigidArray<UInt8>
    ) {
        let isWhole = fields.edit { out in
            generations[generation].snapshot.table.appendCORS(
                rule: rule, backend: backend, origin: origin, into: &out)
        }
        if !isWhole { fields.removeAll() }
    }
}
