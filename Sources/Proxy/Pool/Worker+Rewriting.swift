import BasicContainers
import HTTP
import Inference
import Kernel
import Runtime

/// The model that a request names, in another's place (`InferenceModelRewrite`): its bytes are spliced into the held
/// content, and the client's name into the answer.
extension Worker {
    /// Puts the name that the pool's rules say in the place of the request's own; false when the exchange has ended over
    /// it.
    mutating func rewriteModel(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard let facts = poolRequests[pooled].peek?.facts, let asked = facts.model,
            let range = facts.modelRange, let name = target(of: asked, id), name != asked
        else { return true }
        if poolRequests[pooled].peek?.isEncoded == true {
            replyAndFinish(
                id, exchanges[id].downstream, .unreadableContent(.unsupportedCoding))
            return false
        }
        let isForm = poolRequests[pooled].peek?.isForm == true
        let rewrite = ModelRewrite(range, by: name, in: isForm ? .form : .json)
        guard splice(id, pooled, rewrite) else {
            fail(id, .overloaded)
            return false
        }
        poolRequests[pooled].served = name
        poolRequests[pooled].moved = (range.upperBound, rewrite.count - range.count)
        return true
    }

    /// The name that the pool's rules have for a model, by their weights; nil when none is for it.
    private mutating func target(of asked: ModelName, _ id: SlotID) -> ModelName? {
        let row = clusters.row(ofCluster: exchanges[id].decision.clusterID)
        guard row >= 0, clusters.clusters[Int(row)].pool >= 0 else { return nil }
        let pool = clusters.pools[Int(clusters.clusters[Int(row)].pool)]
        guard let targets = pool.targets(of: asked.span), !targets.isEmpty else { return nil }
        let sum = targets.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
        var left = random.next() % max(1, sum)
        for target in targets {
            if left < UInt64(target.weight) { return ModelName(target.model.utf8Span.span) }
            left -= UInt64(target.weight)
        }
        return nil
    }

    /// Writes the head and the content anew, with other bytes in one place; false when there is no room for them.
    private mutating func splice(
        _ id: SlotID, _ pooled: SlotID, _ rewrite: ModelRewrite
    ) -> Bool {
        let start = poolRequests[pooled].contentStart
        let count = poolRequests[pooled].contentBytes
        guard let length = rewrite.contentLength(from: UInt64(count)),
            var new = buffers.takeHeld(capacity: exchanges[id].buffer.count + rewrite.count + 24)
        else { return false }
        let isChunked = poolRequests[pooled].isChunked
        let head = exchanges[id].record.head
        let moved = Self.splice(
            exchanges[id].buffer, into: &new, head: head, contentStart: start,
            length: isChunked ? nil : length, rewrite)
        swap(&new, &exchanges[id].buffer)
        buffers.give(new)
        exchanges[id].record.head.count = UInt32(Int(head.count) + (isChunked ? 0 : moved.grown))
        if !isChunked, exchanges[id].record.requestID.end > moved.at {
            let from = Int(exchanges[id].record.requestID.start)
            exchanges[id].record.requestID.start = UInt32(from + moved.grown)
        }
        poolRequests[pooled].contentStart = start + moved.grown
        poolRequests[pooled].contentBytes = Int(length)
        if isChunked {
            let line = start - Self.chunkLine.utf8CodeUnitCount
            exchanges[id].buffer.overwrite(hex: UInt32(length), at: line)
        }
        return true
    }

    /// What a change of Content-Length did to the head: by how much it grew, and behind which byte.
    private static func splice(
        _ old: borrowing Buffer, into new: inout Buffer, head: ByteRange, contentStart: Int,
        length: UInt64?, _ rewrite: ModelRewrite
    ) -> (grown: Int, at: Int) {
        let bytes = old.span
        var moved = (grown: 0, at: Int.max)
        if let length {
            let value = HeadLines.value("content-length:", in: bytes, from: Int(head.start))
            _ = new.append(bytes.extracting(first: value.lowerBound))
            new.withFree { _ = HeadWriter.append(decimal: length, into: &$0) }
            moved = (new.count - value.upperBound, value.upperBound)
            _ = new.append(bytes.extracting(value.upperBound..<contentStart))
        } else {
            _ = new.append(bytes.extracting(first: contentStart))
        }
        _ = new.append(
            bytes.extracting(contentStart..<(contentStart + rewrite.range.lowerBound)))
        new.withFree { _ = rewrite.write(into: &$0) }
        _ = new.append(bytes.extracting((contentStart + rewrite.range.upperBound)..<bytes.count))
        return moved
    }

    // MARK: - Answers

    /// Whether the answer, whose head is in `responseHead`, gets the client's name of the model back; then its length is
    /// not known.
    mutating func restoresModel(_ id: SlotID, _ bytes: Span<UInt8>) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard let served = poolRequests[pooled].served,
            let asked = poolRequests[pooled].peek?.facts.model,
            responseHead.value(.contentEncoding) == nil,
            let type = responseHead.value(.contentType)
        else { return false }
        let value = bytes.extracting(type.range)
        guard let format = ModelNameRestore.Format(contentType: value) else { return false }
        poolRequests[pooled].restore = ModelNameRestore(
            served: served, client: asked, format: format)
        return true
    }

    /// Whether the client's name is put back into the answer.
    func isRestoring(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        return pooled != .none && poolRequests[pooled].restore != nil
    }

    /// Decodes content and frames it anew with the client's name in it.
    mutating func restore(
        _ id: SlotID, _ reader: inout ContentReader, _ bytes: Span<UInt8>,
        into framed: inout Buffer
    ) -> Relay.Reframed {
        let pooled = exchanges[id].poolRequest
        // The longest name in the place of the shortest, object by object, makes twenty bytes of one.
        let piece = bytes.extracting(first: min(bytes.count, framed.freeCapacity / 24))
        var from = 0
        while true {
            switch reader.next(piece, from: &from) {
            case .content(let range):
                restore(pooled, piece.extracting(range))
                appendRestored(id, into: &framed)
            case .trailer(let range):
                guard exchanges[id].answerFraming == .chunked, exchanges[id].acceptsTrailers
                else { continue }
                finishRestoring(id, into: &framed)
                let isFirst = !exchanges[id].answerTrailers
                framed.withFree { out in
                    if isFirst { _ = HeadWriter.appendLastChunk(into: &out) }
                    _ = HeadWriter.append(trailer: piece.extracting(range), into: &out)
                }
                exchanges[id].answerTrailers = true
            case .end:
                finishRestoring(id, into: &framed)
                if exchanges[id].answerFraming == .chunked {
                    Relay.end(&framed, inTrailers: exchanges[id].answerTrailers)
                }
                return Relay.Reframed(used: from, finished: true)
            case .incomplete:
                return Relay.Reframed(used: from, finished: reader.isFinished)
            case .malformed(let problem):
                return Relay.Reframed(used: from, malformed: problem)
            }
        }
    }

    /// Filters content into `restored`.
    private mutating func restore(_ pooled: SlotID, _ content: Span<UInt8>) {
        var from = 0
        restored.removeAll()
        restored.withFree { out in
            poolRequests[pooled].restore?.filter(content, from: &from, into: &out)
        }
        precondition(from == content.count, "The piece was cut so that it fits.")
    }

    /// Writes what still waits in the filter.
    mutating func finishRestoring(_ id: SlotID, into framed: inout Buffer) {
        let pooled = exchanges[id].poolRequest
        restored.removeAll()
        restored.withFree { out in
            _ = poolRequests[pooled].restore?.finish(into: &out)
        }
        poolRequests[pooled].restore = nil
        appendRestored(id, into: &framed)
    }

    private mutating func appendRestored(_ id: SlotID, into framed: inout Buffer) {
        Relay.append(
            restored.span, to: &framed, chunked: exchanges[id].answerFraming == .chunked)
    }
}
