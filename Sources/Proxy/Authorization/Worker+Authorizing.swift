import BasicContainers
import HTTP
import Kernel
import Protocols
import Routing
import Runtime
import Telemetry

/// Requests that may pass only by somebody's leave: before anything of them goes anywhere.
extension Worker {
    // MARK: - Before the question

    /// Has the request in `requestHead`, whose exchange was just made, wait for leave; nil when it goes on, or is to
    /// be answered as `decision.reply` says.
    ///
    /// `rest` stands behind the head.
    @inline(never)
    mutating func awaitsLeave(
        _ slot: SlotID, of id: SlotID, headBytes: Int, _ rest: Span<UInt8>
    ) -> Begun? {
        // Who may call from where is asked without credentials.
        if decision.flags.contains(.cors), Table.isPreflight(requestHead) { return nil }
        guard let row = generations[current].snapshot.table.authorization(rule: decision.match.rule)
        else { return nil }
        guard let authorization = authorization(of: id, slot) else {
            decision.reply = .overloaded
            return nil
        }
        exchanges[slot].began = authorizations[authorization].began
        let deadline = authorizations[authorization].deadline
        if deadline != 0 {
            exchanges[slot].requestDeadline = deadline
            updateDeadline(exchange: slot)
        }
        if authorizations[authorization].stage == .told {
            let isSame = authorizations[authorization].key == row.key
            if isSame || authorizations[authorization].questions >= Authorization.questionsMax {
                useVerdict(slot, authorization, isSame: isSame)
                return nil
            }
            // New documents want another question: the answer to the old one is none.
            authorizations[authorization].forgetAnswer(&buffers)
            authorizations[authorization].stage = .reading
        }
        if deadline != 0, deadline <= now {
            decision.reply = .requestTimeout
            return nil
        }
        if row.contentBytesMax > 0, !requestHead.framing.isEmpty,
            !isRead(id, slot, authorization, row, rest)
        {
            if decision.reply != nil || !downstreams.contains(id) { return reply(id) }
            putBack(id)
            downstreams[id].headTried = Int32(clamping: headBytes + rest.count)
            return Begun(used: -headBytes)
        }
        downstreams[id].requestCount &-= 1
        ask(slot, authorization, row, rest)
        return Begun(used: -headBytes)
    }

    /// Nil where the request is still there to be answered.
    private func reply(_ id: SlotID) -> Begun? {
        downstreams.contains(id) ? nil : Begun(used: 0)
    }

    /// The question about the request that was just read: one that is under way, or a new one.
    private mutating func authorization(of id: SlotID, _ slot: SlotID) -> SlotID? {
        let known = downstreams[id].authorization
        if known != .none {
            let stage = authorizations[known].stage
            if authorizations[known].request == downstreams[id].requestCount, stage != .used {
                return known
            }
            endAuthorization(id)
        }
        let made = Authorization(
            id, request: downstreams[id].requestCount, requestHead.framing,
            began: exchanges[slot].began, deadline: exchanges[slot].requestDeadline)
        guard let authorization = authorizations.insert(made) else { return nil }
        downstreams[id].authorization = authorization
        return authorization
    }

    /// Whether the content that is to be told is here; else `decision.reply` says why it never will be, or more is to come.
    private mutating func isRead(
        _ id: SlotID, _ slot: SlotID, _ authorization: SlotID, _ row: AuthorizationRow,
        _ rest: Span<UInt8>
    ) -> Bool {
        let limit = min(Int(row.contentBytesMax), limits(of: slot).heldContentBytesMax)
        if case .length(let count) = requestHead.framing, count > UInt64(limit) {
            decision.reply = .contentTooLarge
            return false
        }
        let isFirst = authorizations[authorization].read == 0
        switch authorizations[authorization].read(rest, limit: limit) {
        case .whole: return true
        case .refused(let reply):
            decision.reply = reply
            return false
        case .more: break
        }
        if isFirst, requestHead.expectsContinue, rest.isEmpty, requestHead.version != .http10 {
            let line = ByteScan.bytes("HTTP/1.1 100 Continue\r\n\r\n")
            if downstreams[id].link.send(line, &cipher, &buffers) == .failed {
                clientIsGone(id)
                return false
            }
        }
        return false
    }

    /// The request is read again when more of it has come, or when its question is answered: its exchange goes.
    private mutating func putBack(_ id: SlotID) {
        let exchange = downstreams[id].exchange
        downstreams[id].exchange = .none
        downstreams[id].phase = .reading
        downstreams[id].requestCount &-= 1
        remove(exchange)
        let idle = UInt64(timeouts.requestBodyIdleMilliseconds)
        let deadline = authorizations[downstreams[id].authorization].deadline
        let left = deadline == 0 ? idle : min(idle, deadline &- now)
        setDeadline(downstream: id, in: UInt32(clamping: left))
    }

    /// Whether content of a request is read before it is asked about.
    func isReadForLeave(_ id: SlotID) -> Bool {
        let authorization = downstreams[id].authorization
        return authorization != .none && authorizations[authorization].stage == .reading
            && authorizations[authorization].request == downstreams[id].requestCount &+ 1
    }

    /// Whether the time of a request that is read before it is asked about is over itself.
    func isPastLeave(_ id: SlotID) -> Bool {
        let authorization = downstreams[id].authorization
        guard authorization != .none else { return false }
        let deadline = authorizations[authorization].deadline
        return deadline != 0 && deadline <= now
    }

    // MARK: - The question

    /// Begins the exchange that asks.
    private mutating func ask(
        _ slot: SlotID, _ authorization: SlotID, _ row: AuthorizationRow, _ rest: Span<UInt8>
    ) {
        exchanges[slot].marks.insert(.authorizing)
        authorizations[authorization].stage = .asking
        authorizations[authorization].key = row.key
        authorizations[authorization].questions += 1
        authorizations[authorization].isCall = row.dialect == .grpc
        guard row.cluster != .max,
            let endpoint = chooseEndpoint(cluster: row.cluster, avoiding: .max)
        else {
            shard.countUpstreamFailure(series: row.series, reason: .noEndpoint)
            settle(authorization, failed: .unreachable)
            return
        }
        let cluster = clusters.clusters[Int(clusters.row(ofCluster: row.cluster))]
        let times = generations[current].snapshot.parameters[Int(decision.parameters)].timeouts
        guard let buffer = writeQuestion(slot, authorization, row, endpoint, rest) else {
            settle(authorization, failed: .overloaded)
            return
        }
        let made = Exchange(
            asking: authorization, exchanges[slot], cluster: row.cluster, series: row.series,
            method: row.dialect == .grpc ? .post : exchanges[slot].method,
            namesEndpoint: row.dialect == .grpc || cluster.hostHeaderKind == .endpoint,
            generation: current, began: nowNanoseconds,
            deadline: now &+ UInt64(times.authorizationMilliseconds))
        guard let asking = exchanges.insert(made) else {
            buffers.give(buffer)
            settle(authorization, failed: .overloaded)
            return
        }
        currentUsers &+= 1
        carriers += 1
        exchanges[asking].buffer = buffer
        exchanges[asking].record.head = ByteRange(0..<exchanges[asking].buffer.count)
        authorizations[authorization].asking = asking
        activeAuthorizations += 1
        shard.set(.activeAuthorizations, UInt64(activeAuthorizations))
        updateDeadline(exchange: asking)
        attempt(asking, endpoint: endpoint)
    }

    // MARK: - The answer

    /// The answer is here, or none will come: the request is read again.
    mutating func settle(_ authorization: SlotID, _ verdict: AuthorizationVerdict) {
        authorizations[authorization].verdict = verdict
        authorizations[authorization].stage = .told
        let id = authorizations[authorization].downstream
        let waiting = downstreams[id].exchange
        // A call's own deadline may have come to it meanwhile.
        authorizations[authorization].deadline = exchanges[waiting].requestDeadline
        downstreams[id].exchange = .none
        downstreams[id].phase = .reading
        downstreams[id].headScanned = 0
        // It is neither idle nor a head that is waited for.
        downstreams[id].headTried = -1
        remove(waiting)
        enqueue(downstream: id)
    }

    mutating func settle(_ authorization: SlotID, failed failure: AuthorizationFailure) {
        authorizations[authorization].forgetAnswer(&buffers)
        settle(authorization, .failed(failure.reply))
    }

    /// Has the request in `requestHead` go on as it was answered; else `decision.reply` says why it does not.
    private mutating func useVerdict(_ slot: SlotID, _ authorization: SlotID, isSame: Bool) {
        authorizations[authorization].stage = .used
        guard isSame else {
            shard.add(.authorizationsFailed, 1)
            decision.reply = .authorizationFailed
            return
        }
        switch authorizations[authorization].verdict {
        case .allowed:
            shard.add(.authorizationsAllowed, 1)
            var lines = Buffer()
            swap(&lines, &authorizations[authorization].lines)
            if !Self.edit(&requestHead, by: lines.span) {
                decision.reply = .headTooLargeAfterFilters
            }
            buffers.reclaim(&lines)
            buffers.reclaim(&authorizations[authorization].content)
        case .denied:
            shard.add(.authorizationsDenied, 1)
            decision.reply = .denied
        case .failed(let reply):
            shard.add(.authorizationsFailed, 1)
            decision.reply = reply
        }
    }

    private static func edit(_ head: inout RequestHead, by lines: Span<UInt8>) -> Bool {
        var edits = HeadEdits()
        while let line = edits.next(lines) {
            let name = lines.extracting(line.name)
            let value = lines.extracting(line.value)
            let isThere = head.first(named: name) != nil
            switch line.edit {
            case .remove: head.remove(named: name)
            case .set: if !head.set(name: name, value: value) { return false }
            case .add: if !head.append(name: name, value: value) { return false }
            case .complete: if !isThere, !head.append(name: name, value: value) { return false }
            case .replace: if isThere, !head.set(name: name, value: value) { return false }
            }
        }
        return true
    }

    /// Gives the backend's answer, in `responseHead`, the fields that came with the leave; false when they do not fit.
    mutating func tellLeave(_ id: SlotID) -> Bool {
        let downstream = exchanges[id].downstream
        guard downstreams.contains(downstream) else { return true }
        let authorization = downstreams[downstream].authorization
        guard authorization != .none, authorizations[authorization].stage == .used,
            authorizations[authorization].request == downstreams[downstream].requestCount
        else { return true }
        var lines = Buffer()
        swap(&lines, &authorizations[authorization].answerLines)
        let fits = Self.edit(&responseHead, by: lines.span)
        buffers.reclaim(&lines)
        return fits
    }

    private static func edit(_ head: inout ResponseHead, by lines: Span<UInt8>) -> Bool {
        var edits = HeadEdits()
        while let line = edits.next(lines) {
            let name = lines.extracting(line.name)
            let value = lines.extracting(line.value)
            let isThere = head.first(named: name) != nil
            switch line.edit {
            case .remove: head.remove(named: name)
            case .set: if !head.set(name: name, value: value) { return false }
            case .add: if !head.append(name: name, value: value) { return false }
            case .complete: if !isThere, !head.append(name: name, value: value) { return false }
            case .replace: if isThere, !head.set(name: name, value: value) { return false }
            }
        }
        return true
    }

    // MARK: - The end

    /// Lets go of the question about a connection's request, answered or not.
    mutating func endAuthorization(_ id: SlotID) {
        let authorization = downstreams[id].authorization
        if authorization == .none { return }
        downstreams[id].authorization = .none
        let asking = authorizations[authorization].asking
        if asking != .none { end(asking: asking) }
        authorizations[authorization].forgetAnswer(&buffers)
        authorizations.destroy(authorization)
    }

    /// Frees an exchange that asks; what runs of it is cancelled.
    mutating func end(asking id: SlotID) {
        authorizations[exchanges[id].authorization].asking = .none
        let upstream = exchanges[id].upstream
        if upstream != .none, upstreams.contains(upstream) { letGo(upstream) }
        stopWaiting(id)
        carriers -= 1
        activeAuthorizations -= 1
        shard.set(.activeAuthorizations, UInt64(activeAuthorizations))
        remove(id)
    }

    /// Whether the client of a request that waits for leave has ended its sending behind a whole request more, which `input`
    /// holds behind that one.
    mutating func pipelinesBehindWaiting(_ input: Span<UInt8>) -> Bool {
        guard case .complete(let consumed) = requestHead.parse(input, resumeAt: 0),
            requestHead.framing.isEmpty,
            case .complete = requestHead.parse(
                input.extracting(consumed..<input.count), resumeAt: 0)
        else { return false }
        return true
    }
}
