import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// What a request's head and the table say together, before anything is sent.
struct Decision: BitwiseCopyable {
    var listener: Int32 = -1
    var match = RouteMatch.none
    var backend: Int32 = -1
    var parameters: Int32 = 0
    /// The gateway answers itself.
    var reply: LocalReply?
}

/// From a parsed head to the first byte on a backend's connection.
extension Worker {
    /// Decides about the request in `requestHead` and begins it; returns how many bytes of `rest`, its content
    /// and what follows, were used.
    mutating func beginExchange(
        _ id: SlotID, headBytes: Int, _ rest: Span<UInt8>
    ) -> Int {
        let decision = decide(id)
        if let reply = decision.reply {
            answerLocally(id, reply, decision)
            return 0
        }
        guard var buffer = buffers.take(capacity: 4096) else {
            answerLocally(id, .overloaded, decision)
            return 0
        }
        var exchange = Exchange(
            downstream: id, generation: Int32(current), framing: requestHead.framing,
            began: nowNanoseconds)
        exchange.headBytes = UInt32(truncatingIfNeeded: headBytes)
        note(decision, in: &exchange)
        exchange.record = keepStrings(in: &buffer)
        var endpoint: Int32 = -1
        let problem = prepare(&exchange, decision, id, &endpoint, &buffer)
        if problem != nil || !isReady(endpoint) {
            buffers.reclaim(&buffer)
            if problem == .redirect {
                redirect(id, status: redirectStatus, decision)
            } else {
                answerLocally(id, problem ?? .noEndpoint, decision)
            }
            return 0
        }
        swap(&buffer, &exchange.buffer)
        return start(exchange, endpoint: endpoint, id, decision, rest)
    }

    private func isReady(_ endpoint: Int32) -> Bool { endpoint >= 0 }

    /// Filters, endpoint and head; nil when all is ready to be sent, else the answer.
    private mutating func prepare(
        _ exchange: inout Exchange, _ decision: Decision, _ id: SlotID, _ endpoint: inout Int32,
        _ buffer: inout Buffer
    ) -> LocalReply? {
        switch applyRequestFilters(decision) {
        case .forward: break
        case .redirect(let status):
            redirectStatus = status
            return .redirect
        case .failed: return .failedFilter
        case .tooLarge: return .headTooLargeAfterFilters
        }
        guard let row = chooseEndpoint(cluster: exchange.clusterID, avoiding: .max) else {
            return .noEndpoint
        }
        endpoint = row
        if !prepareHead(&exchange, endpoint: row, id) { return .headTooLargeAfterFilters }
        return writeHead(&exchange, into: &buffer) ? nil : .overloaded
    }

    /// Gives the exchange its slot and begins its first attempt.
    private mutating func start(
        _ exchange: consuming Exchange, endpoint: Int32, _ id: SlotID, _ decision: Decision,
        _ rest: Span<UInt8>
    ) -> Int {
        let requestMilliseconds =
            generations[current].snapshot.table.rules[Int(decision.match.rule)]
            .requestTimeoutMilliseconds
        if requestMilliseconds != 0 {
            exchange.requestDeadline = now + UInt64(requestMilliseconds)
        }
        let hasDeadline = requestMilliseconds != 0
        guard let slot = exchanges.insert(exchange) else {
            answerLocally(id, .overloaded, decision)
            return 0
        }
        generations[current].users += 1
        downstreams[id].exchange = slot
        downstreams[id].phase = .exchanging
        setDeadline(downstream: id, in: 0)
        shard.set(.activeExchanges, UInt64(exchanges.count))
        if hasDeadline { updateDeadline(exchange: slot) }
        return startAttempt(slot, endpoint: endpoint, rest)
    }

    // MARK: - Deciding

    /// Listener, rule and backend of the request in `requestHead`, or the answer that the gateway makes itself.
    private mutating func decide(_ id: SlotID) -> Decision {
        var decision = Decision()
        let row = port(downstreams[id].portID)
        guard row >= 0 else {
            decision.reply = .noListener
            return decision
        }
        let isTLS = downstreams[id].isTLS
        let listener = generations[current].snapshot.table.listener(
            port: row, host: requestHead.span(requestHead.host), isTLS: isTLS)
        guard listener >= 0 else {
            decision.reply = .noListener
            return decision
        }
        decision.listener = listener
        let listenerRow = generations[current].snapshot.table.listeners[Int(listener)]
        decision.parameters = listenerRow.parameters
        if isTLS, listenerRow.id != downstreams[id].tlsListenerID {
            decision.reply = .misdirected
            return decision
        }
        if case .length(let count) = requestHead.framing,
            count > contentBytesMax(decision.parameters)
        {
            decision.reply = .contentTooLarge
            return decision
        }
        if let reply = overLimit(decision.parameters) {
            decision.reply = reply
            return decision
        }
        decision.match = generations[current].snapshot.table.match(
            listener: listener, head: requestHead)
        guard decision.match.rule >= 0 else {
            decision.reply = .noRoute
            return decision
        }
        chooseBackend(&decision)
        return decision
    }

    private mutating func chooseBackend(_ decision: inout Decision) {
        let rule = generations[current].snapshot.table.rules[Int(decision.match.rule)]
        if rule.flags.contains(.failedFilter) {
            decision.reply = .failedFilter
            return
        }
        decision.backend = generations[current].snapshot.table.backend(
            rule: decision.match.rule, random: UInt32(truncatingIfNeeded: random.next()))
        if rule.flags.contains(.redirect) { return }
        guard decision.backend >= 0 else {
            decision.reply = .noBackend
            return
        }
        let backend = generations[current].snapshot.table.backends[Int(decision.backend)]
        if backend.flags.contains(.redirect) { return }
        if backend.kind == .status {
            decision.reply = backend.value == 503 ? .noEndpoint : .noBackend
            return
        }
        let cluster = clusters.row(ofCluster: backend.value)
        if cluster < 0 || clusters.clusters[Int(cluster)].endpointCount == 0 {
            decision.reply = .noEndpoint
        }
    }

    /// What of the head is over the listener's own limits, where several Gateways have different ones.
    private func overLimit(_ parameters: Int32) -> LocalReply? {
        if generations[current].snapshot.parameters.count == 1 { return nil }
        let limits = generations[current].snapshot.parameters[Int(parameters)].limits
        let line = Int(requestHead.methodText.count) + Int(requestHead.target.count) + 10
        if line > limits.requestLineBytesMax { return .malformed(Malformed(.requestLineTooLong)) }
        if requestHead.fields.count > limits.fieldCountMax {
            return .malformed(Malformed(.fieldsTooMany))
        }
        return nil
    }

    private func contentBytesMax(_ parameters: Int32) -> UInt64 {
        UInt64(
            generations[current].snapshot.parameters[Int(parameters)].limits
                .requestContentBytesMax)
    }

    private func note(_ decision: Decision, in exchange: inout Exchange) {
        let rule = generations[current].snapshot.table.rules[Int(decision.match.rule)]
        exchange.rule = decision.match.rule
        exchange.backend = decision.backend
        exchange.parameters = decision.parameters
        exchange.listenerID =
            generations[current].snapshot.table.listeners[Int(decision.listener)].id
        exchange.series = rule.series
        exchange.attemptMilliseconds = rule.backendTimeoutMilliseconds
        exchange.method = requestHead.method
        exchange.version = requestHead.version
        exchange.keepsAlive = requestHead.keepsAlive
        exchange.expectsContinue = requestHead.expectsContinue
        exchange.acceptsTrailers = requestHead.acceptsTrailers
        if decision.backend >= 0 {
            let backend = generations[current].snapshot.table.backends[Int(decision.backend)]
            exchange.backendSeries = backend.series
            exchange.keepsHost =
                rule.flags.contains(.rewritesHost) || backend.flags.contains(.rewritesHost)
            if backend.kind == .cluster { note(cluster: backend.value, in: &exchange) }
        }
        noteTimes(decision, in: &exchange)
    }

    private func note(cluster: UInt32, in exchange: inout Exchange) {
        exchange.clusterID = cluster
        let row = clusters.row(ofCluster: cluster)
        if row >= 0 { exchange.isModelServer = clusters.clusters[Int(row)].isModelServer }
    }

    private func noteTimes(_ decision: Decision, in exchange: inout Exchange) {
        let row = Int(decision.parameters)
        exchange.contentBytesMax = contentBytesMax(decision.parameters)
        exchange.allowsHalfClose = generations[current].snapshot.parameters[row].allowsHalfClose
        exchange.times.streamIdle =
            generations[current].snapshot.parameters[row].timeouts.streamIdleMilliseconds
        exchange.times.requestBodyIdle =
            generations[current].snapshot.parameters[row].timeouts.requestBodyIdleMilliseconds
        exchange.times.clientWriteStall =
            generations[current].snapshot.parameters[row].timeouts.clientWriteStallMilliseconds
        exchange.times.firstByte =
            exchange.isModelServer
            ? generations[current].snapshot.parameters[row].timeouts.modelFirstByteMilliseconds
            : generations[current].snapshot.parameters[row].timeouts.firstByteMilliseconds
    }

    // MARK: - The head for the backend

    /// Copies what the access log tells of the request, bounded, before filters change it.
    private mutating func keepStrings(in buffer: inout Buffer) -> ExchangeRecord {
        func keep(_ range: ByteRange?, _ limit: Int, _ head: borrowing RequestHead) -> ByteRange {
            guard let range, !range.isEmpty else { return .none }
            let start = buffer.count
            let kept = head.span(range).extracting(first: min(Int(range.count), limit))
            return ByteRange(start..<(start + buffer.append(kept)))
        }
        var record = ExchangeRecord()
        record.path = keep(requestHead.path, 2048, requestHead)
        if options.log == nil { return record }
        record.authority = keep(requestHead.authority, 256, requestHead)
        record.userAgent = keep(requestHead.value(.userAgent), 256, requestHead)
        return record
    }

    private mutating func applyRequestFilters(_ decision: Decision) -> FilterOutcome {
        Self.apply(generations, current, decision, &requestHead, &location)
    }

    private static func apply(
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, _ decision: Decision,
        _ head: inout RequestHead, _ scratch: inout RigidArray<UInt8>
    ) -> FilterOutcome {
        generations[generation].snapshot.table.applyRequestFilters(
            rule: decision.match.rule, backend: decision.backend, match: decision.match,
            listener: decision.listener, head: &head, scratch: &scratch)
    }

    /// Drops what belongs to the client's connection and says who asked.
    private mutating func prepareHead(
        _ exchange: inout Exchange, endpoint: Int32, _ id: SlotID
    ) -> Bool {
        requestHead.removeConnectionFields()
        if exchange.expectsContinue { requestHead.remove(.expect) }
        exchange.isInference = exchange.isModelServer && requestHead.method == .post
        client.removeAll()
        let peer = downstreams[id].peer
        client.edit { peer.writeHost(into: &$0) }
        let isSecure = downstreams[id].isTLS
        let trusted = isTrusted(peer, parameters: exchange.parameters)
        guard
            requestHead.tell(client, isSecure: isSecure, isTrusted: trusted),
            requestHead.append(.via, via), nameRequest()
        else { return false }
        return nameHost(&exchange, endpoint: endpoint)
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
    private mutating func nameHost(_ exchange: inout Exchange, endpoint: Int32) -> Bool {
        let row = clusters.row(ofCluster: exchange.clusterID)
        let cluster = clusters.clusters[Int(row)]
        if cluster.hostHeaderKind == .preserve || exchange.keepsHost { return true }
        if cluster.hostHeaderKind == .name {
            return requestHead.setAuthority(clusters.arena, cluster.hostHeader)
        }
        exchange.namesEndpoint = true
        let authority = clusters.endpoints[Int(endpoint)].authority
        return requestHead.setAuthority(clusters.arena, authority)
    }

    /// Writes the head behind the log's strings; larger buffers are taken until it fits.
    private mutating func writeHead(
        _ exchange: inout Exchange, into buffer: inout Buffer
    ) -> Bool {
        let framing = exchange.requestFraming
        if let value = requestHead.value(.xRequestID) {
            let start = buffer.count
            exchange.record.requestID = ByteRange(
                start..<(start + buffer.append(requestHead.span(value))))
        }
        let start = buffer.count
        var capacity = buffer.capacity
        while true {
            let fits = buffer.withFree { output in
                HeadWriter.write(request: requestHead, framing: framing, into: &output)
            }
            if fits { break }
            capacity *= 4
            guard capacity <= 1 << 20, var larger = buffers.take(capacity: capacity) else {
                return false
            }
            _ = larger.append(buffer.span.extracting(first: start))
            swap(&larger, &buffer)
            buffers.give(larger)
        }
        exchange.record.head = ByteRange(start..<buffer.count)
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
