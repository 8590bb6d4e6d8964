import BasicContainers
import HTTP
import Kernel
import Runtime

/// What proxies that are believed tell of the client (`trustedProxies` of GatewayParameters).
extension Worker {
    /// Whom a believed proxy speaks for in `requestHead`; nil: the other end of the connection is the client.
    func toldClient(_ id: SlotID, _ parameters: Int32) -> ByteRange? {
        if current == .max { return nil }
        return Self.toldClient(
            generations[current].snapshot.parameters[Int(parameters)].trustedProxies,
            downstreams[id].peer, requestHead)
    }

    private static func toldClient(
        _ proxies: TrustedProxies, _ peer: SocketAddress, _ head: borrowing RequestHead
    ) -> ByteRange? {
        if !proxies.contains(peer) { return nil }
        let told: ByteRange?
        switch proxies.source {
        case .xForwardedFor: told = Forwarded.client(of: head, hops: proxies.hops)
        case .field(let name): told = Forwarded.client(of: head, named: name.utf8Span.span)
        }
        guard let told, SocketAddress(told: head.span(told)) != nil else { return nil }
        return told
    }

    /// The address that the access log tells of a request without an exchange, which is in `requestHead`.
    func clientOfRequest(_ id: SlotID, _ parameters: Int32) -> SocketAddress {
        if trustsPeers, let told = toldClient(id, parameters),
            let address = SocketAddress(told: requestHead.span(told))
        {
            return address
        }
        return downstreams[id].peer
    }

    /// Keeps whom a believed proxy speaks for, as the first of the log's strings: the path stands behind it then.
    @inline(never)
    mutating func keepToldClient(_ slot: SlotID) {
        guard let told = toldClient(exchanges[slot].downstream, decision.parameters) else { return }
        Self.keep(told, requestHead, &exchanges[slot].buffer)
    }

    private static func keep(
        _ range: ByteRange, _ head: borrowing RequestHead, _ buffer: inout Buffer
    ) {
        _ = buffer.append(head.span(range))
    }

    /// Goes on with what a trusted peer says of earlier hops; false when there is no room for it.
    @inline(never)
    mutating func nameTrustedClient(_ id: SlotID, _ parts: inout RequestAdditions.Parts) -> Bool {
        let peer = downstreams[id].peer
        let row = Int(decision.parameters)
        let source = generations[current].snapshot.parameters[row].trustedProxies.source
        guard generations[current].snapshot.parameters[row].trustedProxies.contains(peer) else {
            // A backend may believe this field as we do: nobody else may say it.
            if case .field(let name) = source {
                Forwarded.drop(name.utf8Span.span, of: &requestHead)
            }
            return true
        }
        parts.remove(.forwarded)
        // Where the proxy speaks by another field, it does not vouch for the list.
        if source != .xForwardedFor {
            let told = toldClient(id, decision.parameters)
            if !Forwarded.restart(&requestHead, from: told) { return false }
        }
        writeClient(peer)
        return requestHead.tell(client, isSecure: downstreams[id].isTLS)
    }
}
