import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import TLS
import Telemetry

/// One attempt to have a backend answer: a connection, the head, the content as it comes.
extension Worker {
    /// Sends the request over a pooled connection, with what of `rest` is its content, or begins a new one.
    ///
    /// Not inlined: a call costs less than what a larger caller could not hold in registers.
    @inline(never)
    mutating func startAttempt(_ id: SlotID, endpoint row: Int32, _ rest: Span<UInt8>) -> Begun {
        let endpoint = clusters.endpoints[Int(row)].id
        let hasDeadline = exchanges[id].beginAttempt(
            endpoint: endpoint, now: now, nanoseconds: nowNanoseconds)
        if hasDeadline { updateDeadline(exchange: id) }
        guard let upstream = takeIdle(endpoint: endpoint, for: id) else {
            connect(id, row)
            return Begun(used: 0)
        }
        shard.add(.upstreamReuses, 1)
        return sendRequest(id, upstream, rest, overPooled: true)
    }

    /// Begins a connection for an exchange, or lets it wait for one.
    @inline(never)
    private mutating func connect(_ id: SlotID, _ row: Int32) {
        let endpoint = clusters.endpoints[Int(row)]
        let mayMultiplex =
            !exchanges[id].isStream
            && mayMultiplex(
                cluster: exchanges[id].decision.clusterID, endpoint: endpoint.id)
        if mayMultiplex, sendOverStream(id, endpoint: endpoint.id) { return }
        if mayMultiplex, exchanges[id].upgrades,
            endpoints[Int(endpoint.id)].firstMultiplexed != .max
        {
            upgradeOverHTTP2(id, endpoint: endpoint.id)
            return
        }
        exchanges[id].beginConnecting()
        let limits = limits(of: id)
        let isFull = Int(endpoints[Int(endpoint.id)].open) >= limits.upstreamConnectionsMax
        if isFull, exchanges[id].isMirror {
            // A copy takes nobody's turn.
            fail(id, .overloaded)
            return
        }
        if isFull, exchanges[id].isStream, endpoints[Int(endpoint.id)].firstIdle != .max {
            // A stream cannot use an idle connection of requests, but its place.
            close(upstream: upstreams.id(of: endpoints[Int(endpoint.id)].firstIdle))
        } else if isFull || (mayMultiplex && endpoints[Int(endpoint.id)].promised > 0) {
            // One connection is enough for many: who comes while it is made waits for it; of copies only a few.
            let waiting = queues[Int(exchanges[id].decision.clusterID)].count
            if exchanges[id].isMirror, Int(waiting) * 8 >= limits.upstreamPendingMax {
                fail(id, .overloaded)
                return
            }
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
                    socket, endpointID: endpoint.id, clusterID: exchanges[id].decision.clusterID))
        else {
            fail(id, .overloaded)
            return
        }
        endpoints[Int(endpoint.id)].open += 1
        shard.add(.upstreamConnects, 1)
        countUpstreams()
        upstreams[upstream].needsCluster = needsCluster(exchanges[id].decision.clusterID)
        if mayMultiplex {
            endpoints[Int(endpoint.id)].promised += 1
            upstreams[upstream].isPromised = true
        }
        upstreams[upstream].exchange = id
        upstreams[upstream].began = nowNanoseconds
        exchanges[id].upstream = upstream
        endpoints[Int(endpoint.id)].active += 1
        do {
            try loop.register(raw, Token(kind: TokenKind.upstream, upstream), edgeTriggered: true)
        } catch {
            connectFailed(upstream, .connectRefused)
            return
        }
        setDeadline(upstream: upstream, in: timeouts.connectMilliseconds)
    }

    /// Begins an attempt that is not the first, or any of a stream: that has nothing to send yet, and a connection of its
    /// own.
    @inline(never)
    mutating func attempt(_ id: SlotID, endpoint row: Int32) {
        if !exchanges[id].isStream {
            _ = startAttempt(id, endpoint: row, Span())
            return
        }
        _ = exchanges[id].beginAttempt(
            endpoint: clusters.endpoints[Int(row)].id, now: now, nanoseconds: nowNanoseconds)
        connect(id, row)
    }

    /// An exchange that waited has its turn: again from the choice of an endpoint.
    @inline(never)
    mutating func resumeAttempt(_ id: SlotID, _ input: inout Buffer) {
        // Its time may have passed, and another attempt have begun, since it was called.
        guard exchanges[id].wait == .called else { return }
        exchanges[id].wait = .nothing
        guard let row = endpointForTurn(id), nameEndpoint(id, row) else {
            fail(id, .noEndpoint)
            return
        }
        exchanges[id].attempts -= 1
        attempt(id, endpoint: row)
        if exchanges.contains(id), exchanges[id].phase == .awaitingHead { pumpRequest(id, &input) }
    }

    /// Row of the endpoint for an exchange that waited for its turn: none that failed it, and where one was picked, that.
    private mutating func endpointForTurn(_ id: SlotID) -> Int32? {
        if isPicked(id) { return pickedEndpoint(id, next: false) }
        if isLeased(id) {
            let row = clusters.row(
                ofEndpoint: exchanges[id].endpointID, cluster: exchanges[id].decision.clusterID)
            return row < 0 ? nil : row
        }
        let own = exchanges[id].sessionEndpoint
        if own != .max, exchanges[id].failedEndpoint == .max {
            // Its session's, though others may be less busy.
            let row = clusters.row(ofEndpoint: own, cluster: exchanges[id].decision.clusterID)
            if row >= 0, isReached(row) { return row }
        }
        return chooseEndpoint(id)
    }

    /// Whether connections to a cluster are more than HTTP/1.1 over TCP.
    private func needsCluster(_ id: UInt32) -> Bool {
        let row = clusters.row(ofCluster: id)
        if row < 0 { return true }
        let cluster = clusters.clusters[Int(row)]
        return cluster.tls >= 0 || cluster.proxyProtocol != .none || cluster.protocol != .http
    }

    // MARK: - Connecting

    /// The socket of a connection that is being made has news.
    mutating func finishConnecting(_ upstream: SlotID) {
        if upstreams[upstream].link.socket.connectResult() != 0 {
            connectFailed(upstream, .connectRefused)
            return
        }
        let row = clusters.row(ofCluster: upstreams[upstream].clusterID)
        if row < 0, upstreams[upstream].needsCluster {
            // New documents have taken the cluster away: nobody knows any more how to speak with this backend, and nothing
            // may go out in plain text that was to be sealed.
            connectFailed(upstream, .connectRefused)
            return
        }
        if row >= 0, clusters.clusters[Int(row)].proxyProtocol != .none,
            !introduce(upstream, clusters.clusters[Int(row)].proxyProtocol)
        {
            connectFailed(upstream, .connectRefused)
            return
        }
        if row >= 0, clusters.clusters[Int(row)].tls >= 0 {
            beginHandshake(upstream, clusters.clusters[Int(row)].tls)
            return
        }
        connected(upstream)
    }

    private mutating func beginHandshake(_ upstream: SlotID, _ tls: Int32) {
        let configuration = clusters.tls[Int(tls)]
        let name = clusters.serverNames[Int(tls)]
        guard let session = try? TLSSession(client: configuration, serverName: name) else {
            connectFailed(upstream, .tls)
            return
        }
        upstreams[upstream].link.seal(with: session)
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
        if failed { connectFailed(upstream, .tls) }
    }

    private mutating func advanceHandshake(upstream: SlotID, _ bytes: Span<UInt8>) {
        let step = upstreams[upstream].link.handshake(bytes, &cipher, &buffers)
        switch step.state {
        case .wantsInput:
            if upstreams[upstream].link.isReadable { enqueue(upstream: upstream) }
        case .failed: connectFailed(upstream, .tls)
        case .finished:
            let rest = bytes.extracting(step.consumed..<bytes.count)
            if rest.count > 0, !openEarly(upstream: upstream, rest) {
                connectFailed(upstream, .tls)
                return
            }
            connected(upstream)
        }
    }

    /// Session tickets come behind the handshake; a byte of content would be an answer that nobody asked for, but in a
    /// stream and in HTTP/2, where the backend may speak first.
    private mutating func openEarly(upstream: SlotID, _ rest: Span<UInt8>) -> Bool {
        var plain = Buffer()
        swap(&plain, &early)
        plain.removeAll()
        let result = upstreams[upstream].link.open(rest, into: &plain, &cipher, &buffers)
        var isUsable = result == .wouldBlock
        if result == .bytes,
            exchanges[upstreams[upstream].exchange].isStream
                || upstreams[upstream].link.speaksHTTP2()
        {
            isUsable = buffers.append(plain.span, to: &upstreams[upstream].input)
        }
        swap(&plain, &early)
        return isUsable
    }

    /// No connection came of it; those that waited for it share its fate.
    mutating func connectFailed(_ upstream: SlotID, _ reason: UpstreamFailure) {
        let id = upstreams[upstream].exchange
        let endpoint = upstreams[upstream].endpointID
        let cluster = upstreams[upstream].clusterID
        let wasPromised = keepPromise(upstream)
        letGo(upstream)
        note(endpoint: endpoint, reached: false)
        attemptFailed(id, reason)
        if wasPromised { failWaiting(cluster: cluster, endpoint: endpoint, reason) }
    }

    /// A connection stands: the request goes out.
    private mutating func connected(_ upstream: SlotID) {
        let id = upstreams[upstream].exchange
        let endpoint = upstreams[upstream].endpointID
        let cluster = upstreams[upstream].clusterID
        note(endpoint: endpoint, reached: true)
        upstreams[upstream].phase = .active
        exchanges[id].connected = nowNanoseconds
        shard.observe(
            .upstreamConnect, series: exchanges[id].decision.backendSeries,
            nanoseconds: nowNanoseconds &- upstreams[upstream].began)
        if exchanges[id].isStream {
            beginTunnel(id)
            return
        }
        if speaksHTTP2(upstream) {
            beginMultiplexing(upstream: upstream)
            return
        }
        let wasPromised = keepPromise(upstream)
        sendRequestAndGoOn(id, upstream, overPooled: false)
        if wasPromised {
            endpoints[Int(endpoint)].declinedHTTP2 = true
            serveAllWaiting(cluster: cluster)
        }
    }

    /// Sends the request over a connection that has just come; its content follows in the next round.
    mutating func sendRequestAndGoOn(_ id: SlotID, _ upstream: SlotID, overPooled: Bool) {
        _ = sendRequest(id, upstream, Span(), overPooled: overPooled)
        guard exchanges.contains(id) else { return }
        if exchanges[id].call != .none {
            goOnPicked(id)
        } else if !exchanges[id].requestDone, !exchanges[id].isMirror {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    // MARK: - Sending

    /// What a sending of the request came to.
    private struct Sent {
        var result: LinkWrite
        /// The wheel must get an entry for the connection's deadline.
        var mustArm: Bool
        /// The content is to be kept for another attempt.
        var holds: Bool
        /// The request is whole and sent.
        var isSent: Bool
    }

    /// Sends the head, what content is kept from an earlier attempt, and what of `rest` belongs to the content.
    @inline(always)
    private mutating func sendRequest(
        _ id: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>, overPooled: Bool
    ) -> Begun {
        // Counted before it is sent, so that less has to be remembered; whether that succeeds makes no difference.
        let (part, isUsual) = Self.begin(&exchanges[id], upstream, rest, overPooled: overPooled)
        if !isUsual { return sendUnusual(id, upstream, rest, part) }
        let sent = Self.send(
            &exchanges[id], upTo: nil, over: &upstreams[upstream], rest,
            part.upTo, now: now, &clock, &cipher, &buffers)
        return finishSending(id, upstream, rest, part.upTo, sent)
    }

    /// Sends a request whose content is broken or too much as far as it is good, and refuses it then; of one without new
    /// content the first slice.
    @inline(never)
    private mutating func sendUnusual(
        _ id: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>, _ part: Relay.Part
    ) -> Begun {
        let end = rest.isEmpty ? Int(exchanges[id].record.head.start) + Scratch.tickBytes : nil
        let sent = Self.send(
            &exchanges[id], upTo: end, over: &upstreams[upstream], rest, part.upTo, now: now,
            &clock, &cipher, &buffers)
        if let end { exchanges[id].replayed = UInt32(truncatingIfNeeded: end) }
        let begun = finishSending(id, upstream, rest, part.upTo, sent)
        if !rest.isEmpty, sent.result != .failed { refuseContent(id, part) }
        if exchanges.contains(id), exchanges[id].isReplaying { continueReplay(id) }
        return begun
    }

    /// What follows after a sending.
    @inline(always)
    private mutating func finishSending(
        _ id: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>, _ upTo: Int, _ sent: Sent
    ) -> Begun {
        if sent.mustArm {
            timers.schedule(
                Token(kind: TokenKind.upstream, upstream), at: upstreams[upstream].timer.at)
        }
        if sent.holds { hold(id, rest.extracting(0..<upTo)) }
        if sent.result == .failed {
            if exchanges[id].requestDone { endClientDeadline(id) }
            requestWriteFailed(id)
        }
        // Otherwise both deadlines stand: the client has none since its exchange began, the backend's has just moved.
        return Begun(used: upTo, isSent: sent.isSent)
    }

    /// An exchange has a connection: counts what of `rest` is its content; false where that may not be sent, or what is
    /// kept goes in slices.
    @inline(always)
    private static func begin(
        _ exchange: inout Exchange, _ upstream: SlotID, _ rest: Span<UInt8>, overPooled: Bool
    ) -> (Relay.Part, isUsual: Bool) {
        exchange.upstream = upstream
        if overPooled { exchange.usedPooled = true }
        exchange.phase = .awaitingHead
        exchange.sentBytes = true
        exchange.replayed = .max
        if rest.isEmpty {
            let most = Int(exchange.record.head.start) &+ Scratch.tickBytes
            return (Relay.Part(upTo: 0), exchange.buffer.count <= most)
        }
        if exchange.requestDone || exchange.requestReframes { return (Relay.Part(upTo: 0), true) }
        let part = Relay.part(&exchange.request, rest, from: 0)
        let step = exchange.took(part)
        return (part, step == .goesOn || step == .ended)
    }

    /// Sends the head and what is kept, up to `end` or all of it, and then `upTo` bytes of `rest`.
    @inline(always)
    private static func send(
        _ exchange: inout Exchange, upTo end: Int?, over upstream: inout Upstream,
        _ rest: Span<UInt8>, _ upTo: Int, now: UInt64, _ clock: inout MonotonicClock,
        _ cipher: inout CipherBuffers, _ buffers: inout BufferPool
    ) -> Sent {
        let start = Int(exchange.record.head.start)
        let result = link(
            exchange.buffer, start..<(end ?? exchange.buffer.count),
            then: ByteScan.part(rest, 0, upTo), over: &upstream.link, &cipher, &buffers)
        exchange.processing = clock.nanoseconds() &- exchange.connectBegan
        let limit = exchange.times.firstByte
        let mustArm = upstream.timer.move(to: limit == 0 ? 0 : now &+ UInt64(limit))
        return Sent(
            result: result, mustArm: mustArm, holds: upTo > 0 && exchange.judgeHolding(),
            isSent: exchange.requestDone && result != .failed)
    }

    /// Sends a part of what stands in a buffer, and content behind it.
    @inline(always)
    private static func link(
        _ buffer: borrowing Buffer, _ range: Range<Int>, then content: Span<UInt8>,
        over link: inout Link, _ cipher: inout CipherBuffers, _ buffers: inout BufferPool
    ) -> LinkWrite {
        link.send(
            ByteScan.part(buffer.span, range.lowerBound, range.upperBound), then: content, &cipher,
            &buffers)
    }

    /// Keeps content for another attempt while there is room for it.
    mutating func hold(_ id: SlotID, _ content: Span<UInt8>) {
        let kept = exchanges[id].buffer.count + content.count
        var most = limits(of: id).replayBytesMax
        // More than a stream's first window is hardly on its way before the backend refuses it.
        if exchanges[id].isOverStream, !exchanges[id].isInference { most = min(most, 64 << 10) }
        if kept <= most,
            buffers.append(content, to: &exchanges[id].buffer)
        {
            return
        }
        exchanges[id].lacksContent = true
    }

    /// Counts a part of the request's content that was read and that the link did not take; it may be held.
    @inline(never)
    mutating func tookUnsent(_ id: SlotID, _ part: Relay.Part) {
        if exchanges[id].took(part) == .ended { endClientDeadline(id) }
    }

    /// The request has been read to its end: the client's time for it is over.
    @inline(never)
    private mutating func endClientDeadline(_ id: SlotID) {
        let downstream = exchanges[id].downstream
        guard downstreams.contains(downstream) else { return }
        // The time for an answer that it does not take goes on.
        if !downstreams[downstream].link.isCongested { setDeadline(downstream: downstream, in: 0) }
        if downstreams[downstream].link.peerEnded { enqueue(downstream: downstream) }
    }

    /// Refuses content that is broken or more than the listener takes.
    @inline(never)
    private mutating func refuseContent(_ id: SlotID, _ part: Relay.Part) {
        if let problem = part.malformed {
            requestMalformed(id, problem)
        } else {
            requestTooLarge(id)
        }
    }

    /// After a part of the request's content was given to the link: what comes next.
    mutating func sentRequestPart(_ id: SlotID, _ part: Relay.Part) {
        switch exchanges[id].took(part) {
        case .goesOn: break
        case .ended: endClientDeadline(id)
        case .malformed, .tooLarge:
            refuseContent(id, part)
            return
        }
        if exchanges[id].phase == .awaitingHead {
            setDeadline(upstream: exchanges[id].upstream, in: exchanges[id].times.firstByte)
        }
    }

    /// Moves content from the client to the backend until one of them has to wait.
    mutating func pumpRequest(_ id: SlotID, _ input: inout Buffer) {
        if !exchanges[id].marks.isDisjoint(with: [.carrier, .mirror, .asking]) { return }
        let downstream = exchanges[id].downstream
        if !exchanges[id].requestDone, exchanges[id].expectsContinue,
            exchanges[id].phase != .answering
        {
            sayContinue(id)
        }
        let isMirrored = exchanges[id].isMirrored
        var left = isMirrored ? Mirror.sliceBytes : Scratch.tickBytes
        while exchanges.contains(id), mayPumpRequest(id) {
            if left <= 0, isMirrored {
                enqueue(downstream: downstream)
                break
            }
            if useRequestStash(id) {
                if isMirrored { left = 0 }
                continue
            }
            guard exchanges.contains(id), mayPumpRequest(id) else { return }
            guard downstreams[downstream].link.isReadable else { break }
            if left <= 0 {
                enqueue(downstream: downstream)
                break
            }
            if splicesRequest(id) {
                guard let some = spliceRequest(id, left) else { break }
                left = some
                continue
            }
            input.removeAll()
            let result = downstreams[downstream].link.read(into: &input, &cipher, &buffers)
            left -= input.count
            if input.count >= Relay.bulkBytesMin { exchanges[id].marks.remove(.copiesRequest) }
            switch result {
            case .bytes: receivedContent(id, input.span)
            case .wouldBlock: break
            case .end, .failed: clientIsGone(downstream)
            }
            if result != .bytes { break }
        }
        guard exchanges.contains(id), !exchanges[id].requestDone,
            !downstreams[downstream].link.isCongested
        else { return }
        // A client is waited for only while the backend would take more.
        let waits = mayPumpRequest(id)
        setDeadline(
            downstream: downstream,
            in: waits ? exchanges[id].times.requestBodyIdle : 0)
    }

    private func mayPumpRequest(_ id: SlotID) -> Bool {
        if exchanges[id].phase == .holding { return !exchanges[id].requestDone }
        if exchanges[id].isProcessed { return mayTellRequest(id) }
        let upstream = exchanges[id].upstream
        return !exchanges[id].requestDone && !exchanges[id].requestBroken
            && exchanges[id].phase != .connecting && upstream != .none && !exchanges[id].isReplaying
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

    /// Sends one slice of the request's content, to mirrors too; returns how many bytes were used.
    private mutating func sendContent(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        if !exchanges[id].isMirrored { return passContent(id, bytes) }
        let slice = bytes.extracting(first: min(bytes.count, Mirror.sliceBytes))
        let used = passContent(id, slice)
        feedMirrors(of: id, slice.extracting(first: used))
        return used
    }

    private mutating func passContent(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        if exchanges[id].phase == .holding { return holdContent(id, bytes) }
        if exchanges[id].isProcessed { return tellRequest(id, bytes) }
        let upstream = exchanges[id].upstream
        if exchanges[id].requestReframes { return reframeContent(id, bytes) }
        let part = Relay.part(&exchanges[id].request, bytes, from: 0)
        let content = bytes.extracting(0..<part.upTo)
        if part.upTo > 0 {
            if exchanges[id].judgeHolding() { hold(id, content) }
            if upstreams[upstream].link.send(content, &cipher, &buffers) == .failed {
                tookUnsent(id, part)
                requestWriteFailed(id)
                return part.upTo
            }
        }
        sentRequestPart(id, part)
        guard part.needsDecoding, exchanges.contains(id), exchanges[id].upstream == upstream else {
            return part.upTo
        }
        return part.upTo + reframeContent(id, bytes.extracting(part.upTo..<bytes.count))
    }

    /// Chunked content with extensions or trailers: decoded and framed anew.
    private mutating func reframeContent(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        let upstream = exchanges[id].upstream
        var framed = Buffer()
        swap(&framed, &output)
        framed.removeAll()
        var reader = exchanges[id].request
        let piece = bytes.extracting(
            0..<Relay.framable(bytes.count, room: framed.freeCapacity))
        let step = Relay.reframe(
            &reader, &exchanges[id].requestTrailers, piece, into: &framed, chunked: true,
            trailers: true)
        exchanges[id].request = reader
        if exchanges[id].judgeHolding() { hold(id, framed.span) }
        let result = upstreams[upstream].link.send(framed.span, &cipher, &buffers)
        swap(&framed, &output)
        if result == .failed {
            tookUnsent(
                id,
                Relay.Part(upTo: step.used, finished: step.finished, malformed: step.malformed))
            requestWriteFailed(id)
            return step.used
        }
        sentRequestPart(
            id,
            Relay.Part(upTo: step.used, finished: step.finished, malformed: step.malformed))
        return step.used
    }

    /// `100 Continue`, once, when the backend is there to take the content.
    mutating func sayContinue(_ id: SlotID) {
        let downstream = exchanges[id].downstream
        exchanges[id].expectsContinue = false
        if !downstreams[downstream].input.isEmpty || exchanges[id].version == .http10 { return }
        var line = Buffer()
        swap(&line, &output)
        line.removeAll()
        line.withFree { _ = HeadWriter.append("HTTP/1.1 100 Continue\r\n\r\n", into: &$0) }
        let result = downstreams[downstream].link.send(line.span, &cipher, &buffers)
        swap(&line, &output)
        if result == .failed { clientIsGone(downstream) }
    }
}
