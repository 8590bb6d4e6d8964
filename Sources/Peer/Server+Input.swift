import BasicContainers
import HTTP
import Kernel

extension Server {
    /// Reads and answers requests until there is no input, or an answer is awaited.
    mutating func read<R: Responder & ~Copyable>(_ id: SlotID, _ responder: inout R) {
        answers.current = id
        defer { answers.current = .none }
        repeat {
            input.removeAll()
            answers.takeHeld(id, &input)
            let hasEnded = answers.receive(id, &input)
            let used = Self.take(input, &head, &answers, &responder, id)
            guard answers.connections.contains(id) else { return }
            answers.keepHeld(id, input, from: used)
            if hasEnded { return inputEnded(id, &responder) }
            if answers.connections[id].turnBytes >= ServerSettings.turnBytes {
                return answers.makeReady(id)
            }
        } while answers.takesInput(id) && answers.connections[id].isReadable
    }

    /// The client sends no more: whatever it has not finished is over.
    private mutating func inputEnded<R: Responder & ~Copyable>(
        _ id: SlotID, _ responder: inout R
    ) {
        switch answers.connections[id].phase {
        case .head:
            // Answers to earlier requests may still wait for it to read them.
            if answers.connections[id].waiting == nil {
                answers.remove(id)
            } else {
                answers.connections[id].phase = .flushing
            }
        case .content, .lingering: cancel(id, &responder)
        case .answering: if answers.connections[id].held == nil { cancel(id, &responder) }
        case .flushing: break
        }
    }

    /// Closes a connection whose output is written, or lets its input run out first.
    mutating func endOutput(_ id: SlotID) {
        if answers.stagedFor == id { answers.flushStaged() }
        guard answers.connections.contains(id), !answers.connections[id].isBroken,
            answers.connections[id].waiting == nil
        else { return }
        guard answers.connections[id].lingers || answers.connections[id].held != nil else {
            return answers.remove(id)
        }
        answers.connections[id].socket.shutdownWrite()
        answers.connections[id].phase = .lingering
        answers.connections[id].isReadable = true
        answers.setDeadline(id, after: ServerSettings.lingerMilliseconds)
        drop(id)
    }

    /// Reads and forgets, within bounds.
    mutating func drop(_ id: SlotID) {
        while answers.connections[id].isReadable {
            input.removeAll()
            let hasEnded = answers.receive(id, &input)
            answers.connections[id].dropped += input.count
            if hasEnded || answers.connections[id].isBroken
                || answers.connections[id].dropped > ServerSettings.lingerBytes
            {
                return answers.remove(id)
            }
        }
    }

    // MARK: - Requests

    /// Takes requests from the input; the offset of the first byte that must be kept.
    ///
    /// The input is an argument, since the answers are changed while its bytes are looked at.
    private static func take<R: Responder & ~Copyable>(
        _ input: borrowing RigidArray<UInt8>, _ head: inout RequestHead, _ answers: inout Answers,
        _ responder: inout R, _ id: SlotID
    ) -> Int {
        let bytes = input.span
        var from = 0
        var goesOn = true
        while goesOn, answers.takesInput(id) {
            if answers.connections[id].phase == .head {
                goesOn = takeHead(bytes, &from, &head, &answers, &responder, id)
            } else {
                goesOn = takeContent(bytes, &from, &head, &answers, &responder, id)
            }
        }
        return from
    }

    /// Takes one head, and answers it if its content is there too; false: more input is needed.
    private static func takeHead<R: Responder & ~Copyable>(
        _ bytes: Span<UInt8>, _ from: inout Int, _ head: inout RequestHead,
        _ answers: inout Answers, _ responder: inout R, _ id: SlotID
    ) -> Bool {
        if from == bytes.count { return false }
        let start = from
        let scanned = answers.connections[id].scanned
        switch head.parse(bytes.extracting(start..<bytes.count), resumeAt: scanned) {
        case .incomplete(let scanned):
            answers.connections[id].scanned = scanned
            return false
        case .malformed(let malformed):
            answers.refuse(id, status: malformed.status, malformed.sentence, &responder)
            return false
        case .complete(let consumed):
            from += consumed
        }
        answers.begin(id, head)
        var length: UInt64?
        switch head.framing {
        case .none, .length(0):
            respond(to: head, Span(), &answers, &responder, id)
            return true
        case .length(let count): length = count
        case .chunked, .untilClose: break
        }
        let plan = responder.plan(head)
        answers.connections[id].plan = plan
        answers.connections[id].reader = ContentReader(head.framing)
        if case .gather(let limit) = plan, let length {
            if length > UInt64(limit) {
                refuseTooLarge(id, &answers, &responder)
                return false
            }
            let end = from + Int(length)
            if end <= bytes.count {
                let content = bytes.extracting(from..<end)
                from = end
                respond(to: head, content, &answers, &responder, id)
                return true
            }
        }
        answers.connections[id].phase = .content
        answers.setDeadline(id, after: answers.settings.contentIdleMilliseconds)
        if plan == .pieces {
            respond(to: head, Span(), &answers, &responder, id)
        } else {
            answers.holdHead(id, bytes.extracting(start..<from))
        }
        if head.expectsContinue, from == bytes.count { answers.emitContinue(id) }
        return true
    }

    /// Takes content; false: more input is needed.
    private static func takeContent<R: Responder & ~Copyable>(
        _ bytes: Span<UInt8>, _ from: inout Int, _ head: inout RequestHead,
        _ answers: inout Answers, _ responder: inout R, _ id: SlotID
    ) -> Bool {
        let step = answers.connections[id].reader.next(bytes, from: &from)
        let plan = answers.connections[id].plan
        switch step {
        case .content(let range):
            let piece = bytes.extracting(range)
            switch plan {
            case .pieces:
                let number = answers.connections[id].number
                responder.receive(piece, ExchangeID(connection: id, number: number), &answers)
            case .gather(let limit):
                if answers.gatheredCount(id) + piece.count > limit {
                    refuseTooLarge(id, &answers, &responder)
                    return false
                }
                answers.gather(id, piece)
            }
            return true
        case .trailer:
            return true
        case .incomplete:
            answers.setDeadline(id, after: answers.settings.contentIdleMilliseconds)
            return false
        case .malformed(let malformed):
            answers.refuse(id, status: malformed.status, malformed.sentence, &responder)
            return false
        case .end:
            if plan == .pieces {
                answers.connections[id].phase = .answering
                answers.connections[id].deadline.clear()
                let number = answers.connections[id].number
                responder.finish(ExchangeID(connection: id, number: number), &answers)
            } else {
                respondWithGathered(&head, &answers, &responder, id)
            }
            return true
        }
    }

    /// Reads the kept head again, since others have used the parsed one meanwhile, and answers.
    private static func respondWithGathered<R: Responder & ~Copyable>(
        _ head: inout RequestHead, _ answers: inout Answers, _ responder: inout R, _ id: SlotID
    ) {
        guard let headBytes = answers.connections[id].headBytes.take() else {
            preconditionFailure("Content is gathered for a head that is kept.")
        }
        let content = answers.connections[id].content.take()
        respond(&head, headBytes, content, &answers, &responder, id)
        answers.pool.give(headBytes)
        if let content { answers.pool.give(content) }
    }

    private static func respond<R: Responder & ~Copyable>(
        _ head: inout RequestHead, _ headBytes: borrowing Buffer, _ content: borrowing Buffer?,
        _ answers: inout Answers, _ responder: inout R, _ id: SlotID
    ) {
        guard case .complete = head.parse(headBytes.span) else {
            preconditionFailure("A head that was complete is complete again.")
        }
        switch content {
        case .some(let content): respond(to: head, content.span, &answers, &responder, id)
        case .none: respond(to: head, Span(), &answers, &responder, id)
        }
    }

    private static func respond<R: Responder & ~Copyable>(
        to head: borrowing RequestHead, _ content: Span<UInt8>, _ answers: inout Answers,
        _ responder: inout R, _ id: SlotID
    ) {
        let exchange = answers.open(id)
        responder.respond(to: head, content: content, exchange, &answers)
    }

    private static func refuseTooLarge<R: Responder & ~Copyable>(
        _ id: SlotID, _ answers: inout Answers, _ responder: inout R
    ) {
        answers.refuse(
            id, status: 413, "The content is larger than is taken here; send less.", &responder)
    }
}
