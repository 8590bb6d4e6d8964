import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import TLS
import Telemetry

/// One attempt to have a backend answer: a connection, the head, the content as it comes.
extension Worker {
    /// Sends the request over a pooled connection or begins a new one; returns how many bytes of `rest` were used.
    mutating func startAttempt(_ id: SlotID, endpoint row: Int32, _ rest: Span<UInt8>) -> Int {
        let endpoint = clusters.endpoints[Int(row)].id
        exchanges[id].beginAttempt(endpoint: endpoint, nanoseconds: nowNanoseconds)
        if exchanges[id].attemptMilliseconds != 0 {
            exchanges[id].attemptDeadline = now + UInt64(exchanges[id].attemptMilliseconds)
            updateDeadline(exchange: id)
        }
        if let upstream = takeIdle(endpoint: endpoint) {
            exchanges[id].usedPooled = true
            shard.add(.upstreamReuses, 1)
            attach(upstream, to: id)
            return sendRequest(id, upstream, rest)
        }
        connect(id, row)
        return 0
    }

    private mutating func attach(_ upstream: SlotID, to id: SlotID) {
        upstreams[upstream].phase = .active
        upstreams[upstream].exchange = id
        exchanges[id].upstream = upstream
        endpoints[Int(upstreams[upstream].endpointID)].active += 1
    }

    /// Begins a connection for an exchange, or lets it wait for one.
    private mutating func connect(_ id: SlotID, _ row: Int32) {
        let endpoint = clusters.endpoints[Int(row)]
        let limits = limits(of: id)
        if Int(endpoints[Int(endpoint.id)].open) >= limits.upstreamConnectionsMax {
            if !wait(id) { fail(id, .overloaded) }
            return
        }
        let socket: Socket
        do {
            socket = try Socket.connecting(to: endpoint.address)
        } catch {
            attemptFailed(id, .connectRefused)
            return
        }
        let timeouts = self.timeouts
        socket.setKeepAlive(
            idleSeconds: timeouts.tcpKeepAliveIdleSeconds,
            intervalSeconds: timeouts.tcpKeepAliveIntervalSeconds,
            count: timeouts.tcpKeepAliveProbes)
        socket.setUserTimeout(milliseconds: timeouts.tcpUserTimeoutMilliseconds)
        let raw = socket.raw
        guard
            let upstream = upstreams.insert(
                Upstream(
                    socket, endpointID: endpoint.id, clusterID: exchanges[id].clusterID))
        else {
            fail(id, .overloaded)
            return
        }
        endpoints[Int(endpoint.id)].open += 1
        shard.add(.upstreamConnects, 1)
        shard.set(.upstreamConnections, UInt64(upstreams.count))
        upstreams[upstream].exchange = id
        upstreams[upstream].began = nowNanoseconds
        exchanges[id].upstream = upstream
        endpoints[Int(endpoint.id)].active += 1
        do {
            try loop.register(raw, Token(kind: TokenKind.upstream, upstream), edgeTriggered: true)
        } catch {
            letGo(upstream)
            attemptFailed(id, .connectRefused)
            return
        }
        setDeadline(upstream: upstream, in: timeouts.connectMilliseconds)
    }

    /// An exchange that waited has its turn: again from the choice of an endpoint.
    mutating func resumeAttempt(_ id: SlotID) {
        guard let row = chooseEndpoint(cluster: exchanges[id].clusterID, avoiding: .max) else {
            fail(id, .noEndpoint)
            return
        }
        exchanges[id].attempts -= 1
        _ = startAttempt(id, endpoint: row, Span())
        if exchanges.contains(id), exchanges[id].phase == .awaitingHead { pumpRequest(id) }
    }

    // MARK: - Connecting

    /// The socket of a connection that is being made has news.
    mutating func finishConnecting(_ upstream: SlotID) {
        let id = upstreams[upstream].exchange
        let code = upstreams[upstream].link.socket.connectResult()
        if code != 0 {
            let endpoint = upstreams[upstream].endpointID
            letGo(upstream)
            note(endpoint: endpoint, reached: false)
            attemptFailed(id, .connectRefused)
            return
        }
        let row = clusters.row(ofCluster: upstreams[upstream].clusterID)
        if row >= 0, clusters.clusters[Int(row)].tls >= 0 {
            beginHandshake(upstream, clusters.clusters[Int(row)].tls)
            return
        }
        connected(upstream)
    }

    private mutating func beginHandshake(_ upstream: SlotID, _ tls: Int32) {
        let id = upstreams[upstream].exchange
        let configuration = clusters.tls[Int(tls)]
        let name = clusters.serverNames[Int(tls)]
        guard let session = try? TLSSession(client: configuration, serverName: name) else {
            letGo(upstream)
            attemptFailed(id, .tls)
            return
        }
        upstreams[upstream].link.session = consume session
        upstreams[upstream].phase = .handshaking
        setDeadline(upstream: upstream, in: timeouts.handshakeMilliseconds)
        advanceHandshake(upstream: upstream, Span())
    }

    /// Reads more of a backend's handshake.
    mutating func continueHandshake(upstream: SlotID) {
        var bytes = RigidArray<UInt8>()
        swap(&bytes, &cipher.input)
        bytes.removeAll()
        let result = upstreams[upstream].link.socket.read(into: &bytes)
        var failed = false
        switch result {
        case .bytes(let count):
            if count < Scratch.readBytes, !upstreams[upstream].link.peerEnded {
                upstreams[upstream].link.isReadable = false
            }
            advanceHandshake(upstream: upstream, bytes.span)
        case .wouldBlock: upstreams[upstream].link.isReadable = false
        case .end, .failed: failed = true
        }
        swap(&bytes, &cipher.input)
        if failed { handshakeFailed(upstream) }
    }

    private mutating func advanceHandshake(upstream: SlotID, _ bytes: Span<UInt8>) {
        let step = upstreams[upstream].link.handshake(bytes, &cipher, &buffers)
        switch step.state {
        case .wantsInput:
            if upstreams[upstream].link.isReadable { enqueue(upstream: upstream) }
        case .failed: handshakeFailed(upstream)
        case .finished:
            let rest = bytes.extracting(step.consumed..<bytes.count)
            if rest.count > 0, !openEarly(upstream: upstream, rest) {
                handshakeFailed(upstream)
                return
            }
            connected(upstream)
        }
    }

    /// Session tickets come behind the handshake; a byte of content would be an answer that nobody asked for.
    private mutating func openEarly(upstream: SlotID, _ rest: Span<UInt8>) -> Bool {
        var plain = RigidArray<UInt8>()
        swap(&plain, &input)
        plain.removeAll()
        let result = upstreams[upstream].link.open(rest, into: &plain, &cipher, &buffers)
        swap(&plain, &input)
        return result == .wouldBlock
    }

    private mutating func handshakeFailed(_ upstream: SlotID) {
        let id = upstreams[upstream].exchange
        let endpoint = upstreams[upstream].endpointID
        letGo(upstream)
        note(endpoint: endpoint, reached: false)
        attemptFailed(id, .tls)
    }

    /// A connection stands: the request goes out.
    private mutating func connected(_ upstream: SlotID) {
        let id = upstreams[upstream].exchange
        note(endpoint: upstreams[upstream].endpointID, reached: true)
        upstreams[upstream].phase = .active
        exchanges[id].connected = nowNanoseconds
        shard.observe(
            .upstreamConnect, series: exchanges[id].backendSeries,
            nanoseconds: nowNanoseconds &- upstreams[upstream].began)
        _ = sendRequest(id, upstream, Span())
        if exchanges.contains(id), !exchanges[id].requestDone {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    // MARK: - Sending

    /// Sends the head, what content is kept from an earlier attempt, and what of `rest` belongs to the content.
    private mutating func sendRequest(
        _ id: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>
    ) -> Int {
        exchanges[id].phase = .awaitingHead
        exchanges[id].sentBytes = true
        var buffer = Buffer()
        swap(&buffer, &exchanges[id].buffer)
        let start = Int(exchanges[id].record.head.start)
        var part = Relay.Part(upTo: 0)
        if !exchanges[id].requestDone, !exchanges[id].requestReframes, !rest.isEmpty {
            part = Relay.part(&exchanges[id].request, rest, from: 0)
        }
        let content = rest.extracting(0..<part.upTo)
        let result = upstreams[upstream].link.send(
            buffer.span.extracting(start..<buffer.count), then: content, &cipher, &buffers)
        swap(&buffer, &exchanges[id].buffer)
        exchanges[id].receivedBytes += UInt64(part.upTo)
        exchanges[id].processing = Clock.monotonicNanoseconds() &- exchanges[id].connectBegan
        hold(id, content)
        if result == .failed {
            requestWriteFailed(id)
            return part.upTo
        }
        sentRequestPart(id, upstream, part)
        return part.upTo
    }

    /// Keeps content for another attempt while that is allowed.
    private mutating func hold(_ id: SlotID, _ content: Span<UInt8>) {
        if content.isEmpty || !exchanges[id].holdsContent { return }
        let kept = exchanges[id].buffer.count
        let mayMove =
            exchanges[id].isInference
            || (exchanges[id].usedPooled && exchanges[id].method.isIdempotent)
        if mayMove, kept + content.count <= limits(of: id).replayBytesMax,
            buffers.append(content, to: &exchanges[id].buffer)
        {
            return
        }
        exchanges[id].holdsContent = false
    }

    /// After a part of the request was given to the link: what comes next.
    private mutating func sentRequestPart(
        _ id: SlotID, _ upstream: SlotID, _ part: Relay.Part
    ) {
        if part.malformed != nil {
            requestMalformed(id, part.malformed!)
            return
        }
        if exchanges[id].receivedBytes > exchanges[id].contentBytesMax {
            requestTooLarge(id)
            return
        }
        if part.needsDecoding { exchanges[id].requestReframes = true }
        if part.finished { requestEnded(id) }
        armFirstByte(id, upstream)
    }

    private mutating func armFirstByte(_ id: SlotID, _ upstream: SlotID) {
        if exchanges[id].phase != .awaitingHead { return }
        setDeadline(upstream: upstream, in: exchanges[id].times.firstByte)
    }

    private mutating func requestEnded(_ id: SlotID) {
        exchanges[id].requestDone = true
        let downstream = exchanges[id].downstream
        if downstreams.contains(downstream) { setDeadline(downstream: downstream, in: 0) }
    }

    /// Moves content from the client to the backend until one of them has to wait.
    mutating func pumpRequest(_ id: SlotID) {
        let downstream = exchanges[id].downstream
        if !exchanges[id].requestDone, exchanges[id].expectsContinue { sayContinue(id) }
        var left = Scratch.tickBytes
        while exchanges.contains(id), mayPumpRequest(id) {
            if useRequestStash(id) { continue }
            guard exchanges.contains(id), mayPumpRequest(id) else { return }
            guard downstreams[downstream].link.isReadable else { break }
            if left <= 0 {
                enqueue(downstream: downstream)
                break
            }
            var bytes = RigidArray<UInt8>()
            swap(&bytes, &input)
            bytes.removeAll()
            let result = downstreams[downstream].link.read(into: &bytes, &cipher, &buffers)
            left -= bytes.count
            switch result {
            case .bytes: receivedContent(id, bytes.span)
            case .wouldBlock: break
            case .end, .failed: clientIsGone(downstream)
            }
            swap(&bytes, &input)
            if result != .bytes { break }
        }
        guard exchanges.contains(id), !exchanges[id].requestDone else { return }
        // A client is waited for only while the backend would take more.
        let waits = mayPumpRequest(id)
        setDeadline(
            downstream: downstream,
            in: waits ? exchanges[id].times.requestBodyIdle : 0)
    }

    private func mayPumpRequest(_ id: SlotID) -> Bool {
        let upstream = exchanges[id].upstream
        return !exchanges[id].requestDone && !exchanges[id].requestBroken
            && exchanges[id].phase != .connecting && upstream != .none
            && !upstreams[upstream].link.isCongested
    }

    private mutating func receivedContent(_ id: SlotID, _ bytes: Span<UInt8>) {
        let downstream = exchanges[id].downstream
        if !downstreams[downstream].input.isEmpty {
            keep(downstream: downstream, bytes)
            return
        }
        let used = sendContent(id, bytes)
        if used < bytes.count, downstreams.contains(downstream) {
            keep(downstream: downstream, bytes.extracting(used..<bytes.count))
        }
    }

    /// Sends what of the kept bytes is content; false when nothing could be used.
    private mutating func useRequestStash(_ id: SlotID) -> Bool {
        let downstream = exchanges[id].downstream
        if downstreams[downstream].input.isEmpty { return false }
        var stash = Buffer()
        swap(&stash, &downstreams[downstream].input)
        let used = sendContent(id, stash.span)
        restore(&stash, used: used, downstream)
        return used > 0
    }

    /// Sends one slice of the request's content; returns how many bytes were used.
    private mutating func sendContent(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        let upstream = exchanges[id].upstream
        if exchanges[id].requestReframes { return reframeContent(id, bytes) }
        let part = Relay.part(&exchanges[id].request, bytes, from: 0)
        let content = bytes.extracting(0..<part.upTo)
        if part.upTo > 0 {
            exchanges[id].receivedBytes += UInt64(part.upTo)
            hold(id, content)
            if upstreams[upstream].link.send(content, &cipher, &buffers) == .failed {
                requestWriteFailed(id)
                return part.upTo
            }
        }
        sentRequestPart(id, upstream, part)
        guard part.needsDecoding, exchanges.contains(id), exchanges[id].upstream == upstream else {
            return part.upTo
        }
        return part.upTo + reframeContent(id, bytes.extracting(part.upTo..<bytes.count))
    }

    /// Chunked content with extensions or trailers: decoded and framed anew.
    private mutating func reframeContent(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        let upstream = exchanges[id].upstream
        var framed = RigidArray<UInt8>()
        swap(&framed, &output)
        framed.removeAll()
        var reader = exchanges[id].request
        let step = Relay.reframe(
            &reader, &exchanges[id].requestTrailers, bytes, into: &framed, chunked: true,
            trailers: true)
        exchanges[id].request = reader
        exchanges[id].receivedBytes += UInt64(step.used)
        hold(id, framed.span)
        let result = upstreams[upstream].link.send(framed.span, &cipher, &buffers)
        swap(&framed, &output)
        if result == .failed {
            requestWriteFailed(id)
            return step.used
        }
        sentRequestPart(
            id, upstream,
            Relay.Part(upTo: step.used, finished: step.finished, malformed: step.malformed))
        return step.used
    }

    /// `100 Continue`, once, when the backend is there to take the content.
    private mutating func sayContinue(_ id: SlotID) {
        let downstream = exchanges[id].downstream
        exchanges[id].expectsContinue = false
        if !downstreams[downstream].input.isEmpty || exchanges[id].version == .http10 { return }
        var line = RigidArray<UInt8>()
        swap(&line, &output)
        line.removeAll()
        line.edit { _ = HeadWriter.append("HTTP/1.1 100 Continue\r\n\r\n", into: &$0) }
        let result = downstreams[downstream].link.send(line.span, &cipher, &buffers)
        swap(&line, &output)
        if result == .failed { clientIsGone(downstream) }
    }
}
