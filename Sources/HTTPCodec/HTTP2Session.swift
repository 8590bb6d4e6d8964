import CNGHTTP2
import HTTP
import Kernel

/// One HTTP/2 connection, either side, whose streams are virtual HTTP/1.1 connections of one request.
///
/// Bytes of the connection go in by `receive` and come out of `produce`; each stream is read and
/// written as HTTP/1.1 text by `read` and `send`; what happened is told by `nextEvent`. No I/O, no
/// clock (times are milliseconds of one monotonic clock) and nothing called back. It belongs to one
/// thread, which passes its `BufferPool` to every call; `release` gives the buffers back.
///
/// A server reads `METHOD /path HTTP/1.1`, `host`, the field lines in small letters, and content
/// framed by `content-length`, by `transfer-encoding: chunked`, or not at all; it sends answers in
/// HTTP/1.1. A client does the same the other way round. A WebSocket is a `GET` with `upgrade` on
/// both sides and an extended CONNECT in between (RFC 8441).
///
/// Trailers are carried by chunked messages only, since text with a length has no place for them:
/// what `trailer` announces makes a message chunked, and so does gRPC; others are dropped.
public struct HTTP2Session: ~Copyable {
    var library: Library
    /// The library is of no more use, or the connection has gone.
    private var hasFailed: Bool
    var hasEnded: Bool { hasFailed }
    private var hasTerminated = false
    private var hasSaidNotice = false
    private var hasSaidGoAway = false
    /// The first frame, which says how many streams a client may open, has left.
    private var hasAnnounced = false

    /// A session with its preface and SETTINGS ready to leave; nil for want of memory.
    ///
    /// `isSecure` is the scheme of a client's requests; a server takes both schemes, since TLS may
    /// have ended before it.
    public init?(role: Role, limits: HTTP2Limits = HTTP2Limits(), isSecure: Bool, now: UInt64) {
        let core = SessionCore(role: role, limits: limits, isSecure: isSecure, now: now)
        guard var library = Library(core: core) else { return nil }
        let streamWindow = min(limits.streamWindow, limits.windowMax)
        var settings: [(id: UInt32, value: UInt32)] = [
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue, streamWindow),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue, limits.headerListBytesMax),
            (NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES.rawValue, 1),
        ]
        switch role {
        case .server:
            settings.append(
                (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue, Self.streamsOfLibrary))
            settings.append((NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL.rawValue, 1))
        case .client:
            settings.append((NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue, 0))
            settings.append((NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue, 0))
        }
        // Without memory for it the peer would be told nothing; the connection then fails early.
        hasFailed = !library.submitSettings(settings)
        library.setWindow(0, library.core.window)
        self.library = library
    }

    /// What the library is told instead of a server's limit of streams.
    ///
    /// It would end the whole connection for one stream too many; the limit is kept by refusing that stream alone
    /// (RFC 9113 §5.1.2), and `announce` writes the real one into the frame.
    private static var streamsOfLibrary: UInt32 { .max }

    /// Writes a server's limit of streams into its first frame, which is the SETTINGS that stand at `start`.
    private mutating func announce(_ output: inout OutputSpan<UInt8>, at start: Int) {
        if hasAnnounced || library.core.role == .client || output.count == start { return }
        hasAnnounced = true
        var frame = output.mutableSpan
        let length = Int(frame[start + 1]) << 8 | Int(frame[start + 2])
        var at = start + FrameScanner.headerBytes
        while at + 6 <= start + FrameScanner.headerBytes + length {
            if frame[at] == 0, frame[at + 1] == 3 {
                let limit = library.core.limits.concurrentStreamsMax
                for byte in 0..<4 {
                    frame[at + 2 + byte] = UInt8(
                        truncatingIfNeeded: limit >> UInt32(24 - 8 * byte))
                }
            }
            at += 6
        }
    }

    /// Gives every buffer back; to be called before the session is dropped.
    public mutating func release(_ pool: inout BufferPool) {
        library.core.release(&pool)
    }

    // MARK: - Bytes of the connection

    /// Takes all of the bytes.
    ///
    /// False: nothing of the peer counts any more; let `produce` write what there is (GOAWAY is in
    /// it) and close. Streams that are open then are cut by `connectionEnded`.
    public mutating func receive(
        _ bytes: Span<UInt8>, _ pool: inout BufferPool, now: UInt64
    ) -> Bool {
        if hasFailed || hasTerminated { return false }
        library.core.now = now
        library.core.lastReceived = now
        if bytes.isEmpty { return true }
        if !library.core.judge(bytes) {
            terminate()
            return false
        }
        switch library.receive(bytes, &pool) {
        case .all: break
        case .flooded:
            library.core.flood = library.core.flood ?? .library
            hasFailed = true
        case .broken:
            library.core.isBroken = true
            hasFailed = true
        }
        if hasFailed { return false }
        settle(&pool)
        return !hasTerminated && library.wantsRead
    }

    /// What is to be done after the callbacks, which may not do it.
    private mutating func settle(_ pool: inout BufferPool) {
        if !library.core.scanner.isReceivingBlock { library.core.block.end(&pool) }
        creditDropped()
        if library.core.news.contains(.settings) { takeSettings() }
        // An answer's head for each stream, and as much again for its end, are no flood.
        let usual = 2 * library.core.streams.count
        if library.queueCount > Int(library.core.limits.outboundQueueMax) + usual {
            library.core.flood = library.core.flood ?? .outboundQueue
        }
        if library.core.flood != nil { terminate() }
    }

    private mutating func takeSettings() {
        library.core.news.remove(.settings)
        if library.core.role == .server { return }
        library.core.hasPeerSettings = true
        library.core.peerStreamsMax = library.peerSetting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        library.core.acceptsExtendedConnect =
            library.peerSetting(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
        library.core.news.insert(.capacity)
    }

    private mutating func terminate() {
        if hasTerminated { return }
        hasTerminated = true
        library.terminate(
            library.core.hasBrokenRules ? HTTP2Code.protocolError : HTTP2Code.enhanceYourCalm)
    }

    /// Returns the windows of bytes that nobody will read.
    mutating func creditDropped() {
        let count = library.core.dropped
        if count == 0 { return }
        library.core.dropped = 0
        library.consume(0, count)
    }

    /// Appends frames for the connection while there are some and there is room.
    ///
    /// The room should be `HTTP2Limits.produceBytesMin` or more. True: there is more to write.
    public mutating func produce(
        into output: inout OutputSpan<UInt8>, _ pool: inout BufferPool, now: UInt64
    ) -> Bool {
        if hasFailed { return false }
        library.core.now = now
        let start = output.count
        defer { announce(&output, at: start) }
        while output.freeCapacity > 0 {
            library.core.isPaused = false
            frameDirty(&pool)
            if !library.produce(into: &output, &pool) {
                hasFailed = true
                return false
            }
            if shelfIsFree { clearShelf(&pool) }
            creditDropped()
            if library.core.flood != nil && !hasTerminated {
                terminate()
            } else if !library.core.streams.hasDirty || library.core.isPaused {
                break
            }
        }
        return wantsOutput
    }

    /// Whether no frame and no stream needs a head that stands on the shelf.
    ///
    /// Content may wait for long: its frames are none of the queue's, and heads leave before it.
    private var shelfIsFree: Bool {
        !library.core.streams.hasDirty && (library.core.role == .client || library.queueCount == 0)
    }

    private mutating func clearShelf(_ pool: inout BufferPool) {
        if !library.core.shelf.isEmpty { library.core.shelf.clear(&pool) }
    }

    /// The same into a buffer's free room.
    public mutating func produce(
        into output: inout Buffer, _ pool: inout BufferPool, now: UInt64
    ) -> Bool {
        output.withFree { produce(into: &$0, &pool, now: now) }
    }

    /// Whether `produce` would write something.
    public var wantsOutput: Bool {
        !hasFailed && (library.core.streams.hasDirty || library.wantsWrite)
    }

    /// Whether the connection can be closed: nothing more is read or written on it.
    public var isOver: Bool {
        hasFailed || !(library.wantsRead || library.wantsWrite || library.core.streams.hasDirty)
    }

    // MARK: - The connection

    /// Streams whose slots are taken, those included that the caller has left and are not done.
    public var openStreams: Int { library.core.streams.count }

    /// What the peer did too much of, if the connection ends for that.
    public var flood: Flood? { library.core.flood }

    /// Whether the connection ends because the peer broke the protocol; a flood is not that.
    public var hasBrokenProtocol: Bool { library.core.isBroken && flood == nil }

    /// When the latest bytes came, in milliseconds.
    public var lastReceived: UInt64 { library.core.lastReceived }

    /// Whether a head or trailers have begun to come and are incomplete: a deadline must hold.
    public var isReceivingHead: Bool { library.core.scanner.isReceivingBlock }

    /// Heads and trailers that have begun to come: the number of the one that may be incomplete.
    public var headsBegun: UInt32 { library.core.scanner.blocks }

    /// Asks the peer to open no more streams; those that it opens before it hears of it are taken.
    ///
    /// `goAway` follows after a round trip (RFC 9113 §6.8), such as that of a `ping`.
    public mutating func shutDown() {
        if hasSaidNotice || hasSaidGoAway { return }
        hasSaidNotice = true
        switch library.core.role {
        case .server: library.submitNotice()
        case .client: goAway()
        }
    }

    /// Takes no new streams from now on; those that were taken go on to their end.
    public mutating func goAway() {
        if hasSaidGoAway { return }
        hasSaidGoAway = true
        library.submitGoAway()
    }

    /// Asks the peer for a sign of life; its answer counts as any bytes do.
    ///
    /// One at a time: before the answer, another one is not asked for.
    public mutating func ping(now: UInt64) {
        library.core.now = now
        if library.core.isPingDue { return }
        library.core.isPingDue = true
        library.ping()
    }

    /// Whether a window would grow if the connection's round trip were known; ask after reads.
    public var wantsRoundTrip: Bool { library.core.path.isWanted }

    /// Takes the shortest round trip of late, in microseconds; nil where it cannot be had.
    public mutating func setRoundTrip(microseconds: UInt32?, now: UInt64) {
        library.core.path.measured(microseconds: microseconds, now: now)
    }

    /// Streams that may be opened now; 0 on a server, and once either side has said GOAWAY.
    public var capacity: Int {
        if hasFailed || hasSaidGoAway || library.core.role == .server { return 0 }
        if library.core.hasGoneAway || !library.mayOpen { return 0 }
        let limit = min(library.core.peerStreamsMax, library.core.limits.concurrentStreamsMax)
        return max(0, Int(limit) - library.core.streams.openCount)
    }

    /// Whether the server has said what it takes.
    ///
    /// Before, `capacity` is a guess. A client's only.
    public var hasPeerSettings: Bool { library.core.hasPeerSettings }

    /// The server has said that it takes no streams at all, for now (RFC 9113 §6.5.2).
    ///
    /// A client's only.
    public var isShut: Bool { library.core.hasPeerSettings && library.core.peerStreamsMax == 0 }

    /// Whether the server opens WebSockets (RFC 8441 §3); it says so in its SETTINGS.
    public var acceptsExtendedConnect: Bool { library.core.acceptsExtendedConnect }

    /// Cuts every stream that is not complete, since the connection is no more.
    ///
    /// `.reset` events follow. What was wholly received can still be read.
    public mutating func connectionEnded(_ pool: inout BufferPool) {
        hasFailed = true
        library.core.connectionEnded(&pool)
    }

    // MARK: - Events

    /// The next thing that happened; nil when all was told.
    ///
    /// Ask after every call that takes bytes in or writes them out.
    public mutating func nextEvent() -> HTTP2Event? { library.core.nextEvent() }
}
