import BasicContainers
import HTTP
import Inference
import Kernel
import Routing
import Runtime
import Telemetry

/// What a token of the loop or of the timer wheel names.
enum TokenKind {
    static let mailbox: UInt8 = 1
    static let listener: UInt8 = 2
    static let downstream: UInt8 = 3
    static let upstream: UInt8 = 4
    static let exchange: UInt8 = 5
    static let acceptPause: UInt8 = 6
    static let drain: UInt8 = 7
    static let datagrams: UInt8 = 8
    static let session: UInt8 = 9
    static let leases: UInt8 = 10
    static let tending: UInt8 = 11
}

/// What a worker is made with.
public struct WorkerOptions: Sendable {
    /// Counts from 0.
    public var number: Int
    /// Client connections of this worker, at most.
    public var connectionsMax: Int
    /// Backend connections of this worker, at most.
    public var upstreamsMax: Int
    /// Sessions of UDP clients of this worker, at most, whatever the documents say: each has a descriptor.
    public var sessionsMax: Int
    /// Pipes of this worker, at most: each has two descriptors, and what it can hold comes out of `budget`.
    public var pipesMax: Int
    /// Access records go to the exporter through this ring; nil: no access log.
    public var log: ByteRing?
    /// All buffers of the process come out of this.
    public var budget: Budget?
    /// But for what is held of content as a whole: that comes out of this.
    public var heldBudget: Budget?
    /// Counts the client connections of all workers, for `limits.clientConnectionsMax`.
    public var connections: Budget?

    public init(
        number: Int, connectionsMax: Int = 100_000, upstreamsMax: Int = 65_536,
        sessionsMax: Int = 65_536, pipesMax: Int = 128,
        log: ByteRing? = nil, budget: Budget? = nil, heldBudget: Budget? = nil,
        connections: Budget? = nil
    ) {
        self.number = number
        self.connectionsMax = connectionsMax
        self.upstreamsMax = upstreamsMax
        self.sessionsMax = sessionsMax
        self.pipesMax = pipesMax
        self.log = log
        self.budget = budget
        self.heldBudget = heldBudget
        self.connections = connections
    }
}

/// One thread's whole data plane: its loop, its connections, its pools and its copy of the table.
///
/// Nothing in it is shared while a request runs. A tick is: wait, events, ready ring, timers. Every handler takes
/// ids, looks its state up in a slab and returns; there is no recursion between connections and no stored closure.
/// The files `Worker+X.swift` follow a request's way: Accept, Handshake, Request, Attempt, Answer, Finish.
public struct Worker: ~Copyable {
    let options: WorkerOptions
    var loop: Loop
    let mailbox: Mailbox<WorkerMessage>
    var timers: TimerWheel
    var random: RandomSource
    var clock = MonotonicClock()
    /// What the clock said after the last wait.
    var now: UInt64
    var nowNanoseconds: UInt64

    // Connections and exchanges.
    var downstreams: Slab<Downstream>
    var asides: Slab<DownstreamAside>
    var upstreams: Slab<Upstream>
    var exchanges: Slab<Exchange>
    /// Requests that are read before their route is chosen, by `Downstream.naming`.
    var namings = Slab<Naming>(capacity: 65_536)
    /// What is known of requests to pools, by `Exchange.poolRequest`.
    var poolRequests = Slab<PoolRequest>(capacity: 65_536)
    /// Copies of requests, by `Exchange.mirrors`.
    var mirrors = Slab<Mirror>(capacity: Mirror.countMax)
    /// Questions whether requests may pass, by `Downstream.authorization`, and how many of them wait for an answer.
    var authorizations: Slab<Authorization>
    var activeAuthorizations = 0
    /// Calls to external pickers, and how many exchanges have no client: those that carry calls, copies, and
    /// those that ask.
    var calls: Slab<PickerCall>
    var carriers = 0
    /// How many of each are streams of HTTP/2 connections.
    var downstreamStreams = 0
    var upstreamStreams = 0
    var listeners = UniqueArray<ListenerSlot>()
    var ready = ReadyRing()

    // Datagrams.
    var datagramPorts = UniqueArray<DatagramPort>()
    var sessions: DatagramSessions
    /// Lent to the handler that receives; there since the first port was.
    var datagrams: DatagramBatch?
    /// Sessions of this worker, at most; the largest of all Gateways' limits.
    var sessionsMax = 0

    // What the documents say.
    var generations = Slab<Generation>(capacity: 65_536)
    var current = UInt32.max
    /// Exchanges that need the current generation.
    var currentUsers = 0
    /// Forwarding fields of some peers of some listener are believed.
    var trustsPeers = false
    /// Routes of some listener depend on the model that a request names, or a head may be read once more since it waits for
    /// leave to pass.
    var mayNeedModel = false
    /// The head in `requestHead` names the model that its content does.
    var hasNamedModel = false
    /// Connections to some port begin with a header of the PROXY protocol.
    var takesIntroductions = false
    var clusters = ClusterSet([])
    var endpoints = UniqueArray<EndpointState>()
    var queues = UniqueArray<WaitingQueue>()
    /// State of pools that workers share, by the ids of the pools.
    var ledgers = UniqueArray<PoolLedger?>()
    /// A moment is set at which leases are renewed.
    var renewsLeases = false
    /// A moment is set at which memory that nobody needs is given back.
    var tendsBuffers = false
    var retriesRunning = 0
    var activeTunnels = 0
    /// Client connections of the process, at most; the largest of all Gateways' limits.
    var connectionsMax = Int.max
    /// Bytes dropped from a client after its answer, at most, before its connection ends.
    var lingerBytesMax = Limits().lingerBytesMax
    /// The timeouts that hold while no listener is known, and between requests.
    var timeouts = Timeouts()

    // Scratch: valid within one handler.
    /// What comes behind a handshake in the same read; input of connections stands in a buffer of `run`'s.
    var early = Buffer(capacity: Scratch.plaintextBytes)
    var output = Buffer(capacity: Scratch.outputBytes)
    /// Takes the place of the input buffer while much is read for a sealed link.
    var bulk = Buffer(capacity: Scratch.bulkBytes)
    var cipher = CipherBuffers()
    /// Nanoseconds that are left for handshakes to begin in, within a round of those that are ready.
    var handshakeTime: Int64 = 0
    var buffers: BufferPool
    var requestHead = RequestHead()
    var responseHead = ResponseHead()
    /// A piece of an answer with the client's name of a model in it.
    var restored = Buffer(capacity: Scratch.outputBytes)
    /// The chain of hashes of a prompt.
    var prefixHashes = RigidArray<UInt64>(capacity: PrefixBlocks.countDefault)
    /// What was decided about `requestHead`.
    var decision = Decision()
    var location = RigidArray<UInt8>(capacity: 32 * 1024)
    /// Status of the redirect whose Location stands in `location`.
    var redirectStatus: UInt16 = 302
    /// The host that mirrors of the request in `requestHead` see.
    var mirrorHost = RigidArray<UInt8>(capacity: 512)
    /// Lines of an answer of the gateway's own that tell its origin what it may read; without memory until one has.
    var corsFields = RigidArray<UInt8>(capacity: 0)
    /// Text of the client's address.
    var client = RigidArray<UInt8>(capacity: 64)
    /// A fresh request identity.
    var requestID = RigidArray<UInt8>(capacity: 128)
    /// What the gateway adds to a request, and the client that it says.
    var additions = RequestAdditions(via: "ai-gateway")
    var additionsClient = SocketAddress.any(v6: true, port: 0)
    var additionsAreSecure = false
    var additionsVersion = Version.http11

    /// Whose datagrams are never a client's, where the port is one of ours.
    var localAddresses = LocalAddresses()

    // What is told.
    var shard: Shard
    var record = RigidArray<UInt8>(capacity: 8 * 1024)
    /// Wall clock less the worker's clock, nanoseconds; renewed with each snapshot and every second.
    var wallOffset: UInt64
    var wallRead: UInt64 = 0
    /// Matches of the current table's regular expressions that met a bound and are counted.
    var patternLimits: UInt64 = 0

    // End.
    var isDraining = false
    var drainStopsAccepting: UInt64 = 0
    var drainEnds: UInt64 = 0
    var isStopped = false

    /// A worker that reads `mailbox`; everything else comes as messages.
    public init(
        options: WorkerOptions, mailbox: Mailbox<WorkerMessage>, shard: consuming Shard
    ) throws(SystemError) {
        let loop = try Loop(capacity: 256)
        try loop.register(
            mailbox.descriptor, Token(kind: TokenKind.mailbox, slot: 0, generation: 1),
            edgeTriggered: false)
        self.loop = loop
        self.options = options
        self.mailbox = mailbox
        now = Clock.monotonicMilliseconds()
        nowNanoseconds = Clock.monotonicNanoseconds()
        wallOffset = Clock.wallNanoseconds() &- nowNanoseconds
        timers = TimerWheel(now: now)
        random = RandomSource()
        sessions = DatagramSessions(seed: Random.next64())
        downstreams = Slab(capacity: options.connectionsMax)
        asides = Slab(capacity: options.connectionsMax)
        upstreams = Slab(capacity: options.upstreamsMax)
        // Twice as many: with each client's a picker's.
        exchanges = Slab(capacity: 2 * options.connectionsMax + Mirror.countMax)
        calls = Slab(capacity: options.connectionsMax)
        authorizations = Slab(capacity: options.connectionsMax)
        buffers = BufferPool(
            budget: options.budget, heldBudget: options.heldBudget, pipesMax: options.pipesMax)
        self.shard = shard
    }

    /// Serves until a drain has ended or a stop came.
    public mutating func run() {
        // Every handler that reads is lent this: bytes in it cannot be read over while they are used.
        var input = Buffer(capacity: Scratch.plaintextBytes)
        while !isStopped { tick(&input) }
        closeEverything()
    }

    /// One turn of the loop.
    mutating func tick(_ input: inout Buffer) {
        let isIdle = ready.isEmpty && !cipher.multiplexers.hasOutput
        let timeout = isIdle ? timers.nextDelay(now: now) : 0
        let count = loop.wait(timeoutMilliseconds: timeout)
        readClock()
        for index in 0..<count { handle(loop.event(index), &input) }
        if !ready.isEmpty { runReady(&input) }
        if timers.hasWork(now: now) { expire() }
        if cipher.multiplexers.hasOutput { sendFrames(&input) }
        shard.set(.activeExchanges, UInt64(truncatingIfNeeded: exchanges.count &- carriers))
        // A turn of one event delayed nobody but who asked for it, and that is told as `processing`.
        if count > 1 { observeTick() }
    }

    @inline(never)
    private mutating func observeTick() {
        shard.observeTick(nanoseconds: clock.nanoseconds() &- nowNanoseconds)
    }

    @inline(always)
    private mutating func readClock() {
        nowNanoseconds = clock.nanoseconds()
        now = nowNanoseconds / 1_000_000
        if now &- wallRead >= 1_000 { readWall() }
    }

    @inline(never)
    private mutating func readWall() {
        wallRead = now
        wallOffset = Clock.wallNanoseconds() &- nowNanoseconds
        countPatternLimits()
        // Between connections that come and go, which tell it too.
        shard.set(.bufferBytes, UInt64(buffers.bytesInUse + buffers.pipes.bytesInUse))
        shard.set(.heldBytes, UInt64(buffers.bytesHeld))
    }

    /// Counts the matches of regular expressions that met a bound since it was last called for this table.
    mutating func countPatternLimits() {
        if current == .max { return }
        let count = generations[current].snapshot.table.patternLimitCount
        shard.add(.regexLimit, count &- patternLimits)
        patternLimits = count
    }

    /// Milliseconds since 1970, as of this tick.
    var wallMilliseconds: UInt64 { (nowNanoseconds &+ wallOffset) / 1_000_000 }

    /// The same with what is left of the millisecond, in 4096ths.
    @inline(always)
    var wallTime: (milliseconds: UInt64, fraction: UInt64) {
        let nanoseconds = nowNanoseconds &+ wallOffset
        let milliseconds = nanoseconds / 1_000_000
        // Less than 2^20 nanoseconds by a factor below 2^12 / 10^6 * 2^20, so below 4096 and no overflow.
        let rest = nanoseconds &- milliseconds &* 1_000_000
        return (milliseconds, (rest &* 4_294) &>> 20)
    }

    @inline(always)
    private mutating func handle(_ event: Kernel.Event, _ input: inout Buffer) {
        let id = event.token.id
        let kind = event.token.kind
        if kind == TokenKind.downstream {
            if downstreams.contains(id) { downstreamEvent(id, event.readiness, &input) }
        } else if kind == TokenKind.upstream {
            if upstreams.contains(id) { upstreamEvent(id, event.readiness, &input) }
        } else {
            handleOther(event.token)
        }
    }

    /// News of a listener or of the mailbox.
    @inline(never)
    private mutating func handleOther(_ token: Kernel.Token) {
        switch token.kind {
        case TokenKind.listener: accept(Int(token.slot))
        case TokenKind.datagrams: receiveDatagrams(Int(token.slot))
        case TokenKind.session: if sessions.slots.contains(token.id) { sessionEvent(token.id) }
        case TokenKind.mailbox:
            readMailbox()
            observeTick()
        default: break
        }
    }

    /// Goes on with connections that had used up their share of a tick, one round.
    @inline(never)
    private mutating func runReady(_ input: inout Buffer) {
        ready.begin()
        handshakeTime = Scratch.handshakeNanoseconds
        defer { handshakeTime = 0 }
        while let token = ready.next() {
            let id = token.id
            switch token.kind {
            case TokenKind.downstream:
                if downstreams.contains(id) {
                    downstreams[id].isQueued = false
                    downstreamReady(id, &input)
                }
            case TokenKind.upstream:
                if upstreams.contains(id) {
                    upstreams[id].isQueued = false
                    upstreamReady(id, &input)
                }
            case TokenKind.exchange:
                if exchanges.contains(id) { resumeAttempt(id, &input) }
            default: break
            }
        }
    }

    /// Puts a client connection into the ready ring: it has input that no edge will announce.
    mutating func enqueue(downstream id: SlotID) {
        if downstreams[id].isQueued { return }
        downstreams[id].isQueued = true
        ready.push(Token(kind: TokenKind.downstream, id))
    }

    /// Puts a backend connection into the ready ring.
    mutating func enqueue(upstream id: SlotID) {
        if upstreams[id].isQueued { return }
        upstreams[id].isQueued = true
        ready.push(Token(kind: TokenKind.upstream, id))
    }
}
