import BasicContainers
import Kernel
import Runtime
import Telemetry

/// The PROXY protocol, on both sides: which client a connection speaks for, said before its first byte.
extension Worker {
    // MARK: - From clients

    /// Where the port's Gateways ask for it, lets a new connection begin with a header, and turns away a peer that
    /// must not send one; false where they do not.
    ///
    /// A header is insisted on: were it optional, any client could name itself by sending one.
    @inline(never)
    mutating func awaitIntroduction(_ id: SlotID, port row: Int32) -> Bool {
        let peer = downstreams[id].peer
        var isAsked = false
        var isTrusted = true
        for listener in generations[current].snapshot.table.listeners(port: row) {
            let at = Int(generations[current].snapshot.table.listeners[listener].parameters)
            guard generations[current].snapshot.parameters[at].acceptsProxyProtocol else {
                continue
            }
            isAsked = true
            let trusted = generations[current].snapshot.parameters[at].trustedProxies
            if !trusted.blocks.isEmpty, !trusted.contains(peer) { isTrusted = false }
        }
        if !isAsked { return false }
        if isTrusted {
            downstreams[id].phase = .introduction
            setDeadline(downstream: id, in: timeouts.requestHeaderMilliseconds)
        } else {
            refuseIntroduction(id)
        }
        return true
    }

    /// Collects the header; what follows it in the same read is the connection's first input.
    mutating func readIntroduction(_ id: SlotID) {
        var bytes = RigidArray<UInt8>()
        swap(&bytes, &cipher.input)
        bytes.removeAll()
        let result = downstreams[id].link.socket.read(into: &bytes)
        var goesOn = false
        switch result {
        case .bytes(let count):
            if count < Scratch.readBytes, !downstreams[id].link.peerEnded {
                downstreams[id].link.isReadable = false
            }
            goesOn = buffers.append(bytes.span, to: &downstreams[id].input)
            if !goesOn { close(downstream: id) }
        case .wouldBlock: downstreams[id].link.isReadable = false
        case .end, .failed: refuseIntroduction(id)
        }
        swap(&bytes, &cipher.input)
        if goesOn { judgeIntroduction(id) }
    }

    private mutating func judgeIntroduction(_ id: SlotID) {
        var input = Buffer()
        swap(&input, &downstreams[id].input)
        let parsed = ProxyHeader.parse(input.span)
        guard case .header(let header, let count) = parsed else {
            swap(&input, &downstreams[id].input)
            if parsed == .malformed {
                refuseIntroduction(id)
            } else if downstreams[id].link.isReadable {
                enqueue(downstream: id)
            }
            return
        }
        input.consume(count)
        if input.isEmpty {
            buffers.reclaim(&input)
        } else {
            swap(&input, &downstreams[id].input)
        }
        if case .proxied(let source, let destination) = header {
            downstreams[id].peer = source
            if let slot = aside(of: id) { asides[slot].destination = destination }
        }
        // As a connection without a header begins; what came behind it is the first input.
        downstreams[id].phase = downstreams[id].isTLS ? .hello : .reading
        beginConversation(id)
        guard downstreams.contains(id) else { return }
        if downstreams[id].phase == .hello, !downstreams[id].input.isEmpty {
            judgeHello(id)
        } else if !downstreams[id].input.isEmpty || downstreams[id].link.isReadable {
            enqueue(downstream: id)
        }
    }

    /// No header, a malformed one, one that takes too long, or a peer that may not send any.
    mutating func refuseIntroduction(_ id: SlotID) {
        shard.add(.proxyHeaderFailures, 1)
        close(downstream: id)
    }

    // MARK: - To backends

    /// Sends the header that names the exchange's client over a connection that stands, before anything else; false
    /// when the connection is broken.
    @inline(never)
    mutating func introduce(_ upstream: SlotID, _ version: ProxyProtocol) -> Bool {
        upstreams[upstream].isIntroduced = true
        let exchange = upstreams[upstream].exchange
        guard exchange != .none, exchanges.contains(exchange) else { return false }
        let isMirror = exchanges[exchange].isMirror
        let downstream =
            isMirror
            ? client(ofMirror: exchange)
            : exchanges[exchange].isAsking
                ? authorizations[exchanges[exchange].authorization].downstream
                : exchanges[exchange].downstream
        let hasClient = downstreams.contains(downstream)
        guard hasClient || isMirror else { return false }
        let header: ProxyHeader =
            hasClient ? introduction(of: connection(of: downstream)) : .local
        var bytes = Buffer()
        swap(&bytes, &output)
        bytes.removeAll()
        bytes.withFree { header.write(version, into: &$0) }
        let result = upstreams[upstream].link.send(bytes.span, &cipher, &buffers)
        swap(&bytes, &output)
        return result == .taken
    }

    /// The header that names a connection's client and the address it asked for.
    private func introduction(of connection: SlotID) -> ProxyHeader {
        guard let destination = destination(of: connection) else { return .local }
        return .proxied(source: downstreams[connection].peer, destination: destination)
    }

    /// The address that a connection's client asked for; nil when the connection is broken.
    func destination(of connection: SlotID) -> SocketAddress? {
        let slot = downstreams[connection].aside
        let named = slot == .none ? nil : asides[slot].destination
        return named ?? downstreams[connection].link.socket.localAddress()
    }
}

extension ProxyHeader {
    /// Appends the header in the version that a cluster's connections begin with, at most `writtenBytesMax` bytes.
    func write(_ version: ProxyProtocol, into output: inout OutputSpan<UInt8>) {
        switch version {
        case .none: break
        case .v1: writeText(into: &output)
        case .v2: writeBinary(into: &output)
        }
    }
}
