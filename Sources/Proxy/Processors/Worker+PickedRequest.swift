import BasicContainers
import HTTP
import Inference
import Kernel
import Protocols
import Runtime
import Telemetry

/// A request on its way through an external picker: its content, the choice, and what goes to the backend.
extension Worker {
    // MARK: - To the picker

    /// Tells the picker a slice of the request's content; returns how many bytes were used.
    mutating func tellRequest(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        let call = exchanges[id].call
        let start = calls[call].request.held.count
        var reader = exchanges[id].request
        let taken = decode(bytes, &reader, call, .request)
        exchanges[id].request = reader
        exchanges[id].receivedBytes &+= UInt64(taken.used)
        if taken.isFull {
            pickerFailed(call, .overloaded)
        } else if let problem = taken.malformed {
            requestMalformed(id, problem)
        } else if exchanges[id].receivedBytes > exchanges[id].contentBytesMax {
            requestTooLarge(id)
        } else {
            if reader.isFinished {
                exchanges[id].requestDone = true
                setDeadline(downstream: exchanges[id].downstream, in: 0)
            }
            tellContent(call, .request, from: start, ends: reader.isFinished)
            if calls.contains(call), calls[call].stage == .choosing, !exchanges[id].requestDone,
                calls[call].request.held.count >= limits(of: id).heldContentBytesMax
            {
                pickerFailed(call, .contentTooLarge)
            }
        }
        return taken.used
    }

    /// What a slice of content came to.
    struct Decoded {
        var used: Int
        var malformed: Malformed?
        var isFull = false
    }

    /// Appends the content in a slice to what is held of one direction, and its trailers to theirs.
    mutating func decode(
        _ bytes: Span<UInt8>, _ reader: inout ContentReader, _ call: SlotID,
        _ direction: ProcessingRequest.Direction
    ) -> Decoded {
        var from = 0
        while true {
            switch reader.next(bytes, from: &from) {
            case .content(let range):
                let isTaken =
                    direction == .request
                    ? buffers.hold(bytes.extracting(range), in: &calls[call].request.held)
                    : buffers.append(bytes.extracting(range), to: &calls[call].answer.held)
                if !isTaken { return Decoded(used: from, isFull: true) }
                tendBuffers()
                if reader.isFinished { return Decoded(used: from) }
            case .trailer(let range):
                guard var line = buffers.take(capacity: range.count + 8) else {
                    return Decoded(used: from, isFull: true)
                }
                line.withFree { out in
                    _ = HeadWriter.append(trailer: bytes.extracting(range), into: &out)
                }
                let isTaken =
                    direction == .request
                    ? buffers.append(line.span, to: &calls[call].request.trailers)
                    : buffers.append(line.span, to: &calls[call].answer.trailers)
                buffers.give(line)
                if !isTaken { return Decoded(used: from, isFull: true) }
                tendBuffers()
            case .end, .incomplete: return Decoded(used: from)
            case .malformed(let problem): return Decoded(used: from, malformed: problem)
            }
        }
    }

    // MARK: - The choice

    /// The picker has chosen: endpoints, and what it changes in the head.
    mutating func takeChoice(
        _ call: SlotID, _ message: ProcessingResponse, _ bytes: Span<UInt8>
    ) {
        guard calls[call].stage == .choosing, !calls[call].hasChoice else { return }
        guard let mutation = HeadMutation(bytes, message.mutation) else {
            pickerFailed(call, .malformed)
            return
        }
        guard let named = message.destination ?? mutation.destination,
            name(call, bytes.extracting(named)), buffers.append(bytes, to: &calls[call].choice)
        else {
            pickerFailed(call, .noEndpoint)
            return
        }
        calls[call].mutation = message.mutation
        calls[call].hasChoice = true
        // Whether content stays as it was decides how the backend's is framed.
        if calls[call].framing.isEmpty || calls[call].request.keptPieces > 0 {
            choose(call, .asItIs)
        } else {
            settleRequest(call)
        }
    }

    /// The picker was told trailers, about which it may have nothing to say: if nothing else is open, that is the end.
    mutating func settleRequest(_ call: SlotID) {
        guard calls[call].request.isTold, calls[call].request.pieces == 0,
            !calls[call].request.isReplaced
        else { return }
        if calls[call].stage != .choosing {
            endRequest(call)
        } else if calls[call].hasChoice {
            choose(call, .asItIs)
            if calls.contains(call), calls[call].stage != .choosing { endRequest(call) }
        }
    }

    /// Notes the endpoints of a list `ip:port,…`; false when none is the pool's.
    private mutating func name(_ call: SlotID, _ list: Span<UInt8>) -> Bool {
        let cluster = clusters.row(ofCluster: exchanges[calls[call].exchange].decision.clusterID)
        if cluster < 0 { return false }
        var from = 0
        while from < list.count {
            let end = ByteScan.first(0x2C, list, from: from, to: list.count)
            var start = from
            var close = end
            while start < close, list[start] == 0x20 { start += 1 }
            while close > start, list[close - 1] == 0x20 { close -= 1 }
            if start < close,
                let id = endpoint(named: list.extracting(start..<close), of: cluster)
            {
                calls[call].endpoints.append(id)
            }
            from = end + 1
        }
        return calls[call].endpoints.count > 0
    }

    /// The endpoint of a cluster that has this address.
    private func endpoint(named text: Span<UInt8>, of cluster: Int32) -> UInt32? {
        guard let address = SocketAddress(parsing: text) else { return nil }
        let first = Int(clusters.clusters[Int(cluster)].firstEndpoint)
        let count = Int(clusters.clusters[Int(cluster)].endpointCount)
        for row in first..<(first + count) {
            let own = clusters.endpoints[row].address
            if own.port == address.port, own.isSameHost(as: address) {
                return clusters.endpoints[row].id
            }
        }
        return nil
    }

    /// Row of the endpoint whose turn it is in what the picker named; `next`: of the one after it.
    mutating func pickedEndpoint(_ id: SlotID, next: Bool) -> Int32? {
        let call = exchanges[id].call
        var wanted = next ? calls[call].endpoints.next() : calls[call].endpoints.current
        let cluster = clusters.row(ofCluster: exchanges[id].decision.clusterID)
        if cluster < 0 { return nil }
        let first = clusters.clusters[Int(cluster)].firstEndpoint
        let count = clusters.clusters[Int(cluster)].endpointCount
        while let endpoint = wanted {
            for row in first..<(first + count) where clusters.endpoints[Int(row)].id == endpoint {
                return row
            }
            wanted = calls[call].endpoints.next()
        }
        return nil
    }

    /// Sends the request on: its head as the picker wants it, then content as it comes back.
    private mutating func choose(_ call: SlotID, _ framing: HeadMutation.Framing) {
        let id = calls[call].exchange
        switch framing {
        case .asItIs: frameAsItWas(call)
        case .chunked: calls[call].isChunked = true
        case .length(let count): calls[call].owed = count
        }
        guard rewriteHead(call, framing), let row = pickedEndpoint(id, next: false) else {
            pickerFailed(call, .malformed)
            return
        }
        calls[call].stage = .chosen
        shard.add(.pickerChoices, 1)
        shard.observe(
            .picking, series: exchanges[id].decision.backendSeries,
            nanoseconds: nowNanoseconds &- calls[call].began)
        if calls[call].framing.isEmpty { calls[call].request.hasEnded = true }
        exchanges[id].phase = .connecting
        _ = nameEndpoint(id, row)
        attempt(id, endpoint: row)
        while calls.contains(call), calls[call].request.keptPieces > 0 {
            calls[call].request.keptPieces -= 1
            passPiece(call)
        }
    }

    private mutating func frameAsItWas(_ call: SlotID) {
        switch calls[call].framing {
        case .chunked, .untilClose: calls[call].isChunked = true
        case .length(let count): calls[call].owed = count
        case .none: break
        }
    }

    /// Writes the head for the backend anew, with the picker's changes.
    private mutating func rewriteHead(
        _ call: SlotID, _ framing: HeadMutation.Framing
    ) -> Bool {
        let id = calls[call].exchange
        var choice = Buffer()
        swap(&choice, &calls[call].choice)
        defer { buffers.reclaim(&choice) }
        guard let mutation = HeadMutation(choice.span, calls[call].mutation) else { return false }
        let old = exchanges[id].record.head.range
        let capacity = exchanges[id].buffer.count + 2 * choice.count + 256
        guard capacity <= 1 << 20, var new = buffers.take(capacity: capacity) else { return false }
        var head = Buffer()
        swap(&head, &exchanges[id].buffer)
        _ = new.append(head.span.extracting(first: old.lowerBound))
        let fits = new.withFree { out in
            mutation.append(
                head.span.extracting(old), choice.span, framing: framing, into: &out)
        }
        if !fits {
            swap(&head, &exchanges[id].buffer)
            buffers.give(new)
            return false
        }
        swap(&new, &head)
        buffers.give(new)
        exchanges[id].record.head = ByteRange(old.lowerBound..<head.count)
        let requestID = exchanges[id].record.requestID
        if requestID.start >= old.lowerBound {
            let value = HeadLines.value("x-request-id:", in: head.span, from: old.lowerBound)
            exchanges[id].record.requestID = ByteRange(value)
        }
        swap(&head, &exchanges[id].buffer)
        return true
    }

    // MARK: - To the backend

    /// The picker returned a piece of the request's content, or said that it stays.
    mutating func takeRequestPiece(
        _ call: SlotID, _ message: ProcessingResponse, _ bytes: Span<UInt8>
    ) {
        if calls[call].stage == .choosing {
            guard calls[call].hasChoice else {
                if case .kept = message.body {
                    if calls[call].request.keptPieces < calls[call].request.pieces {
                        calls[call].request.keptPieces += 1
                    }
                } else {
                    pickerFailed(call, .malformed)
                }
                return
            }
            choose(call, framing(call, message.body))
            guard calls.contains(call), calls[call].stage == .chosen else { return }
        }
        guard !calls[call].request.hasEnded else { return }
        switch message.body {
        case .kept: if calls[call].request.pieces > 0 { passPiece(call) }
        case .replaced(let range):
            if calls[call].request.pieces > 0 { _ = dropPiece(call) }
            if !feed(call, bytes.extracting(range)) { return }
            if calls[call].request.isTold, calls[call].request.pieces == 0 { endRequest(call) }
        case .streamed(let range, let ends):
            calls[call].request.isReplaced = true
            buffers.reclaim(&calls[call].request.held)
            if !feed(call, bytes.extracting(range)) { return }
            if ends { endRequest(call) }
        }
    }

    /// How the backend's content is framed when the picker's first word about it is this.
    private func framing(
        _ call: SlotID, _ body: ProcessingResponse.Body
    ) -> HeadMutation.Framing {
        if case .kept = body { return .asItIs }
        let choice = calls[call].choice.span
        if let count = HeadMutation(choice, calls[call].mutation)?.contentLength {
            return .length(count)
        }
        return .chunked
    }

    /// The picker has nothing more to return.
    mutating func takeRequestEnd(_ call: SlotID) {
        if calls[call].stage == .choosing { return }
        // What it said nothing about stays as it was.
        while calls.contains(call), !calls[call].request.isReplaced, calls[call].request.pieces > 0
        {
            passPiece(call)
        }
        if calls.contains(call) { endRequest(call) }
    }

    private mutating func dropPiece(_ call: SlotID) -> Int {
        let size = calls[call].request.takePiece()
        calls[call].request.held.consume(min(size, calls[call].request.held.count))
        return size
    }

    /// Sends the oldest piece that is held on as it was.
    private mutating func passPiece(_ call: SlotID) {
        if calls[call].request.isReplaced { return }
        let size = calls[call].request.takePiece()
        var held = Buffer()
        swap(&held, &calls[call].request.held)
        let goesOn = feed(call, held.span.extracting(first: size))
        held.consume(size)
        guard goesOn, calls.contains(call) else {
            buffers.reclaim(&held)
            return
        }
        swap(&held, &calls[call].request.held)
        if calls[call].request.isTold, calls[call].request.pieces == 0 { endRequest(call) }
    }

    /// Gives the backend content; false when the exchange is over.
    private mutating func feed(_ call: SlotID, _ content: Span<UInt8>) -> Bool {
        let id = calls[call].exchange
        if let owed = calls[call].owed {
            if UInt64(content.count) > owed {
                pickerFailed(call, .malformed)
                return false
            }
            calls[call].owed = owed - UInt64(content.count)
        }
        var from = 0
        while from < content.count {
            let end = min(content.count, from + Scratch.readBytes)
            sendPicked(id, content.extracting(from..<end), chunked: calls[call].isChunked)
            guard calls.contains(call), exchanges.contains(id) else { return false }
            from = end
        }
        return true
    }

    /// Sends the backend a slice of content in its framing.
    private mutating func sendPicked(_ id: SlotID, _ content: Span<UInt8>, chunked: Bool) {
        if !chunked {
            sendFramed(id, content)
            return
        }
        var framed = Buffer()
        swap(&framed, &output)
        framed.removeAll()
        Relay.append(content, to: &framed, chunked: true)
        sendFramed(id, framed.span)
        swap(&framed, &output)
    }

    /// Sends the backend bytes of content, or keeps them for its connection.
    private mutating func sendFramed(_ id: SlotID, _ bytes: Span<UInt8>) {
        let upstream = exchanges[id].upstream
        if exchanges[id].phase == .connecting || upstream == .none || exchanges[id].isReplaying {
            // What was held for the picker is held for the backend: the same memory is to pay for it.
            if buffers.hold(bytes, in: &exchanges[id].buffer) { return tendBuffers() }
            if upstream != .none { letGo(upstream) }
            fail(id, .overloaded)
            return
        }
        if exchanges[id].judgeHolding() { hold(id, bytes) }
        if exchanges[id].requestBroken { return }
        if upstreams[upstream].link.send(bytes, &cipher, &buffers) == .failed {
            requestWriteFailed(id)
        } else if exchanges[id].phase == .awaitingHead {
            setDeadline(upstream: upstream, in: exchanges[id].times.firstByte)
        }
    }

    /// The backend gets the end of the request's content.
    mutating func endRequest(_ call: SlotID) {
        let id = calls[call].exchange
        if calls[call].request.hasEnded { return }
        if let owed = calls[call].owed, owed > 0 {
            pickerFailed(call, .malformed)
            return
        }
        calls[call].request.hasEnded = true
        buffers.reclaim(&calls[call].request.held)
        if calls[call].isChunked {
            var end = Buffer()
            swap(&end, &calls[call].request.trailers)
            writeEnd(&end)
            sendFramed(id, end.span)
            buffers.reclaim(&end)
        }
        if calls.contains(call) { partIfDone(call) }
    }

    /// Puts the last chunk before trailer lines and the empty line behind them.
    mutating func writeEnd(_ trailers: inout Buffer) {
        guard var all = buffers.take(capacity: trailers.count + 8) else { return }
        all.withFree { out in
            _ = HeadWriter.appendLastChunk(into: &out)
            _ = HeadWriter.append(trailers.span, into: &out)
            _ = HeadWriter.append("\r\n", into: &out)
        }
        swap(&all, &trailers)
        buffers.reclaim(&all)
    }

    // MARK: - Without the picker

    /// The request goes on without its picker: what is held, and what comes, as it was.
    mutating func goOnUnpicked(_ call: SlotID) {
        let id = calls[call].exchange
        partFromPicker(call, inPeace: false)
        exchanges[id].isProcessed = false
        exchanges[id].requestReframes = calls[call].isChunked
        while calls[call].request.pieces > 0 {
            passPiece(call)
            guard calls.contains(call) else { return }
        }
        if exchanges[id].requestDone { endRequest(call) }
        if exchanges.contains(id), !exchanges[id].requestDone {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    /// The choice is the gateway's own, since the picker has failed.
    mutating func chooseUnpicked(_ call: SlotID) {
        let id = calls[call].exchange
        calls[call].stage = .chosen
        frameAsItWas(call)
        calls[call].request.keptPieces = 0
        exchanges[id].phase = .connecting
        // The content that is held goes into the exchange's buffer, to be sent with the head.
        let rest = calls[call].request.held.count
        if calls[call].request.pieces == 0, rest > 0 { calls[call].request.appendPiece(rest) }
        if exchanges[id].requestDone { calls[call].request.isTold = true }
        goOnUnpicked(call)
        guard exchanges.contains(id), exchanges[id].phase == .connecting else { return }
        if isPicked(id) {
            // It had named them before it failed.
            guard let row = pickedEndpoint(id, next: false), nameEndpoint(id, row) else {
                fail(id, .noEndpoint)
                return
            }
            attempt(id, endpoint: row)
        } else {
            leave(call)
            exchanges[id].call = .none
            pickUnpicked(id)
        }
        if exchanges.contains(id), exchanges[id].takesContent {
            enqueue(downstream: exchanges[id].downstream)
        }
    }

    /// Picks as for a pool without a picker of its own, by what the pool's state says.
    private mutating func pickUnpicked(_ id: SlotID) {
        let cluster = clusters.row(ofCluster: exchanges[id].decision.clusterID)
        guard cluster >= 0, clusters.clusters[Int(cluster)].pool >= 0 else {
            fail(id, .noEndpoint)
            return
        }
        let pool = clusters.pools[Int(clusters.clusters[Int(cluster)].pool)].id
        let asker = Asker(
            worker: UInt32(options.number), exchange: Token(kind: TokenKind.exchange, id).raw)
        let path = Self.path(exchanges[id])
        guard let pooled = poolRequests.insert(PoolRequest(pool: pool, path: path, asker: asker))
        else {
            fail(id, .overloaded)
            return
        }
        exchanges[id].poolRequest = pooled
        pick(id)
    }

    private static func path(_ exchange: borrowing Exchange) -> InferencePath {
        let head = exchange.buffer.span.extracting(exchange.record.head.range)
        let line = HeadLines.requestLine(of: head)
        let from = min(ByteScan.first(0x20, line, from: 0, to: line.count) + 1, line.count)
        let end = ByteScan.first(0x20, line, from: from, to: line.count)
        return InferencePath(exchange.method, path: line.extracting(from..<end))
    }
}
