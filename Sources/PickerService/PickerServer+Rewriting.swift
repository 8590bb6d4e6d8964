import HTTP
import Inference
import Kernel
import Protocols
import Runtime

/// The model that a request names, in another's place (`InferenceModelRewrite`): its bytes are spliced into the held
/// content, and the client's name into the answer.
extension PickerServer {
    /// Puts the name that the pool's rules say in the place of the request's own, where the gateway takes other content;
    /// false when the call has ended over it.
    mutating func rewriteModel(_ id: SlotID) -> Bool {
        guard calls[id].mayChangeRequest, let facts = calls[id].peek?.facts,
            let asked = facts.model, let range = facts.modelRange,
            let name = target(of: asked), !ByteScan.equal(name.span, asked.span)
        else { return true }
        if calls[id].peek?.isEncoded == true {
            refuse(id, .unsupportedCoding)
            return false
        }
        let isForm = calls[id].peek?.isForm == true
        let rewrite = ModelRewrite(range, by: name, in: isForm ? .form : .json)
        guard splice(id, rewrite) else {
            refuse(id, status: 503, "The picker is out of memory. Try again later.")
            return false
        }
        calls[id].renaming = Call.Renaming(
            asked: asked, served: name,
            moved: (behind: range.upperBound, by: rewrite.count - range.count))
        return true
    }

    /// The name that the pool's rules have for a model, by their weights; nil when none is for it.
    private mutating func target(of asked: ModelName) -> ModelName? {
        if poolRow < 0 { return nil }
        let pool = clusters.pools[Int(clusters.clusters[poolRow].pool)]
        guard let targets = pool.targets(of: asked.span), !targets.isEmpty else { return nil }
        let sum = targets.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
        var left = random.next() % max(1, sum)
        for target in targets {
            if left < UInt64(target.weight) { return ModelName(target.model.utf8Span.span) }
            left -= UInt64(target.weight)
        }
        return nil
    }

    /// Writes the held content anew, with other bytes in one place; false when there is no memory for it.
    private mutating func splice(_ id: SlotID, _ rewrite: ModelRewrite) -> Bool {
        let count = calls[id].held.count
        guard let length = rewrite.contentLength(from: UInt64(count)),
            var new = buffers.takeHeld(capacity: Int(length))
        else { return false }
        Self.splice(calls[id].held, into: &new, rewrite)
        swap(&new, &calls[id].held)
        buffers.reclaim(&new)
        return true
    }

    private static func splice(
        _ old: borrowing Buffer, into new: inout Buffer, _ rewrite: ModelRewrite
    ) {
        let bytes = old.span
        _ = new.append(bytes.extracting(first: rewrite.range.lowerBound))
        let fits = new.withFree { rewrite.write(into: &$0) }
        precondition(fits, "Its length was counted.")
        _ = new.append(bytes.extracting(rewrite.range.upperBound...))
    }

    // MARK: - Answers

    /// Whether the answer, whose head is in the message, gets the client's name of the model back; then its length is not
    /// known.
    mutating func restoresModel(
        _ id: SlotID, _ message: ProcessingMessage, _ bytes: Span<UInt8>
    ) -> Bool {
        guard let renaming = calls[id].renaming, calls[id].mayChangeAnswer,
            value("content-encoding", message, bytes).isEmpty,
            let format = ModelNameRestore.Format(
                contentType: value("content-type", message, bytes))
        else { return false }
        calls[id].restore = ModelNameRestore(
            served: renaming.served, client: renaming.asked, format: format)
        return true
    }

    /// Sends a piece on with the client's name in it; with `inTrailers` what still waits is not the end.
    mutating func passRestored(
        _ id: SlotID, _ piece: Span<UInt8>, ends: Bool, inTrailers: Bool = false
    ) {
        // Content that came whole goes back whole, even where its gateway has trailers to tell.
        let isLast = ends || !calls[id].echoesAnswer
        var whole = Buffer()
        var part = Buffer()
        swap(&part, &restored)
        var from = 0
        var isDone = false
        while !isDone {
            part.removeAll()
            isDone = Self.restore(&calls[id].restore, piece, &from, isLast, into: &part)
            if !calls[id].echoesAnswer {
                if !buffers.append(part.span, to: &whole) {
                    end(id, .resourceExhausted)
                    break
                }
            } else if !part.isEmpty || isDone && ends && !inTrailers {
                sayPiece(id, part.span, ends: isDone && ends && !inTrailers)
            }
        }
        swap(&part, &restored)
        if !calls[id].echoesAnswer {
            say(id, then: whole.span) {
                ProcessingAnswer.begin(.answer, replacement: whole.count, into: &$0)
            }
            buffers.reclaim(&whole)
        }
        if isLast { calls[id].restore = nil }
    }

    /// Fills `part` with what may pass; true when all of the piece has.
    private static func restore(
        _ filter: inout ModelNameRestore?, _ piece: Span<UInt8>, _ from: inout Int,
        _ isLast: Bool, into part: inout Buffer
    ) -> Bool {
        part.withFree { out in
            filter?.filter(piece, from: &from, into: &out)
            if from < piece.count { return false }
            return !isLast || filter?.finish(into: &out) ?? true
        }
    }

    private mutating func sayPiece(_ id: SlotID, _ piece: Span<UInt8>, ends: Bool) {
        say(id, then: piece) {
            ProcessingAnswer.begin(.answer, body: piece.count, ends: ends, into: &$0)
        }
    }
}
