import CAres

// The only file that knows c-ares. Its callbacks record facts and never call back into the library.

/// One channel of c-ares: asks DNS servers, without waiting and without a thread of its own.
///
/// Servers, search domains and options are those of the configuration file when the channel is made.
/// Whoever owns it watches the sockets that `takeSocketChanges` names, tells it of their events by
/// `process`, calls `expire` after `delayMilliseconds`, and fetches what came of it by `takeAnswers`.
@safe
struct CAresChannel: ~Copyable {
    /// What a socket is to be watched for; neither: it is closed.
    struct SocketChange: Equatable {
        var descriptor: Int32
        var reads: Bool
        var writes: Bool
    }

    /// The end of a question.
    struct Answer {
        var question: UInt64
        var status: Status
        /// The DNS message; empty without one.
        var message: [UInt8]
    }

    /// How a question ended.
    enum Status: Equatable {
        case success
        /// There are no records of this type.
        case noRecords
        /// There is no such name.
        case noName
        /// No usable answer; the cause as a part of a sentence.
        case failed(String)
    }

    /// The first wait for an answer; it doubles with each of the tries, so all is over in 10.5 s.
    private static let firstTimeoutMilliseconds: Int32 = 1_500
    private static let tries: Int32 = 3

    /// What the callbacks record, at a fixed address.
    private struct Inbox {
        var changes: [SocketChange] = []
        var answers: [Answer] = []
    }

    /// What the library keeps of a question until its callback.
    @unsafe private struct Asked {
        let inbox: UnsafeMutablePointer<Inbox>
        let question: UInt64
    }

    private let channel: ares_channel
    private let inbox: UnsafeMutablePointer<Inbox>

    private init(_ channel: ares_channel, _ inbox: UnsafeMutablePointer<Inbox>) {
        // Sound: the caller gives both away.
        unsafe self.channel = channel
        // Sound: as above.
        unsafe self.inbox = inbox
    }

    /// A channel; nil when `servers` (`ADDRESS[:PORT]`, comma-separated) are none, or memory is short.
    ///
    /// `configurationPath` is of a file as resolv.conf(5) has it; it need not be there.
    static func open(servers: String? = nil, configurationPath: String) -> CAresChannel? {
        let inbox = UnsafeMutablePointer<Inbox>.allocate(capacity: 1)
        // Sound: freed below or by the deinit, after the library has let go of it.
        unsafe inbox.initialize(to: Inbox())
        // Sound: only compared with nil here.
        guard isLibraryReady, let channel = unsafe channel(inbox, configurationPath) else {
            // Sound: no channel knows the inbox.
            unsafe inbox.deinitialize(count: 1)
            // Sound: as above.
            unsafe inbox.deallocate()
            return nil
        }
        // Sound: the channel was just made, and this is its only owner.
        let opened = unsafe CAresChannel(channel, inbox)
        guard let servers else { return opened }
        // Sound: a terminated string, read during the call only.
        guard unsafe ares_set_servers_ports_csv(channel, servers) == ARES_SUCCESS else {
            return nil
        }
        return opened
    }

    private static func channel(
        _ inbox: UnsafeMutablePointer<Inbox>, _ configurationPath: String
    ) -> ares_channel? {
        // Sound: a C structure of numbers and nil pointers.
        var options = unsafe ares_options()
        // Sound: plain members.
        unsafe options.timeout = firstTimeoutMilliseconds
        // Sound: as above.
        unsafe options.tries = tries
        // Sound: the function lives for ever.
        unsafe options.sock_state_cb = socketChanged
        // Sound: the inbox lives as long as the channel.
        unsafe options.sock_state_cb_data = UnsafeMutableRawPointer(inbox)
        let mask =
            ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF
        var path = Array(configurationPath.utf8CString)
        // Sound: as inside.
        return unsafe path.withUnsafeMutableBufferPointer { path in
            // Sound: a terminated string, copied by the library during the call.
            unsafe options.resolvconf_path = path.baseAddress
            var channel: ares_channel?
            // Sound: both live during the call; the library copies the options.
            let status = unsafe ares_init_options(&channel, &options, mask)
            // Sound: only on success is there a channel.
            return status == ARES_SUCCESS ? unsafe channel : nil
        }
    }

    deinit {
        // Sound: the only owner ends; the callbacks that this calls still find the inbox.
        unsafe ares_destroy(channel)
        // Sound: the library is done with it.
        unsafe inbox.deinitialize(count: 1)
        // Sound: as above.
        unsafe inbox.deallocate()
    }

    // MARK: - Asking

    /// Asks for records of a name, with the search domains where it has few dots or no last dot.
    mutating func ask(_ question: UInt64, name: String, type: DNSRecordType) {
        let asked = UnsafeMutablePointer<Asked>.allocate(capacity: 1)
        // Sound: the callback, which comes exactly once, takes it out and frees it.
        unsafe asked.initialize(to: Asked(inbox: inbox, question: question))
        // Sound: the name is a terminated string that the library copies.
        unsafe ares_search(
            channel, name, Self.internet, Int32(type.rawValue), Self.answered, asked)
    }

    /// The questions that ended since the last call.
    mutating func takeAnswers() -> [Answer] {
        // Sound: the inbox lives as long as this value, and no library call is under way.
        let answers = unsafe inbox.pointee.answers
        // Sound: as above.
        unsafe inbox.pointee.answers = []
        return answers
    }

    // MARK: - Driving

    /// What is to be watched otherwise than before, in the order in which it came to be so.
    mutating func takeSocketChanges() -> [SocketChange] {
        // Sound: as in `takeAnswers`.
        let changes = unsafe inbox.pointee.changes
        // Sound: as above.
        unsafe inbox.pointee.changes = []
        return changes
    }

    /// Lets the library read from and write to a socket of its own.
    mutating func process(_ descriptor: Int32, reads: Bool, writes: Bool) {
        // Sound: numbers only; a socket that the library has closed meanwhile it does not know.
        unsafe ares_process_fd(
            channel, reads ? descriptor : Self.noSocket, writes ? descriptor : Self.noSocket)
    }

    /// Lets the library see to questions that were not answered in time.
    mutating func expire() {
        // Sound: numbers only.
        unsafe ares_process_fd(channel, Self.noSocket, Self.noSocket)
    }

    /// Milliseconds until `expire` has something to do; -1: nothing is asked.
    var delayMilliseconds: Int32 {
        var time = timeval()
        // Sound: the time lives during the call; of the result only whether it is nil is used.
        guard unsafe ares_timeout(channel, nil, &time) != nil else { return -1 }
        let milliseconds = time.tv_sec * 1_000 + (time.tv_usec + 999) / 1_000
        return Int32(clamping: max(0, milliseconds))
    }

    // MARK: - The library

    private static let internet: Int32 = 1
    private static let noSocket: Int32 = -1

    private static let isLibraryReady = ares_library_init(ARES_LIB_INIT_ALL) == 0

    private static let socketChanged: ares_sock_state_cb = { inbox, descriptor, reads, writes in
        // Sound: `open` gave this pointer, of this type, and it lives as long as the channel.
        guard let inbox = unsafe inbox?.assumingMemoryBound(to: Inbox.self) else { return }
        let change = SocketChange(
            descriptor: descriptor, reads: reads != 0, writes: writes != 0)
        // Sound: as above; nobody else touches the inbox during a library call.
        unsafe inbox.pointee.changes.append(change)
    }

    private static let answered: ares_callback = { asked, status, _, bytes, count in
        // Sound: `ask` gave this pointer, of this type, and the library returns it once.
        guard let asked = unsafe asked?.assumingMemoryBound(to: Asked.self) else { return }
        // Sound: as above.
        let question = unsafe asked.move()
        // Sound: as above.
        unsafe asked.deallocate()
        // Sound: the library's message and its length, copied before it goes.
        let message = unsafe Array(UnsafeBufferPointer(start: bytes, count: Int(max(0, count))))
        // Sound: the inbox lives as long as the channel, and no access to it is under way.
        unsafe question.inbox.pointee.answers.append(
            Answer(
                question: question.question, status: CAresChannel.status(status),
                message: message))
    }

    private static func status(_ code: Int32) -> Status {
        switch code {
        case 0: .success
        case ARES_ENODATA: .noRecords
        case ARES_ENOTFOUND: .noName
        case ARES_ESERVFAIL: .failed("the DNS server failed")
        case ARES_EREFUSED: .failed("the DNS server refused to answer")
        case ARES_ECONNREFUSED: .failed("no DNS server could be reached")
        case ARES_ETIMEOUT: .failed("no DNS server answered in time")
        case ARES_EBADNAME, ARES_EBADSTR: .failed("it is not a valid DNS name")
        case ARES_EDESTRUCTION, ARES_ECANCELLED: .failed("the DNS settings changed")
        default: .failed("the resolver says error \(code)")
        }
    }
}
