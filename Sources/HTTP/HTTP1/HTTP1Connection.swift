/// Which end of a connection this is.
public enum Role: Sendable, BitwiseCopyable {
    case server
    case client
}

/// One HTTP/1.x connection as events: bytes in, heads and content out; no I/O.
///
/// A message is `.head`, any number of `.content` and `.trailer`, then `.end`. The caller keeps its
/// unread input and gives it again, with more, from `from` on after `.needsMore`. Pipelined
/// requests wait in that input: a server calls `receive` again when it has answered.
public struct HTTP1Connection: ~Copyable, Sendable {
    private enum State: Equatable, BitwiseCopyable {
        /// Before a head.
        case idle
        case content
        case closed
        case broken(Malformed)
    }

    /// Informational answers that may precede a final one.
    public static var informationalMax: Int { 64 }

    /// The last request: parsed by a server, built by a client.
    public var request: RequestHead
    /// The last answer: parsed by a client, built by a server.
    public var response: ResponseHead
    /// Which end this is.
    public let role: Role
    private var state = State.idle
    private var reader = ContentReader(.none)
    /// Where the parser of an incomplete head left off, counted from the unread input's start.
    private var resumeAt = 0
    /// The method whose answer is awaited; a client's only.
    private var awaited: Method?
    private var informational = 0
    private var keepsAlive = true

    /// Makes a connection at its start.
    public init(
        role: Role, requestLimits: HeadLimits = .request, responseLimits: HeadLimits = .response
    ) {
        self.role = role
        request = RequestHead(limits: requestLimits)
        response = ResponseHead(limits: responseLimits)
    }

    /// Tells a client connection that a request was sent; its answer may now come.
    public mutating func expectAnswer(to method: Method) {
        precondition(role == .client && awaited == nil, "one request at a time, and by clients")
        awaited = method
        informational = 0
    }

    /// Whether the head or content of a message is being read.
    public var isInMessage: Bool { state == .content || resumeAt > 0 || awaited != nil }

    /// Whether the connection may be used for another exchange.
    public var isReusable: Bool { state == .idle && keepsAlive && awaited == nil }

    /// Whether the content of the current message has ended, or none is being read.
    public var isContentFinished: Bool { state != .content }

    // MARK: - Input

    /// Reads the next event from offset `from` of `input` and advances `from`.
    ///
    /// `.end` is given once per message. After `.malformed` every call gives it again.
    public mutating func receive(_ input: Span<UInt8>, from: inout Int) -> Event {
        switch state {
        case .broken(let malformed): return .malformed(malformed)
        case .closed: return from == input.count ? .needsMore : fail(Malformed(.answerUnasked))
        case .content: return receiveContent(input, &from)
        case .idle: break
        }
        if from == input.count { return .needsMore }
        let unread = input.extracting(from...)
        let step: HeadStep
        switch role {
        case .server: step = request.parse(unread, resumeAt: resumeAt)
        case .client:
            guard let awaited else { return fail(Malformed(.answerUnasked)) }
            step = response.parse(unread, resumeAt: resumeAt, requestMethod: awaited)
        }
        switch step {
        case .incomplete(let scanned):
            resumeAt = scanned
            return .needsMore
        case .malformed(let malformed): return fail(malformed)
        case .complete(let consumed):
            resumeAt = 0
            from += consumed
            return beginMessage()
        }
    }

    /// Takes the end of input: `.end` when it ends a message, `.malformed` when it cuts one,
    /// `.needsMore` between messages.
    public mutating func inputEnded() -> Event {
        keepsAlive = false
        switch state {
        case .broken(let malformed): return .malformed(malformed)
        case .closed: return .needsMore
        case .idle:
            if isInMessage { return fail(Malformed(.contentTruncated)) }
            state = .closed
            return .needsMore
        case .content:
            if !reader.inputEnded() { return fail(Malformed(.contentTruncated)) }
            return endMessage()
        }
    }

    private mutating func beginMessage() -> Event {
        if role == .server {
            keepsAlive = request.keepsAlive
            reader = ContentReader(request.framing)
            state = .content
            return .head
        }
        if response.status == 101 { return fail(Malformed(.upgradeUnasked)) }
        if response.status < 200 {
            informational += 1
            if informational > Self.informationalMax {
                return fail(Malformed(.informationalTooMany))
            }
            return .head
        }
        keepsAlive = response.keepsAlive
        reader = ContentReader(response.framing)
        state = .content
        return .head
    }

    private mutating func receiveContent(_ input: Span<UInt8>, _ from: inout Int) -> Event {
        switch reader.next(input, from: &from) {
        case .content(let range): return .content(range)
        case .trailer(let range): return .trailer(range)
        case .incomplete: return .needsMore
        case .malformed(let malformed): return fail(malformed)
        case .end: return endMessage()
        }
    }

    private mutating func endMessage() -> Event {
        awaited = nil
        state = keepsAlive ? .idle : .closed
        return .end
    }

    private mutating func fail(_ malformed: Malformed) -> Event {
        state = .broken(malformed)
        keepsAlive = false
        return .malformed(malformed)
    }
}
