import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime

/// The head as the backend gets it.
extension Worker {
    /// Copies what the access log and local answers tell of the request, bounded, before filters change it.
    @inline(__always)
    mutating func keepStrings(_ slot: SlotID) {
        Self.keepPath(requestHead, &exchanges[slot])
        if options.log != nil { Self.keepStrings(requestHead, &exchanges[slot]) }
    }

    @inline(__always)
    private static func keepPath(_ head: borrowing RequestHead, _ exchange: inout Exchange) {
        exchange.record.path = keep(head.path, 2048, head, &exchange.buffer)
    }

    @inline(never)
    private static func keepStrings(_ head: borrowing RequestHead, _ exchange: inout Exchange) {
        exchange.record.authority = keep(head.authority, 256, head, &exchange.buffer)
        if let agent = head.value(.userAgent) {
            exchange.record.userAgent = keep(agent, 256, head, &exchange.buffer)
        }
    }

    @inline(__always)
    private static func keep(
        _ range: ByteRange, _ limit: Int, _ head: borrowing RequestHead, _ buffer: inout Buffer
    ) -> ByteRange {
        if range.isEmpty { return .none }
        let start = buffer.count
        let kept = head.span(range).extracting(first: min(Int(range.count), limit))
        return ByteRange(start..<(start &+ buffer.append(kept)))
    }

    /// Writes the head for an endpoint into the exchange's buffer; else `decision.reply` says why not.
    @inline(__always)
    mutating func writeHead(_ slot: SlotID, endpoint: Int32) -> Bool {
        if !prepareHead(slot, endpoint: endpoint) {
            decision.reply = .headTooLargeAfterFilters
            return false
        }
        if Self.write(requestHead, &exchanges[slot]) { return true }
        while enlarge(slot) {
            if Self.write(requestHead, &exchanges[slot]) { return true }
        }
        decision.reply = .overloaded
        return false
    }

    /// Drops what belongs to the client's connection and says who asked.
    private mutating func prepareHead(_ slot: SlotID, endpoint: Int32) -> Bool {
        let id = exchanges[slot].downstream
        requestHead.removeConnectionFields()
        if requestHead.expectsContinue { requestHead.remove(.expect) }
        client.removeAll()
        let peer = downstreams[id].peer
        client.edit { peer.writeHost(into: &$0) }
        let isSecure = downstreams[id].isTLS
        let trusted = isTrusted(peer, parameters: decision.parameters)
        guard
            requestHead.tell(client, isSecure: isSecure, isTrusted: trusted),
            requestHead.append(.via, via), nameRequest()
        else { return false }
        return nameHost(slot, endpoint: endpoint)
    }

    /// Keeps a usable x-request-id, else makes one.
    private mutating func nameRequest() -> Bool {
        if let value = requestHead.value(.xRequestID),
            RequestID.isValid(requestHead.span(value)), requestHead.fields.occurrences(.xRequestID) == 1
        {
            return true
        }
        makeRequestID()
        return requestHead.set(.xRequestID, requestID)
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
    @inline(__always)
    private mutating func nameHost(_ slot: SlotID, endpoint: Int32) -> Bool {
        let cluster = Int(decision.cluster)
        if clusters.clusters[cluster].isModelServer {
            exchanges[slot].times =
                generations[current].settings[Int(decision.parameters)].modelServer
            exchanges[slot].isInference = requestHead.method == .post
        }
        switch clusters.clusters[cluster].hostHeaderKind {
        case .preserve: return true
        case .name:
            if decision.flags.contains(.rewritesHost) { return true }
            return requestHead.setAuthority(
                clusters.arena, clusters.clusters[cluster].hostHeader)
        case .endpoint:
            if decision.flags.contains(.rewritesHost) { return true }
            exchanges[slot].namesEndpoint = true
            return requestHead.setAuthority(
                clusters.arena, clusters.endpoints[Int(endpoint)].authority)
        }
    }

    /// Writes the head behind the log's strings; false, and those only, when it does not fit.
    @inline(__always)
    private static func write(
        _ head: borrowing RequestHead, _ exchange: inout Exchange
    ) -> Bool {
        if exchange.record.requestID.isNone, let value = head.value(.xRequestID) {
            exchange.record.requestID = keep(value, 128, head, &exchange.buffer)
        }
        let start = exchange.buffer.count
        let fits = exchange.buffer.withFree { output in
            HeadWriter.write(request: head, framing: head.framing, into: &output)
        }
        exchange.record.head = ByteRange(start..<exchange.buffer.count)
        return fits
    }

    /// Takes a larger buffer for a head that did not fit; what stands before the head is kept.
    @inline(never)
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

    /// Whether forwarding fields of this peer are believed.
    private func isTrusted(_ peer: SocketAddress, parameters: Int32) -> Bool {
        if !generations[current].settings[Int(parameters)].trustsPeers { return false }
        return generations[current].snapshot.parameters[Int(parameters)].trustedProxies
            .contains(peer)
    }
}
