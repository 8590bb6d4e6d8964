import HTTP
import Kernel

/// All that a session knows beside the library: streams, budgets, windows.
///
/// The library's callbacks end here. Nothing in it calls the library, and it is no less safe than
/// other Swift; see Library/Callbacks.swift.
struct SessionCore: ~Copyable {
    /// What happened to the connection and was not told yet.
    struct News: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        static let goAway = News(rawValue: 1)
        static let capacity = News(rawValue: 2)
        /// The peer's settings changed; they are to be read from the library.
        static let settings = News(rawValue: 4)
    }

    let role: Role
    let limits: HTTP2Limits
    /// The scheme of a client's requests.
    let isSecure: Bool
    /// The time of the latest call that gave one, in milliseconds.
    var now: UInt64
    var lastReceived: UInt64
    var scanner: FrameScanner
    var budget: AbuseBudget
    var flood: Flood?
    private var continuations: UInt32 = 0
    private var numbers = StreamNumbers()
    /// The peer broke a rule that the library does not know of: PROTOCOL_ERROR.
    private(set) var hasBrokenRules = false
    /// The connection ends because the peer broke a rule, whoever found it.
    var isBroken = false
    var streams = StreamTable()
    /// Heads that wait to be framed, and those whose frames wait to leave.
    var shelf = HeadShelf()
    var block = FieldBlock()
    var news = News()
    /// Bytes that nobody will read, for the connection's window.
    var dropped = 0
    /// Whether `produce` stopped for want of room while there was content.
    var isPaused = false

    // The peer.

    /// Streams that the server takes; 100 until it says (RFC 9113 §6.5.2).
    var peerStreamsMax: UInt32 = 100
    var acceptsExtendedConnect = false
    /// The server's settings have come.
    var hasPeerSettings = false
    /// The last stream that the peer will look at, once it has said GOAWAY.
    private(set) var goAwayLast: Int32?
    private(set) var isSettingsAcknowledged = false
    /// Whether a ping was given to the library and was not answered.
    var isPingDue = false

    // The connection's window.

    /// What the connection's shortest round trip allows.
    var path = PathWindow()
    var window: Int32
    var windowRead = 0
    var windowSince: UInt64 = 0

    init(role: Role, limits: HTTP2Limits, isSecure: Bool, now: UInt64) {
        self.role = role
        self.limits = limits
        self.isSecure = isSecure
        self.now = now
        lastReceived = now
        scanner = FrameScanner(hasPreface: role == .server)
        budget = AbuseBudget(limits, now: now)
        window = Int32(clamping: limits.connectionWindow)
    }

    // MARK: - Frames, before the library sees them

    /// Looks at the frames of the input; false when there are too many of a kind, or one that must not be.
    mutating func judge(_ bytes: Span<UInt8>) -> Bool {
        var at = 0
        let known = numbers.highest
        while let header = scanner.next(bytes, from: &at) {
            if header.type == 1, role == .server, !numbers.take(header.stream) {
                hasBrokenRules = true
                return false
            }
            if header.type == 0, isLate(header, known: known) {
                if budget.spendLate(bytes: header.length, now: now) { continue }
                flood = .lateData
                return false
            }
            guard let kind = judge(header, known: known) else { continue }
            flood = kind
            return false
        }
        return true
    }

    private mutating func judge(_ header: FrameScanner.Header, known: UInt32) -> Flood? {
        let kind: Flood
        if role == .client, header.type == 1 || header.type == 3 {
            continuations = 0
            // A server may end the streams of a client as it likes; they cost it something. What it says of streams that
            // are over does not, and a head must be decoded all the same.
            if streams.find(number: Int32(clamping: header.stream)) != nil { return nil }
            return budget.spendLateFrame(now: now) ? nil : .unknownFrame
        }
        switch header.type {
        case 0:
            if header.length > 0 {
                // Padding may be all of it, which is known when it has come: see `dataCame`.
                if !header.isPadded { budget.earnContent() }
                return nil
            }
            if header.endsStream { return nil }
            kind = .emptyData
        case 1, 5:
            continuations = 0
            if !isStray(header, known: known) { return nil }
            kind = .unknownFrame
        case 9:
            continuations &+= 1
            return continuations > limits.continuationsMax ? .continuation : nil
        case 3:
            return budget.countEarly(now: now) ? nil : .reset
        case 4:
            if header.isAcknowledgement { return nil }
            kind = .settings
        case 6:
            if header.isAcknowledgement && isPingDue { return nil }
            kind = .ping
        case 2, 16: kind = .priority
        case 8: kind = .windowUpdate
        default: kind = .unknownFrame
        }
        return budget.spend(kind, now: now) ? nil : kind
    }

    /// Whether a client's head belongs to a stream that is over: the library passes over it without a word.
    ///
    /// `known`: as for `isLate`. Trailers that come with their request are no stray ones: if it is refused or reset,
    /// that is counted.
    private mutating func isStray(_ header: FrameScanner.Header, known: UInt32) -> Bool {
        role == .server && header.type == 1 && header.stream <= known
            && streams.find(number: Int32(clamping: header.stream)) == nil
    }

    /// Whether content is for a stream that is over.
    ///
    /// `known`: the highest number before this input, which may itself begin streams; a server's
    /// streams are all its client's.
    private mutating func isLate(_ header: FrameScanner.Header, known: UInt32) -> Bool {
        if header.length == 0 || (role == .server && header.stream > known) { return false }
        return streams.find(number: Int32(clamping: header.stream)) == nil
    }

    /// A DATA frame was read whole; `content`: its bytes without padding.
    mutating func dataCame(isPadded: Bool, content: Int, endsStream: Bool) {
        if !isPadded { return }
        if content > 0 {
            budget.earnContent()
        } else if !endsStream, !budget.spend(.emptyData, now: now) {
            flood = flood ?? .emptyData
        }
    }

    // MARK: - Facts of the connection

    mutating func settingsAcknowledged() { isSettingsAcknowledged = true }

    mutating func pingAcknowledged() { isPingDue = false }

    /// Whether the peer takes no new streams.
    var hasGoneAway: Bool { goAwayLast != nil }

    mutating func goAwayReceived(last: Int32) {
        goAwayLast = min(goAwayLast ?? last, last)
        news.insert(.goAway)
    }

    // MARK: - Frames that were sent

    /// A frame of the library's, or of ours, has gone out.
    mutating func sent(type: UInt8, flags: UInt8, number: Int32, length: Int, code: UInt32) {
        switch type {
        case 0, 1:
            if type == 0 && length > 0 { budget.earnContent() }
            if flags & 0x1 != 0 { sentEnd(number) }
        case 3: sentReset(number, code)
        case 7: if code != HTTP2Code.noError { isBroken = true }
        default: break
        }
    }

    private mutating func sentEnd(_ number: Int32) {
        guard let slot = streams.find(number: number) else { return }
        streams[slot].flags.insert(.endSent)
        if !streams[slot].flags.contains(.isLeft) {
            // A server leaves a stream only now, so that its client's patience can be bounded.
            if role == .server { streams.tell(slot, .writable) }
        } else if !streams[slot].flags.contains(.inputEnded) {
            streams[slot].flags.insert(.resetDue)
            streams.markDirty(slot)
        }
    }

    /// Counts a reset that the peer has provoked: to a server it costs no less than one of its own.
    private mutating func sentReset(_ number: Int32, _ code: UInt32) {
        let slot = streams.find(number: number)
        let flags = slot.map { streams[$0].flags } ?? []
        if !flags.contains(.inputEnded) {
            budget.allowLate(
                window: slot.map { streams[$0].window } ?? Int32(clamping: limits.streamWindow))
        }
        if role == .client || flags.contains(.isOurReset) { return }
        // Before it knows the settings, a client may open too many streams in good faith.
        let isForgivable = code == HTTP2Code.refusedStream && !isSettingsAcknowledged
        let isFine =
            isForgivable ? budget.countEarlyRefusal(now: now) : budget.countEarly(now: now)
        if !isFine { flood = flood ?? .reset }
    }
}
