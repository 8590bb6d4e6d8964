import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime

/// The head as the backend gets it.
extension Worker {
    /// Copies what the access log tells of the request, bounded, before filters change it.
    @inline(never)
    mutating func keepStrings(_ slot: SlotID) {
        if trustsPeers { keepToldClient(slot) }
        Self.keepStrings(requestHead, &exchanges[slot])
    }

    private static func keepStrings(_ head: borrowing RequestHead, _ exchange: inout Exchange) {
        exchange.record.path = keep(head.path, 2048, head, &exchange.buffer)
        exchange.record.authority = keep(head.authority, 256, head, &exchange.buffer)
        if let agent = head.value(.userAgent) {
            exchange.record.userAgent = keep(agent, 256, head, &exchange.buffer)
        }
    }

    private static func keep(
        _ range: ByteRange, _ limit: Int, _ head: borrowing RequestHead, _ buffer: inout Buffer
    ) -> ByteRange {
        if range.isEmpty { return .none }
        let start = buffer.count
        let kept = head.span(range).extracting(first: min(Int(range.count), limit))
        return ByteRange(start..<(start &+ buffer.append(kept)))
    }

    /// Writes the head of a client's request for an endpoint into the exchange's buffer; else `decision.reply` says why not.
    @inline(always)
    mutating func writeHead(_ slot: SlotID, of id: SlotID, endpoint: Int32) -> Bool {
        guard !requestHead.hasConnectionFields || removeConnectionFields(slot) else {
            decision.reply = .headTooLargeAfterFilters
            return false
        }
        if requestHead.expectsContinue { requestHead.remove(.expect) }
        var parts: RequestAdditions.Parts = [.requestID, .forwarded]
        if requestHead.fields.names.contains(.xRequestID), keepsRequestID(slot) {
            parts.remove(.requestID)
        } else {
            // The time goes on where an identity has twelve bits beside the 62 that are enough (RFC 9562 §6.2, method 3).
            let time = wallTime
            additions.makeRequestID(
                milliseconds: time.milliseconds, random: (time.fraction, random.next()))
        }
        guard nameClient(id, requestHead.version, &parts), nameHost(slot, endpoint: endpoint)
        else {
            decision.reply = .headTooLargeAfterFilters
            return false
        }
        return Self.write(requestHead, decision, parts, additions, &exchanges[slot])
            || writeLarge(slot, parts)
    }

    /// Writes a head that did not fit into a larger buffer; else `decision.reply` says why not.
    @inline(never)
    private mutating func writeLarge(_ slot: SlotID, _ parts: RequestAdditions.Parts) -> Bool {
        while enlarge(slot) {
            if Self.write(requestHead, decision, parts, additions, &exchanges[slot]) {
                return true
            }
        }
        decision.reply = .overloaded
        return false
    }

    /// Drops what belongs to the client's connection only; false when there is no room for what is told anew.
    @inline(never)
    private mutating func removeConnectionFields(_ slot: SlotID) -> Bool {
        var kept: KeptOptions = exchanges[slot].upgrades ? [.upgrade] : []
        if requestHead.fields.names.contains(.te) { kept.insert(.trailers) }
        return requestHead.removeConnectionFields(keeping: kept)
    }

    /// Whether the client's own x-request-id is usable; then it is remembered.
    @inline(never)
    private mutating func keepsRequestID(_ slot: SlotID) -> Bool {
        guard let value = requestHead.value(.xRequestID),
            RequestID.isValid(requestHead.span(value)),
            requestHead.fields.occurrences(.xRequestID) == 1
        else { return false }
        exchanges[slot].record.requestID = Self.keep(
            value, 128, requestHead, &exchanges[slot].buffer)
        return true
    }

    /// Says who asked; false when there is no room for it.
    @inline(always)
    private mutating func nameClient(
        _ id: SlotID, _ version: Version, _ parts: inout RequestAdditions.Parts
    ) -> Bool {
        if version != additionsVersion
            || !downstreams[id].isClient(additionsClient, isSecure: additionsAreSecure)
        {
            nameOtherClient(id, version)
        }
        return !trustsPeers || nameTrustedClient(id, &parts)
    }

    /// Writes a client's address into `client`.
    mutating func writeClient(_ peer: SocketAddress) {
        client.removeAll()
        client.edit { peer.writeHost(into: &$0) }
    }

    /// The next additions are for another client than the last.
    @inline(never)
    private mutating func nameOtherClient(_ id: SlotID, _ version: Version) {
        let peer = downstreams[id].peer
        let isSecure = downstreams[id].isTLS
        writeClient(peer)
        additions.setClient(client, isSecure: isSecure, version)
        additionsClient = peer
        additionsAreSecure = isSecure
        additionsVersion = version
    }

    /// Writes a fresh identity into `requestID`.
    mutating func makeRequestID() {
        requestID.removeAll()
        let bits = (random.next(), random.next())
        let milliseconds = wallMilliseconds
        requestID.edit { output in
            _ = RequestID.write(milliseconds: milliseconds, random: bits, into: &output)
        }
    }

    /// Host as the cluster wants it, unless a URLRewrite filter named one.
    @inline(always)
    private mutating func nameHost(_ slot: SlotID, endpoint: Int32) -> Bool {
        if decision.isModelServer {
            exchanges[slot].times =
                generations[current].settings[Int(decision.parameters)].modelServer
            exchanges[slot].isInference = requestHead.method == .post
        }
        return decision.hostHeader == .preserve || renameHost(slot, endpoint: endpoint)
    }

    @inline(never)
    private mutating func renameHost(_ slot: SlotID, endpoint: Int32) -> Bool {
        if decision.hostHeader == .name {
            return requestHead.setAuthority(
                clusters.arena, clusters.clusters[Int(decision.cluster)].hostHeader)
        }
        exchanges[slot].namesEndpoint = true
        return requestHead.setAuthority(
            clusters.arena, clusters.endpoints[Int(endpoint)].authority)
    }

    /// Writes the head behind the log's strings; false when it does not fit.
    @inline(always)
    private static func write(
        _ head: borrowing RequestHead, _ decision: borrowing Decision,
        _ parts: RequestAdditions.Parts, _ additions: borrowing RequestAdditions,
        _ exchange: inout Exchange
    ) -> Bool {
        let start = exchange.buffer.count
        let authority = decision.authority
        let written = exchange.buffer.withFree { output in
            HeadWriter.write(
                request: head, framing: head.framing, adding: parts, of: additions,
                forwardedHost: authority, into: &output)
        }
        exchange.record.head = ByteRange(start..<exchange.buffer.count)
        if !written.requestID.isNone {
            exchange.record.requestID = ByteRange(
                start: UInt32(truncatingIfNeeded: start) &+ written.requestID.start,
                count: written.requestID.count)
        }
        return written.fits
    }

    /// Takes a larger buffer for a head that did not fit; what stands before the head is kept.
    private mutating func enlarge(_ slot: SlotID) -> Bool {
        let capacity = exchanges[slot].buffer.capacity * 4
        guard capacity <= 1 << 20, var larger = buffers.take(capacity: capacity) else {
            return false
        }
        let kept = Int(exchanges[slot].record.head.start)
        _ = larger.append(exchanges[slot].buffer.span.extracting(first: kept))
        swap(&larger, &exchanges[slot].buffer)
        buffers.give(larger)
        return true
    }
}
