import BasicContainers
import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// Copies of requests for mirrors: beginning, what they are given, ending.
///
/// Nothing here is ever waited for: a mirror that does not take its copy in time loses it.
extension Worker {
    // MARK: - Beginning

    /// Remembers the host of the request in `requestHead`, as filters left it: what its backend calls it is not its
    /// mirrors'.
    mutating func keepMirrorHost() {
        requestHead.copy(requestHead.authority, into: &mirrorHost)
    }

    /// The same as `startAttempt` for a request with mirrors, which get it too.
    @inline(never)
    mutating func startMirrored(
        _ id: SlotID, endpoint row: Int32, _ rest: Span<UInt8>
    ) -> Begun {
        let slice = rest.extracting(first: min(rest.count, Mirror.sliceBytes))
        // The request first: nothing of its mirrors is before it.
        let begun = startAttempt(id, endpoint: row, slice)
        mirror(id, slice.extracting(first: begun.used))
        return begun
    }

    /// The same as `beginPooled` for a request with mirrors.
    @inline(never)
    mutating func beginMirroredPooled(_ id: SlotID, _ rest: Span<UInt8>) -> Int {
        let slice = rest.extracting(first: min(rest.count, Mirror.sliceBytes))
        let used = beginPooled(id, slice)
        mirror(id, slice.extracting(first: used))
        return used
    }

    /// Begins the copies of the request in `requestHead`, whose head is written, with the content that has come.
    private mutating func mirror(_ id: SlotID, _ content: Span<UInt8>) {
        guard exchanges.contains(id),
            exchanges[id].generation == Int32(truncatingIfNeeded: current),
            !exchanges[id].upgrades
        else { return }
        let rule = generations[current].snapshot.table.rules[Int(decision.match.rule)].mirrorRange
        for at in rule { begin(at, of: id, isOfRule: true) }
        if decision.backend >= 0 {
            let backend =
                generations[current].snapshot.table.backends[Int(decision.backend)].mirrorRange
            for at in backend { begin(at, of: id, isOfRule: false) }
        }
        feedMirrors(of: id, content)
    }

    /// Begins the copy for one row of mirrors, if its share has it.
    private mutating func begin(_ at: Int, of id: SlotID, isOfRule: Bool) {
        let row = generations[current].snapshot.table.mirrors[at]
        if row.numerator < row.denominator,
            random.next(below: row.denominator) >= row.numerator
        {
            return
        }
        shard.add(.mirrors, 1)
        guard let endpoint = chooseEndpoint(cluster: row.cluster, avoiding: .max),
            let copy = makeMirror(of: id, row, endpoint, isOfRule: isOfRule)
        else {
            failUnbegun(series: row.series)
            return
        }
        attempt(copy, endpoint: endpoint)
    }

    private mutating func failUnbegun(series: UInt32) {
        shard.countUpstreamFailure(series: series, reason: .noEndpoint)
        countFailedMirror()
    }

    /// An exchange with a mirror that has the request's head; nil when there is no room.
    private mutating func makeMirror(
        of id: SlotID, _ row: MirrorRow, _ endpoint: Int32, isOfRule: Bool
    ) -> SlotID? {
        guard mirrors.count < Mirror.countMax,
            var buffer = copyHead(of: id, row.cluster, endpoint)
        else { return nil }
        if isOfRule, decision.backend >= 0, !leaveOutBackendFields(&buffer) {
            buffers.give(buffer)
            return nil
        }
        let settings = generations[current].settings[Int(exchanges[id].decision.parameters)]
        let cluster = clusters.clusters[Int(clusters.row(ofCluster: row.cluster))]
        let made = Exchange(
            mirrorOf: exchanges[id], MirroredRow(cluster: row.cluster, series: row.series),
            framing: requestHead.framing,
            times: cluster.isModelServer ? settings.modelServer : settings.other,
            generation: current, began: nowNanoseconds)
        guard let copy = exchanges.insert(made) else {
            buffers.give(buffer)
            return nil
        }
        currentUsers &+= 1
        carriers += 1
        exchanges[copy].buffer = buffer
        exchanges[copy].record.head = ByteRange(0..<exchanges[copy].buffer.count)
        guard
            let mirror = mirrors.insert(
                Mirror(exchange: copy, request: id, next: exchanges[id].mirrors))
        else { preconditionFailure("There is a place for each of so many mirrors.") }
        exchanges[copy].mirrors = mirror
        exchanges[id].mirrors = mirror
        exchanges[id].isMirrored = true
        shard.set(.activeMirrors, UInt64(mirrors.count))
        if exchanges[copy].requestDeadline != 0 { updateDeadline(exchange: copy) }
        return copy
    }

    /// The head that was written for the request's backend, with the Host that the mirror is to see.
    private mutating func copyHead(
        of id: SlotID, _ cluster: UInt32, _ endpoint: Int32
    ) -> Buffer? {
        let head = exchanges[id].record.head.range
        let row = clusters.clusters[Int(clusters.row(ofCluster: cluster))]
        // A host that a filter named wins over what the cluster says, here as for the request.
        let kind =
            exchanges[id].decision.flags.contains(.rewritesHost) ? .preserve : row.hostHeaderKind
        guard var copy = buffers.take(capacity: head.count + mirrorHost.capacity) else {
            return nil
        }
        var buffer = Buffer()
        swap(&buffer, &exchanges[id].buffer)
        let fits: Bool
        switch kind {
        case .preserve: fits = Self.copy(buffer, head, host: mirrorHost.span, into: &copy)
        case .name:
            fits = Self.copy(
                buffer, head, host: clusters.arena.span.extracting(row.hostHeader.range),
                into: &copy)
        case .endpoint:
            let authority = clusters.endpoints[Int(endpoint)].authority.range
            fits = Self.copy(
                buffer, head, host: clusters.arena.span.extracting(authority), into: &copy)
        }
        swap(&buffer, &exchanges[id].buffer)
        if fits { return copy }
        buffers.give(copy)
        return nil
    }

    /// Takes out of a copy's head what the chosen backend's own filters put there, credentials perhaps: it was for
    /// that backend, and the mirror is the rule's.
    ///
    /// False when there is no memory.
    private mutating func leaveOutBackendFields(_ head: inout Buffer) -> Bool {
        let backend = generations[current].snapshot.table.backends[Int(decision.backend)]
        if !backend.flags.contains(.requestFilters) { return true }
        guard var kept = buffers.take(capacity: head.count) else { return false }
        Self.copy(
            head, leavingOut: decision.backend, of: generations[current].snapshot.table, into: &kept
        )
        swap(&kept, &head)
        buffers.give(kept)
        return true
    }

    private static func copy(
        _ head: borrowing Buffer, leavingOut backend: Int32, of table: borrowing Table,
        into copy: inout Buffer
    ) {
        _ = HeadLines.copy(head.span, into: &copy) { table.puts(field: $0, backend: backend) }
    }

    /// Copies the head in a part of a buffer with another host, if it has one; false when it does not fit.
    private static func copy(
        _ buffer: borrowing Buffer, _ range: Range<Int>, host: Span<UInt8>, into copy: inout Buffer
    ) -> Bool {
        let head = buffer.span.extracting(range)
        let value = HeadLines.value("host:", in: head, from: 0)
        let isKept = value.isEmpty || host.isEmpty
        let count = head.count + (isKept ? 0 : host.count - value.count)
        if count > copy.freeCapacity { return false }
        if isKept { return copy.append(head) == head.count }
        _ = copy.append(head.extracting(first: value.lowerBound))
        _ = copy.append(host)
        _ = copy.append(head.extracting(value.upperBound..<head.count))
        return true
    }

    // MARK: - Content

    /// Gives content of a request, as it came, to its mirrors.
    @inline(never)
    mutating func feedMirrors(of id: SlotID, _ bytes: Span<UInt8>) {
        guard exchanges.contains(id), !bytes.isEmpty else { return }
        var mirror = exchanges[id].mirrors
        while mirror != .none {
            let copy = mirrors[mirror].exchange
            mirror = mirrors[mirror].next
            feed(copy, bytes)
        }
    }

    /// Frames content as the request's was framed for its backend, from the same place on.
    private mutating func feed(_ id: SlotID, _ bytes: Span<UInt8>) {
        if exchanges[id].requestDone || exchanges[id].requestBroken { return }
        var from = 0
        if !exchanges[id].requestReframes {
            let part = Relay.part(&exchanges[id].request, bytes, from: 0)
            if part.finished { exchanges[id].requestDone = true }
            if part.needsDecoding { exchanges[id].requestReframes = true }
            give(id, bytes.extracting(first: part.upTo))
            if !part.needsDecoding { return }
            from = part.upTo
        }
        while from < bytes.count, exchanges.contains(id), !exchanges[id].requestDone {
            let used = reframe(id, bytes.extracting(from..<bytes.count))
            if used == 0 { return }
            from += used
        }
    }

    private mutating func reframe(_ id: SlotID, _ bytes: Span<UInt8>) -> Int {
        var framed = Buffer()
        swap(&framed, &output)
        framed.removeAll()
        var reader = exchanges[id].request
        let piece = bytes.extracting(
            first: Relay.framable(bytes.count, room: framed.freeCapacity))
        let step = Relay.reframe(
            &reader, &exchanges[id].requestTrailers, piece, into: &framed, chunked: true,
            trailers: true)
        exchanges[id].request = reader
        if step.finished { exchanges[id].requestDone = true }
        give(id, framed.span)
        swap(&framed, &output)
        return step.used
    }

    /// Gives framed content to a mirror's connection, or keeps it until that takes it.
    private mutating func give(_ id: SlotID, _ bytes: Span<UInt8>) {
        if bytes.isEmpty { return }
        let upstream = exchanges[id].upstream
        let isSent = exchanges[id].phase != .connecting
        if isSent, !exchanges[id].isReplaying, !upstreams[upstream].link.isCongested {
            if upstreams[upstream].link.send(bytes, &cipher, &buffers) == .failed {
                requestWriteFailed(id)
                return
            }
            noteGiven(id)
        } else {
            if isSent, !exchanges[id].isReplaying {
                // What was there has been sent, and is never sent again.
                exchanges[id].buffer.removeAll()
                exchanges[id].record.head = .none
                exchanges[id].replayed = 0
            }
            guard buffers.append(bytes, to: &exchanges[id].buffer) else {
                failMirror(id)
                return
            }
        }
        if bytesBehind(id) > Mirror.behindBytesMax {
            shard.add(.mirrorsBehind, 1)
            end(mirror: id)
        }
    }

    /// A mirror has got more of its copy: its time to answer begins anew.
    mutating func noteGiven(_ id: SlotID) {
        if exchanges[id].phase == .awaitingHead {
            setDeadline(upstream: exchanges[id].upstream, in: exchanges[id].times.firstByte)
        }
    }

    /// Content that a mirror's connection has not taken.
    private func bytesBehind(_ id: SlotID) -> Int {
        if exchanges[id].phase == .connecting {
            return exchanges[id].buffer.count - exchanges[id].record.head.end
        }
        let kept =
            exchanges[id].isReplaying
            ? exchanges[id].buffer.count - Int(exchanges[id].replayed) : 0
        let upstream = exchanges[id].upstream
        guard let stream = upstreams[upstream].link.stream else {
            return kept + upstreams[upstream].link.output.count
        }
        return kept + cipher.multiplexers.unsentBytes(stream)
    }

    /// A mirror's connection takes bytes again.
    mutating func resumeMirror(_ id: SlotID) {
        if exchanges[id].isReplaying { continueReplay(id) }
    }

    // MARK: - The answer

    /// Reads once what a mirror says and drops it; what is left then of the bytes of this tick, nil when it is not to go on.
    @inline(never)
    mutating func dropAnswer(_ upstream: SlotID, _ input: inout Buffer, _ left: Int) -> Int? {
        if !upstreams[upstream].link.isReadable { return nil }
        if left <= 0 {
            enqueue(upstream: upstream)
            return nil
        }
        input.removeAll()
        let result = upstreams[upstream].link.read(into: &input, &cipher, &buffers)
        let count = input.count
        switch result {
        case .bytes:
            if upstreams[upstream].input.isEmpty {
                drop(upstream, count, of: input.padded())
            } else {
                dropKept(upstream, input.span)
            }
        case .wouldBlock: return nil
        case .end(let clean): answerEnded(upstream, clean: clean)
        case .failed: answerEnded(upstream, clean: false)
        }
        return upstreams.contains(upstream) && upstreams[upstream].phase == .active
            ? left - count : nil
    }

    /// Drops what was kept with what came.
    private mutating func dropKept(_ upstream: SlotID, _ bytes: Span<UInt8>) {
        var kept = Buffer()
        swap(&kept, &upstreams[upstream].input)
        if buffers.append(bytes, to: &kept) {
            drop(upstream, kept.count, of: kept.padded())
        } else {
            answerEnded(upstream, clean: false)
        }
        buffers.reclaim(&kept)
    }

    /// Drops bytes of an answer; keeps what cannot be read without more.
    private mutating func drop(_ upstream: SlotID, _ count: Int, of padded: Span<UInt8>) {
        let id = upstreams[upstream].exchange
        var from = 0
        while exchanges[id].phase == .awaitingHead {
            let rest = padded.extracting(from..<padded.count)
            switch responseHead.parseInPlace(
                rest, count: count - from, resumeAt: Int(upstreams[upstream].headScanned),
                requestMethod: exchanges[id].method)
            {
            case .complete(let consumed):
                upstreams[upstream].headScanned = 0
                from += consumed
                if !takeHead(id, upstream) { return }
            case .incomplete(let scanned):
                upstreams[upstream].headScanned = Int32(truncatingIfNeeded: scanned)
                keep(upstream, padded.extracting(from..<count))
                return
            case .malformed:
                answerMalformed(id, upstream)
                return
            }
        }
        let bytes = padded.extracting(first: count)
        while true {
            switch exchanges[id].response.next(bytes, from: &from) {
            case .content, .trailer: continue
            case .end:
                answerDropped(id, leftover: from < count)
                return
            case .incomplete:
                if exchanges[id].response.isFinished {
                    answerDropped(id, leftover: from < count)
                } else {
                    keep(upstream, bytes.extracting(from..<count))
                    setDeadline(upstream: upstream, in: exchanges[id].times.streamIdle)
                }
                return
            case .malformed:
                answerMalformed(id, upstream)
                return
            }
        }
    }

    private mutating func keep(_ upstream: SlotID, _ bytes: Span<UInt8>) {
        if !buffers.append(bytes, to: &upstreams[upstream].input) {
            answerEnded(upstream, clean: false)
        }
    }

    /// Takes a head of a mirror's answer, which is in `responseHead`; false when it ended the exchange.
    private mutating func takeHead(_ id: SlotID, _ upstream: SlotID) -> Bool {
        if responseHead.status < 200 {
            exchanges[id].interimAnswers += 1
            // A copy never asks for another protocol.
            if responseHead.status != 101,
                Int(exchanges[id].interimAnswers) <= limits(of: id).interimAnswersMax
            {
                return true
            }
            answerMalformed(id, upstream)
            return false
        }
        exchanges[id].response = ContentReader(responseHead.framing)
        if case .untilClose = responseHead.framing { exchanges[id].upstreamSpoiled = true }
        if !responseHead.keepsAlive { exchanges[id].upstreamSpoiled = true }
        noteKeepAlive(upstream)
        release(generation: exchanges[id].beginAnswering())
        return true
    }

    /// A mirror's answer is complete: its connection goes back or ends.
    private mutating func answerDropped(_ id: SlotID, leftover: Bool) {
        let upstream = exchanges[id].upstream
        if !leftover, exchanges[id].leavesUpstreamClean, upstreams[upstream].isClean {
            exchanges[id].upstream = .none
            release(upstream: upstream)
        }
        end(mirror: id)
    }

    /// A mirror's connection ended.
    mutating func mirrorEnded(_ id: SlotID, clean: Bool) {
        if exchanges[id].phase == .answering, clean, exchanges[id].response.inputEnded() {
            end(mirror: id)
            return
        }
        fail(id, exchanges[id].phase == .answering ? .truncated : .resetBeforeHead)
    }

    // MARK: - Ending

    /// A mirror did not take its copy, or did not answer it.
    mutating func failMirror(_ id: SlotID) {
        countFailedMirror()
        end(mirror: id)
    }

    private mutating func countFailedMirror() { shard.add(.mirrorsFailed, 1) }

    /// Frees an exchange with a mirror; what runs of it is cancelled.
    private mutating func end(mirror id: SlotID) {
        let upstream = exchanges[id].upstream
        if upstream != .none, upstreams.contains(upstream) { letGo(upstream) }
        stopWaiting(id)
        remove(id)
    }

    private mutating func cut(mirror id: SlotID) {
        shard.add(.mirrorsCut, 1)
        end(mirror: id)
    }

    /// The client of a request is gone: its mirrors' work is cancelled with its backend's (`robustness.md` §7).
    @inline(never)
    mutating func cutMirrors(of id: SlotID) {
        while exchanges[id].mirrors != .none {
            cut(mirror: mirrors[exchanges[id].mirrors].exchange)
        }
    }

    /// A request's exchange ends: copies that have all of it go on alone for as long as a first byte and a silence may take,
    /// the others are cut, and all are of a request that was refused before it went to any backend.
    mutating func leaveMirrors(of id: SlotID) {
        let wasTried = exchanges[id].attempts > 0
        while exchanges[id].mirrors != .none {
            let mirror = exchanges[id].mirrors
            let copy = mirrors[mirror].exchange
            if wasTried, exchanges[copy].requestDone {
                exchanges[id].mirrors = mirrors[mirror].next
                mirrors[mirror].request = .none
                mirrors[mirror].next = .none
                let times = exchanges[copy].times
                let end = now &+ UInt64(times.firstByte) &+ UInt64(times.streamIdle)
                if exchanges[copy].requestDeadline == 0 || end < exchanges[copy].requestDeadline {
                    exchanges[copy].requestDeadline = end
                    updateDeadline(exchange: copy)
                }
            } else {
                cut(mirror: mirrors[mirror].exchange)
            }
        }
    }

    /// The exchange with a mirror ends: its request knows it no more.
    mutating func partFromRequest(_ id: SlotID) {
        let mirror = exchanges[id].mirrors
        if mirror == .none { return }
        let request = mirrors[mirror].request
        if request != .none {
            if exchanges[request].mirrors == mirror {
                exchanges[request].mirrors = mirrors[mirror].next
            } else {
                var before = exchanges[request].mirrors
                while mirrors[before].next != mirror { before = mirrors[before].next }
                mirrors[before].next = mirrors[mirror].next
            }
        }
        mirrors.destroy(mirror)
        carriers -= 1
        shard.set(.activeMirrors, UInt64(mirrors.count))
    }

    /// Cuts all copies when the thread ends.
    mutating func cutAllMirrors() {
        for slot in 0..<mirrors.highWater where mirrors.isOccupied(slot) {
            cut(mirror: mirrors[slot].exchange)
        }
    }

    /// The client of the request that an exchange with a mirror is a copy of; `.none` when it is gone.
    func client(ofMirror id: SlotID) -> SlotID {
        let request = mirrors[exchanges[id].mirrors].request
        return request == .none ? .none : exchanges[request].downstream
    }
}
