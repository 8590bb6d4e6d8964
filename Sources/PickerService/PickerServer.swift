import BasicContainers
import HTTP
import HTTPCodec
import Inference
import Kernel
import Runtime

/// What a token of the loop names.
enum TokenKind {
    static let mailbox: UInt8 = 1
    static let listener: UInt8 = 2
    static let connection: UInt8 = 3
    static let call: UInt8 = 4
}

/// One thread's endpoint picker over ext_proc, with gRPC's health protocol (`inference-extension.md` §3).
///
/// A tick is: wait, events, what connections have to say, what is due. A call is in its slot what an exchange is to a
/// worker; the pool's ledger decides, the same one that the gateway's workers ask.
struct PickerServer: ~Copyable {
    /// Bytes of a piece of content that is sent back, as gateways expect them at most.
    static var pieceBytesMax: Int { 62_000 }
    /// Content of a request that is held for the pick.
    static var heldBytesMax: Int { Limits().heldContentBytesMax }
    /// A message of ext_proc: content with what stands around it.
    static var messageBytesMax: Int { heldBytesMax + (1 << 20) }
    /// A message of ext_proc that has no content: a head, trailers, a question about health.
    static var headBytesMax: Int { 1 << 20 }
    /// From the first GOAWAY to the final one.
    static var goAwayMilliseconds: UInt64 { 500 }
    /// How long gateways may take to read the last words and to part: what closes first may cut those off.
    static var partingMilliseconds: UInt64 { 250 }
    /// How long a call that was answered early may go on speaking.
    static var lingerMilliseconds: UInt64 { 5_000 }
    /// How long a call may say nothing before its first word.
    static var firstWordMilliseconds: UInt64 { 30_000 }
    /// How often is looked what is due.
    static var reviewMilliseconds: UInt64 { 250 }

    let options: PickerOptions
    var loop: Loop
    let mailbox: Mailbox<WorkerMessage>
    var now: UInt64
    var nowNanoseconds: UInt64
    private var nextReview: UInt64 = 0
    private var renewsAt: UInt64 = 0

    var listeners = UniqueArray<ListenSocket>()
    var connections: Slab<GatewayConnection>
    var calls: Slab<Call>
    /// Calls about requests, which a drain waits for.
    var requestCalls = 0
    /// Connections that may have something to send.
    var unsent = UniqueArray<SlotID>()
    var buffers: BufferPool

    // Lent to whoever reads or writes.
    /// Frames from a socket, or a stream's text.
    var input = Buffer(capacity: 256 << 10)
    var text = Buffer(capacity: 256 << 10)
    var output = Buffer(capacity: 128 << 10)
    var message = Buffer(capacity: 128 << 10)
    var words = Buffer(capacity: 1024)
    /// A piece of an answer with the client's name of the model in it.
    var restored = Buffer(capacity: PickerServer.pieceBytesMax)
    var head = RequestHead()
    var hashes = RigidArray<UInt64>(capacity: PrefixBlocks.countDefault)
    /// For choices by weight.
    var random = RandomSource()

    // The pool.
    var clusters = ClusterSet([])
    /// Of the pool's cluster; -1: there is none.
    var poolRow = -1

    // The end.
    var isStopped = false
    var isDraining = false
    private var drainsAt: UInt64 = .max
    private var goesAwayAt: UInt64 = .max
    private var endsAt: UInt64 = .max
    private var hasGoneAway = false
    private var stopsAt: UInt64 = .max

    init(options: PickerOptions, mailbox: Mailbox<WorkerMessage>) throws(SystemError) {
        let loop = try Loop(capacity: 256)
        try loop.register(
            mailbox.descriptor, Token(kind: TokenKind.mailbox, slot: 0, generation: 1),
            edgeTriggered: false)
        self.options = options
        self.mailbox = mailbox
        self.loop = loop
        connections = Slab(capacity: options.connectionsMax)
        calls = Slab(capacity: options.callsMax)
        buffers = BufferPool(budget: options.budget, heldBudget: options.heldBudget)
        nowNanoseconds = Clock.monotonicNanoseconds()
        now = nowNanoseconds / 1_000_000
    }

    /// Serves until it is told to stop or a drain has ended.
    mutating func run() {
        while !isStopped {
            let count = loop.wait(timeoutMilliseconds: isDraining ? 20 : 1_000)
            nowNanoseconds = Clock.monotonicNanoseconds()
            now = nowNanoseconds / 1_000_000
            for index in 0..<count {
                let event = loop.event(index)
                switch event.token.kind {
                case TokenKind.mailbox: readMailbox()
                case TokenKind.listener: accept(Int(event.token.slot))
                default: advance(event.token.id, event.readiness)
                }
            }
            review()
            sendFrames()
        }
    }

    // MARK: - What control says

    private mutating func readMailbox() {
        mailbox.acknowledge()
        while let message = mailbox.take() {
            switch consume message {
            case .clusters(let set): install(set)
            case .grant(let grant): take(grant)
            case .report(let report): answer(report)
            case .listen(_, let socket): listen(socket)
            case .drain(let delay, let timeout):
                isDraining = true
                drainsAt = now &+ delay
                endsAt = now &+ delay &+ timeout
                tellWatchers()
            case .stop: isStopped = true
            case .snapshot: break
            case .listenDatagrams: break
            case .unlisten: break
            }
        }
    }

    private mutating func listen(_ socket: consuming ListenSocket) {
        let token = Token(kind: TokenKind.listener, slot: UInt32(listeners.count), generation: 1)
        do throws(SystemError) {
            try loop.register(socket.raw, token, edgeTriggered: false)
        } catch {
            preconditionFailure("A listening socket can be watched: \(error)")
        }
        listeners.append(socket)
    }

    private mutating func install(_ set: consuming ClusterSet) {
        clusters = set
        poolRow = -1
        for row in 0..<clusters.clusters.count where clusters.clusters[row].pool >= 0 {
            poolRow = row
        }
        tellWatchers()
    }

    /// The state of the pool that is served; nil before it is known, and when it has gone.
    var ledger: PoolLedger? {
        poolRow < 0 ? nil : clusters.pools[Int(clusters.clusters[poolRow].pool)].ledger
    }

    /// Whether requests can be picked for.
    var isServing: Bool { poolRow >= 0 && !isDraining }

    // MARK: - What is due

    private mutating func review() {
        if isDraining { drain() }
        if now < nextReview { return }
        nextReview = now &+ Self.reviewMilliseconds
        buffers.cool()
        if now >= renewsAt { renewLeases() }
        for slot in 0..<calls.highWater where calls.isOccupied(slot) {
            if calls[slot].overSince != 0 {
                if now &- calls[slot].overSince <= Self.lingerMilliseconds { continue }
                leave(calls.id(of: slot), .finished)
            } else if calls[slot].isSilent,
                now &- calls[slot].began > Self.firstWordMilliseconds
            {
                end(calls.id(of: slot), .deadlineExceeded)
            }
        }
    }

    /// Leases of calls that run longer than leases last are renewed in time.
    private mutating func renewLeases() {
        renewsAt = now &+ 60_000
        for slot in 0..<calls.highWater where calls.isOccupied(slot) {
            guard case .leased(let lease) = calls[slot].pick, let ledger = calls[slot].ledger else {
                continue
            }
            ledger.renew(lease.id, now: nowNanoseconds)
            renewsAt = min(renewsAt, now &+ ledger.leaseMilliseconds / 4)
        }
        if let ledger { renewsAt = min(renewsAt, now &+ ledger.leaseMilliseconds / 4) }
    }

    /// No new connections, then no new calls, then the end: when all calls have ended or time is up.
    private mutating func drain() {
        if now >= drainsAt {
            drainsAt = .max
            goesAwayAt = now &+ Self.goAwayMilliseconds
            for index in 0..<listeners.count { loop.remove(listeners[index].raw) }
            listeners.removeAll()
            for slot in 0..<connections.highWater where connections.isOccupied(slot) {
                connections[slot].session.shutDown()
                noteOutput(connections.id(of: slot))
            }
        }
        if now >= goesAwayAt || now >= endsAt { goAway() }
        if stopsAt == .max, hasGoneAway && requestCalls == 0 || now >= endsAt {
            endCalls()
            stopsAt = now &+ Self.partingMilliseconds
        }
        if stopsAt != .max, connections.count == 0 || now >= stopsAt { isStopped = true }
    }

    /// Takes no calls any more.
    private mutating func goAway() {
        goesAwayAt = .max
        if hasGoneAway { return }
        hasGoneAway = true
        for slot in 0..<connections.highWater where connections.isOccupied(slot) {
            connections[slot].session.goAway()
            noteOutput(connections.id(of: slot))
        }
    }

    /// Ends what has not ended by itself, so that gateways need not guess.
    private mutating func endCalls() {
        for slot in 0..<calls.highWater where calls.isOccupied(slot) {
            end(calls.id(of: slot), .unavailable)
        }
    }
}
