import CNGHTTP2
import HTTP
import Kernel

// Every function that the library calls back is in this file. They hand facts to `SessionCore` and
// bytes from it, and do not call the library, with one exception: where the core refuses a stream,
// `nghttp2_submit_rst_stream` is called from inside the callback, which is the library's documented
// way to say with which code (nghttp2.h, `nghttp2_on_header_callback`).

/// What a session's callbacks may touch: one block for each session, at a fixed address.
///
/// The pool and the output are there for the time of one library call only.
@safe struct SessionFacts: ~Copyable {
    // Sound: the session's own, which outlives this block.
    private let core: UnsafeMutablePointer<SessionCore>
    /// The buffers of the current call.
    private var pool: UnsafeMutablePointer<BufferPool>?
    /// Where frames go in the current call.
    private var output: UnsafeMutablePointer<UInt8>?
    private var outputCapacity = 0
    /// Bytes written to the output.
    private(set) var produced = 0

    init(core: UnsafeMutablePointer<SessionCore>) {
        // Sound: the caller keeps it alive.
        unsafe self.core = core
        // Sound: nothing is read through nil.
        unsafe pool = nil
        unsafe output = nil
    }

    /// What the output can still take.
    var room: Int { outputCapacity - produced }

    /// Sets what the current call may touch; all must stay valid until `closeWindows`.
    mutating func openWindows(
        pool: UnsafeMutablePointer<BufferPool>, output: UnsafeMutableBufferPointer<UInt8>
    ) {
        // Sound: the caller keeps both alive, and has exclusive access to them, until
        // `closeWindows`.
        unsafe self.pool = pool
        unsafe self.output = output.baseAddress
        outputCapacity = output.count
        produced = 0
    }

    /// Forgets what `openWindows` set.
    mutating func closeWindows() {
        // Sound: nothing is read through nil.
        unsafe pool = nil
        unsafe output = nil
        outputCapacity = 0
        produced = 0
    }

    /// Copies up to `count` bytes to the output and says how many.
    mutating func put(_ source: UnsafePointer<UInt8>, _ count: Int) -> Int {
        let count = min(count, room)
        // Sound: only compared with nil here.
        guard count > 0, let output = unsafe output else { return 0 }
        // Sound: `count` is within what is left of the output, and within the source by the
        // caller's promise; the library's memory is not ours.
        unsafe (output + produced).initialize(from: source, count: count)
        produced += count
        return count
    }

    /// Runs `body` with the core and the pool; nil outside of a call.
    mutating func withPool<R>(
        _ body: (inout SessionCore, inout BufferPool) -> R
    ) -> R? {
        // Sound: `openWindows` keeps the pool valid and exclusive; the core is another memory.
        guard let pool = unsafe pool else { return nil }
        return unsafe body(&core.pointee, &pool.pointee)
    }

    /// Runs `body` with the core.
    mutating func withCore<R>(_ body: (inout SessionCore) -> R) -> R {
        // Sound: the core outlives this block, and nothing else looks at it during a library call.
        unsafe body(&core.pointee)
    }

    /// Gives one field to the core; the code of a reset where it breaks a rule.
    @inline(__always)
    fileprivate mutating func takeField(
        _ number: Int32, _ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>
    ) -> UInt32? {
        // Sound: as `withPool`; name and value are readable for the time of the callback.
        guard let pool = unsafe pool else { return HTTP2Code.internalError }
        return unsafe core.pointee.field(number, name.span, value.span, &pool.pointee)
    }

    /// Writes a frame's header and its content; false when either does not fit or is not there.
    fileprivate mutating func putFrame(
        _ header: UnsafePointer<UInt8>, _ number: Int32, _ count: Int
    ) -> Bool {
        let headerBytes = FrameScanner.headerBytes
        // Sound: only compared with nil here.
        guard room >= headerBytes + count, let output = unsafe output, let pool = unsafe pool
        else { return false }
        // Sound: the library gives nine bytes; there is room.
        let begin = produced
        guard unsafe put(header, headerBytes) == headerBytes else { return false }
        // Sound: what is left of the output is ours and free.
        let free = unsafe UnsafeMutableBufferPointer(start: output + produced, count: room)
        var content = unsafe OutputSpan(buffer: free, initializedCount: 0)
        // Sound: as `withPool`.
        let isWritten = unsafe core.pointee.write(
            number, count: count, to: &content, &pool.pointee)
        // Sound: the same memory as above.
        let written = unsafe content.finalize(for: free)
        guard isWritten, written == count else {
            produced = begin
            return false
        }
        produced += written
        return true
    }
}

typealias FactsPointer = UnsafeMutablePointer<SessionFacts>

/// The facts block of the session that calls back.
private func facts(_ data: UnsafeMutableRawPointer?) -> FactsPointer? {
    // Sound: every session was made with its facts block, which outlives it; the session's methods
    // do not touch the block during a library call.
    unsafe data?.assumingMemoryBound(to: SessionFacts.self)
}

private func span(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> UnsafeBufferPointer<UInt8> {
    // Sound: the library gives so many readable bytes, for the time of the callback.
    unsafe UnsafeBufferPointer(start: bytes, count: bytes == nil ? 0 : count)
}

private var failed: Int32 { Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
private var streamFailed: Int32 { Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }

/// The callbacks of one session, which the library copies.
///
/// The caller frees them. Nil for want of memory.
func makeCallbacks() -> OpaquePointer? {
    var callbacks: OpaquePointer?
    // Sound: each function has the type that the library declares for it.
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, blockBegan)
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks, fieldCame)
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frameCame)
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, dataCame)
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, streamClosed)
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frameSent)
    // Sound: as above.
    unsafe nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, frameNotSent)
    unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks, writeData)
    return unsafe callbacks
}

// MARK: - Reading

private func blockBegan(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: the library gives a frame of the type that its header says.
    guard let facts = unsafe facts(data), let frame = unsafe frame else { return failed }
    let header = unsafe frame.pointee.hd
    if UInt32(header.type) != NGHTTP2_HEADERS.rawValue { return 0 }
    let number = header.stream_id
    let isRequest = unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST
    // Sound: as `facts`.
    let done: Void? = unsafe facts.pointee.withPool { core, pool in
        core.blockBegan(number, isRequest: isRequest, &pool)
    }
    return done == nil ? failed : 0
}

private func fieldCame(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ name: UnsafePointer<UInt8>?, _ nameCount: Int, _ value: UnsafePointer<UInt8>?,
    _ valueCount: Int, _ flags: UInt8, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `blockBegan`; name and value are readable for the time of the call.
    guard let facts = unsafe facts(data), let number = unsafe frame?.pointee.hd.stream_id else {
        return failed
    }
    // Sound: as above.
    let code = unsafe facts.pointee.takeField(
        number, span(name, nameCount), span(value, valueCount))
    guard let code else { return 0 }
    // Sound: the session that calls; the exception that the file's beginning names.
    let isReset = unsafe nghttp2_submit_rst_stream(session, 0, number, code) == 0
    return isReset ? streamFailed : failed
}

private func frameCame(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `blockBegan`.
    guard let facts = unsafe facts(data), let frame = unsafe frame else { return failed }
    let header = unsafe frame.pointee.hd
    let number = header.stream_id
    let isEnd = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    let isAcknowledgement = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
    let type = UInt32(header.type)
    let isGoAway = type == NGHTTP2_GOAWAY.rawValue
    let last = isGoAway ? unsafe frame.pointee.goaway.last_stream_id : 0
    let isPadded = header.flags & UInt8(NGHTTP2_FLAG_PADDED.rawValue) != 0
    let isPaddedData = isPadded && type == NGHTTP2_DATA.rawValue
    let padding = isPaddedData ? unsafe frame.pointee.data.padlen : 0
    // Sound: as `facts`; the members of the frame that are used are those of its type.
    let code = unsafe facts.pointee.withPool { core, pool -> UInt32? in
        switch type {
        case NGHTTP2_HEADERS.rawValue:
            return core.blockEnded(number, endsStream: isEnd, &pool)
        case NGHTTP2_DATA.rawValue:
            // The library counts the byte that says how much padding there is as padding.
            let content = Int(header.length) - Int(padding)
            core.dataCame(isPadded: isPadded, content: content, endsStream: isEnd)
            return isEnd ? core.contentEnded(number, &pool) : nil
        case NGHTTP2_SETTINGS.rawValue:
            if isAcknowledgement {
                core.settingsAcknowledged()
            } else {
                core.news.insert(.settings)
            }
        case NGHTTP2_PING.rawValue: if isAcknowledgement { core.pingAcknowledged() }
        case NGHTTP2_GOAWAY.rawValue: core.goAwayReceived(last: last)
        default: break
        }
        return nil
    }
    guard let code else { return failed }
    // Sound: as above.
    return unsafe reset(session, number, code)
}

/// Sends a reset where there is a code.
private func reset(_ session: OpaquePointer?, _ number: Int32, _ code: UInt32?) -> Int32 {
    guard let code else { return 0 }
    // Sound: the session that calls; the exception that the file's beginning names.
    return unsafe nghttp2_submit_rst_stream(session, 0, number, code) == 0 ? 0 : failed
}

private func dataCame(
    _ session: OpaquePointer?, _ flags: UInt8, _ number: Int32, _ bytes: UnsafePointer<UInt8>?,
    _ count: Int, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `fieldCame`.
    guard let facts = unsafe facts(data) else { return failed }
    let bytes = unsafe span(bytes, count)
    let code = unsafe facts.pointee.withPool { core, pool in
        unsafe core.data(number, bytes.span, &pool)
    }
    guard let code else { return failed }
    return unsafe reset(session, number, code)
}

private func streamClosed(
    _ session: OpaquePointer?, _ number: Int32, _ code: UInt32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `facts`.
    guard let facts = unsafe facts(data) else { return failed }
    let done: Void? = unsafe facts.pointee.withPool { core, pool in
        core.closed(number, code, &pool)
    }
    return done == nil ? failed : 0
}

// MARK: - Writing

private func frameSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `blockBegan`.
    guard let facts = unsafe facts(data), let frame = unsafe frame else { return failed }
    let header = unsafe frame.pointee.hd
    let code =
        switch UInt32(header.type) {
        case NGHTTP2_RST_STREAM.rawValue: unsafe frame.pointee.rst_stream.error_code
        case NGHTTP2_GOAWAY.rawValue: unsafe frame.pointee.goaway.error_code
        default: UInt32(0)
        }
    unsafe facts.pointee.withCore { core in
        core.sent(
            type: header.type, flags: header.flags, number: header.stream_id,
            length: Int(header.length), code: code)
    }
    return 0
}

private func frameNotSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ error: Int32,
    _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `blockBegan`.
    guard let facts = unsafe facts(data), let frame = unsafe frame else { return failed }
    let header = unsafe frame.pointee.hd
    let number = header.stream_id
    if UInt32(header.type) != NGHTTP2_HEADERS.rawValue { return 0 }
    // Sound: as above.
    if unsafe frame.pointee.headers.cat != NGHTTP2_HCAT_REQUEST { return 0 }
    let done: Void? = unsafe facts.pointee.withPool { core, pool in core.notSent(number, &pool) }
    return done == nil ? failed : 0
}

/// Says how much content the next DATA frame has; `writeData` writes it.
func provideData(
    _ session: OpaquePointer?, _ number: Int32, _ buffer: UnsafeMutablePointer<UInt8>?,
    _ length: Int, _ flags: UnsafeMutablePointer<UInt32>?,
    _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ data: UnsafeMutableRawPointer?
) -> Int {
    // Sound: as `facts`; the library gives a place for the flags.
    guard let facts = unsafe facts(data), let flags = unsafe flags else {
        return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    }
    let room = unsafe facts.pointee.room
    let provision = unsafe facts.pointee.withCore { core in
        core.provide(number, length: length, room: room)
    }
    switch provision {
    case .deferred: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    case .paused: return Int(NGHTTP2_ERR_PAUSE.rawValue)
    case .gone: return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
    case .bytes(let count, let isLast, let hasTrailers):
        var said: UInt32 = 0
        if count > 0 { said |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
        if isLast { said |= NGHTTP2_DATA_FLAG_EOF.rawValue }
        if isLast && hasTrailers { said |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue }
        // Sound: as above.
        unsafe flags.pointee |= said
        return count
    }
}

private func writeData(
    _ session: OpaquePointer?, _ frame: UnsafeMutablePointer<nghttp2_frame>?,
    _ header: UnsafePointer<UInt8>?, _ count: Int,
    _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: as `blockBegan`; the header has nine bytes.
    guard let facts = unsafe facts(data), let number = unsafe frame?.pointee.hd.stream_id,
        let header = unsafe header
    else { return failed }
    return unsafe facts.pointee.putFrame(header, number, count) ? 0 : failed
}
