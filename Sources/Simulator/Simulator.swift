import BasicContainers
import Kernel
import Peer

/// A running simulator: threads that serve until they are stopped.
public final class Simulator: Sendable {
    /// The addresses as bound, one a node, in the order of the options.
    public let addresses: [SocketAddress]
    private let threads: [Kernel.Thread]
    private let mailboxes: [Mailbox<Bool>]

    /// Listens on all addresses and serves them; returns when connections are accepted.
    public init(_ options: SimulatorOptions) throws(SystemError) {
        Signals.ignoreBrokenPipe()
        let count = max(1, options.threads)
        if count > 1 {
            // Sockets that share a port would not notice a stranger on it.
            for address in options.listen where address.port != 0 {
                try ListenSocket.probe(address)
            }
        }
        var listen = options.listen
        var threads: [Kernel.Thread] = []
        var mailboxes: [Mailbox<Bool>] = []
        for index in 0..<count {
            var sockets = UniqueArray<ListenSocket>()
            for place in listen.indices {
                let socket = try ListenSocket.open(listen[place], reusePort: count > 1)
                // A port that the system chose for the first thread is the others' too.
                listen[place] = socket.localAddress
                sockets.append(socket)
            }
            let mailbox = try Mailbox<Bool>(capacity: 4)
            let opened = Lock<UniqueArray<ListenSocket>?>(sockets)
            var own = options
            own.listen = listen
            own.seed = options.seed &+ UInt64(index)
            let settings = own
            threads.append(
                try Kernel.Thread.start(name: "simulator-\(index)") {
                    guard let sockets = opened.withLock({ opened in opened.take() }) else { return }
                    Simulator.serve(settings, sockets, mailbox)
                })
            mailboxes.append(mailbox)
        }
        addresses = listen
        self.threads = threads
        self.mailboxes = mailboxes
    }

    private static func serve(
        _ options: SimulatorOptions, _ sockets: consuming UniqueArray<ListenSocket>,
        _ mailbox: Mailbox<Bool>
    ) {
        do throws(SystemError) {
            var turn = Turn(options, try Loop(capacity: 256))
            try turn.watch(sockets, mailbox)
            turn.run()
        } catch {
            preconditionFailure("The simulator's thread has no event loop: \(error).")
        }
    }

    /// Ends all threads and waits for them; open connections are closed.
    public func stop() {
        for mailbox in mailboxes { _ = mailbox.post(true) }
        for thread in threads { thread.join() }
    }
}

/// One thread's loop, server and nodes.
struct Turn: ~Copyable {
    /// Token kinds: the server's two, and the mailbox.
    private static var serverKind: UInt8 { 1 }
    private static var mailboxKind: UInt8 { 3 }

    private var loop: Loop
    private var server: Server
    private var simulation: Simulation
    /// When the simulated time began, at which it is equal to the clock's.
    private let startedAt: UInt64
    private let timeScale: Double

    init(_ options: SimulatorOptions, _ loop: consuming Loop) {
        let now = Clock.monotonicNanoseconds()
        startedAt = now
        timeScale = options.timeScale
        self.loop = loop
        server = Server(
            kind: Self.serverKind, settings: Self.settings(options), now: now / 1_000_000)
        simulation = Simulation(options, loopbacks: options.listen.map(\.isLoopback), now: now)
    }

    /// Accepts from these sockets, one for each node in order, and hears the mailbox.
    mutating func watch(
        _ sockets: consuming UniqueArray<ListenSocket>, _ mailbox: Mailbox<Bool>
    ) throws(SystemError) {
        let token = Kernel.Token(kind: Self.mailboxKind, slot: 0, generation: 1)
        try loop.register(mailbox.descriptor, token, edgeTriggered: false)
        var sockets = sockets
        while let socket = sockets.popLast() {
            try server.adopt(socket, tag: UInt32(sockets.count), on: loop)
        }
    }

    /// The connection habits of the engine that is played.
    static func settings(_ options: SimulatorOptions) -> ServerSettings {
        var settings = ServerSettings(connections: options.connections, name: "model-simulator")
        switch options.engine {
        case .ollama:
            // Go's server keeps idle connections without end.
            settings.idleMilliseconds = 3_600_000
        case .vllm, .sglang:
            settings.idleMilliseconds = 5_000
        case .llamaCpp:
            settings.idleMilliseconds = 5_000
            settings.keepAlive = "timeout=5, max=100"
            settings.exchangesPerConnection = 100
        }
        return settings
    }

    /// Serves until the mailbox says stop.
    mutating func run() {
        var isRunning = true
        while isRunning {
            let count = loop.wait(timeoutMilliseconds: delay())
            let nanoseconds = Clock.monotonicNanoseconds()
            let now = nanoseconds / 1_000_000
            simulation.now = simulated(nanoseconds)
            for index in 0..<count {
                let event = loop.event(index)
                if event.token.kind == Self.mailboxKind {
                    isRunning = false
                } else {
                    server.handle(event, on: loop, now: now, &simulation)
                }
            }
            simulation.advance(&server.answers)
            server.tick(on: loop, now: now, &simulation)
        }
    }

    /// Milliseconds to wait, rounded up: nothing is done before its time.
    private func delay() -> Int32 {
        let now = Clock.monotonicNanoseconds()
        let own = server.nextDelay(now: now / 1_000_000)
        guard let at = simulation.nextAt else { return own }
        let present = simulated(now)
        let ahead = at > present ? Double(at - present) / timeScale : 0
        let left = (ahead / 1_000_000).rounded(.up)
        let next = Int32(min(left, 1e9))
        return own < 0 ? next : min(own, next)
    }

    /// The simulated time at a time of the clock; both are nanoseconds.
    private func simulated(_ clock: UInt64) -> UInt64 {
        if timeScale == 1 { return clock }
        return startedAt + UInt64(Double(clock - startedAt) * timeScale)
    }
}
