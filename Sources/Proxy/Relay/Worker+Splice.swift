import HTTP
import Kernel

/// Content that nobody looks at goes from socket to socket inside the system: where both ends are plain HTTP/1.1, or a
/// tunnel, and so much is coming that it is cheaper than a copy.
extension Worker {
    // MARK: - The answer

    /// Chooses, where the answer's content has begun or much of it came at once, how the rest of it goes.
    @inline(never)
    mutating func planAnswer(_ id: SlotID, _ upstream: SlotID, _ downstream: SlotID, isFirst: Bool)
    {
        guard exchanges[id].maySpliceAnswer(isFirst: isFirst), upstreams[upstream].link.isPlain,
            downstreams[downstream].link.isPlain
        else { return }
        exchanges[id].marks.insert(.splicesAnswer)
    }

    /// Moves content of the answer once; what is left then of the bytes of this tick, nil when it is not to go on.
    @inline(never)
    mutating func spliceAnswer(_ id: SlotID, _ upstream: SlotID, _ left: Int) -> Int? {
        let downstream = exchanges[id].downstream
        if downstreams[downstream].link.isCongested || !upstreams[upstream].link.isReadable {
            return nil
        }
        if left <= Relay.restBytesMax {
            enqueue(upstream: upstream)
            return nil
        }
        let remaining = exchanges[id].response.remaining ?? 0
        // Without a length there is no end but the connection's.
        let most = Relay.movable(left)
        let limit = remaining == 0 ? most : Int(min(UInt64(most), remaining))
        let (count, stop) =
            exchanges[id].answerReframes
            ? spliceChunk(id, upstream, downstream, atMost: limit)
            : Link.splice(
                from: &upstreams[upstream].link, to: &downstreams[downstream].link,
                atMost: limit, &buffers)
        tendBuffers()
        switch stop {
        case .moved:
            exchanges[id].passed(spliced: count)
            if exchanges[id].response.isFinished {
                finishSpliced(id, upstream)
                return nil
            }
            relayed(id, upstream, downstream)
            return left - Relay.cost(moved: count)
        case .dry:
            if Relay.isTrickle(Relay.movable(Scratch.tickBytes - left)) {
                exchanges[id].marks.remove(.splicesAnswer)
            }
            return nil
        case .unseen:
            exchanges[id].marks.remove(.splicesAnswer)
            return left
        case .sourceBroke: answerEnded(upstream, clean: false)
        case .targetBroke: clientIsGone(downstream)
        }
        return nil
    }

    /// The same for content that ends with the backend's connection, and is a chunk for each move to the client.
    private mutating func spliceChunk(
        _ id: SlotID, _ upstream: SlotID, _ downstream: SlotID, atMost limit: Int
    ) -> (count: Int, stop: Link.SpliceStop) {
        let (pipe, count, stop) = upstreams[upstream].link.fillPipe(atMost: limit, &buffers)
        // Before a chunk stands the line end of the one before, which nobody waits for but when there is no other.
        let ends = exchanges[id].marks.contains(.owesLineEnd)
        if stop != .moved, !ends { return (0, stop) }
        exchanges[id].marks.set(.owesLineEnd, stop == .moved)
        var frame = Buffer()
        swap(&frame, &output)
        frame.removeAll()
        frame.withFree { out in
            if ends { _ = HeadWriter.append("\r\n", into: &out) }
            if stop == .moved { _ = HeadWriter.append(chunkOf: count, into: &out) }
        }
        exchanges[id].sentToClient &+= UInt64(truncatingIfNeeded: frame.count)
        let sent = downstreams[downstream].link.send(frame.span, &cipher, &buffers)
        swap(&frame, &output)
        if stop != .moved { return (0, sent == .failed ? .targetBroke : stop) }
        if sent == .failed {
            buffers.pipes.give(pipe)
            return (count, .targetBroke)
        }
        let drained = downstreams[downstream].link.drain(pipe, &buffers)
        return (count, drained == .failed ? .targetBroke : .moved)
    }

    /// The last byte of an answer was moved: only if nothing stands behind it can its connection be used again.
    private mutating func finishSpliced(_ id: SlotID, _ upstream: SlotID) {
        if !upstreams[upstream].link.peerEnded, upstreams[upstream].link.socket.isIdle() {
            upstreams[upstream].link.isReadable = false
        }
        answerComplete(id, leftover: false)
    }

    // MARK: - The request

    /// Whether the request's content is moved without being seen: what is kept for another attempt, shown to somebody or
    /// copied for mirrors is not.
    mutating func splicesRequest(_ id: SlotID) -> Bool {
        let downstream = exchanges[id].downstream
        guard exchanges[id].maySpliceRequest(), downstreams[downstream].link.isPlain,
            downstreams[downstream].input.isEmpty, upstreams[exchanges[id].upstream].link.isPlain
        else { return false }
        exchanges[id].marks.insert(.splicesRequest)
        return true
    }

    /// Moves content of the request once, no byte beyond its end; what is left then of the bytes of this tick, nil when it
    /// is not to go on.
    @inline(never)
    mutating func spliceRequest(_ id: SlotID, _ left: Int) -> Int? {
        let downstream = exchanges[id].downstream
        if left <= Relay.restBytesMax {
            enqueue(downstream: downstream)
            return nil
        }
        let remaining = exchanges[id].request.remaining ?? 0
        let limit = Int(min(UInt64(Relay.movable(left)), remaining))
        let (count, stop) = Link.splice(
            from: &downstreams[downstream].link,
            to: &upstreams[exchanges[id].upstream].link, atMost: limit, &buffers)
        tendBuffers()
        switch stop {
        case .moved:
            sentRequestPart(id, exchanges[id].requestPart(spliced: count))
            return left - Relay.cost(moved: count)
        case .targetBroke:
            tookUnsent(id, exchanges[id].requestPart(spliced: count))
            requestWriteFailed(id)
        case .dry:
            if Relay.isTrickle(Relay.movable(Scratch.tickBytes - left)) {
                exchanges[id].marks.insert(.copiesRequest)
            }
        case .unseen:
            exchanges[id].marks.insert(.copiesRequest)
            return left
        case .sourceBroke: clientIsGone(downstream)
        }
        return nil
    }
}

extension Exchange {
    /// Whether the rest of the answer's content can go on unseen, and enough of it is known, or likely, to come.
    fileprivate func maySpliceAnswer(isFirst: Bool) -> Bool {
        if streamEnd != nil || !marks.isDisjoint(with: .watched) { return false }
        if let remaining = response.remaining {
            return !answerReframes && remaining >= UInt64(Relay.spliceBytesMin)
        }
        return !isFirst && !response.isChunked
    }

    /// Whether the rest of the request's content can go on unseen, and enough of it is to come.
    fileprivate func maySpliceRequest() -> Bool {
        guard let remaining = request.remaining, phase != .holding,
            marks.isDisjoint(with: [.copiesRequest, .mirrored, .processed])
        else { return false }
        let isEnough =
            remaining >= UInt64(Relay.spliceBytesMin) || marks.contains(.splicesRequest)
        return isEnough && (lacksContent || !mayResend)
    }

    /// Content of the request that was moved, as the part that it is.
    fileprivate mutating func requestPart(spliced count: Int) -> Relay.Part {
        request.skip(count)
        lacksContent = true
        return Relay.Part(upTo: count, finished: request.isFinished)
    }

    /// Counts content of the answer that was moved.
    fileprivate mutating func passed(spliced count: Int) {
        response.skip(count)
        sentToClient &+= UInt64(truncatingIfNeeded: count)
    }
}
