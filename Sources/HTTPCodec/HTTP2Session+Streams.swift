import HTTP
import Kernel

// Streams from the caller's side: opening, tags, reading, closing.
extension HTTP2Session {
    // MARK: - Lives

    /// Opens a stream for a request; nil when `capacity` is 0.
    ///
    /// A client's only. Nothing leaves before `send` was given a whole head.
    public mutating func open(tag: UInt64) -> StreamID? {
        if capacity <= 0 { return nil }
        let window = Int32(clamping: library.core.limits.streamWindow)
        let slot = library.core.streams.insert(number: 0, window: window)
        library.core.streams[slot].tag = tag
        library.core.budget.earnStream()
        return library.core.streams.id(slot)
    }

    /// Sets what the stream's events carry, such as the raw id of a slot of the caller's.
    public mutating func setTag(_ stream: StreamID, _ tag: UInt64) {
        guard let slot = find(stream) else { return }
        library.core.streams[slot].tag = tag
    }

    /// The slot of a stream that the caller has not left.
    func find(_ stream: StreamID) -> Int? {
        guard let slot = library.core.streams.find(stream),
            !library.core.streams[slot].flags.contains(.isLeft)
        else { return nil }
        return slot
    }

    // MARK: - Reading

    /// Appends what the peer sent, as HTTP/1.1 text, and returns the window of what was read.
    ///
    /// Ask until it is not `.bytes`: `.readable` tells only of what comes after that.
    public mutating func read(
        _ stream: StreamID, into output: inout OutputSpan<UInt8>, _ pool: inout BufferPool
    ) -> HTTP2Read {
        guard let slot = find(stream) else { return .reset(HTTP2Code.streamClosed) }
        if library.core.streams[slot].flags.contains(.isCut) {
            return .reset(library.core.streams[slot].resetCode)
        }
        let before = output.count
        let content = library.core.streams[slot].read(
            into: &output, holdsEnd: library.core.role == .server)
        if content > 0 { credit(slot, content) }
        if library.core.streams[slot].input.isEmpty {
            pool.give(library.core.streams[slot].input.takeOut())
        }
        if output.count > before { return .bytes(output.count - before) }
        return library.core.streams[slot].isInputOver ? .end : .wouldBlock
    }

    /// The same into a buffer's free room.
    public mutating func read(
        _ stream: StreamID, into output: inout Buffer, _ pool: inout BufferPool
    ) -> HTTP2Read {
        output.withFree { read(stream, into: &$0, &pool) }
    }

    /// Hands over the buffer with a head, where nothing but the head has come; false, and nothing, where `read` has to
    /// be asked.
    ///
    /// `head` has no memory before; what it gets belongs to the pool.
    public mutating func takeHead(_ stream: StreamID, into head: inout Buffer) -> Bool {
        guard let slot = find(stream) else { return false }
        let headBytes = library.core.streams[slot].headBytes
        if headBytes == 0 || library.core.streams[slot].input.count != headBytes { return false }
        swap(&head, &library.core.streams[slot].input)
        library.core.streams[slot].headBytes = 0
        // Nothing comes that would be news.
        if case .none = library.core.streams[slot].content,
            library.core.streams[slot].flags.contains(.inputEnded)
        {
            library.core.streams[slot].news.remove(.readable)
        }
        return true
    }

    /// Returns the windows of content that was read, and makes them larger where that is earned.
    private mutating func credit(_ slot: Int, _ count: Int) {
        let number = library.core.streams[slot].number
        let growth = library.core.countRead(slot, count)
        // A stream whose end was said needs no window.
        let isOpen = library.core.streams[slot].flags.isDisjoint(with: [.inputEnded, .isClosed])
        library.consume(isOpen ? number : 0, count)
        if let window = growth.stream, isOpen { library.setWindow(number, window) }
        if let window = growth.connection { library.setWindow(0, window) }
    }

    // MARK: - Closing

    /// Leaves a stream; its id finds nothing from now on.
    ///
    /// Its slot, which counts against the limit of streams, is free when the library is done with
    /// it: after END_STREAM both ways, or a reset.
    public mutating func close(
        _ stream: StreamID, _ how: StreamClose, _ pool: inout BufferPool
    ) {
        guard let slot = find(stream) else { return }
        dropInput(slot, &pool)
        defer { creditDropped() }
        let flags = library.core.streams[slot].flags
        let number = library.core.streams[slot].number
        library.core.streams[slot].news = []
        if flags.contains(.isClosed) || hasEnded {
            library.core.streams[slot].giveBack(&pool)
            return library.core.streams.remove(slot)
        }
        library.core.streams[slot].flags.insert(.isLeft)
        if flags.contains(.isCut) { return abandonCut(slot, &pool) }
        if how == .finished, finish(slot) { return }
        library.core.streams[slot].giveBack(&pool)
        if number == 0 { return library.core.streams.remove(slot) }
        let code = HTTP2Session.code(how)
        reset(slot, code)
    }

    /// Leaves a stream for which a reset is on its way already.
    private mutating func abandonCut(_ slot: Int, _ pool: inout BufferPool) {
        library.core.streams[slot].giveBack(&pool)
        if library.core.streams[slot].number == 0 { library.core.streams.remove(slot) }
    }

    private static func code(_ how: StreamClose) -> UInt32 {
        switch how {
        case .cancel: HTTP2Code.cancel
        case .finished, .error: HTTP2Code.internalError
        case .refused: HTTP2Code.refusedStream
        }
    }

    /// Lets the output go to its end; false when it has none.
    private mutating func finish(_ slot: Int) -> Bool {
        if library.core.streams[slot].flags.contains(.isRaw) {
            library.core.streams[slot].flags.insert(.outputEnded)
        }
        let flags = library.core.streams[slot].flags
        if !flags.contains(.outputEnded) {
            // An answer that came whole while the request was still being sent: the rest of the
            // request is of no use.
            if library.core.role == .client && flags.contains(.inputEnded) {
                reset(slot, HTTP2Code.cancel)
                return true
            }
            return false
        }
        if flags.contains(.endSent) {
            if !flags.contains(.inputEnded) { reset(slot, unreadCode) }
        } else {
            library.core.streams.markDirty(slot)
        }
        return true
    }

    /// How a peer is told that the rest of what it sends will not be read (RFC 9113 §8.1).
    var unreadCode: UInt32 {
        library.core.role == .server ? HTTP2Code.noError : HTTP2Code.cancel
    }

    /// Sends RST_STREAM because this side wants it, once.
    mutating func reset(_ slot: Int, _ code: UInt32) {
        let flags = library.core.streams[slot].flags
        if library.core.streams[slot].number == 0 || flags.contains(.isClosed) { return }
        if flags.contains(.isOurReset) { return }
        library.core.streams[slot].flags.insert(.isOurReset)
        library.reset(library.core.streams[slot].number, code)
    }

    private mutating func dropInput(_ slot: Int, _ pool: inout BufferPool) {
        library.core.dropped += library.core.streams[slot].contentBytes
        library.core.streams[slot].giveInputBack(&pool)
    }
}
