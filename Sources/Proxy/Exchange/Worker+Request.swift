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
        guard
            let exchange = exchanges.insert(
                Exchange(
                    downstream: id, generation: Int32(current), framing: requestHead.framing,
                    began: nowNanoseconds))
        else {
            answerLocally(id, .overloaded, decision)
            return 0
        }
        generations[current].users += 1
        downstreams[id].exchange = exchange
        downstreams[id].phase = .exchanging
        guard var buffer = buffers.take(capacity: 4096) else {
            dissolve(exchange)
            answerLocally(id, .overloaded, decision)
            return 0
        }
        note(decision, in: exchange)
        exchanges[exchange].receivedBytes = UInt64(headBytes)
        exchanges[exchange].record = keepStrings(in: &buffer)
        switch applyRequestFilters(decision, id) {
        case .forward: break
        case .redirect(let status):
            buffers.reclaim(&buffer)
            dissolve(exchange)
            redirect(id, status: status, decision)
            return 0
        case .failed:
            buffers.reclaim(&buffer)
            dissolve(exchange)
            answerLocally(id, .failedFilter, decision)
            return 0
        case .tooLarge:
            buffers.reclaim(&buffer)
            dissolve(exchange)
            answerLocally(id, .headTooLargeAfterFilters, decision)
            return 0
        }
        guard let endpoint = chooseEndpoint(exchange, avoiding: .max),
            prepareHead(exchange, endpoint: endpoint, id)
        else {
            buffers.reclaim(&buffer)
            dissolve(exchange)
            answerLocally(id, .noEndpoint, decision)
            return 0
        }
        let written = writeHead(exchange, into: &buffer)
        swap(&buffer, &exchanges[exchange].buffer)
        guard written else {
            dissolve(exchange)
            answerLocally(id, .overloaded, decision)
            return 0
        }
        setDeadline(downstream: id, in: 0)
        shard.set(.activeExchanges, UInt64(exchanges.count))
        armRequestDeadline(exchange)
        return startAttempt(exchange, endpoint: endpoint, rest)
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

    private func contentBytesMax(_ parameters: Int32) -> UInt64 {
        UInt64(
            generations[current].snapshot.parameters[Int(parameters)].limits
                .requestContentBytesMax)
    }

    private mutating func note(_ decision: Decision, in id: SlotID) {
        let ruleRow = generations[current].snapshot.table.rules[Int(decision.match.rule)]
        exchanges[id].listener = decision.listener
        exchanges[id].rule = decision.match.rule
        exchanges[id].backend = decision.backend
        exchanges[id].parameters = decision.parameters
        exchanges[id].listenerID =
            generations[current].snapshot.table.listeners[Int(decision.listener)].id
        exchanges[id].series = ruleRow.series
        noteTimes(decision, in: id)
        exchanges[id].method = requestHead.method
        exchanges[id].version = requestHead.version
        exchanges[id].keepsAlive = requestHead.keepsAlive
        exchanges[id].expectsContinue = requestHead.expectsContinue
        exchanges[id].acceptsTrailers = requestHead.acceptsTrailers
        exchanges[id].allowsHalfClose =
            generations[current].snapshot.parameters[Int(decision.parameters)].allowsHalfClose
        if decision.backend >= 0 {
            let backend = generations[current].snapshot.table.backends[Int(decision.backend)]
            exchanges[id].backendSeries = backend.series
            if backend.kind == .status { return }
            exchanges[id].clusterID = backend.value
            exchanges[id].keepsHost = keepsHost(decision)
            let cluster = clusters.row(ofCluster: backend.value)
            if cluster >= 0 {
                exchanges[id].isModelServer = clusters.clusters[Int(cluster)].isModelServer
                if exchanges[id].isModelServer {
                    exchanges[id].times.firstByte =
                        generations[current].snapshot.parameters[Int(decision.parameters)]
                        .timeouts.modelFirstByteMilliseconds
                }
            }
        }
    }

    private mutating func noteTimes(_ decision: Decision, in id: SlotID) {
        let row = Int(decision.parameters)
        var times = ExchangeTimes()
        times.streamIdle =
            generations[current].snapshot.parameters[row].timeouts.streamIdleMilliseconds
        times.requestBodyIdle =
            generations[current].snapshot.parameters[row].timeouts.requestBodyIdleMilliseconds
        times.clientWriteStall =
            generations[current].snapshot.parameters[row].timeouts.clientWriteStallMilliseconds
        times.firstByte =
            generations[current].snapshot.parameters[row].timeouts.firstByteMilliseconds
        exchanges[id].times = times
    }

    /// A URLRewrite filter names the host, which wins over what the cluster says.
    private func keepsHost(_ decision: Decision) -> Bool {
        let table = generations[current].snapshot.table.rules[Int(decision.match.rule)].flags
        let own = generations[current].snapshot.table.backends[Int(decision.backend)].flags
        return table.contains(.rewritesHost) || own.contains(.rewritesHost)
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

    private mutating func applyRequestFilters(
        _ decision: Decision, _ id: SlotID
    ) -> FilterOutcome {
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
        _ exchange: SlotID, endpoint: Int32, _ id: SlotID
    ) -> Bool {
        requestHead.removeConnectionFields()
        requestHead.remove(.expect)
        exchanges[exchange].isInference =
            exchanges[exchange].isModelServer && requestHead.method == .post
        client.removeAll()
        let peer = downstreams[id].peer
        client.edit { peer.writeHost(into: &$0) }
        let isSecure = downstreams[id].isTLS
        let trusted = isTrusted(peer, parameters: exchanges[exchange].parameters)
        guard
            requestHead.tell(client, isSecure: isSecure, isTrusted: trusted),
            requestHead.append(.via, via), nameRequest()
        else { return false }
        return nameHost(exchange, endpoint: endpoint)
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
    private mutating func nameHost(_ exchange: SlotID, endpoint: Int32) -> Bool {
        let row = clusters.row(ofCluster: exchanges[exchange].clusterID)
        let cluster = clusters.clusters[Int(row)]
        if cluster.hostHeaderKind == .preserve || exchanges[exchange].keepsHost { return true }
        if cluster.hostHeaderKind == .name {
            return requestHead.setAuthority(clusters.arena, cluster.hostHeader)
        }
        exchanges[exchange].namesEndpoint = true
        let authority = clusters.endpoints[Int(endpoint)].authority
        return requestHead.setAuthority(clusters.arena, authority)
    }

    /// Writes the head behind the log's strings; larger buffers are taken until it fits.
    private mutating func writeHead(_ exchange: SlotID, into buffer: inout Buffer) -> Bool {
        let framing = exchanges[exchange].requestFraming
        var record = exchanges[exchange].record
        if let value = requestHead.value(.xRequestID) {
            let start = buffer.count
            record.requestID = ByteRange(start..<(start + buffer.append(requestHead.span(value))))
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
        record.head = ByteRange(start..<buffer.count)
        exchanges[exchange].record = record
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

    /// `timeouts.request` and the first attempt's `timeouts.backendRequest`, where the rule has them.
    private mutating func armRequestDeadline(_ id: SlotID) {
        let rule = generations[current].snapshot.table.rules[Int(exchanges[id].rule)]
        if rule.requestTimeoutMilliseconds != 0 {
            exchanges[id].requestDeadline = now + UInt64(rule.requestTimeoutMilliseconds)
        }
        exchanges[id].attemptMilliseconds = rule.backendTimeoutMilliseconds
        if exchanges[id].requestDeadline != 0 { updateDeadline(exchange: id) }
    }
}
