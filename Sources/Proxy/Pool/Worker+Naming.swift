import HTTP
import Inference
import Kernel
import Routing
import Runtime
import Telemetry

/// A request whose route may depend on the model that it names, while its content comes.
struct Naming: ~Copyable {
    /// The gateway's own peek into the content.
    var peek: RequestPeek
    var reader: ContentReader
    /// Bytes behind the head that were read.
    var read = 0
    /// Bytes of content in them.
    var contentBytes = 0
    /// Which request of the connection it is.
    let request: UInt32
    let headBytes: Int
    /// Bytes of head and content; 0 where nobody knows.
    let wholeBytes: Int

    init(
        _ peek: consuming RequestPeek, _ framing: BodyFraming, request: UInt32, headBytes: Int
    ) {
        self.peek = peek
        self.request = request
        reader = ContentReader(framing)
        self.headBytes = headBytes
        wholeBytes = reader.remaining.map { headBytes + Int(clamping: $0) } ?? 0
    }
}

/// Routes that match on `X-Gateway-Model-Name`: the content is read before the route is chosen, and the field says what
/// was read (`inference-extension.md` §5).
///
/// Until then the request stands in the connection's input as it came, like a head that is not complete.
extension Worker {
    /// The field that names the model.
    static var modelField: StaticString { "x-gateway-model-name" }

    /// Whether the request in `requestHead`, which stands in front of `count` bytes of `padded`, has to be read to
    /// its end first; if not, its head says which model it names.
    ///
    /// True as well when it was answered.
    @inline(never)
    mutating func awaitsModel(
        _ id: SlotID, headBytes: Int, _ padded: Span<UInt8>, _ count: Int
    ) -> Bool {
        hasNamedModel = false
        if downstreams[id].link.stream != nil { requestHead.cameOverHTTP2() }
        guard current != .max else { return false }
        let origin = downstreams[id].origin
        let table = Self.listener(generations, current, requestHead, origin)
        guard table.needsModel else { return false }
        // Only what the content says counts.
        requestHead.remove(named: ByteScan.bytes(Self.modelField))
        let path = InferencePath(requestHead.method, path: requestHead.span(requestHead.path))
        guard path.readsModel, !requestHead.framing.isEmpty else { return false }
        let rest = ByteScan.part(padded, headBytes, count)
        if downstreams[id].naming == .none {
            if let isNamed = nameAtOnce(id, path, table.parameters, rest) { return !isNamed }
            if !beginNaming(id, path, table.parameters, headBytes, isWhole: headBytes < count) {
                return true
            }
        }
        if readName(id, rest, table.parameters) { return false }
        if downstreams.contains(id), downstreams[id].naming != .none {
            downstreams[id].headTried = Int32(clamping: count)
        }
        return true
    }

    private static func listener(
        _ generations: borrowing Slab<Generation>, _ generation: UInt32,
        _ head: borrowing RequestHead, _ origin: RequestOrigin
    ) -> (needsModel: Bool, parameters: Int32) {
        generations[generation].modelNeeds(head, origin)
    }

    /// Reads content that has come whole, as most has, and is plain JSON: nothing of it has to be remembered.
    ///
    /// False when the request was answered, nil when its content is otherwise.
    private mutating func nameAtOnce(
        _ id: SlotID, _ path: InferencePath, _ parameters: Int32, _ rest: Span<UInt8>
    ) -> Bool? {
        guard case .length(let length) = requestHead.framing, length <= UInt64(rest.count),
            length <= UInt64(heldContentBytesMax(parameters)),
            !requestHead.fields.names.contains(.contentEncoding),
            Self.form(of: requestHead) == .json
        else { return nil }
        var peek = BodyPeek(acceptsName: path.acceptsName)
        do throws(BodyRefusal) {
            try peek.scan(ByteScan.part(rest, 0, Int(length)))
            try peek.finish()
        } catch {
            answerUnnamed(id, .unreadableContent(error))
            return false
        }
        nameModel(peek.modelName)
        return true
    }

    private static func form(of head: borrowing RequestHead) -> RequestPeek.Form {
        RequestPeek.Form(contentType: head.span(head.value(.contentType) ?? .none))
    }

    /// Has the head, which says nothing of a model any more, say what the content names, if anything.
    private mutating func nameModel(_ name: Span<UInt8>) {
        if name.isEmpty { return }
        hasNamedModel = requestHead.append(name: Self.modelField, value: name)
    }

    /// Makes ready to read; false when the request was answered.
    private mutating func beginNaming(
        _ id: SlotID, _ path: InferencePath, _ parameters: Int32, _ headBytes: Int, isWhole: Bool
    ) -> Bool {
        let limit = heldContentBytesMax(parameters)
        if case .length(let count) = requestHead.framing, count > UInt64(limit) {
            answerUnnamed(id, .contentTooLarge)
            return false
        }
        do throws(BodyRefusal) {
            let peek = try Self.makePeek(requestHead, path, decodedMax: limit)
            guard
                let naming = namings.insert(
                    Naming(
                        peek, requestHead.framing, request: downstreams[id].requestCount &+ 1,
                        headBytes: headBytes))
            else {
                answerUnnamed(id, .overloaded)
                return false
            }
            downstreams[id].naming = naming
        } catch {
            answerUnnamed(id, .unreadableContent(error))
            return false
        }
        if requestHead.expectsContinue, !isWhole { sayContinue(downstream: id) }
        return downstreams.contains(id)
    }

    /// Reads on; true when the content is whole and the head says what it names.
    private mutating func readName(
        _ id: SlotID, _ rest: Span<UInt8>, _ parameters: Int32
    ) -> Bool {
        let naming = downstreams[id].naming
        let limit = heldContentBytesMax(parameters)
        switch namings[naming].read(rest, limit: limit) {
        case .more:
            setDeadline(downstream: id, in: timeouts.requestBodyIdleMilliseconds)
            return false
        case .refused(let reply):
            answerUnnamed(id, reply)
            return false
        case .whole:
            if let model = namings[naming].peek.facts.model { nameModel(model.span) }
            endNaming(id)
            return true
        }
    }

    // MARK: - In place

    /// Whether the request that stands in a connection's input is the one that is read for its model.
    private func isNamed(_ id: SlotID) -> Bool {
        let naming = downstreams[id].naming
        return naming != .none && namings[naming].request == downstreams[id].requestCount &+ 1
    }

    /// Bytes that are likely to stand in a connection's input in the end, with room for readers of whole vectors; 0 where
    /// nobody knows.
    func expectedBytes(_ id: SlotID) -> Int {
        if !isNamed(id) { return 0 }
        let whole = namings[downstreams[id].naming].wholeBytes
        return whole == 0 ? 0 : whole + 48
    }

    /// Whether more of a request can be read right behind what stands there of it.
    func readsInPlace(_ id: SlotID) -> Bool {
        guard isNamed(id), downstreams[id].link.isPlain else { return false }
        let whole = namings[downstreams[id].naming].wholeBytes
        let missing = whole - downstreams[id].input.count
        return missing > 0 && downstreams[id].input.roomBehind >= min(missing, Scratch.readBytes)
    }

    /// Reads more of a request, and of that what it names while it is not whole; how many bytes came, nil when none will
    /// for now.
    mutating func readInPlace(_ id: SlotID, atMost limit: Int) -> Int? {
        let (result, count) = downstreams[id].readBehind(atMost: limit)
        switch result {
        case .bytes: readNameInPlace(id)
        case .wouldBlock: return nil
        case .end, .failed: close(downstream: id)
        }
        return count
    }

    /// Reads on where the request is not whole, for which its head need not be known.
    private mutating func readNameInPlace(_ id: SlotID) {
        let (naming, count) = (downstreams[id].naming, downstreams[id].input.count)
        if count >= namings[naming].wholeBytes { return }
        var stash = Buffer()
        swap(&stash, &downstreams[id].input)
        let step = namings[naming].readMore(stash.span)
        swap(&stash, &downstreams[id].input)
        downstreams[id].headTried = Int32(clamping: count)
        if case .refused(let reply) = step {
            refuseUnheld(id, reply)
        } else {
            setDeadline(downstream: id, in: timeouts.requestBodyIdleMilliseconds)
        }
    }

    // MARK: - Refusals

    /// Answers a request whose content cannot be kept any more, or read, when others may have been read since.
    mutating func refuseUnheld(_ id: SlotID, _ reply: LocalReply) {
        var stash = Buffer()
        swap(&stash, &downstreams[id].input)
        if !stash.isEmpty {
            // The answer is to this one.
            let count = stash.count
            _ = requestHead.parse(stash.padded(), count: count, resumeAt: 0)
            if downstreams[id].link.stream != nil { requestHead.cameOverHTTP2() }
            buffers.reclaim(&stash)
        }
        answerUnnamed(id, reply)
    }

    /// Answers a request whose route will never be known, and ends its connection: what of its content was read is gone or
    /// stands there in part, so nothing can follow it.
    mutating func answerUnnamed(_ id: SlotID, _ reply: LocalReply) {
        endNaming(id)
        decision = Decision()
        answerLocally(id, reply, decision, closes: true)
    }

    /// Lets go of what was read so far.
    mutating func endNaming(_ id: SlotID) {
        if downstreams[id].naming == .none { return }
        namings.destroy(downstreams[id].naming)
        downstreams[id].naming = .none
    }

    private func heldContentBytesMax(_ parameters: Int32) -> Int {
        generations[current].snapshot.parameters[Int(parameters)].limits.heldContentBytesMax
    }

    private mutating func sayContinue(downstream id: SlotID) {
        let line = ByteScan.bytes("HTTP/1.1 100 Continue\r\n\r\n")
        if downstreams[id].link.send(line, &cipher, &buffers) == .failed { clientIsGone(id) }
    }
}

extension Naming {
    enum Step {
        case more, whole
        case refused(LocalReply)
    }

    /// Reads what of `rest`, all that has come behind the head, was not read before.
    mutating func read(_ rest: Span<UInt8>, limit: Int) -> Step {
        var from = read
        while true {
            switch reader.next(rest, from: &from) {
            case .content(let range):
                contentBytes += range.count
                if contentBytes > limit { return .refused(.contentTooLarge) }
                do throws(BodyRefusal) {
                    try peek.scan(rest.extracting(range))
                } catch {
                    return .refused(.unreadableContent(error))
                }
            case .trailer: continue
            case .end: return finish()
            case .incomplete:
                read = from
                return reader.isFinished ? finish() : .more
            case .malformed(let problem): return .refused(.malformed(problem))
            }
        }
    }

    /// Reads what of `bytes`, the head and what has come behind it, was not read before.
    mutating func readMore(_ bytes: Span<UInt8>) -> Step {
        // Of a stated length, so how much it may be was judged when it began.
        read(ByteScan.part(bytes, headBytes, bytes.count), limit: .max)
    }

    private mutating func finish() -> Step {
        do throws(BodyRefusal) {
            try peek.finish()
            return .whole
        } catch {
            return .refused(.unreadableContent(error))
        }
    }
}

extension Generation {
    /// Whether the routes of a request's listener may depend on its model, and the listener's parameters.
    borrowing func modelNeeds(
        _ head: borrowing RequestHead, _ origin: RequestOrigin
    ) -> (needsModel: Bool, parameters: Int32) {
        let port = snapshot.table.portIndex(id: origin.portID)
        if port < 0 { return (false, 0) }
        let listener = snapshot.table.listener(port: port, head: head, isTLS: origin.isTLS)
        if listener < 0 { return (false, 0) }
        let row = snapshot.table.listeners[Int(listener)]
        return (row.needsModel, row.parameters)
    }

    /// Whether any listener's routes may depend on the model.
    borrowing func someNeedModel() -> Bool {
        for row in 0..<snapshot.table.listeners.count
        where snapshot.table.listeners[row].needsModel { return true }
        return false
    }
}
