import CNGHTTP2
import HTTP
import Kernel

/// One session of libnghttp2, with the facts that its callbacks work on.
///
/// What Debian's 1.52 does by itself, found with the header file and the tests: frame sizes and
/// states, padding, HPACK, both sides' windows. It ends the connection for streams above the acknowledged limit, for
/// a WINDOW_UPDATE of 0 or DATA on a stream that is half closed, for a SETTINGS frame of more than 32
/// entries, for more than `max_outbound_ack` unsent acknowledgements, and for resets by the client
/// above a rate of its own, 1,000 and then 33 a second. It counts continuations too, but once for
/// every piece in which their headers arrive, so that its bound is only a second line behind ours.
///
/// It does not limit the list of fields, cheap frames, empty DATA, or the resets that it is made to
/// send, as by an overflowing window: those are `FieldBlock`'s and `AbuseBudget`'s. What heads and
/// content say (RFC 9113 §8) it could judge too, but all of that is judged by `FieldBlock` and
/// `SessionCore`, since the text of a head depends on it; it is told not to do it twice.
@safe struct Library: ~Copyable {
    /// How a head leaves.
    enum HeadKind: BitwiseCopyable {
        /// Others follow.
        case interim
        /// Nothing follows.
        case final
        /// Content follows, or the end of it.
        case withContent
        /// Trailers follow.
        case withTrailers
        case trailers
    }

    // Sound: made by the initializer, used by this value alone, freed in `deinit`.
    private let session: OpaquePointer
    // Sound: as above; freed after the session, which knows it.
    private let facts: FactsPointer
    // Sound: as above; freed after the facts, which know it.
    private let corePointer: UnsafeMutablePointer<SessionCore>
    // Sound: as above; freed after the session, all of whose memory is out of it.
    private let memory: MemoryPointer
    // Sound: points to the library's memory, which stays as it is until the next call of
    // `nghttp2_session_mem_send` (its documentation); read only before that.
    private var pending: UnsafePointer<UInt8>?
    private var pendingCount = 0
    /// The latest `produce` has written every frame of a server's but content that has to wait.
    private(set) var hasDrained = true
    /// Something was received or asked for since, of which frames may come.
    private var isTouched = true

    /// Nil for want of memory.
    init?(core: consuming SessionCore) {
        let role = core.role
        let limits = core.limits
        // Sound: two blocks, initialised before anything points to them.
        let corePointer = UnsafeMutablePointer<SessionCore>.allocate(capacity: 1)
        unsafe corePointer.initialize(to: core)
        let facts = FactsPointer.allocate(capacity: 1)
        unsafe facts.initialize(to: SessionFacts(core: corePointer))
        let memory = MemoryPointer.allocate(capacity: 1)
        unsafe memory.initialize(to: LibraryMemory())
        guard let session = unsafe Library.make(role, limits, facts, memory) else {
            // Sound: nobody else knows them.
            unsafe Library.free(facts, corePointer, memory)
            return nil
        }
        // Sound: this value owns all from here on.
        unsafe self.session = session
        unsafe self.facts = facts
        unsafe self.corePointer = corePointer
        unsafe self.memory = memory
        unsafe pending = nil
    }

    deinit {
        // Sound: all were made by the initializer, and end once.
        unsafe nghttp2_session_del(session)
        unsafe Library.free(facts, corePointer, memory)
    }

    private static func free(
        _ facts: FactsPointer, _ core: UnsafeMutablePointer<SessionCore>, _ memory: MemoryPointer
    ) {
        // Sound: the caller gives all of them up.
        unsafe facts.deinitialize(count: 1)
        unsafe facts.deallocate()
        unsafe core.deinitialize(count: 1)
        unsafe core.deallocate()
        unsafe memory.deinitialize(count: 1)
        unsafe memory.deallocate()
    }

    private static func make(
        _ role: Role, _ limits: HTTP2Limits, _ facts: FactsPointer, _ memory: MemoryPointer
    ) -> OpaquePointer? {
        var option: OpaquePointer?
        // Sound: options and callbacks are made here, copied by the session, and freed here.
        guard unsafe nghttp2_option_new(&option) == 0 else { return nil }
        defer { unsafe nghttp2_option_del(option) }
        guard let callbacks = unsafe makeCallbacks() else { return nil }
        defer { unsafe nghttp2_session_callbacks_del(callbacks) }
        // Sound: as above.
        unsafe nghttp2_option_set_no_auto_window_update(option, 1)
        unsafe nghttp2_option_set_no_closed_streams(option, 1)
        unsafe nghttp2_option_set_no_http_messaging(option, 1)
        unsafe nghttp2_option_set_max_reserved_remote_streams(option, 0)
        // A header of nine bytes may come in nine pieces, and one more lies behind the last.
        let continuations = 10 * (Int(limits.continuationsMax) + 1)
        unsafe nghttp2_option_set_max_continuations(option, continuations)
        unsafe nghttp2_option_set_max_outbound_ack(option, Int(limits.outboundQueueMax))
        unsafe nghttp2_option_set_max_send_header_block_length(option, headBytesMax)
        var session: OpaquePointer?
        // Sound: as above; facts and memory outlive the session, which copies the functions.
        var functions = unsafe LibraryMemory.functions(memory)
        let result =
            role == .server
            ? unsafe nghttp2_session_server_new3(
                &session, callbacks, facts, option, &functions)
            : unsafe nghttp2_session_client_new3(
                &session, callbacks, facts, option, &functions)
        return result == 0 ? unsafe session : nil
    }

    /// Bytes of the largest head that is sent, as the library counts them.
    private static var headBytesMax: Int { 256 << 10 }

    /// What is not the library's, in place.
    var core: SessionCore {
        // Sound: the block lives as long as this value; callbacks run only inside of this value's
        // own methods, which do not look at it meanwhile.
        unsafeAddress { unsafe UnsafePointer(corePointer) }
        unsafeMutableAddress { unsafe corePointer }
    }

    // MARK: - Bytes

    /// Whether all of the input was taken; anything else ends the connection.
    enum Received: BitwiseCopyable {
        case all
        case flooded
        case broken
    }

    mutating func receive(_ bytes: Span<UInt8>, _ pool: inout BufferPool) -> Received {
        isTouched = true
        let session = unsafe session
        // Sound: as above.
        let facts = unsafe facts
        // Sound: pool and input outlive the call; the callbacks reach the pool through the facts
        // alone, and nothing else does meanwhile.
        return unsafe withUnsafeMutablePointer(to: &pool) { pool in
            unsafe facts.pointee.openWindows(
                pool: pool, output: UnsafeMutableBufferPointer(start: nil, count: 0))
            defer { unsafe facts.pointee.closeWindows() }
            return unsafe bytes.withUnsafeBufferPointer { input in
                let taken = unsafe nghttp2_session_mem_recv(session, input.baseAddress, input.count)
                if taken == input.count { return .all }
                return taken == Int(NGHTTP2_ERR_FLOODED.rawValue) ? .flooded : .broken
            }
        }
    }

    /// Writes frames while there are some and there is room; false when the session has failed.
    mutating func produce(into output: inout OutputSpan<UInt8>, _ pool: inout BufferPool) -> Bool {
        let facts = unsafe facts
        var isGood = true
        // Sound: pool and output outlive the call, and are touched through the facts alone
        // meanwhile; what was written is counted at the end.
        unsafe withUnsafeMutablePointer(to: &pool) { pool in
            unsafe output.withUnsafeMutableBufferPointer { buffer, count in
                let free = unsafe UnsafeMutableBufferPointer(rebasing: buffer[count...])
                unsafe facts.pointee.openWindows(pool: pool, output: free)
                isGood = pump()
                count += unsafe facts.pointee.produced
                unsafe facts.pointee.closeWindows()
            }
        }
        return isGood
    }

    private mutating func pump() -> Bool {
        hasDrained = false
        while true {
            if pendingCount > 0 {
                // Sound: see `pending`.
                guard let bytes = unsafe pending else { return false }
                let put = unsafe facts.pointee.put(bytes, pendingCount)
                pendingCount -= put
                unsafe pending = unsafe bytes + put
                if pendingCount > 0 { return true }
            }
            var bytes: UnsafePointer<UInt8>?
            // Sound: the session is this value's; the bytes before were all put.
            let count = unsafe nghttp2_session_mem_send(session, &bytes)
            if count < 0 { return false }
            if count == 0 {
                hasDrained = unsafe !corePointer.pointee.isPaused
                isTouched = !hasDrained
                return true
            }
            unsafe pending = unsafe bytes
            pendingCount = count
        }
    }

    /// Whether there are frames that may leave.
    var wantsWrite: Bool {
        // Sound: the session is this value's, here and below.
        unsafe pendingCount > 0 || (isTouched && nghttp2_session_want_write(session) != 0)
    }

    var wantsRead: Bool { unsafe nghttp2_session_want_read(session) != 0 }

    /// Frames that wait, but those of content.
    var queueCount: Int { unsafe nghttp2_session_get_outbound_queue_size(session) }

    // MARK: - The connection

    mutating func submitSettings(_ entries: [(id: UInt32, value: UInt32)]) -> Bool {
        isTouched = true
        let list = entries.map {
            nghttp2_settings_entry(settings_id: Int32($0.id), value: $0.value)
        }
        // Sound: the list outlives the call, which copies it.
        return unsafe list.withUnsafeBufferPointer {
            unsafe nghttp2_submit_settings(session, 0, $0.baseAddress, $0.count) == 0
        }
    }

    func peerSetting(_ id: nghttp2_settings_id) -> UInt32 {
        unsafe nghttp2_session_get_remote_settings(session, id)
    }

    mutating func ping() {
        isTouched = true
        // Sound: the session is this value's, here and below.
        unsafe nghttp2_submit_ping(session, 0, nil)
    }

    /// Tells a client to open no more streams, while it may still do so.
    mutating func submitNotice() {
        isTouched = true
        unsafe nghttp2_submit_shutdown_notice(session)
    }

    /// Takes no more streams than those that were taken; the others go on.
    mutating func submitGoAway() {
        isTouched = true
        let last = unsafe nghttp2_session_get_last_proc_stream_id(session)
        unsafe nghttp2_submit_goaway(session, 0, last, NGHTTP2_NO_ERROR.rawValue, nil, 0)
    }

    /// Ends the connection once GOAWAY was sent.
    mutating func terminate(_ code: UInt32) {
        isTouched = true
        unsafe nghttp2_session_terminate_session(session, code)
    }

    var mayOpen: Bool { unsafe nghttp2_session_check_request_allowed(session) != 0 }

    // MARK: - Streams

    /// Frames a head that stands on the shelf; a request's number, else 0; negative when the library refuses.
    mutating func submit(_ number: Int32, _ head: HeadShelf.Head, _ kind: HeadKind) -> Int32 {
        // A client's frame may wait for a stream's turn, so that nobody knows when it has left.
        let isLent = core.role == .server
        let count = max(Int(head.fieldCount), 1)
        // Sound: the list lives as long as the call, which copies it; what it leads to stays until
        // `clear` on the shelf, where the frame that is made of it has left.
        return unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { list in
            unsafe corePointer.pointee.shelf.list(head, isLent: isLent, into: list)
            return unsafe submit(number, list.baseAddress, Int(head.fieldCount), kind)
        }
    }

    /// Frames an interim head or trailers, which are in a text; negative when the library refuses.
    mutating func submit(
        _ number: Int32, _ fields: OutgoingFields, of head: OutgoingHead,
        _ text: Span<UInt8>, _ kind: HeadKind
    ) -> Int32 {
        // Sound: names and values are in the text and in literals, which outlive the call; the
        // library copies them, and writes to none although its type would allow it.
        return unsafe withUnsafeTemporaryAllocation(
            of: nghttp2_nv.self, capacity: max(fields.countMax, 1)
        ) { list in
            unsafe text.withUnsafeBufferPointer { source in
                var fields = fields
                var count = 0
                while count < list.count, let field = fields.next(text, of: head) {
                    let value = unsafe Library.pair(field, source)
                    // Sound: as above.
                    unsafe list.initializeElement(at: count, to: value)
                    count += 1
                }
                return unsafe submit(number, list.baseAddress, count, kind)
            }
        }
    }

    private mutating func submit(
        _ number: Int32, _ list: UnsafePointer<nghttp2_nv>?, _ count: Int, _ kind: HeadKind
    ) -> Int32 {
        isTouched = true
        // Sound: as above.
        var provider = unsafe nghttp2_data_provider(
            source: nghttp2_data_source(), read_callback: provideData)
        let isRequest = number < 0
        // Sound: the library copies the list and the provider; see above.
        switch kind {
        case .interim, .withTrailers:
            return unsafe nghttp2_submit_headers(session, 0, number, nil, list, count, nil)
        case .final:
            return unsafe nghttp2_submit_headers(
                session, UInt8(NGHTTP2_FLAG_END_STREAM.rawValue), number, nil, list, count, nil)
        case .withContent:
            return isRequest
                // Sound: as above.
                ? unsafe nghttp2_submit_request(session, nil, list, count, &provider, nil)
                : unsafe nghttp2_submit_response(session, number, list, count, &provider)
        case .trailers: return unsafe nghttp2_submit_trailer(session, number, list, count)
        }
    }

    private static func pair(
        _ field: OutgoingFields.Field, _ text: UnsafeBufferPointer<UInt8>
    ) -> nghttp2_nv {
        // Sound: as above.
        let name = unsafe part(field.name, text)
        let value = unsafe part(field.value, text)
        let flag = field.isSensitive ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE
        // Sound: see `submit`.
        return unsafe nghttp2_nv(
            name: UnsafeMutablePointer(mutating: name.baseAddress),
            value: UnsafeMutablePointer(mutating: value.baseAddress),
            namelen: name.count, valuelen: value.count, flags: UInt8(flag.rawValue))
    }

    private static func part(
        _ part: OutgoingFields.Part, _ text: UnsafeBufferPointer<UInt8>
    ) -> UnsafeBufferPointer<UInt8> {
        switch part {
        case .literal(let literal):
            // Sound: the bytes of a literal live for ever; those given here have a pointer.
            return unsafe UnsafeBufferPointer(
                start: literal.utf8Start, count: literal.utf8CodeUnitCount)
        case .text(let range):
            // Sound: the slice is checked to be in the text.
            return unsafe UnsafeBufferPointer(rebasing: text[range.range])
        }
    }

    /// Asks for the stream's content again, of which there was none.
    mutating func resume(_ number: Int32) {
        isTouched = true
        unsafe nghttp2_session_resume_data(session, number)
    }

    mutating func reset(_ number: Int32, _ code: UInt32) {
        isTouched = true
        unsafe nghttp2_submit_rst_stream(session, 0, number, code)
    }

    /// Lets streams share the connection in turns: else the library serves one to its end first.
    mutating func shareFairly(_ number: Int32) {
        var priority = nghttp2_extpri(urgency: 3, inc: 1)
        // Sound: the priority is copied.
        unsafe nghttp2_session_change_extpri_stream_priority(session, number, &priority, 1)
    }

    // MARK: - Windows

    /// Says that content was read; `number` 0: for the connection alone.
    mutating func consume(_ number: Int32, _ count: Int) {
        isTouched = true
        if number > 0 {
            unsafe nghttp2_session_consume(session, number, count)
        } else {
            unsafe nghttp2_session_consume_connection(session, count)
        }
    }

    /// Makes a window larger; `number` 0: the connection's.
    mutating func setWindow(_ number: Int32, _ bytes: Int32) {
        isTouched = true
        unsafe nghttp2_session_set_local_window_size(session, 0, number, bytes)
    }
}
