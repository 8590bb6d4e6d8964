import HTTP
import HTTPCodec
import Kernel
import Protocols

/// Calls: streams that are opened, gRPC's frames out of them and into them, the end.
extension PickerServer {
    /// Statuses of gRPC that calls end with.
    enum CallStatus: UInt8 {
        case ok = 0
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case resourceExhausted = 8
        case unimplemented = 12
        case unavailable = 14
    }

    // MARK: - Reading

    /// A stream was opened: a call begins.
    mutating func open(_ connection: SlotID, _ stream: StreamID) {
        guard let id = calls.insert(Call(connection: connection, stream: stream, began: now)) else {
            connections[connection].session.close(stream, .refused, &buffers)
            noteOutput(connection)
            return
        }
        let token = Token(kind: TokenKind.call, id)
        calls[id].request.asker.exchange = token.raw
        connections[connection].session.setTag(stream, token.raw)
        read(id)
    }

    /// Reads what a call's stream has, unless the gateway takes nothing of what it is told.
    mutating func read(_ id: SlotID) {
        while calls.contains(id) {
            let connection = calls[id].connection
            let stream = calls[id].stream
            if connections[connection].session.isCongested(stream) { return }
            text.removeAll()
            let result = connections[connection].session.read(stream, into: &text, &buffers)
            noteOutput(connection)
            switch result {
            case .bytes: takeText(id)
            case .wouldBlock: return
            case .end: return gatewayEnded(id)
            case .reset: return leave(id, .cancel)
            }
        }
    }

    private mutating func takeText(_ id: SlotID) {
        var bytes = Buffer()
        swap(&bytes, &text)
        take(id, &bytes)
        swap(&bytes, &text)
    }

    private mutating func take(_ id: SlotID, _ bytes: inout Buffer) {
        if calls[id].stage == .over { return }
        var from = 0
        if !calls[id].hasHead {
            let count = bytes.count
            guard case .complete(let consumed) = head.parse(bytes.padded(), count: count) else {
                return leave(id, .error)
            }
            calls[id].hasHead = true
            calls[id].reader = ContentReader(head.framing)
            calls[id].method = method()
            if calls[id].method == .process { requestCalls += 1 }
            from = consumed
            if calls[id].method == .unknown { return end(id, .unimplemented) }
        }
        var reader = calls[id].reader
        reading: while true {
            switch reader.next(bytes.span, from: &from) {
            case .content(let range):
                if !buffers.append(bytes.span.extracting(range), to: &calls[id].frames) {
                    return end(id, .resourceExhausted)
                }
            case .trailer: continue
            case .incomplete, .end: break reading
            case .malformed: return leave(id, .error)
            }
        }
        calls[id].reader = reader
        takeFrames(id)
    }

    /// Which method the head in `head` calls.
    private func method() -> Call.Method {
        let path = head.span(head.path)
        if ByteScan.equal(
            path, ByteScan.bytes("/envoy.service.ext_proc.v3.ExternalProcessor/Process"))
        {
            return .process
        }
        if ByteScan.equal(path, ByteScan.bytes("/grpc.health.v1.Health/Check")) {
            return .healthCheck
        }
        return ByteScan.equal(path, ByteScan.bytes("/grpc.health.v1.Health/Watch"))
            ? .healthWatch : .unknown
    }

    /// Takes the messages that are whole.
    private mutating func takeFrames(_ id: SlotID) {
        var frames = Buffer()
        swap(&frames, &calls[id].frames)
        while calls.contains(id), calls[id].stage != .over {
            switch GRPCFrame.read(frames.span, messageBytesMax: Self.messageBytesMax) {
            case .message(let range):
                hear(id, frames.span, range)
                frames.consume(range.upperBound)
                continue
            case .incomplete: break
            case .refused: end(id, .resourceExhausted)
            }
            break
        }
        if calls.contains(id), calls[id].stage != .over, !frames.isEmpty {
            swap(&frames, &calls[id].frames)
        }
        buffers.reclaim(&frames)
    }

    private mutating func hear(_ id: SlotID, _ bytes: Span<UInt8>, _ range: Range<Int>) {
        calls[id].isSilent = false
        switch calls[id].method {
        case .process: process(id, bytes, range)
        case .healthCheck, .healthWatch: answerHealth(id, bytes, range)
        case .unknown: break
        }
    }

    // MARK: - Saying

    /// Says one message, which `write` appends with gRPC's frame in front; `content` is the end of it.
    mutating func say(
        _ id: SlotID, then content: Span<UInt8> = Span(),
        _ write: (inout OutputSpan<UInt8>) -> Bool
    ) {
        guard calls.contains(id), calls[id].stage != .over else { return }
        message.removeAll()
        if !calls[id].isAnswered {
            _ = message.append(ByteScan.bytes(Self.answerHead))
            calls[id].isAnswered = true
        }
        let line = message.count
        _ = message.append(ByteScan.bytes("00000000\r\n"))
        let start = message.count
        let fits = message.withFree { write(&$0) }
        precondition(fits, "A message of our own fits.")
        message.overwrite(hex: UInt32(message.count - start + content.count), at: line)
        if !content.isEmpty {
            send(id, then: content)
            message.removeAll()
        }
        _ = message.append(ByteScan.bytes("\r\n"))
        send(id)
    }

    private static var answerHead: StaticString {
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"
    }

    /// Gives `message`, and what follows it, to the call's stream.
    ///
    /// A stream that there is no memory for ends by an event.
    private mutating func send(_ id: SlotID, then content: Span<UInt8> = Span()) {
        let connection = calls[id].connection
        let stream = calls[id].stream
        var bytes = Buffer()
        swap(&bytes, &message)
        _ = connections[connection].session.send(stream, bytes.span, then: content, &buffers)
        swap(&bytes, &message)
        noteOutput(connection)
    }

    // MARK: - Ending

    /// Ends a call from our side; what the gateway still says is dropped until it ends its own.
    mutating func end(_ id: SlotID, _ status: CallStatus) {
        guard calls.contains(id), calls[id].stage != .over else { return }
        giveBack(id, .cancelled)
        message.removeAll()
        if !calls[id].isAnswered {
            _ = message.append(ByteScan.bytes(Self.answerHead))
            calls[id].isAnswered = true
        }
        message.withFree { output in
            _ =
                ByteScan.append("0\r\ngrpc-status: ", to: &output)
                && HeadWriter.append(decimal: UInt64(status.rawValue), into: &output)
                && ByteScan.append("\r\n\r\n", to: &output)
        }
        send(id)
        calls[id].stage = .over
        calls[id].overSince = now
        buffers.reclaim(&calls[id].held)
        buffers.reclaim(&calls[id].frames)
    }

    /// The gateway has said all that it will.
    private mutating func gatewayEnded(_ id: SlotID) {
        // Who watches asks once and hears from us until it goes.
        if calls[id].toldHealth != nil { return }
        if calls[id].method == .process { finishByStatus(id) }
        end(id, .ok)
        leave(id, .finished)
    }

    /// Forgets a call.
    mutating func leave(_ id: SlotID, _ how: StreamClose) {
        guard calls.contains(id) else { return }
        giveBack(id, .cancelled)
        if calls[id].method == .process { requestCalls -= 1 }
        buffers.reclaim(&calls[id].held)
        buffers.reclaim(&calls[id].frames)
        let connection = calls[id].connection
        let stream = calls[id].stream
        calls.destroy(id)
        connections[connection].session.close(stream, how, &buffers)
        noteOutput(connection)
    }

    // MARK: - Health

    /// Answers whether a service can be asked (`grpc.health.v1`).
    private mutating func answerHealth(
        _ id: SlotID, _ bytes: Span<UInt8>, _ range: Range<Int>
    ) {
        guard let name = HealthProtocol.service(bytes, range) else {
            return end(id, .invalidArgument)
        }
        let service = bytes.extracting(name)
        let names = Self.healthServices
        for at in names.indices where ByteScan.equal(service, ByteScan.bytes(names[at])) {
            calls[id].isKnownService = true
        }
        calls[id].isLiveness = ByteScan.equal(service, ByteScan.bytes("liveness"))
        if calls[id].method == .healthWatch { return tellWatcher(id) }
        if !calls[id].isKnownService { return end(id, .notFound) }
        let health = health(id)
        say(id) { HealthProtocol.append(health, into: &$0) }
        end(id, .ok)
    }

    private static var healthServices: InlineArray<5, StaticString> {
        [
            "", "liveness", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor",
            "inference-extension",
        ]
    }

    private func health(_ id: SlotID) -> HealthProtocol.Status {
        if !calls[id].isKnownService { return .unknownService }
        return isServing || calls[id].isLiveness ? .serving : .notServing
    }

    /// Tells all who watch what has changed.
    mutating func tellWatchers() {
        for slot in 0..<calls.highWater
        where calls.isOccupied(slot) && calls[slot].method == .healthWatch {
            if calls[slot].toldHealth != nil { tellWatcher(calls.id(of: slot)) }
        }
    }

    private mutating func tellWatcher(_ id: SlotID) {
        let health = health(id)
        if calls[id].toldHealth == health { return }
        calls[id].toldHealth = health
        say(id) { HealthProtocol.append(health, into: &$0) }
    }
}
