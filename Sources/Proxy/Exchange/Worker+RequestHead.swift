import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime

/// The head as the backend gets it.
extension Worker {
    /// Copies what the access log and local answers tell of the request, bounded, before filters change it.
    @inline(__always)
    mutating func keepStrings(_ plan: inout RequestPlan) {
        plan.record.path = Self.keep(requestHead.path, 2048, requestHead, &plan.buffer)
        if options.log == nil { return }
        plan.record.authority = Self.keep(requestHead.authority, 256, requestHead, &plan.buffer)
        guard let agent = requestHead.value(.userAgent) else { return }
        plan.record.userAgent = Self.keep(agent, 256, requestHead, &plan.buffer)
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

    /// Drops what belongs to the client's connection and says who asked.
    mutating func prepareHead(
        _ plan: inout RequestPlan, _ decision: Decision, _ id: SlotID
    ) -> Bool {
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
        return nameHost(&plan, decision)
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
    private mutating func nameHost(_ plan: inout RequestPlan, _ decision: Decision) -> Bool {
        let kind = clusters.clusters[Int(decision.cluster)].hostHeaderKind
        plan.isModelServer = clusters.clusters[Int(decision.cluster)].isModelServer
        if kind == .preserve || decision.flags.contains(.rewritesHost) { return true }
        if kind == .name {
            return requestHead.setAuthority(
                clusters.arena, clusters.clusters[Int(decision.cluster)].hostHeader)
        }
        plan.namesEndpoint = true
        return requestHead.setAuthority(
            clusters.arena, clusters.endpoints[Int(plan.endpoint)].authority)
    }

    /// Writes the head behind the log's strings; larger buffers are taken until it fits.
    mutating func writeHead(_ plan: inout RequestPlan) -> Bool {
        if let value = requestHead.value(.xRequestID) {
            plan.record.requestID = Self.keep(value, 128, requestHead, &plan.buffer)
        }
        let framing = requestHead.framing
        let start = plan.buffer.count
        while true {
            let fits = plan.buffer.withFree { output in
                HeadWriter.write(request: requestHead, framing: framing, into: &output)
            }
            if fits { break }
            if !enlarge(&plan.buffer, keeping: start) { return false }
        }
        plan.record.head = ByteRange(start..<plan.buffer.count)
        return true
    }

    /// Takes a larger buffer for a head that did not fit.
    private mutating func enlarge(_ buffer: inout Buffer, keeping kept: Int) -> Bool {
        let capacity = buffer.capacity * 4
        guard capacity <= 1 << 20, var larger = buffers.take(capacity: capacity) else {
            return false
        }
        _ = larger.append(buffer.span.extracting(first: kept))
        swap(&larger, &buffer)
        buffers.give(larger)
        return true
    }

    /// Whether forwarding fields of this peer are believed.
    private func isTrusted(_ peer: SocketAddress, parameters: Int32) -> Bool {
        if generations[current].snapshot.parameters[Int(parameters)].trustedProxies.blocks.isEmpty {
            return false
        }
        return generations[current].snapshot.parameters[Int(parameters)].trustedProxies
            .contains(peer)
    }
}
