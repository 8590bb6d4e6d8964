import BasicContainers
import HTTP
import Kernel
import Protocols
import Routing
import Runtime
import Telemetry

/// What is answered to the question whether a request may pass.
///
/// All that is not plainly an answer leaves the request unsent: a failure never lets anybody in.
extension Worker {
    /// Reads once what who was asked says; what is left then of the bytes of this tick, nil when it is not to go on.
    @inline(never)
    mutating func hearLeave(_ upstream: SlotID, _ input: inout Buffer, _ left: Int) -> Int? {
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
                hear(upstream, count, of: input.padded())
            } else {
                hearKept(upstream, input.span)
            }
        case .wouldBlock: return nil
        case .end(let clean): answerEnded(upstream, clean: clean)
        case .failed: answerEnded(upstream, clean: false)
        }
        return upstreams.contains(upstream) && upstreams[upstream].phase == .active
            ? left - count : nil
    }

    /// Uses what was kept of an answer with what came.
    private mutating func hearKept(_ upstream: SlotID, _ bytes: Span<UInt8>) {
        var kept = Buffer()
        swap(&kept, &upstreams[upstream].input)
        if buffers.append(bytes, to: &kept) {
            hear(upstream, kept.count, of: kept.padded())
        } else {
            askingFailed(upstreams[upstream].exchange, .overloaded)
        }
        buffers.reclaim(&kept)
    }

    private mutating func hear(_ upstream: SlotID, _ count: Int, of padded: Span<UInt8>) {
        let id = upstreams[upstream].exchange
        var from = 0
        while exchanges[id].phase == .awaitingHead {
            let rest = padded.extracting(from..<padded.count)
            switch responseHead.parse(
                rest, count: count - from, resumeAt: Int(upstreams[upstream].headScanned),
                requestMethod: exchanges[id].method)
            {
            case .complete(let consumed):
                upstreams[upstream].headScanned = 0
                from += consumed
                if !takeLeaveHead(id, upstream) { return }
            case .incomplete(let scanned):
                upstreams[upstream].headScanned = Int32(truncatingIfNeeded: scanned)
                keepLeave(upstream, padded.extracting(from..<count))
                return
            case .malformed:
                askingFailed(id, .malformed)
                return
            }
        }
        hearContent(id, upstream, padded.extracting(first: count), from: from)
    }

    private mutating func hearContent(
        _ id: SlotID, _ upstream: SlotID, _ bytes: Span<UInt8>, from start: Int
    ) {
        let authorization = exchanges[id].authorization
        var from = start
        while true {
            switch exchanges[id].response.next(bytes, from: &from) {
            case .content(let range):
                if !keepContent(authorization, bytes.extracting(range)) {
                    exchanges[id].upstreamSpoiled = true
                    leaveIsWhole(id, leftover: true)
                    return
                }
            case .trailer(let range): noteTrailer(authorization, bytes.extracting(range))
            case .end:
                leaveIsWhole(id, leftover: from < bytes.count)
                return
            case .incomplete:
                if exchanges[id].response.isFinished {
                    leaveIsWhole(id, leftover: from < bytes.count)
                } else {
                    keepLeave(upstream, bytes.extracting(from..<bytes.count))
                }
                return
            case .malformed:
                askingFailed(id, .malformed)
                return
            }
        }
    }

    private mutating func keepLeave(_ upstream: SlotID, _ bytes: Span<UInt8>) {
        if !buffers.append(bytes, to: &upstreams[upstream].input) {
            askingFailed(upstreams[upstream].exchange, .overloaded)
        }
    }

    /// Takes the head of an answer, which is in `responseHead`; false when it ended the exchange.
    private mutating func takeLeaveHead(_ id: SlotID, _ upstream: SlotID) -> Bool {
        let authorization = exchanges[id].authorization
        if responseHead.status < 200 {
            exchanges[id].interimAnswers += 1
            if responseHead.status != 101,
                Int(exchanges[id].interimAnswers) <= limits(of: id).interimAnswersMax
            {
                return true
            }
            askingFailed(id, .malformed)
            return false
        }
        exchanges[id].response = ContentReader(responseHead.framing)
        if case .untilClose = responseHead.framing { exchanges[id].upstreamSpoiled = true }
        if !responseHead.keepsAlive { exchanges[id].upstreamSpoiled = true }
        noteKeepAlive(upstream)
        exchanges[id].phase = .answering
        exchanges[id].lacksContent = true
        authorizations[authorization].status = UInt16(truncatingIfNeeded: responseHead.status)
        if authorizations[authorization].isCall {
            guard responseHead.status == 200 else {
                askingFailed(id, responseHead.status == 503 ? .unreachable : .malformed)
                return false
            }
            if let status = responseHead.first(named: ByteScan.bytes("grpc-status")) {
                authorizations[authorization].callStatus = Self.number(responseHead.span(status))
            }
            return true
        }
        if responseHead.status >= 500 {
            askingFailed(id, .malformed)
            return false
        }
        if keepLines(id, authorization) { return true }
        askingFailed(id, .overloaded)
        return false
    }

    /// Keeps what the head in `responseHead` says of the request's, or the lines of a denial.
    private mutating func keepLines(_ id: SlotID, _ authorization: SlotID) -> Bool {
        responseHead.removeConnectionFields()
        let generation = UInt32(exchanges[id].generation)
        let rule = exchanges[downstreamExchange(authorization)].decision.rule
        guard let row = generations[generation].snapshot.table.authorization(rule: rule),
            // A name is written twice where it is taken over.
            var lines = buffers.take(capacity: 2 * responseHead.bytes.count + 24_576)
        else { return false }
        let fits =
            responseHead.status == 200
            ? Self.writeEdits(responseHead, row, generations, generation, into: &lines)
            : Self.writeDenial(responseHead, into: &lines)
                && lines.count <= Authorization.answerBytesMax
        swap(&lines, &authorizations[authorization].lines)
        buffers.reclaim(&lines)
        return fits
    }

    /// The exchange that waits.
    private func downstreamExchange(_ authorization: SlotID) -> SlotID {
        downstreams[authorizations[authorization].downstream].exchange
    }

    /// Fields that are named are who was asked's to say: the client's own go, whether the answer has them or not.
    private static func writeEdits(
        _ head: borrowing ResponseHead, _ row: AuthorizationRow,
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, into lines: inout Buffer
    ) -> Bool {
        lines.withFree { out in
            for at in generations[generation].snapshot.table.answerFieldRange(row) {
                guard HeadEdits.begin(.remove, into: &out),
                    generations[generation].snapshot.table.appendAnswerField(at: at, into: &out),
                    HeadWriter.append(":\r\n", into: &out)
                else { return false }
            }
            for pass in 0..<2 {
                // First all of the client's go, then all of the answer's come, of which some have one name.
                if pass == 0, row.hasAnswerFields { continue }
                for at in 0..<head.fields.count {
                    let line = head.fields[at]
                    let name = head.span(line.name)
                    if line.isDropped || !generations[generation].snapshot.table.takes(row, name) {
                        continue
                    }
                    let value = pass == 0 ? Span() : head.span(line.value)
                    if !HeadEdits.append(pass == 0 ? .remove : .add, name, value, into: &out) {
                        return false
                    }
                }
            }
            return true
        }
    }

    /// All but what says how content is framed, and what the gateway says itself.
    private static func writeDenial(
        _ head: borrowing ResponseHead, into lines: inout Buffer
    ) -> Bool {
        lines.withFree { out in
            for at in 0..<head.fields.count {
                let line = head.fields[at]
                let name = head.span(line.name)
                if line.isDropped || !isPassed(name) { continue }
                guard HeadWriter.append(name, into: &out), HeadWriter.append(": ", into: &out),
                    HeadWriter.append(head.span(line.value), into: &out),
                    HeadWriter.append("\r\n", into: &out)
                else { return false }
            }
            return true
        }
    }

    /// Whether a field of a denial goes to the client.
    private static func isPassed(_ name: Span<UInt8>) -> Bool {
        if !ExternalAuthorization.mayPass(name) { return false }
        return !is_(name, "date") && !is_(name, "server") && !is_(name, "x-request-id")
            && !is_(name, "x-gateway-error")
    }

    private static func is_(_ name: Span<UInt8>, _ wanted: StaticString) -> Bool {
        name.count == wanted.utf8CodeUnitCount
            && ByteScan.equalFolding(name, ByteScan.bytes(wanted))
    }

    private static func number(_ text: Span<UInt8>) -> UInt64 {
        if text.isEmpty || text.count > 9 { return .max }
        var number: UInt64 = 0
        for at in 0..<text.count {
            let digit = text[at] &- 0x30
            if digit > 9 { return .max }
            number = number * 10 + UInt64(digit)
        }
        return number
    }

    // MARK: - Content

    /// Keeps content of an answer; false when there is more of it than is waited for.
    private mutating func keepContent(_ authorization: SlotID, _ bytes: Span<UInt8>) -> Bool {
        let isCall = authorizations[authorization].isCall
        let most =
            isCall
            ? Authorization.messageBytesMax + GRPCFrame.prefixBytes : Authorization.answerBytesMax
        if authorizations[authorization].content.count + bytes.count <= most,
            buffers.append(bytes, to: &authorizations[authorization].content)
        {
            return true
        }
        authorizations[authorization].isCut = true
        return false
    }

    /// Notes how a call ended.
    private mutating func noteTrailer(_ authorization: SlotID, _ line: Span<UInt8>) {
        let name = ByteScan.bytes("grpc-status:")
        guard line.count > name.count,
            ByteScan.equalFolding(line.extracting(first: name.count), name)
        else { return }
        var from = name.count
        var end = line.count
        while from < end, line[from] == 0x20 || line[from] == 0x09 { from += 1 }
        while end > from, line[end - 1] <= 0x20 { end -= 1 }
        authorizations[authorization].callStatus = Self.number(line.extracting(from..<end))
    }

    /// An answer is here, with as much of its content as is kept: its connection goes back or ends, and the request goes on.
    private mutating func leaveIsWhole(_ id: SlotID, leftover: Bool) {
        let authorization = exchanges[id].authorization
        let upstream = exchanges[id].upstream
        if !leftover, exchanges[id].leavesUpstreamClean, upstreams[upstream].isClean {
            exchanges[id].upstream = .none
            release(upstream: upstream)
        }
        end(asking: id)
        if authorizations[authorization].isCall {
            judgeCall(authorization)
        } else if authorizations[authorization].status == 200 {
            settle(authorization, .allowed)
        } else {
            if authorizations[authorization].isCut {
                // Half of it could be taken for all.
                buffers.reclaim(&authorizations[authorization].content)
            }
            settle(authorization, .denied)
        }
    }

    /// Reads the message of a call that has ended.
    private mutating func judgeCall(_ authorization: SlotID) {
        var bytes = Buffer()
        swap(&bytes, &authorizations[authorization].content)
        defer { buffers.reclaim(&bytes) }
        guard !authorizations[authorization].isCut,
            authorizations[authorization].callStatus == 0
        else {
            let isAbsent = authorizations[authorization].callStatus == 14
            settle(authorization, failed: isAbsent ? .unreachable : .malformed)
            return
        }
        guard
            case .message(let range) = GRPCFrame.read(
                bytes.span, messageBytesMax: Authorization.messageBytesMax),
            range.upperBound == bytes.count, let response = CheckResponse(bytes.span, range),
            (200...599).contains(response.status)
        else {
            settle(authorization, failed: .malformed)
            return
        }
        guard keepMessage(response, bytes, authorization) else {
            settle(authorization, failed: .overloaded)
            return
        }
        settle(authorization, response.isAllowed ? .allowed : .denied)
    }

    /// Keeps what a call's message says of heads, and the content of a denial.
    private mutating func keepMessage(
        _ response: CheckResponse, _ bytes: borrowing Buffer, _ authorization: SlotID
    ) -> Bool {
        guard var lines = buffers.take(capacity: bytes.count + 64) else { return false }
        defer { buffers.reclaim(&lines) }
        if !response.isAllowed {
            authorizations[authorization].status = UInt16(response.status)
            let fits = lines.withFree { response.appendLines(bytes.span, into: &$0) }
            // More would not fit into an answer's head.
            let isHead = lines.count <= Authorization.answerBytesMax
            swap(&lines, &authorizations[authorization].lines)
            return fits && isHead
                && buffers.append(
                    bytes.span.extracting(response.content),
                    to: &authorizations[authorization].content)
        }
        guard var answer = buffers.take(capacity: bytes.count + 64) else { return false }
        defer { buffers.reclaim(&answer) }
        let fits =
            lines.withFree { response.appendEdits(of: .request, bytes.span, into: &$0) }
            && answer.withFree { response.appendEdits(of: .answer, bytes.span, into: &$0) }
        swap(&lines, &authorizations[authorization].lines)
        if !answer.isEmpty { swap(&answer, &authorizations[authorization].answerLines) }
        return fits
    }

    // MARK: - Failures

    /// The connection of who was asked ended, in the middle of an answer or before it.
    mutating func askingEnded(_ id: SlotID, clean: Bool) {
        if exchanges[id].phase == .answering {
            if clean, exchanges[id].response.inputEnded() {
                leaveIsWhole(id, leftover: false)
            } else {
                askingFailed(id, .unreachable)
            }
            return
        }
        fail(askingBeforeHead: id)
    }

    private mutating func fail(askingBeforeHead id: SlotID) {
        let upstream = exchanges[id].upstream
        if let stream = upstreams[upstream].link.stream, cipher.multiplexers.wasRefused(stream) {
            exchanges[id].sentBytes = false
        }
        letGo(upstream)
        attemptFailed(id, .resetBeforeHead)
    }

    /// The exchange that asks has failed in the way of any.
    mutating func askingFailed(_ id: SlotID, by reason: UpstreamFailure) {
        switch reason {
        case .requestTimeout, .attemptTimeout, .firstByteTimeout, .idleTimeout, .connectTimeout:
            askingFailed(id, .timeout)
        case .overloaded: askingFailed(id, .overloaded)
        case .malformedAnswer: askingFailed(id, .malformed)
        case .connectRefused, .tls, .noEndpoint, .resetBeforeHead, .truncated:
            askingFailed(id, .unreachable)
        }
    }

    /// Nobody will say whether the request may pass.
    @inline(never)
    mutating func askingFailed(_ id: SlotID, _ failure: AuthorizationFailure) {
        let authorization = exchanges[id].authorization
        end(asking: id)
        settle(authorization, failed: failure)
    }

    /// An exchange that waits for leave has no time left.
    mutating func waitedTooLong(_ id: SlotID) {
        let authorization = downstreams[exchanges[id].downstream].authorization
        let asking = authorizations[authorization].asking
        if asking != .none { end(asking: asking) }
        settle(authorization, failed: .requestTimeout)
    }
}
